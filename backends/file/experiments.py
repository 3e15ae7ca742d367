"""Experiments: their folders in the root, or in `.trash` when they are deleted."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from holdall.backends.file.codec import (
    DELETED_TIME,
    DELETION,
    STAGE,
    Transition,
    experiment_fields,
    experiment_from,
)
from holdall.backends.file.files import Folder
from holdall.backends.file.journal import Changes
from holdall.backends.file.keyed import remove_value
from holdall.backends.file.layout import EXPERIMENT_LOCK, META, OWN, ROOT_LOCK, TAGS, TRASH, run_lock
from holdall.backends.file.locks import Locks
from holdall.backends.file.meta import Fields, MalformedMeta
from holdall.backends.file.metric_lines import RUN_LINES
from holdall.backends.file.problem_log import ProblemLog
from holdall.backends.file.reading import BadMeta, apply_fields, consistently, read_fields, read_labels
from holdall.backends.file.tree import Tree
from holdall.backends.file.writing import FolderWriter, Tails, fill_folder
from holdall.stores.entities import Experiment, ExperimentTag, LifecycleStage, Metric
from holdall.stores.errors import InternalError
from holdall.stores.names import DEFAULT_EXPERIMENT_ID, DEFAULT_EXPERIMENT_NAME, new_run_id
from holdall.stores.problems import ProblemKind
from holdall.stores.rules import (
    experiment_exists,
    require_active_experiment,
    require_experiment,
    tag_not_found,
)

__all__ = ["ExperimentRecord", "Experiments", "OpenExperiment"]

_LAST_UPDATE = "last_update_time"
_ID_DIGITS = 18
"""Digits of the random ids that MLflow's file store gives."""


@dataclass(frozen=True, slots=True)
class ExperimentRecord:
    """An experiment as its folder has it.

    Attributes:
        entity: What users see.
        fields: Its `meta.yaml`.
        transition: Its deletion or restoration, while that is under way.
    """

    entity: Experiment
    fields: Fields
    transition: Transition | None


@dataclass(frozen=True, slots=True)
class OpenExperiment:
    """An experiment whose lock is held.

    Attributes:
        folder: Its folder.
        path: The folder's path from the root.
        record: What is in it.
        writer: Writes to it.
    """

    folder: Folder
    path: str
    record: ExperimentRecord
    writer: FolderWriter[Metric]


class Experiments:
    """The experiments of a root; safe to share between threads.

    Args:
        tree: The folders.
        locks: Taken for every write.
        log: Where bad items are reported.
    """

    def __init__(self, tree: Tree, locks: Locks, log: ProblemLog) -> None:
        self._tree = tree
        self._locks = locks
        self._log = log
        self._tails = Tails()
        self._spare = f"{OWN}/spare"

    # Reading

    def get(self, experiment_id: str) -> Experiment | None:
        """The experiment, or None if there is none that can be read."""
        with self._tree.experiment(experiment_id) as found:
            record = None if found is None else self.record(found[0], found[1], experiment_id, self._log)
            return None if record is None else record.entity

    def get_by_name(self, name: str) -> Experiment | None:
        """The experiment of this name, or None."""
        for experiment_id in self._tree.experiment_ids():
            if self._name(experiment_id) == name:
                found = self.get(experiment_id)
                if found is not None and found.name == name:
                    return found
        return None

    def all(self, log: ProblemLog | None = None) -> Iterator[Experiment]:
        """All experiments that can be read, deleted ones too."""
        for experiment_id in self._tree.experiment_ids():
            with self._tree.experiment(experiment_id) as found:
                record = None if found is None else self.record(found[0], found[1], experiment_id, log or self._log)
            if record is not None:
                yield record.entity

    def record(self, folder: Folder, path: str, experiment_id: str, log: ProblemLog) -> ExperimentRecord | None:
        """What is in a folder; None, and a report, if it is no experiment."""
        report = log.reporter(path, experiment_id)

        def read(pending: Changes | None) -> ExperimentRecord:
            fields = read_fields(folder, _called(experiment_id))
            tags = read_labels(folder, TAGS, [], report)
            if pending is not None:
                fields = apply_fields(fields, pending.info)
                tags.update(pending.tags)
            return _record(fields, tags, experiment_id)

        try:
            return consistently(folder, read)
        except BadMeta as bad:
            _report(bad, log, path, experiment_id)
            return None

    def brief(self, folder: Folder, experiment_id: str) -> ExperimentRecord:
        """What the runs in a folder need to know of their experiment; its tags are left out.

        Raises:
            BadMeta: Its `meta.yaml` is missing or makes no sense.
        """
        return _record(read_fields(folder, _called(experiment_id)), {}, experiment_id)

    def try_brief(self, folder: Folder, path: str, experiment_id: str) -> ExperimentRecord | None:
        """The same; None, and a report, if the folder is no experiment."""
        try:
            return self.brief(folder, experiment_id)
        except BadMeta as bad:
            _report(bad, self._log, path, experiment_id)
            return None

    def _name(self, experiment_id: str) -> str | None:
        with self._tree.experiment(experiment_id) as found:
            record = None if found is None else self.try_brief(*found, experiment_id)
            return None if record is None else record.entity.name

    # Creating

    def create(self, name: str, locate: Callable[[str], str], tags: dict[str, str], time: int) -> str:
        """Create an experiment with a new random id."""
        with self._tree.open_root() as root, self._locks.hold(root, ROOT_LOCK, "The store"):
            self._require_free(name)
            experiment_id = self._new_id(root)
            self._create(root, _new_experiment(experiment_id, name, locate(experiment_id), time), tags)
            return experiment_id

    def create_default(self, root: Folder, location: str, time: int) -> None:
        """Create experiment 0; the root is locked."""
        self._create(root, _new_experiment(DEFAULT_EXPERIMENT_ID, DEFAULT_EXPERIMENT_NAME, location, time), {})

    def _create(self, root: Folder, entity: Experiment, tags: dict[str, str]) -> None:
        root.make(entity.experiment_id)
        with root.open(entity.experiment_id) as folder:
            fill_folder(folder, experiment_fields(entity), Changes(tags=tags), [], self._spare)

    def _new_id(self, root: Folder) -> str:
        while True:
            experiment_id = str(random.SystemRandom().randrange(10 ** (_ID_DIGITS - 1), 10**_ID_DIGITS))
            if root.stat(experiment_id) is None and root.stat(f"{TRASH}/{experiment_id}") is None:
                return experiment_id

    def _require_free(self, name: str) -> None:
        holder = self.get_by_name(name)
        if holder is not None:
            raise experiment_exists(name, deleted=holder.lifecycle_stage == LifecycleStage.DELETED)

    # Changing

    @contextmanager
    def locked(self, experiment_id: str) -> Iterator[OpenExperiment | None]:
        """An experiment that nobody else changes meanwhile; None if there is none."""
        with self._tree.experiment(experiment_id) as found:
            if found is None or found[0].stat(META) is None:
                yield None
                return
            folder = found[0]
            with self._locks.hold(folder, EXPERIMENT_LOCK, _called(experiment_id)):
                writer = FolderWriter(
                    folder, _called(experiment_id), experiment_id, self._spare, self._tails, RUN_LINES
                )
                tags = read_labels(folder, TAGS, [], self._log.reporter(found[1], experiment_id))
                record = _record(writer.fields, tags, experiment_id)
                if record.transition is not None:
                    self._finish(folder, writer, experiment_id, record.transition)
                    record = _record(writer.fields, tags, experiment_id)
                yield OpenExperiment(folder, found[1], record, writer)

    def rename(self, experiment_id: str, new_name: str, time: int) -> None:
        """Rename an active experiment."""
        with (
            self._tree.open_root() as root,
            self._locks.hold(root, ROOT_LOCK, "The store"),
            self._active(experiment_id) as opened,
        ):
            if opened.record.entity.name != new_name:
                self._require_free(new_name)
            opened.writer.commit(Changes(info={"name": new_name, _LAST_UPDATE: time}))

    def set_tag(self, experiment_id: str, tag: ExperimentTag, time: int) -> None:
        """Set a tag of an active experiment."""
        with self._active(experiment_id) as opened:
            opened.writer.commit(Changes(info={_LAST_UPDATE: time}, tags={tag.key: tag.value}))

    def delete_tag(self, experiment_id: str, key: str, time: int) -> None:
        """Delete a tag of an active experiment; that it is gone is what counts, the time follows."""
        with self._active(experiment_id) as opened:
            if not remove_value(opened.folder, TAGS, key):
                raise tag_not_found(key, f"experiment {experiment_id!r}")
            opened.writer.commit(Changes(info={_LAST_UPDATE: time}))

    def delete(self, experiment_id: str, time: int) -> None:
        """Delete an active experiment with its active runs."""
        with self._in_stage(experiment_id, LifecycleStage.ACTIVE) as opened:
            deletion = new_run_id()
            transition = Transition(LifecycleStage.DELETED, deletion)
            change = {STAGE: LifecycleStage.DELETED.value, _LAST_UPDATE: time, DELETION: deletion}
            opened.writer.commit(Changes(info=change | transition.change()))
            self._finish(opened.folder, opened.writer, experiment_id, transition)

    def restore(self, experiment_id: str, time: int) -> None:
        """Restore a deleted experiment with the runs that its deletion deleted.

        Where MLflow deleted it, those are the runs that were deleted at that time or later.
        """
        with self._in_stage(experiment_id, LifecycleStage.DELETED) as opened:
            fields = opened.record.fields
            deletion = fields.get(DELETION)
            mark = deletion if isinstance(deletion, str) else f">={opened.record.entity.last_update_time or 0}"
            transition = Transition(LifecycleStage.ACTIVE, mark)
            change: Fields = {STAGE: LifecycleStage.ACTIVE.value, _LAST_UPDATE: time, DELETION: None}
            opened.writer.commit(Changes(info=change | transition.change()))
            self._finish(opened.folder, opened.writer, experiment_id, transition)

    @contextmanager
    def _in_stage(self, experiment_id: str, stage: LifecycleStage) -> Iterator[OpenExperiment]:
        with (
            self._tree.open_root() as root,
            self._locks.hold(root, ROOT_LOCK, "The store"),
            self.locked(experiment_id) as opened,
        ):
            require_experiment(None if opened is None else opened.record.entity, experiment_id, stage)
            assert opened is not None
            yield opened

    @contextmanager
    def _active(self, experiment_id: str) -> Iterator[OpenExperiment]:
        with self.locked(experiment_id) as opened:
            require_active_experiment(None if opened is None else opened.record.entity, experiment_id)
            assert opened is not None
            yield opened

    def _finish(self, folder: Folder, writer: FolderWriter[Metric], experiment_id: str, transition: Transition) -> None:
        """Bring the runs and the folder to where a transition leads; what is there already stays."""
        for run_id in self._tree.run_ids(folder):
            with folder.open(run_id) as run:
                self._move_run(folder, run, run_id, transition, writer.fields)
        self._move(experiment_id, transition.target)
        writer.commit(Changes(info=Transition.end()))

    def _move_run(self, experiment: Folder, run: Folder, run_id: str, transition: Transition, fields: Fields) -> None:
        what = f"Run {run_id!r}"
        with self._locks.hold(experiment, run_lock(run_id), what):
            try:
                writer = FolderWriter(run, what, run_id, f"{OWN}/spare", self._tails, RUN_LINES)
            except BadMeta:
                return  # whoever reads it is told
            if not transition.concerns(writer.fields):
                return
            if transition.target is LifecycleStage.DELETED:
                change: Fields = {DELETED_TIME: fields[_LAST_UPDATE], DELETION: transition.mark}
            else:
                change = {DELETED_TIME: None, DELETION: None}
            writer.commit(Changes(info={STAGE: transition.target.value, **change}))

    def _move(self, experiment_id: str, target: LifecycleStage) -> None:
        active, deleted = experiment_id, f"{TRASH}/{experiment_id}"
        source, place = (active, deleted) if target is LifecycleStage.DELETED else (deleted, active)
        with self._tree.open_root() as root:
            if root.stat(source) is None:
                return
            root.make(TRASH)
            if root.stat(place) is not None:
                raise InternalError(
                    f"{_called(experiment_id)} is in two folders, {source} and {place}; put one of them elsewhere."
                )
            root.rename(source, place)


def _called(experiment_id: str) -> str:
    return f"Experiment {experiment_id!r}"


def _report(bad: BadMeta, log: ProblemLog, path: str, experiment_id: str) -> None:
    log.reporter(path, experiment_id)(bad.kind, META, f"{bad.reason}; the experiment is passed over")


def _new_experiment(experiment_id: str, name: str, location: str, time: int) -> Experiment:
    return Experiment(experiment_id, name, location, creation_time=time, last_update_time=time)


def _record(fields: Fields, tags: dict[str, str], experiment_id: str) -> ExperimentRecord:
    """What fields and tags say.

    Raises:
        BadMeta: They make no sense, or say that they are of another experiment.
    """
    try:
        entity = experiment_from({"experiment_id": experiment_id, **fields}, tags)
    except MalformedMeta as error:
        raise BadMeta(_called(experiment_id), ProblemKind.MALFORMED, str(error)) from None
    if entity.experiment_id != experiment_id:
        raise BadMeta(_called(experiment_id), ProblemKind.MISPLACED, f"is that of experiment {entity.experiment_id!r}")
    return ExperimentRecord(entity, fields, Transition.of(fields))
