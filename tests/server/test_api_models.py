"""Endpoints of logged models, and of what runs say about them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from tests.server.calls import Caller, created_experiment, created_run, pairs
from tests.server.live import live_server

pytestmark = pytest.mark.extras

BACKENDS = {"memory": "memory://", "file": "mlruns", "sqlite": "sqlite:///models.db"}
NOWHERE = "m-" + "0" * 32


@pytest.fixture(scope="module", params=BACKENDS)
def api(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caller]:
    with live_server(tmp_path_factory.mktemp(request.param), backend=BACKENDS[request.param]) as live:
        yield Caller(live)


@pytest.fixture
def experiment_id(api: Caller) -> str:
    return created_experiment(api)


@pytest.fixture
def model_id(api: Caller, experiment_id: str) -> str:
    return created_model(api, experiment_id)


def created_model(api: Caller, experiment_id: str, **fields: object) -> str:
    model_id: str = api.post("logged-models", experiment_id=experiment_id, **fields)["model"]["info"]["model_id"]
    return model_id


def got(api: Caller, model_id: str) -> dict[str, Any]:
    model: dict[str, Any] = api.get(f"logged-models/{model_id}")["model"]
    return model


def test_create_with_all_fields_answers_with_them(api: Caller, experiment_id: str) -> None:
    run_id = created_run(api, experiment_id)
    answer = api.post(
        "logged-models",
        experiment_id=experiment_id,
        name="net",
        model_type="sklearn",
        source_run_id=run_id,
        params=[{"key": "lr", "value": "0.1"}, {"key": "empty", "value": ""}],
        tags=[{"key": "a/b", "value": "ü"}],
    )
    info, data = answer["model"]["info"], answer["model"]["data"]
    model_id = info["model_id"]
    assert model_id.startswith("m-")
    assert len(model_id) == 34
    created = info["creation_timestamp_ms"]
    assert type(created) is int
    assert info == {
        "model_id": model_id,
        "experiment_id": experiment_id,
        "name": "net",
        "creation_timestamp_ms": created,
        "last_updated_timestamp_ms": created,
        "artifact_uri": f"mlflow-artifacts:/{experiment_id}/models/{model_id}/artifacts",
        "status": "LOGGED_MODEL_PENDING",
        "model_type": "sklearn",
        "source_run_id": run_id,
        "tags": [{"key": "a/b", "value": "ü"}],
    }
    assert list(data) == ["params"]
    assert pairs(data["params"]) == {"lr": "0.1", "empty": ""}
    model = got(api, model_id)
    assert (model["info"], pairs(model["data"]["params"])) == (info, pairs(data["params"]))


def test_create_without_a_name_makes_one_and_leaves_out_what_is_not_there(api: Caller, experiment_id: str) -> None:
    given: list[dict[str, object]] = [{}, {"name": ""}, {"name": None, "source_run_id": "", "params": [], "tags": []}]
    for fields in given:
        model = got(api, created_model(api, experiment_id, **fields))
        assert model["info"]["name"]
        assert not {"model_type", "source_run_id", "tags", "status_message"} & set(model["info"])
        assert model["data"] == {}


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "a/b"},
        {"name": "a:b"},
        {"name": 'a"b'},
        {"params": [{"key": ""}]},
        {"tags": [{"key": "t", "value": "x" * 20000}]},
    ],
    ids=lambda fields: str(fields)[:30],
)
def test_create_with_what_the_rules_refuse_creates_nothing(
    api: Caller, experiment_id: str, fields: dict[str, object]
) -> None:
    api.refused("logged-models", {"experiment_id": experiment_id} | fields)
    assert api.post("logged-models/search", experiment_ids=[experiment_id]) == {}


def test_create_in_no_or_a_deleted_experiment_is_refused(api: Caller, experiment_id: str) -> None:
    api.refused("logged-models", {"experiment_id": "77777"}, "RESOURCE_DOES_NOT_EXIST")
    api.post("experiments/delete", experiment_id=experiment_id)
    api.refused("logged-models", {"experiment_id": experiment_id})


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("LOGGED_MODEL_READY", "LOGGED_MODEL_READY"),
        ("LOGGED_MODEL_UPLOAD_FAILED", "LOGGED_MODEL_UPLOAD_FAILED"),
        ("LOGGED_MODEL_PENDING", "LOGGED_MODEL_PENDING"),
        (2, "LOGGED_MODEL_READY"),
    ],
)
def test_finalize_sets_the_status(api: Caller, model_id: str, given: object, kept: str) -> None:
    answer = api.ask("PATCH", f"logged-models/{model_id}", model_id=model_id, status=given)
    assert answer["model"]["info"]["status"] == kept
    assert answer["model"] == got(api, model_id)


def test_finalize_with_no_status_is_refused(api: Caller, model_id: str) -> None:
    for status in (None, "", "READY", 9, True):
        api.refused(f"logged-models/{model_id}", {"status": status}, method="PATCH")


def test_change_tags_and_params_changes_them(api: Caller, model_id: str) -> None:
    tags = [{"key": "a/b c", "value": "1"}, {"key": "t", "value": ""}]
    assert api.ask("PATCH", f"logged-models/{model_id}/tags", tags=tags) == {}
    assert pairs(got(api, model_id)["info"]["tags"]) == {"a/b c": "1", "t": ""}
    assert api.ask("DELETE", f"logged-models/{model_id}/tags/{quote('a/b c')}") == {}
    assert api.ask("DELETE", f"logged-models/{model_id}/tags/{quote('t', safe='')}") == {}
    assert "tags" not in got(api, model_id)["info"]
    api.refused(f"logged-models/{model_id}/tags/t", {}, "RESOURCE_DOES_NOT_EXIST", method="DELETE")
    for _ in range(2):
        assert api.post(f"logged-models/{model_id}/params", params=[{"key": "p", "value": "1"}]) == {}
    api.refused(f"logged-models/{model_id}/params", {"params": [{"key": "p", "value": "2"}]})
    assert pairs(got(api, model_id)["data"]["params"]) == {"p": "1"}


def test_delete_without_a_body_needs_no_content_type(api: Caller, model_id: str) -> None:
    api.ask("PATCH", f"logged-models/{model_id}/tags", tags=[{"key": "t", "value": "1"}])
    for path in (f"logged-models/{model_id}/tags/t", f"logged-models/{model_id}"):
        reply = api.reply("DELETE", path)
        assert (reply.status, reply.json()) == (200, {})


def test_delete_hides_the_model(api: Caller, experiment_id: str, model_id: str) -> None:
    for _ in range(2):
        assert api.ask("DELETE", f"logged-models/{model_id}") == {}
    assert api.post("logged-models/search", experiment_ids=[experiment_id]) == {}
    _assert_missing(api, model_id)


@pytest.mark.parametrize(
    ("model_id", "code"),
    [
        (NOWHERE, "RESOURCE_DOES_NOT_EXIST"),
        ("a b", "INVALID_PARAMETER_VALUE"),
        ("..x", "INVALID_PARAMETER_VALUE"),
        ("m" * 40, "INVALID_PARAMETER_VALUE"),
    ],
)
def test_use_a_model_that_is_not_there_is_refused(api: Caller, model_id: str, code: str) -> None:
    _assert_missing(api, quote(model_id), code)
    api.refused(f"logged-models/{quote(model_id)}", {}, code, method="DELETE")


def _assert_missing(api: Caller, model_id: str, code: str = "RESOURCE_DOES_NOT_EXIST") -> None:
    api.refused_get(f"logged-models/{model_id}", {}, code)
    api.refused(f"logged-models/{model_id}", {"status": "LOGGED_MODEL_READY"}, code, method="PATCH")
    api.refused(f"logged-models/{model_id}/tags", {"tags": [{"key": "k", "value": "v"}]}, code, method="PATCH")
    api.refused(f"logged-models/{model_id}/tags/k", {}, code, method="DELETE")
    api.refused(f"logged-models/{model_id}/params", {"params": [{"key": "k", "value": "v"}]}, code)


# Runs and models


def test_log_metrics_of_a_model_gives_them_to_run_and_model(api: Caller, experiment_id: str, model_id: str) -> None:
    run_id = created_run(api, experiment_id)
    dataset = {"dataset_name": "digits", "dataset_digest": "abc"}
    point = {"key": "acc", "value": 0.5, "timestamp": 3, "step": 2}
    assert api.post("runs/log-metric", run_id=run_id, model_id=model_id, **point, **dataset) == {}
    plain, of_model = {"key": "plain", "value": 1.0, "timestamp": 1}, {"key": "loss", "value": "NaN", "timestamp": 1}
    api.post("runs/log-batch", run_id=run_id, metrics=[plain, of_model | {"model_id": model_id}])
    found = sorted(got(api, model_id)["data"]["metrics"], key=lambda metric: metric["key"])
    mine = {"model_id": model_id, "run_id": run_id}
    assert found == [{**point, **dataset, **mine}, {**of_model, "step": 0, **mine}]
    assert {metric["key"]: metric["value"] for metric in api.run(run_id)["data"]["metrics"]} == {
        "acc": 0.5,
        "plain": 1.0,
        "loss": "NaN",
    }


def test_log_metrics_of_a_model_that_is_not_there_logs_nothing(api: Caller, experiment_id: str) -> None:
    run_id = created_run(api, experiment_id)
    point = {"key": "m", "value": 1.0, "timestamp": 1, "step": 0}
    plain = {"key": "plain", "value": 1.0, "timestamp": 1, "step": 0}
    lost = point | {"model_id": NOWHERE}
    api.refused("runs/log-metric", {"run_id": run_id, **lost}, "RESOURCE_DOES_NOT_EXIST")
    api.refused("runs/log-batch", {"run_id": run_id, "metrics": [plain, lost]}, "RESOURCE_DOES_NOT_EXIST")
    assert "metrics" not in api.run(run_id)["data"]


def test_link_models_shows_them_with_the_run(api: Caller, experiment_id: str, model_id: str) -> None:
    run_id = created_run(api, experiment_id)
    used = created_model(api, experiment_id)
    for _ in range(2):
        assert api.post("runs/outputs", run_id=run_id, models=[{"model_id": model_id, "step": 7}]) == {}
        assert api.post("runs/log-inputs", run_id=run_id, models=[{"model_id": used}]) == {}
    run = api.run(run_id)
    assert run["outputs"] == {"model_outputs": [{"model_id": model_id, "step": 7}]}
    assert run["inputs"] == {"model_inputs": [{"model_id": used}]}
    api.refused("runs/outputs", {"run_id": "0" * 32, "models": []}, "RESOURCE_DOES_NOT_EXIST")
    api.refused("runs/outputs", {"run_id": run_id, "models": [{"model_id": "a b", "step": 1}]})


# Searching


def names(found: dict[str, Any]) -> list[str]:
    return [model["info"]["name"] for model in found.get("models", [])]


def test_search_filters_orders_and_pages(api: Caller, experiment_id: str) -> None:
    run_id = created_run(api, experiment_id)
    for number, name in enumerate("badce"):
        params = [{"key": "even", "value": str(number % 2 == 0)}]
        model_id = created_model(api, experiment_id, name=name, params=params)
        point = {"key": "acc", "value": number / 10, "timestamp": 1, "dataset_name": "d", "dataset_digest": "1"}
        api.post("runs/log-metric", run_id=run_id, model_id=model_id, **point)
    query: dict[str, Any] = {"experiment_ids": [experiment_id]}
    by_name = [{"field_name": "name", "ascending": True}]
    assert names(api.post("logged-models/search", **query, order_by=by_name)) == list("abcde")
    assert names(api.post("logged-models/search", **query, filter="params.even = 'True'", order_by=by_name)) == list(
        "bde"
    )
    by_metric = [{"field_name": "metrics.acc", "ascending": False, "dataset_name": "d"}]
    assert names(api.post("logged-models/search", **query, order_by=by_metric)) == list("ecdab")
    on = {"datasets": [{"dataset_name": "d", "dataset_digest": "1"}], "filter": "metrics.acc > 0.15"}
    assert names(api.post("logged-models/search", **query, **on, order_by=by_name)) == list("cde")
    assert api.post("logged-models/search", **query, datasets=[{"dataset_name": "other"}]) == {}
    seen: list[str] = []
    token: str | None = ""
    while token is not None:
        found = api.post("logged-models/search", **query, order_by=by_name, max_results=2, page_token=token)
        seen += names(found)
        token = found.get("next_page_token")
    assert seen == list("abcde")


@pytest.mark.parametrize(
    "query",
    [
        {"filter": "name ="},
        {"filter": "nothing = 'x'"},
        {"max_results": 0},
        {"page_token": "x"},
        {"order_by": [{"field_name": "nothing"}]},
        {"order_by": [{"field_name": "params.x"}]},
        {"datasets": [{"dataset_digest": "1"}]},
        {"experiment_ids": ["../x"]},
    ],
    ids=str,
)
def test_search_with_a_malformed_question_is_refused(api: Caller, experiment_id: str, query: dict[str, object]) -> None:
    api.refused("logged-models/search", {"experiment_ids": [experiment_id]} | query)


def test_search_in_no_experiment_finds_nothing(api: Caller, model_id: str) -> None:
    assert api.post("logged-models/search") == {}
    assert api.post("logged-models/search", filter="name = 'a'") == {}
