"""`Wire` counts, delays and breaks what it says."""

from __future__ import annotations

import socket
import socketserver
import threading
import time
from collections.abc import Iterator

import pytest
from tests.backends.wire import Wire


class Echo(socketserver.BaseRequestHandler):
    """Sends back what it gets, in two pieces, and keeps it."""

    def handle(self) -> None:
        assert isinstance(self.server, EchoServer)
        try:
            while data := self.request.recv(1 << 16):
                self.server.heard += data
                self.request.sendall(data[:1])
                self.request.sendall(data[1:])
        except ConnectionError:
            pass


class EchoServer(socketserver.ThreadingTCPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Echo)
        self.heard = b""


@pytest.fixture
def server() -> Iterator[EchoServer]:
    with EchoServer() as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def wire(server: EchoServer) -> Iterator[Wire]:
    with Wire(server.server_address[1]) as wire:
        yield wire


def connect(wire: Wire) -> socket.socket:
    return socket.create_connection(("127.0.0.1", wire.port), timeout=10)


def ask(client: socket.socket, request: bytes) -> bytes:
    client.sendall(request)
    return receive(client, len(request))


def receive(client: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = client.recv(size - len(data))
        assert piece, f"the connection ended after {data!r}"
        data += piece
    return data


def ended(client: socket.socket) -> bool:
    try:
        return client.recv(1) == b""
    except ConnectionError:
        return True


def refused(wire: Wire) -> bool:
    try:
        with connect(wire) as client:
            return ended(client)
    except ConnectionError:
        return True


def test_ask_several_times_counts_each_round_trip_once(wire: Wire) -> None:
    with connect(wire) as one, connect(wire) as two:
        for _ in range(3):
            assert ask(one, b"hello") == b"hello"
        assert ask(two, b"x" * 1_000_000) == b"x" * 1_000_000
        assert wire.connections == 2
        assert wire.round_trips_by_connection[0] == 3
        wire.round_trips = wire.connections = 0
        ask(one, b"again")
        assert (wire.round_trips, wire.connections) == (1, 0)


def test_ask_with_latency_takes_it_each_way(wire: Wire) -> None:
    with connect(wire) as client:
        ask(client, b"warm")
        wire.latency = 0.05
        start = time.monotonic()
        ask(client, b"slow")
        assert time.monotonic() - start >= 0.1


def test_send_many_pieces_with_latency_delays_them_together(wire: Wire, server: EchoServer) -> None:
    wire.latency = 0.05
    with connect(wire) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        start = time.monotonic()
        for _ in range(100):
            client.sendall(b"piece")
            time.sleep(0.001)  # as pieces of their own
        assert receive(client, 500) == b"piece" * 100
        assert time.monotonic() - start < 100 * 0.05


def test_cut_wire_ends_connections_and_takes_new_ones(wire: Wire) -> None:
    with connect(wire) as client:
        ask(client, b"hello")
        wire.cut()
        assert ended(client)
    with connect(wire) as client:
        assert ask(client, b"hello") == b"hello"


def test_refuse_connections_resets_new_ones_alone(wire: Wire) -> None:
    with connect(wire) as old:
        ask(old, b"hello")
        wire.refuse = True
        assert refused(wire)
        assert ask(old, b"hello") == b"hello"
        wire.refuse = False
        with connect(wire) as new:
            assert ask(new, b"hello") == b"hello"


def test_lose_answer_of_named_request_cuts_after_the_server_got_it(wire: Wire, server: EchoServer) -> None:
    with connect(wire) as one, connect(wire) as two:
        ask(one, b"hello")
        ask(two, b"hello")
        wire.lose_next_answer(b"COMMIT")
        assert ask(one, b"insert") == b"insert"
        one.sendall(b"COMMIT")
        assert ended(one)
        assert server.heard.endswith(b"COMMIT")
        assert ask(two, b"COMMIT") == b"COMMIT"


def test_close_connection_of_client_is_passed_on(wire: Wire) -> None:
    with connect(wire) as client:
        client.sendall(b"last")
        client.shutdown(socket.SHUT_WR)
        assert receive(client, 4) == b"last"
        assert ended(client)


def test_connect_to_absent_server_is_reset() -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    with Wire(port) as wire:
        assert refused(wire)
        assert wire.connections == 0
