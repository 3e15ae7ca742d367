"""A server of the tests that keeps to Google's documentation of the JSON API where no emulator at hand does.

Preconditions, generations, checksums of uploads, status queries of resumable uploads, deletion by composing, tokens;
and faults: requests that are refused, cut or damaged, answers that are lost.
"""

from __future__ import annotations

import json
import re
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast
from urllib.parse import parse_qsl, quote, unquote, urlsplit

__all__ = ["Answer", "Fault", "GcsServer", "Kept", "Seen", "crc32c", "refusal", "serving"]

STEP = 256 << 10
"""Bytes in multiples of which the service keeps what it has of an unfinished upload."""


def crc32c(data: bytes) -> str:
    """As the service writes it."""
    import google_crc32c

    return b64encode(cast(int, google_crc32c.value(data)).to_bytes(4, "big")).decode()


@dataclass
class Kept:
    """An object."""

    data: bytes
    generation: int
    metadata: dict[str, Any] = field(default_factory=dict)
    created: datetime = field(default_factory=lambda: datetime.now(UTC))


@dataclass
class Session:
    """A resumable upload that is not finished."""

    key: str
    data: bytes = b""


@dataclass
class Seen:
    """A request that came in."""

    method: str
    path: str
    query: dict[str, str]
    headers: Mapping[str, str]
    body: bytes

    @property
    def range(self) -> str:
        """Of a piece of an upload."""
        return self.headers.get("content-range", "")


@dataclass
class Answer:
    """What is answered."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


class Refused(Exception):
    """Ends a request with an answer of Google's form for errors."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        body = {"error": {"code": status, "message": message, "errors": [{"reason": reason, "message": message}]}}
        self.answer = Answer(status, json.dumps(body).encode(), {"Content-Type": "application/json"})


@dataclass
class Fault:
    """What goes wrong with the requests that match, as many times as it says.

    Attributes:
        matches: Which requests.
        times: How many of them.
        answer: Given instead of doing what was asked.
        lose_answer: Do it, and close the connection instead of answering.
        cut: Bytes of the body after which the connection breaks.
        change: What becomes of the body on its way.
        before: Called first; another client may come in between.
    """

    matches: Callable[[Seen], bool]
    times: int = 1
    answer: Answer | None = None
    lose_answer: bool = False
    cut: int | None = None
    change: Callable[[bytes], bytes] | None = None
    before: Callable[[], object] | None = None


def refusal(status: int, reason: str, message: str = "no") -> Answer:
    """An answer of Google's form for errors."""
    return Refused(status, reason, message).answer


class GcsServer:
    """The state of the service: one bucket, `bucket`.

    Attributes:
        objects: By key.
        sessions: Unfinished resumable uploads, by id.
        finished: What the last piece of each of the others was answered with.
        seen: All requests, in order.
        faults: Planned ones.
        tokens: That are accepted; None for all, and none.
        issued: Tokens given out so far.
        deletes_sources: Whether composing deletes, as Google's does since 2026.
        ends_on_status: Whether a status query ends an upload, as that of fake-gcs-server does.
        change_composed: What becomes of composed bytes.
        listing: Answered to all listings instead.
    """

    def __init__(self) -> None:
        self.objects: dict[str, Kept] = {}
        self.sessions: dict[str, Session] = {}
        self.finished: dict[str, Answer] = {}
        self.seen: list[Seen] = []
        self.faults: list[Fault] = []
        self.tokens: set[str] | None = None
        self.issued: list[str] = []
        self.deletes_sources = True
        self.ends_on_status = False
        self.change_composed: Callable[[bytes], bytes] = lambda data: data
        self.listing: object = None
        self.lock = threading.RLock()
        self.port = 0
        self._generation = 1_700_000_000_000_000

    @property
    def url(self) -> str:
        """Origin."""
        return f"http://127.0.0.1:{self.port}"

    def requests(self, method: str, pattern: str = "") -> list[Seen]:
        """What came in, by method and a regular expression for the path and query."""
        return [
            seen
            for seen in self.seen
            if seen.method == method
            and re.search(pattern, f"{seen.path}?{'&'.join(map('='.join, seen.query.items()))}")
        ]

    def put(self, key: str, data: bytes, **metadata: Any) -> Kept:
        """Store an object."""
        with self.lock:
            self._generation += 1
            kept = Kept(data, self._generation, metadata)
            self.objects[key] = kept
            return kept

    # What requests do

    def handle(self, seen: Seen) -> Answer:
        """Do what a request asks for."""
        if seen.path == "/token":
            return self._issue_token()
        given = seen.headers.get("authorization", "").removeprefix("Bearer ")
        if self.tokens is not None and given not in self.tokens:
            raise Refused(401, "authError", "Invalid Credentials")
        upload, bucket, key, action = self._parse(seen.path)
        if bucket != "bucket":
            raise Refused(404, "notFound", "The specified bucket does not exist.")
        with self.lock:
            if upload:
                return self._upload(seen)
            if key is None:
                return self._list(seen)
            if action == "compose":
                return self._compose(key, seen)
            if seen.method == "DELETE":
                self._live(key, seen.query.get("generation"))
                del self.objects[key]
                return Answer(204)
            return self._get(key, seen)

    def _parse(self, path: str) -> tuple[bool, str, str | None, str]:
        found = re.fullmatch(r"(/upload)?/storage/v1/b/([^/]+)/o(?:/([^/]+)(?:/(\w+))?)?", path)
        if found is None:
            raise Refused(404, "notFound", "no such path")
        upload, bucket, key, action = found.groups()
        return bool(upload), unquote(bucket), None if key is None else unquote(key), action or ""

    def _issue_token(self) -> Answer:
        token = f"token-{len(self.issued)}"
        self.issued.append(token)
        body = {"access_token": token, "expires_in": 3600, "token_type": "Bearer"}
        return Answer(200, json.dumps(body).encode(), {"Content-Type": "application/json"})

    def _live(self, key: str, generation: str | None = None) -> Kept:
        kept = self.objects.get(key)
        if kept is None or generation not in (None, str(kept.generation)):
            raise Refused(404, "notFound", f"No such object: bucket/{key}")
        return kept

    def _require_generation(self, key: str, seen: Seen) -> None:
        wanted = seen.query.get("ifGenerationMatch")
        there = self.objects.get(key)
        if wanted is not None and wanted != str(there.generation if there else 0):
            raise Refused(412, "conditionNotMet", "At least one of the pre-conditions you specified did not hold.")

    def _store(self, key: str, data: bytes, checksum: str | None, seen: Seen, metadata: dict[str, Any]) -> Answer:
        if checksum is not None and checksum != crc32c(data):
            message = f'Provided CRC32C "{checksum}" doesn\'t match calculated CRC32C "{crc32c(data)}".'
            raise Refused(400, "invalid", message)
        self._require_generation(key, seen)
        return self._describe(key, self.put(key, data, **metadata))

    def _describe(self, key: str, kept: Kept) -> Answer:
        return Answer(200, json.dumps(_resource(key, kept)).encode(), {"Content-Type": "application/json"})

    def _get(self, key: str, seen: Seen) -> Answer:
        kept = self._live(key, seen.query.get("generation"))
        if seen.query.get("alt") != "media":
            return self._describe(key, kept)
        hashes = kept.metadata.get("hashes", f"crc32c={crc32c(kept.data)}")
        headers = {"X-Goog-Hash": hashes, "X-Goog-Generation": str(kept.generation)}
        if "contentEncoding" in kept.metadata:
            assert seen.headers.get("accept-encoding") == "gzip", "the service would unpack it"
            headers["Content-Encoding"] = kept.metadata["contentEncoding"]
        found = re.fullmatch(r"bytes=(\d+)-(\d*)", seen.headers.get("range", ""))
        if found is None:
            return Answer(200, kept.data, headers)
        start, last = int(found[1]), int(found[2] or len(kept.data))
        if start >= len(kept.data):
            return Answer(416, b"", {"Content-Range": f"bytes */{len(kept.data)}"})
        data = kept.data[start : last + 1]
        headers["Content-Range"] = f"bytes {start}-{start + len(data) - 1}/{len(kept.data)}"
        return Answer(206, data, headers)

    def _list(self, seen: Seen) -> Answer:
        if self.listing is not None:
            return Answer(200, json.dumps(self.listing).encode())
        prefix, delimiter = seen.query.get("prefix", ""), seen.query.get("delimiter")
        entries: dict[str, Kept | None] = {}
        for key in sorted(self.objects):
            rest = key[len(prefix) :]
            if key.startswith(prefix) and key > seen.query.get("pageToken", ""):
                grouped = delimiter is not None and delimiter in rest
                entries[prefix + rest.partition("/")[0] + "/" if grouped else key] = self.objects[key]
        shown = list(entries.items())[: int(seen.query["maxResults"])]
        answer: dict[str, Any] = {"kind": "storage#objects"}
        answer["items"] = [_resource(key, kept) for key, kept in shown if kept and not key.endswith("/")]
        answer["prefixes"] = [key for key, _ in shown if key.endswith("/")]
        if len(shown) < len(entries):
            last = shown[-1][0]
            answer["nextPageToken"] = last + "\U0010ffff" if last.endswith("/") else last
        return Answer(200, json.dumps(answer).encode())

    def _compose(self, key: str, seen: Seen) -> Answer:
        body = json.loads(seen.body)
        assert 1 <= len(body["sourceObjects"]) <= 32
        self._require_generation(key, seen)
        sources = [self._live(source["name"], source.get("generation")) for source in body["sourceObjects"]]
        kept = self.put(key, self.change_composed(b"".join(source.data for source in sources)), **body["destination"])
        if self.deletes_sources and body.get("deleteSourceObjects"):
            for source in body["sourceObjects"]:
                del self.objects[source["name"]]
        return self._describe(key, kept)

    def _upload(self, seen: Seen) -> Answer:
        if "upload_id" in seen.query:
            return self._continue(seen)
        hashed = re.search(r"crc32c=([^,]+)", seen.headers.get("x-goog-hash", ""))
        if seen.query["uploadType"] == "media":
            return self._store(seen.query["name"], seen.body, hashed[1] if hashed else None, seen, {})
        if seen.query["uploadType"] == "multipart":
            metadata, data = _split_multipart(seen)
            return self._store(metadata.pop("name"), data, metadata.pop("crc32c", None), seen, metadata)
        upload_id = f"session-{len(self.seen)}"
        self.sessions[upload_id] = Session(seen.query["name"])
        where = f"https://elsewhere.invalid{seen.path}?uploadType=resumable&upload_id={quote(upload_id)}"
        return Answer(200, b"", {"Location": where})

    def _continue(self, seen: Seen, *, broken: bool = False) -> Answer:
        upload_id = seen.query["upload_id"]
        if upload_id in self.finished and seen.method == "PUT":
            return self.finished[upload_id]
        session = self.sessions.get(upload_id)
        if session is None:
            raise Refused(410, "gone", "The upload is gone.")
        if seen.method == "DELETE":
            del self.sessions[upload_id]
            return Answer(499)
        found = re.fullmatch(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)", seen.range)
        assert found is not None, seen.range
        first, last, total = found.groups()
        if first is not None:
            assert int(first) <= len(session.data), "a gap"
            assert broken or int(last) - int(first) + 1 == len(seen.body), "not what the header says"
            assert total != "*" or len(seen.body) % STEP == 0 or broken, "a piece of a size that is refused"
            session.data = session.data[: int(first)] + seen.body
        if broken:
            session.data = session.data[: len(session.data) // STEP * STEP]
        if (str(len(session.data)) == total and not broken) or (first is None and self.ends_on_status):
            hashed = re.search(r"crc32c=([^,]+)", seen.headers.get("x-goog-hash", ""))
            answer = self._store(session.key, session.data, hashed[1] if hashed else None, seen, {})
            del self.sessions[upload_id]
            self.finished[upload_id] = answer
            return answer
        return Answer(308, b"", {"Range": f"bytes=0-{len(session.data) - 1}"} if session.data else {})

    def keep_cut_piece(self, seen: Seen) -> None:
        """Keep what came of a piece before its connection broke."""
        if "upload_id" in seen.query:
            with self.lock:
                self._continue(seen, broken=True)


def _resource(key: str, kept: Kept) -> dict[str, Any]:
    hashes = {} if "hashes" in kept.metadata else {"crc32c": crc32c(kept.data)}
    return {
        "name": key,
        "size": str(len(kept.data)),
        "generation": str(kept.generation),
        "timeCreated": kept.created.isoformat().replace("+00:00", "Z"),
        "contentType": kept.metadata.get("contentType", "application/octet-stream"),
        **hashes,
    }


def _split_multipart(seen: Seen) -> tuple[dict[str, Any], bytes]:
    boundary = seen.headers["content-type"].partition("boundary=")[2].encode()
    start, metadata, rest = seen.body.split(b"--" + boundary, 2)
    assert start == b""
    data, end, tail = rest.rpartition(b"\r\n--" + boundary)
    assert (end[:4], tail) == (b"\r\n--", b"--")
    return json.loads(metadata.partition(b"\r\n\r\n")[2]), data.partition(b"\r\n\r\n")[2]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state: GcsServer

    def log_message(self, format: str, *args: object) -> None:
        pass

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except ConnectionError:
            self.close_connection = True

    def _serve(self) -> None:
        parts = urlsplit(self.path)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        seen = Seen(self.command, parts.path, query, {name.lower(): value for name, value in self.headers.items()}, b"")
        with self.state.lock:
            self.state.seen.append(seen)
            fault = next((fault for fault in self.state.faults if fault.times and fault.matches(seen)), None)
            if fault is not None:
                fault.times -= 1
        size = int(self.headers.get("Content-Length") or 0)
        seen.body = self.rfile.read(size if fault is None or fault.cut is None else min(size, fault.cut))
        answer = self._answer(seen, fault)
        if answer is None:
            self.close_connection = True
            return
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if answer.status != 204:
            self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body)

    def _answer(self, seen: Seen, fault: Fault | None) -> Answer | None:
        """What to answer; None to close the connection."""
        if fault is not None:
            if fault.before is not None:
                fault.before()
            if fault.cut is not None:
                self.state.keep_cut_piece(seen)
                return None
            if fault.answer is not None:
                return fault.answer
            if fault.change is not None:
                seen.body = fault.change(seen.body)
        try:
            answer = self.state.handle(seen)
        except Refused as refused:
            answer = refused.answer
        return None if fault is not None and fault.lose_answer else answer

    do_DELETE = do_GET = do_POST = do_PUT = _serve  # noqa: N815 - names of the library


@contextmanager
def serving() -> Iterator[GcsServer]:
    """A server on a free port."""
    state = GcsServer()
    handler = type("Handler", (_Handler,), {"state": state})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        state.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield state
        finally:
            server.shutdown()
            thread.join()
