"""HTTP connections with limits: uvicorn's protocol waits for ever for a client that sends nothing, or reads nothing."""

from __future__ import annotations

import asyncio
import resource
from typing import TYPE_CHECKING, cast

import httptools
import orjson
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

if TYPE_CHECKING:
    from uvicorn._types import ASGI3Application

__all__ = ["LimitedProtocol"]

HEAD_SECONDS = 20.0
"""How long a client may take to send the head of a request, from the connection or its first byte on."""

BODY_SECONDS = 60.0
"""How long a client may be silent in the middle of a body."""

WRITE_SECONDS = 60.0
"""How long a client may take nothing of an answer."""

LINGER_SECONDS = 10.0
"""How long the rest of a body that nobody wants is read, so that the answer is not lost with the connection."""

LOOK_SECONDS = 2.5
"""Between two looks at a connection: the limits above are kept to within that."""

MAX_HEAD = 64 << 10
"""Bytes of a request line and its headers at most."""

KEPT_FILES = 200
"""Open files that are left to the stores."""

_TOO_LONG = "The request line and headers are too long."
_REASONS = {400: b"Bad Request", 408: b"Request Timeout", 431: b"Request Header Fields Too Large"}


def most_connections() -> int:
    """Connections of a worker at most; beyond them, the one that has been idle longest is closed."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 5000 if soft == resource.RLIM_INFINITY else max(50, min(5000, soft - KEPT_FILES))


class LimitedProtocol(HttpToolsProtocol):
    """A connection that is looked at every few seconds, and closed when the client takes too long."""

    _running: RequestResponseCycle | None = None
    _watch: asyncio.TimerHandle | None = None
    _head_begun: float | None = None
    _head_bytes = 0
    _chunk = 0
    _receiving = False
    _upgrading = False
    _active = 0.0
    _answered = 0.0
    _unsent = 0
    _sent = 0.0
    _refusal = 400
    _refused = False
    _most = most_connections()

    # Called by the event loop

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._head_begun = self._active = self._sent = self.loop.time()
        self._watch = self.loop.call_later(LOOK_SECONDS, self._look)
        if len(self.connections) > self._most:
            self._close_idlest()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop looking."""
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        if self._running is not None:
            self._running.disconnected = True
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what the client sends, within the limits."""
        if self._refused:
            return
        self._unset_keepalive_if_required()
        self._active = self.loop.time()
        self._chunk = len(data)
        if self._head_begun is not None:
            self._head_bytes += self._chunk
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._decline_upgrade(data[cast(int, upgrade.args[0]) :])
        except httptools.HttpParserError:
            self._refuse(self._refusal, _TOO_LONG if self._refusal == 431 else "The request is not valid HTTP.")
        else:
            if self._head_begun is not None and self._head_bytes > MAX_HEAD and not self.transport.is_closing():
                self._refuse(431, _TOO_LONG)

    def resume_writing(self) -> None:
        """The client has read something."""
        self._sent = self.loop.time()
        super().resume_writing()

    # Called by the parser

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        if self._head_begun is None:
            self._head_begun, self._head_bytes = self._active, self._chunk
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Begin the request, unless its head is too long."""
        too_long = self._head_bytes > MAX_HEAD and _head_size(self.url, self.headers) > MAX_HEAD
        self._head_begun, self._head_bytes, self._receiving = None, 0, True
        if too_long:
            self._refusal = 431
            raise ValueError(_TOO_LONG)
        self._upgrading = self.parser.should_upgrade()
        if not self._upgrading:
            super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The last byte of a request."""
        self._receiving = False
        if not self._upgrading:
            super().on_message_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        """Remember which request is being answered: after others that did not wait, `cycle` is the last of them."""
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        """Go on to the next request, or wait for the rest of the body of this one."""
        self._answered = self.loop.time()
        super().on_response_complete()

    # Refusals

    def _decline_upgrade(self, rest: bytes) -> None:
        """Take a request that asks for another protocol as if it did not; its body has not been parsed."""
        method = self.parser.get_method()
        if method == b"CONNECT":
            self._refuse(400, "The server is no proxy.")
            return
        kept = [name + b": " + value for name, value in self.headers if name != b"upgrade"]
        line = method + b" " + self.url + b" HTTP/" + self.parser.get_http_version().encode()
        self.parser = httptools.HttpRequestParser(self)
        self.data_received(b"\r\n".join([line, *kept, b"", b""]) + rest)

    def _refuse(self, status: int, message: str) -> None:
        """Answer, and read for a while what still comes: else the answer could be lost with the connection."""
        if self._is_busy():  # a refusal must not stand in the middle of another answer
            self._abort()
            return
        body = orjson.dumps({"error_code": "BAD_REQUEST", "message": message})
        head = b"HTTP/1.1 %d %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
        self.transport.write(head % (status, _REASONS[status], len(body)) + body)
        self.transport.write_eof()
        self._refused, self._answered = True, self.loop.time()

    def _abort(self) -> None:
        if self._running is not None:
            self._running.disconnected = True  # else it would write once more
        self.transport.abort()

    # Time

    def _look(self) -> None:
        now = self.loop.time()
        self._watch = self.loop.call_later(LOOK_SECONDS, self._look)
        if self._is_stuck(now):
            self._abort()
        elif self.transport.is_closing() or self.flow.read_paused:
            return
        elif self._refused:
            if now - self._answered > LINGER_SECONDS:
                self._abort()
        elif self._receiving:
            if self._is_silent(now):
                self._abort()
        elif not self._is_busy():
            self._look_between_requests(now)

    def _look_between_requests(self, now: float) -> None:
        if self._head_begun is None:
            if now - self._answered > self.timeout_keep_alive:
                self.transport.close()
        elif now - self._head_begun > HEAD_SECONDS:
            if self._head_bytes:
                self._refuse(408, "The request took too long to arrive.")
            else:
                self.transport.close()

    def _is_silent(self, now: float) -> bool:
        """Whether the rest of a body is not worth waiting for."""
        if self._is_busy():
            return now - self._active > BODY_SECONDS
        return now - self._answered > LINGER_SECONDS

    def _is_busy(self) -> bool:
        """Whether a request waits for the end of its answer."""
        return self.cycle is not None and not self.cycle.response_complete

    def _is_stuck(self, now: float) -> bool:
        """Whether the client has taken nothing of what waits for it."""
        unsent = self.transport.get_write_buffer_size()
        if unsent == 0 or unsent < self._unsent:
            self._sent = now
        self._unsent = unsent
        return now - self._sent > WRITE_SECONDS

    def _close_idlest(self) -> None:
        others = (item for item in self.connections if isinstance(item, LimitedProtocol) and item is not self)
        idle = [item for item in others if not item._is_busy()]
        if idle:
            min(idle, key=lambda item: item._active)._abort()


def _head_size(url: bytes, headers: list[tuple[bytes, bytes]]) -> int:
    return len(url) + sum(len(name) + len(value) + 4 for name, value in headers)
