"""The OpenAPI document of a server, made of its routes."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache

import orjson

import holdall
from holdall.server.fields import Field
from holdall.server.messages import Answer, Request
from holdall.server.meters import label_of
from holdall.server.options import ServerOptions
from holdall.server.routes import API_PREFIXES, Access, Route
from holdall.server.service import Service

__all__ = ["ROUTES", "document"]

_WITH_BODY = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_ARGUMENT = re.compile(r"\{(\w+)(?::path)?\}")
_CANONICAL = API_PREFIXES[0]

_DESCRIPTION = (
    "MLflow's REST API for experiments, runs, metrics, logged models and artifacts. Whatever is described below "
    f"`{_CANONICAL}` answers below {', '.join(f'`{prefix}`' for prefix in API_PREFIXES[1:])} in the same way. "
    "64-bit integers may be given as text. Fields that are not named are ignored."
)

_ERROR = {
    "type": "object",
    "properties": {"error_code": {"type": "string"}, "message": {"type": "string"}},
    "required": ["error_code", "message"],
}
_SCHEMES = {
    "basic": {"type": "http", "scheme": "basic"},
    "bearer": {"type": "http", "scheme": "bearer"},
}
_STATUSES = {
    "400": "What was asked for is malformed, or not allowed in the present state.",
    "401": "Who asks is not known.",
    "403": "Who asks may not do this.",
    "404": "What was named does not exist.",
    "405": "The path answers other methods.",
    "413": "The body is too large.",
    "501": "The store, or this server, cannot do this.",
    "503": "The server is overloaded or stops; try again after the seconds in Retry-After.",
}


def document(routes: Iterable[Route], options: ServerOptions) -> dict[str, object]:
    """The document.

    Args:
        routes: All of the server; of those that differ only in the prefix of the API, the first is described.
        options: Of the server.
    """
    paths: dict[str, dict[str, object]] = {}
    for route in {(route.method, label_of(route)): route for route in reversed(list(routes))}.values():
        methods = paths.setdefault(_ARGUMENT.sub(r"{\1}", route.path), {})
        methods[route.method.lower()] = _operation(route, secured=options.auth_file is not None)
    return {
        "openapi": "3.1.0",
        "info": {"title": "holdall", "version": holdall.__version__, "description": _DESCRIPTION},
        "servers": [{"url": options.static_prefix or "/"}],
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": {"Error": _ERROR},
            "responses": {status: _refusal(text) for status, text in _STATUSES.items()},
            "securitySchemes": _SCHEMES,
        },
    }


def _operation(route: Route, *, secured: bool) -> dict[str, object]:
    handler = route.call or route.serve
    summary = (inspect.getdoc(handler) or "").partition("\n\n")[0].replace("\n", " ")
    operation: dict[str, object] = {
        "operationId": f"{route.method.lower()}{re.sub(r'[^A-Za-z0-9]+', '_', label_of(route)).rstrip('_')}",
        "summary": summary,
        "tags": [_tag(route)],
        "responses": {"200": _success(route), **_refusals()},
    }
    names = _ARGUMENT.findall(route.path)
    fields = [known for known in route.fields if known.name not in names]
    parameters: list[object] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names
    ]
    if route.method in _WITH_BODY:
        if (body := _body(route, fields)) is not None:
            operation["requestBody"] = body
    else:
        parameters += [_parameter(known) for known in fields]
    if parameters:
        operation["parameters"] = parameters
    if secured and route.access is not Access.PUBLIC:
        operation["security"] = [{name: []} for name in _SCHEMES]
    return operation


def _tag(route: Route) -> str:
    words = [word for word in label_of(route).split("/") if word and "{" not in word]
    return words[1] if words[:1] == ["mlflow"] and len(words) > 1 else (words or ["server"])[0]


def _parameter(known: Field) -> dict[str, object]:
    parameter: dict[str, object] = {
        "name": known.name,
        "in": "query",
        "required": known.required,
        "schema": known.kind.schema,
    }
    return {**parameter, "style": "form", "explode": True} if known.kind.many else parameter


def _body(route: Route, fields: list[Field]) -> dict[str, object] | None:
    """What a body may be: JSON where there are fields, else bytes where it is read as it comes."""
    if route.call is None and not fields:
        return None if route.method == "DELETE" else {"content": {"application/octet-stream": {"schema": {}}}}
    schema: dict[str, object] = {
        "type": "object",
        "properties": {known.name: known.kind.schema for known in fields},
    }
    if required := [known.name for known in fields if known.required]:
        schema["required"] = required
    return {"required": True, "content": {"application/json": {"schema": schema}}}


def _success(route: Route) -> dict[str, object]:
    if route.call is None and not route.answers:
        return {"description": "What was asked for.", "content": {"*/*": {"schema": {}}}}
    properties: Mapping[str, object] = {name: {} for name in route.answers}
    schema = {"type": "object", "properties": properties}
    return {"description": "It is done.", "content": {"application/json": {"schema": schema}}}


def _refusals() -> dict[str, object]:
    return {status: {"$ref": f"#/components/responses/{status}"} for status in _STATUSES}


def _refusal(text: str) -> dict[str, object]:
    return {"description": text, "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}}


@lru_cache(maxsize=1)
def _rendered(options: ServerOptions) -> bytes:
    from holdall.server.endpoints import all_routes  # the table of all routes holds this one

    return orjson.dumps(document(all_routes(), options))


async def openapi(service: Service, _request: Request) -> Answer:
    """This document."""
    return Answer(body=_rendered(service.options))


ROUTES = (Route("GET", "/openapi.json", Access.READ, serve=openapi),)
"""With its whole path."""
