"""The error tree.

Every error that a store raises on purpose is a `HoldallError` with a stable `error_code`, one of the
REST API's codes. Classes double as the built-in exception a Python user would reach for:

    HoldallError
     ├─ InvalidParameterValue (ValueError)      the caller's argument is malformed or not allowed
     │   └─ UnsupportedScheme                   no store answers to the URI's scheme
     ├─ NotFound (LookupError)                  the thing named does not exist
     ├─ AlreadyExists                           the name is taken
     ├─ ReadOnly (PermissionError)              a write through a store opened read-only
     ├─ Unauthenticated (PermissionError)       the store's server does not accept who asks
     ├─ Unsupported (NotImplementedError)       the store cannot do this, and says so
     ├─ MissingExtra (ImportError)              an optional dependency is not installed
     ├─ StoreClosed                             a call after `close()`
     ├─ TemporarilyUnavailable (ConnectionError) worth trying again later
     ├─ DataLoss                                bytes read or written are not the bytes expected
     └─ InternalError (RuntimeError)            the store itself failed
"""

from __future__ import annotations

__all__ = [
    "HTTP_STATUS",
    "AlreadyExists",
    "DataLoss",
    "HoldallError",
    "InternalError",
    "InvalidParameterValue",
    "MissingExtra",
    "NotFound",
    "ReadOnly",
    "StoreClosed",
    "TemporarilyUnavailable",
    "Unauthenticated",
    "Unsupported",
    "UnsupportedScheme",
]

HTTP_STATUS: dict[str, int] = {
    "INTERNAL_ERROR": 500,
    "INVALID_STATE": 500,
    "DATA_LOSS": 500,
    "NOT_IMPLEMENTED": 501,
    "TEMPORARILY_UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
    "REQUEST_LIMIT_EXCEEDED": 429,
    "CANCELLED": 499,
    "RESOURCE_EXHAUSTED": 429,
    "ABORTED": 409,
    "RESOURCE_CONFLICT": 409,
    "ALREADY_EXISTS": 409,
    "NOT_FOUND": 404,
    "ENDPOINT_NOT_FOUND": 404,
    "RESOURCE_DOES_NOT_EXIST": 404,
    "PERMISSION_DENIED": 403,
    "CUSTOMER_UNAUTHORIZED": 401,
    "UNAUTHENTICATED": 401,
    "BAD_REQUEST": 400,
    "RESOURCE_ALREADY_EXISTS": 400,
    "INVALID_PARAMETER_VALUE": 400,
}
"""HTTP status of every error code; the only such table in the project."""


class HoldallError(Exception):
    """Root of all errors raised on purpose.

    Attributes:
        error_code: One of the keys of `HTTP_STATUS`; stable, meant for programs.
        message: For people: names the thing and the remedy. Never holds a password or driver text.
    """

    error_code: str = "INTERNAL_ERROR"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def __str__(self) -> str:
        return self.message

    @property
    def http_status(self) -> int:
        """HTTP status that belongs to the error code."""
        return HTTP_STATUS[self.error_code]


class InvalidParameterValue(HoldallError, ValueError):
    """An argument is malformed, too long, or not allowed in the present state."""

    error_code = "INVALID_PARAMETER_VALUE"


class UnsupportedScheme(InvalidParameterValue):
    """No store is registered for the scheme of a URI."""


class NotFound(HoldallError, LookupError):
    """The experiment, run, tag, artifact … does not exist."""

    error_code = "RESOURCE_DOES_NOT_EXIST"


class AlreadyExists(HoldallError):
    """The name is taken, possibly by something deleted."""

    error_code = "RESOURCE_ALREADY_EXISTS"


class PermissionDenied(HoldallError, PermissionError):
    """The storage knows the user and does not allow this."""

    error_code = "PERMISSION_DENIED"


class ReadOnly(PermissionDenied):
    """A write was asked of a store that was opened read-only."""


class Unauthenticated(HoldallError, PermissionError):
    """The user, password or token is not accepted, or none could be had."""

    error_code = "UNAUTHENTICATED"


class Unsupported(HoldallError, NotImplementedError):
    """The store lacks this ability; its `Capabilities` say so beforehand."""

    error_code = "NOT_IMPLEMENTED"


class MissingExtra(HoldallError, ImportError):
    """A store needs a package that is not installed; the message says which extra brings it."""

    error_code = "NOT_IMPLEMENTED"


class StoreClosed(HoldallError):
    """A store was used after `close()`."""

    error_code = "INVALID_STATE"


class TemporarilyUnavailable(HoldallError, ConnectionError):
    """The storage could not be reached or stayed busy; nothing was written, the call may be repeated.

    Attributes:
        retry_after: Seconds that the storage asks to be left alone.
    """

    error_code = "TEMPORARILY_UNAVAILABLE"

    def __init__(self, message: str, *, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class DataLoss(HoldallError):
    """Size or digest of what was transferred differ from what was expected."""

    error_code = "DATA_LOSS"


class InternalError(HoldallError, RuntimeError):
    """The store failed in a way that is nobody's fault but its own."""

    error_code = "INTERNAL_ERROR"
