"""`RemoteArtifactStore`: what stores at the other end of a network share."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import TypeVar

from holdall.artifacts.parts import PART_SIZE, PartPool, RangedDownload
from holdall.stores.artifact_io import Digest
from holdall.stores.artifacts import ArtifactStore
from holdall.stores.entities import FileInfo
from holdall.stores.retries import RetryPolicy
from holdall.stores.transfers import Transfer
from holdall.stores.uri import StoreURI

__all__ = ["RemoteArtifactStore"]

T = TypeVar("T")


class RemoteArtifactStore(ArtifactStore):
    """A store whose files are moved by the transfer engine.

    Small files are moved `max_workers` at a time. Files of several parts are moved a few at a time, their parts
    `parts_at_once` at a time over all files of the store, so that memory stays bounded whatever is moved. What fails
    with `TemporarilyUnavailable` is repeated, a download from the byte that it has come to.

    Args:
        uri: The root, parsed.
        read_only: Refuse every write with `ReadOnly`.
        max_workers: Files of one call that are moved at a time.
        parts_at_once: Parts of large files that are moved at a time.
        retries: How long to repeat what may succeed a moment later.
    """

    _part_size: int = PART_SIZE

    def __init__(
        self,
        uri: StoreURI,
        *,
        read_only: bool = False,
        max_workers: int = 16,
        parts_at_once: int = 5,
        retries: RetryPolicy = RetryPolicy(),  # noqa: B008 - a frozen value
    ) -> None:
        super().__init__(uri, read_only=read_only, max_workers=max_workers)
        self._retries = retries
        self._parts = PartPool(parts_at_once)
        self._large_files = threading.BoundedSemaphore(4)

    def _retry(self, action: Callable[[], T]) -> T:
        """Call `action`, again while it is `TemporarilyUnavailable` and patience lasts."""
        return self._retries.run(action)

    def _whole_digest(self, path: str) -> Digest | None:
        """The digest that the service keeps of a file; asked only where `_open_reader` of a range does not tell it."""
        return None

    def _upload_file(self, source: Path, path: str, transfer: Transfer) -> None:
        with self._large_files if source.stat().st_size > self._part_size else nullcontext():
            super()._upload_file(source, path, transfer)

    def _download_file(self, info: FileInfo, target: Path, transfer: Transfer) -> None:
        if (info.file_size or 0) <= 2 * self._part_size:
            super()._download_file(info, target, transfer)
            return
        with self._large_files:
            RangedDownload(
                lambda start, stop: self._reader(info.path, start, stop),
                self._parts,
                info.path,
                target,
                transfer,
                self._part_size,
                lambda: self._whole_digest(info.path),
            ).run()

    def _close(self) -> None:
        self._parts.close()
