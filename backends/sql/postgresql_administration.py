"""Checking and tuning a PostgreSQL database."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress

import sqlalchemy as sa

from holdall.backends.sql.administration import Administration, OnStep
from holdall.backends.sql.database import Session
from holdall.backends.sql.inspection import Check, column_checks, narrow_ids
from holdall.backends.sql.opening import NEEDED, Schema
from holdall.backends.sql.server import ServerDatabase, ServerSession
from holdall.stores.databases import Finding, FindingKind, TuningPlan, TuningStep
from holdall.stores.errors import TemporarilyUnavailable

__all__ = ["PostgresqlAdministration"]

_LOCK = 4_850_915_203_118
"""Key of the advisory lock that whoever tunes holds; any number that is always the same."""

_LARGEST_MADE = 1_000_000_000_000_000
"""Ids from here on come from folders; the sequence does not follow them."""


class PostgresqlAdministration(Administration):
    """Indexes are made while others write, outside transactions."""

    remark = "Others go on reading and writing; the server waits for transactions that were begun before."

    def __init__(self, database: ServerDatabase, schema: Schema, *, own: bool) -> None:
        super().__init__(database, schema, own=own)
        self._server = database

    def tune(self, undo: bool, on_step: OnStep) -> TuningPlan:
        def work(session: ServerSession) -> TuningPlan:
            # Whoever waited for the lock would have a snapshot that the creation of the index waits for in turn.
            ((locked,),) = session.text(f"SELECT pg_try_advisory_lock({_LOCK})")
            if not locked:
                raise TemporarilyUnavailable("Another process is tuning this database; try again when it is done.")
            try:
                plan = self._plan(session, undo)
                for step in plan.steps:
                    on_step(step)
                    self._take(session, step)
                return plan
            finally:
                session.text(f"SELECT pg_advisory_unlock({_LOCK})")

        return self._server.alone(work)

    def _take(self, session: ServerSession, step: TuningStep) -> None:
        errors = self._server.driver.errors
        try:
            session.do_text(step.statement, None)
            session.flush()
        except errors:
            with suppress(*errors):
                for name, usable in self._indexes(session).items():
                    if not usable and f" {name} " in step.statement:
                        session.do_text(f"DROP INDEX CONCURRENTLY IF EXISTS {name}", None)
                        session.flush()
            raise

    def _indexes(self, session: Session) -> Mapping[str, bool]:
        return dict(
            session.text(
                "SELECT c.relname, i.indisvalid FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid "
                "JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = current_schema()"
            )
        )

    def _own_findings(self, session: Session) -> Iterator[Finding]:
        yield from self._sequence_findings(session)
        yield from self._text_findings(session)
        yield from narrow_ids(self._schema)

    def _column_checks(self) -> Iterator[Check | Finding]:
        return column_checks(self._schema, self._database.dialect)

    def _sequence_findings(self, session: Session) -> Iterator[Finding]:
        ((sequence, made, greatest),) = session.text(
            "SELECT s.name, CASE WHEN has_sequence_privilege(s.name, 'USAGE,SELECT') "
            "THEN coalesce(pg_sequence_last_value(s.name::regclass), 0) END, "
            "(SELECT max(experiment_id) FROM experiments WHERE experiment_id < %s) "
            "FROM (SELECT pg_get_serial_sequence('experiments', 'experiment_id') AS name) s",
            (_LARGEST_MADE,),
        )
        if sequence is not None and made is not None and made < (greatest or 0):
            yield Finding(
                FindingKind.SEQUENCE_BEHIND,
                sequence,
                "MLflow fails to create experiments until the sequence has passed the greatest id; holdall mends it",
                greatest - made,
                f"the sequence is at {made}, the greatest id is {greatest}",
                f"SELECT setval('{sequence}', {greatest})",
            )

    def _text_findings(self, session: Session) -> Iterator[Finding]:
        ((encoding,),) = session.text("SELECT current_setting('server_encoding')")
        if encoding != "UTF8":
            yield Finding(
                FindingKind.POOR_CHARACTER_SET,
                "database",
                f"the encoding {encoding} cannot hold every character",
                1,
                encoding,
                "copy the data into a database with the encoding UTF8",
            )
        inexact = [
            f"{table}.{column}"
            for table, column in session.text(
                "SELECT c.relname, a.attname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid "
                "JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_collation l ON l.oid = a.attcollation "
                "WHERE n.nspname = current_schema() AND c.relkind = 'r' AND NOT l.collisdeterministic"
            )
            if table in NEEDED
        ]
        if inexact:
            yield Finding(
                FindingKind.INEXACT_COLLATION,
                inexact[0],
                "columns have a collation that takes names for the same that differ",
                len(inexact),
                ", ".join(inexact[:3]),
                "give them a deterministic collation: ALTER TABLE … ALTER COLUMN … TYPE … COLLATE",
            )

    def _creation(self, index: sa.Index) -> str:
        return self._compiled(index).replace("CREATE INDEX", "CREATE INDEX CONCURRENTLY", 1)

    def _removal(self, session: Session, index: sa.Index) -> str:
        return f"DROP INDEX CONCURRENTLY IF EXISTS {index.name}"

    def _analysis(self, table: str) -> str:
        return f"ANALYZE {table}"
