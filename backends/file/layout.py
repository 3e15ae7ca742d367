"""The names of MLflow's `mlruns/` layout, and those that holdall adds where MLflow does not look.

In the root MLflow takes every folder for an experiment, and passes over files: there holdall adds files only. In the
folder of an experiment, a run or a logged model it passes over a folder `.holdall`.
"""

from __future__ import annotations

import re

__all__ = [
    "ARTIFACTS",
    "DATASETS",
    "EXPERIMENT_LOCK",
    "INDEX_PREFIX",
    "INPUTS",
    "LOCKS",
    "META",
    "METRICS",
    "MODELS",
    "NEW",
    "OUTPUTS",
    "OWN",
    "PARAMS",
    "ROOT_LOCK",
    "TAGS",
    "TRACES",
    "TRASH",
    "is_experiment_name",
    "is_model_id",
    "is_run_name",
    "model_lock",
    "run_lock",
]

META = "meta.yaml"
TRASH = ".trash"
MODELS = "models"
TAGS, PARAMS, METRICS = "tags", "params", "metrics"
INPUTS, OUTPUTS, ARTIFACTS = "inputs", "outputs", "artifacts"
DATASETS, TRACES = "datasets", "traces"
_NOT_RUNS = frozenset({TAGS, DATASETS, MODELS, TRACES})

OWN = ".holdall"
"""Folder in an experiment, a run or a logged model for what is holdall's: journal, locks, keys that name no file."""

NEW = f"{OWN}/new"
"""The `meta.yaml` of what is being created, until everything else is there."""

LOCKS = f"{OWN}/locks"
EXPERIMENT_LOCK = f"{LOCKS}/.experiment"
ROOT_LOCK = ".holdall-lock"
INDEX_PREFIX = ".holdall-index"

_EXPERIMENT = re.compile(r"[a-zA-Z0-9][\w\-]{0,63}")
_RUN = re.compile(r"[a-zA-Z0-9][\w\-]{0,255}")
_MODEL = re.compile(r"m-[0-9a-f]{32}")


def is_experiment_name(name: str) -> bool:
    """Whether a folder of the root may be an experiment."""
    return name != MODELS and _EXPERIMENT.fullmatch(name) is not None


def is_run_name(name: str) -> bool:
    """Whether a folder of an experiment may be a run."""
    return name not in _NOT_RUNS and _RUN.fullmatch(name) is not None


def is_model_id(name: str) -> bool:
    """Whether a folder of an experiment's `models` may be a logged model."""
    return _MODEL.fullmatch(name) is not None


def run_lock(run_id: str) -> str:
    """The lock of a run, in the folder of its experiment."""
    return f"{LOCKS}/{run_id}"


def model_lock(model_id: str) -> str:
    """The lock of a logged model, in the folder of its experiment; no run's, since those begin without a dot."""
    return f"{LOCKS}/.{model_id}"
