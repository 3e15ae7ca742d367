"""Searches of logged models.

Clauses on attributes, params and tags are conditions of SQL. What a metric's latest value is, on each dataset, is found
out for the models that fulfil them; then clauses on metrics, and orderings by them, are a matter of those few numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import sqlalchemy as sa

from holdall.backends.sql.database import Session
from holdall.backends.sql.model_points import by_model
from holdall.backends.sql.models import ALL, MLFLOW, OWN, Shelf, model_of
from holdall.backends.sql.search import Keyed, Kind, matching, search
from holdall.stores.entities import LoggedModel, LoggedModelStatus
from holdall.stores.queries import LoggedModelQuery, select_logged_models
from holdall.stores.search import logged_model_sort_key, sorting_key
from holdall.stores.search.ast import EntityType

__all__ = ["search_models"]


def search_models(session: Session, shelves: Sequence[Shelf], query: LoggedModelQuery) -> list[LoggedModel]:
    """At most `query.limit` models of all shelves, in order."""
    of_shelves = [_on_shelf(session, shelf, query, last=shelf is shelves[-1]) for shelf in shelves]
    place = sorting_key(query.order_by)
    found = [model for models in of_shelves for model in models]
    if len(of_shelves) > 1:
        found.sort(key=lambda model: place(logged_model_sort_key(model, query.order_by)))
    return found[: query.limit]


def _on_shelf(session: Session, shelf: Shelf, query: LoggedModelQuery, *, last: bool) -> list[LoggedModel]:
    if not _looks_at_metrics(query):
        return shelf.many(session, search(session, _KINDS[shelf], query), last=last)
    on_metrics = tuple(clause for clause in query.filter if clause.identifier.entity is EntityType.METRIC)
    others = tuple(clause for clause in query.filter if clause not in on_metrics)
    rows = {row[0]: row for row in matching(session, _KINDS[shelf], replace(query, filter=others)).rows}
    if not rows:
        return []
    points = by_model(shelf.points.ask_of_many(session, session.dialect.bind_list(list(rows))))
    candidates = [model_of(row, {}, {}, points.get(model_id, ())) for model_id, row in rows.items()]
    chosen = select_logged_models(candidates, replace(query, filter=on_metrics))
    return shelf.many(session, [rows[model.model_id] for model in chosen], last=last)


def _looks_at_metrics(query: LoggedModelQuery) -> bool:
    identifiers = [clause.identifier for clause in query.filter] + [order.identifier for order in query.order_by]
    return bool(query.datasets) or any(identifier.entity is EntityType.METRIC for identifier in identifiers)


def _kind(shelf: Shelf) -> Kind:
    models = shelf.tables.models
    names: Sequence[tuple[sa.ColumnElement[bool], sa.ColumnElement[str]]] = [
        (models.c.status == sa.literal_column(str(status.value)), sa.literal_column(f"'{status.name}'"))
        for status in LoggedModelStatus
    ]
    unknown: sa.ColumnElement[str] = sa.literal_column(f"'{LoggedModelStatus.UNSPECIFIED.name}'")
    return Kind(
        models,
        shelf.columns,
        models.c.model_id,
        {
            **{
                name: models.c[name]
                for name in ("model_id", "name", "artifact_location", "model_type", "source_run_id", "status_message")
            },
            "experiment_id": sa.cast(models.c.experiment_id, sa.String(32)),
            "status": sa.case(*names, else_=unknown),
            "creation_timestamp": models.c.creation_timestamp_ms,
            "last_updated_timestamp": models.c.last_updated_timestamp_ms,
        },
        {
            EntityType.PARAM: Keyed(shelf.tables.params, "model_id", "param_key", "param_value"),
            EntityType.TAG: Keyed(shelf.tables.tags, "model_id", "tag_key", "tag_value"),
        },
    )


_KINDS = {shelf: _kind(shelf) for shelf in (OWN, MLFLOW, *ALL)}
