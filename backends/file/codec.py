"""Between the fields of `meta.yaml` files and entities: the only place that knows both."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from holdall.backends.file.meta import Fields, MalformedMeta
from holdall.stores.entities import (
    Dataset,
    DatasetInput,
    Experiment,
    InputTag,
    LifecycleStage,
    LoggedModel,
    LoggedModelInput,
    LoggedModelOutput,
    LoggedModelStatus,
    RunInfo,
    RunStatus,
)
from holdall.stores.rules import model_artifact_location, run_artifact_uri

__all__ = [
    "DELETED_TIME",
    "DELETION",
    "MODEL_UPDATED",
    "STAGE",
    "Transition",
    "dataset_fields",
    "dataset_from",
    "dataset_id",
    "experiment_fields",
    "experiment_from",
    "id_text",
    "input_fields",
    "input_from",
    "input_id",
    "is_deleted_model",
    "model_fields",
    "model_from",
    "model_input_fields",
    "model_input_from",
    "output_fields",
    "output_from",
    "run_fields",
    "run_info_from",
    "status_number",
]

STAGE = "lifecycle_stage"
DELETED_TIME = "deleted_time"
MODEL_UPDATED = "last_updated_timestamp"

DELETION = "holdall_deletion"
"""Field of holdall's own, in an experiment and the runs that its deletion deleted: which deletion it was."""

_TRANSITION = "holdall_transition"
_TRANSITION_TEXT = re.compile(r"(?:active|deleted) (?:>=[0-9]{1,19}|[0-9a-f]{32})")
_NUMBERS = {
    RunStatus.RUNNING: 1,
    RunStatus.SCHEDULED: 2,
    RunStatus.FINISHED: 3,
    RunStatus.FAILED: 4,
    RunStatus.KILLED: 5,
}
_STATUSES = {number: status for status, number in _NUMBERS.items()}
_STAGES = {LifecycleStage.ACTIVE.value, LifecycleStage.DELETED.value}
_LOCAL = 4
"""`source_type` of every run that MLflow writes."""

Remark = Callable[[str], None]
"""Told of what is wrong with a field although it can be read."""


@dataclass(frozen=True, slots=True)
class Transition:
    """A deletion or restoration of an experiment and its runs that is under way: it is done, but not in every file.

    Attributes:
        target: The stage it leads to.
        mark: Which runs a restoration restores: those of this deletion, or `>=` and the time since when runs were
            deleted, where MLflow deleted the experiment.
    """

    target: LifecycleStage
    mark: str

    @classmethod
    def of(cls, fields: Fields) -> Transition | None:
        """The transition that an experiment's fields tell of."""
        match fields.get(_TRANSITION):
            case str(text) if _TRANSITION_TEXT.fullmatch(text):
                target, _, mark = text.partition(" ")
                return cls(LifecycleStage(target), mark)
        return None

    def change(self) -> Fields:
        """The field that tells of it."""
        return {_TRANSITION: f"{self.target.value} {self.mark}"}

    @staticmethod
    def end() -> Fields:
        """The change that ends it."""
        return {_TRANSITION: None}

    def concerns(self, run: Fields) -> bool:
        """Whether it changes the stage of a run with these fields."""
        deleted = run.get(STAGE) == LifecycleStage.DELETED
        if self.target is LifecycleStage.DELETED:
            return not deleted
        if not deleted:
            return False
        if not self.mark.startswith(">="):
            return run.get(DELETION) == self.mark
        time = run.get(DELETED_TIME)
        return isinstance(time, int) and time >= int(self.mark[2:])


def status_number(status: RunStatus) -> int:
    """How a status is written."""
    return _NUMBERS[status]


def experiment_fields(experiment: Experiment) -> Fields:
    """The fields of a new experiment."""
    return {
        "artifact_location": experiment.artifact_location,
        "creation_time": experiment.creation_time,
        "experiment_id": experiment.experiment_id,
        "last_update_time": experiment.last_update_time,
        STAGE: LifecycleStage(experiment.lifecycle_stage).value,
        "name": experiment.name,
    }


def experiment_from(fields: Fields, tags: Mapping[str, str]) -> Experiment:
    """An experiment.

    Raises:
        MalformedMeta: A field has the wrong type.
    """
    transition = Transition.of(fields)
    return Experiment(
        experiment_id=id_text(fields["experiment_id"], "experiment_id"),
        name=_text(fields, "name"),
        artifact_location=_text(fields, "artifact_location", default=""),
        lifecycle_stage=_stage(fields) if transition is None else transition.target.value,
        tags=dict(tags),
        creation_time=_time(fields, "creation_time"),
        last_update_time=_time(fields, "last_update_time"),
    )


def run_fields(info: RunInfo) -> Fields:
    """The fields of a new run, those of MLflow 2 and 3."""
    return {
        "artifact_uri": info.artifact_uri,
        DELETED_TIME: None,
        "end_time": info.end_time,
        "entry_point_name": "",
        "experiment_id": info.experiment_id,
        STAGE: LifecycleStage(info.lifecycle_stage).value,
        "run_id": info.run_id,
        "run_name": info.run_name,
        "run_uuid": info.run_id,
        "source_name": "",
        "source_type": _LOCAL,
        "source_version": "",
        "start_time": info.start_time,
        "status": _NUMBERS[RunStatus(info.status)],
        "tags": [],
        "user_id": info.user_id,
    }


def run_info_from(
    fields: Fields, run_id: str, experiment: Experiment, transition: Transition | None, name_tag: str, remark: Remark
) -> RunInfo:
    """The info of a run.

    Args:
        fields: Its `meta.yaml`.
        run_id: Its folder.
        experiment: Where the folder is.
        transition: What happens to the experiment.
        name_tag: Its tag `mlflow.runName`, or ''.
        remark: Told of fields that are wrong but mean something.

    Raises:
        MalformedMeta: A field means nothing.
    """
    uri = fields.get("artifact_uri")
    stage = _stage(fields)
    if transition is not None and transition.concerns(fields):
        stage = transition.target.value
    if not isinstance(fields.get("user_id"), str):
        remark("has no user_id; 'unknown' is read")
    return RunInfo(
        run_id=run_id,
        experiment_id=experiment.experiment_id,
        run_name=_text(fields, "run_name", default="") or name_tag,
        user_id=_text({"user_id": "unknown", **fields}, "user_id", default="unknown"),
        status=_status(fields, remark),
        start_time=_time(fields, "start_time"),
        end_time=_time(fields, "end_time"),
        lifecycle_stage=stage,
        artifact_uri=uri if isinstance(uri, str) else run_artifact_uri(experiment.artifact_location, run_id),
    )


def id_text(value: object, key: str) -> str:
    """An id as text; old stores have numbers.

    Raises:
        MalformedMeta: It is neither.
    """
    if isinstance(value, str | int) and not isinstance(value, bool):
        return str(value)
    raise MalformedMeta(f"has no text as {key}")


def _status(fields: Fields, remark: Remark) -> str:
    status = fields.get("status", 1)
    if isinstance(status, int) and status in _STATUSES:
        return _STATUSES[status].value
    if isinstance(status, str) and status in RunStatus.__members__:
        remark(f"has the status {status!r} as text instead of a number; it is read as that")
        return status
    raise MalformedMeta("has an unknown status")


def _stage(fields: Fields) -> str:
    stage = fields.get(STAGE) or LifecycleStage.ACTIVE.value
    if isinstance(stage, str) and stage in _STAGES:
        return stage
    raise MalformedMeta(f"has an unknown {STAGE}")


def _text(fields: Fields, key: str, default: str | None = None) -> str:
    value = fields.get(key)
    if value is None and default is not None:
        return default
    if isinstance(value, str):
        return value
    raise MalformedMeta(f"has no text as {key}")


def _optional_text(fields: Fields, key: str) -> str | None:
    return None if fields.get(key) is None else _text(fields, key)


def _time(fields: Fields, key: str) -> int | None:
    value = fields.get(key)
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63):
        return value
    raise MalformedMeta(f"has no time in milliseconds as {key}")


# Datasets and the links to them


def dataset_id(dataset: Dataset, *, again: bool = False) -> str:
    """MLflow's id of a dataset in its experiment.

    Args:
        dataset: The dataset.
        again: Give another id: MLflow's is the same for `ab`, `c` and for `a`, `bc`.
    """
    return _md5(dataset.name + ("\0" if again else "") + dataset.digest)


def input_id(source_id: str, run_id: str) -> str:
    """The id of the link between a run and a dataset, or a model, that it used."""
    return _md5(source_id + run_id)


def _md5(text: str) -> str:
    return hashlib.md5(text.encode("utf-8"), usedforsecurity=False).hexdigest()


def dataset_fields(dataset: Dataset) -> Fields:
    """The fields of a dataset."""
    return {
        "digest": dataset.digest,
        "name": dataset.name,
        "profile": dataset.profile,
        "schema": dataset.schema,
        "source": dataset.source,
        "source_type": dataset.source_type,
    }


def dataset_from(fields: Fields) -> Dataset:
    """A dataset.

    Raises:
        MalformedMeta: A field has the wrong type.
    """
    return Dataset(
        name=_text(fields, "name"),
        digest=_text(fields, "digest"),
        source_type=_text(fields, "source_type"),
        source=_text(fields, "source"),
        schema=_optional_text(fields, "schema"),
        profile=_optional_text(fields, "profile"),
    )


def input_fields(source_id: str, item: DatasetInput) -> Fields:
    """The fields of a link; MLflow writes the source as its destination too."""
    return {
        "destination_id": source_id,
        "destination_type": "RUN",
        "source_id": source_id,
        "source_type": "DATASET",
        "tags": {tag.key: tag.value for tag in item.tags},
    }


def input_from(fields: Fields) -> tuple[str, tuple[InputTag, ...]] | None:
    """The dataset that a link leads to, and the tags of its use; None for links to something else.

    Raises:
        MalformedMeta: A field has the wrong type.
    """
    if fields.get("source_type") != "DATASET":
        return None
    tags = fields.get("tags") or {}
    if not isinstance(tags, dict) or not all(isinstance(value, str) for value in tags.values()):
        raise MalformedMeta("has no texts as tags")
    return _text(fields, "source_id"), tuple(InputTag(str(key), value) for key, value in tags.items())


# Logged models and the links to them


def model_fields(model: LoggedModel) -> Fields:
    """The fields of a new model."""
    return {
        "artifact_location": model.artifact_location,
        "creation_timestamp": model.creation_timestamp,
        "experiment_id": model.experiment_id,
        MODEL_UPDATED: model.last_updated_timestamp,
        STAGE: LifecycleStage.ACTIVE.value,
        "model_id": model.model_id,
        "model_type": model.model_type,
        "name": model.name,
        "source_run_id": model.source_run_id,
        "status": int(model.status),
        "status_message": model.status_message,
    }


def is_deleted_model(fields: Fields) -> bool:
    """Whether a model with these fields is deleted; MLflow drops the stage of others when their status changes.

    Raises:
        MalformedMeta: There is no such stage.
    """
    return _stage(fields) == LifecycleStage.DELETED


def model_from(fields: Fields, model_id: str, experiment: Experiment, remark: Remark) -> LoggedModel:
    """A model without params, tags and metrics.

    Args:
        fields: Its `meta.yaml`.
        model_id: Its folder.
        experiment: Where the folder is.
        remark: Told of fields that are wrong but mean something.

    Raises:
        MalformedMeta: A field means nothing.
    """
    created = _time(fields, "creation_timestamp")
    if created is None:
        raise MalformedMeta("has no time in milliseconds as creation_timestamp")
    updated = _time(fields, MODEL_UPDATED)
    location = _optional_text(fields, "artifact_location")
    return LoggedModel(
        model_id=model_id,
        experiment_id=experiment.experiment_id,
        name=_text(fields, "name", default=""),
        artifact_location=location or model_artifact_location(experiment.artifact_location, model_id),
        creation_timestamp=created,
        last_updated_timestamp=created if updated is None else updated,
        status=_model_status(fields, remark),
        model_type=_optional_text(fields, "model_type"),
        source_run_id=_optional_text(fields, "source_run_id"),
        status_message=_optional_text(fields, "status_message"),
    )


def _model_status(fields: Fields, remark: Remark) -> LoggedModelStatus:
    """MLflow takes a model without a status for one that is ready."""
    status = fields.get("status", LoggedModelStatus.READY)
    if isinstance(status, int) and not isinstance(status, bool) and status in set(LoggedModelStatus):
        return LoggedModelStatus(status)
    if isinstance(status, str) and status in LoggedModelStatus.__members__:
        remark(f"has the status {status!r} as text instead of a number; it is read as that")
        return LoggedModelStatus[status]
    raise MalformedMeta("has an unknown status")


def model_input_fields(model_id: str) -> Fields:
    """The fields of a link to a model that a run used."""
    return {
        "destination_id": model_id,
        "destination_type": "RUN",
        "source_id": model_id,
        "source_type": "MODEL",
        "tags": {},
    }


def model_input_from(fields: Fields) -> LoggedModelInput | None:
    """The model that a link leads to; None for links to something else.

    Raises:
        MalformedMeta: A field has the wrong type.
    """
    return LoggedModelInput(_text(fields, "source_id")) if fields.get("source_type") == "MODEL" else None


def output_fields(model_id: str, step: int) -> Fields:
    """The fields of a link to a model that a run made; MLflow writes its destination as its source too."""
    return {
        "destination_id": model_id,
        "destination_type": "MODEL_OUTPUT",
        "source_id": model_id,
        "source_type": "RUN_OUTPUT",
        "step": step,
        "tags": {},
    }


def output_from(fields: Fields) -> LoggedModelOutput | None:
    """The model that a link leads to; None for links to something else.

    Raises:
        MalformedMeta: A field has the wrong type.
    """
    if fields.get("destination_type") != "MODEL_OUTPUT":
        return None
    step = fields.get("step")
    if not isinstance(step, int) or isinstance(step, bool) or not -(2**63) <= step < 2**63:
        raise MalformedMeta("has no whole number as step")
    return LoggedModelOutput(_text(fields, "destination_id"), step)
