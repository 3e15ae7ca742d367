"""What forms requests may have: where values stand, how they are written, and what is refused."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from tests.server.calls import BASE, Caller, created_experiment, created_run, failure, pairs, unique
from tests.server.live import LiveServer, live_server

pytestmark = pytest.mark.extras

SEE = "See the API docs for more information about request parameters."


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with live_server(tmp_path_factory.mktemp("server")) as live:
        yield live


@pytest.fixture(scope="module")
def api(server: LiveServer) -> Caller:
    return Caller(server)


@pytest.fixture
def run_id(api: Caller) -> str:
    return created_run(api)


def missing(name: str) -> str:
    return f"Missing value for required parameter '{name}'. {SEE}"


def invalid(value: object, name: str, kind: str) -> str:
    return f"Invalid value {value!r} for parameter '{name}' supplied: Hint: Value was of type '{kind}'. {SEE}"


# Where endpoints are


@pytest.mark.parametrize("prefix", ["/api/2.0", "/api/3.0", "/ajax-api/2.0", "/ajax-api/3.0"])
def test_ask_under_every_prefix_answers_the_same(server: LiveServer, api: Caller, run_id: str, prefix: str) -> None:
    other = Caller(server, f"{prefix}/mlflow/")
    other.post("runs/set-tag", run_id=run_id, key="prefix", value=prefix)
    assert other.run(run_id) == api.run(run_id)
    assert pairs(other.run(run_id)["data"]["tags"])["prefix"] == prefix


def test_ask_below_a_static_prefix_answers_there_alone(tmp_path_factory: pytest.TempPathFactory) -> None:
    with live_server(tmp_path_factory.mktemp("prefixed"), "--static-prefix", "/tracking") as live:
        assert live.url.endswith("/tracking")
        assert live.ask("GET", "/health").body == b"OK"
        assert Caller(live).experiment("0")["name"] == "Default"
        root = LiveServer(live.url.removesuffix("/tracking"), live.process, live.log)
        failure(Caller(root).reply("GET", "experiments/get", query={"experiment_id": "0"}), "ENDPOINT_NOT_FOUND")
        failure(root.ask("GET", "/trackinghealth"), "ENDPOINT_NOT_FOUND")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/2.0/mlflow/nothing"),
        ("GET", "/api/2.0/mlflow/experiments/list"),
        ("GET", "/api/2.0/preview/mlflow/experiments/get?experiment_id=0"),
        ("POST", "/api/2.0/mlflow/runs/create/"),
        ("GET", "/api/2.0/mlflow/../../../etc/passwd"),
        ("GET", "/nothing"),
    ],
)
def test_ask_for_an_endpoint_that_is_not_there_says_so_in_json(server: LiveServer, method: str, path: str) -> None:
    failure(server.ask(method, path, {} if method == "POST" else None), "ENDPOINT_NOT_FOUND")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/2.0/mlflow/traces"),
        ("POST", "/api/3.0/mlflow/traces/search"),
        ("GET", "/gateway/x/invocations"),
    ],
)
def test_ask_for_what_mlflow_alone_has_says_so_in_json(server: LiveServer, method: str, path: str) -> None:
    failure(server.ask(method, path, {} if method == "POST" else None), "NOT_IMPLEMENTED")


@pytest.mark.parametrize(
    ("method", "endpoint", "allowed"),
    [
        ("GET", "runs/create", "POST"),
        ("PUT", "experiments/search", "GET, POST"),
        ("POST", "runs/get", "GET"),
        ("DELETE", "runs/delete", "POST"),
    ],
)
def test_ask_with_another_method_is_refused_with_405(api: Caller, method: str, endpoint: str, allowed: str) -> None:
    reply = api.reply(method, endpoint, None if method == "GET" else {})
    assert (reply.status, reply.headers["allow"], reply.json()["error_code"]) == (405, allowed, "BAD_REQUEST")


def test_ask_with_head_answers_like_get_without_a_body(api: Caller) -> None:
    reply = api.reply("HEAD", "experiments/get", query={"experiment_id": "0"})
    whole = api.reply("GET", "experiments/get", query={"experiment_id": "0"})
    assert (reply.status, reply.body, reply.headers["content-length"]) == (200, b"", str(len(whole.body)))


# Bodies


@pytest.mark.parametrize(
    "kind",
    ["application/json", "application/json; charset=utf-8", "Application/JSON;charset=UTF-8", "application/json "],
)
def test_send_json_by_any_spelling_of_its_type_is_taken(server: LiveServer, run_id: str, kind: str) -> None:
    body = b'{"run_id": "%s", "key": "k", "value": "v"}' % run_id.encode()
    assert server.ask("POST", f"{BASE}runs/set-tag", headers={"content-type": kind}, raw=body).status == 200


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "application/jsonp", "multipart/form-data"]
)
def test_send_another_type_is_refused(server: LiveServer, kind: str) -> None:
    reply = server.ask("POST", f"{BASE}runs/create", headers={"content-type": kind}, raw=b'{"experiment_id": "0"}')
    message = failure(reply, "INVALID_PARAMETER_VALUE")
    assert message == "Bad Request. Content-Type must be one of ['application/json']."


@pytest.mark.parametrize(("method", "endpoint"), [("POST", "runs/create"), ("DELETE", "logged-models/m-1")])
def test_send_no_type_is_refused(server: LiveServer, method: str, endpoint: str) -> None:
    import http.client

    connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=60)
    connection.request(method, BASE + endpoint, body=b"{}")  # sends no content type by itself
    answer = connection.getresponse()
    assert (answer.status, answer.read()) == (
        400,
        b'{"error_code":"INVALID_PARAMETER_VALUE","message":"Bad Request. Content-Type header is missing."}',
    )
    connection.close()


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b"null",
        b"5",
        b'"text"',
        b"{",
        b'{"name": }',
        b"{'name': 'x'}",
        b'{"name": "\xff"}',
        b'{"name": "\\ud800"}',
        b'{"name": "x", "tags": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"name": "x", "tags": ' + b'{"a":' * 100_000,
        b"\x00",
        b"\xef\xbb\xbf{}x",
    ],
    ids=lambda body: repr(body[:24]),
)
def test_send_what_is_no_object_of_json_is_refused(server: LiveServer, body: bytes) -> None:
    reply = server.ask("POST", f"{BASE}experiments/create", headers={"content-type": "application/json"}, raw=body)
    assert len(failure(reply, "INVALID_PARAMETER_VALUE")) < 300


@pytest.mark.parametrize("body", [b"", b"{}", b' {"name": null} ', b'{"name": ""}'])
def test_send_nothing_misses_what_is_required(server: LiveServer, body: bytes) -> None:
    reply = server.ask("POST", f"{BASE}experiments/create", headers={"content-type": "application/json"}, raw=body)
    assert failure(reply, "INVALID_PARAMETER_VALUE") == missing("name")


def test_send_unknown_fields_ignores_them(api: Caller, run_id: str) -> None:
    api.post("runs/set-tag", run_id=run_id, key="k", value="v", nothing={"deep": [1, None]})
    assert pairs(api.run(run_id)["data"]["tags"])["k"] == "v"


@pytest.mark.parametrize(
    "text", ["ü", "日本", "a\nb\tc", "\u2028", "😀", "\\u0041", "e\u0301", "\u00e9", " ", "%41+&=#?"]
)
def test_send_any_text_keeps_it_exactly(api: Caller, run_id: str, text: str) -> None:
    name = unique(text)
    experiment_id = api.post("experiments/create", name=name)["experiment_id"]
    assert api.get("experiments/get-by-name", experiment_name=name)["experiment"]["experiment_id"] == experiment_id
    api.post("runs/set-tag", run_id=run_id, key="k", value=text)
    assert pairs(api.run(run_id)["data"]["tags"])["k"] == text


# Names of fields


def _alias_calls(run_id: str) -> list[tuple[str, dict[str, object]]]:
    return [
        ("runs/update", {"status": "FINISHED"}),
        ("runs/log-metric", {"key": "m", "value": 1, "timestamp": 1}),
        ("runs/log-parameter", {"key": "p", "value": "1"}),
        ("runs/set-tag", {"key": "t", "value": "1"}),
        ("runs/delete-tag", {"key": "t"}),
        ("runs/log-batch", {}),
        ("runs/log-inputs", {}),
        ("runs/delete", {}),
        ("runs/restore", {}),
    ]


def test_name_a_run_by_its_old_alias_is_understood_everywhere(api: Caller, run_id: str) -> None:
    for endpoint, fields in _alias_calls(run_id):
        api.post(endpoint, run_uuid=run_id, **fields)
        if endpoint not in ("runs/delete-tag", "runs/delete"):
            api.post(endpoint, run_uuid=run_id, run_id=run_id, **fields)
            api.post(endpoint, run_uuid=run_id, run_id="", **fields)
            api.post(endpoint, run_uuid="ignored", run_id=run_id, **fields)
    assert api.get("runs/get", run_uuid=run_id) == api.get("runs/get", run_id=run_id)
    assert api.get("metrics/get-history", run_uuid=run_id, metric_key="m")["metrics"]


@pytest.mark.parametrize(
    ("endpoint", "body", "name"),
    [
        ("experiments/create", {}, "name"),
        ("experiments/delete", {}, "experiment_id"),
        ("experiments/restore", {}, "experiment_id"),
        ("experiments/update", {"new_name": "x"}, "experiment_id"),
        ("experiments/set-experiment-tag", {"experiment_id": "0"}, "key"),
        ("experiments/delete-experiment-tag", {"experiment_id": "0"}, "key"),
        ("experiments/search-datasets", {}, "experiment_ids"),
        ("experiments/search-datasets", {"experiment_ids": []}, "experiment_ids"),
        ("runs/create", {}, "experiment_id"),
        ("runs/update", {}, "run_id"),
        ("runs/delete", {}, "run_id"),
        ("runs/restore", {}, "run_id"),
        ("runs/log-metric", {"run_id": "RUN", "value": 1, "timestamp": 1}, "key"),
        ("runs/log-metric", {"run_id": "RUN", "key": "k", "timestamp": 1}, "value"),
        ("runs/log-metric", {"run_id": "RUN", "key": "k", "value": 1}, "timestamp"),
        ("runs/log-metric", {"key": "k", "value": 1, "timestamp": 1}, "run_id"),
        ("runs/log-parameter", {"run_id": "RUN"}, "key"),
        ("runs/set-tag", {"run_id": "RUN"}, "key"),
        ("runs/set-tag", {"run_id": "RUN", "key": ""}, "key"),
        ("runs/delete-tag", {"run_id": "RUN"}, "key"),
        ("runs/log-batch", {}, "run_id"),
        ("runs/log-batch", {"run_id": "RUN", "metrics": [{"key": "k", "timestamp": 1}]}, "metrics[0].value"),
        ("runs/log-batch", {"run_id": "RUN", "params": [{"key": "k", "value": ""}, {}]}, "params[1].key"),
        ("runs/log-batch", {"run_id": "RUN", "tags": [{"value": "x"}]}, "tags[0].key"),
        ("runs/log-inputs", {}, "run_id"),
        ("runs/log-inputs", {"run_id": "RUN", "datasets": [{}]}, "datasets[0].dataset"),
        ("runs/log-inputs", {"run_id": "RUN", "datasets": [{"dataset": {"name": "n"}}]}, "datasets[0].dataset.digest"),
        ("runs/log-inputs", {"run_id": "RUN", "models": [{}]}, "models[0].model_id"),
        ("runs/log-model", {"run_id": "RUN"}, "model_json"),
        ("runs/outputs", {"models": []}, "run_id"),
        ("logged-models", {"name": "m"}, "experiment_id"),
        ("logged-models/search", {"order_by": [{"ascending": True}]}, "order_by[0].field_name"),
    ],
)
def test_leave_out_what_is_required_names_it(
    api: Caller, run_id: str, endpoint: str, body: dict[str, object], name: str
) -> None:
    body = {field: run_id if value == "RUN" else value for field, value in body.items()}
    assert api.refused(endpoint, body) == missing(name)
    assert api.refused(endpoint, {**body, name: None}) == missing(name)


@pytest.mark.parametrize(
    ("endpoint", "query", "name"),
    [
        ("experiments/get", {}, "experiment_id"),
        ("experiments/get", {"experiment_id": ""}, "experiment_id"),
        ("experiments/get-by-name", {}, "experiment_name"),
        ("runs/get", {}, "run_id"),
        ("runs/get", {"run_uuid": ""}, "run_id"),
        ("metrics/get-history", {"run_id": "x"}, "metric_key"),
        ("metrics/get-history", {"metric_key": "x"}, "run_id"),
        ("metrics/get-history-bulk", {"metric_key": "x"}, "run_id"),
        ("metrics/get-history-bulk", {"run_id": "x"}, "metric_key"),
        ("metrics/get-history-bulk-interval", {"metric_key": "x"}, "run_ids"),
    ],
)
def test_leave_out_of_a_query_what_is_required_names_it(
    api: Caller, endpoint: str, query: dict[str, str], name: str
) -> None:
    assert api.refused_get(endpoint, query) == missing(name)


# Kinds of values


@pytest.mark.parametrize(
    ("endpoint", "field", "value", "name", "kind"),
    [
        ("experiments/create", "name", 5, "name", "int"),
        ("experiments/create", "name", ["x"], "name", "list"),
        ("experiments/create", "tags", {"key": "k"}, "tags", "dict"),
        ("experiments/create", "tags", ["k"], "tags[0]", "str"),
        ("experiments/create", "tags", [{"key": 1}], "tags[0].key", "int"),
        ("experiments/search", "filter", True, "filter", "bool"),
        ("experiments/search", "order_by", "name", "order_by", "str"),
        ("experiments/search", "order_by", ["name", None], "order_by[1]", "NoneType"),
        ("runs/search", "experiment_ids", ["0", 1], "experiment_ids[1]", "int"),
        ("runs/search", "experiment_ids", "0", "experiment_ids", "str"),
        ("runs/log-parameter", "value", 1.5, "value", "float"),
        ("runs/log-parameter", "key", {}, "key", "dict"),
        ("runs/log-metric", "value", True, "value", "bool"),
        ("runs/log-metric", "value", "abc", "value", "str"),
        ("runs/log-metric", "value", [1], "value", "list"),
        ("runs/log-metric", "timestamp", True, "timestamp", "bool"),
        ("runs/log-metric", "timestamp", "abc", "timestamp", "str"),
        ("runs/log-metric", "timestamp", "1.5", "timestamp", "str"),
        ("runs/log-metric", "step", 1.5, "step", "float"),
        ("runs/log-metric", "step", {}, "step", "dict"),
        ("runs/log-batch", "metrics", [{"key": "k", "value": 1, "timestamp": {}}], "metrics[0].timestamp", "dict"),
        ("runs/log-batch", "params", [{"key": "k", "value": 1}], "params[0].value", "int"),
        ("runs/log-batch", "tags", 1, "tags", "int"),
        ("logged-models/search", "max_results", [], "max_results", "list"),
        (
            "logged-models/search",
            "order_by",
            [{"field_name": "name", "ascending": "true"}],
            "order_by[0].ascending",
            "str",
        ),
    ],
)
def test_send_a_value_of_another_kind_says_which_it_was(
    api: Caller, run_id: str, endpoint: str, field: str, value: Any, name: str, kind: str
) -> None:
    body = {"run_id": run_id, "key": "k", "value": 1, "timestamp": 1, "name": "x"}
    message = api.refused(endpoint, body | {field: value})
    assert f"for parameter '{name}' supplied: Hint: Value was of type '{kind}'. {SEE}" in message
    assert message.startswith("Invalid value ")


def test_send_a_number_for_an_experiment_says_so(api: Caller) -> None:
    assert api.refused("runs/create", {"experiment_id": 0}) == invalid(0, "experiment_id", "int")


def test_send_a_long_value_of_another_kind_shows_its_beginning_only(api: Caller) -> None:
    assert len(api.refused("experiments/create", {"name": ["x" * 1_000_000]})) < 400


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (7, 7),
        ("7", 7),
        (7.0, 7),
        (-7, -7),
        ("-7", -7),
        ("007", 7),
        (2**63 - 1, 2**63 - 1),
        (str(2**63 - 1), 2**63 - 1),
        (-(2**63), -(2**63)),
        (None, 0),
    ],
)
def test_send_a_whole_number_in_any_form_keeps_it(api: Caller, run_id: str, given: object, kept: int) -> None:
    api.post("runs/log-metric", run_id=run_id, key="single", value=1.0, timestamp=1, step=given)
    api.post("runs/log-batch", run_id=run_id, metrics=[{"key": "batch", "value": 1.0, "timestamp": 1, "step": given}])
    for key in ("single", "batch"):
        [point] = api.points(run_id, key)
        assert point["step"] == kept
        assert type(point["step"]) is int


@pytest.mark.parametrize(
    "given", [2**63, -(2**63) - 1, str(2**63), 1e30, "9" * 5000, "１", "1e3", " 1", "0x10", "+1", ""]
)
def test_send_no_whole_number_of_64_bits_is_refused(api: Caller, run_id: str, given: object) -> None:
    api.refused("runs/log-metric", {"run_id": run_id, "key": "k", "value": 1.0, "timestamp": 1, "step": given})
    assert api.points(run_id, "k") == []


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("1", 1.0),
        ("1.5", 1.5),
        ("-0.0", -0.0),
        ("1e-320", 1e-320),
        ('"1.5"', 1.5),
        ('"-1e300"', -1e300),
        ("9007199254740993", 9007199254740992.0),
        ("NaN", "NaN"),
        ('"NaN"', "NaN"),
        ('"nan"', "NaN"),
        ("Infinity", "Infinity"),
        ('"Infinity"', "Infinity"),
        ('"inf"', "Infinity"),
        ("-Infinity", "-Infinity"),
        ('"-Infinity"', "-Infinity"),
        ('"-inf"', "-Infinity"),
        ("1.7976931348623157e308", "Infinity"),
        ('"1.7976931348623157E308"', "Infinity"),
        ("-1.7976931348623157e308", "-Infinity"),
    ],
)
def test_send_a_double_in_any_form_keeps_it(
    server: LiveServer, api: Caller, run_id: str, text: str, kept: float | str
) -> None:
    fields = f'"value": {text}, "timestamp": 1, "step": 2'
    for endpoint, body in (
        ("log-metric", f'{{"run_id": "{run_id}", "key": "single", {fields}}}'),
        ("log-batch", f'{{"run_id": "{run_id}", "metrics": [{{"key": "batch", {fields}}}]}}'),
    ):
        headers = {"content-type": "application/json"}
        assert server.ask("POST", f"{BASE}runs/{endpoint}", headers=headers, raw=body.encode()).status == 200
    for key in ("single", "batch"):
        [point] = api.points(run_id, key)
        [latest] = [point for point in api.run(run_id)["data"]["metrics"] if point["key"] == key]
        for value in (point["value"], latest["value"]):
            assert (value, type(value)) == (kept, type(kept))
            if isinstance(kept, float):
                assert math.copysign(1, value) == math.copysign(1, kept)


@pytest.mark.parametrize("given", ["abc", "1,5", "0x10", "1e", "--1", {}, [], False])
def test_send_no_double_is_refused(api: Caller, run_id: str, given: object) -> None:
    api.refused("runs/log-metric", {"run_id": run_id, "key": "k", "value": given, "timestamp": 1})
    assert api.points(run_id, "k") == []


@pytest.mark.parametrize(
    ("given", "kept"),
    [("FINISHED", "FINISHED"), (3, "FINISHED"), ("FAILED", "FAILED"), (4, "FAILED"), (1, "RUNNING"), (2, "SCHEDULED"),
     ("KILLED", "KILLED"), (5, "KILLED")],
)  # fmt: skip
def test_send_a_status_by_name_or_number_sets_it(api: Caller, run_id: str, given: object, kept: str) -> None:
    assert api.post("runs/update", run_id=run_id, status=given)["run_info"]["status"] == kept


@pytest.mark.parametrize("given", ["finished", "DONE", "", 0, 6, 3.5, True, [], {}])
def test_send_no_status_is_refused(api: Caller, run_id: str, given: object) -> None:
    api.refused("runs/update", {"run_id": run_id, "status": given})
    assert api.run(run_id)["info"]["status"] == "RUNNING"


@pytest.mark.parametrize(
    ("given", "seen"),
    [
        ("ACTIVE_ONLY", ["active"]),
        (1, ["active"]),
        (None, ["active"]),
        ("DELETED_ONLY", ["deleted"]),
        (2, ["deleted"]),
        ("ALL", ["active", "deleted"]),
        (3, ["active", "deleted"]),
    ],
)
def test_send_a_view_by_name_or_number_looks_there(api: Caller, given: object, seen: list[str]) -> None:
    experiment_id = created_experiment(api)
    created_run(api, experiment_id)
    api.post("runs/delete", run_id=created_run(api, experiment_id))
    found = api.post("runs/search", experiment_ids=[experiment_id], run_view_type=given)["runs"]
    assert sorted(run["info"]["lifecycle_stage"] for run in found) == seen


@pytest.mark.parametrize("given", ["all", "", 0, 4, False])
def test_send_no_view_is_refused(api: Caller, given: object) -> None:
    api.refused("runs/search", {"experiment_ids": ["0"], "run_view_type": given})
    api.refused("experiments/search", {"view_type": given})


# Queries


def test_repeat_a_name_in_a_query_gives_a_list(api: Caller) -> None:
    prefix = unique("listed")
    for name in ("b", "a", "c"):
        api.post("experiments/create", name=f"{prefix} {name}")
    query: dict[str, object] = {
        "filter": f"name LIKE '{prefix}%'",
        "order_by": ["name DESC", "experiment_id ASC"],
        "view_type": "ALL",
        "max_results": "2",
    }
    found = api.get("experiments/search", **query)
    assert [item["name"][-1] for item in found["experiments"]] == ["c", "b"]
    rest = api.get("experiments/search", **query, page_token=found["next_page_token"])
    assert [item["name"][-1] for item in rest["experiments"]] == ["a"]
    assert "next_page_token" not in rest
    assert found == api.post("experiments/search", **{**query, "max_results": 2})


def test_repeat_a_single_name_in_a_query_takes_the_last(api: Caller, run_id: str) -> None:
    reply = api.reply("GET", "runs/get", query=[("run_id", "nothing"), ("run_id", run_id)])
    assert reply.json()["run"] == api.run(run_id)


@pytest.mark.parametrize(
    "query", ["run_id=%FF", "run_id=\\", "run_id=%00", "run_id=%ED%A0%80", "x=1&run_id=a;b", "a" * 3000]
)
def test_ask_with_a_malformed_query_is_refused(server: LiveServer, query: str) -> None:
    failure(server.ask("GET", f"{BASE}runs/get?{query}"), "INVALID_PARAMETER_VALUE")


def test_ask_with_an_encoded_query_decodes_it_once(api: Caller, server: LiveServer) -> None:
    name = unique("a+b c%2Bd")
    experiment_id = api.post("experiments/create", name=name)["experiment_id"]
    for encoded in (quote(name, safe=""), quote(name, safe="").replace("%20", "+")):
        reply = server.ask("GET", f"{BASE}experiments/get-by-name?experiment_name={encoded}")
        found: Any = reply.json()["experiment"]
        assert found["experiment_id"] == experiment_id


# Pages of its own


def test_ask_for_health_and_version_answers_with_text(server: LiveServer) -> None:
    assert server.ask("GET", "/health").body == b"OK"
    version = server.ask("GET", "/version")
    assert version.headers["content-type"].startswith("text/plain")
    assert [part.isdigit() for part in version.body.decode().split(".")] == [True] * 3


def test_ask_for_the_server_info_says_what_clients_ask(server: LiveServer) -> None:
    for prefix in ("/api", "/ajax-api"):
        info = server.ask("GET", f"{prefix}/3.0/mlflow/server-info").json()
        assert info["store_type"] == "SqlStore"
        assert (info["workspaces_enabled"], info["multipart_uploads_enabled"]) == (False, False)
