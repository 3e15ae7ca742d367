"""Fluent calls that say where data goes."""

from __future__ import annotations

from pathlib import Path

from holdall.session import SESSION
from holdall.stores.uri import StoreURI

__all__ = ["get_tracking_uri", "is_tracking_uri_set", "set_tracking_uri"]


def set_tracking_uri(uri: str | Path | StoreURI | None) -> None:
    """Choose the store for this process; runs that are active go on where they are.

    Nothing is opened yet, and the environment is left alone. A relative path is resolved now: changing the working
    directory later does not move the data.

    Args:
        uri: Such as `sqlite:///runs.db`; None or `''` goes back to `MLFLOW_TRACKING_URI` and the defaults.

    Raises:
        InvalidParameterValue: The URI is malformed.
    """
    SESSION.configuration.set_uri(uri)


def get_tracking_uri() -> str:
    """The URI of the store in use, absolute, with everything needed to open it again, a password included.

    Raises:
        InvalidParameterValue: `MLFLOW_TRACKING_URI` is malformed.
        Unsupported: Nothing is configured, and the working directory holds data that cannot be opened.
    """
    return SESSION.configuration.target().uri.render(hide_password=False)


def is_tracking_uri_set() -> bool:
    """Whether a store was chosen, by `set_tracking_uri` or `MLFLOW_TRACKING_URI`."""
    return SESSION.configuration.is_set()
