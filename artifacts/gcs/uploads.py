"""The two ways in which a large file goes to Google Cloud Storage: piece after piece, or in parts that are composed."""

from __future__ import annotations

import logging
import secrets
import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from holdall.artifacts.gcs.options import CHUNK_STEP
from holdall.artifacts.gcs.service import CRC32C, GcsService, KeptObject, TemporaryObject
from holdall.artifacts.parts import PartedUpload
from holdall.stores.artifact_io import Digest, Digester
from holdall.stores.atomic_file import PRIVATE_PREFIX, STALE_SECONDS
from holdall.stores.errors import DataLoss, HoldallError, InternalError, PermissionDenied, TemporarilyUnavailable
from holdall.stores.http_client import Body
from holdall.stores.retries import RetryPolicy
from holdall.stores.transfers import Transfer

__all__ = ["MOST_SOURCES", "CompositeUpload", "ResumableUpload", "remove_stale_parts"]

_log = logging.getLogger(__name__)

MOST_SOURCES = 32
"""Objects that one request composes."""

_ATTEMPTS = 100
"""How often an object is composed again because another writer has replaced what was there."""

_WORKERS = 16


class ResumableUpload(PartedUpload):
    """A file that is sent piece after piece; one that breaks goes on from where the service has it.

    The last piece carries the size and the digest of the whole, and so waits for `finish`. It is known by its length,
    or by the size of the file; otherwise an empty one follows it.

    Args:
        service: Where to.
        retries: How long to go on without progress.
        key: Of the object.
        size: Bytes that will come, if known.
    """

    in_order = True

    def __init__(self, service: GcsService, retries: RetryPolicy, key: str, size: int | None) -> None:
        self._service = service
        self._retries = retries
        self._key = key
        self._size = size
        self._target = service.begin(key)
        self._last = b""
        self._kept = 0
        self._in_doubt = False

    def send(self, number: int, data: Body) -> None:
        if len(data) % CHUNK_STEP or self._kept + len(data) == self._size:
            self._last = bytes(data)
            return
        early = self._send_piece(data, None)
        if early is not None:
            self._service.delete(self._key, early.generation)
            raise InternalError(f"The service ended the upload of {self._key!r} before its last piece; try again.")

    def finish(self, parts: int, digest: Digest) -> None:
        kept = self._send_piece(self._last, digest)
        if kept is not None:
            _require_intact(self._service, self._key, kept, digest)

    def cancel(self) -> None:
        with _logged_failure("drop", self._key):
            self._service.cancel(self._target)

    def _send_piece(self, piece: Body, digest: Digest | None) -> KeptObject | None:
        """Send a piece; with the digest of the whole it is the last one, and makes the object."""
        start, stop = self._kept, self._kept + len(piece)
        while self._kept < stop or digest is not None:
            answer = self._retries.run(lambda: self._advance(piece, start, digest))
            if answer is None:
                return self._find_finished(digest)
            if isinstance(answer, KeptObject):
                return answer
            if not start <= answer <= stop:
                raise InternalError(f"The service has lost bytes of {self._key!r} that it had received; try again.")
            self._kept = answer
        return None

    def _find_finished(self, digest: Digest | None) -> KeptObject:
        """The object of an upload that the service knows no more, if that is because it is finished."""
        kept = self._service.head(self._key) if digest is not None else None
        if kept is None or digest is None or not kept.matches(digest):
            raise InternalError(
                f"The service has forgotten the upload of {self._key!r}; nothing was stored, try again."
            )
        return kept

    def _advance(self, piece: Body, start: int, digest: Digest | None) -> int | KeptObject | None:
        """Send what the service lacks of a piece; first ask how far it is, if that is in doubt."""
        total, stop = "*" if digest is None else str(digest.size), start + len(piece)
        if self._in_doubt:
            answer = self._service.send_chunk(self._target, b"", f"bytes */{total}", None)
            self._in_doubt = False
            if answer != self._kept:
                return answer
        self._in_doubt = True
        # Where it has everything, it only has to make the object.
        where = f"bytes */{total}" if self._kept == stop else f"bytes {self._kept}-{stop - 1}/{total}"
        answer = self._service.send_chunk(self._target, memoryview(piece)[self._kept - start :], where, digest)
        if answer == self._kept:
            raise TemporarilyUnavailable(f"The service makes no progress with the upload of {self._key!r}.")
        self._in_doubt = False
        return answer


@dataclass(frozen=True, slots=True)
class _Part:
    """A part that the service has.

    Attributes:
        key: Its private name.
        generation: Of the object.
        size: Bytes.
    """

    key: str
    generation: str
    size: int


class CompositeUpload(PartedUpload):
    """A file that is sent as many objects under private names, at once, which the service then composes.

    Args:
        service: Where to.
        prefix: Of the store, in which the private names are.
        key: Of the object.
    """

    def __init__(self, service: GcsService, prefix: str, key: str) -> None:
        self._service = service
        self._key = key
        self._private = f"{prefix}{PRIVATE_PREFIX}{secrets.token_hex(12)}"
        self._lock = threading.Lock()
        self._sent: dict[int, _Part] = {}

    def send(self, number: int, data: Body) -> None:
        digester = Digester(CRC32C)
        with memoryview(data) as view:
            digester.update(view)
        key = f"{self._private}-{number}"
        kept = self._service.put_temporary(key, data, digester.digest())
        with self._lock:
            self._sent[number] = _Part(key, kept.generation, kept.size)

    def finish(self, parts: int, digest: Digest) -> None:
        sources = [self._sent[number] for number in range(1, parts + 1)]
        try:
            kept = self._compose_all(sources, digest)
        except PermissionDenied as error:
            raise PermissionDenied(
                f"{error.message} Sending {self._key!r} in parts takes the permissions to read and delete objects, and "
                "no retention policy; open the store with ?composite=false to do without."
            ) from error
        _require_intact(self._service, self._key, kept, digest)
        self.cancel()

    def cancel(self) -> None:
        with _logged_failure("remove the parts of", self._key):
            # Found by listing, so that those are too whose answer was lost. What was composed has deleted its sources.
            _delete(self._service, self._service.list_temporary(f"{self._private}-"))

    def _compose_all(self, sources: list[_Part], digest: Digest) -> KeptObject:
        level = 0
        while len(sources) > MOST_SOURCES:
            level += 1
            sources = self._compose_groups(sources, level)
        there = self._service.head(self._key)
        return self._compose(self._key, sources, digest, there.generation if there else "0")

    def _compose_groups(self, sources: list[_Part], level: int) -> list[_Part]:
        """Compose each 32 of them to one."""
        groups = [sources[start : start + MOST_SOURCES] for start in range(0, len(sources), MOST_SOURCES)]
        composed: dict[int, _Part] = {}

        def compose(index: int) -> None:
            key, size = f"{self._private}-{level}-{index}", sum(part.size for part in groups[index])
            kept = self._compose(key, groups[index], size, "0")
            composed[index] = _Part(key, kept.generation, kept.size)

        Transfer(None).run(compose, range(len(groups)), _WORKERS)
        return [composed[index] for index in range(len(groups))]

    def _compose(self, key: str, sources: list[_Part], expected: Digest | int, replaced: str) -> KeptObject:
        """Make an object in place of generation `replaced`, which tells a lost answer from another writer's object."""
        for _ in range(_ATTEMPTS):
            kept = self._service.compose(key, sources, replaced)
            if kept is not None:
                return kept
            there = self._service.head(key)
            generation = there.generation if there else "0"
            if generation == replaced:
                raise DataLoss(f"Parts of {self._key!r} were deleted before they were composed; upload it again.")
            if there is not None and _is_as_expected(there, expected):
                return there
            replaced = generation
        raise TemporarilyUnavailable(f"Object {self._key!r} is being replaced all the time; try again.")


def remove_stale_parts(service: GcsService, prefix: str) -> None:
    """Remove parts of uploads to a store that nobody has added to for a day."""
    oldest = datetime.now(UTC) - timedelta(seconds=STALE_SECONDS)
    with _logged_failure("remove what is left of uploads in", prefix):
        uploads: defaultdict[str, list[TemporaryObject]] = defaultdict(list)
        for part in service.list_temporary(prefix + PRIVATE_PREFIX):
            uploads[part.key[len(prefix) :].partition("-")[0]].append(part)
        for parts in uploads.values():
            if all(part.created < oldest for part in parts):
                _delete(service, parts)


def _is_as_expected(kept: KeptObject, expected: Digest | int) -> bool:
    return kept.size == expected if isinstance(expected, int) else kept.matches(expected)


def _require_intact(service: GcsService, key: str, kept: KeptObject, digest: Digest) -> None:
    """Remove an object whose bytes are not those that were sent; the service should have refused it."""
    if not kept.matches(digest):
        service.delete(key, kept.generation)
        raise DataLoss(f"Object {key!r} did not arrive as it was sent; it was removed, try again.")


def _delete(service: GcsService, parts: Iterable[TemporaryObject]) -> None:
    Transfer(None).run(lambda part: service.delete(part.key, part.generation), parts, _WORKERS)


@contextmanager
def _logged_failure(action: str, what: str) -> Iterator[None]:
    """Tidying up that fails is no reason to fail."""
    try:
        yield
    except HoldallError as error:
        _log.warning("Could not %s %r: %s", action, what, error)
