"""`SftpArtifactStore`: artifacts in a folder on a server that speaks SFTP."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property, partial
from pathlib import Path

from holdall.artifacts.remote import RemoteArtifactStore
from holdall.artifacts.sftp.connections import Connections
from holdall.artifacts.sftp.digests import RemoteDigests
from holdall.artifacts.sftp.errors import translated
from holdall.artifacts.sftp.login import connect
from holdall.artifacts.sftp.options import SftpOptions
from holdall.artifacts.sftp.protocol import (
    NO_SUCH_FILE,
    READ,
    Attributes,
    ListedName,
    Refused,
    close,
    handle_of,
    open_file,
    remove,
)
from holdall.artifacts.sftp.reading import RemoteStream
from holdall.artifacts.sftp.session import Session
from holdall.artifacts.sftp.ssh_config import Destination
from holdall.artifacts.sftp.together import fetch_together, grouped, upload_together
from holdall.artifacts.sftp.tree import ATTEMPTS, Place, Tree
from holdall.artifacts.sftp.writing import POSIX_RENAME, RemoteUpload, Server
from holdall.stores.artifact_io import ArtifactWriter, OpenedArtifact
from holdall.stores.atomic_file import PRIVATE_PREFIX, STALE_SECONDS
from holdall.stores.capabilities import ArtifactCapabilities
from holdall.stores.entities import FileInfo
from holdall.stores.errors import HoldallError, InvalidParameterValue, NotFound, TemporarilyUnavailable
from holdall.stores.paths import validate_artifact_path
from holdall.stores.retries import RetryPolicy
from holdall.stores.transfers import LocalEntry, Transfer
from holdall.stores.uri import StoreURI

__all__ = ["SftpArtifactStore"]

_log = logging.getLogger(__name__)


class SftpArtifactStore(RemoteArtifactStore):
    """Artifacts as plain files below a folder on a server, for `sftp://[user[:password]@]host[:port]/path`.

    Everything `ArtifactStore` promises, and:

    **Connections** are opened when they are needed, not by opening the store: one, and up to `connections` when there
    is much to do. All threads share them. One that breaks is replaced, and what was under way goes on over the new one:
    a restart of the server costs time, not data, if it takes less than `patience`. `close` ends them.

    **Who the server is** must be known: its host key is looked for in `known_hosts`, under `[host]:port` too, as
    OpenSSH does. One that is unknown, changed or revoked is refused with `Unauthenticated`, which names its fingerprint
    and what to do. Certificates of host keys are not known to paramiko.

    **Who the user is** is shown by, in this order: the URI's `identity_file`, the URI's password, the `IdentityFile` of
    `ssh_config` or else the keys in their usual places, and the keys of a running agent. `~/.ssh/config` and
    `/etc/ssh/ssh_config` are read with their `Include`s for `HostName`, `Port`, `User`, `IdentityFile`,
    `IdentitiesOnly`, `UserKnownHostsFile`, `GlobalKnownHostsFile`, `HostKeyAlias`, `StrictHostKeyChecking`,
    `ProxyCommand` and `ProxyJump`.

    **The root** is made by the first write, not by opening.

    **Files** are written under a private name in the root, which no listing shows and no artifact can have, flushed to
    the disk where the server has `fsync@openssh.com`, and renamed. Where it lacks `posix-rename@openssh.com`, a file
    that is replaced is missing for a moment, and `capabilities.atomic_replace` is off. Remains of killed writers are
    removed by the first write of a later store, when they are a day old. All folders below the root must be on its file
    system. Modes are the server's choice.

    **Verification** compares size and checksum of what was handed to SSH with those of the source, and the size with
    what the server has. Files of a mebibyte and more are compared by digest too, if the server has the extension
    `check-file` or runs commands (see `remote_digests`), and after an interruption in any case. SSH itself refuses
    bytes that were changed on the way; no digest is kept for later.

    **Small files** of a folder are moved in groups, which takes few round trips on a server far away.

    **Links** below the root are followed where they stay in it. A path that leaves the root through a link, or a link
    that leads in circles, is refused with `InvalidParameterValue` by every method; listings leave such links out with a
    warning in the log. Links to folders are not listed inside a folder that was itself reached through a link, so that
    `walk` ends. `delete_artifacts` removes a link, never what it points to.

    **Names** are kept exactly, as UTF-8, by servers that do. Files that somebody put there under names that are not
    UTF-8 or that the validator refuses are left out of listings with a warning; deleting their folder removes them.

    **Not promised.** That a link is not followed which somebody puts in the place of a folder after it was looked at:
    SFTP has no way to open a path without following links, so whoever may write below the root by other means, and is
    not trusted, must be kept apart by the server's own permissions. A folder may be looked at five seconds before. What
    survives a power failure of a server without `fsync@openssh.com`.

    Args:
        uri: An `sftp` URI, with the options of `SftpOptions`.
        read_only: Refuse every write with `ReadOnly`.

    Raises:
        InvalidParameterValue: The URI names no folder on a server, an option is unknown or malformed, or `ssh_config`
            cannot be read.
    """

    _digest_algorithm = "crc32"

    def __init__(self, uri: StoreURI, *, read_only: bool = False) -> None:
        options = SftpOptions.parse(uri)
        super().__init__(uri, read_only=read_only, retries=RetryPolicy(patience=options.patience))
        self._destination = Destination.find(options)
        self._timeout = options.timeout
        self._tree = Tree(options.root)
        self._connections = Connections(self._begin_session, options.connections)
        digests = RemoteDigests(wanted=options.remote_digests)
        self._server = Server(self._connections, self._tree, digests, self._retries, self._parts)
        self._swept = False
        self._fetched = _Fetched()

    @property
    def capabilities(self) -> ArtifactCapabilities:
        """What this store can do; the server is asked, so that this raises what connecting does."""
        return ArtifactCapabilities(empty_directories=True, atomic_replace=POSIX_RENAME in self._extensions)

    def _open_reader(self, path: str, offset: int = 0, length: int | None = None) -> OpenedArtifact:
        fetched = self._fetched.files.pop(path, None) if offset == 0 else None
        if fetched is not None:
            return fetched
        session = self._connections.session()
        with translated("read", path):
            place = self._tree.locate(session, path)
            if place.attributes is None:
                raise NotFound(f"There is no artifact {path!r} in {self.uri}.")
            if not place.is_file:
                raise InvalidParameterValue(f"Artifact {path!r} is not a file; list it, or name a file in it.")
            handle = handle_of(session.ask(open_file(self._tree.at(place.real), READ))[0])
            try:
                stream = RemoteStream(session, handle, path, offset, length)
            except BaseException:
                session.post(close(handle))
                raise
        return OpenedArtifact(stream, stream.size, version=str(stream.attributes.modified))

    def _open_writer(self, path: str, size: int | None) -> ArtifactWriter:
        upload = RemoteUpload(self._server, path, self._digest_algorithm)
        self._retry(upload.begin)
        if not self._swept:
            self._swept = True
            self._sweep(upload)
        return upload

    def _upload_files(self, files: Sequence[LocalEntry], transfer: Transfer) -> None:
        groups = grouped(files, lambda entry: entry.source.stat().st_size)
        transfer.run(partial(self._upload_group, transfer=transfer), groups, self.max_workers)

    def _upload_group(self, entries: Sequence[LocalEntry], transfer: Transfer) -> None:
        sizes: list[int] = []
        if len(entries) > 1 and self._swept:  # the first file of a store makes the root, and clears up there
            sizes = upload_together(self._server, self._retry(self._connections.session), entries)
        for entry, size in zip(entries, sizes, strict=False):
            transfer.report(entry.path, size, size)
            transfer.report(entry.path, size, size, complete=True)
        for entry in entries if not sizes else ():
            self._upload(entry, transfer)

    def _download_files(self, files: Sequence[tuple[FileInfo, Path]], transfer: Transfer) -> None:
        groups = grouped(files, lambda item: item[0].file_size or 0)
        transfer.run(partial(self._download_group, transfer=transfer), groups, self.max_workers)

    def _download_group(self, files: Sequence[tuple[FileInfo, Path]], transfer: Transfer) -> None:
        try:
            if len(files) > 1:
                paths = [info.path for info, _ in files]
                self._fetched.files = fetch_together(self._tree, self._retry(self._connections.session), paths)
            for info, place in files:
                self._download_file(info, place, transfer)
        finally:
            self._fetched.files = {}

    def _stat(self, path: str) -> FileInfo | None:
        with translated("read", path):
            place = self._retry(lambda: self._tree.locate(self._connections.session(), path))
        return _file_info(path, place.attributes)

    def _list(self, path: str) -> Iterable[FileInfo]:
        with translated("list", path):
            return self._retry(lambda: self._children_of(self._connections.session(), path))

    def _list_below(self, path: str) -> Iterable[FileInfo]:
        with translated("list", path):
            return self._retry(lambda: list(self._walk_below(self._connections.session(), path)))

    def _delete(self, path: str) -> None:
        with translated("delete", path):
            self._retry(lambda: self._remove(self._connections.session(), path))

    def _make_directory(self, path: str) -> None:
        with translated("write", path):
            self._retry(lambda: self._make_folder(self._connections.session(), path))

    def _close(self) -> None:
        super()._close()
        self._connections.close()

    # Listing

    def _children_of(self, session: Session, path: str) -> list[FileInfo]:
        return [info for info, _ in self._shown_in(session, self._start(session, path))]

    def _walk_below(self, session: Session, path: str) -> Iterator[FileInfo]:
        folders = self._start(session, path)
        while folders:
            found = list(self._shown_in(session, folders))
            yield from (info for info, _ in found)
            folders = [(info.path, real) for info, real in found if info.is_dir]

    def _start(self, session: Session, path: str) -> list[tuple[str, str]]:
        """A folder to list, as its path and the one without links; nothing if it is none."""
        if not path:
            return [("", "")]
        place = self._tree.locate(session, path)
        return [(path, place.real)] if place.is_folder else []

    def _shown_in(self, session: Session, folders: Sequence[tuple[str, str]]) -> Iterator[tuple[FileInfo, str]]:
        """What folders hold, each thing with its path without links."""
        places = {real: self._tree.at(real) for _, real in folders}
        found = dict(self._tree.entries(session, list(places.values())))
        for path, real in folders:
            # A folder that is being changed may tell a name twice.
            entries = {entry.name: entry for entry in found[places[real]]}
            for entry in entries.values():
                shown = self._shown(session, path, real, entry)
                if shown is not None:
                    yield shown

    def _shown(self, session: Session, path: str, real: str, entry: ListedName) -> tuple[FileInfo, str] | None:
        """What a listing shows of an entry of the folder at `path`; None to leave it out."""
        if entry.name.startswith(PRIVATE_PREFIX.encode()):
            return None
        try:
            child = _join(path, entry.name.decode())
            validate_artifact_path(child, name="path in the server's listing", file=True)
            place = Place(_join(real, entry.name.decode()), entry.attributes)
            if entry.attributes.is_link:
                place = self._followed(session, path, real, child)
        except (InvalidParameterValue, UnicodeDecodeError) as error:
            _log.warning("Left out of the listing of %r in %s: %s", path, self.uri, error)
            return None
        info = _file_info(child, place.attributes)
        return None if info is None else (info, place.real)

    def _followed(self, session: Session, path: str, real: str, child: str) -> Place:
        """Where a listed link leads."""
        place = self._tree.locate(session, child)
        if place.is_folder and (real != path or f"{real}/".startswith(f"{place.real}/") or not place.real):
            raise InvalidParameterValue(
                f"{child!r} is a link to a folder above it, or in a folder reached through a link."
            )
        return place

    # Changing

    def _remove(self, session: Session, path: str) -> None:
        if not path:
            self._tree.remove_inside(session, lambda name: not name.startswith(PRIVATE_PREFIX.encode()))
            self._tree.forget()
            return
        place = self._tree.locate(session, path, follow=False)
        if place.attributes is None:
            return
        if place.attributes.is_link:
            self._tree.locate(session, path)  # one that leads out is refused here too
        self._tree.remove(session, place.real, place.attributes)
        self._tree.forget()

    def _make_folder(self, session: Session, path: str) -> None:
        for _ in range(ATTEMPTS):
            place = self._tree.locate(session, path)
            if place.blocked or (place.attributes is not None and not place.is_folder):
                raise InvalidParameterValue(f"Cannot make folder {path!r}: a file is in its place or on the way to it.")
            try:
                self._tree.make_folders(session, place.real)
            except Refused as refusal:
                if refusal.code != NO_SUCH_FILE:
                    raise
                self._tree.forget()
                self._tree.make_root(session)
            else:
                return
        raise TemporarilyUnavailable(f"The place of folder {path!r} is being deleted all the time; try again.")

    def _sweep(self, upload: RemoteUpload) -> None:
        """Clear up after writers that died long before `upload` began."""
        try:
            with translated("clear up", ""):
                modified = upload.created().modified
                if modified is not None:
                    self._tree.sweep(self._connections.session(), modified - STALE_SECONDS)
        except HoldallError as error:
            _log.info("Unfinished files on the server stay where they are: %s", error)

    # Connections

    @cached_property
    def _extensions(self) -> frozenset[str]:
        self._check_open()
        return self._retry(lambda: frozenset(self._connections.session().extensions))

    def _begin_session(self) -> Session:
        transport = connect(self._destination)
        try:
            session = Session(transport, str(self._destination), self._timeout)
        except BaseException:
            transport.close()
            raise
        while self._server.litter:
            session.post(remove(self._server.litter.pop()))
        return session


class _Fetched(threading.local):
    """Files that were read together, each waiting for the thread that has read them to ask for it."""

    def __init__(self) -> None:
        self.files: dict[str, OpenedArtifact] = {}


def _join(folder: str, name: str) -> str:
    """The path of something in a folder."""
    return f"{folder}/{name}" if folder else name


def _file_info(path: str, attributes: Attributes | None) -> FileInfo | None:
    if attributes is None:
        return None
    if attributes.is_folder:
        return FileInfo(path, is_dir=True)
    return FileInfo(path, is_dir=False, file_size=attributes.size) if attributes.is_file else None
