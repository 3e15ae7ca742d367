"""From a server's refusals to the errors that a direct store raises."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

from holdall.stores.errors import (
    AlreadyExists,
    DataLoss,
    HoldallError,
    InternalError,
    InvalidParameterValue,
    NotFound,
    PermissionDenied,
    TemporarilyUnavailable,
    Unauthenticated,
    Unsupported,
)

__all__ = ["BadRequest", "error_of"]

_DRIVER_MARKS = ("[sql:", "sqlalche.me", "sqlalchemy", "psycopg", "pymysql", "sqlite3", "traceback")
_LONGEST_MESSAGE = 10_000
_SHORTEST_SECRET = 4
"""Characters; replacing shorter ones would tell them, and make messages unreadable."""


class BadRequest(InvalidParameterValue):
    """MLflow's `BAD_REQUEST`: its database refused, for a reason that only the request tells."""


_BY_CODE: dict[str, type[HoldallError]] = {
    "INTERNAL_ERROR": InternalError,
    "INVALID_STATE": InvalidParameterValue,
    "DATA_LOSS": DataLoss,
    "NOT_IMPLEMENTED": Unsupported,
    "TEMPORARILY_UNAVAILABLE": TemporarilyUnavailable,
    "DEADLINE_EXCEEDED": TemporarilyUnavailable,
    "REQUEST_LIMIT_EXCEEDED": TemporarilyUnavailable,
    "CANCELLED": TemporarilyUnavailable,
    "RESOURCE_EXHAUSTED": TemporarilyUnavailable,
    "ABORTED": TemporarilyUnavailable,
    "RESOURCE_CONFLICT": AlreadyExists,
    "ALREADY_EXISTS": AlreadyExists,
    "NOT_FOUND": NotFound,
    "ENDPOINT_NOT_FOUND": Unsupported,
    "RESOURCE_DOES_NOT_EXIST": NotFound,
    "PERMISSION_DENIED": PermissionDenied,
    "CUSTOMER_UNAUTHORIZED": Unauthenticated,
    "UNAUTHENTICATED": Unauthenticated,
    "BAD_REQUEST": BadRequest,
    "RESOURCE_ALREADY_EXISTS": AlreadyExists,
    "INVALID_PARAMETER_VALUE": InvalidParameterValue,
}
"""The class of every error code of the API."""

# 404 without a code comes from a server without such a route. That is no missing run, so it is no `NotFound`.
_BY_STATUS: dict[int, type[HoldallError]] = {
    400: InvalidParameterValue,
    401: Unauthenticated,
    403: PermissionDenied,
    404: Unsupported,
    405: Unsupported,
    408: TemporarilyUnavailable,
    413: InvalidParameterValue,
    425: TemporarilyUnavailable,
    429: TemporarilyUnavailable,
    501: Unsupported,
    502: TemporarilyUnavailable,
    503: TemporarilyUnavailable,
    504: TemporarilyUnavailable,
}
"""The class for answers that have no code, or an unknown one; `InternalError` for others."""

_REMEDIES = {
    401: "check the user and password, or the token",
    403: "this user may not do so",
    404: "is this the address of a tracking server, and does its version have this?",
    405: "is this the address of a tracking server, and does its version have this?",
    413: "the request is too large for it",
}


def error_of(
    status: int, document: object, where: str, *, retry_after: float = 0.0, secrets: Iterable[str] = ()
) -> HoldallError:
    """The error for an answer that is no success.

    Args:
        status: HTTP status.
        document: The body as JSON; None if it was none.
        where: Method and address, for messages, without credentials.
        retry_after: Seconds that the server asks to be left alone.
        secrets: What must not be seen in the message, whoever put it there.
    """
    fields = cast(dict[str, object], document) if isinstance(document, dict) else {}
    code, message = fields.get("error_code"), fields.get("message")
    kind = _BY_CODE.get(code) if isinstance(code, str) else None
    if kind is None:
        kind = _BY_STATUS.get(status, InternalError)
    if not isinstance(message, str) or not message:
        remedy = _REMEDIES.get(status, "its log may tell why")
        message = f"{where} was answered with HTTP {status} and no message of the API; {remedy}."
    elif any(mark in message.lower() for mark in _DRIVER_MARKS):
        message = f"{where} was refused by the server's database; the server's log tells why."
    message = _without(secrets, message[:_LONGEST_MESSAGE])
    if issubclass(kind, TemporarilyUnavailable):
        return kind(message, retry_after=retry_after)
    return kind(message)


def _without(secrets: Iterable[str], text: str) -> str:
    for secret in secrets:
        if len(secret) >= _SHORTEST_SECRET:
            text = text.replace(secret, "***")
    return text
