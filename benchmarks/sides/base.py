"""`Side`: one way to do every operation that is measured. Standard library only."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from benchmarks.workload import EXPERIMENT_ID, PAGE, Point, Scale, stored_runs

__all__ = ["Answer", "Side", "Task", "nothing"]

T = TypeVar("T")

Answer = list[Any] | int | str | None
"""What sides must agree on, as JSON keeps it."""


def nothing(result: object) -> None:
    """The answer of an operation that returns nothing worth comparing."""


@dataclass(frozen=True, slots=True)
class Task(Generic[T]):
    """A call with its arguments ready.

    Attributes:
        call: What is timed.
        answer: From what the call returned to what sides must agree on; not timed.
        finish: Gives back what the call opened; not timed.
    """

    call: Callable[[], T]
    answer: Callable[[T], Answer] = nothing
    finish: Callable[[T], None] = nothing


class Side(ABC):
    """A store, or the driver alone, that can do the operations.

    Methods that return a `Task` prepare a call without doing it.

    Args:
        folder: Where its stores lie; made when missing.
        scale: How much is stored before reading is measured.
        synchronous: SQLite's `synchronous` setting, where the side lets one choose.
        database: URI of its database, where its store is on a server.

    Attributes:
        suffix: How the names of its stores end.
        log_experiment: Id of the experiment that is logged to.
        scan_experiment: Id of the experiment whose runs are all read.
        artifacts: Where artifacts would lie, for stores that do not keep them within.
        caches: Where the environment of its process puts caches.
        numbers: Tells apart what is made anew.
    """

    suffix: ClassVar[str] = ""
    log_experiment: ClassVar[int] = EXPERIMENT_ID
    scan_experiment: ClassVar[int] = EXPERIMENT_ID

    def __init__(self, folder: Path, scale: Scale, synchronous: str, database: str = "") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.artifacts = folder / "artifacts"
        self.caches = folder / "caches"
        self.scale = scale
        self.synchronous = synchronous
        self.database = database
        self.log_path = folder / f"log{self.suffix}"
        self.read_path = folder / f"read{self.suffix}"
        self.spare_path = folder / f"spare{self.suffix}"
        self.numbers = count()

    def prepare(self) -> None:
        """Make the three stores: one to log to, one full of runs, one to copy; then open the first two."""
        for path in (self.log_path, self.read_path, self.spare_path):
            self.create(path)
            self.add_experiment(path)
        self.fill(self.read_path)
        self.open()

    def stored_ids(self) -> Sequence[str]:
        """Ids of the runs that searches go through."""
        return [run.run_id for run in stored_runs(self.scale.runs)]

    def fresh_path(self) -> Path:
        """A path where nothing is yet."""
        return self.folder / f"new-{next(self.numbers)}{self.suffix}"

    @property
    @abstractmethod
    def version(self) -> str:
        """What is measured, and the settings it is measured with."""

    @abstractmethod
    def create(self, path: Path) -> None:
        """Make an empty store, and let go of it."""

    @abstractmethod
    def add_experiment(self, path: Path) -> None:
        """Add the experiment of the benchmark to an empty store, behind its back."""

    @abstractmethod
    def fill(self, path: Path) -> None:
        """Add the runs that searches go through, behind the store's back."""

    @abstractmethod
    def count_rows(self) -> list[int]:
        """How much of each kind there is in the store that is logged to."""

    @abstractmethod
    def fresh_copy(self) -> Path:
        """A store of the side's own making that this process has not opened: no cache knows its path."""

    @abstractmethod
    def open(self) -> None:
        """Open `log_path` and `read_path`."""

    @abstractmethod
    def close(self) -> None:
        """Let go of everything."""

    @abstractmethod
    def start_run(self) -> str:
        """Create a run to log to, untimed; its id."""

    @abstractmethod
    def create_run(self, name: str) -> Task[Any]:
        """Create a named run."""

    @abstractmethod
    def log_metric(self, run_id: str, point: Point) -> Task[Any]:
        """Log one point."""

    @abstractmethod
    def log_param(self, run_id: str, key: str, value: str) -> Task[Any]:
        """Log one param."""

    @abstractmethod
    def set_tag(self, run_id: str, key: str, value: str) -> Task[Any]:
        """Set one tag."""

    @abstractmethod
    def log_metrics(self, run_id: str, points: Sequence[Point]) -> Task[Any]:
        """Log a batch of points."""

    @abstractmethod
    def log_labels(self, run_id: str, params: Sequence[tuple[str, str]], tags: Sequence[tuple[str, str]]) -> Task[Any]:
        """Log a batch of params and tags."""

    @abstractmethod
    def get_run(self, run_id: str) -> Task[Any]:
        """Read a run; the answer is its metrics, params and tags, sorted."""

    @abstractmethod
    def history(self, run_id: str, key: str) -> Task[Any]:
        """Read all points of a metric; the answer is how many, the first and the last."""

    @abstractmethod
    def top_runs(self) -> Task[Any]:
        """Search for `TOP`; the answer is the run ids."""

    @abstractmethod
    def scan(self, page: int = PAGE) -> Task[Any]:
        """Read all runs, page by page; the answer is how many, and how many metrics, params and tags they have."""

    @abstractmethod
    def open_existing(self, path: Path) -> Task[Any]:
        """Open a store that is there and look the experiment up; the answer is its id."""

    @abstractmethod
    def open_new(self, path: Path) -> Task[Any]:
        """Open a store that is not there yet and look the default experiment up; the answer is its id."""
