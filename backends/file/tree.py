"""The root folder: which experiments there are, where a run or a logged model is."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

from holdall.backends.file.files import CLOSED_DOORS, Folder
from holdall.backends.file.layout import META, MODELS, TRASH, is_experiment_name, is_model_id, is_run_name
from holdall.backends.file.meta import MalformedMeta, parse_meta

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
                except CLOSED_DOORS:
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
                except CLOSED_DOORS:
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
        except CLOSED_DOORS:
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
        found = self._open_at(path, self._places.get(path)) or self._open_at(path, self._search(path))
        if found is None:
            yield None
            return
        with found.experiment, found.folder:
            yield found

    def _open_at(self, path: str, experiment_id: str | None) -> Found | None:
        """A folder in an experiment; None if it is not there, or no longer."""
        opened = None if experiment_id is None else self._open_experiment(experiment_id)
        if opened is None or experiment_id is None:
            self._forget(path)
            return None
        try:
            return Found(*opened, experiment_id, opened[0].open(path))
        except CLOSED_DOORS:
            opened[0].close()
            self._forget(path)
            return None

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

    def _search(self, path: str) -> str | None:
        """The experiment that has a folder at this path in it, looked for in all."""
        candidates = [found for found in self.experiment_ids() if self._holds(found, path)]
        if len(candidates) > 1:  # copies; the one that says that it is of its experiment is the one that is read
            candidates.sort(key=lambda found: not self._claims(found, path))
        for experiment_id in candidates:
            self._place(path, experiment_id)
            return experiment_id
        return None

    def _claims(self, experiment_id: str, path: str) -> bool:
        """Whether the `meta.yaml` of a folder names the experiment that it is in."""
        with self.experiment(experiment_id) as found:
            try:
                data = None if found is None else found[0].read(f"{path}/{META}")
                return data is not None and parse_meta(data).get("experiment_id") == experiment_id
            except (OSError, MalformedMeta):
                return False

    def _holds(self, experiment_id: str, path: str) -> bool:
        with self.experiment(experiment_id) as found:
            return found is not None and found[0].stat(path) is not None
