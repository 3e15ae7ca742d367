"""The OpenAPI document: every route in it, and every one that is in it answers."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import cast

import orjson
import pytest
from tests.server.live import LiveServer, live_server

from holdall.server.absent import absent_feature
from holdall.server.endpoints import all_routes
from holdall.server.meters import label_of
from holdall.server.openapi import document
from holdall.server.options import ServerOptions
from holdall.server.routes import API_PREFIXES, Access, Route

Doc = dict[str, object]

ROUTES = all_routes()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with live_server(tmp_path_factory.mktemp("openapi")) as started:
        yield started


def operations(doc: Doc) -> dict[tuple[str, str], Doc]:
    """Operations by method and path."""
    paths = cast("dict[str, dict[str, Doc]]", doc["paths"])
    return {
        (method.upper(), path): operation for path, methods in paths.items() for method, operation in methods.items()
    }


def described(doc: Doc, route: Route) -> Doc:
    path = re.sub(r"\{(\w+):path\}", r"{\1}", route.path)
    return operations(doc)[route.method, path]


def own() -> Doc:
    return document(ROUTES, ServerOptions(auth_file="users.toml"))


def test_read_document_is_served_as_json(server: LiveServer) -> None:
    reply = server.ask("GET", "/openapi.json")
    assert reply.status == 200
    assert reply.headers["content-type"] == "application/json"
    assert reply.json()["openapi"] == "3.1.0"
    assert reply.body == orjson.dumps(document(ROUTES, ServerOptions()))


def test_make_document_describes_every_route_once() -> None:
    found = Counter((method, _unprefixed(path)) for method, path in operations(own()))
    assert set(found) == {(route.method, re.sub(":path", "", label_of(route))) for route in ROUTES}
    assert set(found.values()) == {1}
    ids = [operation["operationId"] for operation in operations(own()).values()]
    assert len(ids) == len(set(ids))


def _unprefixed(path: str) -> str:
    return next((path[len(prefix) :] for prefix in API_PREFIXES if path.startswith(f"{prefix}/")), path)


def test_make_document_says_what_fields_there_are_and_which_must_be() -> None:
    doc = own()
    route = next(route for route in ROUTES if route.path == "/api/2.0/mlflow/runs/log-metric")
    body = cast(Doc, described(doc, route)["requestBody"])
    schema = cast("dict[str, Doc]", body["content"])["application/json"]["schema"]
    assert isinstance(schema, dict)
    assert schema["required"] == ["run_id", "key", "value", "timestamp"]
    assert schema["properties"]["step"] == {"type": "integer", "format": "int64"}


def test_make_document_gives_fields_of_a_get_as_query() -> None:
    route = next(route for route in ROUTES if route.path == "/api/2.0/mlflow/metrics/get-history-bulk")
    parameters = cast("list[Doc]", described(own(), route)["parameters"])
    assert [(each["name"], each["in"], each["required"]) for each in parameters] == [
        ("run_id", "query", True),
        ("metric_key", "query", True),
        ("max_results", "query", False),
    ]


def test_make_document_names_path_arguments() -> None:
    for (_method, path), operation in operations(own()).items():
        listed = [each["name"] for each in cast("list[Doc]", operation.get("parameters", [])) if each["in"] == "path"]
        assert listed == re.findall(r"\{(\w+)\}", path)


def test_make_document_asks_for_credentials_where_a_user_must_be_known() -> None:
    doc = own()
    for route in ROUTES:
        if label_of(route) == route.path or route.path.startswith("/api/2.0/"):
            assert ("security" in described(doc, route)) is (route.access is not Access.PUBLIC), route.path
    assert not any("security" in each for each in operations(document(ROUTES, ServerOptions())).values())


def test_make_document_refers_to_what_it_holds() -> None:
    doc = own()
    for reference in set(re.findall(r'"\$ref":"#/([^"]+)"', orjson.dumps(doc).decode())):
        found: object = doc
        for part in reference.split("/"):
            assert isinstance(found, dict)
            found = found[part]
        assert found


@pytest.mark.parametrize(
    "path",
    [
        "/api/2.0/mlflow/traces",
        "/api/3.0/mlflow/traces/tr-1/info",
        "/ajax-api/3.0/mlflow/traces/search",
        "/v1/traces",
        "/api/2.0/mlflow/webhooks",
        "/api/3.0/mlflow/scorers/register",
        "/ajax-api/2.0/mlflow/gateway-proxy",
        "/gateway/openai/v1/chat/completions",
        "/graphql",
        "/ajax-api/3.0/jobs/1",
        "/api/2.0/mlflow/users/create",
        "/api/3.0/mlflow/prompt-optimization/jobs",
        "/api/3.0/mlflow/workspaces",
    ],
)
def test_ask_for_what_only_mlflow_has_is_not_implemented(server: LiveServer, path: str) -> None:
    for method, body in (("GET", None), ("POST", {})):
        reply = server.ask(method, path, body)
        assert reply.status == 501
        assert reply.headers["content-type"] == "application/json"
        assert reply.json()["error_code"] == "NOT_IMPLEMENTED"
        assert str(absent_feature(path)) in str(reply.json()["message"])


@pytest.mark.parametrize(
    "path",
    [
        "/nowhere",
        "/api/2.0/mlflow/tracesx",
        "/api/2.0/mlflow/runs/fetch",
        "/api/2.0/mlflow",
        "/graphqlx",
        "/%3Cscript%3E",
    ],
)
def test_ask_for_what_nobody_has_is_endpoint_not_found(server: LiveServer, path: str) -> None:
    reply = server.ask("GET", path)
    assert reply.status == 404
    assert reply.headers["content-type"] == "application/json"
    assert reply.json()["error_code"] == "ENDPOINT_NOT_FOUND"


def test_ask_by_another_method_says_which_there_are(server: LiveServer) -> None:
    reply = server.ask("GET", "/api/2.0/mlflow/runs/create")
    assert reply.status == 405
    assert reply.headers["allow"] == "POST"
    assert reply.headers["content-type"] == "application/json"
