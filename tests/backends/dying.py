"""The death of a process at each step, without a process: the system that the file backend sees stops answering."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

__all__ = ["Death", "Mortal", "mortal"]

_COUNTED = frozenset({"write", "rename", "mkdir", "link", "unlink", "rmdir", "ftruncate"})
_PACKAGE = "holdall.backends.file."
_CREATING = os.O_CREAT | os.O_TRUNC


class Death(BaseException):
    """The process ends here; no handler of the backend may catch it."""


class Mortal:
    """Stands for the module `os`; the step `last` and all later ones do not happen.

    A write is two steps: none of its bytes, then the first half of them. What clears up afterwards does nothing, save
    locks: those are given back, since the process lives on.

    Args:
        last: Number of steps that happen; None for all.
    """

    def __init__(self, last: int | None = None) -> None:
        self.steps = 0
        self._last = last

    def __getattr__(self, name: str) -> Any:
        found = getattr(os, name)
        if name in _COUNTED:
            return lambda *args, **keywords: self._step(name, found, args, keywords)
        if name == "open":
            return self._open
        return found

    def _open(self, path: str, flags: int, *args: Any, **keywords: Any) -> int:
        if not flags & _CREATING or (not self._is_dead and _is_there(path, keywords) and not flags & os.O_TRUNC):
            return os.open(path, flags, *args, **keywords)
        result: int = self._step("open", os.open, (path, flags, *args), keywords)
        return result

    @property
    def _is_dead(self) -> bool:
        return self._last is not None and self.steps > self._last

    def _step(self, name: str, act: Callable[..., Any], args: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        if name == "unlink" and _is_lock(str(args[0]), keywords):
            return act(*args, **keywords)
        before = self.steps
        self.steps += 2 if name == "write" else 1
        if self._last is None or self.steps <= self._last:
            return act(*args, **keywords)
        if name == "write" and before == self._last - 1:
            file, data = args
            act(file, data[: len(data) // 2])
        raise Death


def _is_lock(name: str, keywords: dict[str, Any]) -> bool:
    folder = os.readlink(f"/proc/self/fd/{keywords['dir_fd']}") if "dir_fd" in keywords else ""
    return folder.endswith("/locks") or "lock" in name


def _is_there(path: str, keywords: dict[str, Any]) -> bool:
    try:
        os.stat(path, dir_fd=keywords.get("dir_fd"), follow_symlinks=False)
    except OSError:
        return False
    return True


@contextmanager
def mortal(last: int | None = None) -> Iterator[Mortal]:
    """Within the block the file backend, its locks apart, runs on a `Mortal`."""
    system = Mortal(last)
    with pytest.MonkeyPatch.context() as patch:
        for name, module in list(sys.modules.items()):
            if name.startswith(_PACKAGE) and hasattr(module, "os") and not name.endswith(".locks"):
                patch.setattr(module, "os", system)
        yield system
