"""Runs: their folders in the folder of their experiment."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TypeVar

from holdall.backends.file.codec import (
    DELETED_TIME,
    DELETION,
    STAGE,
    dataset_fields,
    dataset_from,
    dataset_id,
    input_fields,
    input_from,
    input_id,
    run_fields,
    run_info_from,
    status_number,
)
from holdall.backends.file.experiments import ExperimentRecord, Experiments
from holdall.backends.file.files import Folder, stamp_of
from holdall.backends.file.journal import JOURNAL, Changes
from holdall.backends.file.keyed import Reporter, Stamps, ignore_problems, read_one, remove_value, stamp_everything
from holdall.backends.file.layout import (
    ARTIFACTS,
    DATASETS,
    INPUTS,
    META,
    METRICS,
    OWN,
    PARAMS,
    TAGS,
    is_run_name,
    run_lock,
)
from holdall.backends.file.locks import Locks
from holdall.backends.file.meta import Fields, MalformedMeta, dump_meta, parse_meta
from holdall.backends.file.problem_log import ProblemLog
from holdall.backends.file.reading import BadMeta, Contents, consistently, merge_points, read_contents
from holdall.backends.file.tree import Tree
from holdall.backends.file.writing import FolderWriter, Tails, ensure_run_folders
from holdall.stores.entities import (
    Dataset,
    DatasetInput,
    LifecycleStage,
    Metric,
    Param,
    Run,
    RunData,
    RunInfo,
    RunInputs,
    RunStatus,
)
from holdall.stores.errors import DataLoss
from holdall.stores.names import RUN_NAME_TAG
from holdall.stores.points import history_key
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

__all__ = ["OpenRun", "RunReading", "Runs"]

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
    writer: FolderWriter


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
            status = folder.stat(JOURNAL)
            if status is not None:
                stamps.append((JOURNAL, stamp_of(status)))
            contents = read_contents(folder, _called(run_id), pending, stamps, report)
            info = _info(contents, run_id, record, report)
            inputs = self._inputs(experiment, folder, pending, stamps, report)
            return RunReading(Run(info, _data(contents), inputs), stamps), found.problems()

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
                if folder.stat(INPUTS) is not None:
                    self._inputs(experiment, folder, None, stamps, ignore_problems)
        except (FileNotFoundError, NotADirectoryError):
            return None
        return stamps

    def _locked_reader(self, experiment: Folder, run_id: str) -> Callable[[Callable[[], T]], T] | None:
        if self._read_only:
            return None

        def locked(read: Callable[[], T]) -> T:
            with self._locks.hold(experiment, run_lock(run_id), _called(run_id)):
                return read()

        return locked

    def _inputs(
        self, experiment: Folder, folder: Folder, pending: Changes | None, stamps: Stamps, report: Reporter
    ) -> RunInputs:
        links = {} if pending is None else dict(pending.inputs)
        links.update(_input_files(folder, stamps, report))
        found: list[DatasetInput] = []
        for name in sorted(links):
            try:
                link = input_from(links[name])
                if link is not None:
                    found.append(DatasetInput(_dataset(experiment, link[0], stamps), link[1]))
            except MalformedMeta as error:
                report(ProblemKind.MALFORMED, f"{INPUTS}/{name}/{META}", f"{error}; the input does not count")
        return RunInputs(tuple(found))

    def history(self, query: HistoryQuery) -> list[Metric] | None:
        """The points of a metric after a place, in order; None if there is no such run."""
        with self._tree.run(query.run_id) as found:
            if found is None:
                return None
            if found.folder.stat(META) is None:
                return None
            folder, place = found.folder, f"{found.path}/{query.run_id}"

            def read(pending: Changes | None) -> tuple[list[Metric], list[Problem]]:
                seen = ProblemLog()
                report = seen.reporter(place, found.experiment_id, query.run_id)
                files = read_one(folder, METRICS, query.key)
                return merge_points(query.key, files, pending, report), seen.problems()

            points, problems = consistently(folder, read, self._locked_reader(found.experiment, query.run_id))
        for problem in problems:
            self._log.add(problem)
        if query.after is not None:
            points = [point for point in points if history_key(point) > query.after]
        points.sort(key=history_key)
        return points[: query.limit]

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
                FolderWriter.create(folder, run_fields(info), changes, (METRICS, PARAMS, ARTIFACTS), self._spare)
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
                writer = FolderWriter(found.folder, _called(run_id), run_id, self._spare, self._tails)
                yield OpenRun(found.experiment, found.folder, writer), record

    @contextmanager
    def active(self, run_id: str) -> Iterator[OpenRun]:
        """An active run that nobody else changes meanwhile."""
        with self.locked(run_id) as (run, record):
            contents = Contents(run.writer.fields)
            require_active_run(_info(contents, run_id, record, ignore_problems).lifecycle_stage, run_id)
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
            fresh = check_params(run_id, _known_params(run, run_id, params), params) if params else []
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
                source_id = self._put_dataset(run.experiment, item, run_id)
                link = input_id(source_id, run_id)
                if run.folder.stat(f"{INPUTS}/{link}/{META}") is None:
                    links.setdefault(link, input_fields(source_id, item))
            run.writer.commit(Changes(inputs=links))

    def _put_dataset(self, experiment: Folder, item: DatasetInput, run_id: str) -> str:
        """Write a dataset unless it is there; its id."""
        dataset = item.dataset
        for again in (False, True):
            found = dataset_id(dataset, again=again)
            path = f"{DATASETS}/{found}/{META}"
            known = experiment.read(path)
            if known is None:
                experiment.make(f"{DATASETS}/{found}")
                experiment.make(OWN)
                experiment.put_if_missing(path, dump_meta(dataset_fields(dataset)), f"{OWN}/spare-{run_id[:64]}")
                known = experiment.read(path)
            if known is not None:
                held = _parse_dataset(known, path)
                if (held.name, held.digest) == (dataset.name, dataset.digest):
                    return found
        raise DataLoss(f"Dataset {dataset.name!r} cannot be written: its id is taken by others in {DATASETS}.")


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


def _known_params(run: OpenRun, run_id: str, params: Sequence[Param]) -> dict[str, str]:
    try:
        return run.writer.known_params(params)
    except UnicodeDecodeError:
        raise DataLoss(f"Params of run {run_id!r} cannot be compared: a file in {PARAMS} is not UTF-8 text.") from None


def _input_files(folder: Folder, stamps: Stamps, report: Reporter) -> Iterator[tuple[str, Fields]]:
    try:
        inputs = folder.open(INPUTS)
    except (FileNotFoundError, NotADirectoryError):
        return
    with inputs:
        for name in inputs.folders():
            path = f"{INPUTS}/{name}/{META}"
            if not is_run_name(name):
                continue
            try:
                found = inputs.read_with_status(f"{name}/{META}")
                if found is None:
                    raise MalformedMeta("is missing")
                stamps.append((path, stamp_of(found[1])))
                yield name, parse_meta(found[0])
            except (MalformedMeta, OSError) as error:
                reason = str(error) if isinstance(error, MalformedMeta) else "cannot be read"
                report(ProblemKind.MALFORMED, path, f"{reason}; the input does not count")


def _dataset(experiment: Folder, source_id: str, stamps: Stamps) -> Dataset:
    if not is_run_name(source_id):
        raise MalformedMeta("names no dataset")
    path = f"{DATASETS}/{source_id}/{META}"
    try:
        found = experiment.read_with_status(path)
    except OSError:
        raise MalformedMeta(f"refers to {path}, which cannot be read") from None
    if found is None:
        raise MalformedMeta(f"refers to {path}, which is missing")
    stamps.append((f"../{path}", stamp_of(found[1])))
    return dataset_from(parse_meta(found[0]))


def _parse_dataset(data: bytes, path: str) -> Dataset:
    try:
        return dataset_from(parse_meta(data))
    except MalformedMeta as error:
        raise DataLoss(f"A dataset cannot be used: {path} {error}; restore or remove it.") from None
