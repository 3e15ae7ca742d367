"""Folders of small files on SFTP servers, which are moved in groups."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.artifacts.emulated import storage_server
from tests.backends.wire import Wire

from holdall.artifacts.sftp.session import Session
from holdall.artifacts.sftp.together import BYTES_AT_ONCE, FILES_AT_ONCE, SMALL, grouped
from holdall.stores import (
    ArtifactStore,
    DataLoss,
    InvalidParameterValue,
    NotFound,
    StoreURI,
    TemporarilyUnavailable,
    open_artifact_store,
)
from holdall.stores.transfers import TransferProgress

pytestmark = pytest.mark.extras

COUNT = 3 * FILES_AT_ONCE + 1


@pytest.fixture
def uri() -> StoreURI:
    return StoreURI.parse(storage_server("sshd").new_uri())


@pytest.fixture
def store(uri: StoreURI) -> Iterator[ArtifactStore]:
    """A store that was written to."""
    with open_artifact_store(uri) as store:
        with store.open("first", "wb") as upload:
            upload.write(b"1")
        yield store


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder with many small files, an empty and a large one."""
    folder = tmp_path / "src"
    folder.mkdir()
    for index in range(COUNT):
        (folder / f"{index:03}").write_bytes(f"{index}".encode() * index)
    (folder / "large").write_bytes(os.urandom(SMALL + 1))
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def root_of(store: ArtifactStore) -> Path:
    return Path(store.uri.path)


def test_group_files_loses_none_and_keeps_bounds() -> None:
    sizes = [*range(100), SMALL, SMALL + 1, *[SMALL] * 20, 10**9, 0]
    groups = list(grouped(sizes, lambda size: size))
    assert sorted(size for group in groups for size in group) == sorted(sizes)
    assert all(len(group) == 1 or (len(group) <= FILES_AT_ONCE and sum(group) <= BYTES_AT_ONCE) for group in groups)
    assert len(groups) < 20


def test_move_many_small_files_takes_few_round_trips(uri: StoreURI, source: Path, tmp_path: Path) -> None:
    server = storage_server("sshd")
    with Wire(server.port) as wire:
        through = StoreURI.parse(server.uri("x", port=wire.port))
        with open_artifact_store(replace(through, path=uri.path)) as store:
            store.log_artifact(source / "001", "warm")
            wire.round_trips = 0
            store.log_artifacts(source, "d")
            sent = wire.round_trips
            wire.round_trips = 0
            store.download_artifacts("d", tmp_path / "dst")
            fetched = wire.round_trips
    assert contents(tmp_path / "dst" / "d") == contents(source) == contents(Path(uri.path) / "d")
    assert sent < COUNT
    assert fetched < COUNT


def test_report_every_small_file(store: ArtifactStore, source: Path, tmp_path: Path) -> None:
    sent: list[TransferProgress] = []
    got: list[TransferProgress] = []
    store.log_artifacts(source, "d", progress=sent.append)
    store.download_artifacts("d", tmp_path / "dst", progress=got.append)
    for reports in (sent, got):
        assert sorted(report.path for report in reports if report.complete) == [
            f"d/{name}" for name in sorted(contents(source))
        ]
        assert all(report.bytes_done == report.bytes_total for report in reports if report.complete)


def test_upload_group_of_which_one_meets_a_folder_is_refused(store: ArtifactStore, source: Path) -> None:
    store.log_artifact(source / "large", "d/017")
    with pytest.raises(InvalidParameterValue, match="017"):
        store.log_artifacts(source, "d")
    found, expected = contents(root_of(store)), contents(source)
    assert found.pop("d/017/large") == expected["large"]
    assert found.pop("first") == b"1"
    assert found.items() <= {f"d/{name}": data for name, data in expected.items()}.items(), "unfinished files are left"


def test_upload_group_into_place_of_a_file_is_refused(store: ArtifactStore, source: Path) -> None:
    with pytest.raises(InvalidParameterValue):
        store.log_artifacts(source, "first")
    assert contents(root_of(store)) == {"first": b"1"}


def test_upload_group_of_which_one_is_being_written_to_is_data_loss(
    store: ArtifactStore, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is between looking at a file and reading it, half a file is not taken for one."""
    genuine = os.fstat

    def fstat(file: int) -> os.stat_result:
        status = genuine(file)
        if Path(f"/proc/self/fd/{file}").readlink() == source / "017":
            with (source / "017").open("ab") as growing:
                growing.write(b"more")
        return status

    monkeypatch.setattr(os, "fstat", fstat)
    with pytest.raises(DataLoss, match="017"):
        store.log_artifacts(source, "d")
    assert not (root_of(store) / "d" / "017").exists()
    assert all(path == "first" or path.startswith("d/") for path in contents(root_of(store)))


def test_upload_group_over_links_follows_those_that_stay_inside(store: ArtifactStore, source: Path) -> None:
    root = root_of(store)
    store.log_artifact(source / "large", "d")
    (root / "d" / "005").symlink_to("../first")
    store.log_artifacts(source, "d")
    assert (root / "d" / "005").is_symlink()
    assert (root / "first").read_bytes() == (source / "005").read_bytes()
    (root / "d" / "006").unlink()
    (root / "d" / "006").symlink_to("/etc/passwd")
    with pytest.raises(InvalidParameterValue, match="leads out"):
        store.log_artifacts(source, "d")


def test_upload_group_into_folder_that_was_deleted_makes_it_again(store: ArtifactStore, source: Path) -> None:
    root = root_of(store)
    for _ in range(2):
        store.log_artifacts(source, "d/e")
        assert contents(root / "d" / "e") == contents(source)
        (root / "d").rename(root / f"moved-{len(list(root.iterdir()))}")


@pytest.mark.parametrize("kind", [b"fsync@openssh.com", b"posix-rename@openssh.com", b".holdall%00"])
def test_upload_group_over_connection_that_breaks_arrives_whole(
    store: ArtifactStore, source: Path, monkeypatch: pytest.MonkeyPatch, kind: bytes
) -> None:
    genuine = Session.submit
    broken: list[bytes] = []

    def submit(session: Session, answers: object, requests: object) -> None:
        genuine(session, answers, requests)  # type: ignore[arg-type]
        if not broken and str(requests).count(repr(kind)[2:-1]) > 3:
            broken.append(kind)
            session.close()

    monkeypatch.setattr(Session, "submit", submit)
    store.log_artifacts(source, "d")
    assert broken
    assert contents(root_of(store) / "d") == contents(source)
    store.exists("d")
    assert [path for path in contents(root_of(store)) if "/" not in path] == ["first"], "unfinished files are left"


def test_download_group_over_connection_that_breaks_arrives_whole(
    store: ArtifactStore, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.log_artifacts(source, "d")
    genuine = Session.ask
    broken: list[int] = []

    def ask(session: Session, *requests: object) -> object:
        if not broken and len(requests) > 90:
            broken.append(len(requests))
            session.close()
        return genuine(session, *requests)  # type: ignore[arg-type]

    monkeypatch.setattr(Session, "ask", ask)
    store.download_artifacts("d", tmp_path / "dst")
    assert broken
    assert contents(tmp_path / "dst" / "d") == contents(source)


def test_download_group_of_which_one_is_gone_is_not_found(
    store: ArtifactStore, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.log_artifacts(source, "d")
    listed = store._list_below
    monkeypatch.setattr(store, "_list_below", lambda path: list(listed(path)))

    def list_and_remove(path: str) -> object:
        found = list(listed(path))
        (root_of(store) / "d" / "017").unlink()
        return found

    monkeypatch.setattr(store, "_list_below", list_and_remove)
    with pytest.raises(NotFound, match="017"):
        store.download_artifacts("d", tmp_path / "dst")
    assert contents(tmp_path / "dst" / "d").items() <= contents(source).items()


def test_download_group_with_links_and_pipes_takes_what_are_files(
    store: ArtifactStore, source: Path, tmp_path: Path
) -> None:
    store.log_artifacts(source, "d")
    folder = root_of(store) / "d"
    (folder / "link").symlink_to("017")
    (folder / "out").symlink_to("/etc/passwd")
    os.mkfifo(folder / "pipe")
    store.download_artifacts("d", tmp_path / "dst")
    assert contents(tmp_path / "dst" / "d") == {**contents(source), "link": (source / "017").read_bytes()}


def test_move_group_while_server_is_away_is_temporary(uri: StoreURI, source: Path) -> None:
    server = storage_server("sshd")
    with Wire(server.port) as wire:
        through = StoreURI.parse(server.uri("x", port=wire.port))
        through = replace(through, path=uri.path, query=(*through.query, ("patience", "0.3")))
        with open_artifact_store(through) as store:
            store.log_artifacts(source, "d")
            wire.refuse = True
            wire.cut()
            with pytest.raises(TemporarilyUnavailable):
                store.log_artifacts(source, "d")
