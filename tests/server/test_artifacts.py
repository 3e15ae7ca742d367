"""Artifacts through the server: whole files or none, ranges, what browsers may do with them, what is never opened."""

from __future__ import annotations

import asyncio
import hashlib
import http.client
import os
import socket
import time
import urllib.request
from base64 import b64encode
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import closing
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote, urlencode

import pytest
from tests.artifacts.emulated import storage_server
from tests.server.live import LiveServer, Reply, live_server

from holdall.conformance_tests.emulators.harness import EmulatorHarness
from holdall.server.application import Application
from holdall.server.endpoints import all_routes
from holdall.server.options import ServerOptions
from holdall.server.routes import Route
from holdall.stores.atomic_file import PRIVATE_PREFIX

pytestmark = pytest.mark.extras

ROUTE = "/api/2.0/mlflow-artifacts/artifacts"
BINARY = {"content-type": "application/octet-stream"}
DATA = bytes(range(256)) * 40


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """A server over a local folder."""
    with live_server(tmp_path_factory.mktemp("server")) as live:
        yield live


@pytest.fixture
def folder(server: LiveServer) -> Path:
    """Where it keeps artifacts."""
    return server.log.parent / "mlartifacts"


def put(server: LiveServer, path: str, data: bytes, **headers: str) -> Reply:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return server.ask("PUT", f"{ROUTE}/{quote(path)}", headers=sent, raw=data)


def get(server: LiveServer, path: str, method: str = "GET", **headers: str) -> Reply:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return server.ask(method, f"{ROUTE}/{quote(path)}", headers=sent)


def sha256(data: bytes) -> str:
    return f"sha-256=:{b64encode(hashlib.sha256(data).digest()).decode()}:"


def connected(server: LiveServer, method: str, path: str, headers: str = "", data: bytes = b"") -> socket.socket:
    """A connection on which a request has begun."""
    host, _, port = server.url.removeprefix("http://").partition(":")
    connection = socket.create_connection((host, int(port)), timeout=30)
    head = f"{method} {ROUTE}/{quote(path)} HTTP/1.1\r\nHost: {host}\r\n{headers}\r\n"
    try:
        connection.sendall(head.encode() + data)
    except OSError:
        connection.close()
        raise
    return connection


def wait_until(condition: Callable[[], bool], seconds: float = 20) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def unfinished(folder: Path) -> list[Path]:
    return list(folder.glob(f"{PRIVATE_PREFIX}*"))


def code(reply: Reply) -> tuple[int, object]:
    return reply.status, reply.json()["error_code"]


# Whole files


def test_put_file_and_get_it_keeps_name_and_bytes(server: LiveServer, folder: Path) -> None:
    path = "d/ü %20#?;+.bin"
    assert put(server, path, DATA).json() == {}
    assert (folder / path).read_bytes() == DATA
    reply = get(server, path)
    assert (reply.status, reply.body) == (200, DATA)
    assert reply.headers["content-length"] == str(len(DATA))
    head = get(server, path, "HEAD")
    assert (head.status, head.body, head.headers["content-length"]) == (200, b"", str(len(DATA)))


@pytest.mark.parametrize("size", [0, 1, (1 << 18) - 1, 1 << 18, (1 << 20) + 1, 5 << 20])
def test_put_file_of_any_size_keeps_every_byte(server: LiveServer, size: int) -> None:
    data = hashlib.shake_128(b"x").digest(size)
    put(server, f"sizes/{size}", data)
    assert get(server, f"sizes/{size}").body == data


def test_put_file_again_replaces_it_and_its_tag(server: LiveServer) -> None:
    put(server, "twice", b"a longer text")
    before = get(server, "twice").headers["etag"]
    put(server, "twice", b"short")
    reply = get(server, "twice")
    assert reply.body == b"short"
    assert reply.headers["etag"] != before


@pytest.mark.parametrize("framing", ["Content-Length: 3000000\r\n", "Transfer-Encoding: chunked\r\n"])
def test_break_off_upload_leaves_the_old_file_and_nothing_else(server: LiveServer, folder: Path, framing: str) -> None:
    put(server, "cut/old", b"old")
    part = b"x" * 2_000_000
    body = part if "Length" in framing else b"%x\r\n%b\r\n" % (len(part), part)
    for path in ("cut/old", "cut/new"):
        with closing(connected(server, "PUT", path, framing, body)):
            assert wait_until(lambda: bool(unfinished(folder)))
        assert wait_until(lambda: not unfinished(folder))
    assert get(server, "cut/old").body == b"old"
    assert get(server, "cut/new").status == 404


def test_fall_silent_in_upload_is_answered_and_leaves_nothing(tmp_path: Path) -> None:
    events = iter([{"type": "http.request", "body": b"x" * 2_000_000, "more_body": True}])

    async def receive() -> MutableMapping[str, Any]:
        for event in events:
            return event
        await asyncio.sleep(3600)
        raise AssertionError

    sent: list[MutableMapping[str, Any]] = []

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    async def upload() -> None:
        options = ServerOptions(
            f"sqlite:///{tmp_path / 'runs.db'}", artifacts_destination=str(tmp_path / "files"), body_timeout=0.2
        )
        application = Application(options)
        application.start()
        scope = {"type": "http", "method": "PUT", "path": f"{ROUTE}/file", "raw_path": b"", "query_string": b""}
        await application({**scope, "headers": [(b"host", b"127.0.0.1")], "client": None}, receive, send)
        application.stop()

    asyncio.run(upload())
    assert sent[0]["status"] == 408
    assert list((tmp_path / "files").iterdir()) == []


def test_file_that_shrinks_while_it_is_sent_cuts_the_connection(server: LiveServer, folder: Path) -> None:
    """A short body must not look whole."""
    size = 40 << 20
    put(server, "shrinking", b"x" * size)
    with closing(connected(server, "GET", "shrinking")) as connection:
        taken = len(connection.recv(1000))
        os.truncate(folder / "shrinking", 1 << 20)
        while piece := connection.recv(1 << 20):
            taken += len(piece)
    assert 1 << 20 < taken < size
    assert get(server, "shrinking").status == 200


def test_slow_readers_hold_neither_threads_nor_much_memory(server: LiveServer) -> None:
    put(server, "large", b"x" * (32 << 20))
    before = memory(server)
    readers = [connected(server, "GET", "large") for _ in range(60)]
    try:
        assert all(reader.recv(1000).startswith(b"HTTP/1.1 200") for reader in readers)
        for index in range(5):
            put(server, f"meanwhile/{index}", b"y" * 100_000)
            assert get(server, f"meanwhile/{index}").body == b"y" * 100_000
        assert memory(server) - before < 60 * (3 << 20)
    finally:
        for reader in readers:
            reader.close()


def memory(server: LiveServer) -> int:
    """Resident bytes of a server and its workers."""
    root = server.process.pid
    children = Path(f"/proc/{root}/task/{root}/children").read_text().split()
    pages = [int(Path(f"/proc/{process}/statm").read_text().split()[1]) for process in [str(root), *children]]
    return sum(pages) * os.sysconf("SC_PAGE_SIZE")


# Digests


def test_put_file_with_its_digest_confirms_it(server: LiveServer) -> None:
    for name in ("Repr_Digest", "Content_Digest"):
        assert put(server, "digest", DATA, **{name: sha256(DATA)}).headers["repr-digest"] == sha256(DATA)
    assert get(server, "digest").body == DATA


@pytest.mark.parametrize("digest", [sha256(b"other"), f"unknown=:AAAA:, {sha256(b'other')}"])
def test_put_file_with_another_digest_stores_nothing(server: LiveServer, folder: Path, digest: str) -> None:
    reply = put(server, "damaged", DATA, Repr_Digest=digest)
    assert code(reply) == (400, "DATA_LOSS")
    assert get(server, "damaged").status == 404
    assert unfinished(folder) == []


@pytest.mark.parametrize("digest", ["nonsense", "sha-256=AAAA", "unixsum=:AAAA:", "sha-256=:A:"])
def test_put_file_with_unknown_digest_is_stored_unconfirmed(server: LiveServer, digest: str) -> None:
    reply = put(server, "unknown digest", DATA, Repr_Digest=digest)
    assert reply.status == 200
    assert "repr-digest" not in reply.headers


@pytest.mark.parametrize(("digest", "status"), [(sha256(b"hello"), b"200"), (sha256(b"other"), b"400")])
def test_put_file_with_digest_after_it_is_verified(server: LiveServer, digest: str, status: bytes) -> None:
    path = f"trailer {status.decode()}"
    headers = "Transfer-Encoding: chunked\r\nTrailer: Repr-Digest\r\n"
    body = f"5\r\nhello\r\n0\r\nRepr-Digest: {digest}\r\n\r\n".encode()
    with closing(connected(server, "PUT", path, headers, body)) as connection:
        assert connection.recv(1000).split()[1] == status
    assert get(server, path).status == (200 if status == b"200" else 404)


# Ranges


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [("0-0", 0, 1), ("5-", 5, 10), ("2-5", 2, 6), ("2-500", 2, 10), ("-3", 7, 10), ("-50", 0, 10), ("0-", 0, 10)],
)
def test_get_range_sends_just_that(server: LiveServer, asked: str, start: int, stop: int) -> None:
    put(server, "range", b"0123456789")
    reply = get(server, "range", Range=f"bytes={asked}")
    assert (reply.status, reply.body) == (206, b"0123456789"[start:stop])
    assert reply.headers["content-range"] == f"bytes {start}-{stop - 1}/10"
    assert reply.headers["content-length"] == str(stop - start)


@pytest.mark.parametrize("asked", ["bytes=10-", "bytes=10-20", "bytes=-0"])
def test_get_range_beyond_the_end_is_refused(server: LiveServer, asked: str) -> None:
    put(server, "range", b"0123456789")
    reply = get(server, "range", Range=asked)
    assert (reply.status, reply.body, reply.headers["content-range"]) == (416, b"", "bytes */10")


@pytest.mark.parametrize("asked", ["bytes=5-2", "bytes=0-1,3-4", "lines=1-2", "bytes=a-", "bytes=-", "bytes"])
def test_get_malformed_range_sends_the_whole_file(server: LiveServer, asked: str) -> None:
    put(server, "range", b"0123456789")
    assert get(server, "range", Range=asked).body == b"0123456789"


def test_get_range_of_a_file_that_was_replaced_sends_the_new_one(server: LiveServer) -> None:
    put(server, "changing", b"0123456789")
    tag = get(server, "changing").headers["etag"]
    assert get(server, "changing", Range="bytes=5-", If_Range=tag).body == b"56789"
    put(server, "changing", b"abcdefghij")
    assert get(server, "changing", Range="bytes=5-", If_Range=tag).body == b"abcdefghij"


def test_get_range_in_a_large_file_starts_there(server: LiveServer) -> None:
    data = hashlib.shake_128(b"y").digest(3 << 20)
    put(server, "large range", data)
    assert get(server, "large range", Range=f"bytes={(1 << 20) + 7}-").body == data[(1 << 20) + 7 :]


# Browsers


@pytest.mark.parametrize(
    ("name", "kind", "sandboxed"),
    [
        ("page.html", "text/html; charset=utf-8", True),
        ("plot.svg", "application/octet-stream", True),
        ("script.js", "text/plain; charset=utf-8", False),
        ("doc.xhtml", "application/octet-stream", True),
        ("plot.png", "image/png", False),
        ("MLmodel", "text/plain; charset=utf-8", False),
        ("conf.yaml", "text/plain; charset=utf-8", False),
        ("data.json", "text/plain; charset=utf-8", False),
        ("model.pkl", "application/octet-stream", True),
        ("archive.svgz", "application/octet-stream", True),
    ],
)
def test_get_file_tells_browsers_to_run_nothing(server: LiveServer, name: str, kind: str, sandboxed: bool) -> None:
    put(server, f"browser/{name}", b"<script>alert(1)</script>")
    for method in ("GET", "HEAD"):
        headers = get(server, f"browser/{name}", method).headers
        assert headers["content-type"] == kind
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["content-disposition"] == f'attachment; filename="{name}"'
        assert ("sandbox" in headers.get("content-security-policy", "")) == sandboxed


@pytest.mark.parametrize("name", ['a"; filename=evil.exe', "a\r\nSet-Cookie: x=1", "ü.txt", "100%.txt"])
def test_get_file_with_strange_name_keeps_headers_whole(server: LiveServer, name: str) -> None:
    put(server, f"browser/{name}", b"x")
    reply = get(server, f"browser/{name}")
    assert reply.status == 200
    assert "set-cookie" not in reply.headers
    assert reply.headers["content-disposition"].endswith(f"filename*=UTF-8''{quote(name, safe='')}")


# Listing and deleting


def test_list_folder_gives_names_relative_to_it(server: LiveServer) -> None:
    put(server, "list/b.txt", b"12345")
    put(server, "list/d/e", b"")
    for prefix in ("/api/2.0", "/api/3.0", "/ajax-api/2.0", "/ajax-api/3.0"):
        assert server.ask("GET", f"{prefix}/mlflow-artifacts/artifacts?path=list").json() == {
            "files": [{"path": "b.txt", "is_dir": False, "file_size": 5}, {"path": "d", "is_dir": True}]
        }
    assert server.ask("GET", f"{ROUTE}?path=list%2Fd").json() == {"files": [{"path": "e", "is_dir": False}]}
    assert {"path": "list", "is_dir": True} in cast("list[object]", server.ask("GET", ROUTE).json()["files"])


@pytest.mark.parametrize("path", ["list/b.txt", "missing", "list/b.txt/x"])
def test_list_file_or_missing_path_gives_nothing(server: LiveServer, path: str) -> None:
    put(server, "list/b.txt", b"12345")
    reply = server.ask("GET", f"{ROUTE}?{urlencode({'path': path})}")
    assert (reply.status, reply.json()) == (200, {})


def test_delete_folder_keeps_its_neighbour_and_may_be_repeated(server: LiveServer) -> None:
    for path in ("gone/a", "gone/b/c", "gone2"):
        put(server, path, b"x")
    for _ in range(2):
        assert get(server, "gone", "DELETE").json() == {}
    assert get(server, "gone/a").status == 404
    assert get(server, "gone2").status == 200


@pytest.mark.parametrize("method", ["DELETE", "PUT", "POST"])
def test_change_root_is_not_allowed(server: LiveServer, method: str) -> None:
    put(server, "kept", b"x")
    assert server.ask(method, ROUTE, raw=b"").status == 405
    assert server.ask(method, f"{ROUTE}/", raw=b"").status in (404, 405)
    assert get(server, "kept").status == 200


def test_ask_for_what_is_no_file_says_what_is_wrong(server: LiveServer) -> None:
    put(server, "kind/file", b"x")
    assert code(get(server, "kind/missing")) == (404, "RESOURCE_DOES_NOT_EXIST")
    assert code(get(server, "kind")) == (400, "INVALID_PARAMETER_VALUE")
    assert get(server, "kind", "HEAD").status == 400
    assert get(server, "missing", "HEAD").status == 404
    assert code(put(server, "kind", b"x")) == (400, "INVALID_PARAMETER_VALUE")
    assert code(put(server, "kind/file/below", b"x")) == (400, "INVALID_PARAMETER_VALUE")
    assert code(put(server, "kind/part", b"x", Content_Range="bytes 0-0/2")) == (400, "INVALID_PARAMETER_VALUE")


# Runs and models


@pytest.fixture
def run(server: LiveServer) -> str:
    """Id of a new run."""
    return new_run(server)


def new_run(server: LiveServer, location: str | None = None) -> str:
    body = {"name": os.urandom(8).hex(), **({"artifact_location": location} if location else {})}
    experiment = server.api("POST", "experiments/create", body)["experiment_id"]
    created = cast("dict[str, dict[str, str]]", server.api("POST", "runs/create", {"experiment_id": experiment})["run"])
    return created["info"]["run_id"]


def upload_small(server: LiveServer, run: str, path: str, data: bytes) -> Reply:
    query = urlencode({"run_uuid": run, "path": path})
    return server.ask("POST", f"/ajax-api/2.0/mlflow/upload-artifact?{query}", raw=data)


def test_move_files_of_a_run_by_its_id(server: LiveServer, run: str) -> None:
    assert upload_small(server, run, "d/ü.json", b"{}").status == 200
    listed = server.ask("GET", f"/api/2.0/mlflow/artifacts/list?run_id={run}&path=d").json()
    assert listed["files"] == [{"path": "d/ü.json", "is_dir": False, "file_size": 2}]
    assert str(listed["root_uri"]).startswith("mlflow-artifacts:/")
    for name in ("run_id", "run_uuid"):
        reply = server.ask("GET", f"/get-artifact?{urlencode({name: run, 'path': 'd/ü.json'})}")
        assert (reply.status, reply.body) == (200, b"{}")
    assert code(server.ask("GET", f"/get-artifact?run_id={run}&path=d")) == (400, "INVALID_PARAMETER_VALUE")
    assert code(server.ask("GET", f"/get-artifact?run_id={run}&path=no")) == (404, "RESOURCE_DOES_NOT_EXIST")
    assert code(server.ask("GET", "/get-artifact?run_id=none&path=d")) == (404, "RESOURCE_DOES_NOT_EXIST")
    assert server.ask("GET", f"/get-artifact?run_id={run}").status == 400


def test_upload_of_a_run_says_what_is_missing(server: LiveServer, run: str) -> None:
    for given, message in (({"path": "x"}, "Request must specify run_uuid."), ({"run_uuid": run}, "specify path.")):
        reply = server.ask("POST", f"/ajax-api/2.0/mlflow/upload-artifact?{urlencode(given)}", raw=b"x")
        assert reply.status == 400
        assert message in str(reply.json()["message"])
    assert "specify data." in str(upload_small(server, run, "x", b"").json()["message"])
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=60)
    with closing(connection):
        query = urlencode({"run_uuid": run, "path": "x"})
        connection.request("POST", f"/ajax-api/2.0/mlflow/upload-artifact?{query}", b"x" * ((10 << 20) + 1))
        answer = connection.getresponse()
        assert answer.status == 400
        assert b"Artifact size is too large. Max size is 10MB." in answer.read()
    assert "files" not in server.api("GET", f"artifacts/list?run_id={run}")


def test_move_files_of_a_logged_model_by_its_id(server: LiveServer) -> None:
    model = cast("dict[str, dict[str, str]]", server.api("POST", "logged-models", {"experiment_id": "0"})["model"])
    uri, model_id = model["info"]["artifact_uri"], model["info"]["model_id"]
    put(server, f"{uri.partition(':')[2].strip('/')}/MLmodel", b"flavors: {}")
    listed = server.api("GET", f"logged-models/{model_id}/artifacts/directories")
    assert listed["files"] == [{"path": "MLmodel", "is_dir": False, "file_size": 11}]
    files = f"/ajax-api/2.0/mlflow/logged-models/{model_id}/artifacts/files"
    assert server.ask("GET", f"{files}?artifact_file_path=MLmodel").body == b"flavors: {}"


# What is never opened

TRICKS = [
    "../secret",
    "d/../../secret",
    "..",
    "/etc/passwd",
    "..\\secret",
    "\\\\host\\share",
    "C:\\secret",
    "C:secret",
    "./secret",
    "d/./secret",
    "secret\0",
]


def path_routes() -> list[Route]:
    """Every route that takes a path, of each only that of the first prefix."""
    taking = [
        route
        for route in all_routes()
        if ":path}" in route.path or any("path" in known.name for known in route.fields) or "upload" in route.path
    ]
    return [route for route in taking if "tag_key" not in route.path and "/3.0/" not in route.path]


def asked(server: LiveServer, route: Route, trick: str, run: str) -> list[Reply]:
    """The answers to requests with a trick in each place of a route that takes a path."""
    known = {"run_id": run, "run_uuid": run, "model_id": "m-1", "upload_id": "u", "num_parts": 1}
    known |= {"parts": [{"part_number": 1, "etag": "e"}]}
    plain = route.path.replace("{model_id}", "m-1")
    replies = []
    if ":path}" in plain:
        start = plain.partition("{")[0]
        body = known | {"path": "file"} if route.method == "POST" else None
        raw = b"x" if route.method == "PUT" else None
        replies.append(server.ask(route.method, start + quote(trick, safe=""), body, raw=raw))
        plain = start + "d"
    names = [known_.name for known_ in route.fields if "path" in known_.name] or ["path"]
    if ":path}" in route.path and route.method != "POST":
        return replies
    given = known | {names[0]: trick}
    if route.method == "POST" and route.serve is None:
        return [*replies, server.ask("POST", plain, given)]
    raw = b"x" if route.method == "POST" else None
    texts = {name: value for name, value in given.items() if isinstance(value, str)}
    return [*replies, server.ask(route.method, f"{plain}?{urlencode(texts)}", raw=raw)]


@pytest.mark.parametrize("times", [1, 2, 3])
@pytest.mark.parametrize("route", path_routes(), ids=lambda route: f"{route.method} {route.path}")
def test_lead_out_by_a_path_is_refused_on_every_route(
    server: LiveServer, folder: Path, run: str, route: Route, times: int
) -> None:
    """CVE-2023-6831, CVE-2024-1558 and their kin: `..` and the like, encoded once, twice, three times."""
    (server.log.parent / "secret").write_bytes(b"secret")
    put(server, "d/file", b"x")
    for trick in TRICKS:
        for _ in range(times - 1):
            trick = quote(trick, safe="")
        if "mpu" in route.path and "/" in trick:
            continue  # of the path that a file has at the client, only the name counts
        for reply in asked(server, route, trick, run):
            assert reply.status in (400, 404) if "m-1" in str(reply.body) else reply.status == 400, (trick, reply)
            assert b"secret\n" not in reply.body
    assert (server.log.parent / "secret").read_bytes() == b"secret"
    assert (folder / "d" / "file").exists()


@pytest.mark.parametrize("form", ["{path}", "file://{path}", "file://localhost{path}", "{root}-similar"])
def test_use_run_outside_of_the_roots_opens_nothing(
    server: LiveServer, folder: Path, tmp_path: Path, form: str
) -> None:
    location = form.format(path=tmp_path, root=folder)
    run = new_run(server, location)
    place = Path(location.removeprefix("file://").removeprefix("localhost")) / run / "artifacts"
    place.mkdir(parents=True)
    (place / "secret").write_bytes(b"secret")
    body = {"run_id": run, "path": "secret"}
    replies = [
        server.ask("GET", f"/get-artifact?run_id={run}&path=secret"),
        server.ask("HEAD", f"/get-artifact?run_id={run}&path=secret"),
        server.ask("GET", f"/api/2.0/mlflow/artifacts/list?run_id={run}"),
        upload_small(server, run, "new", b"x"),
        server.ask("POST", "/api/2.0/mlflow/artifacts/presigned-download-url", body),
        server.ask("POST", "/api/2.0/mlflow/artifacts/presigned-upload-url", body),
    ]
    assert [reply.status for reply in replies] == [403] * len(replies)
    assert all(b"outside the roots" in reply.body for reply in replies if reply.body)
    assert [file.name for file in place.iterdir()] == ["secret"]


def test_use_link_that_leads_out_is_refused(server: LiveServer, folder: Path, tmp_path: Path) -> None:
    """mlflow#18964."""
    put(server, "links/file", b"x")
    (tmp_path / "secret").write_bytes(b"secret")
    (folder / "links" / "out").symlink_to(tmp_path)
    for method in ("GET", "PUT", "DELETE"):
        reply = server.ask(method, f"{ROUTE}/links/out/secret", raw=b"x" if method == "PUT" else None)
        assert code(reply) == (400, "INVALID_PARAMETER_VALUE")
    assert (tmp_path / "secret").read_bytes() == b"secret"


# Servers of other kinds


def test_serve_no_artifacts_refuses_to_move_them_and_shows_those_of_runs(tmp_path: Path) -> None:
    root = tmp_path / "root"
    with live_server(tmp_path, "--no-serve-artifacts", "--default-artifact-root", str(root)) as server:
        run = new_run(server)
        for method, path in (("GET", "/x"), ("PUT", "/x"), ("DELETE", "/x"), ("GET", "?path=x"), ("HEAD", "/x")):
            reply = server.ask(method, ROUTE + path, raw=b"x" if method == "PUT" else None)
            assert reply.status == 501
            assert not reply.body or code(reply) == (501, "NOT_IMPLEMENTED")
        for action, more in (("create", {}), ("complete", {"upload_id": "u", "parts": [{"part_number": 1}]})):
            body = {"path": "file", **more}
            assert server.ask("POST", f"/api/2.0/mlflow-artifacts/mpu/{action}/d", body).status in (400, 501)
        assert upload_small(server, run, "d/file", b"data").status == 200
        assert [file.read_bytes() for file in root.rglob("file")] == [b"data"]
        assert server.ask("GET", f"/get-artifact?run_id={run}&path=d/file").body == b"data"
        listed = server.api("GET", f"artifacts/list?run_id={run}")
        assert listed["files"] == [{"path": "d", "is_dir": True}]


def test_serve_artifacts_only_refuses_everything_else(tmp_path: Path) -> None:
    with live_server(tmp_path, "--artifacts-only") as server:
        assert put(server, "d/file", DATA).status == 200
        assert get(server, "d/file").body == DATA
        for method, path in (("GET", "experiments/get?experiment_id=0"), ("POST", "runs/create"), ("POST", "nothing")):
            reply = server.ask(method, f"/api/2.0/mlflow/{path}", {} if method == "POST" else None)
            assert code(reply) == ((404, "ENDPOINT_NOT_FOUND") if path == "nothing" else (501, "NOT_IMPLEMENTED"))
        assert server.ask("GET", "/health").body == b"OK"
        assert server.ask("GET", "/version").status == 200


def test_serve_read_only_refuses_changes(tmp_path: Path) -> None:
    with live_server(tmp_path) as server:
        put(server, "file", DATA)
    with live_server(tmp_path, "--read-only") as server:
        assert get(server, "file").body == DATA
        assert put(server, "file", b"x").status == 403
        assert get(server, "file", "DELETE").status == 403
        assert get(server, "file").body == DATA


@pytest.fixture(scope="module")
def bucket() -> Iterator[EmulatorHarness]:
    """A place in S3."""
    harness = EmulatorHarness(storage_server("moto"))
    yield harness
    harness.remove()


@pytest.fixture(scope="module")
def server_over_bucket(bucket: EmulatorHarness, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """A server that keeps artifacts there."""
    destination = bucket.uri.render(hide_password=False)
    with live_server(tmp_path_factory.mktemp("server"), "--artifacts-destination", destination) as live:
        yield live


def test_multipart_without_support_says_so_as_clients_expect(server: LiveServer) -> None:
    reply = server.ask("POST", "/api/2.0/mlflow-artifacts/mpu/create/d", {"path": "f", "num_parts": 2})
    assert code(reply) == (501, "NOT_IMPLEMENTED")
    start = "Multipart upload is not supported for the current artifact repository"
    assert str(reply.json()["message"]).startswith(start)
    assert server.ask("GET", "/api/2.0/mlflow-artifacts/presigned/d/f").status == 501


def test_upload_in_parts_goes_to_the_storage_directly(server_over_bucket: LiveServer, bucket: EmulatorHarness) -> None:
    server, mpu = server_over_bucket, "/api/2.0/mlflow-artifacts/mpu"
    parts = [b"a" * (5 << 20), b"b" * 100]
    begun = server.ask("POST", f"{mpu}/create/mpu", {"path": "models/new/big ü.bin", "num_parts": 2}).json()
    sent = []
    for part, credential in zip(parts, cast("list[dict[str, str]]", begun["credentials"]), strict=True):
        request = urllib.request.Request(credential["url"], part, BINARY, method="PUT")
        with urllib.request.urlopen(request, timeout=30) as answer:
            sent.append({"part_number": credential["part_number"], "etag": answer.headers["ETag"]})
    body = {"path": "models/new/big ü.bin", "upload_id": begun["upload_id"]}
    assert bucket.raw_read("mpu/big ü.bin") is None
    for _ in range(2):
        assert server.ask("POST", f"{mpu}/complete/mpu", {**body, "parts": sent}).json() == {}
    assert bucket.raw_read("mpu/big ü.bin") == b"".join(parts)
    signed = server.ask("GET", f"/api/2.0/mlflow-artifacts/presigned/mpu/{quote('big ü.bin')}").json()
    assert signed["file_size"] == len(b"".join(parts))
    with urllib.request.urlopen(str(signed["url"]), timeout=30) as answer:
        assert answer.read() == b"".join(parts)
    other = server.ask("POST", f"{mpu}/create/mpu", {"path": "dropped", "num_parts": 1}).json()
    assert server.ask("POST", f"{mpu}/abort/mpu", {"path": "dropped", "upload_id": other["upload_id"]}).json() == {}
    assert bucket.raw_unfinished() == []


def test_presigned_urls_of_a_run_move_its_files(server_over_bucket: LiveServer, bucket: EmulatorHarness) -> None:
    server = server_over_bucket
    run = new_run(server)
    signed = server.api("POST", "artifacts/presigned-upload-url", {"run_id": run, "path": "d/file"})
    request = urllib.request.Request(str(signed["presigned_url"]), b"data", BINARY, method="PUT")
    with urllib.request.urlopen(request, timeout=30):
        pass
    assert [path for path in bucket.raw_list() if path.endswith(f"{run}/artifacts/d/file")]
    found = server.api("POST", "artifacts/presigned-download-url", {"run_id": run, "path": "d/file", "expiration": 60})
    assert found["file_size"] == 4
    with urllib.request.urlopen(str(found["presigned_url"]), timeout=30) as answer:
        assert answer.read() == b"data"


def test_get_file_from_bucket_has_its_digest_and_ranges(server_over_bucket: LiveServer) -> None:
    data = hashlib.shake_128(b"z").digest(1 << 20)
    put(server_over_bucket, "range", data)
    whole = get(server_over_bucket, "range")
    assert whole.body == data
    assert whole.headers["repr-digest"].startswith("crc32=:")
    part = get(server_over_bucket, "range", Range="bytes=1000-1999")
    assert (part.status, part.body) == (206, data[1000:2000])
    assert part.headers["etag"] == whole.headers["etag"]
