"""The root folder: which experiments there are, where a run is."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from holdall.backends.file.files import Folder
from holdall.backends.file.layout import META, TRASH, is_experiment_name, is_run_name

__all__ = ["FoundRun", "Tree"]

_MOST_PLACES = 100_000


@dataclass(frozen=True, slots=True)
class FoundRun:
    """Where a run is.

    Attributes:
        experiment: Folder of its experiment.
        path: That folder's path from the root.
        experiment_id: The experiment's id.
        folder: Folder of the run.
    """

    experiment: Folder
    path: str
    experiment_id: str
    folder: Folder


class Tree:
    """The folders below a root; safe to share between threads.

    Args:
        root: Absolute path.
    """

    def __init__(self, root: str) -> None:
        self.root = root
        self._lock = threading.Lock()
        self._places: dict[str, str] = {}

    def open_root(self) -> Folder:
        """The root folder; itself it may be a link."""
        return Folder(f"{self.root}/.")

    @contextmanager
    def experiment(self, experiment_id: str) -> Iterator[tuple[Folder, str] | None]:
        """The folder of an experiment and its path from the root; None if there is none."""
        found = self._open_experiment(experiment_id) if is_experiment_name(experiment_id) else None
        if found is None:
            yield None
            return
        with found[0]:
            yield found

    def _open_experiment(self, experiment_id: str) -> tuple[Folder, str] | None:
        # Once more, for one that is moved to the other place this moment.
        for path in (experiment_id, f"{TRASH}/{experiment_id}") * 2:
            try:
                return Folder(f"{self.root}/{path}"), path
            except (FileNotFoundError, NotADirectoryError):
                continue
        return None

    def experiment_ids(self) -> list[str]:
        """Ids of all folders that may be experiments, deleted ones too; each once."""
        found: dict[str, None] = {}
        with self.open_root() as root:
            for path in (".", TRASH, "."):  # once more, for those that are moved meanwhile
                try:
                    with root.open(path) as folder:
                        found.update(dict.fromkeys(filter(is_experiment_name, folder.folders())))
                except (FileNotFoundError, NotADirectoryError):
                    continue
        return list(found)

    def run_ids(self, experiment: Folder) -> list[str]:
        """Ids of all folders of an experiment that may be runs."""
        return [name for name in experiment.folders() if is_run_name(name)]

    @contextmanager
    def run(self, run_id: str) -> Iterator[FoundRun | None]:
        """Where a run is; None if there is none."""
        experiment_id = self._find_run(run_id) if is_run_name(run_id) else None
        if experiment_id is None:
            yield None
            return
        with self.experiment(experiment_id) as found:
            try:
                folder = None if found is None else found[0].open(run_id)
            except (FileNotFoundError, NotADirectoryError):
                folder = None
            if found is None or folder is None:
                self._forget(run_id)
                yield None
                return
            with folder:
                yield FoundRun(*found, experiment_id, folder)

    def place_run(self, run_id: str, experiment_id: str) -> None:
        """Remember where a run is."""
        with self._lock:
            if len(self._places) >= _MOST_PLACES:
                self._places.clear()
            self._places[run_id] = experiment_id

    def _forget(self, run_id: str) -> None:
        with self._lock:
            self._places.pop(run_id, None)

    def _find_run(self, run_id: str) -> str | None:
        known = self._places.get(run_id)
        if known is not None and self._holds(known, run_id):
            return known
        candidates = [found for found in self.experiment_ids() if self._holds(found, run_id)]
        # A folder of that name without a `meta.yaml` may be the remains of a copy.
        for experiment_id in sorted(candidates, key=lambda found: not self._holds(found, f"{run_id}/{META}")):
            self.place_run(run_id, experiment_id)
            return experiment_id
        return None

    def _holds(self, experiment_id: str, path: str) -> bool:
        with self.experiment(experiment_id) as found:
            return found is not None and found[0].stat(path) is not None
