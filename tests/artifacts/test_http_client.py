"""`ProxiedArtifactStore` beyond the suite: addresses, credentials, servers that misbehave, memory."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.artifacts.scripted_server import Answer, Asked, ScriptedServer, scripted_server
from tests.server.live import live_server

import holdall
from holdall.artifacts.http.addresses import locate_artifacts
from holdall.connections import ArtifactStores, Connection
from holdall.defaults import Target
from holdall.stores import (
    ArtifactStore,
    DataLoss,
    FileInfo,
    HoldallError,
    InternalError,
    InvalidParameterValue,
    NotFound,
    PermissionDenied,
    StoreURI,
    TemporarilyUnavailable,
    Unauthenticated,
    Unsupported,
    open_artifact_store,
)
from holdall.stores.artifact_io import Digest
from holdall.stores.representation import digest_header, find_digest

pytestmark = pytest.mark.extras

ROUTE = "/api/2.0/mlflow-artifacts/artifacts"
LARGE = 9 << 20
"""Bytes of a file that is not sent in one piece."""


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing but the test says where a server is and who asks."""
    for name in ("URI", "USERNAME", "PASSWORD", "TOKEN"):
        monkeypatch.delenv(f"MLFLOW_TRACKING_{name}", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


def opened(server: ScriptedServer, path: str = "/root") -> ArtifactStore:
    return open_artifact_store(f"{server.url}{ROUTE}{path}?patience=1")


def put(store: ArtifactStore, path: str, data: bytes) -> None:
    with store.open(path, "wb") as upload:
        upload.write(data)


# Addresses


@pytest.mark.parametrize(
    ("uri", "tracking", "expected"),
    [
        ("mlflow-artifacts:/a/b", "http://h:5000", f"http://h:5000{ROUTE}/a/b"),
        ("mlflow-artifacts:///a/b/", "https://h", f"https://h{ROUTE}/a/b"),
        ("mlflow-artifacts:/a%20%23b", "http://h/prefix/", f"http://h/prefix{ROUTE}/a%20%23b"),
        ("mlflow-artifacts:/", "http://h", f"http://h{ROUTE}"),
        ("mlflow-artifacts:/a", "http://u:p@h?patience=3", f"http://u:p@h{ROUTE}/a?patience=3"),
        ("mlflow-artifacts://h/a", "http://u:p@h/prefix", f"http://u:p@h/prefix{ROUTE}/a"),
        ("mlflow-artifacts://other:80/a", "http://u:p@h", f"http://other:80{ROUTE}/a?credentials=none"),
        ("mlflow-artifacts://x:y@other/a", "http://u:p@h", f"http://x:y@other{ROUTE}/a?credentials=none"),
        (f"http://h{ROUTE}/a", "http://h:80", f"http://h{ROUTE}/a"),
        (f"http://evil{ROUTE}/a", "http://h", f"http://evil{ROUTE}/a?credentials=none"),
        (f"https://h{ROUTE}/a", "http://h", f"https://h{ROUTE}/a?credentials=none"),
        ("s3://bucket/a", "http://h", "s3://bucket/a"),
    ],
)
def test_locate_artifacts_of_tracking_server_gives_their_address(uri: str, tracking: str, expected: str) -> None:
    located = locate_artifacts(StoreURI.parse(uri), StoreURI.parse(tracking), {})
    assert located.render(hide_password=False) == expected


@pytest.mark.parametrize("tracking", [None, "sqlite:///runs.db"])
def test_locate_artifacts_without_tracking_server_says_what_to_set(tracking: str | None) -> None:
    known = None if tracking is None else StoreURI.parse(tracking)
    with pytest.raises(InvalidParameterValue, match="MLFLOW_TRACKING_URI"):
        locate_artifacts(StoreURI.parse("mlflow-artifacts:/a"), known, {})
    found = locate_artifacts(StoreURI.parse("mlflow-artifacts:/a"), known, {"MLFLOW_TRACKING_URI": "http://h"})
    assert str(found) == f"http://h{ROUTE}/a"


@pytest.mark.parametrize(
    "uri",
    [
        "http://h/some/where",
        f"http://h{ROUTE}x/a",
        "http://h/mlflow-artifacts/artifacts/a",
        f"http://h{ROUTE}/a?unknown=1",
        "mlflow-artifacts:/a",
        "mlflow-artifacts://:80/a",
    ],
)
def test_open_what_is_no_address_of_artifacts_is_refused(uri: str) -> None:
    with pytest.raises(InvalidParameterValue):
        open_artifact_store(uri)


def test_open_proxied_artifacts_goes_to_the_configured_server(monkeypatch: pytest.MonkeyPatch) -> None:
    with scripted_server(lambda asked: Answer(body=b"{}")) as server:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"{server.url}/prefix")
        with open_artifact_store("mlflow-artifacts:/0/run/artifacts") as store:
            assert store.list_artifacts("d e") == []
    assert (server.asked[0].path, server.asked[0].query) == (f"/prefix{ROUTE}", {"path": "0/run/artifacts/d e"})


def test_use_artifacts_of_a_run_on_a_server_as_any_user_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with live_server(tmp_path) as server:
        connection = Connection(Target.configured(server.url))
        run = connection.store.create_run("0")
        assert run.info.artifact_uri.startswith("mlflow-artifacts:/")
        with connection.artifacts.lend(connection.artifact_uri(run.info.run_id)) as artifacts:
            put(artifacts, "d/ü #?.txt", b"data")
            assert artifacts.list_artifacts("d") == [FileInfo("d/ü #?.txt", False, 4)]
            target = artifacts.download_artifacts("", tmp_path / "dst")
        connection.close()
        client = holdall.Client(server.url)
        assert [info.path for info in client.list_artifacts(run.info.run_id)] == ["d"]
    assert (target / "d" / "ü #?.txt").read_bytes() == b"data"


# Credentials


def test_send_credentials_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "me")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "secret")
    with (
        scripted_server(lambda asked: Answer(body=b"{}", headers=confirmed(asked))) as server,
        opened(server) as store,
    ):
        put(store, "small", b"x")
        store.list_artifacts()
    expected = f"Basic {b64encode(b'me:secret').decode()}"
    assert {asked.headers.get("authorization") for asked in server.asked} == {expected}


@pytest.mark.parametrize("form", ["mlflow-artifacts://{host}/a", "http://{host}" + ROUTE + "/a"])
def test_open_artifacts_on_another_host_sends_it_no_credentials(monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    """A run may name any host as the place of its artifacts."""
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "secret-token")
    with scripted_server(lambda asked: Answer(body=b"{}")) as other:
        stores = ArtifactStores(tracking=StoreURI.parse("http://me:secret@127.0.0.1:9"))
        with stores.lend(form.format(host=other.url.removeprefix("http://"))) as store:
            store.list_artifacts()
        stores.close()
    assert len(other.asked) == 1
    assert "authorization" not in other.asked[0].headers


def test_fail_with_credentials_never_shows_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "secret-token")
    refusal = json.dumps({"error_code": "PERMISSION_DENIED", "message": "no, secret-token"}).encode()
    with (
        scripted_server(lambda asked: Answer(403, refusal)) as server,
        opened(server) as store,
        pytest.raises(PermissionDenied) as caught,
    ):
        store.list_artifacts()
    assert "secret-token" not in str(caught.value)


def test_redirect_is_not_followed() -> None:
    answer = Answer(302, headers={"Location": "http://127.0.0.1:9/elsewhere"})
    with (
        scripted_server(lambda asked: answer) as server,
        opened(server) as store,
        pytest.raises(InvalidParameterValue, match="redirected"),
    ):
        store.list_artifacts()


# Servers that misbehave


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (Answer(401), Unauthenticated),
        (Answer(403), PermissionDenied),
        (Answer(404, b"<html>"), Unsupported),
        (Answer(500, b"<html>"), InternalError),
        (Answer(501, b'{"error_code": "NOT_IMPLEMENTED", "message": "no"}'), Unsupported),
        (Answer(503), TemporarilyUnavailable),
        (Answer(200, b"<html>"), InternalError),
        (Answer(200, b'{"files": 5}'), InternalError),
        (Answer(200, b'{"files": [{"path": 5}]}'), InternalError),
        (Answer(200, b'{"files": [{"path": "../x"}]}'), InvalidParameterValue),
        (Answer(hang_up=True), TemporarilyUnavailable),
    ],
    ids=lambda value: str(getattr(value, "status", value)),
)
def test_list_from_server_that_refuses_raises_its_error(answer: Answer, error: type[HoldallError]) -> None:
    with scripted_server(lambda asked: answer) as server, opened(server) as store, pytest.raises(error):
        store.list_artifacts()


@pytest.mark.parametrize("size", [1000, LARGE])
def test_upload_that_arrives_otherwise_is_data_loss(tmp_path: Path, size: int) -> None:
    (tmp_path / "file").write_bytes(b"x" * size)
    with scripted_server(wrong_digest) as server, opened(server) as store:
        server.reads_chunks = True
        with pytest.raises(DataLoss):
            store.log_artifact(tmp_path / "file")


@pytest.mark.parametrize("listed", [b"{}", b'{"files": [{"path": "file", "is_dir": false, "file_size": 3}]}'])
def test_upload_that_is_listed_short_is_data_loss(listed: bytes) -> None:
    with scripted_server(lambda asked: Answer(body=listed)) as server, opened(server) as store, pytest.raises(DataLoss):
        put(store, "file", b"1234")


def test_upload_that_is_refused_in_the_middle_raises_that_refusal(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * (64 << 20))
    refusal = b'{"error_code": "PERMISSION_DENIED", "message": "the quota is used up"}'
    with (
        scripted_server(lambda asked: Answer(403, refusal, {"Connection": "close"})) as server,
        opened(server) as store,
        pytest.raises((PermissionDenied, TemporarilyUnavailable)) as caught,
    ):
        store.log_artifact(tmp_path / "file")
    assert isinstance(caught.value, TemporarilyUnavailable) or "quota" in caught.value.message


def test_upload_tells_the_digest_before_small_and_after_large_files() -> None:
    with scripted_server(lambda asked: Answer(body=b"{}", headers=confirmed(asked))) as server, opened(server) as store:
        server.reads_chunks = True
        put(store, "small", b"x" * 1000)
        put(store, "large", b"x" * LARGE)
    small, large = server.asked
    assert small.headers["repr-digest"] == sha256(small.body) == sha256(b"x" * 1000)
    assert large.headers["repr-digest"] == sha256(large.body) == sha256(b"x" * LARGE)
    assert large.headers["trailer"] == "Repr-Digest"


@pytest.mark.parametrize("failures", [1, 3])
def test_upload_is_repeated_when_the_server_is_overloaded(tmp_path: Path, failures: int) -> None:
    (tmp_path / "file").write_bytes(b"x" * 1000)
    answers = [Answer(503)] * failures

    def answer(asked: Asked) -> Answer:
        return answers.pop() if answers else Answer(body=b"{}", headers=confirmed(asked))

    with scripted_server(answer) as server, opened(server) as store:
        store.log_artifact(tmp_path / "file")
    assert [asked.method for asked in server.asked] == ["PUT"] * (failures + 1)


def test_short_download_is_taken_up_where_it_broke_off(tmp_path: Path) -> None:
    data = hashlib.shake_128(b"x").digest(3 << 20)
    with scripted_server(broken_downloads(data, ranges=True)) as server, opened(server) as store:
        assert store.download_artifacts("file", tmp_path).read_bytes() == data
    assert "bytes=1000000-" in [asked.headers.get("range") for asked in server.asked]


def test_download_from_server_without_ranges_passes_over_what_it_has(tmp_path: Path) -> None:
    data = hashlib.shake_128(b"x").digest(3 << 20)
    with scripted_server(broken_downloads(data, ranges=False)) as server, opened(server) as store:
        assert store.download_artifacts("file", tmp_path).read_bytes() == data


def test_download_that_stays_short_leaves_no_file(tmp_path: Path) -> None:
    def answer(asked: Asked) -> Answer:
        if asked.method == "GET" and not asked.query:
            return Answer(body=b"x" * 10, headers={"Content-Length": "20", "Connection": "close"})
        return Answer(headers={"Content-Length": "20"})

    with (
        scripted_server(answer) as server,
        opened(server) as store,
        pytest.raises((DataLoss, TemporarilyUnavailable, InternalError)),
    ):
        store.download_artifacts("file", tmp_path / "dst")
    assert list((tmp_path / "dst").iterdir()) == []


def test_download_with_another_digest_leaves_no_file(tmp_path: Path) -> None:
    answer = Answer(body=b"data", headers={"Repr-Digest": sha256(b"other")})
    with scripted_server(lambda asked: answer) as server, opened(server) as store, pytest.raises(DataLoss):
        store.download_artifacts("file", tmp_path / "dst")
    assert list((tmp_path / "dst").iterdir()) == []


def test_open_missing_file_of_a_server_that_fails_for_it_is_not_found() -> None:
    """MLflow 2 answers 500 for files that are missing, and tells sizes in listings only."""

    def answer(asked: Asked) -> Answer:
        if asked.path != ROUTE:
            return Answer(500, b"<html>")
        return Answer(body=b'{"files": [{"path": "d", "is_dir": true}, {"path": "f", "is_dir": false}]}')

    with scripted_server(answer) as server, opened(server) as store:
        for path, error in (("missing", NotFound), ("d", InvalidParameterValue), ("f", InternalError)):
            with pytest.raises(error):
                store.open(path)
        assert store.stat("f") == FileInfo("f", False, 0)
        assert not store.exists("missing")


def sha256(data: bytes) -> str:
    return f"sha-256=:{b64encode(hashlib.sha256(data).digest()).decode()}:"


def confirmed(asked: Asked) -> dict[str, str]:
    """What a server of ours answers to an upload."""
    return {"Repr-Digest": sha256(asked.body)}


def wrong_digest(asked: Asked) -> Answer:
    return Answer(body=b"{}", headers={"Repr-Digest": sha256(b"other")})


def broken_downloads(data: bytes, *, ranges: bool) -> Callable[[Asked], Answer]:
    """The first download breaks off after a million bytes."""
    broken: list[bool] = []

    def answer(asked: Asked) -> Answer:
        whole = {"Content-Length": str(len(data)), "ETag": '"1"'}
        if asked.method == "HEAD":
            return Answer(headers=whole)
        if not broken:
            broken.append(True)
            return Answer(body=data[:1_000_000], headers={**whole, "Connection": "close"})
        start = int(asked.headers["range"].removeprefix("bytes=").removesuffix("-")) if ranges else 0
        if not start:
            return Answer(body=data, headers=whole)
        span = f"bytes {start}-{len(data) - 1}/{len(data)}"
        return Answer(206, data[start:], {"Content-Range": span, "ETag": '"1"'})

    return answer


# Digests in headers


@pytest.mark.parametrize("algorithm", ["sha256", "sha512", "md5", "crc32"])
def test_digest_in_header_is_found_again(algorithm: str) -> None:
    digest = Digest(algorithm, "00ff10ab", 5)
    header = digest_header(digest)
    assert header is not None
    assert find_digest(f"unixsum=:AAAA:, {header}") == (algorithm, "00ff10ab")


@pytest.mark.parametrize("header", ["", "x", "sha-256=abc", "sha-256=:=:", "sha-256=:AA", ",,,", "crc32c=:AAAA:"])
def test_header_without_usable_digest_gives_none(header: str) -> None:
    assert find_digest(header) is None


# Memory

LARGEST = 300 << 20

_MOVER = """
import sys
from pathlib import Path
from holdall.stores import open_artifact_store
with open_artifact_store(sys.argv[1]) as store:
    store.log_artifact(sys.argv[2])
    store.download_artifacts("big", sys.argv[3])
print(next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")).split()[1])
"""


def test_move_large_file_stays_small_at_both_ends(tmp_path: Path) -> None:
    source = tmp_path / "big"
    with source.open("wb") as file:
        file.truncate(LARGEST)
    with live_server(tmp_path) as server:
        command = [sys.executable, "-c", _MOVER, f"{server.url}{ROUTE}/d", str(source), str(tmp_path / "dst")]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
        root = server.process.pid
        processes = [str(root), *Path(f"/proc/{root}/task/{root}/children").read_text().split()]
        peaks = [peak(process) for process in processes]
    assert (tmp_path / "dst" / "big").stat().st_size == LARGEST
    assert int(done.stdout) << 10 < 150 << 20
    assert max(peaks) < 200 << 20


def peak(process: str) -> int:
    """Most bytes that a process has held."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) << 10
