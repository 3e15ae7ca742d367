"""holdall as a writer and reader of the workload, and its store as the plain values that a peer reports too."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypedDict

from tests.interop.steps import Point, Search, Step

from holdall.stores import BackendStore, ExperimentTag, Metric, Param, Run, RunTag, ViewType
from holdall.stores.entities import Dataset, DatasetInput, Experiment, InputTag

__all__ = [
    "FIXTURES",
    "DatasetSnapshot",
    "Expected",
    "ExperimentSnapshot",
    "RunSnapshot",
    "Snapshot",
    "anonymous",
    "apply",
    "by_ref",
    "expected",
    "found",
    "snapshot",
]

FIXTURES = Path(__file__).with_name("fixtures")


class ExperimentSnapshot(TypedDict):
    """An experiment, its id apart."""

    name: str
    artifact_location: str
    lifecycle_stage: str
    creation_time: int | None
    last_update_time: int | None
    tags: dict[str, str]


class DatasetSnapshot(TypedDict):
    """A dataset that a run used."""

    name: str
    digest: str
    source_type: str
    source: str
    schema: str | None
    profile: str | None
    tags: dict[str, str]


class RunSnapshot(TypedDict):
    """A run, its id apart; metric values as text, so that NaN equals NaN and no digit is lost."""

    experiment_id: str
    run_name: str
    user_id: str
    status: str
    start_time: int | None
    end_time: int | None
    lifecycle_stage: str
    artifact_uri: str
    params: dict[str, str]
    tags: dict[str, str]
    metrics: dict[str, str]
    history: dict[str, list[str]]
    datasets: list[DatasetSnapshot]


class Snapshot(TypedDict):
    """Everything in a store, by id. Infinities are written as MLflow's databases have them, ±1.797…e308."""

    experiments: dict[str, ExperimentSnapshot]
    runs: dict[str, RunSnapshot]


class Expected(TypedDict):
    """What the writer of a fixture read from it."""

    snapshot: Snapshot
    searches: list[tuple[str, list[str], list[str]]]


def expected(fixture: str) -> Expected:
    """What belongs to the fixture `mlflow-2.22.5` or, a folder, `mlflow-2.22.5.mlruns`.

    A search is (filter, order, found).
    """
    result: Expected = json.loads((FIXTURES / f"{fixture}.json").read_text(encoding="utf-8"))
    return result


def snapshot(store: BackendStore) -> Snapshot:
    """Everything that holdall reads, by whatever methods there are."""
    experiments = store.search_experiments(ViewType.ALL, max_results=1000)
    for experiment in experiments:
        assert experiment == store.get_experiment(experiment.experiment_id)
        assert experiment == store.get_experiment_by_name(experiment.name)
    runs = _all_runs(store)
    return {
        "experiments": {experiment.experiment_id: _experiment(experiment) for experiment in experiments},
        "runs": {run.info.run_id: _run(store, run) for run in runs},
    }


def found(store: BackendStore, searches: Iterable[Search]) -> list[list[str]]:
    """The `ref` tags of the runs that each search finds in the experiment `search`."""
    ids = [_experiment_id(store, "search")]
    return [
        [run.data.tags["ref"] for run in store.search_runs(ids, filter_string, order_by=order_by)]
        for filter_string, order_by in searches
    ]


def by_ref(state: Snapshot, ref: str) -> RunSnapshot:
    """The run with this tag `ref`."""
    (run,) = (run for run in state["runs"].values() if run["tags"]["ref"] == ref)
    return run


def anonymous(state: Snapshot) -> tuple[list[ExperimentSnapshot], list[RunSnapshot]]:
    """A snapshot without ids, and times that nobody chose: equal for stores that were told to write the same.

    Run ids stand in artifact locations and in the tag `mlflow.parentRunId`; the parent's `ref` takes their place.
    """
    names = {experiment_id: experiment["name"] for experiment_id, experiment in state["experiments"].items()}
    refs = {run_id: run["tags"]["ref"] for run_id, run in state["runs"].items()}
    experiments: list[ExperimentSnapshot] = []
    for experiment in state["experiments"].values():
        timeless = experiment.copy()
        timeless["creation_time"] = timeless["last_update_time"] = None
        experiments.append(timeless)
    runs: list[RunSnapshot] = []
    for run_id, run in state["runs"].items():
        parent = run["tags"].get("mlflow.parentRunId")
        tags = run["tags"] if parent is None else run["tags"] | {"mlflow.parentRunId": refs[parent]}
        copy = run.copy()
        copy["experiment_id"] = names[run["experiment_id"]]
        copy["artifact_uri"] = run["artifact_uri"].replace(run_id, "RUN")
        copy["tags"] = tags
        runs.append(copy)
    return sorted(experiments, key=lambda item: item["name"]), sorted(runs, key=lambda item: item["tags"]["ref"])


def apply(store: BackendStore, steps: Sequence[Step]) -> None:
    """Write the steps of a workload."""
    writer = _Writer(store)
    for method, arguments in steps:
        step: Callable[..., None] = getattr(writer, method)
        step(**arguments)


class _Writer:
    """A store opened by holdall, with one method for every step, as in `peer_script.py`."""

    def __init__(self, store: BackendStore) -> None:
        self.store = store
        self.run_ids = {run.data.tags["ref"]: run.info.run_id for run in _all_runs(store)}

    def create_experiment(self, name: str, artifact_location: str | None, tags: dict[str, str]) -> None:
        self.store.create_experiment(name, artifact_location, [ExperimentTag(*item) for item in tags.items()])

    def rename_experiment(self, name: str, new_name: str) -> None:
        self.store.rename_experiment(_experiment_id(self.store, name), new_name)

    def set_experiment_tag(self, name: str, key: str, value: str) -> None:
        self.store.set_experiment_tag(_experiment_id(self.store, name), ExperimentTag(key, value))

    def delete_experiment(self, name: str) -> None:
        self.store.delete_experiment(_experiment_id(self.store, name))

    def restore_experiment(self, name: str) -> None:
        self.store.restore_experiment(_experiment_id(self.store, name))

    def create_run(self, experiment: str, ref: str, name: str, start_time: int, tags: dict[str, str]) -> None:
        run_tags = [RunTag("ref", ref), *(RunTag(*item) for item in tags.items())]
        run = self.store.create_run(_experiment_id(self.store, experiment), None, start_time, run_tags, name)
        self.run_ids[ref] = run.info.run_id

    def nest(self, ref: str, parent: str) -> None:
        self.store.set_tag(self._run(ref), RunTag("mlflow.parentRunId", self._run(parent)))

    def update_run(self, ref: str, status: str, name: str) -> None:
        self.store.update_run_info(self._run(ref), status=status, run_name=name)

    def end_run(self, ref: str, status: str, end_time: int) -> None:
        self.store.update_run_info(self._run(ref), status=status, end_time=end_time)

    def delete_run(self, ref: str) -> None:
        self.store.delete_run(self._run(ref))

    def restore_run(self, ref: str) -> None:
        self.store.restore_run(self._run(ref))

    def log_batch(self, ref: str, metrics: list[Point], params: dict[str, str], tags: dict[str, str]) -> None:
        self.store.log_batch(
            self._run(ref),
            [Metric(*point) for point in metrics],
            [Param(*item) for item in params.items()],
            [RunTag(*item) for item in tags.items()],
        )

    def log_metric(self, ref: str, metric: Point) -> None:
        self.store.log_metric(self._run(ref), Metric(*metric))

    def log_param(self, ref: str, key: str, value: str) -> None:
        self.store.log_param(self._run(ref), Param(key, value))

    def set_tag(self, ref: str, key: str, value: str) -> None:
        self.store.set_tag(self._run(ref), RunTag(key, value))

    def delete_tag(self, ref: str, key: str) -> None:
        self.store.delete_tag(self._run(ref), key)

    def log_inputs(self, ref: str, datasets: list[DatasetSnapshot]) -> None:
        self.store.log_inputs(self._run(ref), map(_dataset_input, datasets))

    def _run(self, ref: str) -> str:
        return self.run_ids[ref]


def _dataset_input(dataset: DatasetSnapshot) -> DatasetInput:
    fields = {name: value for name, value in dataset.items() if name != "tags"}
    return DatasetInput(Dataset(**fields), tuple(InputTag(*item) for item in dataset["tags"].items()))  # type: ignore[arg-type]


def _experiment_id(store: BackendStore, name: str) -> str:
    experiment = store.get_experiment_by_name(name)
    assert experiment is not None, name
    return experiment.experiment_id


def _all_runs(store: BackendStore) -> list[Run]:
    ids = [experiment.experiment_id for experiment in store.search_experiments(ViewType.ALL, max_results=1000)]
    runs = store.search_runs(ids, run_view_type=ViewType.ALL, max_results=1000)
    assert runs.token is None, "the workload must fit into one page"
    return runs


def _experiment(experiment: Experiment) -> ExperimentSnapshot:
    return {
        "name": experiment.name,
        "artifact_location": experiment.artifact_location,
        "lifecycle_stage": experiment.lifecycle_stage,
        "creation_time": experiment.creation_time,
        "last_update_time": experiment.last_update_time,
        "tags": experiment.tags,
    }


def _run(store: BackendStore, searched: Run) -> RunSnapshot:
    run = store.get_run(searched.info.run_id)
    assert (run.info, run.data.params, run.data.tags, run.inputs) == (
        searched.info,
        searched.data.params,
        searched.data.tags,
        searched.inputs,
    )
    info, data = run.info, run.data
    histories = {key: store.get_metric_history(info.run_id, key) for key in data.metrics}
    for latest in data.latest_metrics:
        assert _point(latest) in map(_point, histories[latest.key])
    return {
        "experiment_id": info.experiment_id,
        "run_name": info.run_name,
        "user_id": info.user_id,
        "status": info.status,
        "start_time": info.start_time,
        "end_time": info.end_time,
        "lifecycle_stage": info.lifecycle_stage,
        "artifact_uri": info.artifact_uri,
        "params": data.params,
        "tags": data.tags,
        "metrics": {key: _number(value) for key, value in data.metrics.items()},
        "history": {key: [_point(point) for point in points] for key, points in histories.items()},
        "datasets": sorted(map(_dataset, run.inputs.dataset_inputs), key=lambda item: (item["name"], item["digest"])),
    }


def _dataset(item: DatasetInput) -> DatasetSnapshot:
    dataset = item.dataset
    return {
        "name": dataset.name,
        "digest": dataset.digest,
        "source_type": dataset.source_type,
        "source": dataset.source,
        "schema": dataset.schema,
        "profile": dataset.profile,
        "tags": {tag.key: tag.value for tag in item.tags},
    }


def _point(point: Metric) -> str:
    return f"{point.timestamp} {point.step} {_number(point.value)}"


def _number(value: float) -> str:
    return repr(math.copysign(sys.float_info.max, value) if math.isinf(value) else value)
