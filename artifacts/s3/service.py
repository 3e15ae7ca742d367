"""The requests of S3, and what its answers mean."""

from __future__ import annotations

import hashlib
import zlib
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, unquote_plus
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from holdall.artifacts.objects import ListedObject, ObjectPage, content_type
from holdall.artifacts.s3.sdk import S3Sdk
from holdall.artifacts.s3.signing import S3Signer
from holdall.artifacts.service import Refusal, Request, Service, Signer
from holdall.stores.errors import HoldallError, InternalError, NotFound, TemporarilyUnavailable
from holdall.stores.http_client import Body, HttpClient, HttpResponse, HttpSettings
from holdall.stores.retries import RetryPolicy

__all__ = ["S3Service", "SentPart"]


@dataclass(frozen=True, slots=True)
class SentPart:
    """A part that the service has.

    Attributes:
        number: From 1.
        etag: As the service answered.
        checksum: CRC32 in base64, or None if none was sent.
    """

    number: int
    etag: str
    checksum: str | None


class S3Service(Service):
    """A bucket, by its requests.

    Args:
        sdk: Knows where the bucket is and which headers further arguments become.
        bucket: Its name.
        arguments: Further arguments of uploads, by boto3's names.
        signer: Credentials.
        settings: How to connect.
        retries: How long to repeat.
    """

    temporary_codes = frozenset(
        {"SlowDown", "InternalError", "RequestTimeout", "ServiceUnavailable", "Throttling", "OperationAborted"}
    )
    expired_codes = frozenset({"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"})
    unauthenticated_codes = frozenset({"InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken"})
    damaged_codes = frozenset(
        {"BadDigest", "XAmzContentChecksumMismatch", "XAmzContentSHA256Mismatch", "IncompleteBody"}
    )

    def __init__(
        self,
        sdk: S3Sdk,
        bucket: str,
        arguments: Mapping[str, object],
        signer: Signer,
        settings: HttpSettings,
        retries: RetryPolicy,
    ) -> None:
        address = sdk.address()
        super().__init__(HttpClient(address.origin, settings), signer, retries, f"S3 bucket {bucket!r}")
        self._sdk = sdk
        self._settings = settings
        self._path = address.path
        self._checksums = sdk.checksum == "when_supported"
        self._headers: Final = {operation: sdk.headers(operation, arguments) for operation in _OPERATIONS}

    # Objects

    def get(self, key: str, offset: int, length: int | None) -> HttpResponse | None:
        """Open an object; None if there is none."""
        request = self._request("GET", "GetObject", key)
        if offset or length is not None:
            end = "" if length is None else str(offset + length - 1)
            request.headers["range"] = f"bytes={offset}-{end}"
        elif self._checksums:
            request.headers["x-amz-checksum-mode"] = "ENABLED"
        return self._found(self.send(request, accept=(200, 206, 404)), request)

    def head(self, key: str) -> HttpResponse | None:
        """What is known of an object; None if there is none."""
        request = self._request("HEAD", "HeadObject", key)
        if self._checksums:
            request.headers["x-amz-checksum-mode"] = "ENABLED"
        response, _ = self.call(request, accept=(200, 404))
        return None if response.status == 404 else response

    def put(self, key: str, data: Body) -> None:
        """Store an object, verified by the service."""
        request = self._request("PUT", "PutObject", key, body=data)
        request.headers.setdefault("content-type", content_type(key))
        checksum = self._protect(request, data)
        self._require_checksum(self.call(request)[0], checksum)

    def delete(self, keys: list[str]) -> None:
        """Delete up to 1,000 objects; missing ones are fine."""
        objects = "".join(f"<Object><Key>{_xml_text(key)}</Key></Object>" for key in keys)
        body = f"<Delete><Quiet>true</Quiet>{objects}</Delete>".encode()
        request = self._request("POST", "DeleteObjects", query={"delete": ""}, body=body)
        request.headers["content-md5"] = b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()
        request.headers["content-type"] = "application/xml"
        for error in _parse(self.call(request)[1]).iter("Error"):
            refusal = Refusal(200, error.findtext("Code", ""), error.findtext("Message", ""))
            raise self.refusal_error(refusal, request)

    def delete_one(self, key: str) -> None:
        """Delete an object; a missing one is fine."""
        self.call(self._request("DELETE", "DeleteObject", key), accept=(200, 204, 404))

    def list_page(self, prefix: str, *, deep: bool, token: str | None, limit: int | None) -> ObjectPage:
        """A page of a listing."""
        query = {"list-type": "2", "prefix": prefix, "encoding-type": "url"}
        query |= {} if deep else {"delimiter": "/"}
        query |= {"continuation-token": token} if token is not None else {}
        query |= {"max-keys": str(limit)} if limit is not None else {}
        root = _parse(self.call(self._request("GET", "ListObjectsV2", query=query))[1])
        encoded = root.findtext("EncodingType") == "url"
        objects = [
            ListedObject(_decoded(entry.findtext("Key", ""), encoded), int(entry.findtext("Size", "0")))
            for entry in root.iter("Contents")
        ]
        prefixes = [_decoded(entry.findtext("Prefix", ""), encoded) for entry in root.iter("CommonPrefixes")]
        more = root.findtext("IsTruncated") == "true"
        next_token = root.findtext("NextContinuationToken") if more else None
        if more and not next_token:
            raise InternalError(f"{self._name} says that its listing goes on, and not where.")
        return ObjectPage(objects, prefixes, next_token)

    # Uploads in parts

    def begin(self, key: str, *, verified: bool = True) -> str:
        """Begin an upload in parts; its id.

        Args:
            key: Of the object.
            verified: Whether the parts will come with checksums.
        """
        request = self._request("POST", "CreateMultipartUpload", key, query={"uploads": ""})
        request.headers.setdefault("content-type", content_type(key))
        request.repeatable = False  # each time would begin one more
        if self._checksums and verified:
            request.headers |= {"x-amz-checksum-algorithm": "CRC32", "x-amz-checksum-type": "FULL_OBJECT"}
        attempts = 0

        def attempt() -> str:
            nonlocal attempts
            attempts += 1
            return _parse(self._call_once(request, (200,))[1]).findtext("UploadId", "")

        try:
            upload_id = self._retries.run(attempt)
        except BaseException as error:
            refused = isinstance(error, HoldallError) and not isinstance(error, TemporarilyUnavailable)
            if attempts > 1 or not refused:
                with suppress(HoldallError):  # the failure that led here is the one to tell
                    self._abort_strays(key, "")
            raise
        if attempts > 1:
            self._abort_strays(key, upload_id)
        return upload_id

    def send_part(self, key: str, upload_id: str, number: int, data: Body) -> SentPart:
        """Send a part, verified by the service."""
        query = {"partNumber": str(number), "uploadId": upload_id}
        request = self._request("PUT", "UploadPart", key, query=query, body=data)
        checksum = self._protect(request, data)
        response, _ = self.call(request)
        self._require_checksum(response, checksum)
        return SentPart(number, response.headers.get("ETag", ""), checksum)

    def complete(self, key: str, upload_id: str, parts: list[SentPart], size: int | None, checksum: str | None) -> None:
        """Make the object appear; done again, it does nothing.

        Args:
            key: Of the object.
            upload_id: Of the upload.
            parts: In order.
            size: Bytes of the whole, if known.
            checksum: CRC32 of the whole in base64, if known.
        """
        body = "".join(_part_xml(part) for part in parts)
        data = f"<CompleteMultipartUpload>{body}</CompleteMultipartUpload>".encode()
        request = self._request("POST", "CompleteMultipartUpload", key, query={"uploadId": upload_id}, body=data)
        request.headers["content-type"] = "application/xml"
        if self._checksums and checksum is not None:
            request.headers |= {"x-amz-checksum-crc32": checksum, "x-amz-checksum-type": "FULL_OBJECT"}
        self._retries.run(lambda: self._complete_once(request, key, len(parts), size, checksum))

    def abort(self, key: str, upload_id: str) -> None:
        """Drop an upload with its parts; an unknown one is fine."""
        request = self._request("DELETE", "AbortMultipartUpload", key, query={"uploadId": upload_id})
        self.call(request, accept=(200, 204, 404))

    # Answers

    def parse_refusal(self, response: HttpResponse) -> Refusal:
        text = response.error_text()
        code = message = ""
        if text.lstrip().startswith("<"):
            try:
                root = ElementTree.fromstring(text)
                code, message = root.findtext("Code", ""), root.findtext("Message", "")
            except ElementTree.ParseError:
                pass  # a proxy's page; the status tells enough
        region = response.headers.get("x-amz-bucket-region")
        if region and code in ("", "PermanentRedirect", "AuthorizationHeaderMalformed", "TemporaryRedirect"):
            code = _OTHER_REGION + region
        return Refusal(response.status, code, message, response.retry_after)

    def recover(self, refusal: Refusal) -> bool:
        if refusal.code.startswith(_OTHER_REGION):
            return self._move(refusal.code.removeprefix(_OTHER_REGION))
        return super().recover(refusal)

    def refusal_error(self, refusal: Refusal, request: Request) -> HoldallError:
        if refusal.code == "NoSuchBucket":
            return NotFound(f"There is no {self._name}; create it, or check its name and the endpoint.")
        return super().refusal_error(refusal, request)

    # What they share

    def _request(
        self,
        method: str,
        operation: str,
        key: str | None = None,
        *,
        query: dict[str, str] | None = None,
        body: Body | None = None,
    ) -> Request:
        path = f"{self._path}/" if key is None else f"{self._path}/{quote(key, safe='/-_.~')}"
        return Request(method, path, query or {}, dict(self._headers[operation]), body)

    def _protect(self, request: Request, data: Body) -> str | None:
        """Add what the service verifies the body with; the checksum, if it is one."""
        if not self._checksums:
            request.headers["x-amz-content-sha256"] = hashlib.sha256(data).hexdigest()
            return None
        checksum = b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()
        request.headers |= {"x-amz-checksum-crc32": checksum, "x-amz-sdk-checksum-algorithm": "CRC32"}
        return checksum

    def _require_checksum(self, response: HttpResponse, checksum: str | None) -> None:
        kept = response.headers.get("x-amz-checksum-crc32")
        if checksum is not None and kept is not None and kept != checksum:
            raise TemporarilyUnavailable(f"{self._name} received other bytes than were sent.")

    def _found(self, response: HttpResponse, request: Request) -> HttpResponse | None:
        if response.status != 404:
            return response
        refusal = self.parse_refusal(response)
        if refusal.code in ("NoSuchBucket", "InvalidRange"):
            raise self.refusal_error(refusal, request)
        return None

    def _complete_once(self, request: Request, key: str, parts: int, size: int | None, checksum: str | None) -> None:
        response, body = self._call_once(request, (200, 404))
        root = _parse(body) if body else None
        if response.status == 200 and root is not None and root.tag != "Error":
            return
        # 200 may come first and an error after it. 404 after a lost answer means that it was done before.
        code, message = (root.findtext("Code", ""), root.findtext("Message", "")) if root is not None else ("", "")
        if code == "NoSuchUpload" and self._is_there(key, parts, size, checksum):
            return
        status = response.status if response.status != 200 else 400
        raise self.refusal_error(Refusal(status, code, message), request)

    def _is_there(self, key: str, parts: int, size: int | None, checksum: str | None) -> bool:
        head = self.head(key)
        if head is None or (size is not None and head.headers.get("Content-Length") != str(size)):
            return False
        kept = head.headers.get("x-amz-checksum-crc32")
        if checksum is not None and kept is not None:
            return kept == checksum
        return head.headers.get("ETag", "").strip('"').endswith(f"-{parts}")

    def _abort_strays(self, key: str, upload_id: str) -> None:
        """Drop uploads of an object that were begun without our learning their ids: those without any part."""
        for stray in self._uploads(key):
            if stray != upload_id and not self._has_parts(key, stray):
                self.abort(key, stray)

    def _uploads(self, key: str) -> Iterator[str]:
        query = {"uploads": "", "prefix": key, "encoding-type": "url"}
        root = _parse(self.call(self._request("GET", "ListMultipartUploads", query=query))[1])
        encoded = root.findtext("EncodingType") == "url"
        for upload in root.iter("Upload"):
            if _decoded(upload.findtext("Key", ""), encoded) == key:
                yield upload.findtext("UploadId", "")

    def _has_parts(self, key: str, upload_id: str) -> bool:
        request = self._request("GET", "ListParts", key, query={"uploadId": upload_id})
        response, body = self.call(request, accept=(200, 404))
        return response.status == 200 and _parse(body).find("Part") is not None

    def _move(self, region: str) -> bool:
        """Go to the region that the bucket is in; whether that is another one."""
        if not isinstance(self.signer, S3Signer) or self.signer.region == region:
            return False
        address = self._sdk.address(region)
        self.signer.region = region
        self.client, former = HttpClient(address.origin, self._settings), self.client
        former.close()
        return True


_OTHER_REGION = "bucket is in region "

_OPERATIONS = (
    "AbortMultipartUpload",
    "CompleteMultipartUpload",
    "CreateMultipartUpload",
    "DeleteObject",
    "DeleteObjects",
    "GetObject",
    "HeadObject",
    "ListMultipartUploads",
    "ListObjectsV2",
    "ListParts",
    "PutObject",
    "UploadPart",
)


def _parse(body: bytes) -> ElementTree.Element:
    """The root of an XML answer, names without their namespace."""
    try:
        root = ElementTree.fromstring(body)
    except ElementTree.ParseError as error:
        raise TemporarilyUnavailable("An answer of S3 is no XML; it may have been cut.") from error
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    return root


def _decoded(text: str, encoded: bool) -> str:
    return unquote_plus(text) if encoded else text


def _xml_text(text: str) -> str:
    """Text for XML 1.0; what parsers would normalise is written as a reference."""
    return escape(text, {"\r": "&#13;", "\n": "&#10;", "\t": "&#9;"})


def _part_xml(part: SentPart) -> str:
    checksum = f"<ChecksumCRC32>{part.checksum}</ChecksumCRC32>" if part.checksum else ""
    return f"<Part><PartNumber>{part.number}</PartNumber><ETag>{escape(part.etag)}</ETag>{checksum}</Part>"
