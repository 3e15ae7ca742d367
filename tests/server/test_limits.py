"""Clients that send too much, too slowly, or nothing: they lose their connection, and nobody else notices."""

from __future__ import annotations

import contextlib
import resource
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.server.live import LiveServer, live_server
from tests.server.wire import Wire, address_of, head_of

pytestmark = pytest.mark.extras

IDLE_CLIENTS = 500
CREATE = "/api/2.0/mlflow/runs/create"
LOG = "/api/2.0/mlflow/runs/set-tag"
JSON = ("content-type", "application/json")
HOST = ("host", "localhost")

QUICK = """
from holdall.server import protocol
protocol.LOOK_SECONDS = 0.1
protocol.HEAD_SECONDS = protocol.BODY_SECONDS = protocol.WRITE_SECONDS = protocol.LINGER_SECONDS = 1.0
"""
"""Limits that a test can wait for."""

GONE = 15.0
"""Seconds after which a connection that should have been ended by such limits still being there is a failure."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with live_server(tmp_path_factory.mktemp("server"), "--workers", "1") as live:
        yield live


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with live_server(tmp_path_factory.mktemp("quick"), "--workers", "1", prelude=QUICK) as live:
        yield live


def connect(server: LiveServer) -> socket.socket:
    return socket.create_connection(address_of(server.url), timeout=GONE)


def rest_of(connection: socket.socket) -> bytes:
    """All that comes until the server ends the connection; a time-out fails the test."""
    found = b""
    try:
        while piece := connection.recv(65536):
            found += piece
    except ConnectionError:
        pass
    return found


def assert_ends(connection: socket.socket, data: bytes, pause: float = 0.02) -> None:
    """The server ends a connection on which the same is sent again and again."""
    deadline = time.monotonic() + GONE
    with contextlib.suppress(ConnectionError):
        while time.monotonic() < deadline:
            connection.sendall(data)
            time.sleep(pause)
    assert time.monotonic() < deadline


def assert_serves(server: LiveServer) -> None:
    """A new client gets answers, soon."""
    begun = time.monotonic()
    with Wire(server.url, timeout=10) as wire:
        for _ in range(20):
            assert wire.ask("POST", "/api/2.0/mlflow/experiments/search", [JSON], b"{}").status == 200
    assert time.monotonic() - begun < 5


def test_serve_beside_idle_clients_goes_on(server: LiveServer) -> None:
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > IDLE_CLIENTS + 100
    with ExitStack() as stack:
        for _ in range(IDLE_CLIENTS):
            stack.enter_context(connect(server))
        assert_serves(server)


def test_serve_beside_slow_heads_bodies_and_readers_goes_on(server: LiveServer) -> None:
    post = head_of("POST", CREATE, [HOST, JSON, ("content-length", "100000")])
    with ExitStack() as stack:
        for number in range(90):
            connection = stack.enter_context(connect(server))
            connection.sendall(
                [b"POST /x HTTP/1.1\r\nhost: lo", post + b"{", b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n"][number % 3]
            )
        assert_serves(server)


def test_serve_when_connections_run_out_ends_the_idlest(tmp_path: Path) -> None:
    prelude = "from holdall.server.protocol import LimitedProtocol; LimitedProtocol._most = 50"
    with live_server(tmp_path, "--workers", "1", prelude=prelude) as live, ExitStack() as stack:
        with Wire(live.url) as wire:
            assert wire.ask("GET", "/health").status == 200
            idle = [stack.enter_context(connect(live)) for _ in range(30)]
            assert wire.ask("GET", "/health").status == 200
            idle += [stack.enter_context(connect(live)) for _ in range(40)]
            assert_serves(live)
            assert rest_of(idle[0]) == b""
        idle[-1].sendall(head_of("GET", "/health", [HOST, ("connection", "close")]))
        assert rest_of(idle[-1]).endswith(b"OK")


# Time


def test_connect_and_send_nothing_ends(quick: LiveServer) -> None:
    with connect(quick) as connection:
        assert rest_of(connection) == b""


def test_send_head_byte_by_byte_ends_with_408(quick: LiveServer) -> None:
    with connect(quick) as connection:
        found = b""
        connection.settimeout(0.05)
        deadline = time.monotonic() + GONE
        connection.sendall(b"GET /health HTTP/1.1\r\n")
        while not found:
            assert time.monotonic() < deadline
            connection.sendall(b"x: y\r\n")
            try:
                found = connection.recv(65536)
            except TimeoutError:
                continue
    assert found.startswith(b"HTTP/1.1 408 ")


def test_send_second_head_slowly_on_kept_connection_ends(quick: LiveServer) -> None:
    with connect(quick) as connection:
        connection.sendall(head_of("GET", "/health", [HOST]) + b"GET /health HT")
        assert rest_of(connection).count(b"HTTP/1.1 ") == 2  # 200, and 408


def test_send_blank_lines_for_ever_ends(tmp_path: Path) -> None:
    prelude = QUICK + "from holdall.server import worker; worker.IDLE_SECONDS = 1"
    with live_server(tmp_path, "--workers", "1", prelude=prelude) as live, connect(live) as connection:
        connection.sendall(head_of("GET", "/health", [HOST]))
        assert_ends(connection, b"\r\n")


def test_fall_silent_in_the_middle_of_a_body_ends(quick: LiveServer) -> None:
    with connect(quick) as connection:
        connection.sendall(head_of("POST", CREATE, [HOST, JSON, ("content-length", "1000")]) + b'{"')
        assert rest_of(connection) == b""


def test_send_body_slowly_but_steadily_is_served(quick: LiveServer) -> None:
    body = b'{"experiment_id": "0"}'
    with connect(quick) as connection:
        connection.sendall(head_of("POST", CREATE, [HOST, JSON, ("content-length", str(len(body)))]))
        for byte in body:
            time.sleep(0.1)
            connection.sendall(bytes([byte]))
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")


def test_send_body_for_longer_than_its_time_is_408(tmp_path: Path) -> None:
    prelude = (
        "import dataclasses, holdall.server.options as o, holdall.server.application as a\n"
        "begin = a.Application.__init__\n"
        "def quick(self, options, *rest):\n"
        "    begin(self, dataclasses.replace(options, body_timeout=0.5), *rest)\n"
        "a.Application.__init__ = quick"
    )
    with live_server(tmp_path, "--workers", "1", prelude=prelude) as live, Wire(live.url) as wire:
        reply = wire.send(head_of("POST", CREATE, [HOST, JSON, ("content-length", "1000")]) + b'{"')
        assert (reply.status, reply.json()["error_code"]) == (408, "BAD_REQUEST")
        assert "Traceback" not in live.log.read_text()


def test_go_on_sending_body_that_was_refused_ends(quick: LiveServer) -> None:
    with connect(quick) as connection:
        connection.sendall(head_of("POST", CREATE, [HOST, JSON, ("content-length", str(1 << 40))]))
        assert connection.recv(65536).startswith(b"HTTP/1.1 413 ")
        assert_ends(connection, b"x" * 1000)


def test_wait_between_requests_keeps_the_connection(quick: LiveServer) -> None:
    with connect(quick) as connection:
        connection.sendall(head_of("POST", CREATE, [HOST, JSON, ("content-length", "2")]) + b"{}")
        assert connection.recv(65536).startswith(b"HTTP/1.1 400 ")
        time.sleep(3)  # longer than every limit on what has begun
        connection.sendall(head_of("GET", "/health", [HOST, ("connection", "close")]))
        assert rest_of(connection).endswith(b"OK")


def test_read_nothing_of_an_answer_ends(quick: LiveServer) -> None:
    run_id = quick.api("POST", "runs/create", {"experiment_id": "0"})["run"]["info"]["run_id"]  # type: ignore[index]
    for number in range(3):
        tags = [{"key": f"key {number}-{item}", "value": "x" * 8000} for item in range(100)]
        quick.api("POST", "runs/log-batch", {"run_id": run_id, "tags": tags})
    with connect(quick) as connection:
        connection.sendall(head_of("GET", f"/api/2.0/mlflow/runs/get?run_id={run_id}", [HOST]) * 60)  # 146 MB
        time.sleep(4)
        assert len(rest_of(connection)) < 100_000_000  # of which only what the system has taken arrives
    assert_serves(quick)


# Size


def test_send_body_over_the_limit_is_413_before_it_is_read(server: LiveServer) -> None:
    with connect(server) as connection:
        connection.sendall(head_of("POST", CREATE, [HOST, JSON, ("content-length", str((48 << 20) + 1))]))
        assert connection.recv(65536).startswith(b"HTTP/1.1 413 ")


def test_send_body_over_the_limit_in_chunks_is_413(server: LiveServer) -> None:
    with connect(server) as connection:
        connection.settimeout(60)
        connection.sendall(head_of("POST", CREATE, [HOST, JSON, ("transfer-encoding", "chunked")]))
        piece = b"100000\r\n" + b" " * 0x100000 + b"\r\n"
        found = b""
        for _ in range(49):
            connection.sendall(piece)
        found = connection.recv(65536)
    assert found.startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize("pieces", [1, 100])
@pytest.mark.parametrize(
    "head",
    [
        b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\nhost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: localhost\r\nx: " + b"y" * 100_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: localhost\r\n" + b"x: y\r\n" * 20_000 + b"\r\n",
        b"GET / HTTP/1.1\r\nhost: localhost\r\n" + b"x" * 100_000 + b": y\r\n\r\n",
    ],
    ids=["target", "value", "count", "name"],
)
def test_send_head_over_the_limit_is_431(server: LiveServer, head: bytes, pieces: int) -> None:
    with connect(server) as connection:
        with contextlib.suppress(ConnectionError):
            for start in range(0, len(head), len(head) // pieces):
                connection.sendall(head[start : start + len(head) // pieces])
        found = rest_of(connection)
    assert found.startswith(b"HTTP/1.1 431 ") or (pieces > 1 and not found)


def test_send_head_without_end_ends(quick: LiveServer) -> None:
    with connect(quick) as connection:
        assert_ends(connection, b"x" * 10_000, pause=0)


@pytest.mark.parametrize(
    "data",
    [
        b"nonsense\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc",  # TLS
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"CONNECT evil.com:443 HTTP/1.1\r\nhost: localhost\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nhost: localhost\r\n\r\n",
        b"GET http://[ HTTP/1.1\r\nhost: localhost\r\n\r\n",
        b"GET /health HTTP/1.1\r\nhost : localhost\r\n\r\n",
        b"GET /health HTTP/1.1\r\nhost: localhost\r\n x: folded\r\n\r\n",
        b"GET /health HTTP/1.1\r\nhost: localhost\r\nx: a\0b\r\n\r\n",
        b"POST /health HTTP/1.1\r\nhost: localhost\r\ncontent-length: -1\r\n\r\n",
        b"POST /health HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        b"POST /health HTTP/1.1\r\nhost: localhost\r\ncontent-length: 99999999999999999999999\r\n\r\n",
        b"POST /health HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /health HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: x, chunked, y\r\n\r\n0\r\n\r\n",
        b"POST " + CREATE.encode() + b" HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        b"transfer-encoding: chunked\r\n\r\nzz\r\n",
    ],
    ids=range(15),
)
def test_send_what_is_not_http_is_400_or_ended(server: LiveServer, data: bytes) -> None:
    with connect(server) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        found = rest_of(connection)
    assert not found or found.startswith(b"HTTP/1.1 4"), found
    assert found.count(b"HTTP/1.1 ") <= 1
    assert_serves(server)


@pytest.mark.parametrize("protocol", ["websocket", "h2c", "TLS/1.2"])
def test_ask_for_upgrade_is_answered_as_if_it_had_not_been(server: LiveServer, protocol: str) -> None:
    headers = [HOST, JSON, ("connection", "Upgrade"), ("upgrade", protocol), ("content-length", "22")]
    with Wire(server.url) as wire:
        for _ in range(2):
            reply = wire.send(head_of("POST", CREATE, headers) + b'{"experiment_id": "0"}')
            assert reply.status == 200
            assert wire.send(head_of("GET", "/health", headers[:1] + headers[2:4])).body == b"OK"


def test_send_requests_without_waiting_are_answered_in_order(server: LiveServer) -> None:
    with connect(server) as connection:
        asked = [head_of("GET", f"/version?{number}", [HOST]) for number in range(200)]
        connection.sendall(b"".join(asked) + head_of("GET", "/health", [HOST, ("connection", "close")]))
        found = rest_of(connection)
    assert found.count(b"HTTP/1.1 200") == 201
    assert found.endswith(b"OK")


def test_log_of_server_after_all_that_holds_no_traceback(server: LiveServer, quick: LiveServer) -> None:
    assert "Traceback" not in server.log.read_text() + quick.log.read_text()
