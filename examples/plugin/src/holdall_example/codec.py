"""Between the values of holdall and the events of the journal: the only place that knows both."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from holdall.backends.memory import MemoryBackendStore
from holdall.stores import (
    Dataset,
    DatasetInput,
    ExperimentTag,
    InputTag,
    InvalidParameterValue,
    Metric,
    Param,
    Run,
    RunData,
    RunInfo,
    RunStatus,
    StoreURI,
)

__all__ = ["ACTIONS", "begin", "encode_batch", "encode_inputs", "encode_run"]


def begin(arguments: Mapping[str, Any]) -> MemoryBackendStore:
    """The model as it is after the first line."""
    if arguments["format"] != 1:
        raise InvalidParameterValue(f"The journal has format {arguments['format']!r}; this version knows format 1.")
    root = StoreURI.parse(arguments["location"].removesuffix("/0"))
    return MemoryBackendStore(StoreURI("memory"), artifact_root=root, creation_time=arguments["time"])


def encode_run(run: Run) -> dict[str, object]:
    """A new run as arguments of its event."""
    return {"info": asdict(run.info), "tags": run.data.tags}


def encode_batch(metrics: Sequence[Metric], params: Sequence[Param]) -> dict[str, object]:
    """Metrics and params as arguments of an event."""
    points = [[metric.key, metric.value, metric.timestamp, metric.step] for metric in metrics]
    return {"metrics": points, "params": [[param.key, param.value] for param in params]}


def encode_inputs(datasets: Sequence[DatasetInput]) -> list[object]:
    """Uses of datasets as an argument of an event."""
    return [[asdict(item.dataset), [[tag.key, tag.value] for tag in item.tags]] for item in datasets]


def _create_experiment(model: MemoryBackendStore, name: str, location: str, tags: dict[str, str], time: int) -> str:
    return model._create_experiment(name, lambda _: location, tags, time)


def _set_experiment_tag(model: MemoryBackendStore, experiment_id: str, key: str, value: str, time: int) -> None:
    model._set_experiment_tag(experiment_id, ExperimentTag(key, value), time)


def _create_run(model: MemoryBackendStore, info: dict[str, Any], tags: dict[str, str]) -> Run:
    return model._create_run(Run(RunInfo(**info), RunData(tags=tags)))


def _update_run_info(
    model: MemoryBackendStore, run_id: str, status: str | None, end_time: int | None, run_name: str | None
) -> RunInfo:
    return model._update_run_info(run_id, None if status is None else RunStatus(status), end_time, run_name)


def _log_batch(
    model: MemoryBackendStore,
    run_id: str,
    metrics: list[tuple[str, float, int, int]],
    params: list[tuple[str, str]],
    tags: dict[str, str],
) -> None:
    model._log_batch(run_id, [Metric(*point) for point in metrics], [Param(*pair) for pair in params], tags)


def _log_inputs(
    model: MemoryBackendStore, run_id: str, datasets: list[tuple[dict[str, Any], list[tuple[str, str]]]]
) -> None:
    uses = [DatasetInput(Dataset(**dataset), tuple(InputTag(*tag) for tag in tags)) for dataset, tags in datasets]
    model._log_inputs(run_id, uses)


ACTIONS: dict[str, Callable[..., Any]] = {
    "create_experiment": _create_experiment,
    "rename_experiment": MemoryBackendStore._rename_experiment,
    "delete_experiment": MemoryBackendStore._delete_experiment,
    "restore_experiment": MemoryBackendStore._restore_experiment,
    "set_experiment_tag": _set_experiment_tag,
    "delete_experiment_tag": MemoryBackendStore._delete_experiment_tag,
    "create_run": _create_run,
    "update_run_info": _update_run_info,
    "delete_run": MemoryBackendStore._delete_run,
    "restore_run": MemoryBackendStore._restore_run,
    "log_batch": _log_batch,
    "delete_tag": MemoryBackendStore._delete_tag,
    "log_inputs": _log_inputs,
}
"""Event → what it does to the model."""
