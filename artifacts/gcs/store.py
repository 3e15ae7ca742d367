"""`GcsArtifactStore`: artifacts in a bucket of Google Cloud Storage."""

from __future__ import annotations

from io import BytesIO

from holdall.artifacts.gcs.options import GcsOptions
from holdall.artifacts.gcs.sdk import UrlSigner
from holdall.artifacts.gcs.service import CRC32C, GcsService, kept_digest
from holdall.artifacts.gcs.signing import AnonymousSigner, GoogleCredentials, TokenSigner
from holdall.artifacts.gcs.uploads import MOST_SOURCES, CompositeUpload, ResumableUpload, remove_stale_parts
from holdall.artifacts.objects import ObjectArtifactStore, ObjectPage, whole_size
from holdall.artifacts.parts import PART_SIZE, PartedUpload
from holdall.stores.artifact_abilities import PresignedURL, PresignedURLs
from holdall.stores.artifact_io import Digest, OpenedArtifact
from holdall.stores.capabilities import ArtifactCapabilities
from holdall.stores.errors import InvalidParameterValue
from holdall.stores.http_client import Body
from holdall.stores.paths import validate_artifact_path
from holdall.stores.retries import RetryPolicy
from holdall.stores.uri import StoreURI

__all__ = ["GcsArtifactStore"]

COMPOSITE_SIZE = 64 << 20
"""Bytes from which a file goes in parallel parts, unless the URI says otherwise."""

LONGEST_VALIDITY = 7 * 24 * 60 * 60
"""Seconds that a signed URL may be valid (V4)."""


class GcsArtifactStore(ObjectArtifactStore, PresignedURLs):
    """Artifacts as objects `prefix/path` of a bucket, for `gs://bucket/prefix`.

    Everything `ArtifactStore` and `ObjectArtifactStore` promise, and:

    **Appearance.** Small files are stored by one request. Those of unknown size, and those up to 64 MiB, go by a
    resumable upload: one piece after the other, and a piece that breaks goes on from the byte that the service has.
    Larger ones go in parts, several at a time, as objects under private names in the root, which no listing shows and
    no artifact can have; the service composes them and deletes them in the same step, so that they cost no early
    deletion and are not kept by soft deletion. With `composite=true` everything of more than one part goes so, with
    `composite=false` nothing. An upload that fails or is aborted removes its parts; those of a killed process are
    removed by the first such upload of a later store, when they are a day old.

    **Verification.** Every object is stored with its CRC32C, which the service compares with what it received; if the
    service has something else nevertheless, the object is removed again. Composed objects are compared with the CRC32C
    of the whole file. Downloads are compared with the CRC32C, or else the MD5, that the service keeps; ranges are held
    together by the object's generation, so that parts of two versions are never mixed. Objects are moved as they are
    stored: those with `Content-Encoding: gzip` are not unpacked.

    **Names** are kept exactly. The service takes 1024 bytes of UTF-8 for prefix and path together, and no line ends;
    other names are refused by it with `InvalidParameterValue`.

    **Writers.** Of several writers of one name the last to finish wins. What is repeated because its answer was lost
    is recognised (by the generation that was replaced, and by content), not taken for another writer's object.

    **Folders** exist as long as files are in them; so it is in buckets with a hierarchical namespace too.

    **Credentials** are found as Google's libraries find them, when they are first needed, unless the URI names a file;
    tokens are renewed when they expire or are refused. Each store has its own: several services and accounts can be
    used by one process. Parts take the permission to delete objects (`roles/storage.objectUser`).

    **Signed URLs** need a service account: by its key, or through the IAM service where there is none
    (`iam.serviceAccounts.signBlob`). `capabilities.presigned_urls` says whether there is one.

    **Durability** is that of the service.

    **Not promised.** That an object is kept for its writer when another deletes it at the same time. No emulator at
    hand honours preconditions, status queries and checksums of uploads; what rests on them is tested against a server
    of the project's own, which follows Google's documentation.

    Args:
        uri: A `gs` URI; see `GcsOptions` for what its query may say.
        read_only: Refuse every write with `ReadOnly`.

    Raises:
        InvalidParameterValue: The URI names no bucket, or its options are malformed.
    """

    _digest_algorithm = CRC32C
    _most_parts = MOST_SOURCES**4
    _delete_batch = 10  # there is a request for each; batches are deleted at the same time

    def __init__(self, uri: StoreURI, *, read_only: bool = False) -> None:
        if not uri.host or uri.port is not None or uri.username is not None:
            raise InvalidParameterValue(f"{uri} names no bucket; write gs://bucket/prefix.")
        options = GcsOptions.parse(uri)
        retries = RetryPolicy(options.patience)
        super().__init__(uri, read_only=read_only, retries=retries)
        credentials = None if options.anonymous else GoogleCredentials(options.credentials_file)
        signer = TokenSigner(credentials) if credentials else AnonymousSigner()
        self._service = GcsService(options, uri.host, signer, retries)
        self._urls = UrlSigner(options, uri.host, credentials)
        self._part_size = options.chunk_size or PART_SIZE
        self._composite = options.composite
        self._swept = False

    @property
    def capabilities(self) -> ArtifactCapabilities:
        return ArtifactCapabilities(native_digests=True, presigned_urls=self._urls.can_sign)

    # Requests

    def _get_object(self, key: str, offset: int, length: int | None) -> OpenedArtifact | None:
        response = self._service.get(key, offset, length)
        if response is None:
            return None
        if response.status == 416:
            response.close()
            return self._beyond_end(key)
        size = whole_size(response, offset)
        return OpenedArtifact(
            response, size, kept_digest(response, size), response.headers.get("x-goog-generation") or None
        )

    def _beyond_end(self, key: str) -> OpenedArtifact | None:
        """What there is of an object that is shorter than it was."""
        kept = self._service.head(key)
        return None if kept is None else OpenedArtifact(BytesIO(), kept.size, kept.digest, kept.generation)

    def _head_object(self, key: str) -> int | None:
        kept = self._service.head(key)
        return None if kept is None else kept.size

    def _whole_digest(self, path: str) -> Digest | None:
        kept = self._service.head(self._prefix + path)
        return None if kept is None else kept.digest

    def _put_object(self, key: str, data: Body, digest: Digest) -> None:
        self._service.put(key, data, digest)

    def _begin_object(self, key: str, size: int | None) -> PartedUpload:
        composite = self._composite
        if composite is None:
            composite = size is not None and size >= COMPOSITE_SIZE
        if not composite:
            return ResumableUpload(self._service, self._retries, key, size)
        if not self._swept:
            self._swept = True
            remove_stale_parts(self._service, self._prefix)
        return CompositeUpload(self._service, self._prefix, key)

    def _list_page(self, prefix: str, *, deep: bool, token: str | None, limit: int | None) -> ObjectPage:
        return self._service.list_page(prefix, deep=deep, token=token, limit=limit)

    def _delete_objects(self, keys: list[str]) -> None:
        for key in keys:
            self._service.delete(key)

    def _close(self) -> None:
        super()._close()
        self._service.client.close()

    # Signed URLs

    def presign_download(self, path: str, *, expires_in: int = 900) -> PresignedURL:
        self._check_open()
        key, size = self._signable(path)
        return PresignedURL(self._urls.sign(key, "GET", _valid_seconds(expires_in)), "GET", file_size=size)

    def presign_upload(self, path: str, *, expires_in: int = 900) -> PresignedURL:
        self._check_writable()
        path = validate_artifact_path(path, file=True)
        return PresignedURL(self._urls.sign(self._prefix + path, "PUT", _valid_seconds(expires_in)), "PUT")


def _valid_seconds(seconds: int) -> int:
    if not 1 <= seconds <= LONGEST_VALIDITY:
        raise InvalidParameterValue(f"Signed URLs of GCS are valid for 1 to {LONGEST_VALIDITY} seconds, not {seconds}.")
    return seconds
