"""Where the artifacts are that a command names: the store to open, and the path in it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from holdall.artifacts.http.addresses import locate_artifacts
from holdall.cli.stores import open_for_reading
from holdall.stores import open_artifact_store
from holdall.stores.artifacts import ArtifactStore
from holdall.stores.entities import FileInfo
from holdall.stores.errors import InvalidParameterValue, NotFound
from holdall.stores.paths import validate_artifact_path
from holdall.stores.uri import StoreURI

__all__ = ["Location", "locate_operand", "locate_target", "open_location", "open_target"]

_RUN_AND_PATH = re.compile(r"([A-Za-z0-9][\w\-]+):(?!/)(.*)", re.DOTALL)
"""`RUN_ID:path`, as scp writes it: a colon before any slash. A URI has a slash after its first colon."""

_GENERATED_RUN_ID = re.compile(r"[0-9a-f]{32}")

_PATH_OR_URI = re.compile(r"[/:\\]|^\.")


@dataclass(frozen=True, slots=True)
class Location:
    """A file or folder, which need not exist.

    Attributes:
        root: The store that holds it: of a run its artifact root, of a URI or path the folder above the last name.
        path: Where it is below the root; `''` is the root itself.
        name: What a copy of it is called; `''` for what has no name, such as the root of a bucket.
        is_folder: It was written as a folder: with a trailing slash, or without a name.
    """

    root: StoreURI
    path: str
    name: str
    is_folder: bool

    @property
    def whole(self) -> StoreURI:
        """The URI of the location itself: the root of a store, if it is a folder."""
        return self.root.join(*self.path.split("/")) if self.path else self.root

    @property
    def is_local_root(self) -> bool:
        """Whether it is all of this machine's file system."""
        return self.whole.scheme == "file" and self.whole.path == "/"

    def below(self, path: str | None) -> Location:
        """A location below this one, which is then the root of a store; itself if None."""
        if path is None:
            return self
        checked = validate_artifact_path(path)
        return Location(self.whole, checked, checked.rpartition("/")[2], path[-1:] in ("", "/"))

    def require_kind(self, found: FileInfo, *, recursive: bool) -> None:
        """Refuse a folder where only a file was asked for, and a file that was written as a folder.

        Raises:
            InvalidParameterValue: It is one of these.
        """
        if found.is_dir and not recursive:
            raise InvalidParameterValue(f"{self.whole} is a folder; add -r for it and all that it holds.")
        if self.is_folder and not found.is_dir:
            raise InvalidParameterValue(f"{self.whole} is a file; leave out the slash at its end.")


def locate_target(text: str, store_uri: str | None, *, follow: bool = True) -> Location:
    """The location of a `RUN_ID|URI`: text with `/`, `:` or a leading dot is a URI, a path or `RUN_ID:path`.

    Args:
        text: What the user wrote.
        store_uri: Backend store to look a run up in; None for that of the fluent calls.
        follow: Go through a local link at the end of a path.

    Raises:
        InvalidParameterValue: It is malformed.
        NotFound: There is no such run.
    """
    return _locate(text, store_uri, is_run=_PATH_OR_URI.search(text) is None, follow=follow)


def locate_operand(text: str, store_uri: str | None) -> Location:
    """The location of an operand of a copy: a path, a URI, `RUN_ID:path`, or a run id of 32 hexadecimal digits.

    Arguments and errors are those of `locate_target`.
    """
    return _locate(text, store_uri, is_run=_GENERATED_RUN_ID.fullmatch(text) is not None, follow=True)


@contextmanager
def open_location(
    location: Location, *, read_only: bool, missing_is_folder: bool
) -> Iterator[tuple[ArtifactStore, str]]:
    """Open what is at a location.

    A folder is opened as the root of a store, since the folder above may be out of bounds, or on another file system.

    Args:
        location: File or folder.
        read_only: Refuse writes.
        missing_is_folder: What to take it for if there is nothing.

    Yields:
        For a folder its store and `''`, for a file the store of the folder above and its path there.
    """
    if location.path and not (location.is_folder and missing_is_folder):
        with open_artifact_store(location.root, read_only=read_only) as store:
            if not _is_folder(store, location, missing_is_folder):
                yield store, location.path
                return
    with open_artifact_store(location.whole, read_only=read_only) as store:
        yield store, ""


@contextmanager
def open_target(text: str, path: str | None, store_uri: str | None) -> Iterator[tuple[ArtifactStore, str]]:
    """Open what a `RUN_ID|URI` and a path below it name, for reading: a store, and the path in it."""
    location = locate_target(text, store_uri)
    if path is None:
        with open_location(location, read_only=True, missing_is_folder=True) as opened:
            yield opened
    else:
        with open_artifact_store(location.whole, read_only=True) as store:
            yield store, validate_artifact_path(path)


def _is_folder(store: ArtifactStore, location: Location, missing_is_folder: bool) -> bool:
    try:
        return store.stat(location.path).is_dir
    except NotFound:
        return missing_is_folder
    except PermissionError:  # some may do everything in a folder, and ask nothing about it
        return location.is_folder or missing_is_folder


def _locate(text: str, store_uri: str | None, *, is_run: bool, follow: bool) -> Location:
    match = _RUN_AND_PATH.fullmatch(text)
    if not is_run and match is None:
        return _locate_uri(StoreURI.parse(text), follow)
    run_id, written = match.groups() if match else (text, "")
    return Location(_artifact_root(run_id, store_uri, text), "", "", True).below(written)


def _artifact_root(run_id: str, store_uri: str | None, text: str) -> StoreURI:
    try:
        with open_for_reading(store_uri) as store:
            return locate_artifacts(StoreURI.parse(store.get_run(run_id).info.artifact_uri), store.uri)
    except NotFound as error:
        if not os.path.lexists(text):
            raise
        raise NotFound(f"{error.message} For the local file or folder write ./{text}") from error


def _locate_uri(uri: StoreURI, follow: bool) -> Location:
    """Split a URI at its last name: an artifact URI is the root of a store, so a file is in the store of its parent."""
    is_folder = uri.path.endswith("/")
    name = uri.path.rstrip("/").rpartition("/")[2]
    if uri.scheme == "file":
        is_folder, name = (True, "") if name in (".", "..") else (is_folder, name)
        uri = replace(uri, path=_real_path(uri.path, follow))
    parent, _, last = uri.path.rstrip("/").rpartition("/")
    if not last:
        return Location(uri, "", "", True)
    return Location(replace(uri, path=parent or "/"), last, name, is_folder)


def _real_path(path: str, follow: bool) -> str:
    """A local path without links: a store refuses those that lead out of its root."""
    if follow:
        return os.path.realpath(path)
    absolute = Path(os.path.abspath(path))
    return str(Path(os.path.realpath(absolute.parent), absolute.name))
