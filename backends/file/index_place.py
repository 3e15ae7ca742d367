"""Where the index of a folder is kept: in the folder, in the user's cache, or for this process alone."""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from holdall.backends.file.layout import INDEX_PREFIX
from holdall.backends.file.watch import is_local_disk

__all__ = ["VERSION", "NoIndex", "index_files", "index_places", "is_temporary", "remove_index"]


class NoIndex(Exception):
    """No place takes an index."""


VERSION = 4
"""Of the index's tables; another version is another file."""

_NAME = f"{INDEX_PREFIX}-{VERSION}.db"
_TEMPORARY = "holdall-index-"
_STALE_SECONDS = 30 * 24 * 3600


def index_places(root: str, *, read_only: bool) -> Iterator[str]:
    """Paths for the index of a root, the best first; whoever tries one finds out whether it will do.

    SQLite needs a local disk; and a store that is opened read-only writes nothing into its folder.

    Args:
        root: The store's root.
        read_only: Whether the store is opened so.
    """
    if not read_only and is_local_disk(root) and os.access(root, os.W_OK):
        yield f"{root}/{_NAME}"
    with suppress(OSError, RuntimeError):
        yield _in_cache(root)
    with suppress(OSError):
        yield f"{tempfile.mkdtemp(prefix=_TEMPORARY)}/{_NAME}"


def _in_cache(root: str) -> str:
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "holdall", "index")
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not is_local_disk(str(folder)):
        raise OSError
    oldest = time.time() - _STALE_SECONDS
    for path in folder.iterdir():
        with suppress(OSError):
            if path.stat().st_mtime < oldest:
                path.unlink()
    status = os.stat(root)
    identity = f"{os.path.realpath(root)}\0{status.st_dev}\0{status.st_ino}"
    return str(folder / f"{hashlib.sha256(identity.encode('utf-8', 'surrogateescape')).hexdigest()[:32]}-{VERSION}.db")


def remove_index(path: str) -> None:
    """Remove an index; those who have it open go on with what they have."""
    for file in index_files(path):
        Path(file).unlink(missing_ok=True)
    if is_temporary(path):
        with suppress(OSError):
            Path(path).parent.rmdir()


def index_files(path: str) -> list[str]:
    """The files that an index may consist of."""
    return [path + suffix for suffix in ("", "-wal", "-shm", "-journal")]


def is_temporary(path: str) -> bool:
    """Whether an index is for this process alone."""
    return Path(path).parent.name.startswith(_TEMPORARY)
