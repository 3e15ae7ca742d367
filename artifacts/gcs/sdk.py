"""What is left to the SDK: signed URLs."""

from __future__ import annotations

from datetime import timedelta
from functools import cached_property
from typing import Protocol, cast

from google.auth.credentials import Signing
from google.auth.exceptions import GoogleAuthError

from holdall.artifacts.gcs.options import GcsOptions
from holdall.artifacts.gcs.signing import GoogleCredentials
from holdall.stores.errors import HoldallError, PermissionDenied, TemporarilyUnavailable, Unsupported

__all__ = ["UrlSigner"]


class _Blob(Protocol):
    def generate_signed_url(self, **arguments: object) -> str: ...


class _Bucket(Protocol):
    def blob(self, name: str) -> _Blob: ...


class UrlSigner:
    """Signs URLs (V4): with the key of a service account, or by asking the IAM service where there is no key here.

    Args:
        options: How to reach the bucket.
        bucket: Its name.
        credentials: Whose signature; None for nobody's.
    """

    def __init__(self, options: GcsOptions, bucket: str, credentials: GoogleCredentials | None) -> None:
        self._options = options
        self._name = bucket
        self._credentials = credentials

    @property
    def can_sign(self) -> bool:
        """Whether the credentials are those of a service account; other accounts sign nothing."""
        if self._credentials is None:
            return False
        try:
            found = self._credentials.find()
        except HoldallError:
            return False
        return isinstance(found, Signing) or bool(_account(found))

    def sign(self, key: str, method: str, seconds: int) -> str:
        """A URL for one method on one object, valid for some seconds.

        Raises:
            Unsupported: The credentials cannot sign.
            PermissionDenied: The IAM service does not let the account sign.
            TemporarilyUnavailable: The IAM service could not be asked.
        """
        if self._credentials is None or not self.can_sign:
            raise Unsupported(
                "URLs are signed by service accounts only; use the key file of one, or impersonate one with "
                "`gcloud auth application-default login --impersonate-service-account=ACCOUNT`."
            )
        payer = {"userProject": self._options.user_project} if self._options.user_project else None
        try:
            return self._bucket.blob(key).generate_signed_url(
                version="v4",
                method=method,
                expiration=timedelta(seconds=seconds),
                api_access_endpoint=self._options.public_endpoint,
                query_parameters=payer,
                **_signature(self._credentials),
            )
        except GoogleAuthError as error:
            raise _signing_error(error) from error

    @cached_property
    def _bucket(self) -> _Bucket:
        from google.cloud.storage import Client

        return cast(_Bucket, Client.create_anonymous_client().bucket(self._name))


def _account(credentials: object) -> str:
    """E-mail address of the service account that credentials without a key are of, or ''."""
    return str(getattr(credentials, "service_account_email", None) or "")


def _signature(credentials: GoogleCredentials) -> dict[str, object]:
    """Arguments that say who signs: a key, or the IAM service for the account."""
    found = credentials.find()
    if isinstance(found, Signing):
        return {"credentials": found}
    fresh = credentials.fresh()  # it may tell the account's name as well
    return {"credentials": fresh, "service_account_email": _account(fresh), "access_token": fresh.token}


def _signing_error(error: GoogleAuthError) -> HoldallError:
    if error.__cause__ is not None:
        return TemporarilyUnavailable("Google's IAM service could not be asked for a signature.")
    return PermissionDenied(
        "Google's IAM service does not sign for the service account; give it the role Service Account Token Creator "
        "(iam.serviceAccounts.signBlob) on itself, or use its key file."
    )
