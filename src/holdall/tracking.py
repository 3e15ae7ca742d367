"""The fluent calls under the name that some scripts import: `import holdall.tracking as mlflow`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import holdall

if TYPE_CHECKING:
    from holdall import *  # noqa: F403 - an alias has the names of what it stands for

__all__: list[str] = []
__all__ += holdall.__all__


def __getattr__(name: str) -> object:
    """What `holdall` has under this name."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(holdall, name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
