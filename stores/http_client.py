"""HTTP for stores: kept connections, streamed bodies, errors that say whether trying again may help.

The SDKs of the object stores, and HTTP libraries in general, spend 1 to 2 ms of processor time on a request, several
times what a server takes to answer it, and threads cannot share that work out. So the requests are made here, on
`http.client`.
"""

from __future__ import annotations

import http.client
import os
import select
import socket
import ssl
import time
import urllib.request
from base64 import b64encode
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import cast, overload
from urllib.parse import SplitResult, unquote, urlsplit

from holdall.stores.errors import HoldallError, InvalidParameterValue, TemporarilyUnavailable

__all__ = ["Body", "HttpClient", "HttpResponse", "HttpSettings", "HttpUpload", "NotConnected"]

Body = bytes | bytearray | memoryview

IDLE_SECONDS = 20.0
"""Age at which an idle connection is not trusted any more; most servers keep them longer."""

_LONGEST_LINE = 1 << 16
_MOST_HEADERS = 200
_ERROR_BYTES = 1 << 16
_DRAIN_BYTES = 1 << 16
_PIECE = 1 << 18
_LONGEST_RETRY_AFTER = 60.0


class NotConnected(TemporarilyUnavailable):
    """No connection could be made: nothing was sent."""


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """How connections are made.

    Attributes:
        connect_timeout: Seconds to wait for a connection.
        timeout: Seconds to wait for the next bytes, either way.
        verify: Whether the server's certificate is checked; or the file or folder of certificates to check it with.
            True means those of the system, or of what REQUESTS_CA_BUNDLE names.
        client_certificate: File with a certificate, and its key, by which the server knows the client; None for none.
        remedy: What to do about a server's certificate that is not to be trusted, for messages.
    """

    connect_timeout: float = 10.0
    timeout: float = 60.0
    verify: bool | str = True
    client_certificate: str | None = None
    remedy: str = "name the file of certificates that vouches for it, or use an http:// endpoint"

    def tls(self) -> ssl.SSLContext:
        """What TLS connections are made with.

        Raises:
            InvalidParameterValue: A file of certificates cannot be read.
        """
        bundle = (self.verify if isinstance(self.verify, str) else os.environ.get("REQUESTS_CA_BUNDLE")) or None
        is_folder = bundle is not None and os.path.isdir(bundle)
        try:
            context = ssl.create_default_context(
                cafile=None if is_folder else bundle, capath=bundle if is_folder else None
            )
        except OSError as error:
            raise InvalidParameterValue(f"Cannot read certificates from {bundle!r}.") from error
        if self.client_certificate is not None:
            try:
                context.load_cert_chain(self.client_certificate)
            except OSError as error:
                raise InvalidParameterValue(
                    f"Cannot read a certificate and its key from {self.client_certificate!r}."
                ) from error
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

    @property
    def retry_after(self) -> float:
        """Seconds that the server asks to be left alone, 0 if it does not say, and never more than a minute."""
        with suppress(ValueError):
            return min(max(0.0, float(self.headers.get("Retry-After", "0"))), _LONGEST_RETRY_AFTER)
        return 0.0

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


class HttpUpload:
    """A request whose body is sent in chunks, as it comes into being. For one thread; nothing of it can be repeated."""

    def __init__(self, pool: HttpClient, connection: http.client.HTTPConnection) -> None:
        self._pool, self._connection = pool, connection
        self._is_tls = isinstance(connection.sock, ssl.SSLSocket)  # what waits to be read there may be no answer

    def write(self, data: Body) -> bool:
        """Send the next bytes.

        Returns:
            Whether the server wants more; it does not once it has answered or closed, and `finish` tells why.

        Raises:
            TemporarilyUnavailable: The connection broke.
        """
        for piece in _pieces((data,)):
            if not self._is_tls and not _is_quiet(self._connection.sock):
                return False
            if piece and not self._send(b"".join((b"%x\r\n" % len(piece), piece, b"\r\n"))):
                return False
        return True

    def finish(self, trailers: Mapping[str, str]) -> HttpResponse:
        """End the body and wait for the head of the answer.

        Args:
            trailers: Headers that come after the body.

        Raises:
            TemporarilyUnavailable: No answer came; what became of the request is not known.
        """
        lines = "".join(f"{name}: {value}\r\n" for name, value in trailers.items())
        self._send(f"0\r\n{lines}\r\n".encode("latin-1"))
        return self.answer()

    def answer(self) -> HttpResponse:
        """The answer of a server that wants no more, or has got all; raises as `finish` does."""
        try:
            return HttpResponse(self._pool, self._connection, self._connection.getresponse())
        except (OSError, http.client.HTTPException) as error:
            self.abort()
            raise self._pool.failure("broke", error) from error

    def abort(self) -> None:
        """Break off: the server sees that the body has no end."""
        self._connection.close()

    def _send(self, data: bytes) -> bool:
        try:
            self._connection.send(data)
        except (BrokenPipeError, ConnectionResetError):
            return False  # its answer, if it gave one before, says why
        except (OSError, http.client.HTTPException) as error:
            self.abort()
            raise self._pool.failure("broke while a file was being sent", error) from error
        return True


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
        # Without a lock: threads that wait for one while its holder waits for the interpreter are a queue that stays.
        self._idle: deque[tuple[float, http.client.HTTPConnection]] = deque()
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
            NotConnected: There is no connection to be had.
            TemporarilyUnavailable: No answer came; what became of the request is not known.
        """
        if self._proxy is not None and self._tls is None:
            target = f"http://{self.host}{target}"
        connection = self._idle_connection(surely=not repeatable)
        if connection is not None:
            try:
                return self._exchange(connection, method, target, headers, body)
            except TemporarilyUnavailable:
                # The server may have closed it long ago; a new one will tell.
                if not repeatable:
                    raise
        return self._exchange(self._connect(), method, target, headers, body)

    def begin_upload(self, method: str, target: str, headers: Mapping[str, str]) -> HttpUpload:
        """Begin a request whose body is sent in chunks, on a connection of its own.

        Args:
            method: `PUT` or `POST`.
            target: Path and query, encoded.
            headers: Sent as they are; `Host` and `Transfer-Encoding` are added.

        Raises:
            NotConnected: There is no connection to be had.
            TemporarilyUnavailable: It broke at once.
        """
        if self._proxy is not None and self._tls is None:
            target = f"http://{self.host}{target}"
        connection = self._connect()
        try:
            connection.putrequest(method, target, skip_accept_encoding=True)
            for name, value in {**headers, "transfer-encoding": "chunked"}.items():
                connection.putheader(name, value)
            connection.endheaders()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise self.failure("broke", error) from error
        return HttpUpload(self, connection)

    def take_back(self, connection: http.client.HTTPConnection, *, reusable: bool) -> None:
        """Keep a connection whose answer was read to its end, for the next request."""
        if not reusable:
            connection.close()
            return
        self._idle.append((time.monotonic(), connection))

    def close(self) -> None:
        """Close the connections that are idle."""
        idle, self._idle = self._idle, deque()
        for _, connection in idle:
            connection.close()

    def failure(self, what: str, error: Exception) -> HoldallError:
        """The error to raise for one of the system's."""
        if isinstance(error, ssl.SSLCertVerificationError):
            return InvalidParameterValue(
                f"The certificate of {self.host} is not to be trusted ({error.verify_message}); "
                f"{self._settings.remedy}."
            )
        reason = "it did not answer in time" if isinstance(error, TimeoutError) else type(error).__name__
        return TemporarilyUnavailable(f"The connection to {self.host} {what}: {reason}.")

    def _idle_connection(self, *, surely: bool) -> http.client.HTTPConnection | None:
        """A connection that was kept; with `surely`, one of which the server has not said that it ended."""
        if self._process != os.getpid():
            self._idle, self._process = deque(), os.getpid()  # they belong to the parent
        while True:
            try:
                since, connection = self._idle.pop()
            except IndexError:
                return None
            if time.monotonic() - since < IDLE_SECONDS and (not surely or _is_quiet(connection.sock)):
                return connection
            connection.close()

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
            failure = self.failure("could not be made", error)
            raise (NotConnected(failure.message) if type(failure) is TemporarilyUnavailable else failure) from error
        connection.sock.settimeout(self._settings.timeout)
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if hasattr(socket, "TCP_NOTSENT_LOWAT"):  # what the system takes and has not sent is a wait that we do not see
            connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _PIECE)
        return connection


def _is_quiet(sock: socket.socket) -> bool:
    """Whether nothing waits to be read, as the end of the connection would: no request is under way on it."""
    poll = select.poll()
    poll.register(sock, select.POLLIN | select.POLLHUP | select.POLLERR)
    return not poll.poll(0)


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
