"""What is wrong in a store's data: found, reported, and left as it is."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Problem", "ProblemKind"]


class ProblemKind(StrEnum):
    """What sort of thing is wrong."""

    MISSING = "missing"
    """Something that must be there is not, such as a run's `meta.yaml`."""
    MALFORMED = "malformed"
    """It is there and cannot be read as what it should be."""
    MISPLACED = "misplaced"
    """It says that it belongs elsewhere."""
    UNREADABLE = "unreadable"
    """The operating system refuses to read it, or it is a link, which is not followed."""
    DUPLICATE = "duplicate"
    """The same metric point is stored more than once; it counts once."""
    UNFINISHED = "unfinished"
    """A writer died before it was done; what it wrote so far does not count."""
    FOREIGN = "foreign"
    """It is no part of a store."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One item that is wrong; everything beside it stays usable.

    Attributes:
        kind: What sort.
        path: Where, relative to the store.
        message: For people: what is wrong, and what that means for what is read.
        experiment_id: The experiment it is in, or None.
        run_id: The run it is in, or None.
    """

    kind: ProblemKind
    path: str
    message: str
    experiment_id: str | None = None
    run_id: str | None = None

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"
