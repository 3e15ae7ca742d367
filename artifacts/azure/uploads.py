"""Files in blocks."""

from __future__ import annotations

import hashlib
import logging
import secrets
from base64 import b64decode, b64encode

from holdall.artifacts.azure.service import BlobService
from holdall.artifacts.parts import PartedUpload
from holdall.stores.artifact_io import Digest
from holdall.stores.errors import HoldallError, NotFound
from holdall.stores.http_client import Body

__all__ = ["MOST_BLOCKS", "BlockIds", "BlockUpload"]

MOST_BLOCKS = 50_000
"""Blocks that a blob may have."""

_log = logging.getLogger(__name__)


class BlockIds:
    """The ids of the blocks of one upload, which no other upload has.

    All ids under a name must have one length. These have the 64 characters that Microsoft's own tools use, so that
    what an upload of those has left behind is not in the way.

    Args:
        token: 32 hexadecimal digits that tell the upload; new ones if None.

    Attributes:
        token: As above.
    """

    def __init__(self, token: str | None = None) -> None:
        self.token = token or secrets.token_hex(16)

    def __getitem__(self, number: int) -> str:
        """The id of block `number`."""
        return b64encode(f"holdall-{self.token}{number:08}".encode()).decode()

    def __contains__(self, block: str) -> bool:
        """Whether a block is one of this upload."""
        return b64decode(block).startswith(f"holdall-{self.token}".encode())


class BlockUpload(PartedUpload):
    """A file on its way as blocks, each verified by the service as it arrives.

    Args:
        service: Where to.
        name: Of the blob.
    """

    def __init__(self, service: BlobService, name: str) -> None:
        self._service = service
        self._name = name
        self._ids = BlockIds()
        self._whole = hashlib.md5(usedforsecurity=False)

    def pass_by(self, data: Body) -> None:
        self._whole.update(data)

    def send(self, number: int, data: Body) -> None:
        self._service.put_block(self._name, self._ids[number], data)

    def finish(self, parts: int, digest: Digest) -> None:
        blocks = (self._ids[number] for number in range(1, parts + 1))
        self._service.commit(self._name, blocks, b64encode(self._whole.digest()).decode())

    def cancel(self) -> None:
        try:
            dropped = self._service.discard(self._name, self._ids.__contains__)
        except HoldallError as error:
            dropped = isinstance(error, NotFound)  # the container is gone, and all with it
        if not dropped:
            _log.warning("Azure keeps the blocks of an upload to %r that was given up for up to a week.", self._name)
