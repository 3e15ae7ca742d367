"""Endpoints of runs, and of what they log."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from tests.server.calls import Caller, created_experiment, created_run, pairs
from tests.server.live import live_server

pytestmark = pytest.mark.extras

NOWHERE = "0" * 32
"""The id of no run."""


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caller]:
    with live_server(tmp_path_factory.mktemp("server")) as live:
        yield Caller(live)


@pytest.fixture
def run_id(api: Caller) -> str:
    return created_run(api)


def latest(run: dict[str, Any]) -> dict[str, tuple[object, ...]]:
    """The latest points of a run: (value, timestamp, step) by key."""
    points = run["data"].get("metrics", [])
    found: dict[str, tuple[object, ...]] = {
        point["key"]: (point["value"], point["timestamp"], point["step"]) for point in points
    }
    assert len(found) == len(points)
    return found


# Creating and getting


def test_create_with_all_fields_answers_with_them(api: Caller) -> None:
    tags = [{"key": "mlflow.user", "value": "ann"}, {"key": "a/b", "value": ""}]
    answer = api.post("runs/create", experiment_id="0", user_id="bob", run_name="first", start_time=1234, tags=tags)
    run = answer["run"]
    run_id = run["info"]["run_id"]
    found = api.run(run_id)
    assert (found["info"], pairs(found["data"]["tags"])) == (run["info"], pairs(run["data"]["tags"]))
    assert run["info"] == {
        "run_id": run_id,
        "run_uuid": run_id,
        "run_name": "first",
        "experiment_id": "0",
        "user_id": "bob",
        "status": "RUNNING",
        "start_time": 1234,
        "artifact_uri": f"mlflow-artifacts:/0/{run_id}/artifacts",
        "lifecycle_stage": "active",
    }
    assert list(run["data"]) == ["tags"]
    assert pairs(run["data"]["tags"]) == {"mlflow.user": "ann", "a/b": "", "mlflow.runName": "first"}
    assert (run["inputs"], run["outputs"]) == ({}, {})
    assert len(run_id) == 32
    assert int(run_id, 16)


def test_create_without_a_name_makes_one(api: Caller) -> None:
    for fields in ({}, {"run_name": ""}, {"run_name": None}, {"tags": [{"key": "mlflow.runName", "value": ""}]}):
        run = api.post("runs/create", experiment_id="0", **fields)["run"]
        assert run["info"]["run_name"]
        assert pairs(run["data"]["tags"])["mlflow.runName"] == run["info"]["run_name"]


def test_create_with_the_name_as_a_tag_takes_it(api: Caller) -> None:
    tags = [{"key": "mlflow.runName", "value": "tagged"}]
    assert api.post("runs/create", experiment_id="0", tags=tags)["run"]["info"]["run_name"] == "tagged"
    api.post("runs/create", experiment_id="0", tags=tags, run_name="tagged")
    assert "mlflow.runName" in api.refused("runs/create", {"experiment_id": "0", "tags": tags, "run_name": "other"})


def test_create_with_time_zero_keeps_it(api: Caller) -> None:
    info = api.post("runs/create", experiment_id="0", start_time=0)["run"]["info"]
    assert info["start_time"] == 0
    assert "end_time" not in info


@pytest.mark.parametrize(
    "fields",
    [
        {"start_time": -1},
        {"run_name": "x" * 251},
        {"user_id": "x" * 257},
        {"tags": [{"key": "k", "value": "v" * 8001}]},
        {"tags": [{"key": "k" * 251, "value": "v"}]},
        {"tags": [{"key": "a/", "value": "v"}]},
        {"run_name": "nul \u0000"},
    ],
    ids=lambda fields: str(fields)[:40],
)
def test_create_with_what_the_rules_refuse_creates_nothing(api: Caller, fields: dict[str, object]) -> None:
    experiment_id = created_experiment(api)
    api.refused("runs/create", {"experiment_id": experiment_id} | fields)
    assert api.post("runs/search", experiment_ids=[experiment_id]) == {}


def _calls(run_id: str) -> list[tuple[str, dict[str, object]]]:
    dataset = {"name": "n", "digest": "d", "source_type": "t", "source": "s"}
    return [
        ("runs/update", {"run_id": run_id, "status": "FINISHED"}),
        ("runs/delete", {"run_id": run_id}),
        ("runs/restore", {"run_id": run_id}),
        ("runs/log-metric", {"run_id": run_id, "key": "k", "value": 1.0, "timestamp": 1}),
        ("runs/log-parameter", {"run_id": run_id, "key": "k", "value": "v"}),
        ("runs/set-tag", {"run_id": run_id, "key": "k", "value": "v"}),
        ("runs/delete-tag", {"run_id": run_id, "key": "k"}),
        ("runs/log-batch", {"run_id": run_id, "tags": [{"key": "k", "value": "v"}]}),
        ("runs/log-batch", {"run_id": run_id}),
        ("runs/log-inputs", {"run_id": run_id, "datasets": [{"dataset": dataset}]}),
        ("runs/log-inputs", {"run_id": run_id}),
        ("runs/log-model", {"run_id": run_id, "model_json": "{}"}),
    ]


def test_use_a_run_that_is_not_there_is_refused(api: Caller) -> None:
    for endpoint, body in _calls(NOWHERE):
        assert NOWHERE in api.refused(endpoint, body, "RESOURCE_DOES_NOT_EXIST")
    api.refused_get("runs/get", {"run_id": NOWHERE}, "RESOURCE_DOES_NOT_EXIST")
    api.refused_get("metrics/get-history", {"run_id": NOWHERE, "metric_key": "k"}, "RESOURCE_DOES_NOT_EXIST")


@pytest.mark.parametrize("run_id", ["..", "../x", "a b", "a\u0000", "a\n", "x" * 257, "/etc", "%2e%2e", "-x", "ü"])
def test_use_what_cannot_be_a_run_is_refused(api: Caller, run_id: str) -> None:
    for endpoint, body in _calls(run_id):
        api.refused(endpoint, body)
    api.refused_get("runs/get", {"run_id": run_id})
    api.refused_get("metrics/get-history", {"run_id": run_id, "metric_key": "k"})


# Changing


def test_update_changes_what_it_names(api: Caller, run_id: str) -> None:
    info = api.post("runs/update", run_id=run_id, status="FINISHED", end_time=99)["run_info"]
    assert (info["status"], info["end_time"]) == ("FINISHED", 99)
    info = api.post("runs/update", run_id=run_id, run_name="renamed")["run_info"]
    assert (info["status"], info["end_time"], info["run_name"]) == ("FINISHED", 99, "renamed")
    info = api.post("runs/update", run_id=run_id, status="RUNNING", run_name="")["run_info"]
    assert (info["status"], info["end_time"], info["run_name"]) == ("RUNNING", 99, "renamed")
    run = api.run(run_id)
    assert run["info"] == info
    assert pairs(run["data"]["tags"])["mlflow.runName"] == "renamed"


def test_set_the_tag_of_the_name_renames(api: Caller, run_id: str) -> None:
    api.post("runs/set-tag", run_id=run_id, key="mlflow.runName", value="by tag")
    assert api.run(run_id)["info"]["run_name"] == "by tag"
    api.post("runs/log-batch", run_id=run_id, tags=[{"key": "mlflow.runName", "value": "by batch"}])
    assert api.run(run_id)["info"]["run_name"] == "by batch"
    api.post("runs/delete-tag", run_id=run_id, key="mlflow.runName")
    assert api.run(run_id)["info"]["run_name"] == "by batch"


def test_delete_and_restore_may_be_repeated(api: Caller, run_id: str) -> None:
    for _ in range(2):
        assert api.post("runs/delete", run_id=run_id) == {}
        assert api.run(run_id)["info"]["lifecycle_stage"] == "deleted"
    for _ in range(2):
        assert api.post("runs/restore", run_id=run_id) == {}
        assert api.run(run_id)["info"]["lifecycle_stage"] == "active"


def test_change_a_deleted_run_is_refused_and_reading_works(api: Caller, run_id: str) -> None:
    api.post("runs/log-metric", run_id=run_id, key="k", value=1.0, timestamp=1)
    api.post("runs/set-tag", run_id=run_id, key="k", value="v")
    api.post("runs/delete", run_id=run_id)
    before = api.run(run_id)
    for endpoint, body in _calls(run_id):
        if endpoint not in ("runs/delete", "runs/restore") and len(body) > 1:
            api.refused(endpoint, body)
    assert api.run(run_id) == before
    assert len(api.points(run_id, "k")) == 1


# Params and tags


def test_log_a_param_once_keeps_its_value(api: Caller, run_id: str) -> None:
    for _ in range(2):
        assert api.post("runs/log-parameter", run_id=run_id, key="p", value="1") == {}
    message = api.refused("runs/log-parameter", {"run_id": run_id, "key": "p", "value": "2"})
    assert "'p'" in message
    assert run_id in message
    api.post("runs/log-parameter", run_id=run_id, key="empty")
    api.post("runs/log-parameter", run_id=run_id, key="a", value="ü" * 6000)
    api.post("runs/log-parameter", run_id=run_id, key="a/b", value="below")
    assert pairs(api.run(run_id)["data"]["params"]) == {"p": "1", "empty": "", "a": "ü" * 6000, "a/b": "below"}


def test_set_and_delete_tags_changes_them(api: Caller, run_id: str) -> None:
    for value in ("1", "2", "ü" * 8000, ""):
        assert api.post("runs/set-tag", run_id=run_id, key="t", value=value) == {}
        assert pairs(api.run(run_id)["data"]["tags"])["t"] == value
    assert api.post("runs/delete-tag", run_id=run_id, key="t") == {}
    assert "t" not in pairs(api.run(run_id)["data"]["tags"])
    message = api.refused("runs/delete-tag", {"run_id": run_id, "key": "t"}, "RESOURCE_DOES_NOT_EXIST")
    assert "'t'" in message


@pytest.mark.parametrize("key", [".", "..", "a/../b", "/a", "a/", "a//b", "a\n", "a;b", "a#b", "x" * 251, "😀"])
def test_log_under_a_key_that_the_rules_refuse_logs_nothing(api: Caller, run_id: str, key: str) -> None:
    before = api.run(run_id)
    point = {"key": key, "value": 1.0, "timestamp": 1, "step": 0}
    api.refused("runs/log-metric", {"run_id": run_id, **point})
    api.refused("runs/log-parameter", {"run_id": run_id, "key": key, "value": "v"})
    api.refused("runs/set-tag", {"run_id": run_id, "key": key, "value": "v"})
    good = {"key": "good", "value": "v"}
    for bad in ({"metrics": [point]}, {"params": [{"key": key, "value": "v"}]}, {"tags": [{"key": key, "value": "v"}]}):
        message = api.refused("runs/log-batch", {"run_id": run_id, "params": [good], "tags": [good]} | bad)
        assert f"{next(iter(bad))}[0].key" in message
    assert api.run(run_id) == before


def test_log_too_long_a_value_is_refused_not_cut(api: Caller, run_id: str) -> None:
    api.refused("runs/log-parameter", {"run_id": run_id, "key": "p", "value": "x" * 6001})
    api.refused("runs/set-tag", {"run_id": run_id, "key": "t", "value": "x" * 8001})
    data = api.run(run_id)["data"]
    assert "params" not in data
    assert "t" not in pairs(data["tags"])


# Metrics


def test_log_points_keeps_the_latest_by_step_time_and_value(api: Caller, run_id: str) -> None:
    for value, timestamp, step in ((1.0, 10, 5), (2.0, 11, 4), (3.0, 9, 5), (0.5, 10, 5)):
        assert api.post("runs/log-metric", run_id=run_id, key="m", value=value, timestamp=timestamp, step=step) == {}
    run = api.run(run_id)
    assert latest(run) == {"m": (1.0, 10, 5)}
    assert [type(item) for item in latest(run)["m"]] == [float, int, int]


def test_log_a_point_again_changes_nothing(api: Caller, run_id: str) -> None:
    point = {"key": "m", "value": "NaN", "timestamp": 1, "step": 2}
    for _ in range(2):
        api.post("runs/log-metric", run_id=run_id, **point)
        api.post("runs/log-batch", run_id=run_id, metrics=[point, point])
    assert api.points(run_id, "m") == [point]


@pytest.mark.parametrize("timestamp", [-1, -(2**63)])
def test_log_a_point_before_the_epoch_is_refused(api: Caller, run_id: str, timestamp: int) -> None:
    api.refused("runs/log-metric", {"run_id": run_id, "key": "m", "value": 1.0, "timestamp": timestamp})


# Batches


def test_log_a_batch_logs_all_of_it(api: Caller, run_id: str) -> None:
    metrics = [
        {"key": f"m{number}", "value": number / 2, "timestamp": number, "step": -number} for number in range(800)
    ]
    params = [{"key": f"p{number}", "value": str(number)} for number in range(100)]
    tags = [{"key": f"t{number}", "value": str(number)} for number in range(99)] + [{"key": "t0", "value": "last"}]
    assert api.post("runs/log-batch", run_id=run_id, metrics=metrics, params=params, tags=tags) == {}
    run = api.run(run_id)
    assert latest(run) == {f"m{number}": (number / 2, number, -number) for number in range(800)}
    assert pairs(run["data"]["params"]) == {f"p{number}": str(number) for number in range(100)}
    assert pairs(run["data"]["tags"]).items() >= {"t0": "last", "t98": "98"}.items()


@pytest.mark.parametrize(
    "fields",
    [
        {"metrics": [{"key": "m", "value": 1.0, "timestamp": 1, "step": step} for step in range(1001)]},
        {"params": [{"key": f"p{number}", "value": "v"} for number in range(101)]},
        {"tags": [{"key": f"t{number}", "value": "v"} for number in range(101)]},
        {
            "metrics": [{"key": "m", "value": 1.0, "timestamp": 1, "step": step} for step in range(950)],
            "params": [{"key": f"p{number}", "value": "v"} for number in range(51)],
        },
        {"params": [{"key": "twice", "value": "v"}, {"key": "twice", "value": "v"}]},
        {"params": [{"key": "new", "value": "v"}, {"key": "old", "value": "2"}]},
        {"params": [{"key": "long", "value": "v" * 6001}]},
        {"tags": [{"key": "long", "value": "v" * 8001}]},
        {"tags": [{"key": "mlflow.runName", "value": "v" * 251}]},
        {"metrics": [{"key": "m", "value": 1.0, "timestamp": 1}, {"key": "m", "value": 1.0, "timestamp": -1}]},
        {"metrics": [{"key": "m", "value": 1.0, "timestamp": 1}, {"key": "m", "value": "x", "timestamp": 1}]},
        {"metrics": [{"key": "m", "value": 1.0, "timestamp": 1, "model_id": "m-1"}] * 1001},
        {
            "metrics": [
                {"key": "m", "value": 1.0, "timestamp": 1},
                {"key": "a//b", "value": 1.0, "timestamp": 1, "model_id": "m-1"},
            ]
        },
    ],
    ids=lambda fields: f"{ {name: len(items) for name, items in fields.items()} }"[1:-1],
)
def test_log_a_batch_that_the_rules_refuse_logs_nothing_of_it(
    api: Caller, run_id: str, fields: dict[str, object]
) -> None:
    api.post("runs/log-parameter", run_id=run_id, key="old", value="1")
    before = api.run(run_id)
    good: dict[str, object] = {
        "metrics": [{"key": "g", "value": 1.0, "timestamp": 1}],
        "tags": [{"key": "g", "value": "v"}],
    }
    api.refused("runs/log-batch", {"run_id": run_id} | good | fields)
    assert api.run(run_id) == before


# Inputs, and models of MLflow 2


def test_log_inputs_shows_them_with_the_run(api: Caller, run_id: str) -> None:
    dataset = {"name": "digits", "digest": "abc", "source_type": "code", "source": '{"tags": {}}'}
    more = dataset | {"name": "más", "schema": '{"columns": []}', "profile": "{}"}
    tags = [{"key": "mlflow.data.context", "value": "training"}]
    api.post("runs/log-inputs", run_id=run_id, datasets=[{"dataset": dataset, "tags": tags}, {"dataset": more}])
    api.post(
        "runs/log-inputs", run_id=run_id, datasets=[{"dataset": dataset, "tags": [{"key": "ignored", "value": "x"}]}]
    )
    found = {item["dataset"]["name"]: item for item in api.run(run_id)["inputs"]["dataset_inputs"]}
    assert found == {"digits": {"dataset": dataset, "tags": tags}, "más": {"dataset": more}}
    [run] = api.post("runs/search", experiment_ids=["0"], filter="dataset.name = 'más'")["runs"]
    assert run == api.run(run_id)


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "n" * 501},
        {"digest": "d" * 37},
        {"source": "s" * 65536},
        {"schema": "s" * 1048576},
        {"name": 1},
        {"name": None},
    ],
    ids=lambda fields: str(fields)[:20],
)
def test_log_an_input_that_the_rules_refuse_logs_none(api: Caller, run_id: str, fields: dict[str, object]) -> None:
    dataset: dict[str, object] = {"name": "n", "digest": "d", "source_type": "t", "source": "s"}
    good = {"dataset": dataset}
    api.refused("runs/log-inputs", {"run_id": run_id, "datasets": [good, {"dataset": dataset | fields}]})
    long = [{"key": "k" * 256, "value": "v"}]
    api.refused("runs/log-inputs", {"run_id": run_id, "datasets": [{"dataset": dataset, "tags": long}]})
    assert api.run(run_id)["inputs"] == {}


def test_log_an_input_of_empty_texts_keeps_them(api: Caller, run_id: str) -> None:
    dataset = {"name": "", "digest": "", "source_type": "", "source": "", "schema": "", "profile": ""}
    tags = [{"key": "context", "value": ""}]
    api.post("runs/log-inputs", run_id=run_id, datasets=[{"dataset": dataset, "tags": tags}])
    assert api.run(run_id)["inputs"]["dataset_inputs"] == [{"dataset": dataset, "tags": tags}]


def test_log_models_of_mlflow_2_keeps_a_history_in_a_tag(api: Caller, run_id: str) -> None:
    for number in range(3):
        model = {"run_id": run_id, "artifact_path": f"model{number}", "flavors": {"python_function": {}}}
        assert api.post("runs/log-model", run_id=run_id, model_json=json.dumps(model)) == {}
    history = json.loads(pairs(api.run(run_id)["data"]["tags"])["mlflow.log-model.history"])
    assert [model["artifact_path"] for model in history] == ["model0", "model1", "model2"]


def test_log_more_models_than_the_tag_holds_keeps_the_latest(api: Caller, run_id: str) -> None:
    for number in range(10):
        model = {"artifact_path": f"model{number}", "flavors": "x" * 1500}
        api.post("runs/log-model", run_id=run_id, model_json=json.dumps(model))
    history = json.loads(pairs(api.run(run_id)["data"]["tags"])["mlflow.log-model.history"])
    assert [model["artifact_path"] for model in history] == [f"model{number}" for number in range(5, 10)]


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "5", "null", "NaN", '"x"', json.dumps({"a": "x" * 9000}), "[" * 100_000]
)
def test_log_what_is_no_model_is_refused(api: Caller, run_id: str, text: str) -> None:
    api.refused("runs/log-model", {"run_id": run_id, "model_json": text})
    assert "mlflow.log-model.history" not in pairs(api.run(run_id)["data"]["tags"])


def test_log_a_model_where_the_tag_holds_something_else_is_begins_anew(api: Caller, run_id: str) -> None:
    for text in ("not JSON", '{"an": "object"}', "[" * 8000):
        api.post("runs/set-tag", run_id=run_id, key="mlflow.log-model.history", value=text)
        api.post("runs/log-model", run_id=run_id, model_json='{"a": 1}')
        assert json.loads(pairs(api.run(run_id)["data"]["tags"])["mlflow.log-model.history"]) == [{"a": 1}]
