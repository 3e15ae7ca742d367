"""What all sides have in common whose stores are SQLite databases. Standard library only."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import ClassVar

from benchmarks.populate.sqlite import count_rows, insert_experiment, populate
from benchmarks.sides.base import Side

__all__ = ["SqliteSide"]


class SqliteSide(Side):
    """A side that keeps a store in one database file."""

    suffix: ClassVar[str] = ".db"

    def add_experiment(self, path: Path) -> None:
        insert_experiment(path, self.artifacts)

    def fill(self, path: Path) -> None:
        populate(path, self.artifacts, self.scale)

    def count_rows(self) -> list[int]:
        return count_rows(self.log_path)

    def fresh_copy(self) -> Path:
        return Path(shutil.copyfile(self.spare_path, self.fresh_path()))
