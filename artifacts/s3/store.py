"""`S3ArtifactStore`: artifacts in a bucket of S3."""

from __future__ import annotations

import threading
from base64 import b64decode, b64encode
from collections.abc import Sequence

from holdall.artifacts.objects import ObjectArtifactStore, ObjectPage, whole_size
from holdall.artifacts.parts import PartedUpload
from holdall.artifacts.s3.options import S3Options
from holdall.artifacts.s3.sdk import S3Sdk
from holdall.artifacts.s3.service import S3Service, SentPart
from holdall.artifacts.s3.signing import AnonymousSigner, S3Signer
from holdall.stores.artifact_abilities import (
    CompletedPart,
    MultipartUpload,
    MultipartUploads,
    PresignedPart,
    PresignedURL,
    PresignedURLs,
)
from holdall.stores.artifact_io import Digest, OpenedArtifact
from holdall.stores.capabilities import ArtifactCapabilities
from holdall.stores.errors import InvalidParameterValue
from holdall.stores.http_client import Body, HttpResponse, HttpSettings
from holdall.stores.paths import validate_artifact_path
from holdall.stores.retries import RetryPolicy
from holdall.stores.uri import StoreURI

__all__ = ["S3ArtifactStore"]

LONGEST_VALIDITY = 7 * 24 * 60 * 60
"""Seconds that a presigned URL may be valid (Signature Version 4)."""

MOST_PARTS = 10_000


class S3ArtifactStore(ObjectArtifactStore, PresignedURLs, MultipartUploads):
    """Artifacts as objects `prefix/path` of a bucket, for `s3://bucket/prefix` on AWS and on whatever speaks S3.

    Everything `ArtifactStore` and `ObjectArtifactStore` promise, and:

    **Appearance.** Objects appear whole, by one request or by the completion of an upload in parts; the service shows
    readers the old or the new one. Unfinished uploads are aborted. A process that is killed leaves one behind, which a
    lifecycle rule of the bucket (`AbortIncompleteMultipartUpload`) should clear.

    **Verification.** Every request carries the CRC32 of its bytes, which the service checks, and an object in parts is
    compared with the CRC32 of the whole. Downloads are compared with the CRC32 that the service keeps; of objects that
    were stored without one, only the size is. With `checksum=when_required`, for services without checksums, the
    service checks the SHA-256 of each request, and downloads are compared by size alone.

    **Arguments.** `extra_args` and the options for ACL and encryption go with each request that has them: single
    uploads, parts, and, for customer keys, downloads.

    **Credentials** are found as boto3 finds them, unless the URI names some, and are renewed when they expire. Each
    store has its own: several services and accounts can be used by one process.

    **Durability** is that of the service.

    **Not promised.** That an object is kept for its writer when another deletes it at the same time. Buckets in other
    regions than the endpoint's are found by the service's hint, at the price of one request.

    Args:
        uri: An `s3` URI; see `S3Options` for what its query may say.
        read_only: Refuse every write with `ReadOnly`.

    Raises:
        InvalidParameterValue: The URI names no bucket, or its options are malformed.
    """

    _digest_algorithm = "crc32"

    def __init__(self, uri: StoreURI, *, read_only: bool = False) -> None:
        if not uri.host or uri.port is not None:
            raise InvalidParameterValue(f"{uri} names no bucket; write s3://bucket/prefix.")
        options = S3Options.parse(uri)
        retries = RetryPolicy(options.patience)
        super().__init__(uri, read_only=read_only, retries=retries)
        self._sdk = S3Sdk(options, uri.host)
        self._sdk.require_known(options.extra_args)
        self._arguments = options.extra_args
        self._checksums = self._sdk.checksum == "when_supported"
        signer = (
            AnonymousSigner()
            if options.anonymous
            else S3Signer(self._sdk.credentials, self._sdk.find_credentials, self._sdk.region)
        )
        self._signed = not options.anonymous
        settings = HttpSettings(timeout=options.timeout, verify=self._sdk.certificates)
        self._service = S3Service(self._sdk, uri.host, options.extra_args, signer, settings, retries)

    @property
    def capabilities(self) -> ArtifactCapabilities:
        return ArtifactCapabilities(native_digests=self._checksums, presigned_urls=self._signed, multipart=self._signed)

    # Requests

    def _get_object(self, key: str, offset: int, length: int | None) -> OpenedArtifact | None:
        response = self._service.get(key, offset, length)
        if response is None:
            return None
        size = whole_size(response, offset)
        return OpenedArtifact(response, size, _kept_digest(response, size), response.headers.get("ETag"))

    def _head_object(self, key: str) -> int | None:
        response = self._service.head(key)
        return None if response is None else int(response.headers.get("Content-Length", "0"))

    def _whole_digest(self, path: str) -> Digest | None:
        response = self._service.head(self._prefix + path)
        return None if response is None else _kept_digest(response, int(response.headers.get("Content-Length", "0")))

    def _put_object(self, key: str, data: Body, digest: Digest) -> None:
        self._service.put(key, data)

    def _begin_object(self, key: str, size: int | None) -> PartedUpload:
        return _Upload(self._service, key, self._service.begin(key))

    def _list_page(self, prefix: str, *, deep: bool, token: str | None, limit: int | None) -> ObjectPage:
        return self._service.list_page(prefix, deep=deep, token=token, limit=limit)

    def _delete_objects(self, keys: list[str]) -> None:
        if len(keys) == 1:
            self._service.delete_one(keys[0])
        else:
            self._service.delete(keys)

    def _close(self) -> None:
        super()._close()
        self._service.client.close()

    # Abilities

    def presign_download(self, path: str, *, expires_in: int = 900) -> PresignedURL:
        self._check_open()
        key, size = self._signable(path)
        url = self._sdk.presign(
            "get_object", _valid_seconds(expires_in), Key=key, **self._signed_arguments("GetObject")
        )
        return PresignedURL(url, "GET", self._signed_headers("GetObject"), size)

    def presign_upload(self, path: str, *, expires_in: int = 900) -> PresignedURL:
        self._check_writable()
        key = self._prefix + validate_artifact_path(path, file=True)
        url = self._sdk.presign(
            "put_object", _valid_seconds(expires_in), Key=key, **self._signed_arguments("PutObject")
        )
        return PresignedURL(url, "PUT", self._signed_headers("PutObject"))

    def create_multipart_upload(self, path: str, num_parts: int) -> MultipartUpload:
        self._check_writable()
        key = self._prefix + validate_artifact_path(path, file=True)
        if not 1 <= num_parts <= MOST_PARTS:
            raise InvalidParameterValue(f"An upload to S3 has 1 to {MOST_PARTS} parts, not {num_parts}.")
        upload_id = self._service.begin(key, verified=False)
        headers = self._signed_headers("UploadPart")
        arguments = self._signed_arguments("UploadPart")
        parts = tuple(
            PresignedPart(
                number,
                self._sdk.presign(
                    "upload_part", 24 * 60 * 60, Key=key, UploadId=upload_id, PartNumber=number, **arguments
                ),
                headers,
            )
            for number in range(1, num_parts + 1)
        )
        return MultipartUpload(upload_id, parts)

    def complete_multipart_upload(self, path: str, upload_id: str, parts: Sequence[CompletedPart]) -> None:
        self._check_writable()
        key = self._prefix + validate_artifact_path(path, file=True)
        numbers = sorted(part.part_number for part in parts)
        if numbers != list(range(1, len(parts) + 1)) or not parts:
            raise InvalidParameterValue(f"The parts of an upload are numbered from 1 without gaps, got {numbers}.")
        sent = [
            SentPart(part.part_number, part.etag, None) for part in sorted(parts, key=lambda part: part.part_number)
        ]
        self._service.complete(key, upload_id, sent, None, None)

    def abort_multipart_upload(self, path: str, upload_id: str) -> None:
        self._check_writable()
        self._service.abort(self._prefix + validate_artifact_path(path, file=True), upload_id)

    def _signed_arguments(self, operation: str) -> dict[str, object]:
        return self._sdk.applicable(operation, self._arguments)

    def _signed_headers(self, operation: str) -> tuple[tuple[str, str], ...]:
        return tuple(sorted(self._sdk.headers(operation, self._arguments).items()))


class _Upload(PartedUpload):
    """A file in parts."""

    def __init__(self, service: S3Service, key: str, upload_id: str) -> None:
        self._service = service
        self._key = key
        self._upload_id = upload_id
        self._lock = threading.Lock()
        self._sent: dict[int, SentPart] = {}

    def send(self, number: int, data: Body) -> None:
        part = self._service.send_part(self._key, self._upload_id, number, data)
        with self._lock:
            self._sent[number] = part

    def finish(self, parts: int, digest: Digest) -> None:
        sent = [self._sent[number] for number in range(1, parts + 1)]
        checksum = b64encode(bytes.fromhex(digest.value)).decode()
        self._service.complete(self._key, self._upload_id, sent, digest.size, checksum)

    def cancel(self) -> None:
        self._service.abort(self._key, self._upload_id)


def _kept_digest(response: HttpResponse, size: int) -> Digest | None:
    """The CRC32 of the whole object; that of an upload in parts may be one of their checksums instead."""
    value = response.headers.get("x-amz-checksum-crc32", "")
    composite = "-" in value or response.headers.get("x-amz-checksum-type", "FULL_OBJECT") != "FULL_OBJECT"
    if not value or composite or response.status != 200:
        return None
    return Digest("crc32", b64decode(value).hex(), size)


def _valid_seconds(seconds: int) -> int:
    if not 1 <= seconds <= LONGEST_VALIDITY:
        raise InvalidParameterValue(f"URLs of S3 are valid for 1 to {LONGEST_VALIDITY} seconds, not {seconds}.")
    return seconds
