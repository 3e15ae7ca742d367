"""Checking and tuning a database: what products have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping

import sqlalchemy as sa
from sqlalchemy.schema import CreateIndex

from holdall.backends.sql.database import Database, Session
from holdall.backends.sql.inspection import Check, data_checks
from holdall.backends.sql.opening import Schema
from holdall.backends.sql.schema import METADATA
from holdall.stores.databases import DatabaseReport, Finding, FindingKind, TuningPlan, TuningStep

__all__ = ["Administration", "OnStep"]

OnStep = Callable[[TuningStep], None]

_OWN = {
    str(index.name): index
    for table in METADATA.sorted_tables
    for index in sorted(table.indexes, key=lambda index: str(index.name))
    if str(index.name).startswith("holdall_")
}
"""The indexes that MLflow's databases lack."""

_PURPOSES = {
    "holdall_runs_by_start": "the newest runs of an experiment are found without sorting all",
    "holdall_latest_metrics_by_value": "runs are found and sorted by a metric without looking at all",
}

_TUNE = "make it: holdall db tune"


class Administration(ABC):
    """What an operator does with a database.

    Args:
        database: The database.
        schema: What it has.
        own: Whether holdall created it, with its indexes.
    """

    remark: str
    """What others notice while indexes are made."""

    def __init__(self, database: Database, schema: Schema, *, own: bool) -> None:
        self._database = database
        self._schema = schema
        self._own = own

    def inspect(self, on_check: Callable[[str], None]) -> DatabaseReport:
        """Look for what is wrong, one transaction after the other."""
        on_check("schema")
        found = self._database.read(lambda session: [*self._index_findings(session), *self._own_findings(session)])
        for check in [*data_checks(self._database.dialect), *self._column_checks()]:
            if isinstance(check, Finding):
                found.append(check)
            else:
                on_check(f"{check.place}: {check.kind}")
                found += self._database.read(lambda session, check=check: list(check.look(session)))  # type: ignore[misc]
        return DatabaseReport(self._schema.revision, sorted(found, key=lambda finding: not finding.kind.is_error))

    def plan(self, undo: bool) -> TuningPlan:
        """What `tune` would do."""
        return self._database.read(lambda session: self._plan(session, undo))

    @abstractmethod
    def tune(self, undo: bool, on_step: OnStep) -> TuningPlan:
        """Do what a plan made at this moment says."""

    @abstractmethod
    def _indexes(self, session: Session) -> Mapping[str, bool]:
        """Whether they can be used, by name of the indexes that are there."""

    @abstractmethod
    def _own_findings(self, session: Session) -> Iterator[Finding]:
        """What only this product can have wrong."""

    def _column_checks(self) -> Iterator[Check | Finding]:
        """What can be wrong with the widths of columns; nothing where the product does not mind them."""
        return iter(())

    @abstractmethod
    def _creation(self, index: sa.Index) -> str:
        """The statement that creates an index, getting in others' way as little as can be."""

    @abstractmethod
    def _removal(self, session: Session, index: sa.Index) -> str:
        """The statement that drops an index."""

    @abstractmethod
    def _analysis(self, table: str) -> str:
        """The statement that gathers statistics of a table."""

    def _index_findings(self, session: Session) -> Iterator[Finding]:
        existing = self._indexes(session)
        for name, index in _OWN.items():
            usable = existing.get(name)
            kind = FindingKind.MISSING_INDEX if usable is None else FindingKind.UNFINISHED_INDEX
            message = f"the index with which {_PURPOSES[name]} is " + ("not there" if usable is None else "unfinished")
            if not usable:
                yield Finding(kind, str(index.table), message, 1, name, _TUNE)

    def _plan(self, session: Session, undo: bool) -> TuningPlan:
        if undo and self._own:
            return TuningPlan((), "holdall created this database with its indexes; there is nothing to undo.")
        existing = self._indexes(session)
        if undo:
            removals = tuple(self._remove(session, name) for name in _OWN if name in existing)
            return TuningPlan(removals, self.remark if removals else "There are no indexes of holdall's.")
        steps = tuple(self._tuning(session, existing))
        return TuningPlan(steps, self.remark if steps else "All indexes of holdall's are there.")

    def _tuning(self, session: Session, existing: Mapping[str, bool]) -> Iterator[TuningStep]:
        tables = []
        for name, index in _OWN.items():
            if existing.get(name):
                continue
            if name in existing:
                yield self._remove(session, name, "drop what an interrupted creation left of")
            yield TuningStep(self._creation(index), f"create {name}: {_PURPOSES[name]}")
            tables.append(str(index.table))
        for table in tables:
            yield TuningStep(self._analysis(table), f"gather statistics of {table} for the planner")

    def _remove(self, session: Session, name: str, purpose: str = "drop") -> TuningStep:
        return TuningStep(self._removal(session, _OWN[name]), f"{purpose} {name}")

    def _compiled(self, index: sa.Index, *, if_not_exists: bool = False) -> str:
        creation = CreateIndex(index, if_not_exists=if_not_exists)
        return str(creation.compile(dialect=self._database.dialect.sqlalchemy))
