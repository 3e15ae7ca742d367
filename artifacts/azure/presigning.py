"""Shared access signatures for single blobs, made by the SDK."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import quote

from holdall.artifacts.azure.options import AzureOptions
from holdall.artifacts.azure.service import BlobService
from holdall.stores.errors import InvalidParameterValue

if TYPE_CHECKING:
    from azure.storage.blob import UserDelegationKey

__all__ = ["Presigner"]

LONGEST_VALIDITY = 7 * 24 * 60 * 60 - 15 * 60
"""Seconds. A key in the name of who is signed in lasts seven days, and begins a little before now."""

_KEY_SECONDS = 24 * 60 * 60
_CLOCK_SKEW = timedelta(minutes=15)


class Presigner:
    """Signs with the account's key, or with one that the service gives to who is signed in (user delegation).

    Args:
        options: Where the container is, and the account's key if there is one.
        service: Gives keys.
    """

    def __init__(self, options: AzureOptions, service: BlobService) -> None:
        self._options = options
        self._service = service
        self._lock = threading.Lock()
        self._delegated: tuple[datetime, UserDelegationKey] | None = None

    def url(self, name: str, permissions: str, seconds: int, query: str = "") -> str:
        """A URL for one blob.

        Args:
            name: Of the blob.
            permissions: Letters of the operations, such as `r`.
            seconds: Of validity.
            query: Further query, encoded.

        Raises:
            InvalidParameterValue: The time is too short or too long.
        """
        from azure.storage.blob import BlobSasPermissions, generate_blob_sas

        if not 1 <= seconds <= LONGEST_VALIDITY:
            raise InvalidParameterValue(f"URLs of Azure are valid for 1 to {LONGEST_VALIDITY} seconds, not {seconds}.")
        options = self._options
        expiry = datetime.now(UTC) + timedelta(seconds=seconds)
        token = generate_blob_sas(
            options.account,
            options.container,
            name,
            account_key=options.account_key,
            user_delegation_key=None if options.account_key else self._delegated_key(expiry),
            permission=BlobSasPermissions.from_string(permissions),
            expiry=expiry,
            protocol="https" if options.public_endpoint.startswith("https:") else None,
        )
        path = f"{quote(options.container, safe='$-_.~')}/{quote(name, safe='/-_.~')}"
        return f"{options.public_endpoint}/{path}?{query}{'&' if query else ''}{token}"

    def _delegated_key(self, expiry: datetime) -> UserDelegationKey:
        """A key that lasts as long as a signature; asked for again only when it does not."""
        with self._lock:
            if self._delegated is None or self._delegated[0] < expiry:
                start = datetime.now(UTC)
                until = max(expiry, start + timedelta(seconds=_KEY_SECONDS))
                fields = self._service.user_delegation_key(start - _CLOCK_SKEW, until)
                self._delegated = until, _delegation_key(fields)
            return self._delegated[1]


def _delegation_key(fields: dict[str, str]) -> UserDelegationKey:
    from azure.storage.blob import UserDelegationKey

    key = UserDelegationKey()  # type: ignore[no-untyped-call]
    key.signed_oid = fields["SignedOid"]
    key.signed_tid = fields["SignedTid"]
    key.signed_start = fields["SignedStart"]
    key.signed_expiry = fields["SignedExpiry"]
    key.signed_service = fields["SignedService"]
    key.signed_version = fields["SignedVersion"]
    key.value = fields["Value"]
    return key
