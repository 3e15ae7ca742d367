"""Files and folders below the root on the server: where paths lead, what folders hold, making and removing."""

from __future__ import annotations

import stat
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, takewhile
from typing import TypeVar

from holdall.artifacts.sftp.protocol import (
    EOF,
    FAILURE,
    NO_SUCH_FILE,
    RMDIR,
    Attributes,
    ListedName,
    Refused,
    Reply,
    Request,
    attributes_of,
    close,
    handle_of,
    lstat,
    mkdir,
    names_of,
    open_folder,
    read_folder,
    readlink,
    realpath,
    remove,
    require_ok,
    rmdir,
    stat_path,
)
from holdall.artifacts.sftp.session import Session
from holdall.stores.atomic_file import PRIVATE_PREFIX
from holdall.stores.errors import InvalidParameterValue, TemporarilyUnavailable

__all__ = ["ATTEMPTS", "Place", "Tree", "if_there", "parent_of"]

T = TypeVar("T")

ATTEMPTS = 100
"""How often a step is repeated that a concurrent writer or deleter has undone."""

MAX_LINKS = 40
"""Links on one way after which it is taken for a loop; Linux has the same limit."""

TRUSTED_SECONDS = 5.0
"""How long a folder that was seen to be one, and no link, is taken for one without asking."""

_TRUSTED_FOLDERS = 10_000
_FOLDERS_AT_ONCE = 16
_REQUESTS_AT_ONCE = 256
_FIRST_PAGES = 2
_FURTHER_PAGES = 8


@dataclass(frozen=True, slots=True)
class Place:
    """Where a path leads.

    Attributes:
        real: The path from the root without links.
        attributes: Of what is there; None if nothing is.
        blocked: Something stands on the way that is no folder.
    """

    real: str
    attributes: Attributes | None
    blocked: bool = False

    @property
    def is_folder(self) -> bool:
        return self.attributes is not None and self.attributes.is_folder

    @property
    def is_file(self) -> bool:
        return self.attributes is not None and self.attributes.is_file


class Tree:
    """A folder on a server, which may itself be reached through links, and all ways below it.

    The methods raise `Refused` where the server refuses something that is not told otherwise.

    Args:
        root: Absolute path of the folder.
    """

    def __init__(self, root: str) -> None:
        self.root = root
        self._base = root.encode() if root != "/" else b""
        self._trusted: dict[str, float] = {}

    def at(self, real: str) -> bytes:
        """A path of the server; links in it are followed by the server, so `locate` must have found it."""
        return self._base + b"/" + real.encode() if real else self.root.encode()

    def locate(
        self,
        session: Session,
        path: str,
        *,
        follow: bool = True,
        also: Sequence[Request] = (),
        replies: list[Reply] | None = None,
    ) -> Place:
        """Find out where a path leads.

        Args:
            session: Whom to ask.
            path: Validated artifact path.
            follow: Whether a link at the very end is followed too.
            also: Further requests, sent with the first ones.
            replies: Takes the answers to those, even if an error is raised afterwards.

        Raises:
            InvalidParameterValue: A link on the way leads out of the root, or in circles.
        """
        return _Walk(self, session, path, follow=follow, also=also, replies=[] if replies is None else replies).run()

    def trust(self, real: str) -> None:
        """Remember that this is a folder and no link."""
        if len(self._trusted) >= _TRUSTED_FOLDERS:
            self._trusted.clear()
        self._trusted[real] = time.monotonic()

    def trusts(self, real: str) -> bool:
        """Whether this was a folder and no link a moment ago; the root always is."""
        if not real:
            return True
        seen = self._trusted.get(real)
        return seen is not None and time.monotonic() - seen < TRUSTED_SECONDS

    def forget(self) -> None:
        """Trust no folder any more."""
        self._trusted.clear()

    # Folders

    def make_root(self, session: Session) -> None:
        """Make the root, and what it is in.

        Raises:
            InvalidParameterValue: It is a file, or in one.
        """
        names = self.root.split("/")[1:]
        for end in range(1, len(names) + 1):
            self._make(session, "/" + "/".join(names[:end]), stat_path)

    def make_folders(self, session: Session, real: str) -> None:
        """Make a folder and those that it is in, as far as they are missing.

        Raises:
            InvalidParameterValue: There is a file in the place of one.
        """
        names = real.split("/") if real else []
        for end in range(1, len(names) + 1):
            folder = "/".join(names[:end])
            if folder == real or not self.trusts(folder):
                self._make(session, self.at(folder).decode(), lstat)
                self.trust(folder)

    def _make(self, session: Session, path: str, look: Callable[[bytes], Request]) -> None:
        made, seen = session.ask(mkdir(path.encode()), look(path.encode()))
        try:
            require_ok(made)
        except Refused as refusal:
            there = if_there(attributes_of, seen)
            if there is None:
                raise refusal from None
            if not there.is_folder:
                raise InvalidParameterValue(
                    f"{path!r} on the server is not a folder, though a folder is needed there; delete it first."
                ) from None

    # Listing

    def entries(self, session: Session, folders: Sequence[bytes]) -> Iterator[tuple[bytes, list[ListedName]]]:
        """What folders hold, several asked for at a time; one that is missing holds nothing.

        Args:
            session: Whom to ask.
            folders: Paths of the server.

        Yields:
            Each folder, with what it holds but for `.` and `..`.
        """
        for group in _batches(folders, _FOLDERS_AT_ONCE):
            for folder, entries in _read_folders(session, group).items():
                yield folder, _with_types(session, folder, entries)

    # Removing

    def remove(self, session: Session, real: str, attributes: Attributes) -> None:
        """Remove a file, a link, or a folder with all it holds, in spite of others who write there meanwhile."""
        path, there = self.at(real), attributes
        for _ in range(ATTEMPTS):
            if there.is_folder:
                gone = _clear(session, self, path, lambda name: True) and _gone(session, [rmdir(path)])
            else:
                gone = _gone(session, [remove(path)])
            now = None if gone else if_there(attributes_of, session.ask(lstat(path))[0])
            if now is None:
                return
            there = now
        raise TemporarilyUnavailable(f"Folder {real!r} is being written to all the time; try again.")

    def remove_inside(self, session: Session, wanted: Callable[[bytes], bool]) -> None:
        """Remove what the root holds, as far as its names are wanted."""
        for _ in range(ATTEMPTS):
            if _clear(session, self, self.at(""), wanted):
                return
        raise TemporarilyUnavailable("The store is being written to all the time; try again.")

    def sweep(self, session: Session, oldest: int) -> None:
        """Remove unfinished files from the root that nobody has written to since `oldest`, by the server's clock."""
        [(_, entries)] = self.entries(session, [self.at("")])
        stale = [
            remove(self.at(entry.name.decode()))
            for entry in entries
            if entry.name.startswith(PRIVATE_PREFIX.encode())
            and entry.name.isascii()
            and entry.attributes.is_file
            and (entry.attributes.modified or oldest) < oldest
        ]
        _gone(session, stale)


class _Walk:
    """One way below the root: the names that lie ahead, and those passed, which hold no links."""

    def __init__(
        self,
        tree: Tree,
        session: Session,
        path: str,
        *,
        follow: bool,
        also: Sequence[Request],
        replies: list[Reply],
    ) -> None:
        self._tree = tree
        self._session = session
        self._path = path
        self._follow = follow
        self._also = also
        self._ahead = path.split("/")
        self._passed: list[str] = []
        self._links = 0
        self._last: Attributes | None = None
        self._replies = replies

    def run(self) -> Place:
        while self._ahead:
            if self._ahead[0] == "..":
                self._go_up()
                continue
            blocked = self._go_on(list(takewhile(lambda name: name != "..", self._ahead)))
            if blocked is not None:
                return blocked
        return Place("/".join(self._passed), self._last)

    def _go_up(self) -> None:
        self._ahead.pop(0)
        if not self._passed:
            raise self._escape()
        self._passed.pop()
        self._last = Attributes(mode=stat.S_IFDIR)

    def _go_on(self, names: list[str]) -> Place | None:
        """Pass the next names up to the first link; the place if the way ends before."""
        found = self._look(names)
        for index, there in enumerate(found):
            final = index + 1 == len(self._ahead)
            if there is not None and there.is_link and (self._follow or not final):
                self._passed += names[:index]
                self._turn(names[index], self._ahead[index + 1 :])
                return None
            if not final and (there is None or not there.is_folder):
                if ".." in self._ahead:
                    raise InvalidParameterValue(f"Invalid path {self._path!r}: a link on it leads past what is there.")
                return Place("/".join([*self._passed, *self._ahead]), None, blocked=there is not None)
        self._passed += names
        self._ahead = self._ahead[len(names) :]
        self._last = found[-1]
        return None

    def _look(self, names: list[str]) -> list[Attributes | None]:
        """What is at each of the next names, all asked for at once but for what is trusted."""
        paths = ["/".join([*self._passed, *names[: end + 1]]) for end in range(len(names))]
        asked = [path for path in paths if path == paths[-1] or not self._tree.trusts(path)]
        replies = self._session.ask(*(lstat(self._tree.at(path)) for path in asked), *self._also)
        self._replies += replies[len(asked) :]
        self._also = ()
        found = dict(zip(asked, replies, strict=False))
        seen: list[Attributes | None] = []
        for path in paths:
            there = if_there(attributes_of, found[path]) if path in found else Attributes(mode=stat.S_IFDIR)
            seen.append(there)
            if there is None or not there.is_folder:
                break  # what lies behind a link was asked for by a way that may lead out
            self._tree.trust(path)
        return seen

    def _turn(self, name: str, rest: list[str]) -> None:
        """Go where a link leads."""
        self._links += 1
        if self._links > MAX_LINKS:
            raise InvalidParameterValue(f"Invalid path {self._path!r}: links on it lead in circles.")
        [reply] = self._session.ask(readlink(self._tree.at("/".join([*self._passed, name]))))
        target = _text(names_of(reply)[0].name, self._path)
        if target.startswith("/"):
            target = self._below_root(target)
            self._passed.clear()
        self._ahead = [part for part in target.split("/") if part not in ("", ".")] + rest
        self._last = Attributes(mode=stat.S_IFDIR)

    def _below_root(self, target: str) -> str:
        [reply] = self._session.ask(realpath(self._tree.at("")))
        for root in (self._tree.root, _text(names_of(reply)[0].name, self._path)):
            if target == root or target.startswith(root.rstrip("/") + "/"):
                return target[len(root) :]
        raise self._escape()

    def _escape(self) -> InvalidParameterValue:
        return InvalidParameterValue(f"Invalid path {self._path!r}: a link on it leads out of {self._tree.root!r}.")


def if_there(parse: Callable[[Reply], T], reply: Reply) -> T | None:
    """What an answer holds; None if it is that there is no such thing."""
    try:
        return parse(reply)
    except Refused as refusal:
        if refusal.code == NO_SUCH_FILE:
            return None
        raise


def parent_of(path: str) -> str:
    """The folder that a path is in."""
    return path.rpartition("/")[0]


def _read_folders(session: Session, folders: Sequence[bytes]) -> dict[bytes, list[ListedName]]:
    replies = session.ask(*map(open_folder, folders))
    opened = {folder: if_there(handle_of, reply) for folder, reply in zip(folders, replies, strict=True)}
    left = {folder: handle for folder, handle in opened.items() if handle is not None}
    handles = list(left.values())
    found: dict[bytes, list[ListedName]] = {folder: [] for folder in folders}
    pages = _FIRST_PAGES
    try:
        while left:
            asked = [folder for folder in left for _ in range(pages)]
            for folder, reply in zip(asked, session.ask(*(read_folder(left[folder]) for folder in asked)), strict=True):
                page = _page(reply)
                found[folder] += page or ()
                if page is None and folder in left:
                    del left[folder]
            pages = _FURTHER_PAGES
    finally:
        session.post(*map(close, handles))
    return found


def _page(reply: Reply) -> list[ListedName] | None:
    """Entries but for `.` and `..`; None if there are no more.

    Raises:
        InvalidParameterValue: One is no name but a path, which may lead anywhere.
    """
    try:
        entries = [entry for entry in names_of(reply) if entry.name not in (b".", b"..")]
    except Refused as refusal:
        if refusal.code == EOF:
            return None
        raise
    for entry in entries:
        if b"/" in entry.name:
            raise InvalidParameterValue(f"The server lists {entry.name!r} in a folder, where it does not belong.")
    return entries


def _with_types(session: Session, folder: bytes, entries: list[ListedName]) -> list[ListedName]:
    """The entries, those whose type the listing does not tell asked for one by one."""
    known = [entry for entry in entries if entry.attributes.mode is not None]
    for group in _batches([entry for entry in entries if entry.attributes.mode is None], _REQUESTS_AT_ONCE):
        replies = session.ask(*(lstat(folder + b"/" + entry.name) for entry in group))
        for entry, reply in zip(group, replies, strict=True):
            attributes = if_there(attributes_of, reply)
            if attributes is not None:
                known.append(ListedName(entry.name, attributes))
    return known


def _clear(session: Session, tree: Tree, top: bytes, wanted: Callable[[bytes], bool]) -> bool:
    """Remove all that a folder holds, or what is wanted of it; False if something was added meanwhile."""
    levels = [[top]]
    while levels[-1]:
        files: list[bytes] = []
        folders: list[bytes] = []
        for folder, entries in tree.entries(session, levels[-1]):
            for entry in entries:
                if folder == top and not wanted(entry.name):
                    continue
                (folders if entry.attributes.is_folder else files).append(folder + b"/" + entry.name)
        _gone(session, list(map(remove, files)))
        levels.append(folders)
    return all([_gone(session, list(map(rmdir, folders))) for folders in reversed(levels[1:])])  # noqa: C419 - all of them


def _gone(session: Session, requests: Sequence[Request]) -> bool:
    """Remove files and empty folders; missing ones are fine, False if a folder is not empty."""
    gone = True
    for group in _batches(requests, _REQUESTS_AT_ONCE):
        for request, reply in zip(group, session.ask(*group), strict=True):
            try:
                if_there(require_ok, reply)
            except Refused as refusal:
                if refusal.code != FAILURE or request.kind != RMDIR:
                    raise
                gone = False
    return gone


def _batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    left = iter(items)
    while batch := list(islice(left, size)):
        yield batch


def _text(name: bytes, path: str) -> str:
    try:
        return name.decode()
    except UnicodeDecodeError:
        raise InvalidParameterValue(f"Invalid path {path!r}: a link on it leads to a name that is not UTF-8.") from None
