"""`ServerBackendStore`: the store on a database server, whichever product it is."""

from __future__ import annotations

from abc import abstractmethod

from holdall.backends.sql import opening
from holdall.backends.sql.database import Session
from holdall.backends.sql.server import ServerDatabase
from holdall.backends.sql.store import SqlBackendStore
from holdall.stores.capabilities import Capabilities
from holdall.stores.errors import NotFound
from holdall.stores.uri import StoreURI

__all__ = ["ServerBackendStore"]

_NARROW = 2**31 - 1
"""Greatest id in a 32-bit column."""

_MLFLOW_NAME = 256
"""Characters of an experiment's name in MLflow's tables."""


class ServerBackendStore(SqlBackendStore):
    """A store on a database server. What it promises is in the docstrings of its subclasses."""

    _database: ServerDatabase

    def __init__(
        self, uri: StoreURI, *, artifact_root: StoreURI | None = None, read_only: bool = False, create: bool = True
    ) -> None:
        database = self._connect(uri)
        try:
            super().__init__(uri, database, artifact_root=artifact_root, read_only=read_only)
            self._schema, self._server = self._open(database, create=create and not read_only)
            database.settle(list(self._schema.columns))
            self._settle(self._schema)
        except BaseException:
            database.close()
            raise

    def _open(self, database: ServerDatabase, *, create: bool) -> tuple[opening.Schema, dict[str, str]]:
        schema, facts = database.read(self._inspect)
        self._check_server(facts)
        if schema is None or self._is_unfinished(schema):
            if not create:
                raise NotFound(f"There is no store in {self.uri}: the database is empty.")
            self.created = self._create(database)
            schema, facts = database.read(self._inspect)
            assert schema is not None
        opening.check(schema, self.uri)
        return schema, facts

    def _inspect(self, session: Session) -> tuple[opening.Schema | None, dict[str, str]]:
        return opening.inspect(session, self._columns(session)), self._facts(session)

    def _is_unfinished(self, schema: opening.Schema) -> bool:
        """Whether a creation by holdall did not come to its end."""
        return False

    def _default_location(self) -> str:
        return self.artifact_root.join("0").render(hide_password=False)

    @abstractmethod
    def _connect(self, uri: StoreURI) -> ServerDatabase:
        """The database that a URI names; nothing is sent to it yet."""

    @abstractmethod
    def _columns(self, session: Session) -> opening.Columns:
        """Columns of all tables of the database."""

    @abstractmethod
    def _facts(self, session: Session) -> dict[str, str]:
        """What there is to say about the server, for people: version, encoding, collation."""

    @abstractmethod
    def _check_server(self, facts: dict[str, str]) -> None:
        """Refuse a server that is too old."""

    @abstractmethod
    def _limits(self, facts: dict[str, str]) -> list[str]:
        """What the server's settings keep the store from promising."""

    @abstractmethod
    def _create(self, database: ServerDatabase) -> bool:
        """Create the schema and experiment 0 unless another process has done so meanwhile; whether it was done now."""

    @property
    def _is_own(self) -> bool:
        """Whether holdall created the database: MLflow's names of experiments are shorter."""
        return self._schema.columns["experiments"]["name"].length != _MLFLOW_NAME

    @property
    def _has_wide_ids(self) -> bool:
        return self._schema.columns["experiments"]["experiment_id"].type == "BIGINT"

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            negative_zero=self._database.dialect.keeps_negative_zero,
            exact_names=self._database.dialect.exact_text,
            max_experiment_id=2**63 - 1 if self._has_wide_ids else _NARROW,
            logged_models=True,
            database=True,
            remote=True,
        )

    def describe(self) -> dict[str, str]:
        facts = {**super().describe(), **self._server, **self._schema.facts()}
        limits = self._limits(self._server)
        if not self._database.dialect.exact_text:
            limits.append(
                "names that differ in letter case, accents or trailing blanks only cannot be kept side by side"
            )
        if not self._database.dialect.keeps_negative_zero:
            limits.append("the sign of -0.0 is lost")
        if not self._has_wide_ids:
            limits.append(f"experiment ids end at {_NARROW}")
        return {**facts, "limits": "; ".join(limits)} if limits else facts
