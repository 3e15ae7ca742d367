"""The requests of Google Cloud Storage's JSON API, and what its answers mean."""

from __future__ import annotations

import json
import secrets
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from typing import Protocol, cast
from urllib.parse import quote, urlsplit

import google_crc32c

from holdall.artifacts.gcs.options import GcsOptions
from holdall.artifacts.objects import ListedObject, ObjectPage, all_pages, content_type, require_below
from holdall.artifacts.service import Refusal, Request, Service, Signer
from holdall.stores.artifact_io import Digest, register_hash
from holdall.stores.errors import (
    DataLoss,
    HoldallError,
    InternalError,
    InvalidParameterValue,
    NotFound,
    TemporarilyUnavailable,
)
from holdall.stores.http_client import Body, HttpClient, HttpResponse, HttpSettings
from holdall.stores.retries import RetryPolicy

__all__ = ["CRC32C", "GcsService", "KeptObject", "TemporaryObject", "kept_digest"]

CRC32C = "crc32c"

_OBJECT_FIELDS = "crc32c,generation,md5Hash,size"
_PAGE_SIZE = 1000
_LARGE = 1 << 16
"""Bytes from which a body is not copied to send it at once."""

_STEP = 1 << 20
"""Bytes that are copied to digest them."""

_CHECKSUM_MISMATCH = "checksumMismatch"


class _Crc32c:
    """The checksum of the service, as a hash."""

    def __init__(self) -> None:
        self._value = 0

    def update(self, data: bytes | memoryview, /) -> None:
        if isinstance(data, bytes):
            self._value = _extend(self._value, data)
            return
        for start in range(0, len(data), _STEP):  # it takes nothing but `bytes`
            self._value = _extend(self._value, bytes(data[start : start + _STEP]))

    def hexdigest(self) -> str:
        return f"{self._value:08x}"


_extend = cast(Callable[[int, bytes], int], google_crc32c.extend)

register_hash(CRC32C, _Crc32c)


@dataclass(frozen=True, slots=True)
class KeptObject:
    """An object, as the service describes it.

    Attributes:
        size: Bytes.
        generation: What tells it from its predecessors and successors.
        digest: CRC32C, else MD5, else None.
    """

    size: int
    generation: str
    digest: Digest | None

    def matches(self, digest: Digest) -> bool:
        """Whether it holds the bytes of a CRC32C digest, as far as the service tells."""
        known = self.digest is None or self.digest.algorithm != digest.algorithm or self.digest == digest
        return known and self.size == digest.size


@dataclass(frozen=True, slots=True)
class TemporaryObject:
    """An object under a private name.

    Attributes:
        key: Whole key.
        generation: As of `KeptObject`.
        created: When.
    """

    key: str
    generation: str
    created: datetime


class _Source(Protocol):
    """An object to compose from."""

    @property
    def key(self) -> str: ...
    @property
    def generation(self) -> str: ...


class GcsService(Service):
    """A bucket, by its requests.

    Args:
        options: How to reach the bucket.
        bucket: Its name.
        signer: Credentials.
        retries: How long to repeat.
    """

    temporary_codes = frozenset(
        {"backendError", "backendNotConnected", "internalError", "rateLimitExceeded", "userRateLimitExceeded"}
    )
    expired_codes = frozenset({"authError"})
    unauthenticated_codes = frozenset({"required"})
    damaged_codes = frozenset({_CHECKSUM_MISMATCH})

    def __init__(self, options: GcsOptions, bucket: str, signer: Signer, retries: RetryPolicy) -> None:
        client = HttpClient(options.endpoint, HttpSettings(timeout=options.timeout, verify=options.verify))
        super().__init__(client, signer, retries, f"GCS bucket {bucket!r}")
        encoded = quote(bucket, safe="")
        self._objects = f"/storage/v1/b/{encoded}/o"
        self._uploads = f"/upload/storage/v1/b/{encoded}/o"
        self._payer = {"userProject": options.user_project} if options.user_project else {}

    # Objects

    def get(self, key: str, offset: int, length: int | None) -> HttpResponse | None:
        """Open an object as it is stored, compressed or not; None if there is none. 416 if it is shorter."""
        request = self._request("GET", self._path(key), alt="media")
        request.headers["accept-encoding"] = "gzip"  # otherwise the service would unpack what is stored packed
        if offset or length is not None:
            end = "" if length is None else str(offset + length - 1)
            request.headers["range"] = f"bytes={offset}-{end}"
        response = self.send(request, accept=(200, 206, 404, 416))
        if response.status == 404:
            response.close()
            return None
        return response

    def head(self, key: str) -> KeptObject | None:
        """What is known of an object; None if there is none."""
        response, body = self.call(self._request("GET", self._path(key), fields=_OBJECT_FIELDS), accept=(200, 404))
        return None if response.status == 404 else self._kept(body)

    def put(self, key: str, data: Body, digest: Digest) -> KeptObject:
        """Store an object in one request, which the service refuses if the digest is another."""
        metadata = json.dumps({"name": key, "crc32c": _encode(digest), "contentType": content_type(key)})
        boundary = secrets.token_hex(16)
        head = (
            f"--{boundary}\r\ncontent-type: application/json; charset=utf-8\r\n\r\n{metadata}\r\n--{boundary}\r\n\r\n"
        )
        request = self._request("POST", self._uploads, uploadType="multipart", fields=_OBJECT_FIELDS)
        request.headers["content-type"] = f"multipart/related; boundary={boundary}"
        pieces = head.encode(), data, f"\r\n--{boundary}--".encode()
        request.body = pieces if len(data) > _LARGE else b"".join(pieces)
        return self._retries.run(lambda: self._put_once(request, key, digest))

    def put_temporary(self, key: str, data: Body, digest: Digest) -> KeptObject:
        """Store an object under a name that no other writer uses."""
        request = self._request("POST", self._uploads, uploadType="media", name=key, fields=_OBJECT_FIELDS)
        request.query["ifGenerationMatch"] = "0"  # what is repeated leaves no second generation
        request.headers |= {"content-type": "application/octet-stream", "x-goog-hash": f"crc32c={_encode(digest)}"}
        request.body = data
        return self._retries.run(lambda: self._put_once(request, key, digest))

    def compose(self, key: str, sources: Sequence[_Source], replaced: str) -> KeptObject | None:
        """Make an object of others, and delete those where the service knows how to.

        Args:
            key: Of the object.
            sources: At most 32, in order.
            replaced: Generation of the object that is there, `0` for none.

        Returns:
            The object; None if another one is there by now, or a source is missing.
        """
        names = [{"name": source.key, "generation": source.generation} for source in sources]
        destination = {"contentType": content_type(key)}
        body = {"sourceObjects": names, "destination": destination, "deleteSourceObjects": True}
        path = f"{self._path(key)}/compose"
        request = self._json_request(path, body, ifGenerationMatch=replaced, fields=_OBJECT_FIELDS)
        response, answer = self.call(request, accept=(200, 404, 412))
        return self._kept(answer) if response.status == 200 else None

    def delete(self, key: str, generation: str | None = None) -> None:
        """Delete an object, or one generation of it; a missing one is fine."""
        query = {"generation": generation} if generation is not None else {}
        self.call(self._request("DELETE", self._path(key), **query), accept=(200, 204, 404))

    def list_page(self, prefix: str, *, deep: bool, token: str | None, limit: int | None) -> ObjectPage:
        """A page of a listing; with a limit, one that shows an object if there is any."""
        if limit is None:
            return self._list_once(prefix, token, deep=deep, limit=None)[0]
        page = ObjectPage([], [], None)
        for page in all_pages(lambda token: self._list_once(prefix, token, deep=deep, limit=limit), self._name):
            if page.objects:  # a page may be empty
                break
        return page

    def _list_once(
        self, prefix: str, token: str | None, *, deep: bool, limit: int | None
    ) -> tuple[ObjectPage, str | None]:
        grouped = {} if deep else {"delimiter": "/"}
        fields = "items(name,size),prefixes,nextPageToken"
        listing = self._listing(prefix, token, fields, limit=limit, **grouped)
        objects = [ListedObject(_text(item, "name"), _number(item, "size")) for item in _items(listing)]
        prefixes = _prefixes(listing)
        next_token = _next_token(listing)
        return ObjectPage(objects, prefixes, next_token), next_token

    def list_temporary(self, prefix: str) -> Iterator[TemporaryObject]:
        """All generations of the objects whose keys begin with `prefix`."""
        fields = "items(name,generation,timeCreated),nextPageToken"

        def fetch(token: str | None) -> tuple[list[TemporaryObject], str | None]:
            listing = self._listing(prefix, token, fields, versions="true")
            found = [_temporary_object(item) for item in _items(listing)]
            require_below(prefix, (listed.key for listed in found), self._name)
            return found, _next_token(listing)

        return chain.from_iterable(all_pages(fetch, self._name))

    # Resumable uploads

    def begin(self, key: str) -> str:
        """Begin a resumable upload; its target."""
        metadata = {"contentType": content_type(key)}
        request = self._json_request(self._uploads, metadata, uploadType="resumable", name=key, fields=_OBJECT_FIELDS)
        location = self.call(request)[0].headers.get("location")
        if not location:
            raise InternalError(f"{self._name} began an upload and does not say where it goes on.")
        # Only ever at the endpoint: credentials go nowhere else, whatever an answer says.
        parts = urlsplit(location)
        return f"{parts.path}?{parts.query}" if parts.query else parts.path

    def send_chunk(self, target: str, data: Body, content_range: str, digest: Digest | None) -> int | KeptObject | None:
        """Send a piece, or ask how far the upload is; not repeated.

        Args:
            target: Of the upload.
            data: The piece; empty to ask.
            content_range: Its place, or `bytes */…`.
            digest: Of the whole, with the last piece: the service refuses the object if it is another.

        Returns:
            Bytes that the service has of the object so far; the object, if that is whole; None if it knows of no such
            upload.

        Raises:
            DataLoss: The service has other bytes than were sent.
        """
        request = Request("PUT", target, headers={"content-range": content_range}, body=data, repeatable=False)
        if digest is not None:
            request.headers["x-goog-hash"] = f"crc32c={_encode(digest)}"
        response, body = self._call_once(request, (200, 201, 308, 400, 404, 410))
        if response.status == 308:
            last = response.headers.get("range", "").rpartition("-")[2]
            return int(last) + 1 if last.isdigit() else 0
        if response.status in (200, 201):
            return self._kept(body)
        if response.status != 400:
            return None
        refusal = _parse_refusal(response, body.decode("utf-8", "replace"))
        if refusal.code == _CHECKSUM_MISMATCH:
            raise DataLoss(f"{self._name} received other bytes than were sent; nothing was stored, try again.")
        raise self.refusal_error(refusal, request)

    def cancel(self, target: str) -> None:
        """Drop a resumable upload; an unknown one is fine."""
        self.call(Request("DELETE", target), accept=(200, 204, 404, 410, 499))

    # Answers

    def parse_refusal(self, response: HttpResponse) -> Refusal:
        return _parse_refusal(response, response.error_text())

    def refusal_error(self, refusal: Refusal, request: Request) -> HoldallError:
        if refusal.status == 404:
            return NotFound(f"There is no {self._name}; create it, or check its name and the endpoint.")
        if refusal.code == "userProjectMissing" or (refusal.status == 400 and "equester pays" in refusal.message):
            return InvalidParameterValue(
                f"Requests to {self._name} are paid for by those who make them; name the project that pays with "
                "?user_project=PROJECT."
            )
        return super().refusal_error(refusal, request)

    # What they share

    def _request(self, method: str, path: str, **query: str) -> Request:
        return Request(method, path, query | self._payer)

    def _json_request(self, path: str, body: object, **query: str) -> Request:
        request = self._request("POST", path, **query)
        request.headers["content-type"] = "application/json"
        request.body = json.dumps(body).encode()
        return request

    def _path(self, key: str) -> str:
        return f"{self._objects}/{quote(key, safe='')}"

    def _put_once(self, request: Request, key: str, digest: Digest) -> KeptObject:
        response, body = self._call_once(request, (200, 412))
        # 412: a name that no other writer uses is taken, so an answer was lost.
        kept = self._kept(body) if response.status == 200 else self.head(key)
        if kept is not None and kept.matches(digest):
            return kept
        if kept is not None:
            self.delete(key, kept.generation)
        raise TemporarilyUnavailable(f"{self._name} received other bytes than were sent.")

    def _listing(
        self, prefix: str, token: str | None, fields: str, limit: int | None = None, **query: str
    ) -> Mapping[str, object]:
        query |= {"prefix": prefix, "fields": fields, "maxResults": str(limit or _PAGE_SIZE)}
        query |= {"pageToken": token} if token is not None else {}
        return _json_object(self.call(self._request("GET", self._objects, **query))[1])

    def _kept(self, body: bytes) -> KeptObject:
        answer = _json_object(body)
        size = _number(answer, "size")
        digest = _kept_digest({"crc32c": str(answer.get("crc32c", "")), "md5": str(answer.get("md5Hash", ""))}, size)
        return KeptObject(size, _text(answer, "generation"), digest)


def kept_digest(response: HttpResponse, size: int) -> Digest | None:
    """The digest of the whole object, `size` bytes, from the headers of an answer with all or a range of it."""
    pairs = (part.strip().partition("=") for part in response.headers.get("x-goog-hash", "").split(","))
    return _kept_digest({name: value for name, _, value in pairs}, size)


def _kept_digest(values: Mapping[str, str], size: int) -> Digest | None:
    for algorithm in (CRC32C, "md5"):
        if value := values.get(algorithm):
            try:
                return Digest(algorithm, b64decode(value, validate=True).hex(), size)
            except Base64Error as error:
                raise InternalError(f"GCS gives a malformed {algorithm} of an object.") from error
    return None


def _encode(digest: Digest) -> str:
    return b64encode(bytes.fromhex(digest.value)).decode()


def _parse_refusal(response: HttpResponse, text: str) -> Refusal:
    code, message = "", ""
    try:
        error = json.loads(text)["error"]
        message = str(error["message"])
        code = str(error["errors"][0]["reason"])
    except (ValueError, LookupError, TypeError):
        pass  # a proxy's page, or plain text; the status tells enough
    if response.status == 400 and "match calculated" in message:
        code = _CHECKSUM_MISMATCH
    return Refusal(response.status, code, message, response.retry_after)


def _json_object(body: bytes) -> Mapping[str, object]:
    try:
        answer: object = json.loads(body)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise InternalError("An answer of GCS is not the JSON object that it should be.")
    return cast(dict[str, object], answer)


def _items(listing: Mapping[str, object]) -> list[Mapping[str, object]]:
    items = listing.get("items") or []
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise InternalError("GCS answers with a listing that is none.")
    return cast(list[Mapping[str, object]], items)


def _prefixes(listing: Mapping[str, object]) -> list[str]:
    prefixes = listing.get("prefixes") or []
    if not isinstance(prefixes, list) or not all(isinstance(prefix, str) for prefix in prefixes):
        raise InternalError("GCS answers with a listing that is none.")
    return cast(list[str], prefixes)


def _temporary_object(item: Mapping[str, object]) -> TemporaryObject:
    created = datetime.fromisoformat(_text(item, "timeCreated"))
    return TemporaryObject(_text(item, "name"), _text(item, "generation"), created)


def _text(answer: Mapping[str, object], name: str) -> str:
    value = answer.get(name)
    if not isinstance(value, str):
        raise InternalError(f"GCS does not say the {name} of an object.")
    return value


def _number(answer: Mapping[str, object], name: str) -> int:
    value = answer.get(name)
    if not isinstance(value, str) or not value.isdigit():
        raise InternalError(f"GCS does not say the {name} of an object.")
    return int(value)


def _next_token(listing: Mapping[str, object]) -> str | None:
    token = listing.get("nextPageToken") or None
    if token is not None and not isinstance(token, str):
        raise InternalError("GCS says that its listing goes on, and not where.")
    return token
