"""Checking and tuning an SQLite database. SQLite minds no widths, and its ids have 64 bits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import sqlalchemy as sa

from holdall.backends.sql.administration import Administration, OnStep
from holdall.backends.sql.database import Session
from holdall.backends.sql.opening import NEEDED
from holdall.stores.databases import Finding, FindingKind, TuningPlan

__all__ = ["SqliteAdministration"]


class SqliteAdministration(Administration):
    """All in one transaction."""

    remark = (
        "Readers go on; writers wait while an index is made, about a second per million rows. A file that is not in "
        "WAL mode is switched to it, unless the URI says ?journal_mode=delete."
    )

    def tune(self, undo: bool, on_step: OnStep) -> TuningPlan:
        def work(session: Session) -> TuningPlan:
            plan = self._plan(session, undo)
            for step in plan.steps:
                on_step(step)
                session.do_text(step.statement)
            return plan

        return self._database.write(work)

    def _indexes(self, session: Session) -> Mapping[str, bool]:
        return {name: True for (name,) in session.text("SELECT name FROM sqlite_master WHERE type = 'index'")}

    def _own_findings(self, session: Session) -> Iterator[Finding]:
        poor = [
            str(table)
            for table, sql in session.text("SELECT name, upper(sql) FROM sqlite_master WHERE type = 'table'")
            if table in NEEDED and ("COLLATE NOCASE" in sql or "COLLATE RTRIM" in sql)
        ]
        if poor:
            yield Finding(
                FindingKind.INEXACT_COLLATION,
                poor[0],
                "tables take names for the same that differ in letter case or trailing blanks",
                len(poor),
                ", ".join(poor),
                "copy the data into a database that holdall or MLflow created",
            )

    def _creation(self, index: sa.Index) -> str:
        return self._compiled(index)

    def _removal(self, session: Session, index: sa.Index) -> str:
        return f"DROP INDEX {index.name}"

    def _analysis(self, table: str) -> str:
        return f"ANALYZE {table}"
