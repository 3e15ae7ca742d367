"""What all sides have in common whose stores are folders in MLflow's layout. Standard library only."""

from __future__ import annotations

import shutil
from abc import abstractmethod
from pathlib import Path
from typing import Any

from benchmarks.populate.mlruns import count_rows, create_root, insert_experiment, populate
from benchmarks.sides.base import Side, Task

__all__ = ["MlrunsSide"]


class MlrunsSide(Side):
    """A side that keeps a store in a folder, which others may write to as well."""

    def create(self, path: Path) -> None:
        create_root(path)

    def add_experiment(self, path: Path) -> None:
        insert_experiment(path)

    def fill(self, path: Path) -> None:
        populate(path, self.scale)

    def count_rows(self) -> list[int]:
        return count_rows(self.log_path)

    def fresh_copy(self) -> Path:
        return Path(shutil.copytree(self.spare_path, self.fresh_path()))

    def forget(self) -> None:
        """Remove what the store has noted about the folder that is read, which is closed: it meets it anew."""

    @abstractmethod
    def open_read(self) -> None:
        """Open `read_path`."""

    @abstractmethod
    def close_read(self) -> None:
        """Let go of `read_path`."""

    @abstractmethod
    def tag_stored_run(self, run_id: str, key: str, value: str) -> None:
        """Set a tag in `read_path` through the store, untimed."""

    @abstractmethod
    def top_runs_tagged(self, key: str) -> Task[Any]:
        """Search for `TOP`; the answer is the run ids, each with the value of one tag."""
