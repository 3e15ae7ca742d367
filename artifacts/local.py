"""`LocalArtifactStore`: artifacts in a folder of this machine."""

from __future__ import annotations

import errno
import logging
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from holdall.artifacts.beneath import FOLDER, Beneath, Place
from holdall.stores.artifact_io import ArtifactWriter, Digest, OpenedArtifact
from holdall.stores.artifacts import ArtifactStore
from holdall.stores.atomic_file import PRIVATE_PREFIX, AtomicFile, remove_stale_files
from holdall.stores.capabilities import ArtifactCapabilities
from holdall.stores.entities import FileInfo
from holdall.stores.errors import (
    HoldallError,
    InternalError,
    InvalidParameterValue,
    NotFound,
    ReadOnly,
    TemporarilyUnavailable,
)
from holdall.stores.paths import validate_artifact_path
from holdall.stores.uri import StoreURI

__all__ = ["LocalArtifactStore"]

_log = logging.getLogger(__name__)

ATTEMPTS = 100
"""How often a step is repeated that a concurrent writer or deleter has undone."""


class LocalArtifactStore(ArtifactStore):
    """Artifacts as plain files below a folder, for paths and `file://` URIs on POSIX systems.

    Everything `ArtifactStore` promises, and:

    **The root** is made by the first write, not by opening. A relative root is bound to the working directory at
    opening.

    **Files** are written under a private name in the root, which no listing shows and no artifact can have, flushed to
    the disk (`fsync`) and renamed. A power failure therefore leaves the old file or the new one, never a short one; the
    renames of the last moments may be undone by it. Remains of killed writers are removed by the first write of a later
    store, when they are a day old. All folders below the root must be on its file system. Modes are those of any other
    file: 0666 and 0777 less the umask.

    **Verification** compares size and digest of what was handed to the operating system with those of the source. Files
    are not read a second time, and no digest is kept for later.

    **Links** below the root are followed where they stay in it. A path that leaves the root through a link, or a link
    that leads in circles, is refused with `InvalidParameterValue` by every method; listings leave such links out with a
    warning in the log. Links to folders are not listed inside a folder that was itself reached through a link, so that
    `walk` ends. `delete_artifacts` removes a link, never what it points to. Hard links cannot be told from files.

    **Names** are what the file system makes of them: kept exactly on those of Linux. Files that somebody put there
    under names that the validator refuses are left out of listings with a warning.

    **Not promised.** Anything about network file systems whose renames are not atomic.

    Args:
        uri: A `file` URI.
        read_only: Refuse every write with `ReadOnly`.
        max_workers: Files of one call that are moved at a time.

    Raises:
        InvalidParameterValue: The URI is not that of a local folder, or has options.
    """

    def __init__(self, uri: StoreURI, *, read_only: bool = False, max_workers: int = 4) -> None:
        super().__init__(uri, read_only=read_only, max_workers=max_workers)
        if uri.scheme != "file" or uri.host:
            raise InvalidParameterValue(f"{uri} is not a local folder.")
        uri.options()
        self._root = self.uri.path
        if os.path.lexists(self._root) and not Path(self._root).is_dir():
            raise InvalidParameterValue(f"{uri} is not a folder; artifacts need a folder of their own.")
        self._beneath = Beneath(self._root)
        self._swept = False

    @property
    def capabilities(self) -> ArtifactCapabilities:
        return ArtifactCapabilities(empty_directories=True)

    def _open_reader(self, path: str, offset: int = 0, length: int | None = None) -> OpenedArtifact:
        # O_NONBLOCK: opening a pipe that somebody put there must not wait for its other end.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with _reading(path), self._beneath.locate(path) as place:
            file = os.open(place.name, flags, dir_fd=place.folder)
            try:
                status = os.fstat(file)
                if not stat.S_ISREG(status.st_mode):
                    raise InvalidParameterValue(f"Artifact {path!r} is not a file; list it, or name a file in it.")
                os.lseek(file, offset, os.SEEK_SET)
                version = f"{status.st_ino:x}-{status.st_mtime_ns:x}-{status.st_size:x}"
                return OpenedArtifact(os.fdopen(file, "rb", buffering=0), status.st_size, version=version)
            except BaseException:
                os.close(file)
                raise

    def _open_writer(self, path: str, size: int | None) -> ArtifactWriter:
        with _writing(path):
            with self._beneath.locate("", create=True):
                self._sweep()
            self._refuse_taken(path)
            return _Writer(AtomicFile(self._root, self._digest_algorithm), self._beneath, path)

    def _stat(self, path: str) -> FileInfo | None:
        return self._look(path)[0]

    def _list(self, path: str) -> Iterator[FileInfo]:
        try:
            with _reading(path), self._beneath.locate(path) as place, _entries(place) as entries:
                for entry in entries:
                    info = self._entry_info(path, place.real, entry)
                    if info is not None:
                        yield info
        except NotFound:
            return

    def _delete(self, path: str) -> None:
        with _writing(path):
            # Links that lead out are refused, the last one included; the rest may be missing.
            with suppress(FileNotFoundError, NotADirectoryError), self._beneath.locate(path):
                pass
            with suppress(FileNotFoundError, NotADirectoryError), self._beneath.locate(path, follow=False) as place:
                if path:
                    _remove(place.folder, place.name)
                    return
                with _entries(place) as entries:
                    for entry in entries:
                        if not entry.name.startswith(PRIVATE_PREFIX):
                            _remove(place.folder, entry.name)

    def _make_directory(self, path: str) -> None:
        with _writing(path), self._beneath.locate(path, create=True) as place:
            try:
                os.mkdir(place.name, dir_fd=place.folder)
            except FileExistsError:
                with _entries(place):
                    pass  # it is a folder, as it should be

    def _look(self, path: str) -> tuple[FileInfo | None, tuple[str, ...]]:
        """What is at a path, and the way to it without links."""
        try:
            with _reading(path), self._beneath.locate(path) as place:
                return _file_info(path, os.stat(place.name, dir_fd=place.folder, follow_symlinks=False)), place.real
        except NotFound:
            return None, ()

    def _entry_info(self, path: str, real: tuple[str, ...], entry: os.DirEntry[str]) -> FileInfo | None:
        """What a listing shows of an entry of the folder at `path`; None to leave it out."""
        if entry.name.startswith(PRIVATE_PREFIX):
            return None
        child = f"{path}/{entry.name}" if path else entry.name
        try:
            validate_artifact_path(child, file=True)
            if entry.is_symlink():
                return self._link_info(path, real, child)
            return _file_info(child, entry.stat(follow_symlinks=False))
        except InvalidParameterValue as error:
            _log.warning("Left out of the listing of %r in %s: %s", path, self.uri, error)
        except FileNotFoundError:
            pass  # removed meanwhile
        return None

    def _link_info(self, path: str, real: tuple[str, ...], child: str) -> FileInfo | None:
        info, target = self._look(child)
        if info is not None and info.is_dir and ("/".join(real) != path or real[: len(target)] == target):
            raise InvalidParameterValue(
                f"{child!r} is a link to a folder above it, or in a folder reached through a link."
            )
        return info

    def _refuse_taken(self, path: str) -> None:
        """Fail before the upload, not after it, where a folder is in the way; the last word is that of the rename."""
        with suppress(FileNotFoundError), self._beneath.locate(path) as place:
            if stat.S_ISDIR(os.stat(place.name, dir_fd=place.folder, follow_symlinks=False).st_mode):
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))

    def _sweep(self) -> None:
        if not self._swept:
            self._swept = True
            remove_stale_files(self._root)


class _Writer(ArtifactWriter):
    """A file below the root, under a private name in the root until it is whole."""

    def __init__(self, file: AtomicFile, beneath: Beneath, path: str) -> None:
        self._file = file
        self._beneath = beneath
        self._path = path

    def write(self, data: bytes | memoryview) -> None:
        with _writing(self._path):
            self._file.write(data)

    def commit(self, expected: Digest) -> None:
        with _writing(self._path):
            self._file.flush(expected)
            for _ in range(ATTEMPTS):
                with suppress(FileNotFoundError), self._beneath.locate(self._path, create=True) as place:
                    self._file.replace(place.name, place.folder)
                    return
        raise TemporarilyUnavailable(f"The folder of artifact {self._path!r} is being deleted all the time; try again.")

    def abort(self) -> None:
        self._file.discard()


def _file_info(path: str, status: os.stat_result) -> FileInfo | None:
    if stat.S_ISDIR(status.st_mode):
        return FileInfo(path, is_dir=True)
    return FileInfo(path, is_dir=False, file_size=status.st_size) if stat.S_ISREG(status.st_mode) else None


def _remove(folder: int, name: str) -> None:
    """Remove a file, a link or a whole folder, in spite of others who add to it or remove from it meanwhile."""
    for _ in range(ATTEMPTS):
        try:
            is_folder = stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)
        except FileNotFoundError:
            return
        try:
            if is_folder:
                shutil.rmtree(name, dir_fd=folder)
            else:
                os.unlink(name, dir_fd=folder)
            return
        except FileNotFoundError:
            continue
        except OSError as error:
            if error.errno != errno.ENOTEMPTY:
                raise
    raise TemporarilyUnavailable(f"Folder {name!r} is being written to all the time; try again.")


@contextmanager
def _entries(place: Place) -> Iterator[Iterator[os.DirEntry[str]]]:
    """What a folder holds; `NotADirectoryError` if it is none."""
    folder = os.open(place.name, FOLDER | os.O_NOFOLLOW, dir_fd=place.folder)
    try:
        with os.scandir(folder) as entries:
            yield entries
    finally:
        os.close(folder)


@contextmanager
def _reading(path: str) -> Iterator[None]:
    """Errors of the operating system as errors of the store."""
    try:
        yield
    except HoldallError:
        raise  # some are OSErrors as well
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFound(f"There is no artifact {path!r}.") from error
    except OSError as error:
        raise _failure("read", path, error) from error


@contextmanager
def _writing(path: str) -> Iterator[None]:
    try:
        yield
    except HoldallError:
        raise
    except (NotADirectoryError, IsADirectoryError) as error:
        raise InvalidParameterValue(
            f"Cannot write artifact {path!r}: a folder is in its place, or a file where it needs a folder; "
            "delete that first."
        ) from error
    except OSError as error:
        raise _failure("write", path, error) from error


def _failure(action: str, path: str, error: OSError) -> HoldallError:
    message = f"Cannot {action} artifact {path!r}: {os.strerror(error.errno or errno.EIO)}."
    if error.errno in (errno.ELOOP, errno.ENAMETOOLONG, errno.EILSEQ):
        return InvalidParameterValue(message)
    if action == "write" and error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return ReadOnly(message)
    return InternalError(message)
