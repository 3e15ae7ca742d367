"""Looking through a whole folder for what is wrong in it, and what is no part of a store."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable

from holdall.backends.file.experiments import ExperimentRecord, Experiments
from holdall.backends.file.files import Folder
from holdall.backends.file.keyed import Reporter, ignore_problems, read_everything
from holdall.backends.file.layout import (
    ARTIFACTS,
    DATASETS,
    INPUTS,
    META,
    METRICS,
    MODELS,
    OUTPUTS,
    OWN,
    PARAMS,
    TAGS,
    TRACES,
    TRASH,
    is_experiment_name,
    is_model_id,
    is_run_name,
)
from holdall.backends.file.metric_lines import RUN_LINES, LineFormat, P
from holdall.backends.file.model_lines import MODEL_LINES
from holdall.backends.file.models import Models
from holdall.backends.file.problem_log import ProblemLog
from holdall.backends.file.runs import Runs
from holdall.backends.file.tree import Tree
from holdall.stores.problems import Problem, ProblemKind

__all__ = ["find_problems"]

_IN_EXPERIMENT = frozenset({META, OWN, TAGS, DATASETS, MODELS, TRACES})
_IN_RUN = frozenset({META, OWN, TAGS, PARAMS, METRICS, INPUTS, OUTPUTS, ARTIFACTS})
_IN_MODEL = frozenset({META, OWN, TAGS, PARAMS, METRICS, ARTIFACTS})


def find_problems(tree: Tree, experiments: Experiments, runs: Runs, models: Models) -> list[Problem]:
    """Everything that is wrong below a root, by path; artifacts are not looked at."""
    log = ProblemLog()
    with tree.open_root() as root:
        _look_for_others(root, log.reporter(""), frozenset({TRASH, MODELS}), is_experiment_name)
        status = root.stat(TRASH)
        if status is None:
            log.reporter("")(ProblemKind.MISSING, TRASH, "is missing; MLflow does not open the store without it")
        elif not stat.S_ISDIR(status.st_mode):
            log.reporter("")(ProblemKind.UNREADABLE, TRASH, "is no folder, or a link; deleted experiments are not read")
        else:
            with root.open(TRASH) as trash:
                _look_for_others(trash, log.reporter(TRASH), frozenset(), is_experiment_name)
    for experiment_id in tree.experiment_ids():
        with tree.experiment(experiment_id) as opened:
            if opened is None:
                log.reporter("", experiment_id)(ProblemKind.UNREADABLE, experiment_id, "cannot be read, or is gone")
            else:
                record = _inspect_experiment(*opened, experiment_id, log, experiments)
                if record is not None:
                    _inspect_runs(*opened, record, log, tree, runs)
                    _inspect_models(*opened, record, log, tree, models)
    return log.problems()


def _inspect_experiment(
    folder: Folder, path: str, experiment_id: str, log: ProblemLog, experiments: Experiments
) -> ExperimentRecord | None:
    """Look at all of an experiment but its runs and models; None if it is none."""
    _look_for_others(folder, log.reporter(path, experiment_id), _IN_EXPERIMENT, is_run_name)
    return experiments.record(folder, path, experiment_id, log)


def _inspect_runs(folder: Folder, path: str, record: ExperimentRecord, log: ProblemLog, tree: Tree, runs: Runs) -> None:
    for run_id in tree.run_ids(folder):
        runs.read(folder, run_id, record, log, path=path)
        run = folder.try_open(run_id)
        if run is None:
            continue
        with run:
            report = log.reporter(f"{path}/{run_id}", record.entity.experiment_id, run_id)
            _look_for_others(run, report, _IN_RUN, lambda _: False)
            _look_for_repetitions(run, RUN_LINES, report)


def _inspect_models(
    folder: Folder, path: str, record: ExperimentRecord, log: ProblemLog, tree: Tree, models: Models
) -> None:
    experiment_id = record.entity.experiment_id
    _look_into_shelf(folder, log.reporter(path, experiment_id), log.reporter(f"{path}/{MODELS}", experiment_id))
    for model_id in tree.model_ids(folder):
        models.read(folder, path, model_id, record, log)
        model = folder.try_open(f"{MODELS}/{model_id}")
        if model is None:
            continue
        with model:
            report = log.reporter(f"{path}/{MODELS}/{model_id}", experiment_id)
            _look_for_others(model, report, _IN_MODEL, lambda _: False)
            _look_for_repetitions(model, MODEL_LINES, report)


def _look_into_shelf(folder: Folder, report: Reporter, report_inside: Reporter) -> None:
    """Report what is in an experiment's folder of models besides models."""
    try:
        with folder.open(MODELS) as shelf:
            _look_for_others(shelf, report_inside, frozenset(), is_model_id)
    except FileNotFoundError:
        pass
    except NotADirectoryError:
        report(ProblemKind.UNREADABLE, MODELS, "is no folder, or a link; the models of the experiment do not count")


def _look_for_repetitions(folder: Folder, lines: LineFormat[P], report: Reporter) -> None:
    """Report points that are stored more than once, which reading does not look at."""
    for key, data in read_everything(folder, METRICS, [], ignore_problems, own=True).items():
        repeated = lines.read(key, data, ignore_problems).repeated
        if repeated:
            report(ProblemKind.DUPLICATE, f"{METRICS}/{key}", f"has {repeated} points more than once; each counts once")


def _look_for_others(
    folder: Folder, report: Reporter, expected: frozenset[str], is_expected_folder: Callable[[str], bool]
) -> None:
    """Report what is in a folder besides what belongs there."""
    with os.scandir(folder.fd) as entries:
        for entry in entries:
            if entry.name in expected or entry.name.startswith(OWN):
                continue
            if not is_expected_folder(entry.name):
                report(ProblemKind.FOREIGN, entry.name, "is no part of a store; it is left alone")
            elif entry.is_symlink():
                report(ProblemKind.UNREADABLE, entry.name, "is a link, and is not followed")
            elif not entry.is_dir():
                report(ProblemKind.FOREIGN, entry.name, "is no part of a store; it is left alone")
