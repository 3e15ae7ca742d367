"""`AzureArtifactStore`: artifacts in a container of Azure Blob Storage."""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path
from urllib.parse import quote

from holdall.artifacts.azure.options import AzureOptions
from holdall.artifacts.azure.presigning import Presigner
from holdall.artifacts.azure.service import BlobEntry, BlobService, Overtaken, is_directory
from holdall.artifacts.azure.signing import SharedKeySigner, TokenSigner, new_signer
from holdall.artifacts.azure.uploads import MOST_BLOCKS, BlockIds, BlockUpload
from holdall.artifacts.objects import (
    ListedObject,
    ObjectArtifactStore,
    ObjectPage,
    all_pages,
    require_below,
    whole_size,
)
from holdall.artifacts.parts import PartedUpload
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
from holdall.stores.entities import FileInfo
from holdall.stores.errors import InvalidParameterValue, NotFound
from holdall.stores.http_client import Body, HttpResponse
from holdall.stores.paths import validate_artifact_path
from holdall.stores.retries import RetryPolicy
from holdall.stores.transfers import Transfer
from holdall.stores.uri import StoreURI

__all__ = ["AzureArtifactStore"]

UPLOAD_ATTEMPTS = 5
"""How often a local file is sent whose blocks another writer's success has dropped."""

_DAY = 24 * 60 * 60


class _Directory(InvalidParameterValue):
    """A blob stands for a directory."""


class AzureArtifactStore(ObjectArtifactStore, PresignedURLs, MultipartUploads):
    """Artifacts as blobs `prefix/path` of a container, by the REST API of Azure Blob Storage.

    For `wasbs://container@account.blob.core.windows.net/prefix`, and for `abfss://…@account.dfs.core.windows.net/…`,
    which is the same container: every Data Lake account has the Blob API too. `wasb` and `abfs` are other names for
    them, encrypted as well. Everything `ArtifactStore` and `ObjectArtifactStore` promise, and:

    **Appearance.** Blobs appear whole, by one request or by the commitment of blocks; the service shows readers the
    old or the new one.

    **Writers of one path** that send blocks (files over 8 MiB) disturb each other, though they never mix: when one
    finishes, or the path is deleted, the service drops the blocks of the others. A local file is then sent again, and
    its progress begins anew; a stream fails with `TemporarilyUnavailable`.

    **Unfinished uploads** leave blocks behind, which nobody sees, and which the service itself drops after a week or
    with the next blob of that name. They are dropped at once where that can harm nobody: if no blob has that name yet,
    and nobody else is sending one. A process that is killed leaves its blocks to the service.

    **Verification.** Every request carries the MD5 of its bytes, which the service checks. The MD5 of the whole is
    kept, also of files in blocks, and downloads are compared with it. Of blobs that others stored without one, only
    the size is compared.

    **Directories** of accounts with a hierarchical namespace, and markers as Hadoop makes them, are folders. Empty ones
    stay when their last file is deleted, until they are deleted themselves.

    **Names** are kept exactly. Those with a backslash are refused with `InvalidParameterValue`, since Azure would make
    a slash of it. The service itself refuses names over 1,024 characters, the prefix included, and may refuse control
    characters.

    **Credentials**: what the URI names, then `AZURE_STORAGE_CONNECTION_STRING`, `AZURE_STORAGE_ACCESS_KEY` and
    `AZURE_STORAGE_SAS_TOKEN`, if they are this account's, then those that azure-identity finds
    (`DefaultAzureCredential`). Tokens are renewed before they expire, and when the service refuses them. Several
    accounts can be used by one process.

    **Presigned URLs** take an account key, or somebody signed in, in whose name the service gives a key for at most
    seven days (the role Storage Blob Delegator).

    **Durability** is that of the service.

    **Not promised.** That a blob is kept for its writer when another deletes it at the same time. Blobs with snapshots,
    leases or immutability policies are refused to be deleted by the service.

    Args:
        uri: Of the root; see `AzureOptions` for what its query may say.
        read_only: Refuse every write with `ReadOnly`.

    Raises:
        InvalidParameterValue: The URI names no container, or its options are malformed.
    """

    _digest_algorithm = "crc32"  # six times as fast as the service's MD5, which the requests are protected with
    _most_parts = MOST_BLOCKS
    _delete_batch = 1

    def __init__(self, uri: StoreURI, *, read_only: bool = False) -> None:
        options = AzureOptions.parse(uri)
        retries = RetryPolicy(options.patience)
        super().__init__(uri, read_only=read_only, retries=retries)
        signer = new_signer(options)
        self._service = BlobService(options, signer, retries)
        self._presigner = Presigner(options, self._service)
        self._can_presign = isinstance(signer, SharedKeySigner | TokenSigner)

    @property
    def capabilities(self) -> ArtifactCapabilities:
        return ArtifactCapabilities(native_digests=True, presigned_urls=self._can_presign, multipart=self._can_presign)

    # Requests

    def _get_object(self, key: str, offset: int, length: int | None) -> OpenedArtifact | None:
        response = self._service.get(key, offset, length)
        if response is None:
            return None
        if is_directory(response):
            response.close()
            raise _Directory(f"{key!r} is a directory, not a file; list it, or name a file in it.")
        size = whole_size(response, offset)
        return OpenedArtifact(response, size, _kept_digest(response, size), response.headers.get("ETag"))

    def _head_object(self, key: str) -> int | None:
        response = self._service.head(key)
        if response is None:
            return None
        if is_directory(response):
            raise _Directory(f"{key!r} is a directory.")
        return int(response.headers.get("Content-Length", "0"))

    def _put_object(self, key: str, data: Body, digest: Digest) -> None:
        self._service.put(key, data)

    def _begin_object(self, key: str, size: int | None) -> PartedUpload:
        return BlockUpload(self._service, key)

    def _list_page(self, prefix: str, *, deep: bool, token: str | None, limit: int | None) -> ObjectPage:
        page = self._service.list_page(prefix, delimiter="" if deep else "/", marker=token, limit=limit)
        files = [ListedObject(entry.name, entry.size) for entry in page.entries if not entry.is_directory]
        folders = [f"{entry.name.rstrip('/')}/" for entry in page.entries if entry.is_directory]
        if deep:
            return ObjectPage([*files, *(ListedObject(name, 0) for name in folders)], [], page.marker)
        return ObjectPage(files, list(dict.fromkeys([*page.prefixes, *folders])), page.marker)

    def _delete_objects(self, keys: list[str]) -> None:
        for key in keys:
            self._service.delete(key)

    # Hooks that differ from those of other services

    def _stat(self, path: str) -> FileInfo | None:
        try:
            return super()._stat(path)
        except _Directory:
            return FileInfo(path, is_dir=True)

    def _upload_file(self, source: Path, path: str, transfer: Transfer) -> None:
        for attempt in range(1, UPLOAD_ATTEMPTS + 1):
            try:
                return super()._upload_file(source, path, transfer)
            except Overtaken:
                if attempt == UPLOAD_ATTEMPTS:
                    raise
        return None

    def _delete(self, path: str) -> None:
        directories: list[str] = []
        Transfer(None).run(self._delete_objects, self._doomed_files(path, directories), self.max_workers)
        # Real directories are deleted empty, from the deepest up; the path itself may be one.
        self._delete_objects(sorted(directories, key=lambda name: name.count("/"), reverse=True))
        if path:
            self._service.delete(self._prefix + path)

    def _doomed_files(self, path: str, directories: list[str]) -> Iterator[list[str]]:
        """The names of all files below a path, one by one; names of directories are collected."""
        for entry in self._entries(self._folder_key(path)):
            if entry.is_directory:
                directories.append(entry.name)
            else:
                yield [entry.name]

    def _entries(self, prefix: str) -> Iterator[BlobEntry]:
        def fetch(marker: str | None) -> tuple[list[BlobEntry], str | None]:
            page = self._service.list_page(prefix, marker=marker, limit=None)
            require_below(prefix, (entry.name for entry in page.entries), str(self.uri))
            return page.entries, page.marker

        return chain.from_iterable(all_pages(fetch, str(self.uri)))

    def _close(self) -> None:
        super()._close()
        self._service.client.close()

    # Abilities

    def presign_download(self, path: str, *, expires_in: int = 900) -> PresignedURL:
        self._check_open()
        key, size = self._signable(path)
        return PresignedURL(self._presigner.url(key, "r", expires_in), "GET", file_size=size)

    def presign_upload(self, path: str, *, expires_in: int = 900) -> PresignedURL:
        self._check_writable()
        name = self._prefix + validate_artifact_path(path, file=True)
        url = self._presigner.url(name, "cw", expires_in)
        return PresignedURL(url, "PUT", (("x-ms-blob-type", "BlockBlob"),))

    def create_multipart_upload(self, path: str, num_parts: int) -> MultipartUpload:
        self._check_writable()
        name = self._prefix + validate_artifact_path(path, file=True)
        if not 1 <= num_parts <= MOST_BLOCKS:
            raise InvalidParameterValue(f"An upload to Azure has 1 to {MOST_BLOCKS} parts, not {num_parts}.")
        ids = BlockIds()
        url = self._presigner.url(name, "cw", _DAY)
        parts = (
            PresignedPart(number, f"{url}&comp=block&blockid={quote(ids[number], safe='')}")
            for number in range(1, num_parts + 1)
        )
        return MultipartUpload(f"{ids.token}-{num_parts}", tuple(parts))

    def complete_multipart_upload(self, path: str, upload_id: str, parts: Sequence[CompletedPart]) -> None:
        self._check_writable()
        name = self._prefix + validate_artifact_path(path, file=True)
        ids, count = _known_upload(upload_id)
        numbers = sorted(part.part_number for part in parts)
        if numbers != list(range(1, count + 1)):
            raise InvalidParameterValue(f"The upload has parts 1 to {count}, each once; got {len(numbers)} others.")
        try:
            self._service.commit(name, (ids[number] for number in numbers), None)
        except Overtaken:
            sent = {block for block in self._service.uncommitted(name) if block in ids}
            if not sent:
                raise NotFound(f"There is no upload of {path!r} with this id.") from None
            missing = [number for number in numbers if ids[number] not in sent]
            raise InvalidParameterValue(f"Parts {missing[:10]} of the upload of {path!r} were not sent.") from None

    def abort_multipart_upload(self, path: str, upload_id: str) -> None:
        self._check_writable()
        name = self._prefix + validate_artifact_path(path, file=True)
        with suppress(NotFound):
            self._service.discard(name, _known_upload(upload_id)[0].__contains__)


def _known_upload(upload_id: str) -> tuple[BlockIds, int]:
    """The ids of an upload's blocks, and how many there are."""
    token, _, count = upload_id.partition("-")
    if len(token) != 32 or not token.isalnum() or not count.isdigit():
        raise NotFound("There is no upload with this id.")
    return BlockIds(token), int(count)


def _kept_digest(response: HttpResponse, size: int) -> Digest | None:
    """The MD5 of the whole blob, if the service keeps one."""
    name = "x-ms-blob-content-md5" if response.status == 206 else "Content-MD5"
    try:
        value = b64decode(response.headers.get(name, ""), validate=True).hex()
    except binascii.Error:
        return None
    return Digest("md5", value, size) if value else None
