"""Ask a server from many connections at once, each of which sends its next request when it has the answer."""

from __future__ import annotations

import re
import select
import socket
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from benchmarks.peer import BenchmarkError

__all__ = ["Load", "drive", "percentile"]

_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)\r\n")
_PATIENCE = 120.0


@dataclass(slots=True)
class Load:
    """What asking came to.

    Attributes:
        seconds: From the first request to the last answer.
        times: Seconds from each request to its answer, in the order of answers.
        answers: Bodies, where they are kept.
        client_seconds: Processor time of asking.
    """

    seconds: float = 0.0
    times: list[float] = field(default_factory=list)
    answers: list[bytes] = field(default_factory=list)
    client_seconds: float = 0.0


def percentile(times: Sequence[float], share: float) -> float:
    """The time within which a share of answers came."""
    return sorted(times)[min(len(times) - 1, int(len(times) * share))]


class _Connection:
    """A connection with one request on its way.

    Args:
        port: On the loopback.
        requests: What to send, one after the other's answer.
    """

    __slots__ = ("_buffer", "_requests", "sent", "socket", "whole")

    def __init__(self, port: int, requests: Iterator[bytes]) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._requests = requests
        self._buffer = b""
        self.whole = b""
        self.sent = 0.0

    def send(self) -> bool:
        """Send the next request; False if there is none."""
        request = next(self._requests, None)
        if request is None:
            return False
        self.sent = time.perf_counter()
        self.socket.sendall(request)
        return True

    def receive(self) -> bool:
        """Take what has come; whether the answer, then `whole`, is at its end."""
        piece = self.socket.recv(1 << 18)
        if not piece:
            raise BenchmarkError("The server has closed a connection without an answer.")
        buffer = self._buffer + piece if self._buffer else piece
        head = buffer.find(b"\r\n\r\n")
        if head >= 0 and _is_whole(buffer, head + 4):
            self._buffer, self.whole = b"", buffer
            if buffer[9:12] != b"200":
                raise BenchmarkError(f"The server answers:\n{buffer[:1000].decode(errors='replace')}")
            return True
        self._buffer = buffer
        return False


def _is_whole(buffer: bytes, body: int) -> bool:
    length = _LENGTH.search(buffer, 0, body)
    if length is None:  # in chunks
        return buffer.endswith(b"0\r\n\r\n")
    return len(buffer) - body >= int(length[1])


def drive(port: int, streams: Iterable[Iterator[bytes]], seconds: float = 3600.0, *, keep: bool = False) -> Load:
    """Send requests until their end, or the end of the time.

    Args:
        port: Of the server, on the loopback.
        streams: The requests of each connection.
        seconds: After which no more requests are sent.
        keep: Whether bodies of answers are kept.

    Raises:
        BenchmarkError: An answer is not 200, or fails to come.
    """
    load, poll = Load(), select.epoll()
    connections = {each.socket.fileno(): each for each in (_Connection(port, stream) for stream in streams)}
    busy, start = time.process_time(), time.perf_counter()
    for number, connection in connections.items():
        poll.register(number, select.EPOLLIN)
        connection.send()
    _exchange(load, poll, connections, start + seconds, keep=keep)
    load.seconds, load.client_seconds = time.perf_counter() - start, time.process_time() - busy
    poll.close()
    return load


def _exchange(
    load: Load, poll: select.epoll, connections: dict[int, _Connection], deadline: float, *, keep: bool
) -> None:
    while connections:
        ready = poll.poll(_PATIENCE)
        if not ready:
            raise BenchmarkError(f"The server has not answered for {_PATIENCE:.0f} seconds.")
        for number, _ in ready:
            connection = connections[number]
            if not connection.receive():
                continue
            now = time.perf_counter()
            load.times.append(now - connection.sent)
            if keep:
                load.answers.append(connection.whole.partition(b"\r\n\r\n")[2])
            if now >= deadline or not connection.send():
                del connections[number]
                poll.unregister(number)
                connection.socket.close()
