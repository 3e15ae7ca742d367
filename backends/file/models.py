"""Logged models: their folders in the folder `models` of their experiment."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from holdall.backends.file.codec import MODEL_UPDATED, STAGE, is_deleted_model, model_fields, model_from
from holdall.backends.file.experiments import ExperimentRecord, Experiments
from holdall.backends.file.files import CLOSED_DOORS, Folder
from holdall.backends.file.journal import Changes
from holdall.backends.file.keyed import Reporter, ignore_problems, read_everything, remove_value
from holdall.backends.file.layout import META, METRICS, MODELS, OWN, PARAMS, TAGS, model_lock
from holdall.backends.file.locks import Locks
from holdall.backends.file.meta import Fields, MalformedMeta
from holdall.backends.file.metric_lines import without_torn_line
from holdall.backends.file.model_lines import MODEL_LINES
from holdall.backends.file.problem_log import ProblemLog
from holdall.backends.file.reading import BadMeta, apply_fields, consistently, read_fields, read_labels
from holdall.backends.file.runs import Runs, require_active
from holdall.backends.file.tree import Found, Tree
from holdall.backends.file.writing import FolderWriter, Tails, fill_folder
from holdall.stores.entities import LifecycleStage, LoggedModel, LoggedModelMetric, LoggedModelStatus, Metric
from holdall.stores.points import latest_model_metrics
from holdall.stores.problems import Problem, ProblemKind
from holdall.stores.rules import (
    check_model_params,
    model_artifact_location,
    model_not_found,
    require_active_experiment,
    tag_not_found,
)

__all__ = ["ModelRecord", "Models"]


@dataclass(frozen=True, slots=True)
class ModelRecord:
    """A model as its folder has it.

    Attributes:
        entity: What users see.
        is_deleted: Whether they do not see it any more.
    """

    entity: LoggedModel
    is_deleted: bool


@dataclass(frozen=True, slots=True)
class _OpenModel:
    """A model whose lock is held.

    Attributes:
        place: Where it is.
        experiment: Its experiment.
        writer: Writes to it.
        is_deleted: Whether it is deleted.
    """

    place: Found
    experiment: ExperimentRecord
    writer: FolderWriter[LoggedModelMetric]
    is_deleted: bool


class Models:
    """The logged models of a root; safe to share between threads.

    Locks are taken in the order experiment, run, model.

    Args:
        tree: The folders.
        experiments: Their experiments.
        runs: The runs that measure them.
        locks: Taken for every write.
        log: Where bad items are reported.
        read_only: Take no locks.
    """

    def __init__(
        self, tree: Tree, experiments: Experiments, runs: Runs, locks: Locks, log: ProblemLog, *, read_only: bool
    ) -> None:
        self._tree = tree
        self._experiments = experiments
        self._runs = runs
        self._locks = locks
        self._log = log
        self._read_only = read_only
        self._tails = Tails()
        self._spare = f"{OWN}/spare"

    # Reading

    def get(self, model_id: str) -> LoggedModel | None:
        """The model, or None if there is none or it is deleted.

        Raises:
            DataLoss: There is a folder for it, which cannot be read.
        """
        with self._tree.model(model_id) as found:
            if found is None or found.folder.stat(META) is None:
                return None
            experiment = self._experiments.brief(found.experiment, found.experiment_id)
            record = self._read(found, model_id, experiment, self._log)
            return None if record.is_deleted else record.entity

    def all(self, experiment_ids: Iterable[str]) -> Iterator[LoggedModel]:
        """All models of some experiments that can be read and are not deleted."""
        for experiment_id in experiment_ids:
            with self._tree.experiment(experiment_id) as opened:
                experiment = None if opened is None else self._experiments.try_brief(*opened, experiment_id)
                if opened is None or experiment is None:
                    continue
                for model_id in self._tree.model_ids(opened[0]):
                    record = self.read(*opened, model_id, experiment)
                    if record is not None and not record.is_deleted:
                        yield record.entity

    def read(
        self, folder: Folder, path: str, model_id: str, experiment: ExperimentRecord, log: ProblemLog | None = None
    ) -> ModelRecord | None:
        """Read a model of an experiment; a folder that is no model that can be read is reported.

        Args:
            folder: The experiment's folder.
            path: Its path from the root.
            model_id: The model's folder in its `models`.
            experiment: The experiment.
            log: Where to report; the store's own log by default.
        """
        log = log or self._log
        experiment_id = experiment.entity.experiment_id
        try:
            with self._tree.open_model(folder, model_id) as opened:
                return self._read(Found(folder, path, experiment_id, opened), model_id, experiment, log)
        except CLOSED_DOORS:
            return None
        except BadMeta as bad:
            if bad.kind is not ProblemKind.UNFINISHED or log is not self._log:
                report = log.reporter(_place(path, model_id), experiment_id)
                report(bad.kind, META, f"{bad.reason}; the model is passed over")
            return None

    def _read(
        self, found: Found, model_id: str, experiment: ExperimentRecord, log: ProblemLog, *, is_locked: bool = False
    ) -> ModelRecord:
        def read(pending: Changes | None) -> tuple[ModelRecord, list[Problem]]:
            seen = ProblemLog()
            report = seen.reporter(_place(found.path, model_id), found.experiment_id)
            return _read_contents(found.folder, pending, model_id, experiment, report), seen.problems()

        may_lock = not self._read_only and not is_locked
        locked = self._locks.during(found.experiment, model_lock(model_id), _called(model_id)) if may_lock else None
        record, problems = consistently(found.folder, read, locked)
        for problem in problems:
            log.add(problem)
        return record

    # Creating

    def create(self, model: LoggedModel) -> LoggedModel:
        """Create a model in an active experiment."""
        experiment_id, model_id = model.experiment_id, model.model_id
        with self._experiments.locked(experiment_id) as opened:
            entity = require_active_experiment(None if opened is None else opened.record.entity, experiment_id)
            assert opened is not None
            created = replace(model, artifact_location=model_artifact_location(entity.artifact_location, model_id))
            opened.folder.make(f"{MODELS}/{model_id}")
            with self._tree.open_model(opened.folder, model_id) as folder:
                changes = Changes(params=model.params, tags=model.tags)
                fill_folder(folder, model_fields(created), changes, (METRICS, PARAMS, TAGS), self._spare)
        self._tree.place_model(model_id, experiment_id)
        return created

    # Changing

    @contextmanager
    def _locked(self, model_id: str) -> Iterator[_OpenModel]:
        """A model, deleted or not, that nobody else changes meanwhile."""
        with self._tree.model(model_id) as found:
            if found is None or found.folder.stat(META) is None:
                raise model_not_found(model_id)
            what = _called(model_id)
            with self._locks.hold(found.experiment, model_lock(model_id), what):
                experiment = self._experiments.brief(found.experiment, found.experiment_id)
                writer = FolderWriter(found.folder, what, model_id, self._spare, self._tails, MODEL_LINES)
                record = _record(writer.fields, model_id, experiment, ignore_problems)
                yield _OpenModel(found, experiment, writer, record.is_deleted)

    @contextmanager
    def _active(self, model_id: str) -> Iterator[_OpenModel]:
        """A model that is not deleted and that nobody else changes meanwhile."""
        with self._locked(model_id) as model:
            if model.is_deleted:
                raise model_not_found(model_id)
            yield model

    def finalize(self, model_id: str, status: LoggedModelStatus, time: int) -> LoggedModel:
        """Set status and last update time; the model then."""
        with self._active(model_id) as model:
            model.writer.commit(Changes(info={"status": int(status), MODEL_UPDATED: time}))
            return self._read(model.place, model_id, model.experiment, self._log, is_locked=True).entity

    def delete(self, model_id: str, time: int) -> None:
        """Mark a model deleted, if it is not already."""
        with self._locked(model_id) as model:
            if not model.is_deleted:
                model.writer.commit(Changes(info={STAGE: LifecycleStage.DELETED.value, MODEL_UPDATED: time}))

    def log_data(self, model_id: str, params: dict[str, str], tags: dict[str, str]) -> None:
        """Add params and set tags: all or nothing."""
        with self._active(model_id) as model:
            fresh = check_model_params(model_id, model.writer.known_params(params), params)
            model.writer.commit(Changes(params=fresh, tags=tags))

    def delete_tag(self, model_id: str, key: str) -> None:
        """Delete a tag."""
        with self._active(model_id) as model:
            if not remove_value(model.place.folder, TAGS, key):
                raise tag_not_found(key, f"logged model {model_id!r}")
            model.writer.mark()

    def log_metrics(
        self,
        model_id: str,
        run_id: str,
        metrics: Sequence[Metric],
        dataset_name: str | None,
        dataset_digest: str | None,
    ) -> None:
        """Write points to an active run, then to a model; nothing if there is no such run or model.

        The run's file gets lines without a dataset: MLflow 2 does not read others.
        """
        points = [
            LoggedModelMetric(point.key, point.value, point.timestamp, point.step, run_id, dataset_name, dataset_digest)
            for point in metrics
        ]
        with self._runs.locked(run_id) as (run, experiment), self._active(model_id) as model:
            require_active(run, run_id, experiment)
            run.writer.commit(Changes(metrics=run.writer.new_lines(metrics)))
            model.writer.commit(Changes(metrics=model.writer.new_lines(points)))


def _called(model_id: str) -> str:
    return f"Logged model {model_id!r}"


def _place(path: str, model_id: str) -> str:
    """Path of a model's folder from the root; `path` is that of its experiment."""
    return f"{path}/{MODELS}/{model_id}"


def _record(fields: Fields, model_id: str, experiment: ExperimentRecord, report: Reporter) -> ModelRecord:
    """A model without params, tags and metrics, once its fields say that it is this one.

    Raises:
        BadMeta: They do not, or make no sense.
    """
    for key, expected in (("model_id", model_id), ("experiment_id", experiment.entity.experiment_id)):
        said = fields.get(key)
        if said is not None and not isinstance(said, str | int):
            raise BadMeta(_called(model_id), ProblemKind.MALFORMED, f"has no text as {key}")
        if said is not None and str(said) != expected:
            raise BadMeta(_called(model_id), ProblemKind.MISPLACED, f"says that its {key} is {str(said)[:80]!r}")
    try:
        entity = model_from(
            fields, model_id, experiment.entity, lambda remark: report(ProblemKind.MALFORMED, META, remark)
        )
        return ModelRecord(entity, is_deleted_model(fields))
    except MalformedMeta as error:
        raise BadMeta(_called(model_id), ProblemKind.MALFORMED, str(error)) from None


def _read_contents(
    folder: Folder, pending: Changes | None, model_id: str, experiment: ExperimentRecord, report: Reporter
) -> ModelRecord:
    """Everything of a model, what is pending included."""
    changes = Changes() if pending is None else pending
    fields = apply_fields(read_fields(folder, _called(model_id)), changes.info)
    record = _record(fields, model_id, experiment, report)
    own = folder.stat(OWN) is not None
    entity = replace(
        record.entity,
        params=read_labels(folder, PARAMS, [], report, own=own) | changes.params,
        tags=read_labels(folder, TAGS, [], report, own=own) | changes.tags,
        metrics=latest_model_metrics(_points(folder, changes, report, own=own)),
    )
    return ModelRecord(entity, record.is_deleted)


def _points(folder: Folder, changes: Changes, report: Reporter, *, own: bool) -> Iterator[LoggedModelMetric]:
    for key, data in read_everything(folder, METRICS, [], report, own=own).items():
        if key in changes.metrics:
            data = without_torn_line(data, changes.metrics[key], changes.sizes.get(key, 0))
            if not data:
                continue
        yield from MODEL_LINES.points(key, data, report)
    for key, lines in changes.metrics.items():
        yield from MODEL_LINES.points(key, "\n".join(lines).encode(), report)
