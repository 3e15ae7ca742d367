"""The one validator of artifact paths, used by every artifact store and every route.

Path tricks are the commonest hole of the field (CVE-2023-30172, 2023-2780, 2023-3765, 2023-6831, 2024-1558, 2024-1560
…), and their common cause is a path that is checked in one form and used in another. So a path is either refused here
or kept byte for byte: nothing is decoded, normalised or repaired, and what was validated is what is opened.
"""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

from holdall.stores.errors import InvalidParameterValue

__all__ = ["MAX_DEPTH", "MAX_PATH_BYTES", "MAX_SEGMENT_BYTES", "join_artifact_path", "validate_artifact_path"]

MAX_SEGMENT_BYTES = 255
"""Longest file or folder name in UTF-8 bytes, the limit of nearly all file systems."""

MAX_PATH_BYTES = 4096
"""Longest path in UTF-8 bytes, as on Linux."""

MAX_DEPTH = 256
"""Most names in a path; it bounds how deep a hostile or circular listing can lead."""

_DRIVE = re.compile(rb"[A-Za-z]:")
_SEPARATORS = re.compile(rb"[/\\]")


def validate_artifact_path(path: str | None, *, name: str = "path", file: bool = False) -> str:
    r"""Check the path of an artifact, relative to the root of its store.

    Refused are: `..` and `.` segments (also between backslashes), empty segments; absolute paths, drive letters
    (`C:\x`, `C:x`) and network paths; NULs; all of these hidden by percent-encoding, however many times; lone
    surrogates; names over `MAX_SEGMENT_BYTES`, paths over `MAX_PATH_BYTES` or `MAX_DEPTH`. Everything else is an
    ordinary character and is kept: blanks, `%20`, `#`, `?`, `;`, `+`, `\` and `:` inside a name, leading dots, NFC and
    NFD forms.

    One trailing slash is the usual way to say "folder": it is dropped where the path may name a folder, and refused
    where it must name a file.

    Args:
        path: POSIX path; None and `''` are the root.
        name: What to call the argument in error messages.
        file: The path must name a file: neither the root nor a trailing slash will do.

    Returns:
        The path exactly as given but for one trailing slash; `''` for the root.

    Raises:
        InvalidParameterValue: The path is refused.
    """
    if path is None:
        path = ""
    if not isinstance(path, str):
        raise InvalidParameterValue(f"Invalid {name}: it must be text, got {type(path).__name__}.")
    reason = _find_fault(path, file)
    if reason is not None:
        raise InvalidParameterValue(
            f"Invalid {name} {_excerpt(path)}: it {reason}. Use a relative path with '/' between its names."
        )
    return path.removesuffix("/")


def join_artifact_path(*parts: str | None) -> str:
    """Join validated paths: `join_artifact_path("models", None, "a.bin") == "models/a.bin"`.

    Args:
        parts: Paths as `validate_artifact_path` takes them; None and `''` add nothing.

    Raises:
        InvalidParameterValue: A part, or the whole, is refused.
    """
    checked = [validate_artifact_path(part) for part in parts]
    return validate_artifact_path("/".join(part for part in checked if part))


def _find_fault(path: str, file: bool) -> str | None:
    try:
        raw = path.encode("utf-8")
    except UnicodeEncodeError:
        return "holds lone surrogates, which no encoding can keep"
    if len(raw) > MAX_PATH_BYTES:
        return f"is longer than {MAX_PATH_BYTES} bytes"
    if file and (not raw or raw.endswith(b"/")):
        return "must name a file"
    fault = _find_escape(raw)
    if fault is not None or not raw:
        return fault
    segments = raw.removesuffix(b"/").split(b"/")
    if b"" in segments:
        return "has an empty segment"
    if len(segments) > MAX_DEPTH:
        return f"has more than {MAX_DEPTH} names"
    if max(map(len, segments)) > MAX_SEGMENT_BYTES:
        return f"has a name longer than {MAX_SEGMENT_BYTES} bytes"
    return _find_encoded_escape(raw)


def _find_escape(raw: bytes) -> str | None:
    """Why `raw`, taken literally, could mean a place other than one below the root; None if it could not."""
    if b"\0" in raw:
        return "holds a NUL character"
    if raw.startswith((b"/", b"\\")):
        return "is absolute"
    if _DRIVE.match(raw):
        return "starts with a drive letter"
    segments = _SEPARATORS.split(raw)
    if b".." in segments:
        return "has a '..' segment"
    if b"." in segments:
        return "has a '.' segment"
    return None


def _find_encoded_escape(raw: bytes) -> str | None:
    """The same for whatever `raw` becomes when somebody decodes it once, twice … until nothing changes."""
    while b"%" in raw:
        decoded = unquote_to_bytes(raw)
        if decoded == raw:
            return None
        fault = _find_escape(decoded)
        if fault is not None:
            return f"{fault} when percent-decoded"
        raw = decoded
    return None


def _excerpt(path: str) -> str:
    return ascii(path) if len(path) <= 100 else f"{path[:100]!a}…"
