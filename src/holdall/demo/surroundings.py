"""What a run needs to be repeated: the packages and the interpreter."""

from __future__ import annotations

import platform
from importlib import import_module, metadata

from holdall.extras import needs

__all__ = ["environment_files", "require_packages"]


def require_packages() -> None:
    """Check that what the demo trains and draws with is there, before any store is touched.

    Raises:
        MissingExtra: scikit-learn or matplotlib is not installed.
    """
    for package in ("sklearn", "matplotlib"):
        with needs(package, "holdall demo"):
            import_module(package)


def environment_files() -> dict[str, str]:
    """Text by artifact path."""
    return {"environment/requirements.txt": _requirements(), "environment/python.txt": _interpreter()}


def _requirements() -> str:
    """Every installed distribution with its version, as `pip freeze` lists them."""
    versions = {found.metadata["Name"]: found.version for found in metadata.distributions()}
    return "".join(f"{name}=={versions[name]}\n" for name in sorted(versions, key=str.lower))


def _interpreter() -> str:
    return f"{platform.python_implementation()} {platform.python_version()}\n{platform.platform()}\n"
