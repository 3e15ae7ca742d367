"""Answers with files: ranges, and headers that keep a browser from running what somebody has uploaded."""

from __future__ import annotations

import io
import mimetypes
import re
from collections.abc import Awaitable, Callable
from typing import BinaryIO, cast
from urllib.parse import quote

from holdall.server.messages import Answer, Request
from holdall.server.service import Service
from holdall.server.streaming import Outflow
from holdall.stores.artifact_io import ArtifactReader
from holdall.stores.artifacts import ArtifactStore
from holdall.stores.errors import InvalidParameterValue
from holdall.stores.paths import validate_artifact_path
from holdall.stores.representation import digest_header

__all__ = ["send_file"]

Headers = tuple[tuple[bytes, bytes], ...]

SANDBOX = b"sandbox; default-src 'none'; frame-ancestors 'self'"
"""Policy of what may hold scripts, should a browser show it in spite of everything."""

_HARMLESS = frozenset({"audio", "image", "video"})
_ACTIVE_IMAGES = frozenset({"image/svg+xml"})
_TEXTS = frozenset({"application/json", "application/toml", "application/x-yaml", "application/yaml"})
_TEXT_SUFFIXES = (".cfg", ".conf", ".ini", ".jsonl", ".log", ".toml", ".yaml", ".yml", "/MLmodel", "/MLproject")
_RANGE = re.compile(r"bytes=(?:([0-9]{1,19})-([0-9]{1,19})?|-([0-9]{1,19}))")


async def send_file(
    service: Service,
    request: Request,
    store: ArtifactStore,
    path: str,
    release: Callable[[], Awaitable[None]],
) -> Answer:
    """A file, or the range of it that is asked for; for `HEAD` without its bytes.

    Args:
        service: Whose threads read.
        request: Its method, and what it says of ranges.
        store: Where the file is.
        path: The file.
        release: Called when the store is not needed any more; not if this fails.

    Raises:
        NotFound: There is no such file.
        InvalidParameterValue: It is a folder, or the path is refused.
    """
    path = validate_artifact_path(path, file=True)
    if request.method == "HEAD":
        size = await service.transfers.run(lambda: _size(store, path))
        status, headers, *_ = _head(request, path, size, ())
        await release()
        return Answer(status, headers, b"")
    reader, size = await service.transfers.run(lambda: _open(store, path))
    status, headers, start, stop = _head(request, path, size, _identity(reader))
    if start and start < stop:
        reader.seek(start)  # only noted: the store is asked at the first read
    return Answer(status, headers, Outflow(service.transfers, reader, start, stop, request.receive, release))


def _size(store: ArtifactStore, path: str) -> int:
    info = store.stat(path)
    if info.is_dir:
        raise InvalidParameterValue(f"Artifact {path!r} is not a file; list it, or name a file in it.")
    return info.file_size or 0


def _open(store: ArtifactStore, path: str) -> tuple[BinaryIO, int]:
    reader = store.open(path)
    size = reader.seek(0, io.SEEK_END)  # known to the reader: nothing is asked
    reader.seek(0)
    return reader, size


_SAFE: Headers = ((b"x-content-type-options", b"nosniff"), (b"content-security-policy", SANDBOX))


def _head(request: Request, path: str, size: int, identity: Headers) -> tuple[int, Headers, int, int]:
    """Status and headers of an answer, and which bytes it has."""
    wanted = _range(request, dict(identity).get(b"etag"), size)
    if wanted == (size, size):
        return 416, (*_SAFE, (b"content-range", b"bytes */%d" % size), (b"content-length", b"0")), size, size
    kind, harmless = _media_type(path)
    start, stop = wanted or (0, size)
    headers: Headers = (
        (b"content-type", kind),
        (b"content-disposition", _disposition(path.rpartition("/")[2])),
        (b"content-length", b"%d" % (stop - start)),
        (b"accept-ranges", b"bytes"),
        *(_SAFE[:1] if harmless else _SAFE),
        *identity,
    )
    if wanted is None:
        return 200, headers, start, stop
    return 206, (*headers, (b"content-range", b"bytes %d-%d/%d" % (start, stop - 1, size))), start, stop


def _identity(reader: BinaryIO) -> Headers:
    """What tells this content from others, as far as the store knows."""
    raw = cast("io.BufferedReader", reader).raw
    if not isinstance(raw, ArtifactReader):
        return ()
    tag = raw.version or (raw.digest.value if raw.digest is not None else None)
    kept = digest_header(raw.digest) if raw.digest is not None else None
    headers: Headers = ((b"etag", f'"{_plain(tag)}"'.encode()),) if tag else ()
    return (*headers, (b"repr-digest", kept.encode())) if kept else headers


def _media_type(path: str) -> tuple[bytes, bool]:
    """The type to declare, and whether a browser may show it without a sandbox."""
    kind, encoding = mimetypes.guess_type(path)
    kind = kind if kind and not encoding else "application/octet-stream"
    if kind == "text/html":
        return b"text/html; charset=utf-8", False
    if kind.startswith("text/") or kind in _TEXTS or f"/{path}".endswith(_TEXT_SUFFIXES):
        return b"text/plain; charset=utf-8", True
    if kind.partition("/")[0] in _HARMLESS and kind not in _ACTIVE_IMAGES:
        return kind.encode(), True
    return b"application/octet-stream", False


def _disposition(name: str) -> bytes:
    """A download under its own name (RFC 6266), with a plain form for old clients."""
    plain = re.sub(r"[^ !#$&+\-.0-9A-Z^_`a-z{}~()\[\],;=@]", "_", name)
    text = f'attachment; filename="{plain}"'
    if plain != name:
        text += f"; filename*=UTF-8''{quote(name, safe='')}"
    return text.encode()


def _plain(tag: str) -> str:
    return re.sub(r"[^!#-~]", "", tag.removeprefix("W/").strip('"'))


def _range(request: Request, etag: bytes | None, size: int) -> tuple[int, int] | None:
    """First byte and end of the range that is asked for, both `size` if there is nothing; None for the whole file.

    What is malformed, or several ranges, is passed over, as HTTP allows.
    """
    match = _RANGE.fullmatch(request.header("range").strip())
    if match is None or request.headers.get(b"if-range", etag) != etag:
        return None
    first, last, suffix = match.groups()
    if suffix is not None:
        return (size, size) if int(suffix) == 0 else (max(0, size - int(suffix)), size)
    start, stop = int(first), size if last is None else min(int(last) + 1, size)
    if last is not None and int(last) < start:
        return None
    return (start, stop) if start < size else (size, size)
