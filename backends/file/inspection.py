"""Looking through a whole folder for what is wrong in it, and what is no part of a store."""

from __future__ import annotations

import os
from collections.abc import Callable

from holdall.backends.file.experiments import Experiments
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
    is_run_name,
)
from holdall.backends.file.metric_lines import read_points
from holdall.backends.file.problem_log import ProblemLog
from holdall.backends.file.runs import Runs
from holdall.backends.file.tree import Tree
from holdall.stores.problems import Problem, ProblemKind

__all__ = ["find_problems"]

_IN_EXPERIMENT = frozenset({META, OWN, TAGS, DATASETS, MODELS, TRACES})
_IN_RUN = frozenset({META, OWN, TAGS, PARAMS, METRICS, INPUTS, OUTPUTS, ARTIFACTS})


def find_problems(tree: Tree, experiments: Experiments, runs: Runs) -> list[Problem]:
    """Everything that is wrong below a root, by path; artifacts are not looked at."""
    log = ProblemLog()
    with tree.open_root() as root:
        _look_for_others(root, log.reporter(""), frozenset({TRASH, MODELS}), is_experiment_name)
        if root.stat(TRASH) is None:
            log.reporter("")(ProblemKind.MISSING, TRASH, "is missing; MLflow does not open the store without it")
        else:
            with root.open(TRASH) as trash:
                _look_for_others(trash, log.reporter(TRASH), frozenset(), is_experiment_name)
    for experiment_id in tree.experiment_ids():
        with tree.experiment(experiment_id) as opened:
            if opened is not None:
                _inspect_experiment(*opened, experiment_id, log, tree, experiments, runs)
    return log.problems()


def _inspect_experiment(
    folder: Folder, path: str, experiment_id: str, log: ProblemLog, tree: Tree, experiments: Experiments, runs: Runs
) -> None:
    report = log.reporter(path, experiment_id)
    _look_for_others(folder, report, _IN_EXPERIMENT, is_run_name)
    record = experiments.record(folder, path, experiment_id, log)
    if record is None:
        return
    for run_id in tree.run_ids(folder):
        runs.read(folder, run_id, record, log, path=path)
        with folder.open(run_id) as run:
            _inspect_run(run, log.reporter(f"{path}/{run_id}", experiment_id, run_id))


def _inspect_run(run: Folder, report: Reporter) -> None:
    """What reading a run does not look at: other things in its folder, and points that are stored more than once."""
    _look_for_others(run, report, _IN_RUN, lambda _: False)
    for key, data in read_everything(run, METRICS, [], ignore_problems, own=True).items():
        repeated = read_points(key, data, ignore_problems).repeated
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
