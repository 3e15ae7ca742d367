"""`Wire`: a TCP proxy between a client and a server that counts round trips, is slow, and breaks on request."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from types import TracebackType
from typing import Self

__all__ = ["Wire"]

_CHUNK = 1 << 16
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Wire:
    """A port whose connections go on to a server; a context manager, safe for threads.

    A round trip is what a client sends until the server says something, however many pieces either comes in. It is
    counted before the client sees the answer.

    Args:
        port: Where the server listens.
        host: The same.

    Attributes:
        port: Where to connect to instead.
        round_trips: Of all connections together; may be set.
        connections: How many were made; may be set.
        answered_bytes: What servers have said, of all connections together.
        latency: Seconds that every piece is under way, in each direction; pieces do not wait for each other.
        refuse: Whether new connections are reset at once.
    """

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self.round_trips = 0
        self.connections = 0
        self.answered_bytes = 0
        self.latency = 0.0
        self.refuse = False
        self._target = (host, port)
        self._links: list[_Link] = []
        self._lost: bytes | None = None
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    @property
    def round_trips_by_connection(self) -> list[int]:
        """Round trips of every connection since the wire was made, oldest first."""
        with self._lock:
            return [link.round_trips for link in self._links]

    def cut(self) -> None:
        """End all connections there are."""
        with self._lock:
            links = list(self._links)
        for link in links:
            link.cut()

    def lose_next_answer(self, containing: bytes = b"") -> None:
        """Pass the next request on, and cut its connection instead of passing the answer back.

        Args:
            containing: Only a request with these bytes counts, such as `b"COMMIT"`.
        """
        with self._lock:
            self._lost = containing

    def close(self) -> None:
        """End all connections and listen no more."""
        self.refuse = True
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()
        self.cut()
        for link in self._links:
            link.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _listen(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self.refuse:
                _reset(client)
                continue
            try:
                server = socket.create_connection(self._target)
            except OSError:
                _reset(client)
                continue
            with self._lock:
                self.connections += 1
                self._links.append(_Link(self, client, server))

    def count_answer(self, size: int, *, is_first: bool) -> None:
        """A piece of an answer; for the wire's own use."""
        with self._lock:
            self.answered_bytes += size
            self.round_trips += is_first

    def takes_loss(self, request: bytes) -> bool:
        """Whether the answer to this request is the one to be lost; for the wire's own use."""
        with self._lock:
            if self._lost is None or self._lost not in request:
                return False
            self._lost = None
            return True


class _Link:
    """One connection through the wire."""

    def __init__(self, wire: Wire, client: socket.socket, server: socket.socket) -> None:
        self.round_trips = 0
        self._wire, self._ends = wire, (client, server)
        self._asked = False
        self._loses = False
        for end in self._ends:
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._threads = [*self._pump(client, server, self._request), *self._pump(server, client, self._answer)]
        for thread in self._threads:
            thread.start()

    def cut(self) -> None:
        """Reset both ends."""
        for end in self._ends:
            _reset(end)

    def join(self) -> None:
        """Wait until nothing moves any more."""
        for thread in self._threads:
            thread.join()

    def _request(self, data: bytes) -> bool:
        self._asked = True
        self._loses = self._loses or self._wire.takes_loss(data)
        return True

    def _answer(self, data: bytes) -> bool:
        if self._loses:
            self.cut()
            return False
        first, self._asked = self._asked, False
        self.round_trips += first
        self._wire.count_answer(len(data), is_first=first)
        return True

    def _pump(
        self, source: socket.socket, target: socket.socket, passes: Callable[[bytes], bool]
    ) -> tuple[threading.Thread, threading.Thread]:
        """Two threads for one direction, so that what is under way does not keep the next from setting out."""
        under_way: SimpleQueue[tuple[float, bytes]] = SimpleQueue()

        def read() -> None:
            with suppress(OSError):
                while (data := source.recv(_CHUNK)) and passes(data):
                    under_way.put((time.monotonic() + self._wire.latency, data))
            under_way.put((time.monotonic() + self._wire.latency, b""))

        def write() -> None:
            with suppress(OSError):
                while True:
                    due, data = under_way.get()
                    if (wait := due - time.monotonic()) > 0:
                        time.sleep(wait)
                    if not data:
                        break
                    target.sendall(data)
                target.shutdown(socket.SHUT_WR)

        return threading.Thread(target=read, daemon=True), threading.Thread(target=write, daemon=True)


def _reset(end: socket.socket) -> None:
    """Close a socket so that its peer and the threads that use it notice at once."""
    with suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()
