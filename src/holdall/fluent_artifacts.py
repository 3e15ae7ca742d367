"""Fluent calls that log files to the active run; without one, they begin one that stays active."""

from __future__ import annotations

import os
from collections.abc import Mapping

from holdall.fluent_target import current_run, run_target
from holdall.images import ArrayLike
from holdall.stores.paths import validate_artifact_path
from holdall.stores.uri import StoreURI
from holdall.tables import TableData

__all__ = [
    "get_artifact_uri",
    "log_artifact",
    "log_artifacts",
    "log_dict",
    "log_figure",
    "log_image",
    "log_table",
    "log_text",
]


def log_artifact(
    local_path: str | os.PathLike[str], artifact_path: str | None = None, run_id: str | None = None
) -> None:
    """Upload a file, or a folder with its name and all it holds.

    Args:
        local_path: File or folder on this machine.
        artifact_path: Folder among the run's artifacts; their root if None.
        run_id: Another run than the active one.

    Raises:
        NotFound: There is no such local file (then a `FileNotFoundError` too) or run.
        InvalidParameterValue: A path is refused.
    """
    client, target = run_target(run_id)
    client.log_artifact(target, local_path, artifact_path)


def log_artifacts(
    local_dir: str | os.PathLike[str], artifact_path: str | None = None, run_id: str | None = None
) -> None:
    """Upload what a folder holds, hidden files included.

    Args:
        local_dir: Folder on this machine.
        artifact_path: Folder among the run's artifacts; their root if None.
        run_id: Another run than the active one.

    Raises:
        NotFound: There is no such local folder (then a `FileNotFoundError` too) or run.
        InvalidParameterValue: It is no folder, or a path is refused.
    """
    client, target = run_target(run_id)
    client.log_artifacts(target, local_dir, artifact_path)


def log_text(text: str, artifact_file: str, run_id: str | None = None) -> None:
    """Write text as a UTF-8 file among the run's artifacts.

    Raises:
        InvalidParameterValue: It is not text, or the path is refused.
        NotFound: There is no such run.
    """
    client, target = run_target(run_id)
    client.log_text(target, text, artifact_file)


def log_dict(dictionary: Mapping[str, object] | list[object], artifact_file: str, run_id: str | None = None) -> None:
    """Write a dict or list as YAML if the name ends in `.yml` or `.yaml`, as JSON otherwise.

    Raises:
        InvalidParameterValue: It cannot be written, or the path is refused.
        NotFound: There is no such run.
    """
    client, target = run_target(run_id)
    client.log_dict(target, dictionary, artifact_file)


def log_figure(figure: object, artifact_file: str, *, save_kwargs: Mapping[str, object] | None = None) -> None:
    """Write a figure of matplotlib or plotly.

    Args:
        figure: The figure.
        artifact_file: Name with an ending, which says the format; `.html` for plotly.
        save_kwargs: Passed on to the figure's own export.

    Raises:
        InvalidParameterValue: It is no figure, the format is unknown, or the path is refused.
    """
    client, target = run_target(None)
    client.log_figure(target, figure, artifact_file, save_kwargs=save_kwargs)


def log_image(
    image: ArrayLike | object,
    artifact_file: str | None = None,
    key: str | None = None,
    step: int | None = None,
    timestamp: int | None = None,
) -> None:
    """Write an image under a name of its own, or as a point of a series.

    Args:
        image: NumPy array of shape (H, W) or (H, W, 1 | 3 | 4), or Pillow image.
        artifact_file: Name with an ending, which says the format.
        key: Name of a series; a PNG and a small WebP with a unique name are written below `images/`.
        step: Step in the series, by default 0.
        timestamp: Milliseconds, by default now.

    Raises:
        InvalidParameterValue: It is no image; the format is unknown; the path is refused; a file and a series, or
            neither, are named.
        MissingExtra: Pillow or NumPy is not installed.
    """
    client, target = run_target(None)
    client.log_image(target, image, artifact_file, key, step, timestamp)


def log_table(data: TableData, artifact_file: str, run_id: str | None = None) -> None:
    """Append rows to a table; the columns of old and new rows are united.

    Args:
        data: Data frame, or dict of columns or of one row. Images in cells are stored beside the table.
        artifact_file: Name that ends in `.json` or `.parquet`.
        run_id: Another run than the active one.

    Raises:
        InvalidParameterValue: It is no table, the name is refused, or another kind of file has it.
        MissingExtra: Parquet needs pandas and pyarrow, images need Pillow.
        NotFound: There is no such run.
    """
    client, target = run_target(run_id)
    client.log_table(target, data, artifact_file)


def get_artifact_uri(artifact_path: str | None = None) -> str:
    """Where an artifact of the run is, or would be.

    Args:
        artifact_path: File or folder among the run's artifacts; their root if None.

    Returns:
        A path for local artifacts under a plain path, a URI otherwise.

    Raises:
        InvalidParameterValue: The path is refused.
    """
    path = validate_artifact_path(artifact_path, name="artifact_path")
    root = StoreURI.parse(current_run().info.artifact_uri)
    return (root.join(*path.split("/")) if path else root).render(hide_password=False)
