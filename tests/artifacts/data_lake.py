"""`DataLake`: a container with a hierarchical namespace, which no emulator has, as the Blob API shows it."""

from __future__ import annotations

import hashlib
import threading
from base64 import b64encode
from collections.abc import Iterator
from urllib.parse import quote, unquote
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from tests.artifacts.scripted_server import Answer, Asked

__all__ = ["DataLake"]


class DataLake:
    """A container in memory, as an answer for `scripted_server`; whoever asks is believed.

    Directories are real: they come into being with the files in them, stay when those go, are listed among the blobs,
    and are deleted empty. A file is no directory, and the other way round.

    Attributes:
        files: Content by name.
        directories: Names, without a slash at their ends.
    """

    def __init__(self, container: str) -> None:
        self._path = f"/{container}"
        self._lock = threading.Lock()
        self.files: dict[str, bytes] = {}
        self.directories: set[str] = set()
        self._blocks: dict[str, dict[str, bytes]] = {}

    def write(self, name: str, data: bytes) -> None:
        """Put a file there."""
        self.directories |= set(_above(name))
        self.files[name] = data

    def __call__(self, asked: Asked) -> Answer:
        """The answer to a request."""
        with self._lock:
            path, _, name = unquote(asked.path)[1:].partition("/")
            assert f"/{path}" == self._path
            if asked.query.get("comp") == "list":
                return self._list(asked.query)
            if asked.query.get("comp") == "blocklist" and asked.method == "GET":
                return self._list_blocks(name)
            return {"PUT": self._put, "GET": self._get, "HEAD": self._get, "DELETE": self._delete}[asked.method](
                name, asked
            )

    def _list(self, query: dict[str, str]) -> Answer:
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter")
        if any(name in self.files for name in _above(prefix)):
            return _error(409, "ResourceTypeMismatch")
        names = sorted([*self.files, *self.directories])
        items = [item for item in dict.fromkeys(self._item(name, prefix, delimiter) for name in names) if item]
        start, count = int(query.get("marker", 0)), int(query["maxresults"])
        more = f"<NextMarker>{start + count}</NextMarker>" if start + count < len(items) else "<NextMarker />"
        blobs = "".join(items[start : start + count])
        return Answer(body=f"<EnumerationResults><Blobs>{blobs}</Blobs>{more}</EnumerationResults>".encode())

    def _item(self, name: str, prefix: str, delimiter: str | None) -> str:
        """What a listing has of a name, if anything."""
        if not name.startswith(prefix) or name == prefix:
            return ""
        rest = name[len(prefix) :]
        if delimiter and "/" in rest:
            return f"<BlobPrefix><Name>{escape(prefix + rest.partition('/')[0])}/</Name></BlobPrefix>"
        kind = "file" if name in self.files else "directory"
        size = len(self.files.get(name, b""))
        properties = f"<Content-Length>{size}</Content-Length><ResourceType>{kind}</ResourceType>"
        shown = f'<Name Encoded="true">{quote(name)}</Name>' if "\n" in name else f"<Name>{escape(name)}</Name>"
        return f"<Blob>{shown}<Properties>{properties}</Properties></Blob>"

    def _list_blocks(self, name: str) -> Answer:
        blocks = "".join(f"<Block><Name>{block}</Name></Block>" for block in self._blocks.get(name, ()))
        lists = f"<UncommittedBlocks>{blocks}</UncommittedBlocks>"
        return Answer(body=f"<BlockList>{lists}</BlockList>".encode())

    def _put(self, name: str, asked: Asked) -> Answer:
        if asked.headers["content-md5"] != _md5(asked.body):
            return _error(400, "Md5Mismatch")
        if name in self.directories or any(above in self.files for above in _above(name)):
            return _error(409, "ResourceTypeMismatch")
        if asked.query.get("comp") == "block":
            self._blocks.setdefault(name, {})[asked.query["blockid"]] = asked.body
        elif asked.query.get("comp") == "blocklist":
            blocks = self._blocks.pop(name, {})
            self.write(name, b"".join(blocks[block.text or ""] for block in ElementTree.fromstring(asked.body)))
        else:
            self._blocks.pop(name, None)
            self.write(name, asked.body)
        return Answer(201)

    def _get(self, name: str, asked: Asked) -> Answer:
        if name in self.directories:
            return Answer(headers={"x-ms-meta-hdi_isfolder": "true", "x-ms-resource-type": "directory"})
        if name not in self.files:
            return _error(404, "BlobNotFound")
        data = self.files[name]
        headers = {"ETag": f'"{_md5(data)}"', "Content-MD5": _md5(data)}
        if "x-ms-range" not in asked.headers:
            return Answer(body=data, headers={**headers, "Content-Length": str(len(data))})
        first, _, last = asked.headers["x-ms-range"].removeprefix("bytes=").partition("-")
        part = data[int(first) : int(last) + 1 if last else None]
        headers |= {"Content-Range": f"bytes {first}-{int(first) + len(part) - 1}/{len(data)}"}
        return Answer(206, part, {**headers, "x-ms-blob-content-md5": headers.pop("Content-MD5")})

    def _delete(self, name: str, asked: Asked) -> Answer:
        if name in self.directories:
            if any(other.startswith(f"{name}/") for other in [*self.files, *self.directories]):
                return _error(409, "DirectoryIsNotEmpty")
            self.directories.remove(name)
        elif self.files.pop(name, None) is None and self._blocks.pop(name, None) is None:
            return _error(404, "BlobNotFound")
        return Answer(202)


def _above(name: str) -> Iterator[str]:
    """Names of the directories above a name."""
    parts = name.split("/")
    return ("/".join(parts[:end]) for end in range(1, len(parts)))


def _md5(data: bytes) -> str:
    return b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()


def _error(status: int, code: str) -> Answer:
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>Refused.\nRequestId:1</Message></Error>"
    return Answer(status, body.encode(), {"x-ms-error-code": code})
