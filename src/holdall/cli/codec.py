"""Entities as `--json` prints them; times are milliseconds since the epoch, UTC."""

from __future__ import annotations

from dataclasses import asdict

from holdall.stores.entities import Experiment, FileInfo, Run

__all__ = ["experiment_json", "file_json", "run_json"]


def experiment_json(experiment: Experiment) -> dict[str, object]:
    """An experiment."""
    return asdict(experiment)


def run_json(run: Run) -> dict[str, object]:
    """A run: its info, and its metrics, params and tags as objects by key."""
    inputs = [
        {**asdict(item.dataset), "tags": {tag.key: tag.value for tag in item.tags}}
        for item in run.inputs.dataset_inputs
    ]
    data = {"metrics": run.data.metrics, "params": run.data.params, "tags": run.data.tags}
    return {**asdict(run.info), **data, "datasets": inputs}


def file_json(info: FileInfo) -> dict[str, object]:
    """A file or folder; its size is in bytes."""
    return asdict(info)
