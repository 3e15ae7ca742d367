"""Credentials of Google Cloud Storage, as Google's library finds and renews them."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Mapping
from typing import Protocol, cast
from urllib.parse import quote

import google.auth
from google.auth.exceptions import GoogleAuthError, RefreshError, TransportError

from holdall.artifacts.service import Request, Signer
from holdall.stores.errors import HoldallError, InvalidParameterValue, TemporarilyUnavailable, Unauthenticated

__all__ = ["AnonymousSigner", "Credentials", "GoogleCredentials", "TokenSigner"]

SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)


class Credentials(Protocol):
    """What is used of the library's credentials."""

    token: str | None

    @property
    def valid(self) -> bool:
        """Whether there is a token that has not expired."""
        ...

    def refresh(self, request: object) -> None:
        """Fetch a token."""

    def apply(self, headers: dict[str, str]) -> None:
        """Add the token, and the project to charge if there is one."""


class GoogleCredentials:
    """Credentials that are searched for when they are first needed. Safe between threads.

    Args:
        file: Of credentials; None for the library's search: `GOOGLE_APPLICATION_CREDENTIALS`, `gcloud`, the machine.
    """

    def __init__(self, file: str | None) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._found: Credentials | None = None
        self._transport: object = None

    def find(self) -> Credentials:
        """The library's credentials, maybe without a token.

        Raises:
            Unauthenticated: There are none.
            InvalidParameterValue: They cannot be read from the file.
        """
        if self._found is None:
            with self._lock:
                if self._found is None:
                    self._found = _load(self._file) if self._file else _search()
        return self._found

    def fresh(self) -> Credentials:
        """The library's credentials with a token that has not expired; raises as `renew` does."""
        credentials = self.find()
        if not credentials.valid:
            with self._lock:
                if not credentials.valid:
                    self._refresh(credentials)
        return credentials

    def renew(self, refused: str | None) -> None:
        """Fetch another token than the one that was refused, unless another thread has done so.

        Raises:
            Unauthenticated: Google refuses to give one.
            TemporarilyUnavailable: Google could not be asked.
        """
        credentials = self.find()
        with self._lock:
            if credentials.token == refused:
                self._refresh(credentials)

    def _refresh(self, credentials: Credentials) -> None:
        try:
            if self._transport is None:
                from google.auth.transport.requests import Request as Transport

                self._transport = cast(Callable[[], object], Transport)()
            credentials.refresh(self._transport)
        except GoogleAuthError as error:
            raise _refresh_error(error) from error


class AnonymousSigner(Signer):
    """No credentials."""

    def sign(self, request: Request, host: str) -> tuple[str, dict[str, str]]:
        return _target(request), request.headers


class TokenSigner(Signer):
    """Sends the token of credentials with each request."""

    def __init__(self, credentials: GoogleCredentials) -> None:
        self._credentials = credentials
        self._sent = threading.local()

    def sign(self, request: Request, host: str) -> tuple[str, dict[str, str]]:
        headers = dict(request.headers)
        credentials = self._credentials.fresh()
        self._sent.token = credentials.token
        credentials.apply(headers)
        return _target(request), headers

    def renew(self) -> bool:
        self._credentials.renew(self._sent.token)
        return True


def _target(request: Request) -> str:
    return f"{request.path}?{_encode_query(request.query)}" if request.query else request.path


def _encode_query(query: Mapping[str, str]) -> str:
    return "&".join(f"{name}={quote(value, safe='')}" for name, value in query.items())


def _search() -> Credentials:
    try:
        return cast(Credentials, google.auth.default(scopes=SCOPES)[0])
    except GoogleAuthError as error:
        raise Unauthenticated(
            "There are no credentials for Google Cloud Storage: run `gcloud auth application-default login`, set "
            "GOOGLE_APPLICATION_CREDENTIALS, name a file with ?credentials_file=FILE, or ask for none with "
            "?anonymous=true."
        ) from error


def _load(file: str) -> Credentials:
    try:
        with warnings.catch_warnings():
            # It warns of files that come from others; this one was named by the user.
            warnings.simplefilter("ignore", DeprecationWarning)
            load = cast(Callable[..., tuple[Credentials, object]], google.auth.load_credentials_from_file)
            return load(file, scopes=SCOPES)[0]
    except Exception as error:  # what is no file of credentials makes the library fail in many ways
        raise InvalidParameterValue(f"Cannot read credentials of Google from {file!r}.") from error


def _refresh_error(error: GoogleAuthError) -> HoldallError:
    if isinstance(error, TransportError) or (isinstance(error, RefreshError) and error.retryable):
        return TemporarilyUnavailable("Google could not be asked for an access token.")
    return Unauthenticated(
        "Google gives no access token for the credentials; run `gcloud auth application-default login` again, or check "
        "the service account and its key."
    )
