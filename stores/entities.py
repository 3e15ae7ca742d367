"""The values that stores take and return: frozen, slotted, comparable, free of any backend.

Field names and meanings are those of the REST API; all times are int64 milliseconds since the epoch, UTC.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Generic, TypeVar

__all__ = [
    "Dataset",
    "DatasetInput",
    "Experiment",
    "ExperimentTag",
    "FileInfo",
    "InputTag",
    "LifecycleStage",
    "LoggedModel",
    "LoggedModelInput",
    "LoggedModelMetric",
    "LoggedModelOutput",
    "LoggedModelStatus",
    "Metric",
    "ModelVersion",
    "PagedList",
    "Param",
    "RegisteredModel",
    "Run",
    "RunData",
    "RunInfo",
    "RunInputs",
    "RunOutputs",
    "RunStatus",
    "RunTag",
    "ViewType",
]

T = TypeVar("T")


class LifecycleStage(StrEnum):
    """Whether a thing is in use or in the bin."""

    ACTIVE = "active"
    DELETED = "deleted"


class RunStatus(StrEnum):
    """Where a run stands; any status may follow any other."""

    RUNNING = "RUNNING"
    SCHEDULED = "SCHEDULED"
    FINISHED = "FINISHED"
    FAILED = "FAILED"
    KILLED = "KILLED"


class ViewType(IntEnum):
    """Which lifecycle stages a search looks at."""

    ACTIVE_ONLY = 1
    DELETED_ONLY = 2
    ALL = 3

    def admits(self, stage: str) -> bool:
        """Whether things of lifecycle stage `stage` are in view."""
        return self is ViewType.ALL or (stage == LifecycleStage.ACTIVE) is (self is ViewType.ACTIVE_ONLY)


@dataclass(frozen=True, slots=True)
class Metric:
    """One point of a metric.

    Attributes:
        key: Name, at most 250 characters.
        value: Any double; NaN, ±Inf, −0.0 and denormals are kept.
        timestamp: Milliseconds since the epoch, not negative.
        step: Any int64.
    """

    key: str
    value: float
    timestamp: int
    step: int = 0


@dataclass(frozen=True, slots=True)
class Param:
    """An input of a run, constant once logged; value of at most 6000 characters."""

    key: str
    value: str


@dataclass(frozen=True, slots=True)
class RunTag:
    """A label of a run, overwritten freely; value of at most 8000 characters."""

    key: str
    value: str


@dataclass(frozen=True, slots=True)
class ExperimentTag:
    """A label of an experiment; value of at most 20000 characters."""

    key: str
    value: str


@dataclass(frozen=True, slots=True)
class InputTag:
    """A label of the link between a run and a dataset, such as `mlflow.data.context`."""

    key: str
    value: str


@dataclass(frozen=True, slots=True)
class Experiment:
    """A named group of runs.

    Attributes:
        experiment_id: Text; decimal digits in SQL stores.
        name: Unique among active and deleted experiments.
        artifact_location: URI or absolute path under which its runs keep artifacts.
        lifecycle_stage: `active` or `deleted`.
        tags: Values by key.
        creation_time: Milliseconds, or None in old stores.
        last_update_time: Milliseconds, or None in old stores.
    """

    experiment_id: str
    name: str
    artifact_location: str
    lifecycle_stage: str = LifecycleStage.ACTIVE
    tags: dict[str, str] = field(default_factory=dict)
    creation_time: int | None = None
    last_update_time: int | None = None


@dataclass(frozen=True, slots=True)
class RunInfo:
    """What is known of a run besides its data."""

    run_id: str
    experiment_id: str
    run_name: str
    user_id: str
    status: str
    start_time: int | None
    end_time: int | None
    lifecycle_stage: str
    artifact_uri: str


@dataclass(frozen=True, slots=True)
class RunData:
    """Latest metrics, params and tags of a run.

    Attributes:
        metrics: Latest value by key.
        params: Value by key.
        tags: Value by key.
        metric_points: (timestamp, step) of the latest value by key; `latest_metrics` combines the two.
    """

    metrics: dict[str, float] = field(default_factory=dict)
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    metric_points: dict[str, tuple[int, int]] = field(default_factory=dict, repr=False)

    @property
    def latest_metrics(self) -> list[Metric]:
        """The latest point of every metric, built when asked for: searches rarely need it."""
        return [Metric(key, value, *self.metric_points[key]) for key, value in self.metrics.items()]


@dataclass(frozen=True, slots=True)
class Dataset:
    """A dataset as runs refer to it; unique in an experiment by (name, digest).

    Attributes:
        name: At most 500 characters.
        digest: At most 36 characters.
        source_type: At most 36 characters, for example `local`, `s3`, `code`.
        source: At most 65535 characters, usually JSON.
        schema: At most 1048575 characters, or None.
        profile: At most 16777215 characters, or None.
    """

    name: str
    digest: str
    source_type: str
    source: str
    schema: str | None = None
    profile: str | None = None


@dataclass(frozen=True, slots=True)
class DatasetInput:
    """A dataset that a run used, with the tags of that use."""

    dataset: Dataset
    tags: tuple[InputTag, ...] = ()


@dataclass(frozen=True, slots=True)
class LoggedModelInput:
    """A logged model that a run used."""

    model_id: str


@dataclass(frozen=True, slots=True)
class LoggedModelOutput:
    """A logged model that a run made, at one of its steps."""

    model_id: str
    step: int = 0


@dataclass(frozen=True, slots=True)
class RunInputs:
    """What a run read, in no particular order; each dataset and each model once."""

    dataset_inputs: tuple[DatasetInput, ...] = ()
    model_inputs: tuple[LoggedModelInput, ...] = ()


@dataclass(frozen=True, slots=True)
class RunOutputs:
    """What a run made besides artifacts, in no particular order; each model once."""

    model_outputs: tuple[LoggedModelOutput, ...] = ()


@dataclass(frozen=True, slots=True)
class Run:
    """A run: who and when (`info`), what it logged (`data`), read (`inputs`) and made (`outputs`)."""

    info: RunInfo
    data: RunData = field(default_factory=RunData)
    inputs: RunInputs = RunInputs()
    outputs: RunOutputs = RunOutputs()


@dataclass(frozen=True, slots=True)
class FileInfo:
    """A file or folder in an artifact store.

    Attributes:
        path: POSIX path from the store's root, names kept exactly.
        is_dir: Whether it is a folder.
        file_size: Bytes; None for folders.
    """

    path: str
    is_dir: bool
    file_size: int | None = None


class LoggedModelStatus(IntEnum):
    """Stored numbers of a logged model's states, any of which may follow any other.

    MLflow's REST API calls the last one `LOGGED_MODEL_UPLOAD_FAILED`.
    """

    UNSPECIFIED = 0
    PENDING = 1
    READY = 2
    FAILED = 3


@dataclass(frozen=True, slots=True)
class LoggedModelMetric:
    """One point of a metric of a logged model.

    Attributes:
        key: Name, at most 250 characters.
        value: Any double.
        timestamp: Milliseconds since the epoch, not negative.
        step: Any int64.
        run_id: The run that measured it.
        dataset_name: What it was measured on; None if that was not said.
        dataset_digest: Digest of that dataset; None if that was not said.
    """

    key: str
    value: float
    timestamp: int
    step: int
    run_id: str
    dataset_name: str | None = None
    dataset_digest: str | None = None


@dataclass(frozen=True, slots=True)
class LoggedModel:
    """A model that a run produced, as an entity of its own (MLflow 3).

    Attributes:
        model_id: `m-` and 32 hexadecimal digits.
        experiment_id: Where it was made.
        name: Need not be unique.
        artifact_location: URI or absolute path of its files.
        creation_timestamp: Milliseconds.
        last_updated_timestamp: Milliseconds; of the creation or the last change of status.
        status: Whether its files are there.
        model_type: Free text, or None.
        source_run_id: The run that made it, which need not exist, or None.
        status_message: What went wrong, or None; stores that others write to may have it.
        params: Value by key.
        tags: Value by key.
        metrics: The latest point of each key on each dataset, by key, dataset name, digest.
    """

    model_id: str
    experiment_id: str
    name: str
    artifact_location: str
    creation_timestamp: int
    last_updated_timestamp: int
    status: LoggedModelStatus = LoggedModelStatus.PENDING
    model_type: str | None = None
    source_run_id: str | None = None
    status_message: str | None = None
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    metrics: tuple[LoggedModelMetric, ...] = ()


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """One numbered version of a registered model."""

    name: str
    version: int
    creation_timestamp: int
    last_updated_timestamp: int
    current_stage: str = "None"
    description: str | None = None
    source: str | None = None
    run_id: str | None = None
    run_link: str | None = None
    user_id: str | None = None
    status: str = "READY"
    status_message: str | None = None
    tags: dict[str, str] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RegisteredModel:
    """A named line of model versions."""

    name: str
    creation_timestamp: int
    last_updated_timestamp: int
    description: str | None = None
    tags: dict[str, str] = field(default_factory=dict)
    aliases: dict[str, int] = field(default_factory=dict)
    latest_versions: tuple[ModelVersion, ...] = ()


class PagedList(list[T], Generic[T]):
    """A list that knows whether there is more.

    Attributes:
        token: Opaque; pass it as `page_token` with the same query to get the next page. None on the last page.
    """

    __slots__ = ("token",)

    def __init__(self, items: Iterable[T] = (), token: str | None = None) -> None:
        super().__init__(items)
        self.token = token
