"""The root folder of a store that is being opened, and the creation of what must be in it."""

from __future__ import annotations

import os
import time
from pathlib import Path

from holdall.backends.file.experiments import Experiments
from holdall.backends.file.files import Folder
from holdall.backends.file.layout import META, MODELS, ROOT_LOCK, TRASH, is_experiment_name
from holdall.backends.file.locks import Locks
from holdall.stores.errors import InvalidParameterValue, NotFound
from holdall.stores.uri import StoreURI

__all__ = ["prepare", "require_root"]


def require_root(root: str, uri: StoreURI) -> None:
    """Refuse a root that is no store and is not to become one.

    Raises:
        NotFound: Nothing is there, or an empty folder.
        InvalidParameterValue: It is a file, or a folder of other things.
    """
    path = Path(root)
    if path.is_file():
        raise InvalidParameterValue(
            f"{uri} is a file, and a store of files is a folder. For an SQLite database write sqlite:///{root}."
        )
    if not path.is_dir():
        raise NotFound(f"There is no store in {uri}: the folder does not exist.")
    with Folder(f"{root}/.") as folder:
        if not _is_store(folder):
            _require_nothing_else(folder, uri)
            raise NotFound(f"There is no store in {uri}: the folder is empty.")


def prepare(root: str, uri: StoreURI, locks: Locks, experiments: Experiments, default_location: str) -> bool:
    """Make a store of a root that is none; whether it was made now. Any number of processes may do so at once.

    Raises:
        InvalidParameterValue: The root is a file, or holds other things.
    """
    if os.path.isfile(root):
        require_root(root, uri)
    os.makedirs(root, exist_ok=True)
    with Folder(f"{root}/.") as folder:
        if _is_store(folder) and folder.stat(TRASH) is not None:
            return False
        _require_nothing_else(folder, uri)
        with locks.hold(folder, ROOT_LOCK, f"The store {uri}"):
            is_new = not _is_store(folder)
            if is_new:
                experiments.create_default(folder, default_location, time.time_ns() // 1_000_000)
            folder.make(TRASH)  # without it, MLflow does not open a store; it is last, and says that all is there
            return is_new


def _is_store(folder: Folder) -> bool:
    """Whether there are experiments, or were."""
    if folder.stat(TRASH) is not None:
        return True
    return any(is_experiment_name(name) and folder.stat(f"{name}/{META}") for name in folder.folders())


def _require_nothing_else(folder: Folder, uri: StoreURI) -> None:
    """Refuse to make a store of a folder that is somebody's."""
    if _is_store(folder):
        return
    others = [name for name in folder.names() if not name.startswith(".") and name not in (MODELS, "0")]
    if others:
        raise InvalidParameterValue(
            f"{uri} holds no experiments but other things ({min(others)!r} …); choose an empty folder, or a new one."
        )
