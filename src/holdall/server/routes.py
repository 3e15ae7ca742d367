"""Routes: which requests there are, what they may say, who may make them, and how the one that is meant is found."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import TYPE_CHECKING

from holdall.server.absent import absent_feature
from holdall.server.fields import Arguments, Field
from holdall.server.messages import Answer, Request
from holdall.stores.errors import HoldallError, Unsupported

if TYPE_CHECKING:
    from holdall.server.service import Service

__all__ = ["API_PREFIXES", "Access", "EndpointNotFound", "MethodNotAllowed", "Route", "Router", "below_api"]

API_PREFIXES = ("/api/2.0", "/api/3.0", "/ajax-api/2.0", "/ajax-api/3.0")
"""Under each of which every endpoint of the API answers."""

Call = Callable[["Service", Arguments], object]
"""Answers with a JSON document; may block."""

Serve = Callable[["Service", Request], Awaitable[Answer]]
"""Answers in whatever form; must not block."""


class EndpointNotFound(HoldallError):
    """There is no such route."""

    error_code = "ENDPOINT_NOT_FOUND"


class MethodNotAllowed(HoldallError):
    """There is a route, for other methods."""

    error_code = "BAD_REQUEST"

    def __init__(self, message: str, allowed: Iterable[str]) -> None:
        super().__init__(message)
        self.allowed = sorted(allowed)


class Access(IntEnum):
    """What a user must be allowed to do to use a route; each includes those before it."""

    PUBLIC = 0
    READ = 1
    WRITE = 2
    ADMIN = 3


@dataclass(frozen=True, slots=True)
class Route:
    """An endpoint. Every route says who may use it: there is no default.

    Attributes:
        method: HTTP method.
        path: With `{name}` for one name of the path, and `{name:path}` for the rest of it.
        access: Who may.
        call: What answers, in a thread; then `fields` are parsed before.
        serve: What answers instead, in the event loop.
        fields: Of the body, or of the query of a `GET`.
        slow: Whether a call may take long, so that short ones do not wait behind it.
        answers: What the answer holds, for the OpenAPI document: names of fields.
    """

    method: str
    path: str
    access: Access
    call: Call | None = None
    serve: Serve | None = None
    fields: tuple[Field, ...] = ()
    slow: bool = False
    answers: tuple[str, ...] = ()

    @property
    def is_pattern(self) -> bool:
        """Whether the path takes arguments."""
        return "{" in self.path


def below_api(routes: Iterable[Route]) -> list[Route]:
    """Each route under every prefix of the API."""
    return [replace(route, path=prefix + route.path) for route in routes for prefix in API_PREFIXES]


class Router:
    """Finds routes.

    Args:
        routes: All of them, with their whole paths.
    """

    def __init__(self, routes: Iterable[Route]) -> None:
        self.routes = tuple(routes)
        self._exact: dict[str, dict[str, Route]] = {}
        self._patterns: dict[str, tuple[re.Pattern[str], dict[str, Route]]] = {}
        for route in self.routes:
            if route.is_pattern:
                methods = self._patterns.setdefault(route.path, (_pattern(route.path), {}))[1]
            else:
                methods = self._exact.setdefault(route.path, {})
            methods[route.method] = route

    def find(self, method: str, path: str) -> tuple[Route, dict[str, str]]:
        """The route of a request, and what its pattern takes from the path.

        Raises:
            EndpointNotFound: There is none.
            Unsupported: There is none here, and one on MLflow's servers.
            MethodNotAllowed: Only for other methods.
        """
        methods = self._exact.get(path)
        arguments: dict[str, str] = {}
        if methods is None:
            methods, arguments = self._match(path)
        route = methods.get(method) or (methods.get("GET") if method == "HEAD" else None)
        if route is None:
            allowed = ", ".join(sorted(methods))
            raise MethodNotAllowed(f"{method} is not allowed for {path!r}; allowed: {allowed}.", methods)
        return route, arguments

    def _match(self, path: str) -> tuple[dict[str, Route], dict[str, str]]:
        for pattern, methods in self._patterns.values():
            if (match := pattern.fullmatch(path)) is not None:
                return methods, match.groupdict()
        if (feature := absent_feature(path)) is not None:
            raise Unsupported(f"This server has no {feature}: there is nothing at {path[:200]!r}.")
        raise EndpointNotFound(f"There is no endpoint {path[:200]!r} here; /openapi.json lists those that there are.")


def _pattern(path: str) -> re.Pattern[str]:
    parts = re.split(r"\{(\w+)(:path)?\}", path)
    text = ""
    for index in range(0, len(parts), 3):
        text += re.escape(parts[index])
        if index + 1 < len(parts):
            text += f"(?P<{parts[index + 1]}>{'.+' if parts[index + 2] else '[^/]+'})"
    return re.compile(text, re.DOTALL)
