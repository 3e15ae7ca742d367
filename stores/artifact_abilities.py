"""Abilities that some artifact stores have beyond `ArtifactStore`: signed URLs, and multipart uploads by others.

A store that has one inherits from the class here and sets the flag in its `ArtifactCapabilities`; callers look at the
flag, never at the class.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["CompletedPart", "MultipartUpload", "MultipartUploads", "PresignedPart", "PresignedURL", "PresignedURLs"]


@dataclass(frozen=True, slots=True)
class PresignedURL:
    """A URL that lets its holder do one thing with one file for a while, without credentials.

    Attributes:
        url: The URL, a secret until it expires.
        method: HTTP method to use, `GET` or `PUT`.
        headers: Names and values that must be sent with it.
        file_size: Bytes of the file, for downloads.
    """

    url: str
    method: str
    headers: tuple[tuple[str, str], ...] = ()
    file_size: int | None = None


class PresignedURLs(ABC):
    """Signs URLs, so that bytes go between client and storage directly. Flag: `ArtifactCapabilities.presigned_urls`.

    Signing is local or one request, moves no data and is safe between threads. A signature outlives `close()`. That the
    bytes sent arrive whole is between the holder and the service: whoever uploads must verify afterwards with
    `ArtifactStore.stat` or `ArtifactStore.digest`. Not promised: that a URL can be taken back.
    """

    @abstractmethod
    def presign_download(self, path: str, *, expires_in: int = 900) -> PresignedURL:
        """A URL for reading a file.

        Args:
            path: Artifact path of a file; ranges may be asked for with the HTTP header.
            expires_in: Seconds of validity.

        Raises:
            NotFound: There is no such file.
            InvalidParameterValue: The path is refused or the time not allowed by the service.
        """

    @abstractmethod
    def presign_upload(self, path: str, *, expires_in: int = 900) -> PresignedURL:
        """A URL for writing a file by one `PUT`; it appears whole or not at all.

        Args:
            path: Artifact path of the file.
            expires_in: Seconds of validity.

        Raises:
            ReadOnly: The store was opened read-only.
            InvalidParameterValue: The path is refused or the time not allowed by the service.
        """


@dataclass(frozen=True, slots=True)
class PresignedPart:
    """Where to send one part.

    Attributes:
        part_number: From 1.
        url: Signed URL for a `PUT`.
        headers: Names and values that must be sent with it.
    """

    part_number: int
    url: str
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class MultipartUpload:
    """An upload in parts that has begun.

    Attributes:
        upload_id: The service's name for it; opaque.
        parts: Where to send each part, in order.
    """

    upload_id: str
    parts: tuple[PresignedPart, ...]


@dataclass(frozen=True, slots=True)
class CompletedPart:
    """A part that was sent.

    Attributes:
        part_number: From 1.
        etag: What the service answered.
        url: Where it was sent, for services that identify parts by it.
    """

    part_number: int
    etag: str
    url: str | None = None


class MultipartUploads(ABC):
    """Lets others upload one file in parts, in parallel and in any order. Flag: `ArtifactCapabilities.multipart`.

    The file appears when the upload is completed, whole, in place of what was there; parts of an upload that was
    neither completed nor aborted are invisible, but stay (and cost) until aborted. Parts may be sent again: the last
    one counts. Safe between threads and processes.
    """

    @abstractmethod
    def create_multipart_upload(self, path: str, num_parts: int) -> MultipartUpload:
        """Begin.

        Args:
            path: Artifact path of the file.
            num_parts: How many parts will be sent, at least 1.

        Raises:
            ReadOnly: The store was opened read-only.
            InvalidParameterValue: The path is refused, or the service does not take so many parts.
        """

    @abstractmethod
    def complete_multipart_upload(self, path: str, upload_id: str, parts: Sequence[CompletedPart]) -> None:
        """Make the file appear. Completing again after success does nothing.

        Raises:
            NotFound: There is no such upload, or it was aborted.
            InvalidParameterValue: Parts are missing, double or of another upload; nothing appeared.
        """

    @abstractmethod
    def abort_multipart_upload(self, path: str, upload_id: str) -> None:
        """Drop the upload with all its parts; aborting one that is unknown does nothing."""
