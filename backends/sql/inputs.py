"""What runs used and made, datasets and logged models: statements and rows.

MLflow 3 keeps the link of a run with a model in `inputs`: the run as source, the model as destination, the step of an
output in the column `step`. In a database of MLflow 2, which has neither such links nor the column, holdall makes the
run their destination, as it is that of datasets, so that one look finds all of a run, and keeps a step as a tag of the
link. Such links are read in a database of MLflow 3 as well, which may have been one of MLflow 2 before.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from holdall.backends.sql.database import Answer, Row, Session
from holdall.backends.sql.schema import datasets, input_tags, inputs, inputs_with_steps, runs
from holdall.backends.sql.statements import Bulk, Statement
from holdall.stores.entities import (
    Dataset,
    DatasetInput,
    InputTag,
    LoggedModelInput,
    LoggedModelOutput,
    RunInputs,
    RunOutputs,
)
from holdall.stores.rules import indistinct

__all__ = [
    "DATASET_LINK",
    "IN_MLFLOW_2",
    "IN_MLFLOW_3",
    "MODEL_INPUT",
    "MODEL_OUTPUT",
    "NOTHING",
    "RUN_ENDS",
    "STEP_TAG",
    "InputRows",
    "Uses",
]

Uses = tuple[RunInputs, RunOutputs]

_LINK_TYPES = ("DATASET", "RUN")

MODEL_INPUT, MODEL_OUTPUT = "MODEL_INPUT", "MODEL_OUTPUT"
"""Types of the end of a link that is a model."""

RUN_ENDS = {MODEL_INPUT: "RUN_INPUT", MODEL_OUTPUT: "RUN_OUTPUT"}
"""Types that MLflow gives to the other end."""

STEP_TAG = "holdall.step"
"""Tag of a link that ends at a run: the step at which the run made the model, if it is not 0."""

DATASET_LINK = sa.and_(inputs.c.source_type == _LINK_TYPES[0], inputs.c.destination_type == _LINK_TYPES[1])
"""Which rows of `inputs` link a dataset (source) to a run (destination)."""

_EXPERIMENT_OF_RUN = Statement(
    lambda _: sa.select(runs.c.experiment_id).where(runs.c.run_uuid == sa.bindparam("id")), "id"
)
_DATASET_COLUMNS = (
    "dataset_uuid",
    "experiment_id",
    "name",
    "digest",
    "dataset_source_type",
    "dataset_source",
    "dataset_schema",
    "dataset_profile",
)
_INSERT_DATASET = Statement(lambda dialect: dialect.insert_or_ignore(datasets, _DATASET_COLUMNS), *_DATASET_COLUMNS)
_DATASET_ID = Statement(
    lambda _: sa.select(datasets.c.dataset_uuid).where(
        datasets.c.experiment_id == sa.bindparam("experiment"),
        datasets.c.name == sa.bindparam("wanted"),
        datasets.c.digest == sa.bindparam("hash"),
    ),
    "experiment",
    "wanted",
    "hash",
)
_LINK_COLUMNS = ("input_uuid", "source_type", "source_id", "destination_type", "destination_id")
_INSERT_LINK = Statement(lambda dialect: dialect.insert_or_ignore(inputs, _LINK_COLUMNS), *_LINK_COLUMNS)
_TAG_COLUMNS = ("input_uuid", "name", "value")
_INSERT_TAGS = Bulk(
    lambda dialect, rows: dialect.insert_or_ignore(input_tags, _TAG_COLUMNS, rows=rows),
    [input_tags.c[name] for name in _TAG_COLUMNS],
)

_ENDING_COLUMNS = ("destination_id", "destination_type", "source_type", "source_id", "input_uuid")
_INSERT_ENDING = Bulk(
    lambda dialect, rows: dialect.insert_or_ignore(inputs, _ENDING_COLUMNS, rows=rows),
    [inputs.c[name] for name in _ENDING_COLUMNS],
)
_INSERT_TAG = Statement(lambda dialect: dialect.insert_or_ignore(input_tags, _TAG_COLUMNS), *_TAG_COLUMNS)
_BEGINNING_COLUMNS = ("source_id", "source_type", "destination_type", "destination_id", "input_uuid", "step")
_INSERT_BEGINNING = Bulk(
    lambda dialect, rows: dialect.insert_or_ignore(inputs_with_steps, _BEGINNING_COLUMNS, rows=rows),
    [inputs_with_steps.c[name] for name in _BEGINNING_COLUMNS],
)


def _literals(*texts: str) -> list[sa.ColumnElement[str]]:
    return [sa.literal_column(f"'{text}'") for text in texts]


_OF_DATASET = (
    *(
        datasets.c[name].label(name)
        for name in (
            "name",
            "digest",
            "dataset_source_type",
            "dataset_source",
            "dataset_schema",
            "dataset_profile",
        )
    ),
    input_tags.c.name.label("tag"),
    input_tags.c.value.label("tag_value"),
)
_ENDING_AT_RUNS = (
    sa.select(
        inputs.c.destination_id.label("run"),
        inputs.c.input_uuid,
        inputs.c.source_type.label("kind"),
        inputs.c.source_id.label("model"),
        sa.literal_column("0").label("step"),
        *_OF_DATASET,
    )
    .select_from(
        inputs.outerjoin(
            datasets,
            sa.and_(inputs.c.source_type.in_(_literals(_LINK_TYPES[0])), datasets.c.dataset_uuid == inputs.c.source_id),
        ).outerjoin(input_tags, input_tags.c.input_uuid == inputs.c.input_uuid)
    )
    .where(inputs.c.destination_type.in_(_literals(_LINK_TYPES[1])))
)
_BEGINNING_AT_RUNS = sa.select(
    inputs_with_steps.c.source_id,
    inputs_with_steps.c.input_uuid,
    inputs_with_steps.c.destination_type,
    inputs_with_steps.c.destination_id,
    inputs_with_steps.c.step,
    *(sa.null() for _ in _OF_DATASET),
).where(inputs_with_steps.c.source_type.in_(_literals(*RUN_ENDS.values())))

Choice = Callable[[sa.Column[Any]], sa.ColumnElement[bool]]


def _links(choose: Choice, *, has_steps: bool) -> sa.SelectBase:
    """All links of the runs that are chosen."""
    found = _ENDING_AT_RUNS.where(choose(inputs.c.destination_id))
    order = ("run", "name", "digest", "tag")
    if not has_steps:
        return found.order_by(*order)
    beginning = _BEGINNING_AT_RUNS.where(choose(inputs_with_steps.c.source_id))
    return sa.union_all(found, beginning).order_by(*order)


class InputRows:
    """Reads and writes what runs used and made, within a transaction.

    Args:
        has_steps: Whether `inputs` is MLflow 3's.
    """

    def __init__(self, *, has_steps: bool) -> None:
        self._has_steps = has_steps
        self._of_one = Statement(
            lambda _: _links(lambda end: end == sa.bindparam("id"), has_steps=has_steps),
            "id",
        )
        self._of_many = Statement(
            lambda dialect: _links(lambda end: dialect.one_of(end, sa.bindparam("ids")), has_steps=has_steps),
            "ids",
        )

    def ask_of_run(self, session: Session, run_id: str) -> Answer:
        """Ask what a run used and made."""
        return session.ask(self._of_one, run_id)

    def of_run(self, run_id: str, used: Answer) -> Uses:
        """What a run used, datasets by name and digest, and what it made."""
        rows = used.rows
        return _grouped(rows).get(run_id, NOTHING) if rows else NOTHING

    def ask_of_many(self, session: Session, ids: object) -> Answer:
        """Ask what several runs used and made."""
        return session.ask(self._of_many, ids)

    def by_run(self, used: Answer) -> dict[str, Uses]:
        """What several runs used and made; runs without anything are absent."""
        return _grouped(used.each())

    def write(self, session: Session, run_id: str, used: Iterable[DatasetInput]) -> None:
        """Link datasets to a run; the first write of a dataset and of a link stays."""
        (experiment_id,) = session.one(_EXPERIMENT_OF_RUN, run_id) or (None,)
        for item in sorted(used, key=lambda item: (item.dataset.name, item.dataset.digest)):
            dataset_id = _write_dataset(session, experiment_id, item.dataset)
            link_id = uuid.uuid4().hex
            source, destination = _LINK_TYPES
            if session.run(_INSERT_LINK, link_id, source, dataset_id, destination, run_id) == 1:
                session.do_many(_INSERT_TAGS, [(link_id, tag.key, tag.value) for tag in item.tags])

    def link_models(self, session: Session, run_id: str, used: Iterable[str], made: Mapping[str, int]) -> None:
        """Link models to a run whose row is locked; links that are there stay as they are."""
        known_inputs, known_outputs = self.of_run(run_id, self.ask_of_run(session, run_id))
        steps = {(MODEL_INPUT, model_id): 0 for model_id in used}
        steps |= {(MODEL_OUTPUT, model_id): step for model_id, step in made.items()}
        for known in known_inputs.model_inputs:
            steps.pop((MODEL_INPUT, known.model_id), None)
        for made_before in known_outputs.model_outputs:
            steps.pop((MODEL_OUTPUT, made_before.model_id), None)
        links = [(kind, model_id, uuid.uuid4().hex, steps[kind, model_id]) for kind, model_id in sorted(steps)]
        if self._has_steps:
            session.do_many(_INSERT_BEGINNING, [(run_id, RUN_ENDS[link[0]], *link) for link in links])
            return
        session.do_many(_INSERT_ENDING, [(run_id, _LINK_TYPES[1], *link[:3]) for link in links])
        for _, _, link_id, step in links:
            if step:
                session.do(_INSERT_TAG, link_id, STEP_TAG, str(step))


IN_MLFLOW_2 = InputRows(has_steps=False)
IN_MLFLOW_3 = InputRows(has_steps=True)

NOTHING: Uses = (RunInputs(), RunOutputs())
"""What a run used and made that has no links."""


def _write_dataset(session: Session, experiment_id: object, dataset: Dataset) -> str:
    session.run(
        _INSERT_DATASET,
        uuid.uuid4().hex,
        experiment_id,
        dataset.name,
        dataset.digest,
        dataset.source_type,
        dataset.source,
        dataset.schema,
        dataset.profile,
    )
    row = session.one(_DATASET_ID, experiment_id, dataset.name, dataset.digest)
    if row is None:
        raise indistinct("datasets", dataset.name)
    return str(row[0])


def _grouped(rows: Iterable[Row]) -> dict[str, Uses]:
    datasets_of: dict[str, dict[str, tuple[Dataset, list[InputTag]]]] = {}
    models_of: dict[str, dict[tuple[str, str], int]] = {}
    for run_id, link_id, kind, model_id, step, *dataset, tag, value in rows:
        if kind != _LINK_TYPES[0]:
            at = int(value) if tag == STEP_TAG else step
            models_of.setdefault(run_id, {}).setdefault((kind, model_id), at)
        elif dataset[0] is not None:  # else it is gone
            used = datasets_of.setdefault(run_id, {})
            _, tags = used.setdefault(link_id, (Dataset(*dataset), []))
            if tag is not None:
                tags.append(InputTag(tag, value))
    return {
        run_id: _uses(datasets_of.get(run_id, {}).values(), models_of.get(run_id, {}))
        for run_id in {**datasets_of, **models_of}
    }


def _uses(used: Iterable[tuple[Dataset, Sequence[InputTag]]], models: Mapping[tuple[str, str], int]) -> Uses:
    read = [LoggedModelInput(model_id) for kind, model_id in sorted(models) if kind == MODEL_INPUT]
    made = [
        LoggedModelOutput(model_id, models[kind, model_id]) for kind, model_id in sorted(models) if kind == MODEL_OUTPUT
    ]
    found = tuple(DatasetInput(dataset, tuple(tags)) for dataset, tags in used)
    return RunInputs(found, tuple(read)), RunOutputs(tuple(made))
