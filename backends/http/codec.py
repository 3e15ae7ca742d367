"""Entities as MLflow's REST API writes them in JSON, both ways: the one place that knows.

Encoders follow its conventions: fields that are set are there, whatever their value; unset ones and empty lists are
left out; 64-bit integers are numbers; doubles that JSON has no numbers for are `"NaN"`, `"Infinity"`, `"-Infinity"`.
Decoders take what servers of MLflow 2.22 and 3.17 answer, `null` for what is absent, and integers as text.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from typing import TypeVar, cast

from holdall.stores.entities import (
    Dataset,
    DatasetInput,
    Experiment,
    FileInfo,
    InputTag,
    LifecycleStage,
    LoggedModel,
    LoggedModelInput,
    LoggedModelMetric,
    LoggedModelOutput,
    LoggedModelStatus,
    Metric,
    Run,
    RunData,
    RunInfo,
    RunInputs,
    RunOutputs,
)
from holdall.stores.errors import InternalError
from holdall.stores.points import latest_model_metrics

__all__ = [
    "dataset_input_json",
    "dataset_input_of",
    "double_json",
    "experiment_id_of",
    "experiment_json",
    "experiment_of",
    "file_json",
    "file_of",
    "logged_model_json",
    "logged_model_of",
    "metric_json",
    "metric_of",
    "model_status_json",
    "pairs_json",
    "run_info_json",
    "run_info_of",
    "run_json",
    "run_of",
]

T = TypeVar("T")
Doc = dict[str, object]

_LARGEST_FINITE = 1.7976931348623157e308
_STATUS_NAMES = {
    LoggedModelStatus.UNSPECIFIED: "LOGGED_MODEL_STATUS_UNSPECIFIED",
    LoggedModelStatus.PENDING: "LOGGED_MODEL_PENDING",
    LoggedModelStatus.READY: "LOGGED_MODEL_READY",
    LoggedModelStatus.FAILED: "LOGGED_MODEL_UPLOAD_FAILED",
}
_STATUSES = {name: status for status, name in _STATUS_NAMES.items()}


# From entities to JSON


def double_json(value: float) -> float | str:
    """A double; what JSON has no number for is `"NaN"`, `"Infinity"` or `"-Infinity"`."""
    if -_LARGEST_FINITE <= value <= _LARGEST_FINITE:
        return value
    return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"


def pairs_json(values: Mapping[str, str]) -> list[dict[str, str]]:
    """Tags or params, as a list of `key` and `value`."""
    return [{"key": key, "value": value} for key, value in values.items()]


def experiment_json(experiment: Experiment) -> Doc:
    """The message `Experiment`."""
    doc: Doc = {
        "experiment_id": experiment.experiment_id,
        "name": experiment.name,
        "artifact_location": experiment.artifact_location,
        "lifecycle_stage": experiment.lifecycle_stage,
        "workspace": "default",
    }
    if experiment.last_update_time is not None:
        doc["last_update_time"] = experiment.last_update_time
    if experiment.creation_time is not None:
        doc["creation_time"] = experiment.creation_time
    if experiment.tags:
        doc["tags"] = pairs_json(experiment.tags)
    return doc


def run_info_json(info: RunInfo) -> Doc:
    """The message `RunInfo`."""
    doc: Doc = {
        "run_uuid": info.run_id,
        "experiment_id": info.experiment_id,
        "run_name": info.run_name,
        "user_id": info.user_id,
        "status": info.status,
        "artifact_uri": info.artifact_uri,
        "lifecycle_stage": info.lifecycle_stage,
        "run_id": info.run_id,
    }
    if info.start_time is not None:
        doc["start_time"] = info.start_time
    if info.end_time is not None:
        doc["end_time"] = info.end_time
    return doc


def run_json(run: Run) -> Doc:
    """The message `Run`, with the latest point of each metric."""
    data, body = run.data, cast(Doc, {})
    if data.metrics:
        points = data.metric_points
        body["metrics"] = [
            {
                "key": key,
                # A call for each of the metrics of a page of runs would be most of this function's time.
                "value": value if -_LARGEST_FINITE <= value <= _LARGEST_FINITE else double_json(value),
                "timestamp": points[key][0],
                "step": points[key][1],
            }
            for key, value in data.metrics.items()
        ]
    if data.params:
        body["params"] = [{"key": key, "value": value} for key, value in data.params.items()]
    if data.tags:
        body["tags"] = [{"key": key, "value": value} for key, value in data.tags.items()]
    return {
        "info": run_info_json(run.info),
        "data": body,
        "inputs": _run_inputs_json(run.inputs),
        "outputs": _run_outputs_json(run.outputs),
    }


def _run_inputs_json(inputs: RunInputs) -> Doc:
    doc: Doc = {}
    if inputs.dataset_inputs:
        doc["dataset_inputs"] = [dataset_input_json(item) for item in inputs.dataset_inputs]
    if inputs.model_inputs:
        doc["model_inputs"] = [{"model_id": item.model_id} for item in inputs.model_inputs]
    return doc


def _run_outputs_json(outputs: RunOutputs) -> Doc:
    if not outputs.model_outputs:
        return {}
    return {"model_outputs": [{"model_id": item.model_id, "step": item.step} for item in outputs.model_outputs]}


def metric_json(metric: Metric) -> Doc:
    """The message `Metric`, as histories and batches hold it."""
    value = metric.value
    return {
        "key": metric.key,
        "value": value if -_LARGEST_FINITE <= value <= _LARGEST_FINITE else double_json(value),
        "timestamp": metric.timestamp,
        "step": metric.step,
    }


def file_json(file: FileInfo) -> Doc:
    """The message `FileInfo`; folders and empty files have no size."""
    doc: Doc = {"path": file.path, "is_dir": file.is_dir}
    if file.file_size and not file.is_dir:
        doc["file_size"] = file.file_size
    return doc


def dataset_input_json(item: DatasetInput) -> Doc:
    """The message `DatasetInput`."""
    dataset = item.dataset
    body: Doc = {
        "name": dataset.name,
        "digest": dataset.digest,
        "source_type": dataset.source_type,
        "source": dataset.source,
    }
    if dataset.schema is not None:
        body["schema"] = dataset.schema
    if dataset.profile is not None:
        body["profile"] = dataset.profile
    if not item.tags:
        return {"dataset": body}
    return {"tags": [{"key": tag.key, "value": tag.value} for tag in item.tags], "dataset": body}


def model_status_json(status: LoggedModelStatus) -> str:
    """The API's name of a logged model's status."""
    return _STATUS_NAMES[status]


def logged_model_json(model: LoggedModel) -> Doc:
    """The message `LoggedModel`, with the latest metrics."""
    info: Doc = {
        "model_id": model.model_id,
        "experiment_id": model.experiment_id,
        "name": model.name,
        "creation_timestamp_ms": model.creation_timestamp,
        "last_updated_timestamp_ms": model.last_updated_timestamp,
        "artifact_uri": model.artifact_location,
        "status": model_status_json(model.status),
    }
    for key, text in (
        ("model_type", model.model_type),
        ("source_run_id", model.source_run_id),
        ("status_message", model.status_message),
    ):
        if text is not None:
            info[key] = text
    if model.tags:
        info["tags"] = pairs_json(model.tags)
    data: Doc = {}
    if model.params:
        data["params"] = pairs_json(model.params)
    if model.metrics:
        data["metrics"] = [_model_metric_json(metric, model.model_id) for metric in model.metrics]
    return {"info": info, "data": data}


def _model_metric_json(metric: LoggedModelMetric, model_id: str) -> Doc:
    doc: Doc = {
        "key": metric.key,
        "value": double_json(metric.value),
        "timestamp": metric.timestamp,
        "step": metric.step,
        "model_id": model_id,
        "run_id": metric.run_id,
    }
    if metric.dataset_name is not None:
        doc["dataset_name"] = metric.dataset_name
    if metric.dataset_digest is not None:
        doc["dataset_digest"] = metric.dataset_digest
    return doc


# From JSON to entities


class _Malformed(Exception):
    """Says which part of a document is not what it should be."""


def _decoder(what: str) -> Callable[[Callable[[object], T]], Callable[[object], T]]:
    """Make errors of a function that decodes `what` those of the store."""

    def decorate(decode: Callable[[object], T]) -> Callable[[object], T]:
        @functools.wraps(decode)
        def decoded(doc: object) -> T:
            try:
                return decode(doc)
            except _Malformed as error:
                raise InternalError(f"The server answers with something that is no {what}: {error}.") from None

        return decoded

    return decorate


@_decoder("experiment")
def experiment_id_of(doc: object) -> str:
    """The id in the answer to a creation; raises `InternalError` if it is none."""
    return _text(_message(doc, "it"), "experiment_id")


@_decoder("experiment")
def experiment_of(doc: object) -> Experiment:
    """An `Experiment` from its message; raises `InternalError` if it is none."""
    message = _message(doc, "it")
    return Experiment(
        experiment_id=_text(message, "experiment_id"),
        name=_text(message, "name"),
        artifact_location=_text_or(message, "artifact_location", ""),
        lifecycle_stage=_text_or(message, "lifecycle_stage", LifecycleStage.ACTIVE.value),
        tags=_pairs(message, "tags"),
        creation_time=_integer(message, "creation_time", None),
        last_update_time=_integer(message, "last_update_time", None),
    )


@_decoder("run")
def run_info_of(doc: object) -> RunInfo:
    """A `RunInfo` from its message; raises `InternalError` if it is none."""
    message = _message(doc, "it")
    return RunInfo(
        run_id=_text(message, "run_id" if "run_id" in message else "run_uuid"),
        experiment_id=_text(message, "experiment_id"),
        run_name=_text_or(message, "run_name", ""),
        user_id=_text_or(message, "user_id", ""),
        status=_text(message, "status"),
        start_time=_integer(message, "start_time", None),
        end_time=_integer(message, "end_time", None),
        lifecycle_stage=_text_or(message, "lifecycle_stage", LifecycleStage.ACTIVE.value),
        artifact_uri=_text_or(message, "artifact_uri", ""),
    )


@_decoder("run")
def run_of(doc: object) -> Run:
    """A `Run` from its message; raises `InternalError` if it is none."""
    message = _message(doc, "it")
    data, inputs, outputs = (_part(message, name) for name in ("data", "inputs", "outputs"))
    return Run(
        run_info_of(message.get("info")),
        _run_data(data),
        RunInputs(
            tuple(map(dataset_input_of, _items(inputs, "dataset_inputs"))),
            tuple(LoggedModelInput(_model_id(item)) for item in _items(inputs, "model_inputs")),
        ),
        RunOutputs(
            tuple(
                LoggedModelOutput(_model_id(item), _integer(_message(item, "model_outputs"), "step", 0))
                for item in _items(outputs, "model_outputs")
            )
        ),
    )


def _run_data(data: Doc) -> RunData:
    latest = list(map(metric_of, _items(data, "metrics")))
    return RunData(
        metrics={metric.key: metric.value for metric in latest},
        params=_pairs(data, "params"),
        tags=_pairs(data, "tags"),
        metric_points={metric.key: (metric.timestamp, metric.step) for metric in latest},
    )


def _model_id(item: object) -> str:
    return _text(_message(item, "a model"), "model_id")


@_decoder("metric")
def metric_of(doc: object) -> Metric:
    """A `Metric` from its message; raises `InternalError` if it is none."""
    message = _message(doc, "it")
    return Metric(
        _text(message, "key"),
        _double(message.get("value")),
        _integer(message, "timestamp", 0),
        _integer(message, "step", 0),
    )


@_decoder("file")
def file_of(doc: object) -> FileInfo:
    """A `FileInfo` from its message; raises `InternalError` if it is none."""
    message = _message(doc, "it")
    is_dir = message.get("is_dir") is True
    return FileInfo(_text(message, "path"), is_dir, None if is_dir else _integer(message, "file_size", 0))


@_decoder("dataset")
def dataset_input_of(doc: object) -> DatasetInput:
    """A `DatasetInput` from its message; raises `InternalError` if it is none."""
    message = _message(doc, "it")
    body = _message(message.get("dataset"), "'dataset'")
    dataset = Dataset(
        name=_text(body, "name"),
        digest=_text(body, "digest"),
        source_type=_text_or(body, "source_type", ""),
        source=_text_or(body, "source", ""),
        schema=_text_or(body, "schema", None),
        profile=_text_or(body, "profile", None),
    )
    return DatasetInput(dataset, tuple(InputTag(key, value) for key, value in _pairs(message, "tags").items()))


@_decoder("logged model")
def logged_model_of(doc: object) -> LoggedModel:
    """A `LoggedModel` from its message; raises `InternalError` if it is none."""
    message = _message(doc, "it")
    info, data = _message(message.get("info"), "'info'"), _part(message, "data")
    created = _integer(info, "creation_timestamp_ms", 0)
    return LoggedModel(
        model_id=_text(info, "model_id"),
        experiment_id=_text(info, "experiment_id"),
        name=_text(info, "name"),
        artifact_location=_text_or(info, "artifact_uri", ""),
        creation_timestamp=created,
        last_updated_timestamp=_integer(info, "last_updated_timestamp_ms", created),
        status=_model_status(info.get("status")),
        model_type=_text_or(info, "model_type", None),
        source_run_id=_text_or(info, "source_run_id", None) or None,
        status_message=_text_or(info, "status_message", None),
        params=_pairs(data, "params"),
        tags=_pairs(info, "tags"),
        metrics=latest_model_metrics(map(_model_metric, _items(data, "metrics"))),
    )


def _model_status(value: object) -> LoggedModelStatus:
    status = _STATUSES.get(value) if isinstance(value, str) else None
    if value is not None and status is None:
        raise _Malformed(f"'status' is {_shown(value)}")
    return status or LoggedModelStatus.UNSPECIFIED


def _model_metric(doc: object) -> LoggedModelMetric:
    message = _message(doc, "a metric")
    return LoggedModelMetric(
        key=_text(message, "key"),
        value=_double(message.get("value")),
        timestamp=_integer(message, "timestamp", 0),
        step=_integer(message, "step", 0),
        run_id=_text_or(message, "run_id", ""),
        dataset_name=_text_or(message, "dataset_name", None) or None,
        dataset_digest=_text_or(message, "dataset_digest", None) or None,
    )


# Parts of documents


def _message(doc: object, what: str) -> Doc:
    if not isinstance(doc, dict):
        raise _Malformed(f"{what} is {_shown(doc)}")
    return cast(Doc, doc)


def _part(doc: Doc, name: str) -> Doc:
    part = doc.get(name)
    return {} if part is None else _message(part, f"{name!r}")


def _items(doc: Doc, name: str) -> list[object]:
    items = doc.get(name)
    if items is None:
        return []
    if not isinstance(items, list):
        raise _Malformed(f"{name!r} is {_shown(items)}")
    return cast(list[object], items)


def _text(doc: Doc, name: str) -> str:
    value = doc.get(name)
    if isinstance(value, str):
        return value
    raise _Malformed(f"{name!r} is {_shown(value)}")


def _text_or(doc: Doc, name: str, default: T) -> str | T:
    return default if doc.get(name) is None else _text(doc, name)


def _integer(doc: Doc, name: str, default: T) -> int | T:
    value = doc.get(name)
    if type(value) is int:
        return value
    if value is None:
        return default
    try:
        return int(value) if isinstance(value, str) else _whole(value)
    except ValueError:
        raise _Malformed(f"{name!r} is {_shown(value)}") from None


def _whole(value: object) -> int:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    raise ValueError


def _double(value: object) -> float:
    """A number, or text such as `NaN`. The largest finite one, either way, is how tables keep ±Inf."""
    if type(value) is float and -_LARGEST_FINITE < value < _LARGEST_FINITE:
        return value
    if isinstance(value, bool) or not isinstance(value, float | int | str):
        raise _Malformed(f"'value' is {_shown(value)}")
    try:
        number = float(value)
    except (ValueError, OverflowError):
        raise _Malformed(f"'value' is {_shown(value)}") from None
    return math.copysign(math.inf, number) if abs(number) == _LARGEST_FINITE else number


def _pairs(doc: Doc, name: str) -> dict[str, str]:
    pairs = {}
    for item in _items(doc, name):
        message = _message(item, f"one of {name!r}")
        pairs[_text(message, "key")] = _text_or(message, "value", "")
    return pairs


def _shown(value: object) -> str:
    """Enough of a value to recognise it: what a server sends may be anything."""
    if value is None:
        return "missing"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}…"
