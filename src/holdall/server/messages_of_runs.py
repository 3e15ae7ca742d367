"""The messages that requests about runs hold, as the entities that stores take."""

from __future__ import annotations

from dataclasses import dataclass

from holdall.server.fields import DOUBLE, INT64, TEXT, Arguments, choice, many, message, optional, present, required
from holdall.stores.entities import (
    Dataset,
    DatasetInput,
    ExperimentTag,
    InputTag,
    LoggedModelInput,
    LoggedModelOutput,
    Metric,
    Param,
    RunStatus,
    RunTag,
    ViewType,
)

__all__ = [
    "DATASET_INPUT",
    "EXPERIMENT_TAG",
    "METRIC",
    "METRIC_FIELDS",
    "MODEL_INPUT",
    "MODEL_OUTPUT",
    "PARAM",
    "RUN_STATUS",
    "RUN_TAG",
    "VIEW_TYPE",
    "Measurement",
    "measurement",
]


@dataclass(frozen=True, slots=True)
class Measurement:
    """A metric point of a run that is one of a logged model too.

    Attributes:
        metric: The point.
        model_id: The model.
        dataset_name: What it was measured on, or None.
        dataset_digest: Its digest, or None.
    """

    metric: Metric
    model_id: str
    dataset_name: str | None
    dataset_digest: str | None


METRIC_FIELDS = (
    required("key", TEXT),
    required("value", DOUBLE),
    required("timestamp", INT64),
    optional("step", INT64),
    optional("model_id", TEXT),
    optional("dataset_name", TEXT),
    optional("dataset_digest", TEXT),
)


def measurement(given: Arguments) -> Metric | Measurement:
    """A metric point; with its model, if it says one."""
    metric = Metric(given.text("key"), given.number("value"), given.integer("timestamp", 0), given.integer("step", 0))
    model_id = given.text("model_id")
    if not model_id:
        return metric
    return Measurement(metric, model_id, given.text("dataset_name") or None, given.text("dataset_digest") or None)


def _usual_metric(doc: dict[str, object]) -> Metric | None:
    """The point of a document that holds the four fields and nothing else, which needs no closer look."""
    if len(doc) == 4:
        key, value, timestamp, step = doc.get("key"), doc.get("value"), doc.get("timestamp"), doc.get("step")
        if type(value) is float and type(timestamp) is int and type(step) is int and type(key) is str and key:
            return Metric(key, value, timestamp, step)
    return None


METRIC = message(*METRIC_FIELDS, make=measurement, quick=_usual_metric)

_PAIR = (required("key", TEXT), optional("value", TEXT))


def _pair(doc: dict[str, object]) -> tuple[str, str] | None:
    key, value = doc.get("key"), doc.get("value")
    return (key, value) if type(key) is str and type(value) is str and key else None


def _usual_param(doc: dict[str, object]) -> Param | None:
    pair = _pair(doc)
    return None if pair is None else Param(*pair)


def _usual_tag(doc: dict[str, object]) -> RunTag | None:
    pair = _pair(doc)
    return None if pair is None else RunTag(*pair)


PARAM = message(*_PAIR, make=lambda given: Param(given.text("key"), given.text("value")), quick=_usual_param)
RUN_TAG = message(*_PAIR, make=lambda given: RunTag(given.text("key"), given.text("value")), quick=_usual_tag)
EXPERIMENT_TAG = message(*_PAIR, make=lambda given: ExperimentTag(given.text("key"), given.text("value")))
INPUT_TAG = message(*_PAIR, make=lambda given: InputTag(given.text("key"), given.text("value")))


def _dataset(given: Arguments) -> Dataset:
    return Dataset(
        given.text("name"),
        given.text("digest"),
        given.text("source_type"),
        given.text("source"),
        given.maybe_text("schema"),
        given.maybe_text("profile"),
    )


DATASET = message(
    present("name", TEXT),
    present("digest", TEXT),
    present("source_type", TEXT),
    present("source", TEXT),
    optional("schema", TEXT),
    optional("profile", TEXT),
    make=_dataset,
)


def _dataset_input(given: Arguments) -> DatasetInput:
    dataset = given.value("dataset", Dataset)
    assert dataset is not None  # it is required
    return DatasetInput(dataset, tuple(given.items("tags", InputTag)))


DATASET_INPUT = message(optional("tags", many(INPUT_TAG)), required("dataset", DATASET), make=_dataset_input)
MODEL_INPUT = message(required("model_id", TEXT), make=lambda given: LoggedModelInput(given.text("model_id")))
MODEL_OUTPUT = message(
    required("model_id", TEXT),
    optional("step", INT64),
    make=lambda given: LoggedModelOutput(given.text("model_id"), given.integer("step", 0)),
)

VIEW_TYPE = choice(dict(ViewType.__members__), {int(view): view for view in ViewType})
RUN_STATUS = choice(dict(RunStatus.__members__), dict(enumerate(RunStatus, start=1)))
