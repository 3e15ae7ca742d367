"""Folders of logged models for tests: opened, looked into, spoilt."""

from __future__ import annotations

from pathlib import Path

from holdall.backends.file.store import FileBackendStore
from holdall.stores import Problem, StoreURI

__all__ = ["OTHER", "edit_meta", "kinds", "latest", "metric_lines", "open_folder", "write_metric"]

OTHER = "m-" + "1" * 32
"""Id of a model that is nowhere."""


def open_folder(root: Path, *, read_only: bool = False, use_index: bool = True) -> FileBackendStore:
    """Open a store."""
    return FileBackendStore(StoreURI.parse(str(root)), read_only=read_only, use_index=use_index)


def metric_lines(folder: Path, key: str = "m") -> list[str]:
    """The lines of a model's metric."""
    return (folder / "metrics" / key).read_text("utf-8").splitlines()


def write_metric(folder: Path, data: bytes, key: str = "m") -> None:
    """Replace a model's metric file."""
    (folder / "metrics" / key).write_bytes(data)


def latest(store: FileBackendStore, model: str) -> list[tuple[object, ...]]:
    """Value, run, name and digest of the latest points."""
    found = store.get_logged_model(model).metrics
    return [(point.value, point.run_id, point.dataset_name, point.dataset_digest) for point in found]


def kinds(problems: list[Problem]) -> list[tuple[str, str]]:
    """Kind and path of each."""
    return [(problem.kind.value, problem.path) for problem in problems]


def edit_meta(folder: Path, **fields: str | None) -> None:
    """Give fields of a model's `meta.yaml` other text, or remove them."""
    meta = folder / "meta.yaml"
    lines = [line for line in meta.read_text("utf-8").splitlines() if line.partition(":")[0] not in fields]
    lines += [f"{key}: {value}" for key, value in fields.items() if value is not None]
    meta.write_text("\n".join(lines) + "\n", "utf-8")
