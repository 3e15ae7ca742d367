"""Digests in HTTP headers, as RFC 9530 writes them: `Repr-Digest: sha-256=:<base64>:`."""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from binascii import Error as BadBase64

from holdall.stores.artifact_io import Digest

__all__ = ["digest_header", "find_digest"]

_NAMES = {"sha256": "sha-256", "sha512": "sha-512", "sha1": "sha", "md5": "md5", "crc32c": "crc32c", "crc32": "crc32"}
"""Their names there by ours. `crc32` is not registered; who does not know it passes over it, as the RFC wants."""

_CHECKED = ("sha-256", "sha-512", "md5", "crc32")
"""What can be computed without any SDK, the strongest first but for what nearly everybody sends."""

_MEMBER = re.compile(r"\s*([a-z*][a-z0-9_.*-]*)=:([A-Za-z0-9+/=]*):\s*")
_OURS = {theirs: ours for ours, theirs in _NAMES.items()}


def digest_header(digest: Digest) -> str | None:
    """The value of the header for a digest; None if there is no name for its kind."""
    name = _NAMES.get(digest.algorithm)
    return None if name is None else f"{name}=:{b64encode(bytes.fromhex(digest.value)).decode()}:"


def find_digest(header: str) -> tuple[str, str] | None:
    """The digest of a header that can be checked.

    Args:
        header: Its value, possibly of several digests; anything malformed is passed over.

    Returns:
        Algorithm, as `Digest` names it, and value in hexadecimal; None if there is none.
    """
    found: dict[str, str] = {}
    for member in header.split(","):
        if (match := _MEMBER.fullmatch(member)) is not None:
            try:
                found[match[1]] = b64decode(match[2], validate=True).hex()
            except (BadBase64, ValueError):
                continue
    return next(((_OURS[name], found[name]) for name in _CHECKED if name in found), None)
