"""The environment variables that fluent calls obey, read when they are asked for and never written.

One exception: `MLFLOW_RUN_ID` is an order to resume one run, so reading it takes it away.
"""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path

from holdall.stores.errors import InvalidParameterValue

__all__ = [
    "experiment_id",
    "experiment_name",
    "run_context",
    "take_run_id",
    "tracking_uri",
    "tracking_username",
]

logger = logging.getLogger("holdall")


def tracking_uri() -> str | None:
    """`MLFLOW_TRACKING_URI`; empty means unset."""
    return os.environ.get("MLFLOW_TRACKING_URI") or None


def experiment_name() -> str | None:
    """`MLFLOW_EXPERIMENT_NAME`; empty is an error when it is used, so that nothing lands in `Default` by mistake."""
    return os.environ.get("MLFLOW_EXPERIMENT_NAME")


def experiment_id() -> str | None:
    """`MLFLOW_EXPERIMENT_ID`; empty means unset."""
    return os.environ.get("MLFLOW_EXPERIMENT_ID") or None


def take_run_id() -> str | None:
    """`MLFLOW_RUN_ID`, removed from the environment: neither a later run nor a child process shall resume it too."""
    return os.environ.pop("MLFLOW_RUN_ID", None) or None


def run_context() -> dict[str, str]:
    """`MLFLOW_RUN_CONTEXT`: a JSON object of tags for every run that is started.

    Raises:
        InvalidParameterValue: It is no JSON object.
    """
    text = os.environ.get("MLFLOW_RUN_CONTEXT")
    if not text:
        return {}
    try:
        tags = json.loads(text)
    except ValueError:
        tags = None
    if not isinstance(tags, dict):
        raise InvalidParameterValue('MLFLOW_RUN_CONTEXT must be a JSON object of tags, such as {"team": "vision"}.')
    return {str(key): str(value) for key, value in tags.items()}


def tracking_username() -> str | None:
    """`MLFLOW_TRACKING_USERNAME`, else the user named in `~/.mlflow/credentials`."""
    return os.environ.get("MLFLOW_TRACKING_USERNAME") or _username_in(Path("~/.mlflow/credentials"))


def _username_in(credentials: Path) -> str | None:
    try:
        text = credentials.expanduser().read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError, RuntimeError):  # no file, or no home to look for it
        return None
    except (OSError, ValueError) as error:
        logger.warning("%s cannot be read and was ignored: %s", credentials, type(error).__name__)
        return None
    import configparser

    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(text)
    except configparser.Error as error:
        # The user's name is a label; it must not keep anybody from training.
        logger.warning("%s is malformed and was ignored: %s", credentials, type(error).__name__)
        return None
    return parser.get("mlflow", "mlflow_tracking_username", fallback=None) or None
