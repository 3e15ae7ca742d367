"""What a URI and the environment say about a container of Azure."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from holdall.artifacts.options import PATIENCE, TIMEOUT, flag, seconds, verification
from holdall.stores.errors import InvalidParameterValue
from holdall.stores.uri import StoreURI

__all__ = ["AzureOptions"]

_KNOWN: Final = (
    "account_key",
    "anonymous",
    "endpoint_url",
    "patience",
    "public_endpoint_url",
    "sas_token",
    "timeout",
    "verify",
)


@dataclass(frozen=True, slots=True, repr=False)
class AzureOptions:
    """How to reach a container; with neither key, token nor `anonymous`, Azure's own chain of credentials is asked.

    Attributes:
        account: Of the container.
        container: Its name.
        endpoint: URL of the account's Blob service, without a slash at its end.
        public_endpoint: Where holders of presigned URLs reach it.
        account_key: Base64 text of the account's key.
        sas_token: A shared access signature, without a question mark before it.
        anonymous: Send no credentials.
        verify: Whether certificates are checked, or the file to check them with.
        timeout: Seconds to wait for the next bytes.
        patience: Seconds after a failure in which to go on trying.
    """

    account: str
    container: str
    endpoint: str
    public_endpoint: str
    account_key: str | None
    sas_token: str | None
    anonymous: bool
    verify: bool | str
    timeout: float
    patience: float

    @classmethod
    def parse(cls, uri: StoreURI) -> AzureOptions:
        """Read the options of a URI, then Azure's variables for what it leaves open.

        Variables that name another account than the URI does are not for this store.

        Raises:
            InvalidParameterValue: The URI names no container and account; an option is unknown, malformed, or
                contradicts another; a variable is malformed.
        """
        given = uri.options(*_KNOWN)
        container, account = _names(uri)
        chosen = [name for name in ("account_key", "sas_token", "anonymous") if given.get(name, "false") != "false"]
        if len(chosen) > 1:
            raise InvalidParameterValue(f"{uri} has both {chosen[0]} and {chosen[1]}; leave one of them out.")
        found = _Found.in_environment(account)
        key = given.get("account_key") if chosen else found.account_key
        token = given.get("sas_token") if chosen else found.sas_token
        endpoint = _endpoint(given.get("endpoint_url") or found.endpoint or f"https://{_blob_host(uri)}")
        return cls(
            account=account,
            container=container,
            endpoint=endpoint,
            public_endpoint=_endpoint(given.get("public_endpoint_url") or endpoint),
            account_key=key or None,
            sas_token=(token or "").removeprefix("?") or None,
            anonymous=flag(given, "anonymous") or False,
            verify=True if (verify := verification(given)) is None else verify,
            timeout=seconds(given, "timeout", TIMEOUT),
            patience=seconds(given, "patience", PATIENCE),
        )


@dataclass(frozen=True, slots=True, repr=False)
class _Found:
    """What the environment says about an account."""

    account_key: str | None = None
    sas_token: str | None = None
    endpoint: str | None = None

    @classmethod
    def in_environment(cls, account: str) -> _Found:
        """The connection string, if it is this account's, else the variables for keys and tokens."""
        text = os.environ.get("AZURE_STORAGE_CONNECTION_STRING")
        if text:
            settings = _connection_string(text)
            endpoint = settings.get("blobendpoint")
            named = settings.get("accountname") or _first_label(endpoint or "")
            if named == account:
                return cls(settings.get("accountkey"), settings.get("sharedaccesssignature"), endpoint)
        if os.environ.get("AZURE_STORAGE_ACCOUNT", account) != account:
            return cls()
        key = os.environ.get("AZURE_STORAGE_ACCESS_KEY")
        return cls(key, None if key else os.environ.get("AZURE_STORAGE_SAS_TOKEN"))


def _connection_string(text: str) -> dict[str, str]:
    """The settings of a connection string, `Name=Value;…`, by names in lower case."""
    settings: dict[str, str] = {}
    for part in text.strip().strip(";").split(";"):
        name, equals, value = part.partition("=")
        if not equals:
            raise InvalidParameterValue(
                "AZURE_STORAGE_CONNECTION_STRING is malformed; it is of the form Name=Value;Name=Value."
            )
        settings[name.strip().lower()] = value.strip()
    return settings


def _names(uri: StoreURI) -> tuple[str, str]:
    """Container and account."""
    account = uri.host.partition(".")[0]
    container = uri.username or ""
    if not account or uri.password is not None or container in ("", ".", "..") or "/" in container:
        raise InvalidParameterValue(
            f"{uri} names no container and account; write "
            f"{uri.scheme}://container@account.blob.core.windows.net/prefix."
        )
    return container, account


def _blob_host(uri: StoreURI) -> str:
    """Host of the Blob service, which every Data Lake account has too; other clouds keep their suffix."""
    account, *labels = uri.host.split(".")
    host = ".".join([account, *("blob" if label == "dfs" else label for label in labels)])
    return host if uri.port is None else f"{host}:{uri.port}"


def _endpoint(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment or "@" in url:
        raise InvalidParameterValue(
            "An endpoint of Azure must be a plain URL such as https://account.blob.core.windows.net or "
            f"http://127.0.0.1:10000/account; that for {parts.hostname or 'the account'!r} is not."
        )
    return url.rstrip("/")


def _first_label(url: str) -> str:
    """The account that an endpoint names: the last segment of its path, or the first label of its host."""
    parts = urlsplit(url)
    return parts.path.strip("/") or (parts.hostname or "").partition(".")[0]
