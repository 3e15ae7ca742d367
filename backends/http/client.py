"""`ApiClient`: calls to a tracking server, repeated while that may help and cannot harm."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast
from urllib.parse import quote, urlencode, urlsplit

from holdall.stores.errors import HoldallError, InternalError, InvalidParameterValue, TemporarilyUnavailable
from holdall.stores.http_client import HttpClient, HttpResponse, NotConnected
from holdall.stores.tracking_errors import error_of
from holdall.stores.tracking_settings import ServerSettings
from holdall.stores.uri import StoreURI

__all__ = ["ApiClient", "Query"]

API = "/api/2.0/mlflow/"
"""Before the names of endpoints."""

_REFUSED_AT_ONCE = frozenset({429, 503})
"""Statuses by which a server says that it did nothing."""

Query = Mapping[str, str | int | None]
"""Values by name; those that are None are left out."""


class _OutcomeUnknown(Exception):
    """A request that must not be repeated was sent, and nobody knows what became of it."""


@dataclass(frozen=True, slots=True)
class _Call:
    """A request, ready to be sent."""

    method: str
    path: str
    query: str
    body: bytes | None
    repeatable: bool


class ApiClient:
    """The REST API of one server. Safe between threads, and in forked children.

    Args:
        uri: Of the server; nothing is sent to it yet.

    Raises:
        InvalidParameterValue: The URI, or a setting in the environment, is malformed.
    """

    def __init__(self, uri: StoreURI) -> None:
        self._settings = ServerSettings.of(uri)
        self._http = HttpClient(self._settings.origin, self._settings.connections)
        self._headers = {"accept": "application/json", "user-agent": "holdall"}
        if self._settings.authorization is not None:
            self._headers["authorization"] = self._settings.authorization

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def get(self, endpoint: str, query: Query | None = None) -> dict[str, object]:
        """Call an endpoint by `GET`; raises as `call` does."""
        return self.call("GET", endpoint, query=query)

    def post(self, endpoint: str, body: Mapping[str, object], *, repeatable: bool = True) -> dict[str, object]:
        """Call an endpoint by `POST`; raises as `call` does."""
        return self.call("POST", endpoint, body=body, repeatable=repeatable)

    def call(
        self,
        method: str,
        endpoint: str,
        *,
        query: Query | None = None,
        body: Mapping[str, object] | None = None,
        repeatable: bool = True,
    ) -> dict[str, object]:
        """Call an endpoint and decode what it answers.

        Args:
            method: HTTP method.
            endpoint: Encoded, below `/api/2.0/mlflow/`; or a path from the root of the server, with a slash first.
            query: After the path.
            body: Sent as JSON.
            repeatable: Whether the call may be made twice; if not, it is repeated only when it surely did nothing.

        Raises:
            HoldallError: The server refuses: the class is that of the error code, the message is the server's.
            Unsupported: The server has no such endpoint.
            TemporarilyUnavailable: It went on failing for as long as patience lasts.
            InternalError: The answer is none of this API.
        """
        call = self._prepare(method, endpoint, query, body, repeatable=repeatable)
        data = self._run(call)
        if not data:
            return {}
        document = _parse(data)
        if not isinstance(document, dict):
            raise InternalError(
                f"{self._where(call)} was answered with something that is no JSON object; is this the address of a "
                "tracking server?"
            )
        return cast(dict[str, object], document)

    def text(self, path: str) -> str:
        """What a path from the root of the server answers to `GET`, as text; raises as `call` does."""
        return self._run(self._prepare("GET", path, None, None, repeatable=True)).decode("utf-8", "replace")

    def _prepare(
        self, method: str, endpoint: str, query: Query | None, body: Mapping[str, object] | None, *, repeatable: bool
    ) -> _Call:
        given = {name: value for name, value in (query or {}).items() if value is not None}
        payload = None
        if body is not None:
            text = json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
            payload = text.encode()
        path = endpoint if endpoint.startswith("/") else API + endpoint
        return _Call(method, path, urlencode(given, quote_via=quote), payload, repeatable)

    def _run(self, call: _Call) -> bytes:
        try:
            return self._settings.retries.run(lambda: self._send(call))
        except _OutcomeUnknown as error:
            raise TemporarilyUnavailable(
                f"{error} What was asked for may have been created nevertheless: look before repeating it."
            ) from error.__cause__
        except NotConnected as error:
            raise NotConnected(f"{error.message} Is the tracking server running at this address?") from error.__cause__

    def _send(self, call: _Call) -> bytes:
        target = f"{self._settings.prefix}{call.path}" + (f"?{call.query}" if call.query else "")
        headers = self._headers if call.body is None else {**self._headers, "content-type": "application/json"}
        try:
            response = self._http.request(call.method, target, headers, call.body, repeatable=call.repeatable)
            if 200 <= response.status < 300:
                return response.read()
        except TemporarilyUnavailable as error:
            if call.repeatable or isinstance(error, NotConnected):
                raise
            raise _OutcomeUnknown(error.message) from error
        refusal = self._refusal(call, response)
        if isinstance(refusal, TemporarilyUnavailable) and not (call.repeatable or response.status in _REFUSED_AT_ONCE):
            raise _OutcomeUnknown(refusal.message) from refusal
        raise refusal

    def _refusal(self, call: _Call, response: HttpResponse) -> HoldallError:
        where, text = self._where(call), response.error_text()
        if 300 <= response.status < 400:
            # Followed, it would hand credentials and data to whoever the answer names.
            target = urlsplit(response.headers.get("Location", ""))
            place = f"{target.scheme}://{target.hostname}" if target.hostname else "elsewhere"
            return InvalidParameterValue(f"{where} is redirected to {place}; open the store at its own address.")
        return error_of(
            response.status, _parse(text), where, retry_after=response.retry_after, secrets=self._settings.secrets
        )

    def _where(self, call: _Call) -> str:
        return f"{call.method} {self._settings.origin}{self._settings.prefix}{call.path}"


def _parse(data: bytes | str) -> object:
    """What JSON says; None if it is none."""
    try:
        return cast(object, json.loads(data))
    except (ValueError, RecursionError):
        return None
