"""Requests to an object service: signed, repeated while that may help, refusals turned into errors of the store."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection
from dataclasses import dataclass, field

from holdall.stores.errors import (
    DataLoss,
    HoldallError,
    InternalError,
    InvalidParameterValue,
    NotFound,
    PermissionDenied,
    TemporarilyUnavailable,
    Unauthenticated,
)
from holdall.stores.http_client import Body, HttpClient, HttpResponse
from holdall.stores.retries import RetryPolicy

__all__ = ["SUCCESS", "Refusal", "Request", "Service", "Signer"]

SUCCESS = frozenset({200, 201, 202, 204, 206})

_TEMPORARY = frozenset({408, 425, 429, 500, 502, 503, 504})


@dataclass(slots=True)
class Request:
    """A request, before it is signed.

    Attributes:
        method: `GET`, `PUT`, ….
        path: Encoded path from the root of the server.
        query: Names and values, not encoded.
        headers: Names in lower case.
        body: Whole, or its pieces in order.
        repeatable: Whether it may be sent twice without asking what became of it.
    """

    method: str
    path: str
    query: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    body: Body | tuple[Body, ...] | None = None
    repeatable: bool = True


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer that is no success.

    Attributes:
        status: HTTP status.
        code: The service's word for it, or ''.
        message: The service's explanation, or ''. Never what the request held.
        retry_after: Seconds that the service asks to be left alone.
    """

    status: int
    code: str = ""
    message: str = ""
    retry_after: float = 0.0


class Signer(ABC):
    """Credentials of a service. Safe between threads."""

    @abstractmethod
    def sign(self, request: Request, host: str) -> tuple[str, dict[str, str]]:
        """The target (encoded path and query) and headers to send.

        Raises:
            Unauthenticated: There are no credentials.
        """

    def renew(self) -> bool:
        """Fetch new credentials, since the present ones were refused; whether there are others now."""
        return False


class Service(ABC):
    """An object service at one address.

    Args:
        client: Its connections.
        signer: Its credentials.
        retries: How long to repeat what may succeed a moment later.
        name: What to call it in messages.
    """

    temporary_codes: frozenset[str] = frozenset()
    """The service's words for what may succeed a moment later, whatever the status."""

    expired_codes: frozenset[str] = frozenset()
    """Its words for credentials that were good once."""

    unauthenticated_codes: frozenset[str] = frozenset()
    """Its words for credentials that are not accepted, where the status is that of a missing permission."""

    damaged_codes: frozenset[str] = frozenset()
    """Its words for a body that does not match its digest. It was damaged on the way, so it is sent again."""

    def __init__(self, client: HttpClient, signer: Signer, retries: RetryPolicy, name: str) -> None:
        self.client = client
        self.signer = signer
        self._retries = retries
        self._name = name

    def send(self, request: Request, *, accept: Collection[int] = SUCCESS) -> HttpResponse:
        """Send a request, again while that may help.

        Args:
            request: What to send.
            accept: Statuses that are an answer; all others are refusals.

        Returns:
            The answer, whose body is not read yet; read it to its end or close it.

        Raises:
            NotFound: 404.
            Unauthenticated: The credentials are not accepted.
            PermissionDenied: They do not allow this.
            TemporarilyUnavailable: It went on failing for as long as patience lasts.
            InternalError: The service refuses for another reason, which the message tells.
        """
        return self._retries.run(lambda: self._send_once(request, accept))

    def call(self, request: Request, *, accept: Collection[int] = SUCCESS) -> tuple[HttpResponse, bytes]:
        """Send a request, again while that may help, and read its answer; raises as `send` does."""
        return self._retries.run(lambda: self._call_once(request, accept))

    @abstractmethod
    def parse_refusal(self, response: HttpResponse) -> Refusal:
        """What the service says in an answer that is no success; reads its body."""

    def refusal_error(self, refusal: Refusal, request: Request) -> HoldallError:
        """The error for a refusal."""
        what = f"{self._name} refuses {request.method}: " + (refusal.code or f"HTTP {refusal.status}")
        message = f"{what} ({refusal.message.rstrip('.')})." if refusal.message else f"{what}."
        if refusal.status in _TEMPORARY or refusal.code in self.temporary_codes:
            return TemporarilyUnavailable(message, retry_after=refusal.retry_after)
        if refusal.code in self.damaged_codes:
            return TemporarilyUnavailable(f"{message} The bytes were damaged on their way.")
        if refusal.status == 401 or refusal.code in self.unauthenticated_codes | self.expired_codes:
            return Unauthenticated(f"{message} Check the credentials.")
        kinds = {403: PermissionDenied, 404: NotFound, 412: DataLoss, 400: InvalidParameterValue}
        return kinds.get(refusal.status, InternalError)(message)

    def recover(self, refusal: Refusal) -> bool:
        """Change what a refusal was for, if that can be; whether the request may be sent again at once."""
        expired = refusal.status == 401 or refusal.code in self.expired_codes
        return expired and self.signer.renew()

    def _call_once(self, request: Request, accept: Collection[int]) -> tuple[HttpResponse, bytes]:
        response = self._send_once(request, accept)
        return response, response.read()

    def _send_once(self, request: Request, accept: Collection[int]) -> HttpResponse:
        recovered = False
        while True:
            target, headers = self.signer.sign(request, self.client.host)
            response = self.client.request(request.method, target, headers, request.body, repeatable=request.repeatable)
            if response.status in accept:
                return response
            refusal = self.parse_refusal(response)
            if recovered or not self.recover(refusal):
                raise self.refusal_error(refusal, request)
            recovered = True
