"""Credentials of Azure Storage: account keys, shared access signatures, tokens of Microsoft Entra."""

from __future__ import annotations

import binascii
import hmac
import threading
import time
from abc import abstractmethod
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import formatdate
from typing import Protocol
from urllib.parse import parse_qs, quote

from azure.core.exceptions import AzureError, ClientAuthenticationError

from holdall.artifacts.azure.options import AzureOptions
from holdall.artifacts.service import Request, Signer
from holdall.stores.errors import InvalidParameterValue, TemporarilyUnavailable, Unauthenticated

__all__ = ["AnonymousSigner", "AzureSigner", "SasSigner", "SharedKeySigner", "TokenSigner", "new_signer"]

API_VERSION = "2021-12-02"
"""Of the Blob service. The first with all that is used: encoded names in listings, and directories told by type."""

SCOPE = "https://storage.azure.com/.default"

REFRESH_SECONDS = 300
"""How long before it expires a token is replaced."""

_SIGNED = (
    "content-encoding",
    "content-language",
    "content-length",
    "content-md5",
    "content-type",
    "date",
    "if-modified-since",
    "if-match",
    "if-none-match",
    "if-unmodified-since",
    "range",
)
"""The standard headers that a shared key signs, in its order."""


class Token(Protocol):
    """An access token of the SDK."""

    @property
    def token(self) -> str:
        """Its text."""
        ...

    @property
    def expires_on(self) -> int:
        """Seconds since the epoch."""
        ...


class Credential(Protocol):
    """A credential of the SDK."""

    def get_token(self, *scopes: str) -> Token:
        """A token that is valid now."""
        ...


class AzureSigner(Signer):
    """Credentials that can say what to look at when they are refused."""

    @abstractmethod
    def advice(self) -> str:
        """What may be wrong."""

    def sign(self, request: Request, host: str) -> tuple[str, dict[str, str]]:
        headers = {**request.headers, "x-ms-date": formatdate(usegmt=True), "x-ms-version": API_VERSION}
        query = "&".join(f"{name}={quote(value, safe='-_.~')}" for name, value in request.query.items())
        return self._authorize(request, f"{request.path}?{query}" if query else request.path, headers)

    @abstractmethod
    def _authorize(self, request: Request, target: str, headers: dict[str, str]) -> tuple[str, dict[str, str]]:
        """Add the credentials to the target or the headers."""


class AnonymousSigner(AzureSigner):
    """No credentials, for containers that are open to everybody."""

    def advice(self) -> str:
        return "The container is not open to everybody; name credentials."

    def _authorize(self, request: Request, target: str, headers: dict[str, str]) -> tuple[str, dict[str, str]]:
        return target, headers


class SharedKeySigner(AzureSigner):
    """Signs each request with the key of the account ("Authorize with Shared Key", Azure Storage REST API).

    Args:
        account: Its name.
        key: Base64 text.

    Raises:
        InvalidParameterValue: The key is no base64 text.
    """

    def advice(self) -> str:
        return "Check the account key, the account's name, and that the clock of this machine is right."

    def __init__(self, account: str, key: str) -> None:
        self._account = account
        try:
            self._key = b64decode(key, validate=True)
        except (binascii.Error, ValueError):
            raise InvalidParameterValue(f"The key of Azure account {account!r} is no base64 text.") from None

    def _authorize(self, request: Request, target: str, headers: dict[str, str]) -> tuple[str, dict[str, str]]:
        text = string_to_sign(self._account, request, headers)
        signature = b64encode(hmac.digest(self._key, text.encode(), "sha256")).decode()
        return target, {**headers, "authorization": f"SharedKey {self._account}:{signature}"}


def string_to_sign(account: str, request: Request, headers: Mapping[str, str]) -> str:
    """What a shared key signs of a request: method, standard headers, headers of the service, path, query."""
    values = {**headers, "content-length": str(len(request.body))} if request.body else headers
    standard = [request.method, *(values.get(name, "") for name in _SIGNED)]
    own = [f"{name}:{' '.join(headers[name].split())}" for name in sorted(headers) if name.startswith("x-ms-")]
    query = [f"{name}:{request.query[name]}" for name in sorted(request.query)]
    return "\n".join([*standard, *own, f"/{account}{request.path}", *query])


class SasSigner(AzureSigner):
    """Sends a shared access signature with each request.

    Args:
        token: The signature's query, encoded.

    Raises:
        InvalidParameterValue: It is no such query.
    """

    def __init__(self, token: str) -> None:
        self._token = token
        self._fields = parse_qs(token)
        if "sig" not in self._fields:
            raise InvalidParameterValue("The SAS token is malformed; it is a query that has a field named sig.")

    def advice(self) -> str:
        expiry = self._fields.get("se", [""])[0]
        if _is_past(expiry):
            return f"The SAS token expired at {expiry}; make a new one."
        return "Check the SAS token: the container it is for, the time it is valid from, and its signature."

    def _authorize(self, request: Request, target: str, headers: dict[str, str]) -> tuple[str, dict[str, str]]:
        return f"{target}{'&' if request.query else '?'}{self._token}", headers


class TokenSigner(AzureSigner):
    """Sends a token of Microsoft Entra, renewed before it expires, and when the service refuses it.

    Args:
        new_credential: Makes the SDK's credential; called at the first request, and when a token was refused, since
            credentials keep their tokens.
    """

    def advice(self) -> str:
        return "Check who is signed in (az login, or the AZURE_… variables) and to which tenant."

    def __init__(self, new_credential: Callable[[], Credential]) -> None:
        self._new_credential = new_credential
        self._credential: Credential | None = None
        self._lock = threading.Lock()
        self._current: Token | None = None
        self._used = threading.local()

    def renew(self) -> bool:
        refused: str = self._used.text
        with self._lock:
            # If the token is another by now, a thread that was refused before this one has renewed it.
            if self._current is None or self._current.token == refused:
                self._credential = None
                self._current = self._fetch()
            return self._current.token != refused

    def _authorize(self, request: Request, target: str, headers: dict[str, str]) -> tuple[str, dict[str, str]]:
        self._used.text = self._token()
        return target, {**headers, "authorization": f"Bearer {self._used.text}"}

    def _token(self) -> str:
        with self._lock:
            left = self._current.expires_on - time.time() if self._current else 0
            if self._current is None or left < REFRESH_SECONDS:
                try:
                    self._current = self._fetch()
                except (TemporarilyUnavailable, Unauthenticated):
                    if self._current is None or left <= 0:
                        raise
            return self._current.token

    def _fetch(self) -> Token:
        try:
            if self._credential is None:
                self._credential = self._new_credential()
            return self._credential.get_token(SCOPE)
        except (ClientAuthenticationError, ValueError) as error:
            raise Unauthenticated(
                "No credentials for Azure were found: set AZURE_STORAGE_CONNECTION_STRING or AZURE_STORAGE_ACCESS_KEY, "
                "sign in with az login, or ask for none with ?anonymous=true."
            ) from error
        except AzureError as error:
            raise TemporarilyUnavailable(f"A token for Azure cannot be had: {type(error).__name__}.") from error


def new_signer(options: AzureOptions) -> AzureSigner:
    """The credentials that options name; makes no request.

    Raises:
        InvalidParameterValue: A key or token is malformed, or tokens would be sent without encryption.
    """
    if options.anonymous:
        return AnonymousSigner()
    if options.account_key is not None:
        return SharedKeySigner(options.account, options.account_key)
    if options.sas_token is not None:
        return SasSigner(options.sas_token)
    if not options.endpoint.startswith("https:"):
        raise InvalidParameterValue(
            f"{options.endpoint} is reached without encryption, so that no sign-in is sent there: name an account_key "
            "or a sas_token, or ask for none with anonymous=true."
        )
    return TokenSigner(_default_credential)


def _default_credential() -> Credential:
    from azure.identity import DefaultAzureCredential

    return DefaultAzureCredential()


def _is_past(text: str) -> bool:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return False
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) < datetime.now(UTC)
