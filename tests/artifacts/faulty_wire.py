"""`FaultyWire`: a proxy between a client and a server that cuts, stalls, damages and lies where a test says.

Faults are set at a byte of all that passes, whatever the protocol, or at a request and its answer, if that is HTTP.
"""

from __future__ import annotations

import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from types import TracebackType
from typing import Literal, Self
from urllib.parse import parse_qsl, unquote, urlsplit

__all__ = ["ALWAYS", "Answer", "Damage", "Direction", "Fault", "FaultyWire", "HttpRequest", "Spot"]

ALWAYS = 1 << 30
"""For faults that never end."""

Direction = Literal["request", "answer"]
Spot = Literal["start", "head", "body", "end"]

_PIECE = 1 << 16
_RECEIVE_BUFFER = 1 << 16  # small, so that what a client has sent is not far ahead of what has passed
_STANDSTILL = 1.0
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Fault(Enum):
    """What happens at a byte."""

    RESET = "both connections are reset before it"
    END = "both connections are closed in order before it"
    STALL = "nothing passes any more on its connection, until the client gives up"
    FLIP = "one of its bits is changed"


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request that came by.

    Attributes:
        method: `GET`, `PUT`, ….
        path: Decoded, without the query.
        query: Decoded; of a name that is given twice, the last value.
        headers: Names in lower case.
    """

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Answer:
    """Given in place of the server's, which never sees the request.

    Attributes:
        status: HTTP status.
        headers: Beside `Content-Length`.
        body: Or what makes it of the request.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | Callable[[HttpRequest], bytes] = b""

    def render(self, request: HttpRequest) -> bytes:
        """The whole answer as it is sent."""
        body = self.body if isinstance(self.body, bytes) else self.body(request)
        headers = {**self.headers, "Content-Length": str(len(body))}
        lines = [f"HTTP/1.1 {self.status} Injected", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
        return "\r\n".join(lines).encode("latin-1") + (b"" if request.method == "HEAD" else body)


@dataclass(frozen=True, slots=True)
class Damage:
    """A fault in a request or in its answer.

    Attributes:
        direction: In which of them.
        spot: At its first byte, in the middle of its head, in the middle of its body, or at its last byte.
        fault: What happens there; a function is called while the byte waits.
    """

    direction: Direction
    spot: Spot
    fault: Fault | Callable[[], None]


@dataclass(slots=True)
class _Rule:
    matches: Callable[[HttpRequest], bool]
    what: Answer | Damage
    skip: int
    times: int


@dataclass(slots=True)
class _Trap:
    """Waits for a byte of all that passes in one direction."""

    direction: Direction
    left: int
    what: Fault | Callable[[], None]
    forever: bool


class FaultyWire:
    """A port whose connections go on to a server; a context manager, safe for threads.

    Args:
        port: Where the server listens.
        http: Whether it speaks HTTP/1.1.
        host: Where the server listens.

    Attributes:
        port: Where to connect to instead.
        requests: That came by since the last `reset`, in order.
        passed: Bytes that passed in either direction since the last `reset`.
        bytes_per_second: How fast each connection carries bytes from the client, if limited.
    """

    def __init__(self, port: int, *, http: bool, host: str = "127.0.0.1") -> None:
        self._target = (host, port)
        self._http = http
        self._lock = threading.Lock()
        self._links: list[_Link] = []
        self._closed = False
        self.reset()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def reset(self) -> None:
        """Let everything pass from now on, and forget what has passed; whole connections stay."""
        with self._lock:
            ended = [link for link in self._links if link.ended]
            self._links = [link for link in self._links if link not in ended]
            self._rules: list[_Rule] = []
            self._trap: _Trap | None = None
            self._dead = False
            self.bytes_per_second: int | None = None
            self.requests: list[HttpRequest] = []
            self._answered: list[HttpRequest] = []
            self.passed: dict[Direction, int] = {"request": 0, "answer": 0}
        for link in ended:
            link.join()

    def trap(self, direction: Direction, at: int, what: Fault | Callable[[], None], *, forever: bool = False) -> None:
        """Set a fault at a byte.

        Args:
            direction: Of the bytes to count.
            at: How many are to pass before.
            what: The fault; a function is called while the byte waits.
            forever: All connections are reset instead, and all new ones at once.
        """
        with self._lock:
            self._trap = _Trap(direction, at, what, forever)

    @property
    def sprung(self) -> bool:
        """Whether the trap was sprung."""
        return self._trap is None

    def on(
        self, matches: Callable[[HttpRequest], bool], what: Answer | Damage, *, skip: int = 0, times: int = 1
    ) -> None:
        """Set a fault at requests.

        Args:
            matches: Which.
            what: Happens.
            skip: How many of them pass before.
            times: How many are hit.
        """
        with self._lock:
            self._rules.append(_Rule(matches, what, skip, times))

    def wait_for(self, matches: Callable[[HttpRequest], bool], seconds: float) -> bool:
        """Wait until such a request has come by since the last `reset`; whether it has."""
        return _wait(lambda: any(map(matches, self.requests)), seconds)

    def wait_until_answered(self, matches: Callable[[HttpRequest], bool], times: int, seconds: float) -> bool:
        """Wait until so many such requests got whole answers since the last `reset`; whether they have."""
        return _wait(lambda: sum(map(matches, self._answered)) >= times, seconds)

    @property
    def hits_left(self) -> int:
        """How many requests the faults set by `on` still wait for."""
        with self._lock:
            return sum(rule.times for rule in self._rules)

    def close(self) -> None:
        """End all connections and listen no more."""
        self._closed = True
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
            try:
                server = socket.create_connection(self._target)
            except OSError:
                _end(client, reset=True)
                continue
            link = (_HttpLink if self._http else _Link)(self, client, server)
            with self._lock:
                self._links.append(link)
                refused = self._dead or self._closed
            if refused:
                link.cut()
            link.start()

    def cut(self) -> None:
        """Reset all connections there are."""
        with self._lock:
            links = list(self._links)
        for link in links:
            link.cut()

    # For links

    def note(self, request: HttpRequest) -> Answer | Damage | None:
        """A request came by; what is to happen to it."""
        with self._lock:
            self.requests.append(request)
            for rule in self._rules:
                if rule.times > 0 and rule.matches(request):
                    if rule.skip > 0:
                        rule.skip -= 1
                    else:
                        rule.times -= 1
                        return rule.what
        return None

    def note_answer(self, request: HttpRequest) -> None:
        """The answer to a request has passed."""
        with self._lock:
            self._answered.append(request)

    def count(self, direction: Direction, size: int) -> tuple[int, _Trap | None]:
        """Bytes want to pass: how many may, and the trap before the next one."""
        with self._lock:
            trap = self._trap
            if trap is None or trap.direction != direction or trap.left >= size:
                self.passed[direction] += size
                if trap is not None and trap.direction == direction:
                    trap.left -= size
                return size, None
            self._trap = None
            self._dead = trap.forever
            self.passed[direction] += trap.left
            return trap.left, trap


class _CutError(Exception):
    """The connection is no more."""


class _Link:
    """One connection through the wire, of any protocol."""

    def __init__(self, wire: FaultyWire, client: socket.socket, server: socket.socket) -> None:
        self._wire = wire
        self._ends: dict[Direction, socket.socket] = {"request": server, "answer": client}  # where bytes go
        for end in self._ends.values():
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._threads = [threading.Thread(target=self._run, args=(job,), daemon=True) for job in self._jobs()]

    def start(self) -> None:
        """Begin to carry bytes."""
        for thread in self._threads:
            thread.start()

    def cut(self, *, reset: bool = True) -> None:
        """End both connections."""
        for end in self._ends.values():
            _end(end, reset=reset)

    @property
    def ended(self) -> bool:
        """Whether it carries nothing any more."""
        return all(thread.ident and not thread.is_alive() for thread in self._threads)

    def join(self) -> None:
        """Wait until nothing moves any more, and close the sockets."""
        for thread in self._threads:
            thread.join()
        for end in self._ends.values():
            end.close()

    def _jobs(self) -> list[Callable[[], None]]:
        return [lambda: self._pump("request", "answer"), lambda: self._pump("answer", "request")]

    def _run(self, job: Callable[[], None]) -> None:
        try:
            job()
        except (OSError, ValueError, _CutError):  # sockets that another thread has closed give ValueError
            self.cut()

    def _pump(self, direction: Direction, back: Direction) -> None:
        while data := self._ends[back].recv(_PIECE):
            self._pass(direction, data)
        self._ends[direction].shutdown(socket.SHUT_WR)

    def _pass(self, direction: Direction, data: bytes) -> None:
        """Let bytes pass, or meet with what waits for one of them."""
        while data:
            count, trap = self._wire.count(direction, len(data))
            self._send(direction, data[:count])
            data = data[count:]
            if trap is not None and trap.forever:
                self._wire.cut()
                raise _CutError
            if trap is not None:
                data = self._spring(trap.what, data)

    def _send(self, direction: Direction, data: bytes) -> None:
        rate = self._wire.bytes_per_second
        if rate and direction == "request":
            for start in range(0, len(data), _PIECE >> 2):
                piece = data[start : start + (_PIECE >> 2)]
                time.sleep(len(piece) / rate)
                self._ends[direction].sendall(piece)
        else:
            self._ends[direction].sendall(data)

    def _spring(self, what: Fault | Callable[[], None], data: bytes) -> bytes:
        """Let a fault happen before `data`; what goes on of that."""
        if what is Fault.FLIP:
            return bytes([data[0] ^ 1]) + data[1:]
        if what is Fault.STALL:
            _wait_for_end(self._ends["answer"])
            raise _CutError
        if isinstance(what, Fault):
            self.cut(reset=what is Fault.RESET)
            raise _CutError
        what()
        return data


class _HttpLink(_Link):
    """One connection through the wire, with a request and its answer at a time."""

    def __init__(self, wire: FaultyWire, client: socket.socket, server: socket.socket) -> None:
        super().__init__(wire, client, server)
        self._client, self._server = _HttpStream(client), _HttpStream(server)

    def _jobs(self) -> list[Callable[[], None]]:
        return [self._serve]

    def _serve(self) -> None:
        while head := self._next_head():
            request = _parse_request(head)
            what = self._wire.note(request)
            message = self._client.message(head)
            if isinstance(what, Answer):
                for _ in message:
                    pass
                self._pass("answer", what.render(request))
                continue
            self._move("request", message, what)
            answer = self._server.head()
            if not answer:
                break
            bare = request.method == "HEAD" or answer.split(b" ", 2)[1] in (b"204", b"304")
            self._move("answer", self._server.message(answer, bare=bare, answer=True), what)
            self._wire.note_answer(request)
        self.cut(reset=False)

    def _next_head(self) -> bytes:
        """The head of the next request; nothing if either end closes instead."""
        if not self._client.buffer:
            readable, _, _ = select.select([self._client.socket, self._server.socket], [], [])
            if self._client.socket not in readable:
                return b""
        return self._client.head()

    def _move(self, direction: Direction, message: Iterator[bytes], what: Damage | None) -> None:
        if what is None or what.direction != direction:
            for piece in message:
                if direction == "request" and select.select([self._server.socket], [], [], 0)[0]:
                    break  # it answers before it has read all
                self._pass(direction, piece)
            return
        whole = b"".join(message)
        at = _offset(whole, what.spot)
        self._pass(direction, whole[:at])
        self._pass(direction, self._spring(what.fault, whole[at:]))


class _HttpStream:
    """Takes messages off a socket.

    Attributes:
        socket: The socket.
        buffer: Read already, and part of the next message.
    """

    def __init__(self, source: socket.socket) -> None:
        self.socket = source
        self.buffer = b""

    def head(self) -> bytes:
        """The next head with the empty line after it; nothing if the connection ended."""
        while b"\r\n\r\n" not in self.buffer:
            if not self._fill():
                return b""
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        return head + b"\r\n\r\n"

    def message(self, head: bytes, *, bare: bool = False, answer: bool = False) -> Iterator[bytes]:
        """A head and the body after it, piece by piece and as they are.

        Args:
            head: The head.
            bare: There is no body, whatever the head says.
            answer: Without a length, the body ends with the connection.
        """
        yield head
        headers = _parse_headers(head)
        if bare:
            return
        if headers.get("transfer-encoding", "").lower() == "chunked":
            yield from self._chunks()
        elif "content-length" in headers:
            yield from self._take(int(headers["content-length"]))
        elif answer:
            while self.buffer or self._fill():
                data, self.buffer = self.buffer, b""
                yield data

    def _chunks(self) -> Iterator[bytes]:
        while True:
            line = self._line()
            yield line
            size = int(line.split(b";")[0], 16)
            if size == 0:
                break
            yield from self._take(size + 2)
        while (line := self._line()) != b"\r\n":
            yield line
        yield line

    def _line(self) -> bytes:
        while b"\r\n" not in self.buffer:
            if not self._fill():
                raise _CutError
        line, _, self.buffer = self.buffer.partition(b"\r\n")
        return line + b"\r\n"

    def _take(self, size: int) -> Iterator[bytes]:
        while size > 0:
            if not self.buffer and not self._fill():
                raise _CutError
            data, self.buffer = self.buffer[:size], self.buffer[size:]
            size -= len(data)
            yield data

    def _fill(self) -> bool:
        data = self.socket.recv(_PIECE)
        self.buffer += data
        return bool(data)


def _wait(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


def _parse_headers(head: bytes) -> dict[str, str]:
    lines = head.decode("latin-1").split("\r\n")[1:]
    pairs = (line.partition(":") for line in lines if line)
    return {name.strip().lower(): value.strip() for name, _, value in pairs}


def _parse_request(head: bytes) -> HttpRequest:
    method, target, _ = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
    parts = urlsplit(target)
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    return HttpRequest(method, unquote(parts.path), query, _parse_headers(head))


def _offset(message: bytes, spot: Spot) -> int:
    """Where a spot of a message is; in the head if it has no body."""
    head = message.index(b"\r\n\r\n") + 4
    body = len(message) - head
    return {"start": 0, "head": head // 2, "body": head + body // 2 if body else head // 2, "end": len(message) - 1}[
        spot
    ]


def _wait_for_end(end: socket.socket) -> None:
    """Take nothing for a while, then wait until the peer of a socket closes it, or this side does.

    That a peer is gone comes after what it had sent before, so this is taken in the end.
    """
    poll = select.poll()
    poll.register(end, select.POLLRDHUP)
    poll.poll(_STANDSTILL * 1000)
    while end.recv(_PIECE):
        pass


def _end(end: socket.socket, *, reset: bool) -> None:
    """End a connection so that its peer and the threads that use it notice at once.

    A peer is not told of `SHUT_RD`, which wakes the threads; so a reset is all that it sees.
    """
    with suppress(OSError):
        if reset:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            end.shutdown(socket.SHUT_RD)
            end.close()
        else:
            end.shutdown(socket.SHUT_RDWR)
