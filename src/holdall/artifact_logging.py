"""The part of `Client` that deals with the files of runs."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Mapping
from pathlib import PurePosixPath

from holdall.connections import Connection
from holdall.documents import encode_document, encode_text
from holdall.figures import encode_figure
from holdall.images import ArrayLike, as_image, encode_image, series_stem, shrink
from holdall.stores.artifacts import ArtifactStore
from holdall.stores.entities import FileInfo, RunTag
from holdall.stores.errors import InvalidParameterValue, NotFound
from holdall.stores.paths import validate_artifact_path
from holdall.tables import TableData, decode_table, encode_table, read_table, validate_table_name
from holdall.values import as_step, as_timestamp, now

__all__ = ["ArtifactLogging"]

LOGGED_IMAGES_TAG = "mlflow.loggedImages"
LOGGED_ARTIFACTS_TAG = "mlflow.loggedArtifacts"


class ArtifactLogging:
    """Reading and writing the artifacts of runs, by run id. A deleted run still takes artifacts.

    Args:
        connection: Where the runs are.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def log_artifact(self, run_id: str, local_path: str | os.PathLike[str], artifact_path: str | None = None) -> None:
        """Upload a file, or a folder with its name and all it holds.

        Args:
            run_id: The run.
            local_path: File or folder on this machine.
            artifact_path: Folder among the run's artifacts; their root if None.

        Raises:
            NotFound: There is no such run or local file (then a `FileNotFoundError` too).
            InvalidParameterValue: A path is refused.
        """
        with self._connection.artifacts.lend(self._connection.artifact_uri(run_id)) as store:
            store.log_artifact(local_path, artifact_path)

    def log_artifacts(self, run_id: str, local_dir: str | os.PathLike[str], artifact_path: str | None = None) -> None:
        """Upload what a folder holds.

        Args:
            run_id: The run.
            local_dir: Folder on this machine.
            artifact_path: Folder among the run's artifacts; their root if None.

        Raises:
            NotFound: There is no such run or local folder (then a `FileNotFoundError` too).
            InvalidParameterValue: It is no folder, or a path is refused.
        """
        with self._connection.artifacts.lend(self._connection.artifact_uri(run_id)) as store:
            store.log_artifacts(local_dir, artifact_path)

    def log_text(self, run_id: str, text: str, artifact_file: str) -> None:
        """Write text as a UTF-8 file.

        Raises:
            NotFound: There is no such run.
            InvalidParameterValue: It is not text, or the path is refused.
        """
        self._write(run_id, {artifact_file: encode_text(text, artifact_file)})

    def log_dict(self, run_id: str, dictionary: Mapping[str, object] | list[object], artifact_file: str) -> None:
        """Write a dict or list as YAML if the name ends in `.yml` or `.yaml`, as JSON otherwise.

        Raises:
            NotFound: There is no such run.
            InvalidParameterValue: It cannot be written, or the path is refused.
        """
        validate_artifact_path(artifact_file, name="artifact_file", file=True)
        self._write(run_id, {artifact_file: encode_document(dictionary, artifact_file)})

    def log_figure(
        self, run_id: str, figure: object, artifact_file: str, *, save_kwargs: Mapping[str, object] | None = None
    ) -> None:
        """Write a figure of matplotlib or plotly.

        Args:
            run_id: The run.
            figure: The figure.
            artifact_file: Name with an ending, which says the format; `.html` for plotly.
            save_kwargs: Passed on to the figure's own export.

        Raises:
            NotFound: There is no such run.
            InvalidParameterValue: It is no figure, the format is unknown, or the path is refused.
        """
        validate_artifact_path(artifact_file, name="artifact_file", file=True)
        self._write(run_id, {artifact_file: encode_figure(figure, artifact_file, save_kwargs)})

    def log_image(
        self,
        run_id: str,
        image: ArrayLike | object,
        artifact_file: str | None = None,
        key: str | None = None,
        step: int | None = None,
        timestamp: int | None = None,
    ) -> None:
        """Write an image under a name of its own, or as a point of a series.

        Args:
            run_id: The run.
            image: NumPy array or Pillow image; see `holdall.images.as_image` for the ranges of values.
            artifact_file: Name with an ending, which says the format.
            key: Name of a series; a PNG and a small WebP with a unique name are written below `images/`.
            step: Step in the series, by default 0.
            timestamp: Milliseconds, by default now.

        Raises:
            NotFound: There is no such run.
            InvalidParameterValue: It is no image; the format is unknown; the path is refused; a file and a series, or
                neither, are named.
            MissingExtra: Pillow or NumPy is not installed.
        """
        if (artifact_file is None) == (key is None):
            raise InvalidParameterValue("log_image needs either artifact_file, or the key of a series.")
        if key is not None:
            self._write_series(run_id, image, series_stem(key, as_step(step, key), _time(timestamp, key)))
        elif step is not None or timestamp is not None:
            raise InvalidParameterValue("step and timestamp belong to a series of images: give key, not artifact_file.")
        elif artifact_file is not None:
            validate_artifact_path(artifact_file, name="artifact_file", file=True)
            self._write(run_id, {artifact_file: encode_image(as_image(image), artifact_file)})

    def _write_series(self, run_id: str, image: object, stem: str) -> None:
        full, small = f"{stem}.png", f"{stem}+compressed.webp"
        picture = as_image(image)
        self._write(run_id, {full: encode_image(picture, full), small: encode_image(shrink(picture), small)})
        self._connection.store.set_tag(run_id, RunTag(LOGGED_IMAGES_TAG, "True"))

    def log_table(self, run_id: str, data: TableData, artifact_file: str) -> None:
        """Append rows to a table; the columns of old and new rows are united.

        Args:
            run_id: The run.
            data: Data frame, or dict of columns or of one row. Images in cells are stored beside the table.
            artifact_file: Name that ends in `.json` or `.parquet`.

        Raises:
            NotFound: There is no such run.
            InvalidParameterValue: It is no table, the name is refused, or another kind of file has it.
            MissingExtra: Parquet needs pandas and pyarrow, images need Pillow.
        """
        validate_artifact_path(validate_table_name(artifact_file), name="artifact_file", file=True)
        images: dict[str, bytes] = {}
        table = read_table(data).map(lambda cell: _image_cell(cell, artifact_file, images))
        self._write(run_id, images)
        with (
            self._connection.table_lock,
            self._connection.artifacts.lend(self._connection.artifact_uri(run_id)) as store,
        ):
            known = _read_if_any(store, artifact_file)
            whole = table if known is None else decode_table(known, artifact_file).append(table)
            _write(store, artifact_file, encode_table(whole, artifact_file))
        self._note_table(run_id, artifact_file)

    def _note_table(self, run_id: str, artifact_file: str) -> None:
        """Add the table to the tag by which MLflow's page finds tables."""
        text = self._connection.store.get_run(run_id).data.tags.get(LOGGED_ARTIFACTS_TAG, "[]")
        entry = {"path": artifact_file, "type": "table"}
        try:
            entries = json.loads(text)
        except ValueError:
            entries = None
        if not isinstance(entries, list):  # somebody's own text: theirs to keep
            return
        if entry not in entries:
            self._connection.store.set_tag(run_id, RunTag(LOGGED_ARTIFACTS_TAG, json.dumps([*entries, entry])))

    def list_artifacts(self, run_id: str, path: str | None = None) -> list[FileInfo]:
        """What a folder of the run's artifacts holds, one level deep, sorted; nothing for a file or a missing path.

        Raises:
            NotFound: There is no such run.
            InvalidParameterValue: The path is refused.
        """
        with self._connection.artifacts.lend(self._connection.artifact_uri(run_id)) as store:
            return store.list_artifacts(path)

    def download_artifacts(self, run_id: str, path: str = "", dst_path: str | os.PathLike[str] | None = None) -> str:
        """Copy a file or folder of the run's artifacts to this machine.

        Args:
            run_id: The run.
            path: File or folder; `''` means all.
            dst_path: Folder to copy into, made if it is missing; by default a new temporary one.

        Returns:
            Local path of the copy: `dst_path/<name>`, or `dst_path` for all.

        Raises:
            NotFound: There is no such run or artifact.
            InvalidParameterValue: The path is refused.
        """
        with self._connection.artifacts.lend(self._connection.artifact_uri(run_id)) as store:
            return str(store.download_artifacts(path, dst_path))

    def _write(self, run_id: str, files: Mapping[str, bytes]) -> None:
        with self._connection.artifacts.lend(self._connection.artifact_uri(run_id)) as store:
            for path, content in files.items():
                _write(store, path, content)


def _write(store: ArtifactStore, path: str, content: bytes) -> None:
    with store.open(path, "wb") as file:
        file.write(content)


def _read_if_any(store: ArtifactStore, path: str) -> bytes | None:
    try:
        with store.open(path) as file:
            return file.read()
    except NotFound:
        return None


def _time(timestamp: int | None, key: str) -> int:
    return as_timestamp(timestamp, key) if timestamp else now()


def _image_cell(cell: object, artifact_file: str, images: dict[str, bytes]) -> object:
    """What stands in a table for a Pillow image, whose files are added to `images`; other cells as they are."""
    if not (type(cell).__module__.startswith("PIL.") and hasattr(cell, "thumbnail")):
        return cell
    picture = as_image(cell)
    stem = f"table_images/{PurePosixPath(artifact_file).with_suffix('')}/{uuid.uuid4()}"
    full, small = f"{stem}.png", f"{stem}.webp"
    images |= {full: encode_image(picture, full), small: encode_image(shrink(picture), small)}
    return {"type": "image", "filepath": full, "compressed_filepath": small}
