"""Runs: their folders in the folder of their experiment."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from holdall.backends.file.codec import (
    DELETED_TIME,
    DELETION,
    STAGE,
    input_fields,
    input_id,
    model_input_fields,
    output_fields,
    run_fields,
    run_info_from,
    status_number,
)
from holdall.backends.file.experiments import ExperimentRecord, Experiments
from holdall.backends.file.files import CLOSED_DOORS, Folder, stamp_of
from holdall.backends.file.journal import JOURNAL, Changes
from holdall.backends.file.keyed import Reporter, Stamps, ignore_problems, read_one, remove_value, stamp_everything
from holdall.backends.file.layout import (
    ARTIFACTS,
    INPUTS,
    META,
    METRICS,
    OUTPUTS,
    OWN,
    PARAMS,
    TAGS,
    run_lock,
)
from holdall.backends.file.links import missing_links, put_dataset, read_links
from holdall.backends.file.locks import Locks
from holdall.backends.file.meta import Fields, MalformedMeta
from holdall.backends.file.metric_lines import RUN_LINES
from holdall.backends.file.problem_log import ProblemLog
from holdall.backends.file.reading import BadMeta, Contents, consistently, merge_points, read_contents
from holdall.backends.file.tree import Tree
from holdall.backends.file.writing import FolderWriter, Tails, ensure_run_folders, fill_folder
from holdall.stores.entities import DatasetInput, LifecycleStage, Metric, Param, Run, RunData, RunInfo, RunStatus
from holdall.stores.names import RUN_NAME_TAG
from holdall.stores.problems import Problem, ProblemKind
from holdall.stores.queries import HistoryQuery
from holdall.stores.rules import (
    check_params,
    require_active_experiment,
    require_active_run,
    run_artifact_uri,
    run_not_found,
    tag_not_found,
)

__all__ = ["OpenRun", "RunReading", "Runs", "require_active"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RunReading:
    """What the reading of a run's folder came to.

    Attributes:
        run: The run; None if the folder holds none that can be read.
        stamps: The files that were read.
    """

    run: Run | None
    stamps: Stamps


@dataclass(frozen=True, slots=True)
class OpenRun:
    """An active run whose lock is held.

    Attributes:
        experiment: Folder of its experiment.
        folder: Its folder.
        writer: Writes to it.
    """

    experiment: Folder
    folder: Folder
    writer: FolderWriter[Metric]


class Runs:
    """The runs of a root; safe to share between threads.

    Args:
        tree: The folders.
        experiments: Their experiments.
        locks: Taken for every write.
        log: Where bad items are reported.
        read_only: Take no locks.
    """

    def __init__(self, tree: Tree, experiments: Experiments, locks: Locks, log: ProblemLog, *, read_only: bool) -> None:
        self._tree = tree
        self._experiments = experiments
        self._locks = locks
        self._log = log
        self._read_only = read_only
        self._tails = Tails()
        self._spare = f"{OWN}/spare"

    # Reading

    def get(self, run_id: str) -> Run | None:
        """The run, or None if there is none.

        Raises:
            DataLoss: There is a folder for it, which cannot be read.
        """
        with self._tree.run(run_id) as found:
            if found is None:
                return None
            if found.folder.stat(META) is None:
                return None
            record = self._experiments.brief(found.experiment, found.experiment_id)
            return self._read(found.experiment, found.folder, run_id, record, self._log, found.path).run

    def read(
        self,
        experiment: Folder,
        run_id: str,
        record: ExperimentRecord,
        log: ProblemLog | None = None,
        path: str | None = None,
    ) -> RunReading:
        """Read a folder of an experiment; one that is no run that can be read is reported.

        Args:
            experiment: The experiment's folder.
            run_id: The folder in it.
            record: The experiment.
            log: Where to report; the store's own log by default.
            path: Path of the experiment's folder, for reports.
        """
        log = log or self._log
        try:
            with experiment.open(run_id) as folder:
                return self._read(experiment, folder, run_id, record, log, path)
        except PermissionError:
            _reporter(log, record, run_id, path)(ProblemKind.UNREADABLE, ".", "may not be entered; it is passed over")
            return RunReading(None, [])
        except (FileNotFoundError, NotADirectoryError):
            return RunReading(None, [])
        except BadMeta as bad:
            report = _reporter(log, record, run_id, path)
            if bad.kind is not ProblemKind.UNFINISHED or log is not self._log:
                report(bad.kind, META, f"{bad.reason}; the run is passed over")
            return RunReading(None, [])

    def _read(
        self,
        experiment: Folder,
        folder: Folder,
        run_id: str,
        record: ExperimentRecord,
        log: ProblemLog,
        path: str | None = None,
    ) -> RunReading:
        def read(pending: Changes | None) -> tuple[RunReading, list[Problem]]:
            found = ProblemLog()
            report = _reporter(found, record, run_id, path)
            stamps: Stamps = []
            status = None if folder.stat(OWN) is None else folder.stat(JOURNAL)
            if status is not None:
                stamps.append((JOURNAL, stamp_of(status)))
            contents = read_contents(folder, _called(run_id), pending, stamps, report)
            info = _info(contents, run_id, record, report)
            links = read_links(experiment, folder, pending, stamps, report)
            return RunReading(Run(info, _data(contents), *links), stamps), found.problems()

        reading, problems = consistently(folder, read, self._locked_reader(experiment, run_id))
        for problem in problems:
            log.add(problem)
        return reading

    def stamps(self, experiment: Folder, run_id: str) -> Stamps | None:
        """The stamps that reading a run now would come upon, without reading it; None if it is gone."""
        stamps: Stamps = []
        try:
            with experiment.open(run_id) as folder:
                for path in (JOURNAL, META):
                    status = folder.stat(path)
                    if status is not None:
                        stamps.append((path, stamp_of(status)))
                for kind in (PARAMS, TAGS, METRICS):
                    stamp_everything(folder, kind, stamps)
                read_links(experiment, folder, None, stamps, ignore_problems)
        except CLOSED_DOORS:
            return None
        return stamps

    def _locked_reader(self, experiment: Folder, run_id: str) -> Callable[[Callable[[], T]], T] | None:
        return None if self._read_only else self._locks.during(experiment, run_lock(run_id), _called(run_id))

    def history(self, query: HistoryQuery) -> list[Metric] | None:
        """The points of a metric after a place, in order; None if there is no such run."""
        with self._tree.run(query.run_id) as found:
            if found is None:
                return None
            if found.folder.stat(META) is None:
                return None
            folder, place = found.folder, f"{found.path}/{query.run_id}"

            def read(pending: Changes | None) -> tuple[dict[Any, Metric], list[Problem]]:
                seen = ProblemLog()
                report = seen.reporter(place, found.experiment_id, query.run_id)
                files = read_one(folder, METRICS, query.key, report)
                return merge_points(query.key, files, pending, report), seen.problems()

            points, problems = consistently(folder, read, self._locked_reader(found.experiment, query.run_id))
        for problem in problems:
            self._log.add(problem)
        after = None if query.after is None else tuple(value for _, value in query.after)
        places = sorted(place for place in points if after is None or place > after)
        return [points[place] for place in places[: query.limit]]

    # Creating

    def create(self, run: Run) -> Run:
        """Create a run in an active experiment."""
        experiment_id, run_id = run.info.experiment_id, run.info.run_id
        with self._experiments.locked(experiment_id) as opened:
            entity = require_active_experiment(None if opened is None else opened.record.entity, experiment_id)
            assert opened is not None
            info = replace(run.info, artifact_uri=run_artifact_uri(entity.artifact_location, run_id))
            opened.folder.make(run_id)
            with opened.folder.open(run_id) as folder:
                changes = Changes(tags=run.data.tags)
                fill_folder(folder, run_fields(info), changes, (METRICS, PARAMS, ARTIFACTS), self._spare)
        self._tree.place_run(run_id, experiment_id)
        return Run(info, run.data)

    # Changing

    @contextmanager
    def locked(self, run_id: str) -> Iterator[tuple[OpenRun, ExperimentRecord]]:
        """A run in whatever stage that nobody else changes meanwhile."""
        with self._tree.run(run_id) as found:
            if found is None or found.folder.stat(META) is None:
                raise run_not_found(run_id)
            with self._locks.hold(found.experiment, run_lock(run_id), _called(run_id)):
                record = self._experiments.brief(found.experiment, found.experiment_id)
                writer = FolderWriter(found.folder, _called(run_id), run_id, self._spare, self._tails, RUN_LINES)
                yield OpenRun(found.experiment, found.folder, writer), record

    @contextmanager
    def active(self, run_id: str) -> Iterator[OpenRun]:
        """An active run that nobody else changes meanwhile."""
        with self.locked(run_id) as (run, record):
            require_active(run, run_id, record)
            yield run

    def update(self, run_id: str, status: RunStatus | None, end_time: int | None, run_name: str | None) -> RunInfo:
        """Set what is not None."""
        with self.locked(run_id) as (run, record):
            before = self._current_info(run, run_id, record)
            require_active_run(before.lifecycle_stage, run_id)
            info: Fields = {}
            if status is not None:
                info["status"] = status_number(status)
            if end_time is not None:
                info["end_time"] = end_time
            if run_name is not None:
                info["run_name"] = run_name
            if info:
                ensure_run_folders(run.folder)
                info[DELETED_TIME] = None
            run.writer.commit(Changes(info=info, tags={} if run_name is None else {RUN_NAME_TAG: run_name}))
            return self._current_info(run, run_id, record)

    def _current_info(self, run: OpenRun, run_id: str, record: ExperimentRecord) -> RunInfo:
        tag = read_one(run.folder, TAGS, RUN_NAME_TAG)
        tags = {RUN_NAME_TAG: tag[0].decode("utf-8", "replace")} if tag else {}
        return _info(Contents(run.writer.fields, tags=tags), run_id, record, ignore_problems)

    def delete(self, run_id: str, time: int) -> None:
        """Mark a run deleted, if it is not already."""
        with self.locked(run_id) as (run, record):
            if self._current_info(run, run_id, record).lifecycle_stage == LifecycleStage.ACTIVE:
                change: Fields = {STAGE: LifecycleStage.DELETED.value, DELETED_TIME: time, DELETION: None}
                run.writer.commit(Changes(info=change))

    def restore(self, run_id: str) -> None:
        """Mark a run active, if it is not already."""
        with self.locked(run_id) as (run, record):
            if self._current_info(run, run_id, record).lifecycle_stage == LifecycleStage.DELETED:
                change: Fields = {STAGE: LifecycleStage.ACTIVE.value, DELETED_TIME: None, DELETION: None}
                run.writer.commit(Changes(info=change))

    def log_batch(self, run_id: str, metrics: Sequence[Metric], params: Sequence[Param], tags: dict[str, str]) -> None:
        """Write all or nothing to an active run."""
        with self.active(run_id) as run:
            known = run.writer.known_params(param.key for param in params)
            fresh = check_params(run_id, known, params)
            name = tags.get(RUN_NAME_TAG)
            run.writer.commit(
                Changes(
                    info={} if name is None else {"run_name": name},
                    params={param.key: param.value for param in fresh},
                    tags=tags,
                    metrics=run.writer.new_lines(metrics) if metrics else {},
                )
            )

    def delete_tag(self, run_id: str, key: str) -> None:
        """Delete a tag of an active run."""
        with self.active(run_id) as run:
            if not remove_value(run.folder, TAGS, key):
                raise tag_not_found(key, f"run {run_id!r}")
            run.writer.mark()

    def log_inputs(self, run_id: str, datasets: Sequence[DatasetInput]) -> None:
        """Link datasets to an active run: all or nothing."""
        with self.active(run_id) as run:
            links: dict[str, Fields] = {}
            for item in datasets:
                source_id = put_dataset(run.experiment, item.dataset, run_id)
                links.setdefault(input_id(source_id, run_id), input_fields(source_id, item))
            run.writer.commit(Changes(inputs=missing_links(run.folder, INPUTS, links)))

    def link_models(self, run_id: str, inputs: Sequence[str], outputs: Mapping[str, int]) -> None:
        """Link models to an active run: all or nothing; links that are there stay as they are."""
        with self.active(run_id) as run:
            used = {input_id(model_id, run_id): model_input_fields(model_id) for model_id in inputs}
            made = {model_id: output_fields(model_id, step) for model_id, step in outputs.items()}
            run.writer.commit(
                Changes(
                    inputs=missing_links(run.folder, INPUTS, used),
                    outputs=missing_links(run.folder, OUTPUTS, made),
                )
            )


def require_active(run: OpenRun, run_id: str, experiment: ExperimentRecord) -> None:
    """Check that a run may be changed.

    Raises:
        InvalidParameterValue: It is deleted.
        BadMeta: Its `meta.yaml` makes no sense.
    """
    info = _info(Contents(run.writer.fields), run_id, experiment, ignore_problems)
    require_active_run(info.lifecycle_stage, run_id)


def _called(run_id: str) -> str:
    return f"Run {run_id!r}"


def _reporter(log: ProblemLog, record: ExperimentRecord, run_id: str, path: str | None) -> Reporter:
    experiment_id = record.entity.experiment_id
    return log.reporter(f"{path or experiment_id}/{run_id}", experiment_id, run_id)


def _info(contents: Contents, run_id: str, record: ExperimentRecord, report: Reporter) -> RunInfo:
    """The info of a run, once its fields say that it is this one.

    Raises:
        BadMeta: They do not, or make no sense.
    """
    fields, experiment_id = contents.fields, record.entity.experiment_id
    for key, expected in (("run_id", run_id), ("experiment_id", experiment_id)):
        said = fields.get(key, fields.get("run_uuid") if key == "run_id" else None)
        if said is not None and not isinstance(said, str | int):
            raise BadMeta(_called(run_id), ProblemKind.MALFORMED, f"has no text as {key}")
        if said is not None and str(said) != expected:
            raise BadMeta(_called(run_id), ProblemKind.MISPLACED, f"says that its {key} is {str(said)[:80]!r}")
    try:
        return run_info_from(
            fields,
            run_id,
            record.entity,
            record.transition,
            contents.tags.get(RUN_NAME_TAG, ""),
            lambda remark: report(ProblemKind.MALFORMED, META, remark),
        )
    except MalformedMeta as error:
        raise BadMeta(_called(run_id), ProblemKind.MALFORMED, str(error)) from None


def _data(contents: Contents) -> RunData:
    return RunData(
        metrics={key: point.value for key, point in contents.metrics.items()},
        params=contents.params,
        tags=contents.tags,
        metric_points={key: (point.timestamp, point.step) for key, point in contents.metrics.items()},
    )
