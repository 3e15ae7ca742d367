"""`RemoteUpload`: a file on its way to the server, under a private name until it is whole."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import TypeVar

from holdall.artifacts.parts import PartPool
from holdall.artifacts.sftp.connections import Connections
from holdall.artifacts.sftp.digests import LEAST_SIZE, RemoteDigests
from holdall.artifacts.sftp.errors import translated
from holdall.artifacts.sftp.protocol import (
    CREATE,
    CREATE_NEW,
    FAILURE,
    HANDLE,
    NO_SUCH_FILE,
    READ,
    WRITE,
    Attributes,
    Refused,
    Reply,
    Request,
    attributes_of,
    close,
    extended,
    handle_of,
    lstat,
    open_file,
    remove,
    rename,
    require_ok,
    stat_handle,
    write,
)
from holdall.artifacts.sftp.reading import RemoteStream
from holdall.artifacts.sftp.session import Answers, Session
from holdall.artifacts.sftp.tree import ATTEMPTS, Place, Tree, if_there, parent_of
from holdall.stores.artifact_io import CHUNK_SIZE, DEFAULT_DIGEST, ArtifactWriter, Digest, Digester
from holdall.stores.atomic_file import PRIVATE_PREFIX
from holdall.stores.errors import DataLoss, HoldallError, InternalError, InvalidParameterValue, TemporarilyUnavailable
from holdall.stores.retries import RetryPolicy

__all__ = ["FSYNC", "POSIX_RENAME", "RemoteUpload", "Server"]

T = TypeVar("T")

_log = logging.getLogger(__name__)

POSIX_RENAME = "posix-rename@openssh.com"
FSYNC = "fsync@openssh.com"

_HELD = 4
"""Blocks that are held back for company: those of a small file go with all that ends it."""

_MOST_UNDER_WAY = 16
"""Requests for one file under way at once: 2 MiB, which is as much as OpenSSH's server takes in."""

_FLUSH, _STAT, _CLOSE = "flush", "stat", "close"


@dataclass(frozen=True, slots=True)
class Server:
    """What uploads need of a server.

    Attributes:
        connections: To it.
        tree: The root and what is below it.
        digests: Whom to ask what arrived.
        retries: How long to repeat what may succeed a moment later.
        threads: Send what uploads have ready.
        litter: Unfinished files that could not be removed, for want of a connection.
    """

    connections: Connections
    tree: Tree
    digests: RemoteDigests
    retries: RetryPolicy
    threads: PartPool
    litter: list[bytes] = field(default_factory=list)


class RemoteUpload(ArtifactWriter):
    """A file in the root under a private name, renamed when it is whole.

    What was written is sent by another thread while the next is being read and digested. What the server has not
    acknowledged is kept, so that the upload goes on over a new connection when one breaks. Bytes go in order over one
    handle: servers in front of object stores take them in no other way.

    Args:
        server: Where to.
        path: The file.
        algorithm: Of the digest that `commit` is given.
    """

    def __init__(self, server: Server, path: str, algorithm: str) -> None:
        self._server = server
        self._path = path
        self._private = server.tree.at(PRIVATE_PREFIX + secrets.token_hex(12))
        self._flags = WRITE | CREATE_NEW
        self._digester = Digester(algorithm)
        self._size = 0
        self._held: list[tuple[int, bytes]] = []
        self._sending: Future[None] | None = None
        # What follows belongs to the thread that sends, while there is one.
        self._unacknowledged: dict[int, bytes] = {}
        self._unsent: list[int] = []
        self._under_way = 0
        self._sha256: Digester | None = None
        self._answers: Answers = SimpleQueue()
        self._handle: bytes | None = None
        self._unfinished = False
        self._interrupted = self._renaming = False

    def begin(self) -> None:
        """Create the file; may be repeated if the connection broke.

        Raises:
            TemporarilyUnavailable: The connection broke.
            InvalidParameterValue: The place is taken by a folder, or a file is where a folder must be.
            PermissionDenied: The user must not write there.
        """
        self._session = self._server.connections.session()
        create = open_file(self._private, self._flags)
        self._flags = WRITE | CREATE  # if this is repeated, it may have been done
        opened: list[Reply] = []
        with translated("write", self._path):
            try:
                self._place = self._server.tree.locate(self._session, self._path, also=[create], replies=opened)
                self._refuse_taken(self._place)
            except BaseException:
                if opened and opened[0].kind == HANDLE:
                    self._adopt(opened[0])
                    self.abort()
                raise
            if not self._adopt(opened[0]):
                self._server.tree.make_root(self._session)
                if not self._adopt(self._session.ask(create)[0]):
                    raise TemporarilyUnavailable("The root of the store is being deleted; try again.")
        if self._server.digests.available(self._session):
            self._sha256 = Digester(DEFAULT_DIGEST)

    def created(self) -> Attributes:
        """The attributes of the new file."""
        with translated("write", self._path):
            return attributes_of(self._session.ask(stat_handle(self._require_handle()))[0])

    def write(self, data: bytes | memoryview) -> None:
        self._digester.update(data)
        block = self._session.write_block
        with memoryview(data) as view:
            for start in range(0, len(view), block):
                piece = bytes(view[start : start + block])
                self._held.append((self._size, piece))
                self._size += len(piece)
        if len(self._held) > _HELD:
            with translated("write", self._path):
                self._join()
            held, self._held = self._held, []
            self._sending = self._server.threads.submit(lambda: self._push(held))

    def commit(self, expected: Digest) -> None:
        received = self._digester.digest()
        if received != expected:
            raise self._differs(f"{expected.size} bytes were sent and {received.size} arrived, or they differ")
        with translated("write", self._path):
            self._join()
            self._take_over(self._held)
            there = self._persist(self._finish)
            if there.size != expected.size:  # a server that works on several requests at once told it too early
                there = self._server.retries.run(lambda: attributes_of(self._live().ask(lstat(self._private))[0]))
            if there.size != expected.size:
                raise self._differs(f"{expected.size} bytes were sent, and the server has {there.size}")
            self._server.retries.run(lambda: self._compare(expected))
            self._server.retries.run(self._appear)

    def abort(self) -> None:
        if not self._unfinished:
            return
        self._unfinished = False
        if self._sending is not None and not self._session.busy_here:
            self._sending.exception()
        self._held.clear()
        requests = [*([close(self._handle)] if self._handle is not None else []), remove(self._private)]
        try:
            if self._session.busy_here:
                self._session.post(*requests)
            elif self._session.alive:
                self._session.ask(*requests)
            else:
                self._server.connections.session().ask(remove(self._private))
        except HoldallError as error:
            _log.info("An unfinished file stays on the server until it can be reached: %s", error)
            self._server.litter.append(self._private)

    # The open file

    def _adopt(self, reply: Reply) -> bool:
        """Take over the file that was opened; False if its folder is missing."""
        self._handle = if_there(handle_of, reply)
        self._unfinished = self._handle is not None
        return self._unfinished

    def _require_handle(self) -> bytes:
        if self._handle is None:
            raise TemporarilyUnavailable("The file on the server was closed.")
        return self._handle

    def _persist(self, action: Callable[[], T]) -> T:
        """Do something with the open file, again over a new connection when one breaks."""
        try:
            return action()
        except TemporarilyUnavailable:
            return self._server.retries.run(lambda: self._resume(action))

    def _resume(self, action: Callable[[], T]) -> T:
        if not self._unfinished:
            raise InternalError(f"The upload of artifact {self._path!r} was given up.")
        self._interrupted = True
        self._session = self._server.connections.session()
        self._handle = handle_of(self._session.ask(open_file(self._private, WRITE))[0])
        self._answers, self._under_way = SimpleQueue(), 0
        self._unsent = sorted(self._unacknowledged)
        return action()

    def _join(self) -> None:
        """Wait until what was handed to another thread is sent."""
        sending, self._sending = self._sending, None
        if sending is not None:
            sending.result()

    def _push(self, pieces: list[tuple[int, bytes]]) -> None:
        self._take_over(pieces)
        self._persist(self._proceed)

    def _take_over(self, pieces: list[tuple[int, bytes]]) -> None:
        if self._sha256 is not None:
            for _, piece in pieces:
                self._sha256.update(piece)
        self._unacknowledged.update(pieces)
        self._unsent = [offset for offset, _ in pieces]

    def _proceed(self) -> None:
        """Send what there is; wait while too much is under way."""
        self._send([])
        while self._under_way > _MOST_UNDER_WAY:
            self._take()

    def _finish(self) -> Attributes:
        """Send the rest, have all of it written to the disk, and close the file; its attributes."""
        handle = self._require_handle()
        ending: list[tuple[object, Request]] = [(_STAT, stat_handle(handle)), (_CLOSE, close(handle))]
        if FSYNC in self._session.extensions:
            ending.insert(0, (_FLUSH, extended(FSYNC, handle)))
        with self._session.slowly(self._size):
            self._send(ending)
            self._handle = None  # which the server may give to the next file that is opened
            there = Attributes()
            while self._under_way:
                tag, reply = self._take()
                if tag == _STAT:
                    there = attributes_of(reply)
                elif tag in (_FLUSH, _CLOSE):
                    require_ok(reply)
        return there

    def _send(self, ending: list[tuple[object, Request]]) -> None:
        handle = self._require_handle()
        unsent, self._unsent = self._unsent, []
        pieces = [(offset, write(handle, offset, self._unacknowledged[offset])) for offset in unsent]
        self._session.submit(self._answers, [*pieces, *ending])
        self._under_way += len(pieces) + len(ending)

    def _take(self) -> tuple[object, Reply]:
        tag, reply = self._session.take(self._answers)
        self._under_way -= 1
        if isinstance(tag, int):
            require_ok(reply)
            del self._unacknowledged[tag]
        return tag, reply

    # The finished file

    def _live(self) -> Session:
        if not self._session.alive:
            self._session = self._server.connections.session()
        return self._session

    def _compare(self, expected: Digest) -> None:
        """Compare digests, if the server tells one; after an interruption, by reading back if it does not."""
        same, found = expected.value, None
        if self._sha256 is not None and self._size >= LEAST_SIZE:
            same = self._sha256.digest().value
            found = self._server.digests.sha256(self._live(), self._private, self._size)
        if found is None and self._interrupted:
            same, found = expected.value, self._read_back(expected.algorithm)
        if found not in (None, same):
            raise self._differs("what the server has is not what was sent")

    def _read_back(self, algorithm: str) -> str:
        session = self._live()
        digester = Digester(algorithm)
        handle = handle_of(session.ask(open_file(self._private, READ))[0])
        stream = RemoteStream(session, handle, self._path, 0, self._size)
        while data := stream.read(CHUNK_SIZE):
            digester.update(data)
        stream.close()
        return digester.digest().value

    def _appear(self) -> None:
        """Give the file its name, with the folders it needs."""
        session, place = self._live(), self._place
        if not self._server.tree.trusts(parent_of(place.real)):
            place = self._server.tree.locate(session, self._path)
            self._refuse_taken(place)
        for _ in range(ATTEMPTS):
            try:
                self._rename(session, place)
            except Refused as refusal:
                if refusal.code == NO_SUCH_FILE and self._was_renamed(session):
                    break
                self._server.tree.forget()
                place = self._server.tree.locate(session, self._path)
                self._refuse_taken(place)
                if refusal.code != NO_SUCH_FILE:
                    raise
                self._make_folders(session, parent_of(place.real))
            else:
                break
        else:
            raise TemporarilyUnavailable(
                f"The folder of artifact {self._path!r} is being deleted all the time; try again."
            )
        self._unfinished = False

    def _was_renamed(self, session: Session) -> bool:
        """Whether it was done at an earlier attempt, whose answer was lost with the connection."""
        there = if_there(attributes_of, session.ask(lstat(self._private))[0])
        if there is None and not self._renaming:
            raise self._differs("somebody has removed the unfinished file from the server")
        return there is None

    def _rename(self, session: Session, place: Place) -> None:
        new = self._server.tree.at(place.real)
        try:
            if POSIX_RENAME in session.extensions:
                require_ok(session.ask(extended(POSIX_RENAME, self._private, new))[0])
            else:
                self._rename_plainly(session, new)
        except TemporarilyUnavailable:
            self._renaming = True
            raise

    def _rename_plainly(self, session: Session, new: bytes) -> None:
        try:
            require_ok(session.ask(rename(self._private, new))[0])
        except Refused as refusal:
            if refusal.code != FAILURE:
                raise
            removed, renamed = session.ask(remove(new), rename(self._private, new))
            if_there(require_ok, removed)
            require_ok(renamed)

    def _make_folders(self, session: Session, folder: str) -> None:
        try:
            self._server.tree.make_folders(session, folder)
        except Refused as refusal:
            if refusal.code != NO_SUCH_FILE:
                raise
            self._server.tree.forget()  # what was made a moment ago was deleted again

    def _refuse_taken(self, place: Place) -> None:
        if place.blocked or (place.attributes is not None and not place.is_file):
            raise InvalidParameterValue(
                f"Cannot write artifact {self._path!r}: a folder is in its place, or a file where it needs a folder; "
                "delete that first."
            )

    def _differs(self, problem: str) -> DataLoss:
        return DataLoss(f"Artifact {self._path!r} was not stored, try again: {problem}.")
