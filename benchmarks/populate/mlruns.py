"""Fill a folder in MLflow's layout (`mlruns/`): the same files for every side. Standard library only."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from benchmarks.workload import (
    EXPERIMENT,
    EXPERIMENT_ID,
    HISTORY_KEY,
    HISTORY_RUN,
    START,
    Scale,
    StoredRun,
    iterate_runs,
    points,
)

__all__ = ["count_rows", "create_root", "insert_experiment", "populate", "write_tag"]

_EXPERIMENT_FOLDER = str(EXPERIMENT_ID)
_COUNTED = ("metrics", "params", "tags")
_FINISHED = 3
_PLAIN = re.compile(r"(?![0-9.]+$)[A-Za-z0-9/][\w./:-]*(?<!:)", re.ASCII)
"""Texts that YAML needs no quotes for, as far as they occur here."""

Value = str | int | list[str] | None


def create_root(root: Path) -> None:
    """Make a store that holds nothing but the default experiment, as MLflow makes it."""
    (root / ".trash").mkdir(parents=True)
    _write_experiment(root, "0", "Default")


def insert_experiment(root: Path) -> None:
    """Add the experiment of the benchmark."""
    _write_experiment(root, _EXPERIMENT_FOLDER, EXPERIMENT)


def populate(root: Path, scale: Scale) -> None:
    """Add the runs that searches go through, and the run with the long history."""
    for run in iterate_runs(scale.runs):
        _write_run(root, run, "active")
    # Deleted, so that searches do not meet it.
    history = StoredRun(HISTORY_RUN, "history", START, (), (), (("mlflow.runName", "history"),))
    folder = _write_run(root, history, "deleted")
    with (folder / "metrics" / HISTORY_KEY).open("w", encoding="utf-8") as file:
        file.writelines(f"{point.timestamp} {point.value!r} {point.step}\n" for point in points(scale.points))


def write_tag(root: Path, run_id: str, key: str, value: str) -> None:
    """Set a tag of a run in the way that MLflow does: by overwriting its file."""
    (root / _EXPERIMENT_FOLDER / run_id / "tags" / key).write_text(value, encoding="utf-8")


def count_rows(root: Path) -> list[int]:
    """What logging has left in the experiment of the benchmark: runs, metric points, params, tags."""
    runs = [meta.parent for meta in (root / _EXPERIMENT_FOLDER).glob("*/meta.yaml")]
    metrics, params, tags = ([file for run in runs for file in (run / kind).iterdir()] for kind in _COUNTED)
    return [len(runs), sum(map(_count_lines, metrics)), len(params), len(tags)]


def _write_experiment(root: Path, experiment_id: str, name: str) -> None:
    folder = root / experiment_id
    folder.mkdir()
    meta: dict[str, Value] = {
        "artifact_location": str(folder),
        "creation_time": START,
        "experiment_id": experiment_id,
        "last_update_time": START,
        "lifecycle_stage": "active",
        "name": name,
    }
    _write_yaml(folder / "meta.yaml", meta)


def _write_run(root: Path, run: StoredRun, stage: str) -> Path:
    folder = root / _EXPERIMENT_FOLDER / run.run_id
    folder.mkdir()
    for name in ("artifacts", *_COUNTED):
        (folder / name).mkdir()
    _write_yaml(folder / "meta.yaml", _run_meta(folder, run, stage))
    _write_texts(folder / "metrics", ((key, f"{run.start_time} {value!r} 0\n") for key, value in run.metrics))
    _write_texts(folder / "params", run.params)
    _write_texts(folder / "tags", run.tags)
    return folder


def _run_meta(folder: Path, run: StoredRun, stage: str) -> dict[str, Value]:
    return {
        "artifact_uri": str(folder / "artifacts"),
        "deleted_time": None if stage == "active" else START,
        "end_time": run.start_time + 500,
        "entry_point_name": "",
        "experiment_id": _EXPERIMENT_FOLDER,
        "lifecycle_stage": stage,
        "run_id": run.run_id,
        "run_name": run.name,
        "run_uuid": run.run_id,
        "source_name": "",
        "source_type": 4,
        "source_version": "",
        "start_time": run.start_time,
        "status": _FINISHED,
        "tags": [],
        "user_id": "bench",
    }


def _write_texts(folder: Path, texts: Iterable[tuple[str, str]]) -> None:
    for key, text in texts:
        (folder / key).write_text(text, encoding="utf-8")


def _write_yaml(path: Path, values: Mapping[str, Value]) -> None:
    path.write_text("".join(f"{key}: {_scalar(value)}\n" for key, value in values.items()), encoding="utf-8")


def _scalar(value: Value) -> str:
    if isinstance(value, str):
        return value if _PLAIN.fullmatch(value) else "'" + value.replace("'", "''") + "'"
    return "null" if value is None else str(value)


def _count_lines(path: Path) -> int:
    return path.read_bytes().count(b"\n")
