"""`DatabaseStore`: an optional ability of backend stores that are databases, to be checked and tuned by operators."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import cast

from holdall.stores.backend import BackendStore
from holdall.stores.base import Store
from holdall.stores.errors import Unsupported

__all__ = [
    "DatabaseReport",
    "DatabaseStore",
    "Finding",
    "FindingKind",
    "TuningPlan",
    "TuningStep",
    "as_database_store",
]


class FindingKind(StrEnum):
    """What sort of thing was found in a database."""

    ORPHAN = "orphan"
    """Rows belong to something that is gone."""
    INVISIBLE_METRIC = "invisible-metric"
    """Points of a metric lack the row that makes runs and searches show it."""
    WRONG_LATEST = "wrong-latest"
    """The latest value of a metric is not that of its greatest point."""
    MIXED_NAMES = "mixed-names"
    """Two metrics of a run are one to the database, whose collation does not tell their names apart."""
    LONG_LOCATION = "long-location"
    """The artifact location of an experiment leaves no room for those of its runs."""
    SEQUENCE_BEHIND = "sequence-behind"
    """The next id that the database makes for an experiment is taken."""
    SAME_NAME = "same-name"
    """Several experiments have one name."""
    MISSING_INDEX = "missing-index"
    """An index of holdall's is not there."""
    UNFINISHED_INDEX = "unfinished-index"
    """An index of holdall's was begun and is of no use."""
    INEXACT_COLLATION = "inexact-collation"
    """The database takes names for the same that differ."""
    POOR_CHARACTER_SET = "poor-character-set"
    """The database cannot hold every character."""
    NARROW_COLUMN = "narrow-column"
    """A column takes less than holdall allows."""
    LONG_VALUE = "long-value"
    """A value is almost as long as its narrow column takes."""
    NARROW_IDS = "narrow-ids"
    """Experiment ids have 32 bits."""
    WIDE_IDS = "wide-ids"
    """Experiment ids have 64 bits, which keeps MLflow 3 from taking the database over."""

    @property
    def is_error(self) -> bool:
        """Whether the data is wrong; otherwise the database works, and could do so better."""
        return self in _ERRORS


_ERRORS = frozenset(
    {
        FindingKind.ORPHAN,
        FindingKind.INVISIBLE_METRIC,
        FindingKind.WRONG_LATEST,
        FindingKind.MIXED_NAMES,
        FindingKind.LONG_LOCATION,
        FindingKind.SEQUENCE_BEHIND,
    }
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong with a database, or could be better.

    Attributes:
        kind: What sort.
        place: The table, column or index.
        message: For people: what is so, and what follows from it.
        count: How many rows, groups of rows, or columns.
        example: One of them.
        remedy: What to do.
    """

    kind: FindingKind
    place: str
    message: str
    count: int
    example: str
    remedy: str


@dataclass(frozen=True, slots=True)
class DatabaseReport:
    """What a check of a database found.

    Attributes:
        revision: MLflow's Alembic revision; None if the database has none.
        findings: Errors first.
    """

    revision: str | None
    findings: Sequence[Finding]

    @property
    def is_sound(self) -> bool:
        """Whether no data is wrong."""
        return not any(finding.kind.is_error for finding in self.findings)


@dataclass(frozen=True, slots=True)
class TuningStep:
    """One statement.

    Attributes:
        statement: In SQL.
        purpose: For people: what it does.
    """

    statement: str
    purpose: str


@dataclass(frozen=True, slots=True)
class TuningPlan:
    """What tuning a database would do now.

    Attributes:
        steps: In order; none if there is nothing to do.
        remark: For people: what others notice meanwhile, or why there is nothing to do.
    """

    steps: Sequence[TuningStep]
    remark: str


def _ignore(_text: str) -> None:
    """Tell nobody."""


class DatabaseStore(Store):
    """A store in a database that operators look after.

    A backend that is one inherits from `BackendStore` and from this class, and sets `Capabilities.database`;
    `as_database_store` gives a store as one of these.

    **Threads, processes, visibility, durability** are as for the store itself. Nothing here keeps others from using the
    store, except that a product may make writers wait while an index is made; `TuningPlan.remark` says so.
    """

    def inspect_database(self, on_check: Callable[[str], None] = _ignore) -> DatabaseReport:
        """Look for what is wrong with the database, or could be better; nothing is changed.

        Each check is a transaction of its own: what is written meanwhile is seen by some and not by others, but makes
        none report what never was.

        Args:
            on_check: Called with what is looked at next.
        """
        self._check_open()
        return self._inspect_database(on_check)

    def plan_tuning(self, *, undo: bool = False) -> TuningPlan:
        """What `tune_database` would do; nothing is changed.

        Args:
            undo: Of undoing it.
        """
        self._check_open()
        return self._plan_tuning(undo)

    def tune_database(
        self, *, undo: bool = False, on_step: Callable[[TuningStep], None] = lambda _: None
    ) -> TuningPlan:
        """Make the indexes of holdall's that the database lacks, and gather statistics for its planner.

        What is interrupted is finished by the next call. A second call finds nothing to do.

        Args:
            undo: Drop the indexes that this made; those that a database of holdall's was created with stay.
            on_step: Called with each step before it is taken.

        Returns:
            What was done.

        Raises:
            ReadOnly: The store was opened read-only, or the user may not define indexes.
            TemporarilyUnavailable: Another process is tuning the database, or keeps a table locked.
        """
        self._check_writable()
        return self._tune_database(undo, on_step)

    # What a backend implements

    @abstractmethod
    def _inspect_database(self, on_check: Callable[[str], None]) -> DatabaseReport:
        """What `inspect_database` says."""

    @abstractmethod
    def _plan_tuning(self, undo: bool) -> TuningPlan:
        """What `plan_tuning` says."""

    @abstractmethod
    def _tune_database(self, undo: bool, on_step: Callable[[TuningStep], None]) -> TuningPlan:
        """What `tune_database` says."""


def as_database_store(store: BackendStore) -> DatabaseStore:
    """A backend store as the `DatabaseStore` that it says it is.

    Raises:
        Unsupported: Its capabilities lack `database`.
    """
    if not store.capabilities.database:
        raise Unsupported(f"The store {store.uri} is no database.")
    return cast(DatabaseStore, store)
