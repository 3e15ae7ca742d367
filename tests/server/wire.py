"""Requests as bytes: clients of the standard library refuse to send what attackers send."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from contextlib import closing
from http.client import HTTPResponse
from urllib.parse import urlsplit

from tests.server.live import Reply

__all__ = ["Wire", "address_of", "head_of"]

Headers = Iterable[tuple[str | bytes, str | bytes]]


def address_of(url: str) -> tuple[str, int]:
    """Host and port of a server."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    return parts.hostname, parts.port


def head_of(method: str, target: str | bytes, headers: Headers, version: str = "HTTP/1.1") -> bytes:
    """The head of a request, exactly as given."""
    lines = [b" ".join([method.encode(), _bytes(target), version.encode()])]
    lines += [_bytes(name) + b": " + _bytes(value) for name, value in headers]
    return b"\r\n".join(lines) + b"\r\n\r\n"


class Wire:
    """A connection to a server, made anew when the server has closed it.

    Args:
        url: Of the server.
        timeout: Seconds without an answer after which a test fails.
    """

    def __init__(self, url: str, timeout: float = 30.0) -> None:
        self._address = address_of(url)
        self._timeout = timeout
        self._socket: socket.socket | None = None

    def ask(self, method: str, target: str | bytes, headers: Headers = (), body: bytes | None = None) -> Reply:
        """Send a request with a `Host` and a length, unless the headers have them; the answer."""
        given = list(headers)
        names = {_bytes(name).lower() for name, _ in given}
        if b"host" not in names:
            given.append(("host", "{}:{}".format(*self._address)))
        if body is not None and not names & {b"content-length", b"transfer-encoding"}:
            given.append(("content-length", str(len(body))))
        return self.send(head_of(method, target, given) + (body or b""), method)

    def send(self, data: bytes, method: str = "GET") -> Reply:
        """Send bytes; the answer to the request that they are."""
        kept = self._socket is not None
        try:
            return self._exchange(data, method)
        except (ConnectionError, OSError):
            self.close()
            if not kept:
                raise
            return self._exchange(data, method)

    def close(self) -> None:
        """End the connection."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _exchange(self, data: bytes, method: str) -> Reply:
        if self._socket is None:
            self._socket = socket.create_connection(self._address, timeout=self._timeout)
        self._socket.sendall(data)
        with closing(HTTPResponse(self._socket, method=method)) as answer:
            answer.begin()
            body = answer.read()
            if answer.will_close:
                self.close()
            return Reply(answer.status, {name.lower(): value for name, value in answer.getheaders()}, body)


def _bytes(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
