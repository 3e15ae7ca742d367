"""What a URI and the environment say about a bucket of Google Cloud Storage."""

from __future__ import annotations

import os
from dataclasses import dataclass
from urllib.parse import urlsplit

from holdall.artifacts.options import PATIENCE, TIMEOUT, flag, seconds, verification
from holdall.stores.errors import InvalidParameterValue
from holdall.stores.uri import StoreURI

__all__ = ["GcsOptions"]

DEFAULT_ENDPOINT = "https://storage.googleapis.com"

CHUNK_STEP = 256 << 10
"""Chunks of resumable uploads are multiples of this."""

LARGEST_CHUNK = 256 << 20

_KNOWN = (
    "anonymous",
    "chunk_size",
    "composite",
    "credentials_file",
    "endpoint_url",
    "patience",
    "public_endpoint_url",
    "timeout",
    "user_project",
    "verify",
)


@dataclass(frozen=True, slots=True)
class GcsOptions:
    """How to reach a bucket.

    Attributes:
        endpoint: Origin of the service.
        public_endpoint: Origin where holders of presigned URLs reach it.
        anonymous: Send no credentials.
        credentials_file: Of a service account, or another that Google's library reads; None to search as it does.
        user_project: Project that pays for the requests, for buckets whose owner does not.
        chunk_size: Bytes of a part of a large file; None for the usual.
        composite: Whether large files are sent in parallel parts; None to decide by their size.
        verify: Whether certificates are checked, or the file to check them with.
        timeout: Seconds to wait for the next bytes.
        patience: Seconds after a failure in which to go on trying.
    """

    endpoint: str
    public_endpoint: str
    anonymous: bool
    credentials_file: str | None
    user_project: str | None
    chunk_size: int | None
    composite: bool | None
    verify: bool | str
    timeout: float
    patience: float

    @classmethod
    def parse(cls, uri: StoreURI) -> GcsOptions:
        """Read the options of a URI, then the SDK's variables for what it leaves open.

        Raises:
            InvalidParameterValue: An option is unknown, malformed, or contradicts another.
        """
        given = uri.options(*_KNOWN)
        file = given.get("credentials_file")
        anonymous = flag(given, "anonymous")
        if anonymous and file is not None:
            raise InvalidParameterValue(f"{uri} asks for no credentials and names some; leave one of them out.")
        endpoint = given.get("endpoint_url")
        if endpoint is None and (emulator := os.environ.get("STORAGE_EMULATOR_HOST")):
            endpoint = emulator if "://" in emulator else f"http://{emulator}"
            anonymous = anonymous or (anonymous is None and file is None)
        endpoint = _origin(endpoint or os.environ.get("API_ENDPOINT_OVERRIDE") or DEFAULT_ENDPOINT)
        return cls(
            endpoint=endpoint,
            public_endpoint=_origin(given.get("public_endpoint_url") or endpoint),
            anonymous=anonymous or False,
            credentials_file=file,
            user_project=given.get("user_project"),
            chunk_size=_chunk_size(given.get("chunk_size")),
            composite=flag(given, "composite"),
            verify=True if (verify := verification(given)) is None else verify,
            timeout=seconds(given, "timeout", TIMEOUT),
            patience=seconds(given, "patience", PATIENCE),
        )


def _origin(url: str) -> str:
    parts = urlsplit(url)
    usable = parts.scheme in ("http", "https") and parts.hostname and "@" not in parts.netloc
    if not usable or parts.path.strip("/") or parts.query:
        raise InvalidParameterValue(f"{url!r} is no address of a service; write http://host:port, without a path.")
    return f"{parts.scheme}://{parts.netloc}"


def _chunk_size(text: str | None) -> int | None:
    if text is None:
        return None
    size = int(text) if text.isascii() and text.isdigit() else 0
    if size % CHUNK_STEP or not 0 < size <= LARGEST_CHUNK:
        raise InvalidParameterValue(
            f"Option chunk_size must be a multiple of {CHUNK_STEP} bytes, at most {LARGEST_CHUNK}, got {text!r}."
        )
    return size
