"""The server as an ASGI application: from a request to a route, and from what it gives to an answer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import cast
from urllib.parse import unquote_to_bytes

import orjson

from holdall.server.access import Gate
from holdall.server.endpoints import all_routes
from holdall.server.fields import parse_arguments
from holdall.server.guards import Guards, require_single_headers
from holdall.server.messages import (
    Answer,
    ClientGone,
    Receive,
    Request,
    Scope,
    Send,
    TooSlow,
    error_answer,
    parse_json,
    parse_query,
)
from holdall.server.meters import UNKNOWN, Meter, MeterTable
from holdall.server.options import ServerOptions
from holdall.server.routes import EndpointNotFound, MethodNotAllowed, Route, Router
from holdall.server.service import Service
from holdall.stores.errors import HoldallError, InternalError, InvalidParameterValue, TemporarilyUnavailable

__all__ = ["Application"]

logger = logging.getLogger("holdall.server")

_ROW = "holdall.row"
"""Where a scope says which row of the meters counts its request."""

_GONE = 499
"""What counts as the status of a request whose client has gone away."""

_BODY_METHODS = frozenset({"POST", "PUT", "PATCH", "DELETE"})


class Application:
    """Serves the stores that its options name, opened when the server starts.

    Args:
        options: What to serve.
        meter: Counts what is served; by default, one of its own.
    """

    def __init__(self, options: ServerOptions, meter: Meter | None = None) -> None:
        self.options = options
        self._router = Router(all_routes(artifacts_only=options.artifacts_only))
        self._meter = meter or MeterTable(self._router.routes).meter(0)
        self._rows = {id(route): self._meter.row_of(route) for route in self._router.routes}
        self._service: Service | None = None
        self._guards = Guards(options)
        self._gate: Gate | None = None
        self._prefix = options.static_prefix.rstrip("/")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or take part in the start and the end of the server."""
        if scope["type"] == "http":
            await self._serve(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._live(receive, send)
        else:
            await send({"type": "websocket.close"})

    # The life of a worker

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            self.start()
        except HoldallError as error:
            logger.error("%s", error.message)
            await send({"type": "lifespan.startup.failed", "message": error.message})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        self.stop()
        await send({"type": "lifespan.shutdown.complete"})

    def start(self) -> None:
        """Open the stores; to be called in the event loop.

        Raises:
            HoldallError: One cannot be opened, or the file of users cannot be used.
        """
        if self.options.auth_file is not None:
            self._gate = Gate(Path(self.options.auth_file))
        self._service = Service(self.options, self._meter.table)

    def stop(self) -> None:
        """Finish what was begun, and close the stores."""
        if self._service is not None:
            self._service.close()
            self._service = None
        if self._gate is not None:
            self._gate.close()
            self._gate = None

    # Requests

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun, status = self._meter.begin(), _GONE
        try:
            answer = await self._answer_or_refuse(scope, receive)
            if answer is not None:
                status = answer.status
                await answer.send(send, self._guards.headers_for(scope) if self.options.allowed_origins else ())
        finally:
            waiting = 0 if self._service is None else self._service.waiting
            self._meter.end(scope.get(_ROW, UNKNOWN), status, begun, waiting)

    async def _answer_or_refuse(self, scope: Scope, receive: Receive) -> Answer | None:
        """An answer, be it of an error; None if there is nobody to answer."""
        try:
            return await self._answer(scope, receive)
        except ClientGone:
            return None
        except MethodNotAllowed as error:
            found = error_answer(error)
            allowed = (b"allow", ", ".join(error.allowed).encode())
            return Answer(405, (*found.headers, allowed), found.body)
        except HoldallError as error:
            return error_answer(error)
        except Exception:
            logger.exception("%s %s failed", scope["method"], scope["path"])
            return error_answer(InternalError("The server failed; its log says why."))

    async def _answer(self, scope: Scope, receive: Receive) -> Answer:
        service = self._service
        if service is None:
            raise TemporarilyUnavailable("The server is starting or stopping.")
        request = self._request(scope, receive)
        if (permission := self._guards.check(request)) is not None:
            return permission
        route, request.arguments = self._router.find(request.method, request.path)
        scope[_ROW] = self._rows[id(route)]
        if self._gate is not None:
            await self._gate.admit(request, route.access)
        if route.serve is not None:
            return await route.serve(service, request)
        if route.call is None:
            raise EndpointNotFound(f"{route.path} answers nothing.")
        given = await self._given(route, request)
        return await service.run(partial(_call, route, service, given), slow=route.slow)

    def _request(self, scope: Scope, receive: Receive) -> Request:
        path = _decoded_path(scope)
        if self._prefix:
            if not path.startswith(f"{self._prefix}/") and path != self._prefix:
                raise EndpointNotFound(f"There is nothing at {path[:200]!r}; everything is below {self._prefix}/.")
            path = path[len(self._prefix) :] or "/"
        headers = dict(scope["headers"])
        if len(headers) < len(scope["headers"]):
            require_single_headers(scope["headers"])
        client = scope["client"]
        return Request(
            method=scope["method"],
            path=path,
            query=scope["query_string"],
            headers=headers,
            receive=receive,
            client=client[0] if client else "",
            lines=scope["headers"],
        )

    async def _given(self, route: Route, request: Request) -> dict[str, object]:
        """What a request says: its body or its query, and its path over both."""
        given: dict[str, object]
        if route.method in _BODY_METHODS:
            _require_json(request)
            try:
                async with asyncio.timeout(self.options.body_timeout):
                    body = await request.body(self.options.max_body)
            except TimeoutError:
                raise TooSlow(f"The body did not arrive within {self.options.body_timeout:g} seconds.") from None
            given = parse_json(body)
        else:
            given = parse_query(request.query, {known.name for known in route.fields if known.kind.many})
        return given | request.arguments if request.arguments else given


def _call(route: Route, service: Service, given: dict[str, object]) -> Answer:
    """Parse, ask the store, and encode: all in the thread."""
    call = cast("Callable[[Service, object], object]", route.call)
    return Answer(body=orjson.dumps(call(service, parse_arguments(route.fields, given))))


def _decoded_path(scope: Scope) -> str:
    """The path, percent-decoded once. What is not UTF-8 is refused; ASGI servers put U+FFFD in its place."""
    path: str = scope["path"]
    if "\ufffd" not in path:
        return path
    try:
        return unquote_to_bytes(scope["raw_path"]).decode()
    except UnicodeDecodeError:
        raise InvalidParameterValue("The path must be percent-encoded UTF-8.") from None


def _require_json(request: Request) -> None:
    """Only JSON: a form of another site could send anything else without asking."""
    kind = request.headers.get(b"content-type")
    if kind is None:
        if request.method == "DELETE" and not request.has_body:  # MLflow 3's clients, where the path says all
            return
        raise InvalidParameterValue("Bad Request. Content-Type header is missing.")
    if kind.partition(b";")[0].strip().lower() != b"application/json":
        raise InvalidParameterValue("Bad Request. Content-Type must be one of ['application/json'].")
