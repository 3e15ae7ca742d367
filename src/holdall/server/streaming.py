"""Files between clients and blocking stores: a block at a time, read or written in a thread while the next one moves.

No thread belongs to a transfer: each block is a job of its own, so a thousand slow clients hold a few blocks each, and
no thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import BinaryIO

from holdall.server.lanes import Lane
from holdall.server.messages import ClientGone, DigestMismatch, Receive, Request, TooSlow
from holdall.server.service import Service
from holdall.stores.artifact_io import CHUNK_SIZE, ArtifactUpload, Digester
from holdall.stores.artifacts import ArtifactStore
from holdall.stores.errors import InvalidParameterValue
from holdall.stores.representation import digest_header, find_digest

__all__ = ["Outflow", "receive_file"]

SENT_BLOCK = 1 << 18
"""Bytes that are read from a store at a time. A slow reader holds a few of these."""

_DIGESTS = (b"repr-digest", b"content-digest")


async def receive_file(
    service: Service, request: Request, store: ArtifactStore, path: str, limit: int | None = None
) -> str | None:
    """Store the body of a request as a file, which appears whole and verified, or not at all.

    Args:
        service: Whose threads write.
        request: Its body; a digest may be among its headers, or announced by `Trailer` and come after the body.
        store: Where to.
        path: The file.
        limit: Bytes at most; None for any number.

    Returns:
        The digest as a header, if the client has sent one.

    Raises:
        ClientGone: The body broke off.
        TooSlow: The client fell silent.
        DigestMismatch: What arrived is not what was sent.
        InvalidParameterValue: The path is refused, or the body is too large or would be a part of the file only.
    """
    if b"content-range" in request.headers:
        raise InvalidParameterValue("Files are stored whole: a PUT with Content-Range is not possible.")
    size = _announced_size(request)
    if limit is not None and (size or 0) > limit:
        raise _too_large(limit)
    upload = await service.transfers.run(lambda: store.open(path, "wb", size=size))
    steps = _Steps(service.transfers)
    check = _Check(request, upload)
    try:
        async for block in _blocks(request, service.options.body_timeout):
            check.size += len(block)
            if limit is not None and check.size > limit:
                raise _too_large(limit)
            await steps.begin(partial(check.write, block))
        await steps.end()
        if size is not None and check.size != size:
            raise ClientGone("The body is shorter than announced.")
        await steps.begin(check.finish)
        await steps.end()
    except BaseException:
        await steps.settle()
        await asyncio.to_thread(upload.abort)
        raise
    return check.confirmed


class Outflow:
    """The bytes of a file from `start` to `stop`; a block is read while the one before it is being sent.

    Args:
        lane: Threads that read.
        reader: The file; closed in the end.
        start: First byte.
        stop: Byte to end before.
        receive: Tells when the client goes away.
        release: Called in the end.
    """

    def __init__(
        self,
        lane: Lane,
        reader: BinaryIO,
        start: int,
        stop: int,
        receive: Receive,
        release: Callable[[], Awaitable[None]],
    ) -> None:
        self._lane, self._reader, self._receive, self._release = lane, reader, receive, release
        self._position, self._stop = start, stop
        self._next: asyncio.Task[bytes] | None = None
        self._gone: asyncio.Task[None] | None = None

    def __aiter__(self) -> Outflow:
        return self

    async def __anext__(self) -> bytes:
        """The next block.

        Raises:
            ClientGone: Nobody reads any more.
            HoldallError: The store failed.
        """
        if self._gone is None and self._position + SENT_BLOCK < self._stop:
            self._gone = asyncio.create_task(_wait_until_gone(self._receive))
        elif self._gone is not None and self._gone.done():
            raise ClientGone("The client has gone away.")
        reading = self._next or self._read_ahead()
        if reading is None:
            raise StopAsyncIteration
        block = await reading
        self._next = self._read_ahead()
        return block

    async def aclose(self) -> None:
        """Give back the file."""
        if self._gone is not None:
            self._gone.cancel()
        if self._next is not None:
            await asyncio.wait([self._next])
            if not self._next.cancelled():
                self._next.exception()
            self._next = None
        await asyncio.to_thread(self._reader.close)
        await self._release()

    def _read_ahead(self) -> asyncio.Task[bytes] | None:
        count = min(SENT_BLOCK, self._stop - self._position)
        if count <= 0:
            return None
        self._position += count
        return asyncio.create_task(self._lane.run(partial(self._reader.read, count)))


class _Steps:
    """Jobs of one file, one after the other; the next one may be made ready while one runs."""

    def __init__(self, lane: Lane) -> None:
        self._lane = lane
        self._running: asyncio.Task[None] | None = None

    async def begin(self, job: Callable[[], None]) -> None:
        """Start a job when the one before it has ended; raises what that has raised."""
        await self.end()
        self._running = asyncio.create_task(self._lane.run(job))

    async def end(self) -> None:
        """Wait for the job that runs; raises what it raises."""
        if self._running is not None:
            # Shielded: a thread that works cannot be stopped, so it must not be forgotten.
            await asyncio.shield(self._running)
            self._running = None

    async def settle(self) -> None:
        """Wait for the job that runs, whatever becomes of it."""
        if self._running is not None:
            with suppress(Exception):
                await self._running
            self._running = None


class _Check:
    """Writes a file and compares it with the digest that its sender sends before or after it.

    Attributes:
        size: Bytes so far.
        confirmed: The digest as a header, once it was compared.
    """

    def __init__(self, request: Request, upload: ArtifactUpload) -> None:
        self.size = 0
        self.confirmed: str | None = None
        self._request, self._upload = request, upload
        expected = self._expected()
        follows = b"repr-digest" in request.headers.get(b"trailer", b"").lower()
        algorithm = expected[0] if expected else "sha256" if follows else upload.digest().algorithm
        # The store digests what is written as well, mostly in the same way.
        self._digester = None if algorithm == upload.digest().algorithm else Digester(algorithm)

    def write(self, block: bytearray) -> None:
        """Take the next bytes; in a thread."""
        self._upload.write(block)
        if self._digester is not None:
            self._digester.update(memoryview(block))

    def finish(self) -> None:
        """Compare, and make the file appear; in a thread.

        Raises:
            DigestMismatch: What arrived is not what was sent.
        """
        digest = self._upload.digest() if self._digester is None else self._digester.digest()
        expected = self._expected()
        if expected is not None and expected[0] == digest.algorithm:
            if expected[1] != digest.value:
                raise DigestMismatch("The bytes that arrived do not match the digest sent with them; send them again.")
            self.confirmed = digest_header(digest)
        self._upload.close()

    def _expected(self) -> tuple[str, str] | None:
        headers = [value.decode("latin-1") for name, value in self._request.lines if name in _DIGESTS]
        return next(filter(None, map(find_digest, headers)), None)


async def _blocks(request: Request, timeout: float) -> AsyncIterator[bytearray]:
    """The body in blocks that are worth a thread's while, each valid for good."""
    block = bytearray()
    pieces = request.pieces()
    while True:
        try:
            async with asyncio.timeout(timeout):
                piece = await anext(pieces, None)
        except TimeoutError:
            raise TooSlow(f"Nothing has come for {timeout:g} seconds; nothing was stored.") from None
        if piece is None:
            break
        block += piece
        if len(block) >= CHUNK_SIZE:
            yield block
            block = bytearray()
    if block:
        yield block


async def _wait_until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _announced_size(request: Request) -> int | None:
    length = request.headers.get(b"content-length", b"")
    return int(length) if length.isdigit() and b"transfer-encoding" not in request.headers else None


def _too_large(limit: int) -> InvalidParameterValue:
    return InvalidParameterValue(f"Artifact size is too large. Max size is {limit >> 20}MB.")
