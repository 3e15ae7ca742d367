"""The requests of Azure Blob Storage, and what its answers mean."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime
from typing import Final, TypeVar
from urllib.parse import quote, unquote, urlsplit
from xml.etree import ElementTree

from holdall.artifacts.azure.options import AzureOptions
from holdall.artifacts.azure.signing import AzureSigner
from holdall.artifacts.objects import content_type
from holdall.artifacts.service import SUCCESS, Refusal, Request, Service
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
from holdall.stores.http_client import Body, HttpClient, HttpResponse, HttpSettings
from holdall.stores.retries import RetryPolicy

__all__ = ["BlobEntry", "BlobPage", "BlobService", "Overtaken", "is_directory", "md5_base64"]

T = TypeVar("T")

PAGE_SIZE = 5000
"""Most blobs that the service lists at once."""

DISCARD_PATIENCE = 5.0
"""Seconds in which to go on trying to drop blocks, which the service drops by itself some day."""


class BlobNotFound(NotFound):
    """The container is there, the blob is not."""


class Overtaken(TemporarilyUnavailable):
    """The blocks of an upload are gone: the service drops them when another writer or deleter of the blob finishes."""


@dataclass(frozen=True, slots=True)
class BlobEntry:
    """A blob in a listing.

    Attributes:
        name: Whole name.
        size: Bytes.
        is_directory: It stands for a directory.
    """

    name: str
    size: int
    is_directory: bool


@dataclass(frozen=True, slots=True)
class BlobPage:
    """A page of a listing.

    Attributes:
        entries: In the order of the service.
        prefixes: What several names begin with up to a `/`, that included.
        marker: For the next page, or None.
    """

    entries: list[BlobEntry]
    prefixes: list[str]
    marker: str | None


class BlobService(Service):
    """A container, by its requests.

    Args:
        options: Where it is.
        signer: Credentials.
        retries: How long to repeat.
    """

    temporary_codes = frozenset({"InternalError", "OperationTimedOut", "ServerBusy"})
    damaged_codes = frozenset({"Md5Mismatch"})

    def __init__(self, options: AzureOptions, signer: AzureSigner, retries: RetryPolicy) -> None:
        parts = urlsplit(options.endpoint)
        settings = HttpSettings(timeout=options.timeout, verify=options.verify)
        client = HttpClient(f"{parts.scheme}://{parts.netloc}", settings)
        super().__init__(client, signer, retries, f"Azure container {options.container!r} of {options.account!r}")
        self._credentials = signer
        self._account_path: Final = parts.path
        self._path: Final = f"{parts.path}/{quote(options.container, safe='$-_.~')}"

    # Blobs

    def get(self, name: str, offset: int, length: int | None) -> HttpResponse | None:
        """Open a blob; None if there is none."""
        request = self._request("GET", name)
        if offset or length is not None:
            end = "" if length is None else str(offset + length - 1)
            request.headers["x-ms-range"] = f"bytes={offset}-{end}"
        return _found(lambda: self.send(request))

    def head(self, name: str) -> HttpResponse | None:
        """What is known of a blob; None if there is none."""
        return _found(lambda: self.call(self._request("HEAD", name))[0])

    def put(self, name: str, data: Body) -> None:
        """Store a blob, verified by the service."""
        request = self._request("PUT", name, body=data)
        request.headers |= {"x-ms-blob-type": "BlockBlob", "content-md5": md5_base64(data)}
        request.headers["x-ms-blob-content-type"] = content_type(name)
        self.call(request)

    def delete(self, name: str) -> None:
        """Delete a blob, with blocks that were never committed to it.

        A missing one is fine, and so is a directory that is not empty: somebody has just put something there.
        """
        request = self._request("DELETE", name)
        response, body = self.call(request, accept=SUCCESS | {404, 409})
        if response.status in SUCCESS:
            return
        refusal = _refusal(response, body.decode("utf-8", "replace"))
        error = self.refusal_error(refusal, request)
        if refusal.code != "DirectoryIsNotEmpty" and not isinstance(error, BlobNotFound):
            raise error

    def list_page(self, prefix: str, *, delimiter: str = "", marker: str | None, limit: int | None) -> BlobPage:
        """A page of the blobs whose names begin with `prefix`, grouped by the next `delimiter` if there is one."""
        query = {"restype": "container", "comp": "list", "include": "metadata"}
        query |= {"maxresults": str(limit or PAGE_SIZE)}
        optional = {"prefix": prefix, "delimiter": delimiter, "marker": marker}
        query |= {name: value for name, value in optional.items() if value}
        try:
            root = _parse(self.call(self._request("GET", query=query))[1])
        except (InvalidParameterValue, InternalError):
            # Where directories are real, the service refuses to look below a file.
            if self._is_below_file(prefix):
                return BlobPage([], [], None)
            raise
        entries = [_entry(blob) for blob in root.iter("Blob")]
        prefixes = [_name(found) for found in root.iter("BlobPrefix")]
        return BlobPage(entries, prefixes, root.findtext("NextMarker") or None)

    # Blocks

    def put_block(self, name: str, block: str, data: Body) -> None:
        """Send a block, verified by the service; nobody sees it until it is committed."""
        request = self._request("PUT", name, query={"comp": "block", "blockid": block}, body=data)
        request.headers["content-md5"] = md5_base64(data)
        self.call(request)

    def commit(self, name: str, blocks: Iterable[str], md5: str | None) -> None:
        """Make a blob of blocks; done again, it does nothing.

        Args:
            name: Of the blob.
            blocks: Their ids, in order.
            md5: Of the whole in base64, kept for those who read it.

        Raises:
            Overtaken: The service has not all of them any more.
        """
        listed = "".join(f"<Latest>{block}</Latest>" for block in blocks)
        body = f'<?xml version="1.0" encoding="utf-8"?><BlockList>{listed}</BlockList>'.encode()
        request = self._request("PUT", name, query={"comp": "blocklist"}, body=body)
        request.headers |= {"content-md5": md5_base64(body), "content-type": "application/xml"}
        request.headers |= {"x-ms-blob-content-md5": md5} if md5 else {}
        request.headers["x-ms-blob-content-type"] = content_type(name)
        response, answer = self.call(request, accept=SUCCESS | {400})
        if response.status in SUCCESS:
            return
        refusal = _refusal(response, answer.decode("utf-8", "replace"))
        if refusal.code != "InvalidBlockList":
            raise self.refusal_error(refusal, request)
        raise Overtaken(
            f"Blocks of an upload to {self._name} are gone: another writer or deleter of the same path has finished "
            "meanwhile. Nothing was stored; try again."
        )

    def uncommitted(self, name: str) -> list[str]:
        """Ids of the blocks that were sent to a blob and are no part of it."""
        query = {"comp": "blocklist", "blocklisttype": "uncommitted"}
        response = _found(lambda: self.call(self._request("GET", name, query=query)))
        if response is None:
            return []
        return [found.findtext("Name", "") for found in _parse(response[1]).iter("Block")]

    def discard(self, name: str, mine: Callable[[str], bool]) -> bool:
        """Drop blocks that were never committed, if that harms nobody; with little patience.

        The service has no request for that. It drops the blocks of a name when a blob under it is written or deleted,
        or after a week. So they are dropped here only if there is no blob yet, and no block of anybody else.

        Args:
            name: Of the blob.
            mine: Whether a block is one of those.

        Returns:
            Whether none of them is left.
        """
        retries = replace(self._retries, patience=min(self._retries.patience, DISCARD_PATIENCE))
        return retries.run(lambda: self._discard_once(name, mine))

    # The account

    def user_delegation_key(self, start: datetime, expiry: datetime) -> dict[str, str]:
        """A key that signs URLs in the name of who is signed in, by the names of its fields."""
        times = f"<Start>{_iso(start)}</Start><Expiry>{_iso(expiry)}</Expiry>"
        body = f'<?xml version="1.0" encoding="utf-8"?><KeyInfo>{times}</KeyInfo>'.encode()
        query = {"restype": "service", "comp": "userdelegationkey"}
        headers = {"content-type": "application/xml"}
        answer = self.call(Request("POST", f"{self._account_path}/", query, headers, body))[1]
        return {field.tag: field.text or "" for field in _parse(answer)}

    # Answers

    def parse_refusal(self, response: HttpResponse) -> Refusal:
        return _refusal(response, response.error_text())

    def refusal_error(self, refusal: Refusal, request: Request) -> HoldallError:
        code = refusal.code
        if code in _CONTAINER_CODES:
            return NotFound(f"There is no {self._name} ({code}); create it, or check its name and the account's.")
        if refusal.status == 404 and code in ("BlobNotFound", "PathNotFound", ""):
            return BlobNotFound(f"There is no such blob in {self._name}.")
        # Azurite has one word for both, and tells them apart by its message.
        unknown = code == "AuthorizationFailure" and "failed to authenticate" in refusal.message
        if unknown or refusal.status == 401 or code in _UNAUTHENTICATED_CODES:
            return Unauthenticated(
                f"{self._name} does not accept the credentials: {code}. {self._credentials.advice()}"
            )
        error = super().refusal_error(refusal, request)
        kind = _KINDS.get(code)
        return error if kind is None else kind(f"{error.message} {_REMEDIES.get(code, '')}".rstrip())

    # What they share

    def _request(
        self, method: str, name: str | None = None, *, query: dict[str, str] | None = None, body: Body | None = None
    ) -> Request:
        if name is not None and "\\" in name:
            raise InvalidParameterValue(f"{name!r} cannot be a name in Azure, which makes a slash of each backslash.")
        path = self._path if name is None else f"{self._path}/{quote(name, safe='/-_.~')}"
        return Request(method, path, query or {}, {}, body)

    def _discard_once(self, name: str, mine: Callable[[str], bool]) -> bool:
        head, _ = self._call_once(self._request("HEAD", name), {200, 404})
        blocks = self.uncommitted(name)
        if not any(mine(block) for block in blocks):
            return True
        date = head.headers.get("Date")
        if head.status == 200 or date is None or not all(mine(block) for block in blocks):
            return False
        request = self._request("DELETE", name)
        # A blob that was written meanwhile is younger, and stays.
        before = parsedate_to_datetime(date) - timedelta(seconds=1)
        request.headers["if-unmodified-since"] = format_datetime(before.astimezone(UTC), usegmt=True)
        return self._call_once(request, SUCCESS | {404, 412})[0].status != 412

    def _is_below_file(self, prefix: str) -> bool:
        names = prefix.rstrip("/").split("/")
        above = ("/".join(names[:end]) for end in range(1, len(names) + 1))
        return any((head := self.head(name)) is not None and not is_directory(head) for name in above if name)


_CONTAINER_CODES = frozenset({"ContainerBeingDeleted", "ContainerDisabled", "ContainerNotFound", "ResourceNotFound"})

_UNAUTHENTICATED_CODES = frozenset(
    {
        "AuthenticationFailed",
        "InvalidAuthenticationInfo",
        "KeyBasedAuthenticationNotPermitted",
        "NoAuthenticationInformation",
        "PublicAccessNotPermitted",
    }
)

_KINDS: dict[str, type[HoldallError]] = {
    "AuthorizationFailure": PermissionDenied,
    "AuthorizationPermissionMismatch": PermissionDenied,
    "BlobImmutableDueToLegalHold": PermissionDenied,
    "BlobImmutableDueToPolicy": PermissionDenied,
    "InvalidBlobOrBlock": InvalidParameterValue,
    "InvalidBlobType": InvalidParameterValue,
    "InvalidRange": DataLoss,
    "LeaseIdMissing": PermissionDenied,
    "OperationNotSupportedOnDirectory": InvalidParameterValue,
    "PathAlreadyExists": InvalidParameterValue,
    "PathConflict": InvalidParameterValue,
    "ResourceTypeMismatch": InvalidParameterValue,
    "SnapshotsPresent": PermissionDenied,
}
"""What the service's words mean where its status tells something else."""

_REMEDIES = {
    "AuthorizationFailure": "Check the account's network rules, and the permissions of a SAS token.",
    "AuthorizationPermissionMismatch": "A role such as Storage Blob Data Contributor, or a SAS token with the "
    "permissions racwdl, allows everything that a store does.",
    "InvalidBlobOrBlock": "Another program has left unfinished blocks of another kind under this name; delete the "
    "blob, or wait a week until Azure drops them.",
    "InvalidBlobType": "A blob of another type has this name; delete it first.",
    "InvalidRange": "The blob was replaced by a shorter one while it was being read.",
    "LeaseIdMissing": "Somebody holds a lease on it.",
    "SnapshotsPresent": "Delete the snapshots first.",
}


def is_directory(response: HttpResponse) -> bool:
    """Whether an answer about a blob is about one that stands for a directory."""
    headers = response.headers
    marked = headers.get("x-ms-meta-hdi_isfolder", "").lower() == "true"
    return marked or headers.get("x-ms-resource-type") == "directory"


def md5_base64(data: Body) -> str:
    """The MD5 of bytes, as the service writes it."""
    return b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()


def _found(ask: Callable[[], T]) -> T | None:
    try:
        return ask()
    except BlobNotFound:
        return None


def _refusal(response: HttpResponse, text: str) -> Refusal:
    """What an answer that is no success says; never its details, which may hold a signature."""
    code = response.headers.get("x-ms-error-code", "")
    message = ""
    if text.lstrip("\ufeff \r\n").startswith("<"):
        try:
            root = ElementTree.fromstring(text.lstrip("\ufeff"))
            code = code or root.findtext("Code", "")
            message = root.findtext("Message", "").partition("\n")[0].strip()
        except ElementTree.ParseError:
            pass  # a proxy's page; the status tells enough
    return Refusal(response.status, code, message, response.retry_after)


def _parse(body: bytes) -> ElementTree.Element:
    """The root of an XML answer. Expat bounds what entities may grow to, and nothing outside is fetched."""
    try:
        return ElementTree.fromstring(body)
    except ElementTree.ParseError as error:
        raise InternalError("An answer of Azure is no XML.") from error


def _entry(blob: ElementTree.Element) -> BlobEntry:
    size = blob.findtext("Properties/Content-Length", "0")
    marked = any(
        field.tag.lower() == "hdi_isfolder" and (field.text or "").lower() == "true"
        for field in blob.iterfind("Metadata/*")
    )
    directory = marked or blob.findtext("Properties/ResourceType") == "directory"
    return BlobEntry(_name(blob), int(size), directory)


def _name(element: ElementTree.Element) -> str:
    """The name of a blob or prefix; encoded if XML cannot hold it."""
    name = element.find("Name")
    if name is None:
        return ""
    return unquote(name.text or "") if name.get("Encoded") == "true" else name.text or ""


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
