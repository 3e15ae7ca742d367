"""What protects a server from web pages: whose `Host` is answered, and from which origins things may be changed.

A page that somebody visits can make their browser send requests to a server that only they can reach: across origins,
or, after rebinding the name of its own host to the server's address, as if from the same origin (CVE-2025-14279).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from urllib.parse import urlsplit

from holdall.server.messages import Answer, Request, Scope
from holdall.server.options import ServerOptions
from holdall.stores.errors import InvalidParameterValue, PermissionDenied

__all__ = ["Guards", "is_loopback", "require_single_headers"]

ALWAYS_ANSWERED = frozenset({"/health", "/ready"})
"""Paths that monitors ask for by whatever name; they tell nothing."""

UNCHANGING = frozenset({"GET", "HEAD", "OPTIONS"})

SINGLE = frozenset({b"authorization", b"content-length", b"content-type", b"host", b"origin"})
"""Headers of which a proxy might look at one and the server at another."""

MOST_KNOWN_HOSTS = 1000

_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[^\[\]:/@?#\\\s]+)(?::([0-9]{0,5}))?")
_HEADER_NAMES = re.compile(rb"[\w\-, ]{1,1000}", re.ASCII)
_DEFAULT_PORTS = {"http": "80", "https": "443"}


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach what listens on an address or name."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def require_single_headers(headers: Iterable[tuple[bytes, bytes]]) -> None:
    """Refuse a request that says twice who asks, or for what.

    Raises:
        InvalidParameterValue: One of these headers is there twice.
    """
    names = [name for name, _ in headers if name in SINGLE]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InvalidParameterValue(f"The header {twice.decode()} must be there once.")


class Guards:
    """Refuses what a foreign web page may have sent.

    Args:
        options: Of the server: where it listens, and whom else it serves.
    """

    def __init__(self, options: ServerOptions) -> None:
        self._all_hosts = "*" in options.allowed_hosts
        self._patterns = tuple(map(_pattern, options.allowed_hosts))
        self._bound = _name_of(options.host)
        self._wildcard = self._bound in ("", "0.0.0.0", "::")
        self._all_origins = "*" in options.allowed_origins
        self._origins = frozenset(origin.rstrip("/").lower() for origin in options.allowed_origins)
        self._known: set[bytes] = set()

    def check(self, request: Request) -> Answer | None:
        """Refuse what may come from a foreign page; the answer, if a browser asks beforehand whether it may.

        Raises:
            PermissionDenied: The host or the origin is not one that is served.
        """
        self.require_known_host(request)
        if request.method in UNCHANGING:
            return self.preflight(request) if request.method == "OPTIONS" else None
        self.require_known_origin(request)
        return None

    def require_known_host(self, request: Request) -> None:
        """Refuse a request for a host that may not be this one.

        Raises:
            PermissionDenied: Its `Host` is missing, malformed or none of those that are served.
        """
        host = request.headers.get(b"host", b"")
        if host in self._known or self._all_hosts or request.path in ALWAYS_ANSWERED:
            return
        text = host.decode("latin-1")
        if not self._serves(text.lower()):
            raise PermissionDenied(
                f"The host {text[:100]!a} is not served here; if it should be, start the server with --allowed-hosts."
            )
        if len(self._known) < MOST_KNOWN_HOSTS:
            self._known.add(host)

    def require_known_origin(self, request: Request) -> None:
        """Refuse a change that a page of another site asks for.

        Raises:
            PermissionDenied: It comes from such a page.
        """
        origin = request.headers.get(b"origin")
        if origin is not None and self._allows(origin):
            return
        site = request.headers.get(b"sec-fetch-site", b"none").lower()
        foreign = origin is not None and not _is_same(request.header("origin"), request.header("host"))
        if foreign or site == b"cross-site" or (origin is None and site == b"same-site"):
            raise PermissionDenied(
                f"Pages of {request.header('origin', 'another site')[:100]!a} may not change anything here; if they "
                "should, start the server with --cors-allowed-origins."
            )

    def preflight(self, request: Request) -> Answer | None:
        """The answer to a browser that asks by `OPTIONS` whether a page may send a request; None for any other.

        Raises:
            PermissionDenied: The page may not.
        """
        origin = request.headers.get(b"origin")
        if origin is None or b"access-control-request-method" not in request.headers:
            return None
        if not self._allows(origin):
            raise PermissionDenied("Pages of this origin may not send requests; see --cors-allowed-origins.")
        wanted = request.headers.get(b"access-control-request-headers", b"content-type")
        headers = [(b"access-control-allow-methods", b"GET, HEAD, POST, PUT, PATCH, DELETE")]
        if _HEADER_NAMES.fullmatch(wanted):
            headers.append((b"access-control-allow-headers", wanted))
        return Answer(204, (*headers, (b"access-control-max-age", b"600")), b"")

    def headers_for(self, scope: Scope) -> tuple[tuple[bytes, bytes], ...]:
        """What lets a page of an allowed origin read an answer."""
        origin = next((value for name, value in scope["headers"] if name == b"origin"), None)
        if origin is None or not self._allows(origin):
            return ()
        exposed = b"content-disposition, content-range, etag, retry-after"
        return (
            (b"access-control-allow-origin", origin),
            (b"access-control-expose-headers", exposed),
            (b"vary", b"origin"),
        )

    def _serves(self, host: str) -> bool:
        match = _HOST.fullmatch(host)
        if match is None:
            return False
        name = _name_of(match.group(1))
        if name == self._bound or name == "localhost" or self._is_near(name):
            return True
        port = match.group(2) or ""
        return any(pattern.fullmatch(f"{name}:{port}") for pattern in self._patterns)

    def _is_near(self, name: str) -> bool:
        """Whether a name is an address, which no other site can own: of the loopback, or of the network at hand."""
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        return address.is_loopback or (self._wildcard and (address.is_private or address.is_link_local))

    def _allows(self, origin: bytes) -> bool:
        return self._all_origins or origin.decode("latin-1").lower() in self._origins


def _name_of(host: str) -> str:
    """A host without the brackets of an IPv6 address and without the dot that may end a name."""
    return host.lower().strip("[]").removesuffix(".")


def _pattern(text: str) -> re.Pattern[str]:
    """Matches `name:port`: `*` is any text, no port any port, and `10.*` addresses only, not the host `10.evil.com`."""
    match = re.fullmatch(r"(\[[^\]]*\]|[^:]*)(?::([0-9*]+))?", text.lower())
    if match is None:
        raise InvalidParameterValue(f"Invalid pattern {text!r} of hosts: write name, name:port or [address]:port.")
    name = _name_of(match.group(1))
    numbers = "." in name and re.fullmatch(r"[0-9.*]+", name) is not None
    wild = "[0-9.]*" if numbers else ".*"
    return re.compile(wild.join(map(re.escape, name.split("*"))) + ":" + (match.group(2) or "*").replace("*", "[0-9]*"))


def _is_same(origin: str, host: str) -> bool:
    """Whether an origin is that of a `Host`; the scheme is not compared, since a proxy may have taken off the TLS."""
    try:
        parts = urlsplit(origin.lower())
    except ValueError:
        return False
    port = _DEFAULT_PORTS.get(parts.scheme)
    mine, theirs = _HOST.fullmatch(host.lower()), _HOST.fullmatch(parts.netloc)
    if port is None or mine is None or theirs is None:
        return False
    return (_name_of(mine.group(1)), mine.group(2) or port) == (_name_of(theirs.group(1)), theirs.group(2) or port)
