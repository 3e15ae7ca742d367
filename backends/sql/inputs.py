"""Datasets and the links between them and runs: statements and rows."""

from __future__ import annotations

import uuid
from collections.abc import Iterable

import sqlalchemy as sa

from holdall.backends.sql.database import Answer, Row, Session
from holdall.backends.sql.schema import datasets, input_tags, inputs, runs
from holdall.backends.sql.statements import Bulk, Statement
from holdall.stores.entities import Dataset, DatasetInput, InputTag, RunInputs
from holdall.stores.rules import indistinct

__all__ = ["DATASET_LINK", "ask_of_many", "ask_of_run", "by_run", "of_run", "write"]

_LINK_TYPES = ("DATASET", "RUN")

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

_JOINED = (
    sa.select(
        inputs.c.destination_id,
        inputs.c.input_uuid,
        datasets.c.name,
        datasets.c.digest,
        datasets.c.dataset_source_type,
        datasets.c.dataset_source,
        datasets.c.dataset_schema,
        datasets.c.dataset_profile,
        input_tags.c.name.label("tag"),
        input_tags.c.value,
    )
    .select_from(
        inputs.join(datasets, datasets.c.dataset_uuid == inputs.c.source_id).outerjoin(
            input_tags, input_tags.c.input_uuid == inputs.c.input_uuid
        )
    )
    .where(DATASET_LINK)
    .order_by(inputs.c.destination_id, datasets.c.name, datasets.c.digest, input_tags.c.name)
)
_SELECT = Statement(lambda _: _JOINED.where(inputs.c.destination_id == sa.bindparam("id")), "id")
_SELECT_OF_MANY = Statement(
    lambda dialect: _JOINED.where(dialect.one_of(inputs.c.destination_id, sa.bindparam("ids"))), "ids"
)


def write(session: Session, run_id: str, used: Iterable[DatasetInput]) -> None:
    """Link datasets to a run; the first write of a dataset and of a link stays."""
    (experiment_id,) = session.one(_EXPERIMENT_OF_RUN, run_id) or (None,)
    for item in sorted(used, key=lambda item: (item.dataset.name, item.dataset.digest)):
        dataset_id = _write_dataset(session, experiment_id, item.dataset)
        link_id = uuid.uuid4().hex
        source, destination = _LINK_TYPES
        if session.run(_INSERT_LINK, link_id, source, dataset_id, destination, run_id) == 1:
            session.do_many(_INSERT_TAGS, [(link_id, tag.key, tag.value) for tag in item.tags])


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


def ask_of_run(session: Session, run_id: str) -> Answer:
    """Ask what a run read."""
    return session.ask(_SELECT, run_id)


def of_run(run_id: str, used: Answer) -> RunInputs:
    """What a run read, by name and digest of the dataset."""
    rows = used.rows
    return _grouped(rows).get(run_id, RunInputs()) if rows else RunInputs()


def ask_of_many(session: Session, ids: object) -> Answer:
    """Ask what several runs read."""
    return session.ask(_SELECT_OF_MANY, ids)


def by_run(used: Answer) -> dict[str, RunInputs]:
    """What several runs read; runs that read nothing are absent."""
    return _grouped(used.each())


def _grouped(rows: Iterable[Row]) -> dict[str, RunInputs]:
    links: dict[tuple[str, str], tuple[Dataset, list[InputTag]]] = {}
    for run_id, link_id, name, digest, kind, source, schema, profile, tag, value in rows:
        _, tags = links.setdefault((run_id, link_id), (Dataset(name, digest, kind, source, schema, profile), []))
        if tag is not None:
            tags.append(InputTag(tag, value))
    of_runs: dict[str, list[DatasetInput]] = {}
    for (run_id, _), (dataset, tags) in links.items():
        of_runs.setdefault(run_id, []).append(DatasetInput(dataset, tuple(tags)))
    return {run_id: RunInputs(tuple(items)) for run_id, items in of_runs.items()}
