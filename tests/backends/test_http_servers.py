"""What the HTTP backend knows of servers, how it evens out MLflow's ways, and how few requests it needs."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest
from tests.artifacts.scripted_server import Answer, Asked, ScriptedServer
from tests.backends.http_scripts import (
    API,
    INFO,
    MODEL,
    RUN,
    SERVER_INFO,
    Script,
    clear_settings,
    document,
    open_server,
    refusal,
    scripted_api,
)

from holdall.backends.http.store import HttpBackendStore
from holdall.stores import (
    Capabilities,
    Dataset,
    DatasetInput,
    InternalError,
    InvalidParameterValue,
    LoggedModelOutput,
    Metric,
    NotFound,
    Param,
    RunTag,
    Unsupported,
)
from holdall.stores.errors import AlreadyExists

HOLDALL = document({"holdall": {"version": "1.2", "capabilities": asdict(Capabilities(logged_models=True))}})
MLFLOW_2 = {"/version": Answer(200, b"2.22.5")}
MLFLOW_3 = {SERVER_INFO: document({"store_type": "SqlStore"}), "/version": Answer(200, b"3.17.2")}
UNIQUE = refusal(400, "BAD_REQUEST", "(sqlite3.IntegrityError) UNIQUE constraint failed")


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    clear_settings(monkeypatch, tmp_path)


def endpoints(server: ScriptedServer) -> list[str]:
    """What was asked for, in order."""
    return [asked.path.removeprefix(API) for asked in server.asked]


def in_turn(*answers: Answer) -> Callable[[Asked], Answer]:
    turns = iter(answers)
    return lambda _: next(turns)


# What a server can do


def test_ask_capabilities_of_holdall_gives_those_of_the_store_behind_it() -> None:
    behind = Capabilities(
        persistent=False,
        multi_process=False,
        negative_zero=False,
        exact_names=False,
        logged_models=True,
        database=True,
        restores_by_cause=False,
        max_experiment_id=7,
    )
    answer = document({"holdall": {"version": "1.2", "capabilities": asdict(behind) | {"later": True}}})
    with scripted_api({SERVER_INFO: answer}) as server, open_server(server) as store:
        assert store.capabilities == Capabilities(
            negative_zero=False,
            exact_names=False,
            logged_models=True,
            restores_by_cause=False,
            remote=True,
            max_experiment_id=7,
        )
        assert store.describe()["server"] == "holdall 1.2"
    assert endpoints(server) == [SERVER_INFO]


def test_ask_capabilities_of_holdall_that_says_little_assumes_the_usual() -> None:
    with scripted_api({SERVER_INFO: document({"holdall": {}})}) as server, open_server(server) as store:
        assert store.capabilities == Capabilities(remote=True)


@pytest.mark.parametrize("wrong", [{"max_experiment_id": "7"}, {"datasets": 1}, {"exact_names": None}])
def test_ask_capabilities_that_are_malformed_is_an_internal_error(wrong: dict[str, object]) -> None:
    answer = document({"holdall": {"capabilities": wrong}})
    with scripted_api({SERVER_INFO: answer}) as server, open_server(server) as store, pytest.raises(InternalError):
        _ = store.capabilities


@pytest.mark.parametrize(
    ("script", "name", "models"),
    [
        (MLFLOW_2, "MLflow 2.22.5", False),
        (MLFLOW_3, "MLflow 3.17.2", True),
        ({"/version": Answer(200, b"3.1.0rc1\n")}, "MLflow 3.1.0rc1", True),
        ({"/version": Answer(200, b"<html>hello</html>")}, "a server of MLflow's API", False),
        ({}, "a server of MLflow's API", False),
    ],
)
def test_ask_capabilities_of_mlflow_assumes_what_holds_for_all_its_databases(
    script: dict[str, Answer], name: str, models: bool
) -> None:
    with scripted_api(script) as server, open_server(server) as store:
        assert store.describe()["server"] == name
        found = store.capabilities
        assert found is store.capabilities
    assert found.logged_models is models
    lacking = [found.atomic_batches, found.negative_zero, found.exact_names, found.restores_by_cause]
    assert lacking == [False] * 4
    assert len(server.asked) == 2


def test_ask_capabilities_of_unreachable_server_is_asked_again_later() -> None:
    script = {SERVER_INFO: in_turn(refusal(500, "INTERNAL_ERROR"), HOLDALL)}
    with scripted_api(script) as server, open_server(server) as store:
        with pytest.raises(InternalError):
            _ = store.capabilities
        assert store.capabilities.logged_models


# How many requests a call takes

ONE_REQUEST: dict[str, tuple[str, Answer, Callable[[HttpBackendStore], object]]] = {
    "log_metric": ("runs/log-metric", document({}), lambda store: store.log_metric("r", Metric("k", 1.0, 1))),
    "log_param": ("runs/log-parameter", document({}), lambda store: store.log_param("r", Param("k", "v"))),
    "set_tag": ("runs/set-tag", document({}), lambda store: store.set_tag("r", RunTag("k", "v"))),
    "delete_tag": ("runs/delete-tag", document({}), lambda store: store.delete_tag("r", "k")),
    "log_batch": (
        "runs/log-batch",
        document({}),
        lambda store: store.log_batch("r", [Metric("k", 1.0, 1)], [Param("k", "v")], [RunTag("k", "v")]),
    ),
    "log_inputs": (
        "runs/log-inputs",
        document({}),
        lambda store: store.log_inputs("r", [DatasetInput(Dataset("n", "d", "t", "s"))]),
    ),
    "get_run": ("runs/get", document({"run": RUN}), lambda store: store.get_run("r")),
    "create_run": ("runs/create", document({"run": RUN}), lambda store: store.create_run("1")),
    "update_run_info": (
        "runs/update",
        document({"run_info": INFO}),
        lambda store: store.update_run_info("r", "FINISHED", 1, "n"),
    ),
    "search_runs": ("runs/search", document({"runs": [RUN]}), lambda store: store.search_runs(["1"])),
    "search_experiments": ("experiments/search", document({}), lambda store: store.search_experiments()),
    "get_metric_history": (
        "metrics/get-history",
        document({"metrics": [{"key": "k", "value": 1.0}]}),
        lambda store: store.get_metric_history("r", "k"),
    ),
    "get_logged_model": (
        "logged-models/m-1",
        document({"model": MODEL}),
        lambda store: store.get_logged_model("m-1"),
    ),
    "search_logged_models": (
        "logged-models/search",
        document({"models": [MODEL]}),
        lambda store: store.search_logged_models(["1"]),
    ),
    "delete_logged_model": ("logged-models/m-1", document({}), lambda store: store.delete_logged_model("m-1")),
}


@pytest.mark.parametrize("call", ONE_REQUEST)
def test_call_that_is_usual_takes_one_request(call: str) -> None:
    endpoint, answer, act = ONE_REQUEST[call]
    with scripted_api({endpoint: answer}) as server, open_server(server) as store:
        act(store)
    assert endpoints(server) == [endpoint]


def test_search_runs_passes_on_what_it_was_given() -> None:
    pages = in_turn(document({"runs": [RUN], "next_page_token": "the server's"}), document({}))
    with scripted_api({"runs/search": pages}) as server, open_server(server) as store:
        first = store.search_runs(["1", "2", "1"], "metrics.`a b` > 1", max_results=7, order_by=["tags.x DESC"])
        store.search_runs(
            ["1", "2"], "metrics.`a b` > 1", max_results=7, order_by=["tags.x DESC"], page_token=first.token
        )
    sent = [json.loads(asked.body) for asked in server.asked]
    assert sent[0] == {
        "experiment_ids": ["1", "2"],
        "run_view_type": "ACTIVE_ONLY",
        "max_results": 7,
        "filter": "metrics.`a b` > 1",
        "order_by": ["tags.x DESC"],
    }
    assert sent[1] == sent[0] | {"page_token": "the server's"}


@pytest.mark.parametrize("token", ["the server's", "é", "W10="])
def test_search_with_token_that_no_page_had_sends_nothing(token: str) -> None:
    with scripted_api({}) as server, open_server(server) as store:
        for search in (
            lambda: store.search_runs(["1"], page_token=token),
            lambda: store.search_experiments(page_token=token),
            lambda: store.search_logged_models(["1"], page_token=token),
            lambda: store.get_metric_history("r", "k", 1, token),
        ):
            with pytest.raises(InvalidParameterValue, match="page token"):
                search()
    assert server.asked == []


def test_get_history_asks_for_page_after_page_until_it_has_all() -> None:
    points = [{"key": "k", "value": float(step), "timestamp": step, "step": step} for step in range(5)]
    pages = in_turn(
        document({"metrics": points[:2], "next_page_token": "2"}),
        document({"metrics": points[2:4], "next_page_token": "4"}),
        document({"metrics": points[4:]}),
    )
    with scripted_api({"metrics/get-history": pages}) as server, open_server(server) as store:
        found = store.get_metric_history("r", "k")
    assert [point.step for point in found] == [0, 1, 2, 3, 4]
    assert found.token is None
    assert [asked.query.get("page_token") for asked in server.asked] == [None, "2", "4"]
    assert {asked.query["max_results"] for asked in server.asked} == {"25000"}


# MLflow's ways


def test_rename_experiment_to_taken_name_at_mlflow_already_exists() -> None:
    with (
        scripted_api({"experiments/update": UNIQUE}) as server,
        open_server(server) as store,
        pytest.raises(AlreadyExists, match="'taken'"),
    ):
        store.rename_experiment("1", "taken")


def test_get_history_of_missing_run_at_mlflow_is_not_found() -> None:
    script = {**MLFLOW_3, "metrics/get-history": document({}), "runs/get": refusal(404, "RESOURCE_DOES_NOT_EXIST")}
    with scripted_api(script) as server, open_server(server) as store:
        with pytest.raises(NotFound):
            store.get_metric_history("r", "k")
        with pytest.raises(NotFound):
            store.sample_metric_history("r", "k", 3)


def test_get_empty_history_at_holdall_asks_for_no_run() -> None:
    script = {SERVER_INFO: HOLDALL, "metrics/get-history": document({})}
    with scripted_api(script) as server, open_server(server) as store:
        assert store.get_metric_history("r", "k") == []


def test_log_model_params_again_at_mlflow_sends_new_ones_only() -> None:
    known = {**MODEL, "data": {"params": [{"key": "a", "value": "1"}]}}
    script: Script = {
        "logged-models/m-1/params": in_turn(UNIQUE, document({})),
        "logged-models/m-1": document({"model": known}),
    }
    with scripted_api(script) as server, open_server(server) as store:
        store.log_logged_model_params("m-1", {"a": "1", "b": "2"})
    assert json.loads(server.asked[-1].body)["params"] == [{"key": "b", "value": "2"}]


def test_log_model_param_with_another_value_at_mlflow_is_refused() -> None:
    known = {**MODEL, "data": {"params": [{"key": "a", "value": "1"}]}}
    script: Script = {"logged-models/m-1/params": UNIQUE, "logged-models/m-1": document({"model": known})}
    with (
        scripted_api(script) as server,
        open_server(server) as store,
        pytest.raises(InvalidParameterValue, match="Changing param values"),
    ):
        store.log_logged_model_params("m-1", {"a": "2"})


def test_log_outputs_again_at_mlflow_sends_new_ones_only() -> None:
    linked = {**RUN, "outputs": {"model_outputs": [{"model_id": "m-1", "step": 1}]}}
    script: Script = {"runs/outputs": in_turn(UNIQUE, document({})), "runs/get": document({"run": linked})}
    with scripted_api(script) as server, open_server(server) as store:
        store.log_outputs("r", [LoggedModelOutput("m-1", 2), LoggedModelOutput("m-2", 3)])
    assert json.loads(server.asked[-1].body)["models"] == [{"model_id": "m-2", "step": 3}]


@pytest.mark.parametrize("refusals", [1, 3, 4])
def test_log_what_mlflow_refuses_for_a_collision_is_sent_again(refusals: int) -> None:
    """Two that log the same at once: the database lets one of them do it (UNIQUE constraint)."""
    answers = in_turn(*[UNIQUE] * refusals, *[document({})] * (4 - refusals))
    with scripted_api({"runs/log-batch": answers}) as server, open_server(server) as store:
        if refusals == 4:
            with pytest.raises(InvalidParameterValue, match="database"):
                store.log_batch("r", [Metric("k", 1.0, 1)])
        else:
            store.log_batch("r", [Metric("k", 1.0, 1)])
    assert endpoints(server) == ["runs/log-batch"] * min(4, refusals + 1)


def test_log_metrics_of_missing_model_at_mlflow_logs_nothing() -> None:
    script = {**MLFLOW_3, "logged-models/m-1": refusal(404, "RESOURCE_DOES_NOT_EXIST"), "runs/log-batch": document({})}
    with scripted_api(script) as server, open_server(server) as store, pytest.raises(NotFound):
        store.log_model_metrics("m-1", "r", [Metric("k", 1.0, 1)])
    assert "runs/log-batch" not in endpoints(server)


def test_search_with_id_that_is_no_number_leaves_it_out_at_mlflow_only() -> None:
    for facts, ids in ((MLFLOW_3, ["1"]), ({SERVER_INFO: HOLDALL}, ["1", "abc"])):
        with scripted_api({**facts, "runs/search": document({})}) as server, open_server(server) as store:
            assert store.search_runs(["1", "abc"]) == []
        assert json.loads(server.asked[-1].body)["experiment_ids"] == ids


def test_call_what_older_mlflow_lacks_is_unsupported() -> None:
    with scripted_api(MLFLOW_2) as server, open_server(server) as store:
        with pytest.raises(Unsupported):
            store.delete_experiment_tag("1", "k")
        with pytest.raises(Unsupported):
            store.create_logged_model("1")
