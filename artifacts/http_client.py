"""HTTP for object stores: kept connections, streamed bodies, errors that say whether trying again may help.

The SDKs of the services spend 1.5 to 2 ms of processor time on a request, several times what a server takes to answer
it, and threads cannot share that work out. So their credentials and settings are used, and the requests are made here,
on `http.client`.
"""

from __future__ import annotations

import http.client
import os
import socket
import ssl
import threading
import time
import urllib.request
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import cast, overload
from urllib.parse import SplitResult, unquote, urlsplit

from holdall.stores.errors import HoldallError, InvalidParameterValue, TemporarilyUnavailable

__all__ = ["Body", "HttpClient", "HttpResponse", "HttpSettings"]

Body = bytes | bytearray | memoryview

IDLE_SECONDS = 20.0
"""Age at which an idle connection is not trusted any more; most servers keep them longer."""

_LONGEST_LINE = 1 << 16
_MOST_HEADERS = 200
_ERROR_BYTES = 1 << 16
_DRAIN_BYTES = 1 << 16
_PIECE = 1 << 18


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """How connections are made.

    Attributes:
        connect_timeout: Seconds to wait for a connection.
        timeout: Seconds to wait for the next bytes, either way.
        verify: Whether the server's certificate is checked; or the file of certificates to check it with. True means
            those of the system, or of the file that REQUESTS_CA_BUNDLE names.
    """

    connect_timeout: float = 10.0
    timeout: float = 60.0
    verify: bool | str = True

    def tls(self) -> ssl.SSLContext:
        """What TLS connections are made with.

        Raises:
            InvalidParameterValue: The file of certificates cannot be read.
        """
        bundle = self.verify if isinstance(self.verify, str) else os.environ.get("REQUESTS_CA_BUNDLE")
        try:
            context = ssl.create_default_context(cafile=bundle or None)
        except OSError as error:
            raise InvalidParameterValue(f"Cannot read certificates from {bundle!r}.") from error
        if self.verify is False:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


class Headers:
    """Headers of an answer by name, in any case; those given several times are joined by commas."""

    def __init__(self) -> None:
        self._values: dict[str, str] = {}

    def add(self, name: str, value: str) -> None:
        """Take one more."""
        name = name.lower()
        self._values[name] = f"{self._values[name]}, {value}" if name in self._values else value

    @overload
    def get(self, name: str) -> str | None: ...
    @overload
    def get(self, name: str, default: str) -> str: ...
    def get(self, name: str, default: str | None = None) -> str | None:
        """The value of a header, or the default."""
        return self._values.get(name.lower(), default)


class _Answer(http.client.HTTPResponse):
    """Reads the head of an answer without the parser of e-mails, which takes a quarter of a small request's time."""

    def begin(self) -> None:
        while True:
            version, status, reason = self._read_status()  # type: ignore[attr-defined]
            headers = self._read_head()
            if status != http.client.CONTINUE:
                break
        self.code = self.status = status
        self.reason = reason.strip()
        self.version = 10 if version.startswith("HTTP/1.0") else 11
        self.headers = self.msg = headers  # type: ignore[assignment]
        self.chunked = headers.get("transfer-encoding", "").lower() == "chunked"
        self.chunk_left = None
        length = headers.get("content-length", "")
        self.length = int(length) if length.isdigit() and not self.chunked else None
        if status in (http.client.NO_CONTENT, http.client.NOT_MODIFIED) or self._method == "HEAD":  # type: ignore[attr-defined]
            self.length = 0
        # An answer without a length ends with its connection.
        closes = self._check_close()  # type: ignore[attr-defined]
        self.will_close = bool(closes) or (not self.chunked and self.length is None)

    def _read_head(self) -> Headers:
        headers = Headers()
        for _ in range(_MOST_HEADERS):
            line = self.fp.readline(_LONGEST_LINE + 1)
            if line in (b"\r\n", b"\n"):
                return headers
            name, colon, value = line.decode("iso-8859-1").partition(":")
            if not colon or len(line) > _LONGEST_LINE:
                raise http.client.HTTPException("malformed headers")
            headers.add(name.strip(), value.strip())
        raise http.client.HTTPException("too many headers")


class HttpResponse:
    """An answer whose body is read as it comes; its connection is used again once that is done.

    Attributes:
        status: HTTP status.
        headers: By name, in any case.
    """

    def __init__(
        self, pool: HttpClient, connection: http.client.HTTPConnection, answer: http.client.HTTPResponse
    ) -> None:
        self._pool, self._connection, self._answer = pool, connection, answer
        self.status = answer.status
        self.headers = cast(Headers, answer.headers)
        self._taken_back = False

    def read(self, size: int = -1, /) -> bytes:
        """At most `size` bytes, all if negative; `b''` at the end.

        Raises:
            TemporarilyUnavailable: The connection broke, stalled or ended early.
        """
        try:
            data = self._answer.read(None if size < 0 else size)
            # `read(n)` takes a connection that ends early for the end of the body.
            if not data and size and self._answer.length:
                raise http.client.IncompleteRead(b"", self._answer.length)
        except (OSError, http.client.HTTPException) as error:
            self._discard()
            raise self._pool.failure("broke while its answer was being read", error) from error
        if self._answer.isclosed():
            self._take_back()
        return data

    def error_text(self) -> str:
        """The beginning of the body of a refusal, which ends the answer."""
        try:
            data = self.read(_ERROR_BYTES)
        except TemporarilyUnavailable:
            return ""
        self.close()
        return data.decode("utf-8", "replace")

    def close(self) -> None:
        """Give the connection back; one with much left to read is closed instead."""
        if not self._taken_back and (self._answer.length or 0) <= _DRAIN_BYTES and self._answer.length is not None:
            try:
                self._answer.read()
            except (OSError, http.client.HTTPException):
                pass  # it is discarded below
            else:
                self._take_back()
        self._discard()

    def _take_back(self) -> None:
        if not self._taken_back:
            self._taken_back = True
            self._pool.take_back(self._connection, reusable=not self._answer.will_close)

    def _discard(self) -> None:
        if not self._taken_back:
            self._taken_back = True
            self._answer.close()
            self._connection.close()


class HttpClient:
    """Connections to one server. Safe between threads, and in forked children.

    Args:
        origin: `http://host:port` or `https://host:port`.
        settings: How to connect.

    Raises:
        InvalidParameterValue: The origin is no HTTP address.
    """

    def __init__(self, origin: str, settings: HttpSettings) -> None:
        parts = urlsplit(origin)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InvalidParameterValue(f"{origin!r} is no http:// or https:// address.")
        self._settings = settings
        self._origin = parts
        self._tls = settings.tls() if parts.scheme == "https" else None
        self._proxy = _find_proxy(parts)
        self.host = parts.netloc.rpartition("@")[2]
        self._lock = threading.Lock()
        self._idle: list[tuple[float, http.client.HTTPConnection]] = []
        self._process = os.getpid()

    def request(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: Body | tuple[Body, ...] | None = None,
        *,
        repeatable: bool = True,
    ) -> HttpResponse:
        """Send a request and wait for the head of the answer.

        Args:
            method: `GET`, `PUT`, ….
            target: Path and query, encoded.
            headers: Sent as they are; `Host` and `Content-Length` are added.
            body: Whole, or its pieces in order.
            repeatable: Whether to send it again if a connection that was kept turns out to be broken.

        Raises:
            TemporarilyUnavailable: No answer came.
        """
        if self._proxy is not None and self._tls is None:
            target = f"http://{self.host}{target}"
        connection = self._idle_connection()
        if connection is not None:
            try:
                return self._exchange(connection, method, target, headers, body)
            except TemporarilyUnavailable:
                # The server may have closed it long ago; a new one will tell.
                if not repeatable:
                    raise
        return self._exchange(self._connect(), method, target, headers, body)

    def take_back(self, connection: http.client.HTTPConnection, *, reusable: bool) -> None:
        """Keep a connection whose answer was read to its end, for the next request."""
        if not reusable:
            connection.close()
            return
        with self._lock:
            self._idle.append((time.monotonic(), connection))

    def close(self) -> None:
        """Close the connections that are idle."""
        with self._lock:
            idle, self._idle = self._idle, []
        for _, connection in idle:
            connection.close()

    def failure(self, what: str, error: Exception) -> HoldallError:
        """The error to raise for one of the system's."""
        if isinstance(error, ssl.SSLCertVerificationError):
            return InvalidParameterValue(
                f"The certificate of {self.host} is not to be trusted ({error.verify_message}); name the file of "
                "certificates that vouches for it, or use an http:// endpoint."
            )
        reason = "it did not answer in time" if isinstance(error, TimeoutError) else type(error).__name__
        return TemporarilyUnavailable(f"The connection to {self.host} {what}: {reason}.")

    def _idle_connection(self) -> http.client.HTTPConnection | None:
        with self._lock:
            if self._process != os.getpid():
                self._idle, self._process = [], os.getpid()  # they belong to the parent
            while self._idle:
                since, connection = self._idle.pop()
                if time.monotonic() - since < IDLE_SECONDS:
                    return connection
                connection.close()
        return None

    def _exchange(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: Body | tuple[Body, ...] | None,
    ) -> HttpResponse:
        headers = dict(headers)
        pieces: list[Body] = []
        if body is not None:
            pieces = list(_pieces(body if isinstance(body, tuple) else (body,)))
            headers["content-length"] = str(sum(map(len, pieces)))
        try:
            try:
                connection.request(method, target, pieces or None, headers)
            except (BrokenPipeError, ConnectionResetError):
                if not pieces:
                    raise
                # A server that refuses a body may close before it has read all; its answer says why.
            return HttpResponse(self, connection, connection.getresponse())
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise self.failure("broke", error) from error
        except BaseException:
            connection.close()
            raise

    def _connect(self) -> http.client.HTTPConnection:
        where = self._proxy or self._origin
        port = where.port or (443 if where.scheme == "https" else 80)
        timeout = self._settings.connect_timeout
        connection: http.client.HTTPConnection
        if self._tls is not None:
            connection = http.client.HTTPSConnection(where.hostname or "", port, timeout=timeout, context=self._tls)
        else:
            connection = http.client.HTTPConnection(where.hostname or "", port, timeout=timeout)
        connection.response_class = _Answer
        if self._proxy is not None and self._tls is not None:
            connection.set_tunnel(self._origin.hostname or "", self._origin.port or 443, _proxy_headers(self._proxy))
        try:
            connection.connect()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise self.failure("could not be made", error) from error
        connection.sock.settimeout(self._settings.timeout)
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if hasattr(socket, "TCP_NOTSENT_LOWAT"):  # what the system takes and has not sent is a wait that we do not see
            connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _PIECE)
        return connection


def _pieces(bodies: Iterable[Body]) -> Iterator[Body]:
    """What follows one another in a body, for a socket whose time-out is for all that it is given at once."""
    for body in bodies:
        if len(body) <= _PIECE:
            yield body
        else:
            view = memoryview(body)
            yield from (view[start : start + _PIECE] for start in range(0, len(view), _PIECE))


def _find_proxy(origin: SplitResult) -> SplitResult | None:
    """The proxy that the environment names for a server, if any."""
    address = urllib.request.getproxies().get(origin.scheme)
    if not address or urllib.request.proxy_bypass(origin.netloc.rpartition("@")[2]):
        return None
    return urlsplit(address if "://" in address else f"http://{address}")


def _proxy_headers(proxy: SplitResult) -> dict[str, str]:
    if proxy.username is None:
        return {}
    account = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
    return {"Proxy-Authorization": f"Basic {b64encode(account.encode()).decode()}"}
