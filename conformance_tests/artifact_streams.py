"""Sections of the artifact suite: large files, faults, progress, many hands at once."""

from __future__ import annotations

import hashlib
import os
import threading
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from holdall.conformance_tests.artifact_base import ArtifactHarness, ArtifactSuite
from holdall.conformance_tests.artifact_basics import fill, put
from holdall.conformance_tests.support import refuses, requires
from holdall.stores import ArtifactStore, DataLoss, TemporarilyUnavailable
from holdall.stores.artifact_io import CHUNK_SIZE, ArtifactWriter, ByteSource, Digest, OpenedArtifact
from holdall.stores.transfers import TransferProgress

__all__ = ["ConcurrencyTests", "StreamTests"]

MEMORY_CEILING = 64 << 20
"""Bytes that Python may hold at most while a large file passes."""

PART_SIZE = 8 << 20
"""A usual part of multipart uploads; files about this size cross the boundary."""


class FaultySource:
    """A stream that hands out its bytes through a function, which may shorten, change or refuse them."""

    def __init__(self, inner: ByteSource, change: Callable[[int, bytes], bytes], position: int) -> None:
        self._inner, self._change, self._position = inner, change, position

    def read(self, size: int, /) -> bytes:
        data = self._inner.read(size) or b""
        changed = self._change(self._position, data)
        self._position += len(data)
        return changed

    def close(self) -> None:
        self._inner.close()


class FaultyWriter(ArtifactWriter):
    """A writer that changes what it is given on its way to the storage."""

    def __init__(self, inner: ArtifactWriter, change: Callable[[bytes], bytes]) -> None:
        self._inner, self._change = inner, change

    def write(self, data: bytes | memoryview) -> None:
        self._inner.write(self._change(bytes(data)))

    def commit(self, expected: Digest) -> None:
        self._inner.commit(expected)

    def abort(self) -> None:
        self._inner.abort()


def cut(at: int) -> Callable[[int, bytes], bytes]:
    """The connection ends after `at` bytes, without an error."""
    return lambda position, data: data[: max(0, at - position)]


def break_off(position: int, data: bytes) -> bytes:
    """The connection fails after the first bytes."""
    if position:
        raise TemporarilyUnavailable("The connection was reset.")
    return data


def flip(at: int) -> Callable[[int, bytes], bytes]:
    """One byte arrives changed."""

    def change(position: int, data: bytes) -> bytes:
        index = at - position
        return data if not 0 <= index < len(data) else data[:index] + bytes([data[index] ^ 1]) + data[index + 1 :]

    return change


def read_with(fault: Callable[[int, bytes], bytes], store: ArtifactStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on all that the store reads passes through `fault`."""
    genuine = store._open_reader

    def faulty(path: str, offset: int = 0, length: int | None = None) -> OpenedArtifact:
        opened = genuine(path, offset, length)
        return replace(opened, stream=FaultySource(opened.stream, fault, offset))

    monkeypatch.setattr(store, "_open_reader", faulty)


def write_with(fault: Callable[[bytes], bytes], store: ArtifactStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on all that the store writes passes through `fault`."""
    genuine = store._open_writer
    monkeypatch.setattr(store, "_open_writer", lambda path, size: FaultyWriter(genuine(path, size), fault))


def everything(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*"))


class StreamTests(ArtifactSuite):
    """Files of any size pass whole and verified, in little memory, or not at all."""

    @pytest.mark.parametrize(
        "size", [0, 1, CHUNK_SIZE - 1, CHUNK_SIZE, CHUNK_SIZE + 1, PART_SIZE - 1, PART_SIZE, PART_SIZE + 1]
    )
    def test_move_file_about_the_size_of_a_part_keeps_every_byte(
        self, store: ArtifactStore, harness: ArtifactHarness, local: Path, size: int
    ) -> None:
        """Sizes about those of chunks and parts are no special case, up or down."""
        data = hashlib.shake_128(str(size).encode()).digest(size)
        (local / "file").write_bytes(data)
        store.log_artifact(local / "file")
        assert harness.raw_read("file") == data
        assert store.download_artifacts("file", local / "dst").read_bytes() == data

    def test_move_big_file_stays_under_memory_ceiling(self, store: ArtifactStore, local: Path) -> None:
        """A big (sparse) file passes up and down in bounded memory.

        Usual cause of failure: a file, or all of its parts, is held in memory.
        """
        source = local / "big"
        with source.open("wb") as file:
            file.truncate(self.big_file_size)
        tracemalloc.start()
        try:
            store.log_artifact(source)
            target = store.download_artifacts("big", local / "dst")
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < min(MEMORY_CEILING, self.big_file_size)
        assert store.stat("big").file_size == self.big_file_size == target.stat().st_size

    @pytest.mark.parametrize("kept", [0, 1, CHUNK_SIZE, 3 * CHUNK_SIZE - 1])
    def test_cut_download_leaves_no_file(
        self, store: ArtifactStore, harness: ArtifactHarness, local: Path, monkeypatch: pytest.MonkeyPatch, kept: int
    ) -> None:
        """A connection that ends early is `DataLoss`; no short file is at the final name (mlflow#8104).

        Usual cause of failure: `_open_reader` announces the bytes it got rather than those the service promised.
        """
        harness.raw_write("d/file", b"x" * (3 * CHUNK_SIZE))
        read_with(cut(kept), store, monkeypatch)
        refuses(DataLoss, store.download_artifacts, "d/file", local)
        refuses(DataLoss, store.download_artifacts, "d", local)
        assert [path.name for path in everything(local)] == ["d"]
        with store.open("d/file") as reader, pytest.raises(DataLoss):
            reader.read()
        refuses(DataLoss, store.digest, "d/file")

    def test_cut_download_keeps_the_old_local_file(
        self, store: ArtifactStore, harness: ArtifactHarness, local: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A file that was there before is still the old one after a failed download."""
        harness.raw_write("file", b"x" * (3 * CHUNK_SIZE))
        (local / "file").write_bytes(b"old")
        read_with(break_off, store, monkeypatch)
        refuses(TemporarilyUnavailable, store.download_artifacts, "file", local)
        assert [path.name for path in everything(local)] == ["file"]
        assert (local / "file").read_bytes() == b"old"

    def test_cut_download_without_destination_leaves_no_folder(
        self, store: ArtifactStore, harness: ArtifactHarness, local: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A temporary folder is removed if the download into it fails."""
        monkeypatch.setattr("tempfile.tempdir", str(local))
        harness.raw_write("file", b"x" * 1000)
        read_with(cut(10), store, monkeypatch)
        refuses(DataLoss, store.download_artifacts, "file")
        assert everything(local) == []

    @requires("native_digests")
    def test_flipped_byte_in_download_leaves_no_file(
        self, store: ArtifactStore, local: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Where the service keeps digests, a changed byte is `DataLoss`, in downloads and in readers."""
        put(store, "file", b"x" * (2 * CHUNK_SIZE))
        read_with(flip(CHUNK_SIZE + 7), store, monkeypatch)
        refuses(DataLoss, store.download_artifacts, "file", local)
        assert everything(local) == []
        with store.open("file") as reader, pytest.raises(DataLoss):
            reader.read()

    @pytest.mark.parametrize(
        "fault",
        [lambda data: data[:-1], lambda data: b"?" + data[1:], lambda data: data + b"!"],
        ids=["lost", "flipped", "added"],
    )
    def test_upload_that_arrives_changed_leaves_no_file(
        self,
        store: ArtifactStore,
        harness: ArtifactHarness,
        local: Path,
        monkeypatch: pytest.MonkeyPatch,
        fault: Callable[[bytes], bytes],
    ) -> None:
        """Bytes lost, changed or added between sender and storage are `DataLoss`; the old file stays.

        Usual cause of failure: `ArtifactWriter.commit` does not compare what arrived with the expected digest.
        """
        harness.raw_write("old", b"old")
        (local / "new").write_bytes(b"x" * (2 * CHUNK_SIZE + 5))
        (local / "old").write_bytes(b"y" * 100)
        write_with(fault, store, monkeypatch)
        refuses(DataLoss, store.log_artifact, local / "new")
        refuses(DataLoss, store.log_artifact, local / "old")
        upload = store.open("third", "wb")
        upload.write(b"z")
        refuses(DataLoss, upload.close)
        assert upload.closed
        assert harness.raw_list() == {"old"}
        assert harness.raw_read("old") == b"old"

    @pytest.mark.parametrize("size", [CHUNK_SIZE, 2 * CHUNK_SIZE, 4 * CHUNK_SIZE], ids=["shrunk", "touched", "grown"])
    def test_source_that_changes_during_upload_leaves_no_file(
        self, store: ArtifactStore, harness: ArtifactHarness, local: Path, size: int
    ) -> None:
        """A local file that changes while it is being copied is `DataLoss`: half old, half new is neither."""
        source = local / "file"
        source.write_bytes(b"x" * (2 * CHUNK_SIZE))
        os.utime(source, (1e9, 1e9))

        def disturb(progress: TransferProgress) -> None:
            if progress.bytes_done == CHUNK_SIZE:
                with source.open("r+b") as file:
                    file.truncate(size)
                    file.write(b"y")

        refuses(DataLoss, lambda: store.log_artifact(source, progress=disturb))
        assert harness.raw_list() == set()

    def test_report_progress_of_every_file_to_its_end(self, store: ArtifactStore, local: Path) -> None:
        """Progress grows to the size of the file and ends with one report that it is complete, both ways."""
        source = local / "src"
        source.mkdir()
        sizes = {"empty": 0, "small": 10, "large": 3 * CHUNK_SIZE + 1}
        for name, size in sizes.items():
            (source / name).write_bytes(b"x" * size)
        sent: list[TransferProgress] = []
        got: list[TransferProgress] = []
        store.log_artifacts(source, "d", progress=sent.append)
        store.download_artifacts("d", local / "dst", progress=got.append)
        for reports in (sent, got):
            assert {report.path for report in reports} == {f"d/{name}" for name in sizes}
            for name, size in sizes.items():
                own = [report for report in reports if report.path == f"d/{name}"]
                assert [report.bytes_done for report in own] == sorted(report.bytes_done for report in own)
                assert {report.bytes_total for report in own} == {size}
                assert [report.complete for report in own] == [False] * (len(own) - 1) + [True]
                assert own[-1].bytes_done == size
            assert len([report for report in reports if report.path == "d/large"]) > 2

    def test_raise_in_progress_cancels_the_transfer(
        self, store: ArtifactStore, harness: ArtifactHarness, local: Path
    ) -> None:
        """An exception in the callback reaches the caller, and the file does not appear."""

        def stop(progress: TransferProgress) -> None:
            raise KeyboardInterrupt

        (local / "file").write_bytes(b"x" * (2 * CHUNK_SIZE))
        with pytest.raises(KeyboardInterrupt):
            store.log_artifact(local / "file", progress=stop)
        assert harness.raw_list() == set()


class ConcurrencyTests(ArtifactSuite):
    """Threads share a store, several stores share a place, and nobody sees half a file."""

    def test_share_store_between_threads_loses_nothing(self, store: ArtifactStore, harness: ArtifactHarness) -> None:
        """Threads write, read, list and delete through one store at once, each in its own folder.

        Usual cause of failure: a connection or a buffer that belongs to the store is used by two threads.
        """
        barrier = threading.Barrier(8)

        def work(worker: int) -> None:
            barrier.wait(30)
            kept: set[str] = set()
            for index in range(6):
                path = f"w{worker}/{index}"
                data = path.encode() * 1000
                put(store, path, data)
                with store.open(path) as reader:
                    assert reader.read() == data
                if index % 2:
                    kept.add(path)
                else:
                    store.delete_artifacts(path)
                assert {info.path for info in store.list_artifacts(f"w{worker}")} == kept

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(work, range(8)))
        assert harness.raw_list() == {f"w{worker}/{index}" for worker in range(8) for index in (1, 3, 5)}

    @requires("atomic_replace")
    def test_replace_file_under_readers_shows_whole_files_only(self, harness: ArtifactHarness) -> None:
        """While several writers replace one file, readers see one of their files, whole, and so does the end."""
        contents = [bytes([65 + writer]) * (CHUNK_SIZE + writer) for writer in range(4)]
        harness.raw_write("d/file", contents[0])
        seen: list[bytes] = []
        writing = threading.Event()

        def write(data: bytes) -> None:
            with harness.open() as store:
                for _ in range(5):
                    put(store, "d/file", data)

        def read() -> None:
            with harness.open(read_only=True) as store:
                while not writing.is_set():
                    with store.open("d/file") as reader:
                        seen.append(reader.read())

        with ThreadPoolExecutor(6) as pool:
            readers = [pool.submit(read) for _ in range(2)]
            try:
                list(pool.map(write, contents))
            finally:
                writing.set()
            for reader in readers:
                reader.result()
        assert set(seen) <= set(contents)
        assert harness.raw_read("d/file") in contents
        assert harness.raw_list() == {"d/file"}

    def test_write_into_folder_being_deleted_ends_whole_or_gone(
        self, store: ArtifactStore, harness: ArtifactHarness
    ) -> None:
        """Writers and deleters of one folder do not make each other fail, and no file is left short."""
        data = b"x" * 1000

        def write(index: int) -> None:
            for _ in range(10):
                put(store, f"d/e/{index}", data)

        def delete(index: int) -> None:
            for _ in range(10):
                store.delete_artifacts("d")

        with ThreadPoolExecutor(4) as pool:
            jobs = [pool.submit(job, index) for index in range(2) for job in (write, delete)]
            for job in jobs:
                job.result()
        assert harness.raw_list() <= {"d/e/0", "d/e/1"}
        assert all(harness.raw_read(path) == data for path in harness.raw_list())

    def test_open_two_places_keeps_them_apart(self, harness: ArtifactHarness) -> None:
        """Two stores of one kind in one process do not share state: what is written to one is not in the other."""
        other = harness.another()
        try:
            with harness.open() as one, other.open() as two:
                put(one, "file", b"one")
                put(two, "file", b"two")
                two.delete_artifacts("missing")
                assert (harness.raw_read("file"), other.raw_read("file")) == (b"one", b"two")
                two.delete_artifacts()
                assert one.exists("file")
        finally:
            other.remove()

    def test_fail_in_one_file_of_a_folder_stops_and_is_raised(
        self, store: ArtifactStore, harness: ArtifactHarness, local: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The first error of a parallel transfer reaches the caller; what appeared until then is whole."""
        fill(harness, *(f"d/{index}" for index in range(30)))
        genuine = store._open_reader

        def faulty(path: str, offset: int = 0, length: int | None = None) -> OpenedArtifact:
            if path == "d/7":
                raise TemporarilyUnavailable("The server is being restarted.")
            return genuine(path, offset, length)

        monkeypatch.setattr(store, "_open_reader", faulty)
        refuses(TemporarilyUnavailable, store.download_artifacts, "d", local)
        found = {path.name: path.read_bytes() for path in (local / "d").iterdir()}
        assert found == {name: f"d/{name}".encode() for name in found}
        assert "7" not in found
