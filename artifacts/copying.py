"""Copying between two artifact stores of any kind, without a copy on the local disk."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from holdall.stores.artifact_io import CHUNK_SIZE
from holdall.stores.artifacts import ArtifactStore
from holdall.stores.entities import FileInfo
from holdall.stores.errors import InvalidParameterValue, NotFound
from holdall.stores.paths import join_artifact_path, validate_artifact_path
from holdall.stores.transfers import ProgressCallback, Transfer
from holdall.stores.uri import StoreURI

__all__ = ["CopyPlan", "CopyReport", "FileToCopy", "copy_artifacts", "plan_copy"]


LARGE_SIZE = 8 << 20
"""Bytes above which a store may keep several parts of a file in memory."""

LARGE_FILES = 4
"""Files larger than that which are copied at a time."""


@dataclass(frozen=True, slots=True)
class FileToCopy:
    """One file of a copy.

    Attributes:
        source: Its path in the one store.
        target: The path it gets in the other.
        size: Bytes, as listed.
    """

    source: str
    target: str
    size: int


@dataclass(frozen=True, slots=True)
class CopyReport:
    """What was copied.

    Attributes:
        files: How many.
        size: Their bytes.
        folders: Empty folders that were made.
        left_out: Paths, in the target, of empty folders that it cannot keep.
    """

    files: int
    size: int
    folders: int
    left_out: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CopyPlan:
    """What a copy comes to. Every name in it has been validated, and nothing has been written yet.

    Attributes:
        source: Store to read from.
        target: Store to write to.
        files: What will be copied, sorted by path.
        folders: Paths of empty folders to make.
        left_out: Paths of empty folders that the target cannot keep.
    """

    source: ArtifactStore
    target: ArtifactStore
    files: tuple[FileToCopy, ...]
    folders: tuple[str, ...]
    left_out: tuple[str, ...]

    @property
    def size(self) -> int:
        """Bytes of all files, as listed."""
        return sum(file.size for file in self.files)

    def run(self, progress: ProgressCallback | None = None) -> CopyReport:
        """Copy, several files at a time; raises as `copy_artifacts` does."""
        _make_folders(self.target, self.folders)
        transfer, sizes, large = Transfer(progress), list[int](), threading.BoundedSemaphore(LARGE_FILES)

        def copy(file: FileToCopy) -> None:
            with large if file.size > LARGE_SIZE else nullcontext():
                sizes.append(self._copy(file, transfer))

        transfer.run(copy, self.files, max(self.source.max_workers, self.target.max_workers))
        return CopyReport(len(sizes), sum(sizes), len(self.folders), self.left_out)

    def _copy(self, file: FileToCopy, transfer: Transfer) -> int:
        """Copy one file; its bytes. The reader verifies what came, the upload what arrived."""
        copied = 0
        with self.source.open(file.source) as reader, self.target.open(file.target, "wb", size=file.size) as upload:
            while chunk := reader.read(CHUNK_SIZE):
                upload.write(chunk)
                copied += len(chunk)
                transfer.report(file.target, copied, max(copied, file.size))
        transfer.report(file.target, copied, copied, complete=True)
        return copied


def copy_artifacts(
    source: ArtifactStore,
    path: str | None,
    target: ArtifactStore,
    target_path: str | None,
    *,
    progress: ProgressCallback | None = None,
) -> CopyReport:
    """Copy a file to the path `target_path`, or what a folder holds to below it, several files at a time.

    Bytes stream from the one store into the other: memory is bounded, at what the two stores need for a file under way
    and a chunk of 1 MiB, and nothing is kept on the local disk. Up to `max_workers` files move at a time, by the store
    that allows more, and of those above 8 MiB up to four.

    Each file is verified at both ends: as it is read, by size and by the digest that the source announces, if any; as
    it is written, by size and digest of what was sent. It appears at its final path whole or not at all. If one fails,
    or the call is interrupted, the others are given up and their uploads dropped; files that were finished stay. Empty
    folders are kept where both stores have such a thing. All names are validated before the first file is sent.

    Args:
        source: Store to read from.
        path: File or folder in it; everything if None or `''`.
        target: Store to write to; files that are there are replaced.
        target_path: Path that the file gets, or folder for what the folder holds; None or `''` is the root, for
            folders only.
        progress: Told about every chunk of every file, under its path in the target.

    Returns:
        What was copied.

    Raises:
        NotFound: There is no such file or folder in the source.
        InvalidParameterValue: A path is refused; a folder is where a file must go, or the other way round; both are one
            place, or the target is in the folder to copy.
        DataLoss: A file did not come as announced, or did not arrive as sent.
        ReadOnly: The target was opened read-only.
    """
    return plan_copy(source, path, target, target_path).run(progress)


def plan_copy(source: ArtifactStore, path: str | None, target: ArtifactStore, target_path: str | None) -> CopyPlan:
    """List what `copy_artifacts` would copy, and check it; arguments and errors are the same, nothing is written."""
    root = source.stat(path)
    _refuse_other_kind(source, root, target, target_path)
    target_path = validate_artifact_path(target_path, name="target path", file=not root.is_dir)
    _refuse_overlap(source, root, target, target_path)
    entries = [root, *source.walk(root.path)] if root.is_dir else [root]
    moved = [(info, _moved(info.path, root.path, target_path)) for info in entries]
    files = tuple(FileToCopy(info.path, new, info.file_size or 0) for info, new in moved if not info.is_dir)
    filled = {info.path.rpartition("/")[0] for info in entries if info.path != root.path}
    empty = tuple(new for info, new in moved if info.is_dir and new and info.path not in filled)
    if not target.capabilities.empty_directories:
        return CopyPlan(source, target, files, (), empty)
    plan = CopyPlan(source, target, files, empty, ())
    _refuse_double_names(plan, (new for info, new in moved if info.is_dir))
    return plan


def _moved(path: str, root: str, target_path: str) -> str:
    """What a path at or below `root` becomes when `root` becomes `target_path`."""
    return join_artifact_path(target_path, path[len(root) :].removeprefix("/"))


def _make_folders(target: ArtifactStore, paths: Iterable[str]) -> None:
    with tempfile.TemporaryDirectory(prefix="holdall-") as empty:
        for path in paths:
            target.log_artifacts(empty, path)


def _refuse_overlap(source: ArtifactStore, root: FileInfo, target: ArtifactStore, target_path: str) -> None:
    (service, here), (other_service, there) = _place(source, root.path), _place(target, target_path)
    if service != other_service or there[: len(here)] != here:
        return
    if len(there) == len(here):
        raise InvalidParameterValue(f"Cannot copy {_named(source, root.path)} to itself.")
    if root.is_dir:
        raise InvalidParameterValue(f"Cannot copy folder {_named(source, root.path)} into itself.")


def _place(store: ArtifactStore, path: str) -> tuple[StoreURI, tuple[str, ...]]:
    """What two names of one place have in common: the service, and the names of the way to it."""
    way = f"{store.uri.path}/{path}"
    if store.uri.scheme == "file":
        way = os.path.realpath(Path(store.uri.path, path))
    return replace(store.uri, path="", plain=False), tuple(name for name in way.split("/") if name)


def _refuse_other_kind(source: ArtifactStore, root: FileInfo, target: ArtifactStore, target_path: str | None) -> None:
    try:
        there = target.stat(target_path)
    except NotFound:
        return
    if there.is_dir != root.is_dir:
        kinds = ("folder", "file") if root.is_dir else ("file", "folder")
        raise InvalidParameterValue(
            f"Cannot copy {kinds[0]} {_named(source, root.path)} to {_named(target, there.path)}: that is a {kinds[1]}."
        )


def _named(store: ArtifactStore, path: str) -> str:
    return f"{path!r} in {store.uri}" if path else str(store.uri)


def _refuse_double_names(plan: CopyPlan, folders: Iterable[str]) -> None:
    double = {file.target: file.source for file in plan.files}
    for folder in folders:
        if folder in double:
            raise InvalidParameterValue(
                f"Cannot copy {double[folder]!r} from {plan.source.uri}: it is a file and also a folder, "
                f"and {plan.target.uri} cannot keep both under one name."
            )
