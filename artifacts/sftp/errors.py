"""Refusals of the server as errors of the store."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from holdall.artifacts.sftp.protocol import (
    BAD_MESSAGE,
    CONNECTION_LOST,
    NO_CONNECTION,
    NO_SUCH_FILE,
    PERMISSION_DENIED,
    UNSUPPORTED,
    Refused,
)
from holdall.stores.errors import (
    HoldallError,
    InternalError,
    InvalidParameterValue,
    NotFound,
    PermissionDenied,
    TemporarilyUnavailable,
    Unsupported,
)

__all__ = ["translated"]

_KINDS: dict[int, type[HoldallError]] = {
    NO_SUCH_FILE: NotFound,
    PERMISSION_DENIED: PermissionDenied,
    BAD_MESSAGE: InvalidParameterValue,
    NO_CONNECTION: TemporarilyUnavailable,
    CONNECTION_LOST: TemporarilyUnavailable,
    UNSUPPORTED: Unsupported,
}


@contextmanager
def translated(action: str, path: str) -> Iterator[None]:
    """In its context a refusal is raised as an error of the store.

    Args:
        action: What was tried: `read`, `write`, ….
        path: The artifact.
    """
    try:
        yield
    except Refused as refusal:
        says = f"the server says {refusal.text!r}" if refusal.text else f"the server refuses (status {refusal.code})"
        message = f"Cannot {action} artifact {path!r}: {says}."
        kind = _KINDS.get(refusal.code, InternalError)
        # Nothing need be there before it is written, so something else has gone.
        raise (InternalError if kind is NotFound and action == "write" else kind)(message) from refusal
