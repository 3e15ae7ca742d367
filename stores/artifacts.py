"""`ArtifactStore`: the contract of a store of files."""

from __future__ import annotations

import io
import os
import stat
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import BinaryIO, Literal, overload

from holdall.stores.artifact_io import (
    CHUNK_SIZE,
    DEFAULT_DIGEST,
    NO_RETRIES,
    ArtifactReader,
    ArtifactUpload,
    ArtifactWriter,
    Digest,
    Digester,
    OpenedArtifact,
)
from holdall.stores.atomic_file import AtomicFile
from holdall.stores.base import Store
from holdall.stores.capabilities import ArtifactCapabilities
from holdall.stores.entities import FileInfo
from holdall.stores.errors import DataLoss, InvalidParameterValue, NotFound, Unsupported
from holdall.stores.paths import join_artifact_path, validate_artifact_path
from holdall.stores.retries import RetryPolicy
from holdall.stores.transfers import LocalEntry, LocalFileNotFound, ProgressCallback, Transfer, scan_folder
from holdall.stores.uri import StoreURI

__all__ = ["ArtifactStore"]

READ_BUFFER = 1 << 17


class ArtifactStore(Store):
    """Files and folders under one root, named by POSIX paths relative to it.

    **Three surfaces.** Users call the public methods. They validate paths, check that the store is open and writable,
    and then call the hooks, the methods whose names begin with an underscore. A plugin implements the six abstract
    ones; those marked as derived work as they are and may be overridden for speed. A hook gets validated paths only
    (`''` is the root), never checks `read_only`, and raises the errors of `holdall.stores.errors`.

    **Threads and processes.** A store may be shared between threads; a file opened by `open` belongs to one thread at a
    time. Any number of stores and processes may use the same root. Of several writers of one path, the last to finish
    wins, with its whole file. Folders move with up to `max_workers` threads.

    **Appearance.** A file appears under its name whole and verified, or not at all, whatever interrupts the writer.
    Where `capabilities.atomic_replace` is set, readers of a file that is being replaced see the old one or the new one.

    **Verification.** Every upload is compared with what was sent, every download with what the store announced, by size
    and digest (by the service's own digest where `capabilities.native_digests` is set). A difference, a short read and
    a local file that changes while it is being copied are `DataLoss`, and nothing appears at the final name.

    **Visibility.** A call sees everything that calls finished before it have written, in whatever thread.

    **Durability.** What a call wrote survives the death of the process once the call has returned. What survives a
    power failure is said by each store.

    **Memory.** A few chunks of 1 MiB per worker, however large the files; some hundred bytes per file of a folder.

    **Names** are kept exactly. Everything `validate_artifact_path` refuses is refused by every method with
    `InvalidParameterValue`; what a storage lists is validated as well, before anything is written to the local disk.

    **Folders** come into being with the files in them. Empty ones exist only where `capabilities.empty_directories` is
    set; a folder is then a thing of its own, which a file cannot replace nor be replaced by (`InvalidParameterValue`).

    **Not promised.** Atomicity of whole folders: a failed `log_artifacts` leaves the files that were finished, and a
    reader may see it half done. Order of transfers. That a file is kept when `delete_artifacts` runs at the same time.
    The behaviour of open files after `close`.

    Args:
        uri: The root, parsed.
        read_only: Refuse every write with `ReadOnly`, and write nothing on opening.
        max_workers: Files of one call that are moved at a time.

    Attributes:
        uri: The root.
        read_only: Whether writes are refused.
        max_workers: Files of one call that are moved at a time.
    """

    _digest_algorithm: str = DEFAULT_DIGEST
    """What uploads are verified with: an algorithm of `Digest`, best the one that the service checks itself."""

    _retries: RetryPolicy = NO_RETRIES
    """How long a download goes on, from where it is, when `_open_reader` or its stream is `TemporarilyUnavailable`."""

    def __init__(self, uri: StoreURI, *, read_only: bool = False, max_workers: int = 4) -> None:
        if max_workers < 1:
            raise InvalidParameterValue(f"max_workers must be at least 1, got {max_workers}.")
        super().__init__(uri, read_only=read_only)
        self.max_workers = max_workers

    # What users call: the store itself

    @property
    @abstractmethod
    def capabilities(self) -> ArtifactCapabilities:
        """What this store can do."""

    # What users call: writing

    def log_artifact(
        self,
        local_file: str | os.PathLike[str],
        artifact_path: str | None = None,
        *,
        progress: ProgressCallback | None = None,
    ) -> None:
        """Upload a file to `artifact_path/<its name>`, or a folder with all it holds to `artifact_path/<its name>/…`.

        Args:
            local_file: File or folder on this machine.
            artifact_path: Folder in the store; the root if None.
            progress: Told about every chunk.

        Raises:
            LocalFileNotFound: A `NotFound` and `FileNotFoundError`: there is no such local file.
            InvalidParameterValue: A path is refused, or the place is taken by a folder.
            DataLoss: The file changed while it was being copied, or did not arrive as sent.
            ReadOnly: The store was opened read-only.
        """
        self._check_writable()
        folder = validate_artifact_path(artifact_path, name="artifact_path")
        local = _existing(local_file)
        path = join_artifact_path(folder, local.name)
        if local.is_dir():
            self._upload_folder(local, path, progress)
        else:
            self._upload(LocalEntry(path, local), Transfer(progress))

    def log_artifacts(
        self,
        local_dir: str | os.PathLike[str],
        artifact_path: str | None = None,
        *,
        progress: ProgressCallback | None = None,
    ) -> None:
        """Upload what a local folder holds to `artifact_path`, several files at a time.

        Links are followed and stored as what they point to, hidden files are included, and empty folders are kept where
        `capabilities.empty_directories` is set. All names are validated before the first file is sent.

        Args:
            local_dir: Folder on this machine.
            artifact_path: Folder in the store; the root if None.
            progress: Told about every chunk of every file.

        Raises:
            LocalFileNotFound: A `NotFound` and `FileNotFoundError`: there is no such local folder.
            InvalidParameterValue: It is not a folder; it holds a broken or circular link, a pipe, a socket or a device;
                a path is refused, or a place is taken by a folder.
            DataLoss: A file changed while it was being copied, or did not arrive as sent.
            ReadOnly: The store was opened read-only.
        """
        self._check_writable()
        path = validate_artifact_path(artifact_path, name="artifact_path")
        local = _existing(local_dir)
        if not local.is_dir():
            raise InvalidParameterValue(f"{str(local)!r} is not a folder; use log_artifact for a file.")
        self._upload_folder(local, path, progress)

    @overload
    def open(self, path: str, mode: Literal["rb"] = "rb") -> BinaryIO: ...
    @overload
    def open(self, path: str, mode: Literal["wb"], *, size: int | None = None) -> ArtifactUpload: ...
    def open(
        self, path: str, mode: Literal["rb", "wb"] = "rb", *, size: int | None = None
    ) -> BinaryIO | ArtifactUpload:
        """Open a file of the store.

        Args:
            path: The file.
            mode: `rb` gives a seekable reader, `wb` an `ArtifactUpload`: the file appears whole when it is closed, or
                not at all if the `with` block ends by an exception or `abort()` is called.
            size: Bytes that will be written, if that is known; it lets a store choose the size of parts.

        Raises:
            NotFound: There is no such file to read.
            InvalidParameterValue: The path is refused or names a folder, or the mode is another.
            ReadOnly: Writing, and the store was opened read-only.
        """
        if mode == "rb":
            self._check_open()
            path = validate_artifact_path(path, file=True)
            return io.BufferedReader(self._reader(path), READ_BUFFER)
        if mode == "wb":
            self._check_writable()
            path = validate_artifact_path(path, file=True)
            return ArtifactUpload(self._open_writer(path, size), path, self._digest_algorithm)
        raise InvalidParameterValue(f"Unknown mode {mode!r}: artifacts are opened with 'rb' or 'wb'.")

    def delete_artifacts(self, path: str | None = None) -> None:
        """Remove a file, or a folder with all it holds; removing what is not there does nothing.

        Args:
            path: File or folder; None or `''` empties the store. Deleting `a` keeps `ab`.

        Raises:
            InvalidParameterValue: The path is refused.
            ReadOnly: The store was opened read-only.
        """
        self._check_writable()
        self._delete(validate_artifact_path(path))

    # What users call: reading

    def list_artifacts(self, path: str | None = None) -> list[FileInfo]:
        """What a folder holds, one level deep, sorted by path.

        Args:
            path: Folder; the root if None. A file or something missing holds nothing: `[]`.

        Returns:
            Files and folders with their paths from the root of the store.

        Raises:
            InvalidParameterValue: The path is refused.
        """
        self._check_open()
        return self._children(validate_artifact_path(path))

    def walk(self, path: str | None = None) -> Iterator[FileInfo]:
        """Everything below a folder, each folder before what it holds, sorted.

        Args:
            path: Folder; the root if None.

        Raises:
            InvalidParameterValue: The path is refused.
        """
        self._check_open()
        return self._walk(validate_artifact_path(path))

    def stat(self, path: str | None) -> FileInfo:
        """Kind and size of a file or folder; the root is a folder that always exists.

        Raises:
            NotFound: There is nothing.
            InvalidParameterValue: The path is refused.
        """
        self._check_open()
        return self._existing_info(validate_artifact_path(path))

    def exists(self, path: str | None) -> bool:
        """Whether there is a file or folder.

        Raises:
            InvalidParameterValue: The path is refused.
        """
        self._check_open()
        path = validate_artifact_path(path)
        return not path or self._stat(path) is not None

    def digest(self, path: str, algorithm: str = DEFAULT_DIGEST) -> Digest:
        """Size and digest of a file: the service's own if it keeps that kind, otherwise computed by reading it all.

        Args:
            path: The file.
            algorithm: `crc32`, or a name that `hashlib.new` knows.

        Raises:
            NotFound: There is no such file.
            DataLoss: The file could not be read whole.
            InvalidParameterValue: The path is refused or names a folder.
        """
        self._check_open()
        path = validate_artifact_path(path, file=True)
        digester = Digester(algorithm)
        with self._reader(path) as reader:
            if reader.digest is not None and reader.digest.algorithm == algorithm:
                return reader.digest
            for chunk in _chunks(reader, reader.size):
                digester.update(chunk)
        return digester.digest()

    def download_artifacts(
        self,
        artifact_path: str | None = None,
        dst_path: str | os.PathLike[str] | None = None,
        *,
        progress: ProgressCallback | None = None,
    ) -> Path:
        """Download a file, or a folder with all it holds, several files at a time.

        Args:
            artifact_path: File or folder; everything if None or `''`.
            dst_path: Local folder, made if need be; a new temporary one, which only this user can enter, if None.
                Files there of the same names are replaced.
            progress: Told about every chunk of every file.

        Returns:
            Absolute `dst_path/<name of the file or folder>`, or `dst_path` itself for the root.

        Raises:
            NotFound: There is no such artifact.
            InvalidParameterValue: The path is refused, the store lists paths that lead elsewhere, or a local folder is
                where a file must go or the other way round.
            DataLoss: A file was cut short, or its digest is not the one announced.
        """
        self._check_open()
        path = validate_artifact_path(artifact_path, name="artifact_path")
        root = self._existing_info(path)
        # The whole listing is validated before the first byte is written.
        plan = [root, *self._walk(path)] if root.is_dir else [root]
        _require_distinct(plan)
        with _destination(dst_path) as folder:
            target = folder / path.rpartition("/")[2]
            self._download_plan(plan, target, Transfer(progress))
        return target

    # Hooks that every store implements

    @abstractmethod
    def _open_reader(self, path: str, offset: int = 0, length: int | None = None) -> OpenedArtifact:
        """Open a file for reading; a store of remote files asks for just that range.

        Args:
            path: The file.
            offset: First byte to read.
            length: Bytes that will be read, for sure at most the rest of the file; None for all to its end.

        Raises:
            NotFound: There is no such file.
            InvalidParameterValue: It is a folder.
        """

    @abstractmethod
    def _open_writer(self, path: str, size: int | None) -> ArtifactWriter:
        """Begin a file; folders above it come into being with it.

        Args:
            path: The file.
            size: Bytes that will come, or None if that is not known; so small files need not go in parts.

        Raises:
            InvalidParameterValue: The place is taken by a folder, or a file is where a folder must be.
        """

    @abstractmethod
    def _stat(self, path: str) -> FileInfo | None:
        """Kind and size of a file or folder, never the root; None if there is nothing."""

    @abstractmethod
    def _list(self, path: str) -> Iterable[FileInfo]:
        """Files and folders directly in a folder, in any order, each once; nothing if it is a file or missing."""

    @abstractmethod
    def _delete(self, path: str) -> None:
        """Remove a file, or a folder with all it holds; for `''` everything but the root. Missing things are fine."""

    # Hooks with a derived default

    def _list_below(self, path: str) -> Iterable[FileInfo]:
        """Everything below a folder, files and folders, in any order; derived: one listing per folder.

        Override it where one request lists more than a folder; folders may then be left out, the files name them.
        """
        stack = self._children(path)
        while stack:
            info = stack.pop()
            yield info
            if info.is_dir:
                stack += self._children(info.path)

    def _make_directory(self, path: str) -> None:
        """Make an empty folder; called only where `capabilities.empty_directories` is set."""
        raise Unsupported(f"{type(self).__name__} has no empty folders.")

    def _upload_file(self, source: Path, path: str, transfer: Transfer) -> None:
        """Upload one regular local file; derived: one stream into `_open_writer`.

        A store that sends large files in parts, several at a time, does so best behind its writer.
        """
        with source.open("rb", buffering=0) as stream:
            before = os.fstat(stream.fileno())
            writer = self._open_writer(path, before.st_size)
            try:
                digester = Digester(self._digest_algorithm)
                for chunk in _chunks(stream, before.st_size):
                    writer.write(chunk)
                    digester.update(chunk)
                    transfer.report(path, digester.size, before.st_size)
                    if digester.size > before.st_size:
                        break
                _require_unchanged(source, before, os.fstat(stream.fileno()), digester.size)
                writer.commit(digester.digest())
            except BaseException:
                writer.abort()
                raise
        transfer.report(path, before.st_size, before.st_size, complete=True)

    def _download_file(self, info: FileInfo, target: Path, transfer: Transfer) -> None:
        """Download one file, as it was listed, to a place in an existing local folder; derived: one stream.

        Override it to fetch large files in parallel ranges, each through `_open_reader`.
        """
        with self._reader(info.path) as reader:
            file = AtomicFile(target.parent)
            try:
                for chunk in _chunks(reader, reader.size):
                    file.write(chunk)
                    transfer.report(info.path, file.size, reader.size)
                file.replace(target.name)
            finally:
                file.discard()
        transfer.report(info.path, reader.size, reader.size, complete=True)

    def _upload_files(self, files: Sequence[LocalEntry], transfer: Transfer) -> None:
        """Upload the files of a folder; derived: each by itself, `max_workers` at a time."""
        transfer.run(partial(self._upload, transfer=transfer), files, self.max_workers)

    def _download_files(self, files: Sequence[tuple[FileInfo, Path]], transfer: Transfer) -> None:
        """Download files as they were listed, each to its place; derived: each by itself, `max_workers` at a time."""
        transfer.run(lambda item: self._download_file(*item, transfer), files, self.max_workers)

    # What the public methods share

    def _reader(self, path: str, start: int = 0, stop: int | None = None) -> ArtifactReader:
        return ArtifactReader(
            partial(self._open_reader, path),
            path,
            check_digest=stop is None,
            retries=self._retries,
            start=start,
            stop=stop,
        )

    def _existing_info(self, path: str) -> FileInfo:
        info = self._stat(path) if path else FileInfo("", is_dir=True)
        if info is None:
            raise NotFound(f"There is no artifact {path!r} in {self.uri}.")
        return info

    def _children(self, path: str) -> list[FileInfo]:
        children = {(info.path, info.is_dir): info for info in self._list(path)}
        for child in children.values():
            # A listing comes from outside: what it names is used below, so it is held to the same rules.
            if validate_artifact_path(child.path, name="path in the store's listing", file=True) != child.path or (
                child.path.rpartition("/")[0] != path
            ):
                raise InvalidParameterValue(f"The store lists {child.path!r} in {path!r}, where it does not belong.")
        return [info for _, info in sorted(children.items())]

    def _walk(self, path: str) -> Iterator[FileInfo]:
        found: dict[tuple[tuple[str, ...], bool], FileInfo] = {}
        depth = path.count("/") + 1 if path else 0
        for info in self._list_below(path):
            # As in `_children`: held to the same rules.
            if validate_artifact_path(info.path, name="path in the store's listing", file=True) != info.path or (
                not info.path.startswith(f"{path}/") and path
            ):
                raise InvalidParameterValue(f"The store lists {info.path!r} below {path!r}, where it does not belong.")
            names = tuple(info.path.split("/"))
            found[names, info.is_dir] = info
            for end in range(len(names) - 1, depth, -1):
                if (names[:end], True) in found:
                    break
                found[names[:end], True] = FileInfo("/".join(names[:end]), is_dir=True)
        for _, info in sorted(found.items()):
            yield info

    def _upload_folder(self, local: Path, path: str, progress: ProgressCallback | None) -> None:
        entries = [LocalEntry(path, local, is_dir=True, is_empty=True)] if path and not any(local.iterdir()) else []
        for entry in scan_folder(local):
            target = join_artifact_path(path, validate_artifact_path(entry.path, name="local file name", file=True))
            entries.append(LocalEntry(target, entry.source, entry.is_dir, entry.is_empty))
        if self.capabilities.empty_directories:
            for entry in entries:
                if entry.is_empty:
                    self._make_directory(entry.path)
        transfer = Transfer(progress)
        self._upload_files([entry for entry in entries if not entry.is_dir], transfer)

    def _upload(self, entry: LocalEntry, transfer: Transfer) -> None:
        if not stat.S_ISREG(entry.source.stat().st_mode):
            raise InvalidParameterValue(f"Cannot upload {str(entry.source)!r}: it is not a regular file.")
        self._upload_file(entry.source, validate_artifact_path(entry.path, file=True), transfer)

    def _download_plan(self, plan: list[FileInfo], target: Path, transfer: Transfer) -> None:
        """Make the folders of a plan, whose first entry goes to `target`, then fetch its files."""
        files: list[tuple[FileInfo, Path]] = []
        for info in plan:
            place = target / info.path[len(plan[0].path) :].removeprefix("/")
            if os.path.lexists(place) and place.is_dir() != info.is_dir:
                raise InvalidParameterValue(
                    f"Cannot download {info.path!r} to {str(place)!r}: a file and a folder cannot have one name."
                )
            if info.is_dir:
                place.mkdir(exist_ok=True)
            else:
                files.append((info, place))
        self._download_files(files, transfer)


def _require_distinct(plan: Iterable[FileInfo]) -> None:
    """Refuse what a local disk cannot hold: a file and a folder of one name, which some stores have."""
    folders = {info.path for info in plan if info.is_dir}
    for info in plan:
        if not info.is_dir and info.path in folders:
            raise InvalidParameterValue(
                f"Cannot download {info.path!r}: it is a file and a folder, and the local disk cannot hold both."
            )


def _existing(local: str | os.PathLike[str]) -> Path:
    path = Path(os.path.abspath(local))  # without '..' at its end, so that the last part is its own name
    if not path.exists():
        raise LocalFileNotFound(f"There is no local file or folder {str(path)!r}.")
    return path


def _chunks(stream: io.RawIOBase, size: int) -> Iterator[memoryview]:
    """The rest of a stream, of about `size` bytes; each chunk is valid until the next one."""
    buffer = memoryview(bytearray(min(size, CHUNK_SIZE - 1) + 1))
    while count := stream.readinto(buffer):
        yield buffer[:count]


def _require_unchanged(source: Path, before: os.stat_result, after: os.stat_result, copied: int) -> None:
    if copied != before.st_size or (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
        raise DataLoss(
            f"{str(source)!r} changed while it was being copied ({before.st_size} bytes at first, {copied} read); "
            "nothing was stored, try again when it is complete."
        )


@contextmanager
def _destination(dst_path: str | os.PathLike[str] | None) -> Iterator[Path]:
    """The folder to download into; a temporary one is removed again if the download fails."""
    if dst_path is not None:
        folder = Path(dst_path).absolute()
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            raise InvalidParameterValue(f"Cannot download to {str(folder)!r}: it is not a folder.") from None
        yield folder
        return
    import shutil
    import tempfile

    folder = Path(tempfile.mkdtemp(prefix="holdall-"))
    try:
        yield folder
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
