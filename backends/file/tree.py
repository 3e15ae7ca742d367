"""The root folder: which experiments there are, where a run or a logged model is."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

from holdall.backends.file.files import Folder
from holdall.backends.file.layout import META, MODELS, TRASH, is_experiment_name, is_model_id, is_run_name

__all__ = ["Found", "Tree"]

_MOST_PLACES = 100_000


@dataclass(frozen=True, slots=True)
class Found:
    """Where a run or a logged model is.

    Attributes:
        experiment: Folder of its experiment.
        path: That folder's path from the root.
        experiment_id: The experiment's id.
        folder: Its own folder.
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
        with self.open_root() as root:
            for path in (experiment_id, f"{TRASH}/{experiment_id}") * 2:
                try:
                    return root.open(path), path
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

    def model_ids(self, experiment: Folder) -> list[str]:
        """Ids of all folders of an experiment that may be logged models."""
        try:
            with experiment.open(MODELS) as models:
                return [name for name in models.folders() if is_model_id(name)]
        except (FileNotFoundError, NotADirectoryError):
            return []

    def open_model(self, experiment: Folder, model_id: str) -> Folder:
        """The folder of a logged model in an experiment."""
        return experiment.open(f"{MODELS}/{model_id}")

    def run(self, run_id: str) -> AbstractContextManager[Found | None]:
        """Where a run is; None if there is none."""
        return self._at(run_id) if is_run_name(run_id) else nullcontext()

    def model(self, model_id: str) -> AbstractContextManager[Found | None]:
        """Where a logged model is; None if there is none."""
        return self._at(f"{MODELS}/{model_id}") if is_model_id(model_id) else nullcontext()

    @contextmanager
    def _at(self, path: str) -> Iterator[Found | None]:
        experiment_id = self._find(path)
        if experiment_id is None:
            yield None
            return
        with self.experiment(experiment_id) as found:
            try:
                folder = None if found is None else found[0].open(path)
            except (FileNotFoundError, NotADirectoryError):
                folder = None
            if found is None or folder is None:
                self._forget(path)
                yield None
                return
            with folder:
                yield Found(*found, experiment_id, folder)

    def place_run(self, run_id: str, experiment_id: str) -> None:
        """Remember where a run is."""
        self._place(run_id, experiment_id)

    def place_model(self, model_id: str, experiment_id: str) -> None:
        """Remember where a logged model is."""
        self._place(f"{MODELS}/{model_id}", experiment_id)

    def _place(self, path: str, experiment_id: str) -> None:
        with self._lock:
            if len(self._places) >= _MOST_PLACES:
                self._places.clear()
            self._places[path] = experiment_id

    def _forget(self, path: str) -> None:
        with self._lock:
            self._places.pop(path, None)

    def _find(self, path: str) -> str | None:
        """The experiment that has a folder at this path in it."""
        known = self._places.get(path)
        if known is not None and self._holds(known, path):
            return known
        candidates = [found for found in self.experiment_ids() if self._holds(found, path)]
        # A folder of that name without a `meta.yaml` may be the remains of a copy.
        for experiment_id in sorted(candidates, key=lambda found: not self._holds(found, f"{path}/{META}")):
            self._place(path, experiment_id)
            return experiment_id
        return None

    def _holds(self, experiment_id: str, path: str) -> bool:
        with self.experiment(experiment_id) as found:
            return found is not None and found[0].stat(path) is not None
