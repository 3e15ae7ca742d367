"""Optional packages, and what to say when one is missing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from holdall.stores.errors import MissingExtra

__all__ = ["needs"]


@contextmanager
def needs(package: str, what: str, install: str = "holdall[client-extras]") -> Iterator[None]:
    """Around an import of an optional package: says how to install it if it is that package which is missing.

    Args:
        package: Top-level name of the package.
        what: The call that needs it.
        install: What to install.

    Raises:
        MissingExtra: The package is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != package:
            raise
        raise MissingExtra(f"{what} needs {package}; install it with: pip install '{install}'") from error
