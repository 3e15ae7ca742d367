"""Requests made of the table of routes: every route, with something plausible in each of its fields."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import quote, urlencode

from tests.server.calls import Caller, created_experiment, created_run, unique

from holdall.server.endpoints import all_routes
from holdall.server.routes import Route

__all__ = ["Plausible", "distinct_routes", "fields_of", "plausible_values", "put", "request_of", "text_places"]

Place = tuple[str | int, ...]
"""Where in a document a value stands."""

ARGUMENT = re.compile(r"\{(\w+)(?::path)?\}")

UNDECLARED = {"/ajax-api/2.0/mlflow/upload-artifact": ("run_uuid", "path")}
"""Fields of the query that a route looks up by itself."""


@dataclass(frozen=True, repr=False)
class Plausible:
    """Values that mean something to a server, by the names of fields.

    Attributes:
        values: By name.
    """

    values: Mapping[str, str]

    def of(self, schema: Mapping[str, Any], name: str) -> Any:
        """A value of a JSON schema."""
        kind = schema.get("type", "number")
        if kind == "object":
            properties = cast("dict[str, dict[str, Any]]", schema.get("properties", {}))
            return {key: self.of(inner, key) for key, inner in properties.items()}
        if kind == "array":
            return [self.of(schema["items"], name)]
        if kind == "string":
            return schema["enum"][0] if "enum" in schema else self.values.get(name, "x")
        return {"integer": 1, "boolean": True}.get(kind, 1.5)


def plausible_values(api: Caller) -> Plausible:
    """Ids of things that are there, made for this."""
    experiment_id = created_experiment(api)
    run_id = created_run(api)
    model = api.post("logged-models", experiment_id=experiment_id)["model"]["info"]["model_id"]
    ids = {"experiment_id": experiment_id, "experiment_ids": experiment_id, "run_id": run_id, "run_ids": run_id}
    return Plausible(
        {
            **ids,
            "run_uuid": run_id,
            "model_id": model,
            "source_run_id": run_id,
            "model_json": "{}",
            "filter": "",
            "order_by": "",
            "page_token": "",
            "experiment_name": "Default",
            "field_name": "creation_time",
            "name": unique("name"),
            "path": "a.txt",
        }
    )


def distinct_routes() -> list[Route]:
    """Every route, but of those that differ only in the prefix of the API, one."""
    return [route for route in all_routes() if re.match(r"/(ajax-api/|api/3\.0/)", route.path) is None or _alone(route)]


def _alone(route: Route) -> bool:
    below = re.sub(r"^/(ajax-)?api/[23]\.0", "", route.path)
    return not any((other.method, other.path) == (route.method, f"/api/2.0{below}") for other in all_routes())


def fields_of(route: Route, plausible: Plausible) -> dict[str, Any]:
    """A value for each field of a route, those in its path included."""
    document = {known.name: plausible.of(known.kind.schema, known.name) for known in route.fields}
    names = (*ARGUMENT.findall(route.path), *UNDECLARED.get(route.path, ()))
    return {name: plausible.values.get(name, "x") for name in names} | document


def text_places(document: Any, place: Place = ()) -> Iterator[Place]:
    """Where a document holds text."""
    if isinstance(document, str):
        yield place
    elif isinstance(document, dict):
        for key, value in document.items():
            yield from text_places(value, (*place, key))
    elif isinstance(document, list):
        for index, value in enumerate(document):
            yield from text_places(value, (*place, index))


def put(document: dict[str, Any], place: Sequence[str | int], value: Any) -> dict[str, Any]:
    """The same document with another value somewhere."""
    changed = copy.deepcopy(document)
    target: Any = changed
    for step in place[:-1]:
        target = target[step]
    target[place[-1]] = value
    return changed


def request_of(route: Route, document: Mapping[str, Any], *, raw: bool = False) -> tuple[str, bytes | None]:
    """Target and body of a request.

    Args:
        route: To ask.
        document: What to say.
        raw: Leave what looks encoded as it is in the path and the query.
    """
    left = dict(document)

    def fill(match: re.Match[str]) -> str:
        return _quoted(str(left.pop(match.group(1), "x")), raw)

    target = ARGUMENT.sub(fill, route.path)
    if route.method == "GET" or route.path in UNDECLARED:
        pairs = [
            (name, item) for name, value in left.items() for item in (value if isinstance(value, list) else [value])
        ]
        if raw:
            query = "&".join(f"{name}={_quoted(str(item), raw)}" for name, item in pairs)
        else:
            query = urlencode([(name, str(item).encode("utf-8", "surrogatepass")) for name, item in pairs])
        return (f"{target}?{query}" if query else target), b"data" if route.path in UNDECLARED else None
    if route.method in ("PUT", "DELETE") and route.serve is not None:
        return target, b"data"
    return target, json.dumps(left).encode()


def _quoted(text: str, raw: bool) -> str:
    return quote(text.encode("utf-8", "surrogatepass"), safe="/%\\:;@!$&'()*+,=~" if raw else "")
