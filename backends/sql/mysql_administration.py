"""Checking and tuning a MySQL or MariaDB database."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import sqlalchemy as sa

from holdall.backends.sql.administration import Administration, OnStep
from holdall.backends.sql.database import Session
from holdall.backends.sql.inspection import Check, column_checks, narrow_ids
from holdall.backends.sql.opening import NEEDED, Schema
from holdall.backends.sql.schema import MARIADB_COLLATION, MYSQL_COLLATION
from holdall.backends.sql.server import ServerDatabase, ServerSession
from holdall.stores.databases import Finding, FindingKind, TuningPlan, TuningStep
from holdall.stores.errors import TemporarilyUnavailable

__all__ = ["MysqlAdministration"]

_LOCK = "CONCAT('holdall tune ', LEFT(SHA1(DATABASE()), 40))"
"""Name of the lock that whoever tunes holds."""

_PATIENCE = 5
"""Seconds to wait for a table that others' transactions use; everybody who comes later waits meanwhile."""

_ONLINE = re.compile(r",? ALGORITHM=INPLACE,? LOCK=NONE$")
"""How a statement ends that is to keep nobody waiting."""

_REFUSED = frozenset({1845, 1846})
"""Errors of a server that cannot do it like that."""


class MysqlAdministration(Administration):
    """Indexes are made while others write, where the server can."""

    remark = (
        "Others go on reading and writing, but for a moment at the beginning and the end of each statement, when the "
        f"server waits up to {_PATIENCE} s for transactions that use the table."
    )

    def __init__(self, database: ServerDatabase, schema: Schema, *, own: bool) -> None:
        super().__init__(database, schema, own=own)
        self._server = database

    def tune(self, undo: bool, on_step: OnStep) -> TuningPlan:
        def work(session: ServerSession) -> TuningPlan:
            ((locked,),) = session.text(f"SELECT GET_LOCK({_LOCK}, 0)")
            if locked != 1:
                raise TemporarilyUnavailable("Another process is tuning this database; try again when it is done.")
            try:
                session.do_text(f"SET SESSION lock_wait_timeout = {_PATIENCE}", None)
                plan = self._plan(session, undo)
                for step in plan.steps:
                    self._take(session, step, on_step)
                return plan
            finally:
                session.text(f"SELECT RELEASE_LOCK({_LOCK})")

        return self._server.alone(work)

    def _take(self, session: ServerSession, step: TuningStep, on_step: OnStep) -> None:
        on_step(step)
        try:
            session.do_text(step.statement, None)
            session.flush()
        except self._server.driver.errors as error:
            offline = _ONLINE.sub("", step.statement)
            if error.args[0] not in _REFUSED or offline == step.statement:
                raise
            self._take(session, TuningStep(offline, f"{step.purpose}; writers wait"), on_step)

    def _indexes(self, session: Session) -> Mapping[str, bool]:
        return {
            name: True
            for (name,) in session.text(
                "SELECT index_name FROM information_schema.statistics WHERE table_schema = DATABASE()"
            )
        }

    def _own_findings(self, session: Session) -> Iterator[Finding]:
        texts = {
            f"{table}.{name}": column.collation
            for table in NEEDED
            for name, column in self._schema.columns[table].items()
            if column.collation is not None
        }
        poor = [name for name, collation in texts.items() if not collation.startswith("utf8mb4_")]
        if poor:
            yield Finding(
                FindingKind.POOR_CHARACTER_SET,
                poor[0],
                "columns have a character set that cannot hold every character; values with others are refused",
                len(poor),
                f"{poor[0]} is {texts[poor[0]].partition('_')[0]}",
                "copy the data into a database that holdall created, or ALTER TABLE … CONVERT TO CHARACTER SET utf8mb4",
            )
        inexact = [name for name, collation in texts.items() if collation not in (MYSQL_COLLATION, MARIADB_COLLATION)]
        if inexact:
            yield Finding(
                FindingKind.INEXACT_COLLATION,
                inexact[0],
                "columns have a collation that takes names for the same that differ in case, accents or trailing "
                "blanks; of two such names the second is refused",
                len(inexact),
                f"{inexact[0]} is {texts[inexact[0]]}",
                "copy the data into a database that holdall created, if names are to be told apart",
            )
        yield from narrow_ids(self._schema)
        yield from self._wide_ids()

    def _wide_ids(self) -> Iterator[Finding]:
        wide = self._schema.columns["experiments"]["experiment_id"].type == "BIGINT"
        if wide and "logged_models" not in self._schema.columns:
            yield Finding(
                FindingKind.WIDE_IDS,
                "experiments.experiment_id",
                "'mlflow db upgrade' of MLflow 3 fails on MySQL where experiment ids have 64 bits (errno 150)",
                1,
                "experiments.experiment_id is BIGINT",
                "none is needed before MLflow 3; for it, copy the data to one made with ?experiment_ids=integer",
            )

    def _column_checks(self) -> Iterator[Check | Finding]:
        return column_checks(self._schema, self._database.dialect)

    def _creation(self, index: sa.Index) -> str:
        return f"{self._compiled(index)} ALGORITHM=INPLACE LOCK=NONE"

    def _removal(self, session: Session, index: sa.Index) -> str:
        """A foreign key needs an index; the server dropped the one that it had made when a better one came."""
        table, lead = str(index.table), next(iter(index.columns)).name
        others = session.text(
            "SELECT 1 FROM information_schema.statistics WHERE table_schema = DATABASE() AND seq_in_index = 1 "
            "AND table_name = %s AND column_name = %s AND index_name <> %s",
            (table, lead, index.name),
        )
        keys = session.text(
            "SELECT 1 FROM information_schema.key_column_usage WHERE table_schema = DATABASE() "
            "AND table_name = %s AND column_name = %s AND referenced_table_name IS NOT NULL",
            (table, lead),
        )
        instead = f"ADD INDEX {lead} ({lead}), " if keys and not others else ""
        return f"ALTER TABLE {table} {instead}DROP INDEX {index.name}, ALGORITHM=INPLACE, LOCK=NONE"

    def _analysis(self, table: str) -> str:
        return f"ANALYZE TABLE {table}"
