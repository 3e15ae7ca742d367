"""Where data goes: from what is configured, or found in the working directory, to the URI of a store.

`set_tracking_uri` wins, then `MLFLOW_TRACKING_URI`, then what lies in the working directory. Relative paths are
resolved when the URI is set or first used and never again, so a later `os.chdir` does not move the data (mlflow#7378).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from holdall.stores.uri import StoreURI

__all__ = ["Target", "default_target"]

DATABASE = "mlflow.db"
FILE_STORE = "mlruns"
ARTIFACTS = "mlartifacts"
REMEDY = "choose a store with holdall.set_tracking_uri(...) or MLFLOW_TRACKING_URI"


@dataclass(frozen=True, slots=True)
class Target:
    """A backend store to open.

    Attributes:
        uri: Where it is, absolute.
        artifact_root: Under which its new experiments keep artifacts; None for the store's own choice.
        notice: What the user, who configured nothing, should be told beyond the URI; None if it was configured.
    """

    uri: StoreURI
    artifact_root: StoreURI | None = None
    notice: str | None = None

    @classmethod
    def configured(cls, uri: str | Path | StoreURI) -> Target:
        """What a URI names that somebody chose.

        Raises:
            InvalidParameterValue: The URI is malformed.
        """
        return cls(StoreURI.parse(uri).absolute())


def default_target(folder: Path) -> Target:
    """The store to use when nothing is configured: an existing one in the folder, otherwise a new SQLite database.

    An existing database wins over an existing `mlruns` folder, and the user is told of the other one. A database is
    never created beside an `mlruns` store: its runs would seem to be gone (mlflow#23634).

    Args:
        folder: The working directory.
    """
    database, file_store = folder / DATABASE, folder / FILE_STORE
    holds_runs = _is_file_store(file_store)
    if holds_runs and not database.exists():
        return Target(StoreURI.parse(file_store), None, "nothing was configured")
    beside = f"; {file_store} exists too and is not used" if holds_runs else ""
    return Target(
        StoreURI("sqlite", path=str(database)), StoreURI.parse(folder / ARTIFACTS), f"nothing was configured{beside}"
    )


def _is_file_store(folder: Path) -> bool:
    """Whether an experiment lies in the folder: a sub-folder named by digits that holds a `meta.yaml`."""
    return folder.is_dir() and any(
        child.name.isdecimal() and child.name.isascii() and (child / "meta.yaml").is_file()
        for child in folder.iterdir()
    )
