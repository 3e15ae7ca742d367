"""What the system says about a run that begins: who, from which source, at which commit."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import ModuleType

from holdall import environment
from holdall.git import head_commit
from holdall.stores.names import USER_TAG

__all__ = ["system_tags"]

SOURCE_NAME_TAG = "mlflow.source.name"
SOURCE_TYPE_TAG = "mlflow.source.type"
GIT_COMMIT_TAG = "mlflow.source.git.commit"


def system_tags() -> dict[str, str]:
    """Tags of a new run: user, source, commit, and those of `MLFLOW_RUN_CONTEXT`.

    The commit is that of the repository holding the script, not of the working directory; without a script there is
    none.

    Raises:
        InvalidParameterValue: `MLFLOW_RUN_CONTEXT` is no JSON object.
    """
    in_notebook = _in_notebook()
    name = (_notebook_name() if in_notebook else None) or (sys.argv[0] if sys.argv else "") or "<console>"
    tags = {
        USER_TAG: environment.tracking_username() or _login_name(),
        SOURCE_NAME_TAG: name,
        SOURCE_TYPE_TAG: "NOTEBOOK" if in_notebook else "LOCAL",
    }
    script = _script(name if in_notebook else None)
    commit = None if script is None else head_commit(script.parent)
    if commit is not None:
        tags[GIT_COMMIT_TAG] = commit
    return tags | environment.run_context()


def _login_name() -> str:
    import getpass

    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # a container whose user has no name
        return "unknown"


def _script(notebook: str | None) -> Path | None:
    """The file that is being run; `__main__` knows it even after the working directory or `sys.argv` changed."""
    name = notebook or getattr(sys.modules.get("__main__"), "__file__", None)
    if not isinstance(name, str):
        return None
    path = Path(os.path.abspath(name))
    return path if path.is_file() else None


def _in_notebook() -> bool:
    """Whether a Jupyter kernel runs this process; nothing is imported to find out."""
    shell = _shell(sys.modules.get("IPython"))
    return shell is not None and type(shell).__name__ == "ZMQInteractiveShell"


def _notebook_name() -> str | None:
    """The notebook's file: VS Code puts it into the user's variables, Jupyter servers into the environment."""
    variables: object = getattr(_shell(sys.modules.get("IPython")), "user_ns", None)
    name = variables.get("__vsc_ipynb_file__") if isinstance(variables, dict) else None
    if isinstance(name, str) and name:
        return name
    found = (os.environ.get(key) for key in ("__vsc_ipynb_file__", "IPYNB_FILE", "JPY_SESSION_NAME"))
    return next((value for value in found if value), None)


def _shell(ipython: ModuleType | None) -> object | None:
    get_shell = getattr(ipython, "get_ipython", None)
    return get_shell() if callable(get_shell) else None
