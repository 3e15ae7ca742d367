"""`ObjectArtifactStore`: files as objects under the keys of a bucket or container; folders are what keys imply."""

from __future__ import annotations

import logging
import mimetypes
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import TypeVar

from holdall.artifacts.parts import PartedUpload, PartedWriter, UploadTarget
from holdall.artifacts.remote import RemoteArtifactStore
from holdall.stores.artifact_io import ArtifactWriter, Digest, OpenedArtifact
from holdall.stores.atomic_file import PRIVATE_PREFIX
from holdall.stores.entities import FileInfo
from holdall.stores.errors import InternalError, InvalidParameterValue, NotFound
from holdall.stores.http_client import Body, HttpResponse
from holdall.stores.paths import validate_artifact_path
from holdall.stores.retries import RetryPolicy
from holdall.stores.transfers import Transfer
from holdall.stores.uri import StoreURI

__all__ = [
    "ListedObject",
    "ObjectArtifactStore",
    "ObjectPage",
    "all_pages",
    "content_type",
    "require_below",
    "whole_size",
]

_log = logging.getLogger(__name__)

T = TypeVar("T")

_MEBIBYTE = 1 << 20


@dataclass(frozen=True, slots=True)
class ListedObject:
    """An object in a listing.

    Attributes:
        key: Whole key.
        size: Bytes.
    """

    key: str
    size: int


@dataclass(frozen=True, slots=True)
class ObjectPage:
    """A page of a listing.

    Attributes:
        objects: In the order of the service.
        prefixes: What several keys begin with up to a `/`, that included; empty in a listing of everything.
        token: For the next page, or None.
    """

    objects: list[ListedObject]
    prefixes: list[str]
    token: str | None


def content_type(key: str) -> str:
    """The media type that the name of a file suggests, for those who look at the object in a browser."""
    kind, encoding = mimetypes.guess_type(key.rpartition("/")[2])
    return kind if kind and not encoding else "application/octet-stream"


def whole_size(response: HttpResponse, offset: int) -> int:
    """Bytes of the whole object, from an answer with all of it or a range.

    Raises:
        InternalError: The service does not say it, or ignored the range.
    """
    if response.status == 206:
        total = response.headers.get("Content-Range", "").rpartition("/")[2]
    else:
        total = response.headers.get("Content-Length", "") if offset == 0 else ""
    if not total.isdigit():
        response.close()
        raise InternalError("The service does not say how large an object is, or ignores the range asked for.")
    return int(total)


def all_pages(fetch: Callable[[str | None], tuple[T, str | None]], where: str) -> Iterator[T]:
    """The pages of a listing.

    Args:
        fetch: Gives a page and the token of the next one, by its own token; None stands for the first and for the end.
        where: For messages.

    Raises:
        InternalError: The service leads back to a page that it has given already.
    """
    token, seen = None, set[str]()
    while True:
        page, token = fetch(token)
        yield page
        if token is None:
            return
        if token in seen:
            raise InternalError(f"The listing of {where} leads back to a page that it has shown before.")
        seen.add(token)


def require_below(prefix: str, names: Iterable[str], where: str) -> None:
    """Believe no listing that names what was not asked for: what is listed may be deleted.

    Raises:
        InternalError: A name does not begin with `prefix`.
    """
    for name in names:
        if not name.startswith(prefix):
            raise InternalError(f"The listing of {where} shows {name!r} among the names that begin with {prefix!r}.")


class ObjectArtifactStore(RemoteArtifactStore, UploadTarget):
    """Files as objects under `prefix/path`; a service gives the few requests at the end of this class.

    Folders exist as long as files are in them. Objects whose keys end with `/`, as consoles make them for empty
    folders, are folders. Objects that somebody put there under keys that `validate_artifact_path` refuses are left
    out of listings with a warning in the log; deleting a folder, or everything, removes them too.

    Args:
        uri: The root, parsed; its host is the bucket or container.
        read_only: Refuse every write with `ReadOnly`.
        retries: How long to repeat what may succeed a moment later.
    """

    _most_parts: int = 10_000
    """Parts that a file may have."""

    _delete_batch: int = 1000
    """Objects that one request deletes."""

    def __init__(self, uri: StoreURI, *, read_only: bool, retries: RetryPolicy) -> None:
        super().__init__(uri, read_only=read_only, retries=retries)
        folder = uri.path.strip("/")
        self._prefix = f"{folder}/" if folder else ""

    # Hooks of the store, by those of the service

    def _open_reader(self, path: str, offset: int = 0, length: int | None = None) -> OpenedArtifact:
        opened = self._get_object(self._prefix + path, offset, length)
        if opened is not None:
            return opened
        if self._is_folder(path):
            raise InvalidParameterValue(f"Artifact {path!r} is not a file; list it, or name a file in it.")
        raise NotFound(f"There is no artifact {path!r} in {self.uri}.")

    def _open_writer(self, path: str, size: int | None) -> ArtifactWriter:
        part_size = self._part_size
        least = -(-(size or 0) // self._most_parts)
        if least > part_size:
            part_size = -(-least // _MEBIBYTE) * _MEBIBYTE
        return PartedWriter(self, self._parts, path, size, self._digest_algorithm, part_size)

    def _put(self, path: str, data: Body, digest: Digest) -> None:
        self._put_object(self._prefix + path, data, digest)

    def _begin_parts(self, path: str, size: int | None) -> PartedUpload:
        return self._begin_object(self._prefix + path, size)

    def _stat(self, path: str) -> FileInfo | None:
        size = self._head_object(self._prefix + path)
        if size is not None:
            return FileInfo(path, is_dir=False, file_size=size)
        return FileInfo(path, is_dir=True) if self._is_folder(path) else None

    def _list(self, path: str) -> Iterator[FileInfo]:
        folder = self._folder_key(path)
        for page in self._pages(folder, deep=False):
            for prefix in page.prefixes:
                yield from self._shown(prefix, None)
            for listed in page.objects:
                if listed.key != folder:  # what a console makes for an empty folder
                    yield from self._shown(listed.key, listed.size)

    def _list_below(self, path: str) -> Iterator[FileInfo]:
        folder = self._folder_key(path)
        for page in self._pages(folder, deep=True):
            for listed in page.objects:
                if listed.key != folder:
                    yield from self._shown(listed.key, None if listed.key.endswith("/") else listed.size)

    def _delete(self, path: str) -> None:
        folders: set[str] = set()
        Transfer(None).run(self._delete_objects, self._doomed(path, folders), self.max_workers)
        if folders and self._still_shows(path):
            for folder in sorted(folders, key=len, reverse=True):
                self._delete_objects([folder])

    # What they share

    def _folder_key(self, path: str) -> str:
        return f"{self._prefix}{path}/" if path else self._prefix

    def _is_folder(self, path: str) -> bool:
        page = self._page(self._folder_key(path), deep=True, limit=1)
        return bool(page.objects)

    def _pages(self, prefix: str, *, deep: bool) -> Iterator[ObjectPage]:
        def fetch(token: str | None) -> tuple[ObjectPage, str | None]:
            page = self._page(prefix, deep=deep, token=token)
            return page, page.token

        return all_pages(fetch, str(self.uri))

    def _page(self, prefix: str, *, deep: bool, token: str | None = None, limit: int | None = None) -> ObjectPage:
        page = self._list_page(prefix, deep=deep, token=token, limit=limit)
        require_below(prefix, chain(page.prefixes, (listed.key for listed in page.objects)), str(self.uri))
        return page

    def _shown(self, key: str, size: int | None) -> Iterable[FileInfo]:
        """What a listing shows of an object, or of a folder if `size` is None."""
        path = key.removesuffix("/")[len(self._prefix) :]
        try:
            validate_artifact_path(path, file=True)
        except InvalidParameterValue as error:
            if PRIVATE_PREFIX not in path:
                _log.warning("Left out of the listing of %s: %s", self.uri, error)
            return ()
        return (FileInfo(path, is_dir=size is None, file_size=size),)

    def _doomed(self, path: str, folders: set[str]) -> Iterator[list[str]]:
        """The keys to delete, in batches; adds the keys of the folders that they are in to `folders`."""
        batch = [self._prefix + path] if path else []
        root = self._folder_key(path)
        for page in self._pages(root, deep=True):
            for listed in page.objects:
                folder = listed.key.rpartition("/")[0] + "/"
                while len(folder) > len(self._prefix) and len(folder) >= len(root) and folder not in folders:
                    folders.add(folder)
                    folder = folder[:-1].rpartition("/")[0] + "/"
                batch.append(listed.key)
                if len(batch) == self._delete_batch:
                    yield batch
                    batch = []
        if batch:
            yield batch

    def _signable(self, path: str) -> tuple[str, int]:
        """Key and size of a file that a URL for reading is to be signed for.

        Raises:
            NotFound: There is nothing.
            InvalidParameterValue: It is a folder.
        """
        path = validate_artifact_path(path, file=True)
        size = self._existing_info(path).file_size
        if size is None:
            raise InvalidParameterValue(f"Artifact {path!r} is a folder; only files can be signed for.")
        return self._prefix + path, size

    def _still_shows(self, path: str) -> bool:
        """Whether a folder is listed although nothing is in it any more, as SeaweedFS does."""
        page = self._page(self._prefix + path, deep=False)
        return self._folder_key(path) in page.prefixes if path else bool(page.prefixes)

    # Requests of the service. Each repeats what may be repeated, and raises the errors of `holdall.stores.errors`.

    @abstractmethod
    def _get_object(self, key: str, offset: int, length: int | None) -> OpenedArtifact | None:
        """Open an object for reading a range; None if there is none."""

    @abstractmethod
    def _head_object(self, key: str) -> int | None:
        """Bytes of an object; None if there is none."""

    @abstractmethod
    def _put_object(self, key: str, data: Body, digest: Digest) -> None:
        """Store a small object."""

    @abstractmethod
    def _begin_object(self, key: str, size: int | None) -> PartedUpload:
        """Begin a large object."""

    @abstractmethod
    def _list_page(self, prefix: str, *, deep: bool, token: str | None, limit: int | None) -> ObjectPage:
        """A page of the objects whose keys begin with `prefix`; unless `deep`, grouped by the next `/`."""

    @abstractmethod
    def _delete_objects(self, keys: list[str]) -> None:
        """Delete at most `_delete_batch` objects; missing ones are fine."""
