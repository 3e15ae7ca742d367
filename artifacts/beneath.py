"""Ways below a root folder that cannot lead out of it.

A path is walked name by name from the root's descriptor, and no name is ever opened through a link: a link is read, and
its target walked in turn. So there is no moment between a check and its use in which somebody could swap a folder for a
link.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from holdall.stores.errors import InvalidParameterValue

__all__ = ["FOLDER", "MAX_LINKS", "Beneath", "Place"]

MAX_LINKS = 40
"""Links on one way after which it is taken for a loop; Linux has the same limit."""

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Place:
    """Where a path leads.

    Attributes:
        folder: Open descriptor of the folder that holds it.
        name: Its name in that folder; `.` for the root. Not necessarily there, and never opened through a link.
        real: The way from the root without links, the name included.
    """

    folder: int
    name: str
    real: tuple[str, ...]


class Beneath:
    """A root folder, which may itself be reached through links, and all ways below it."""

    def __init__(self, root: str) -> None:
        self._root = root

    @contextmanager
    def locate(self, path: str, *, create: bool = False, follow: bool = True) -> Iterator[Place]:
        """Walk to a path.

        Args:
            path: Validated artifact path.
            create: Make the root and the folders on the way.
            follow: Whether a link at the very end is walked too.

        Yields:
            The place; its descriptor is open until the context ends.

        Raises:
            FileNotFoundError: The root or a folder on the way is missing.
            NotADirectoryError: Something on the way is not a folder.
            InvalidParameterValue: A link leads out of the root, or in circles.
        """
        if create:
            os.makedirs(self._root, exist_ok=True)
        walk = _Walk(self._root, path)
        try:
            yield walk.run(create=create, follow=follow)
        finally:
            os.close(walk.folder)


class _Walk:
    """One way: what is left of it, and the folder reached so far."""

    def __init__(self, root: str, path: str) -> None:
        self._root = root
        self._path = path
        self._links = 0
        self._names: list[str] = []
        self._ahead: list[str] = []
        self._push(path)
        self.folder = os.open(root, FOLDER)

    def run(self, *, create: bool, follow: bool) -> Place:
        while self._ahead:
            name = self._ahead.pop()
            if name == "..":
                self._up()
                continue
            target = self._link(name) if self._ahead or follow else None
            if target is not None:
                self._follow(target)
            elif self._ahead:
                self._enter(name, create=create)
            else:
                return Place(self.folder, name, (*self._names, name))
        return Place(self.folder, ".", tuple(self._names))

    def _push(self, path: str) -> None:
        self._ahead += [name for name in reversed(path.split("/")) if name not in ("", ".")]

    def _link(self, name: str) -> str | None:
        try:
            return os.readlink(name, dir_fd=self.folder)
        except OSError as error:
            if error.errno in (errno.EINVAL, errno.ENOENT):
                return None  # not a link
            raise

    def _follow(self, target: str) -> None:
        self._links += 1
        if self._links > MAX_LINKS:
            raise InvalidParameterValue(f"Invalid path {self._path!r}: links on it lead in circles.")
        if target.startswith("/"):
            target = self._below_root(target)
            self._names.clear()
            self._restart()
        self._push(target)

    def _below_root(self, target: str) -> str:
        for root in (self._root, os.path.realpath(self._root)):
            if target == root or target.startswith(root.rstrip("/") + "/"):
                return target[len(root) :]
        raise self._escape()

    def _up(self) -> None:
        if not self._names:
            raise self._escape()
        self._names.pop()
        self._restart()

    def _restart(self) -> None:
        """Walk to the folder reached so far anew from the root; `..` would go wherever the folder was moved to."""
        self._move(os.open(self._root, FOLDER))
        for name in self._names:
            self._move(os.open(name, FOLDER | os.O_NOFOLLOW, dir_fd=self.folder))

    def _enter(self, name: str, *, create: bool) -> None:
        if create:
            with suppress(FileExistsError):  # the usual case; what it is shows when it is opened
                os.mkdir(name, dir_fd=self.folder)
        self._move(os.open(name, FOLDER | os.O_NOFOLLOW, dir_fd=self.folder))
        self._names.append(name)

    def _move(self, folder: int) -> None:
        os.close(self.folder)
        self.folder = folder

    def _escape(self) -> InvalidParameterValue:
        return InvalidParameterValue(f"Invalid path {self._path!r}: a link on it leads out of {self._root!r}.")
