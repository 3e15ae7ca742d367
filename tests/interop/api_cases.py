"""Requests that MLflow's server and ours are both sent, in this order, and where ours answers otherwise on purpose."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["CASES", "Case"]


@dataclass(frozen=True, slots=True)
class Case:
    """A request.

    Attributes:
        method: HTTP method.
        endpoint: Below `/api/2.0/mlflow/`, with its query. `$NAME` stands for what an earlier answer gave.
        body: Sent as JSON; texts in it may hold `$NAME` too.
        raw: Sent in place of JSON.
        kind: Content type of that; None for none.
        keep: By the name by which later cases call it, where in the answer it is.
        differs: Why our answer is another; empty if it is the same.
    """

    method: str
    endpoint: str
    body: object = None
    raw: bytes | None = None
    kind: str | None = "application/json"
    keep: dict[str, tuple[str, ...]] = field(default_factory=dict)
    differs: str = ""


def _get(endpoint: str, differs: str = "", **keep: tuple[str, ...]) -> Case:
    return Case("GET", endpoint, keep=keep, differs=differs)


def _post(endpoint: str, body: object, differs: str = "", **keep: tuple[str, ...]) -> Case:
    return Case("POST", endpoint, body, keep=keep, differs=differs)


def _send(raw: bytes, kind: str | None = "application/json", differs: str = "") -> Case:
    return Case("POST", "runs/set-tag", raw=raw, kind=kind, differs=differs)


_INTERNAL = "a user's mistake: MLflow answers with an error of the server, which clients repeat for minutes"
_DATABASE = "MLflow lets the database refuse it, and answers with the driver's text"
_STRICT = "a slip: MLflow takes another value in silence"
_INFINITY = "MLflow shows the largest finite number, as its tables hold it"
_ABSENT = "what was not said is chosen sensibly: the time is now, the user unknown"
_MISSING = "a run that is not there is an error, as it is for every other call"
_RETRY = "saying the same again is harmless, so every call may be repeated"

_PATH = "the path says which model; the body need not say it again"
_MALFORMED = "what cannot be an id is malformed for every call; MLflow says of some that there is none"
_OUTPUTS = "MLflow leaves the outputs of a run out here, and here alone"
_NO_IDS = "no experiment holds no models, as in the search of runs"

_NOBODY = "m-" + "0" * 32
_RUN = {"run_id": "$run"}
_POINT = {"key": "m", "value": 0.5, "timestamp": 1000}
_DATASET = {"name": "digits", "digest": "abc", "source_type": "code", "source": "{}"}
_EXPERIMENT = {"experiment_id": "$exp"}
_MODEL = '{"run_id": "$run", "artifact_path": "m", "utc_time_created": "2026-01-01", "flavors": {}, "model_uuid": "1"}'

EXPERIMENTS = (
    _get("experiments/get?experiment_id=0"),
    _get("experiments/get"),
    _get("experiments/get?experiment_id="),
    _get("experiments/get?experiment_id=77777"),
    _get("experiments/get-by-name?experiment_name=Default"),
    _get("experiments/get-by-name?experiment_name=nobody"),
    _get("experiments/get-by-name"),
    _post("experiments/create", {"name": "first", "tags": [{"key": "a", "value": "1"}]}, exp=("experiment_id",)),
    _post("experiments/create", {"name": "first"}),
    _post("experiments/create", {"name": ""}),
    _post("experiments/create", {"name": None}),
    _post("experiments/create", {"name": 5}),
    _post("experiments/create", {}),
    _post("experiments/create", {"name": "x" * 501}),
    _post("experiments/create", {"name": "bad tag", "tags": [{"key": "a//b", "value": "1"}]}),
    _post("experiments/create", {"name": "bad location", "artifact_location": "s3://bucket/a#b"}),
    _post("experiments/create", {"name": "bad location", "artifact_location": "http://host/a"}),
    _post("experiments/create", {"name": "elsewhere", "artifact_location": "s3://bucket/a"}, other=("experiment_id",)),
    _get("experiments/get?experiment_id=$other"),
    _get("experiments/get?experiment_id=$exp"),
    _post("experiments/update", {"experiment_id": "$exp", "new_name": "renamed"}),
    _post("experiments/update", {"experiment_id": "$exp", "new_name": "renamed"}),
    _post("experiments/update", {"experiment_id": "$exp", "new_name": "Default"}, differs=_DATABASE),
    _post("experiments/update", {"experiment_id": "$exp", "new_name": ""}),
    _post("experiments/update", {"experiment_id": "$exp"}),
    _post("experiments/update", {"experiment_id": "77777", "new_name": "x"}),
    _post("experiments/set-experiment-tag", {**_EXPERIMENT, "key": "a/b", "value": "ü"}),
    _post("experiments/set-experiment-tag", {**_EXPERIMENT, "key": "empty"}),
    _post("experiments/set-experiment-tag", {**_EXPERIMENT, "value": "x"}),
    _post("experiments/set-experiment-tag", {**_EXPERIMENT, "key": "k", "value": "x" * 20001}),
    _post("experiments/delete-experiment-tag", {**_EXPERIMENT, "key": "empty"}),
    _post("experiments/delete-experiment-tag", {**_EXPERIMENT, "key": "empty"}),
    _get("experiments/get?experiment_id=$exp"),
    _post("experiments/search", {"max_results": 10}),
    _post("experiments/search", {"max_results": 10, "filter": "name = 'renamed'"}),
    _post("experiments/search", {"max_results": 10, "filter": "name = 'nobody'"}),
    _post("experiments/search", {"max_results": 10, "filter": "name ="}),
    _post("experiments/search", {"max_results": 10, "order_by": ["name DOWN"]}),
    _post("experiments/search", {"max_results": 50001}),
    _post("experiments/search", {}, differs="MLflow's server has no default for max_results here"),
    _get("experiments/search?max_results=10&order_by=name&order_by=experiment_id"),
    _get("experiments/search?max_results=10&view_type=DELETED_ONLY"),
    _get("experiments/search?max_results=2&order_by=name", token=("next_page_token",)),
    _get("experiments/search?max_results=2&order_by=name&page_token=$token"),
    _get("experiments/search?max_results=2&page_token=abc"),
    _post("experiments/delete", {"experiment_id": "$other"}),
    _post("experiments/delete", {"experiment_id": "$other"}),
    _post("experiments/search", {"max_results": 10, "view_type": "ALL", "order_by": ["name"]}),
    _post("experiments/search", {"max_results": 10, "view_type": 2}),
    _post("experiments/update", {"experiment_id": "$other", "new_name": "x"}, differs=_INTERNAL),
    _post("experiments/set-experiment-tag", {"experiment_id": "$other", "key": "k", "value": "v"}),
    _post("runs/create", {"experiment_id": "$other", "start_time": 1}),
    _post("experiments/restore", {"experiment_id": "$other"}),
    _post("experiments/restore", {"experiment_id": "$other"}),
    _post("experiments/delete", {}),
)

RUNS = (
    _post(
        "runs/create",
        {**_EXPERIMENT, "user_id": "ann", "run_name": "one", "start_time": 1234, "tags": [{"key": "t", "value": "1"}]},
        differs=_OUTPUTS,
        run=("run", "info", "run_id"),
    ),
    _post("runs/create", {"experiment_id": "$exp", "run_name": "bare"}, differs=_ABSENT),
    _post("runs/create", {"run_name": "nowhere"}, differs=_DATABASE),
    _post("runs/create", {"experiment_id": "77777", "start_time": 1}),
    _post("runs/create", {"experiment_id": 0}),
    _post("runs/create", {**_EXPERIMENT, "run_name": "a", "tags": [{"key": "mlflow.runName", "value": "b"}]}),
    _post("runs/create", {**_EXPERIMENT, "start_time": "abc"}),
    _post("runs/create", {**_EXPERIMENT, "run_name": "text", "user_id": "u", "start_time": "1234"}, differs=_OUTPUTS),
    _get("runs/get?run_id=$run"),
    _get("runs/get?run_uuid=$run"),
    _get("runs/get?run_id=" + "0" * 32),
    _get("runs/get"),
    _get("runs/get?run_id=a%20b", differs=_MALFORMED),
    _post("runs/log-parameter", {**_RUN, "key": "p", "value": "1"}),
    _post("runs/log-parameter", {**_RUN, "key": "p", "value": "1"}),
    _post("runs/log-parameter", {**_RUN, "key": "p", "value": "2"}),
    _post("runs/log-parameter", {**_RUN, "key": "empty"}),
    _post("runs/log-parameter", {**_RUN, "key": "a/../b", "value": "1"}),
    _post("runs/log-parameter", {**_RUN, "key": "a;b", "value": "1"}),
    _post("runs/log-parameter", {**_RUN, "key": "x" * 251, "value": "1"}),
    _post("runs/log-parameter", {**_RUN, "key": "number", "value": 1}),
    _post("runs/log-parameter", {**_RUN, "value": "1"}),
    _post("runs/log-parameter", {"key": "k", "value": "1"}),
    _post("runs/log-parameter", {"run_uuid": "$run", "key": "alias", "value": "1"}),
    _post("runs/log-parameter", {"run_id": "0" * 32, "key": "k", "value": "1"}),
    _post("runs/set-tag", {**_RUN, "key": "t", "value": "2"}),
    _post("runs/set-tag", {**_RUN, "key": "valueless"}),
    _post("runs/set-tag", {**_RUN, "key": "mlflow.runName", "value": "two"}),
    _post("runs/delete-tag", {**_RUN, "key": "valueless"}),
    _post("runs/delete-tag", {**_RUN, "key": "valueless"}),
    _post("runs/log-metric", {**_RUN, **_POINT}),
    _post("runs/log-metric", {**_RUN, **_POINT}),
    _post("runs/log-metric", {**_RUN, **_POINT, "value": "0.75", "step": "3"}),
    _post("runs/log-metric", {**_RUN, **_POINT, "value": "NaN", "step": 4}),
    _post("runs/log-metric", {**_RUN, **_POINT, "key": "inf", "value": "Infinity"}),
    _post("runs/log-metric", {**_RUN, **_POINT, "key": "negative", "step": -5, "timestamp": 0}),
    _post("runs/log-metric", {**_RUN, **_POINT, "timestamp": -1}),
    _post("runs/log-metric", {**_RUN, **_POINT, "value": "abc"}),
    _post("runs/log-metric", {**_RUN, **_POINT, "value": None}),
    _post("runs/log-metric", {**_RUN, **_POINT, "key": "bool", "value": True}, differs=_STRICT),
    _post("runs/log-metric", {**_RUN, **_POINT, "timestamp": None}),
    _post("runs/log-metric", {**_RUN, **_POINT, "step": "x"}),
    _post("runs/log-metric", {**_RUN, **_POINT, "key": "half", "step": 1.5}, differs=_STRICT),
    _post("runs/log-metric", {**_RUN, **_POINT, "key": "whole", "step": 2.0}),
    _post(
        "runs/log-batch",
        {**_RUN, "metrics": [{**_POINT, "key": "b", "step": 1}], "params": [{"key": "q", "value": "1"}]},
    ),
    _post("runs/log-batch", {**_RUN, "tags": [{"key": "t", "value": "3"}, {"key": "t", "value": "4"}]}),
    _post("runs/log-batch", _RUN),
    _post("runs/log-batch", {}),
    _post("runs/log-batch", {"run_id": "0" * 32, "tags": [{"key": "t", "value": "3"}]}),
    _post("runs/log-batch", {**_RUN, "params": [{"key": "r", "value": "1"}, {"key": "r", "value": "1"}]}),
    _post("runs/log-batch", {**_RUN, "params": [{"key": "new", "value": "1"}, {"key": "q", "value": "2"}]}),
    _post("runs/log-batch", {**_RUN, "metrics": [{**_POINT, "step": step} for step in range(1001)]}),
    _post("runs/log-batch", {**_RUN, "params": [{"key": f"p{number}", "value": "1"} for number in range(101)]}),
    _post("runs/log-batch", {**_RUN, "metrics": [{"key": "m", "timestamp": 1}]}),
    _post("runs/log-batch", {**_RUN, "metrics": [{**_POINT, "key": "a//b"}]}),
    _post("runs/log-batch", {**_RUN, "metrics": "text"}),
    _post(
        "runs/log-inputs",
        {**_RUN, "datasets": [{"dataset": _DATASET, "tags": [{"key": "mlflow.data.context", "value": "train"}]}]},
    ),
    _post("runs/log-inputs", {**_RUN, "datasets": [{"dataset": {**_DATASET, "name": "n" * 501}}]}),
    _post("runs/log-inputs", {**_RUN, "datasets": [{"dataset": {"name": "n"}}]}, differs=_STRICT),
    _post("runs/log-model", {**_RUN, "model_json": _MODEL}),
    _post("runs/log-model", {**_RUN, "model_json": "{"}),
    _post("runs/update", {**_RUN, "status": "FINISHED", "end_time": 99}),
    _post("runs/update", {**_RUN, "run_name": "three"}),
    _post("runs/update", {**_RUN, "status": 1}),
    _post("runs/update", {**_RUN, "status": "NONSENSE"}, differs=_STRICT),
    _post("runs/update", {"run_id": "0" * 32, "status": "FINISHED"}),
    _get("runs/get?run_id=$run", differs=_INFINITY),
    _get("metrics/get-history?run_id=$run&metric_key=m"),
    _get("metrics/get-history?run_id=$run&metric_key=inf", differs=_INFINITY),
    _get("metrics/get-history?run_id=$run&metric_key=none"),
    _get("metrics/get-history?run_id=$run"),
    _get("metrics/get-history?metric_key=m"),
    _get("metrics/get-history?run_id=$run&metric_key=m&max_results=2", page=("next_page_token",)),
    _get("metrics/get-history?run_id=$run&metric_key=m&max_results=2&page_token=$page"),
    _get("metrics/get-history?run_id=$run&metric_key=m&max_results=0"),
    _get("metrics/get-history?run_id=" + "0" * 32 + "&metric_key=m", differs=_MISSING),
    _get("metrics/get-history-bulk-interval?run_ids=$run&metric_key=negative"),
    _get("metrics/get-history-bulk-interval?run_ids=$run&metric_key=none"),
    _get("metrics/get-history-bulk-interval?run_ids=$run&metric_key=m&start_step=1"),
    _get("metrics/get-history-bulk-interval?run_ids=$run&metric_key=m&max_results=0"),
    _post(
        "runs/search",
        {"experiment_ids": ["$exp"], "filter": "params.p = '1' AND run_name = 'three'"},
        differs=_INFINITY,
    ),
    _post("runs/search", {"experiment_ids": ["$exp"], "filter": "params.p = 'x'"}),
    _post("runs/search", {"experiment_ids": ["$exp"], "filter": "metrics.m > 'x'"}),
    _post("runs/search", {"experiment_ids": ["$exp"], "filter": "params.p ="}),
    _post("runs/search", {"experiment_ids": ["$exp"], "max_results": 50001}),
    _post("runs/search", {"experiment_ids": ["$exp"], "max_results": 0}),
    _post("runs/search", {"experiment_ids": ["$exp"], "order_by": ["nothing"]}),
    _post("runs/search", {"experiment_ids": []}),
    _post("runs/search", {}),
    _post("runs/search", {"experiment_ids": ["0"], "run_view_type": "ALL"}),
    _post("runs/search", {"experiment_ids": ["$exp"], "page_token": "abc"}),
    _post("runs/delete", _RUN),
    _post("runs/delete", _RUN),
    _post("runs/set-tag", {**_RUN, "key": "t", "value": "v"}),
    _post("runs/log-parameter", {**_RUN, "key": "t", "value": "v"}),
    _post("runs/log-metric", {**_RUN, **_POINT}),
    _post("runs/log-inputs", {**_RUN, "datasets": [{"dataset": _DATASET}]}),
    _post("runs/update", {**_RUN, "status": "FAILED"}),
    _post("runs/restore", _RUN),
    _post("runs/restore", _RUN),
    _post("runs/delete", {}),
    _post("runs/delete", {"run_id": "0" * 32}),
)

MODELS = (
    _post(
        "logged-models",
        {
            **_EXPERIMENT,
            "name": "net",
            "model_type": "t",
            "source_run_id": "$run",
            "params": [{"key": "p", "value": "1"}],
        },
        model=("model", "info", "model_id"),
    ),
    _post("logged-models", {"name": "nowhere"}),
    _post("logged-models", {"experiment_id": "77777", "name": "nowhere"}),
    _post("logged-models", {**_EXPERIMENT, "name": "a/b"}),
    _get("logged-models/$model"),
    _get("logged-models/" + _NOBODY),
    Case("PATCH", "logged-models/$model", {"model_id": "$model", "status": "LOGGED_MODEL_READY"}),
    Case("PATCH", "logged-models/$model", {"model_id": "$model"}),
    Case("PATCH", f"logged-models/{_NOBODY}", {"model_id": _NOBODY, "status": "LOGGED_MODEL_READY"}),
    Case("PATCH", "logged-models/$model", {"status": "LOGGED_MODEL_READY"}, differs=_PATH),
    Case("PATCH", "logged-models/$model/tags", {"model_id": "$model", "tags": [{"key": "t", "value": "1"}]}),
    Case("DELETE", "logged-models/$model/tags/t", {}),
    Case("DELETE", "logged-models/$model/tags/t", {}),
    _post("logged-models/$model/params", {"model_id": "$model", "params": [{"key": "q", "value": "2"}]}),
    _post(
        "logged-models/$model/params", {"model_id": "$model", "params": [{"key": "q", "value": "2"}]}, differs=_RETRY
    ),
    _post("runs/log-metric", {**_RUN, **_POINT, "key": "of model", "model_id": "$model"}),
    _post("runs/log-metric", {**_RUN, **_POINT, "key": "of none", "model_id": "m-" + "0" * 32}, differs=_DATABASE),
    _get("logged-models/$model"),
    _post("runs/outputs", {**_RUN, "models": [{"model_id": "$model", "step": 3}]}),
    _post("runs/outputs", {**_RUN, "models": [{"model_id": "$model", "step": 3}]}, differs=_RETRY),
    _post("runs/log-inputs", {**_RUN, "models": [{"model_id": "$model"}]}),
    _post("logged-models/search", {"experiment_ids": ["$exp"]}),
    _post("logged-models/search", {"experiment_ids": ["$exp"], "filter": "name = 'net'"}),
    _post("logged-models/search", {"experiment_ids": ["$exp"], "filter": "name = 'nobody'"}),
    _post("logged-models/search", {"filter": "name = 'net'"}, differs=_NO_IDS),
    _post("logged-models/search", {"experiment_ids": ["$exp"], "filter": "name ="}),
    _post("logged-models/search", {"experiment_ids": ["$exp"], "order_by": [{"field_name": "nothing"}]}),
    Case("DELETE", "logged-models/$model", {}),
    _get("logged-models/$model"),
    Case("DELETE", "logged-models/" + _NOBODY, {}),
)

FORMS = (
    _send(b'{"run_id": "x", "key": ""}', "text/plain"),
    _send(b'{"run_id": "x", "key": ""}', None),
    _send(b'{"run_id": "x", "key": ""}', "application/json; charset=utf-8"),
    _send(b""),
    _send(b"{"),
    _send(b"[]", differs=_INTERNAL),
    _send(b'"text"', differs=_INTERNAL),
    _send(b"5", differs=_INTERNAL),
    Case("POST", "runs/set-tag", {"run_id": None, "run_uuid": "$run", "key": "form", "value": None, "unknown": [1]}),
    Case("GET", "nothing", differs="MLflow answers with a page of HTML"),
    Case("GET", "runs/create", differs="MLflow answers with a page of HTML"),
)

CASES = (*EXPERIMENTS, *RUNS, *MODELS, *FORMS)
