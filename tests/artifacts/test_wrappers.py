"""Artifact stores around an artifact store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from holdall.stores import ArtifactStore, ReadOnly, TemporarilyUnavailable, open_artifact_store
from holdall.stores.wrappers import FaultyArtifactStore, LatencyArtifactStore, ReadOnlyArtifactStore


@pytest.fixture
def inner(tmp_path: Path) -> Iterator[ArtifactStore]:
    with open_artifact_store(tmp_path / "root") as store:
        with store.open("a/old.txt", "wb") as file:
            file.write(b"old")
        yield store


def _fault(wanted: str) -> TemporarilyUnavailable:
    return TemporarilyUnavailable(f"planned fault of {wanted}")


def test_wrap_store_read_only_refuses_writes_and_reads_on(inner: ArtifactStore, tmp_path: Path) -> None:
    source = tmp_path / "new.txt"
    source.write_bytes(b"new")
    wrapped = ReadOnlyArtifactStore(inner)
    for write in (
        lambda: wrapped.log_artifact(source),
        lambda: wrapped.log_artifacts(tmp_path),
        lambda: wrapped.delete_artifacts("a"),
        lambda: wrapped.open("b", "wb"),
    ):
        with pytest.raises(ReadOnly):
            write()
    with wrapped.open("a/old.txt") as file:
        assert file.read() == b"old"
    assert [info.path for info in inner.walk()] == ["a", "a/old.txt"]


def test_wrap_store_with_latency_waits_before_each_operation(
    inner: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr("holdall.stores.wrappers.clock.sleep", waits.append)
    wrapped = LatencyArtifactStore(inner, 0.25)
    assert wrapped.exists("a/old.txt")
    wrapped.list_artifacts("a")
    assert waits == [0.25, 0.25]


def test_upload_with_fault_before_writing_leaves_the_old_file(inner: ArtifactStore, tmp_path: Path) -> None:
    source = tmp_path / "old.txt"
    source.write_bytes(b"newer")
    wrapped = FaultyArtifactStore(inner, before=lambda name, _: _fault(name) if name == "open_writer" else None)
    with pytest.raises(TemporarilyUnavailable):
        wrapped.log_artifact(source, "a")
    with inner.open("a/old.txt") as file:
        assert file.read() == b"old"


def test_delete_with_fault_after_it_loses_the_answer_only(inner: ArtifactStore) -> None:
    wrapped = FaultyArtifactStore(inner, after=lambda name, number: _fault(name) if number == 0 else None)
    with pytest.raises(TemporarilyUnavailable):
        wrapped.delete_artifacts("a")
    wrapped.delete_artifacts("a")
    assert list(inner.walk()) == []


def test_download_with_fault_leaves_nothing_behind(inner: ArtifactStore, tmp_path: Path) -> None:
    wrapped = FaultyArtifactStore(inner, before=lambda name, _: _fault(name) if name == "open_reader" else None)
    with pytest.raises(TemporarilyUnavailable):
        wrapped.download_artifacts("a/old.txt", tmp_path / "down")
    assert list((tmp_path / "down").iterdir()) == []
