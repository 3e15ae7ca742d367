"""The transfer engine: parts, memory, order, failure, verification; on objects in memory."""

from __future__ import annotations

import io
import os
import signal
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest
from tests.artifacts.memory_objects import Bucket, MemoryObjectStore

from holdall.conformance_tests.artifacts import ArtifactHarness, ArtifactStoreSuite
from holdall.stores import (
    ArtifactStore,
    DataLoss,
    FileInfo,
    InternalError,
    InvalidParameterValue,
    StoreURI,
    TemporarilyUnavailable,
    TransferProgress,
)

KIB = 1 << 10


class MemoryHarness(ArtifactHarness):
    def __init__(self) -> None:
        self.uri = StoreURI.parse(f"memory-objects://b{os.urandom(8).hex()}/a b/ü")

    @property
    def bucket(self) -> Bucket:
        return MemoryObjectStore.buckets.setdefault(self.uri.host, Bucket())

    def open(self, *, read_only: bool = False) -> ArtifactStore:
        return MemoryObjectStore(self.uri, read_only=read_only)

    def another(self) -> MemoryHarness:
        return MemoryHarness()

    def raw_write(self, path: str, data: bytes) -> None:
        self.bucket.write(f"a b/ü/{path}", data)

    def raw_read(self, path: str) -> bytes | None:
        return self.bucket.objects.get(f"a b/ü/{path}")

    def raw_list(self) -> set[str]:
        return {key.removeprefix("a b/ü/") for key in self.bucket.objects}

    def remove(self) -> None:
        assert self.bucket.unfinished == []
        del MemoryObjectStore.buckets[self.uri.host]


class TestSuiteOnObjectsInMemory(ArtifactStoreSuite):
    exclusions: ClassVar = {"test_move_big_file_stays_under_memory_ceiling": "the files are kept in the same memory"}

    @pytest.fixture
    def harness(self) -> Iterator[MemoryHarness]:
        harness = MemoryHarness()
        yield harness
        harness.remove()


@pytest.fixture
def harness() -> Iterator[MemoryHarness]:
    harness = MemoryHarness()
    yield harness
    harness.remove()


@pytest.fixture
def bucket(harness: MemoryHarness) -> Bucket:
    return harness.bucket


@pytest.fixture
def store(harness: MemoryHarness) -> Iterator[MemoryObjectStore]:
    with MemoryObjectStore(harness.uri) as store:
        store._part_size = 64 * KIB
        yield store


def file_of(folder: Path, size: int, name: str = "file") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(os.urandom(size))
    return folder / name


def test_upload_large_file_sends_each_part_once_and_all_of_it(
    store: MemoryObjectStore, bucket: Bucket, tmp_path: Path
) -> None:
    source = file_of(tmp_path, 1000 * KIB + 7)
    store.log_artifact(source)
    assert bucket.objects["a b/ü/file"] == source.read_bytes()
    assert sorted(number for _, number, _ in bucket.sent) == list(range(1, 17))
    assert {size for _, number, size in bucket.sent if number < 16} == {64 * KIB}


def test_upload_file_of_one_part_needs_no_parts(store: MemoryObjectStore, bucket: Bucket, tmp_path: Path) -> None:
    store.log_artifact(file_of(tmp_path, 64 * KIB))
    assert bucket.sent == []


def test_upload_many_large_files_holds_few_parts(store: MemoryObjectStore, bucket: Bucket, tmp_path: Path) -> None:
    """Whatever is moved, the parts on their way are bounded over all files of the store."""
    lock, held, most = threading.Lock(), [0], [0]
    gate = threading.Barrier(store._parts.workers)

    def before(key: str, number: int) -> None:
        with lock:
            held[0] += 1
            most[0] = max(most[0], held[0])
        if number == 1:
            gate.wait(30)  # as many as there may be are at work at once
        with lock:
            held[0] -= 1

    for index in range(2 * store._parts.workers):
        file_of(tmp_path / "src", 300 * KIB, str(index))
    store._large_files = threading.BoundedSemaphore(store._parts.workers)
    bucket.before_part = before
    store.log_artifacts(tmp_path / "src")
    assert most[0] == store._parts.workers
    assert len(bucket.objects) == 2 * store._parts.workers


def test_upload_of_unknown_size_makes_later_parts_larger(
    store: MemoryObjectStore, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that the number of parts that a service allows is enough for any stream."""
    monkeypatch.setattr("holdall.artifacts.parts.PARTS_PER_SIZE", 4)
    data = os.urandom(64 * KIB * 4 + 128 * KIB * 4 + 256 * KIB + 5)
    with store.open("stream", "wb") as upload:
        for start in range(0, len(data), 1000):
            upload.write(data[start : start + 1000])
    assert bucket.objects["a b/ü/stream"] == data
    sizes = [size // KIB for _, _, size in sorted(bucket.sent, key=lambda sent: sent[1])]
    assert sizes == [64] * 4 + [128] * 4 + [256, 0]


def test_upload_too_large_for_its_parts_takes_larger_ones(
    store: MemoryObjectStore, bucket: Bucket, tmp_path: Path
) -> None:
    store._most_parts = 3
    store.log_artifact(file_of(tmp_path, 7000 * KIB))
    assert sorted(number for _, number, _ in bucket.sent) == [1, 2, 3]


def test_upload_with_one_failing_part_repeats_that_part_only(
    store: MemoryObjectStore, bucket: Bucket, tmp_path: Path
) -> None:
    attempts: list[int] = []

    def before(key: str, number: int) -> None:
        attempts.append(number)
        if number == 3 and attempts.count(3) < 3:
            raise TemporarilyUnavailable("The server is busy.")

    bucket.before_part = before
    source = file_of(tmp_path, 500 * KIB)
    store.log_artifact(source)
    assert bucket.objects["a b/ü/file"] == source.read_bytes()
    assert sorted(attempts) == [1, 2, 3, 3, 3, 4, 5, 6, 7, 8]


def test_upload_with_part_that_goes_on_failing_leaves_nothing(
    store: MemoryObjectStore, bucket: Bucket, tmp_path: Path
) -> None:
    """mlflow#15477. The error is that of the part; the other parts stop, and the upload is cancelled."""

    def before(key: str, number: int) -> None:
        if number == 2:
            raise InternalError("The disk of the server is full.")

    bucket.before_part = before
    with pytest.raises(InternalError, match="full"):
        store.log_artifact(file_of(tmp_path, 6400 * KIB))
    assert bucket.objects == {}
    assert bucket.unfinished == []
    assert len(bucket.sent) < 50


def test_upload_that_is_interrupted_leaves_nothing(store: MemoryObjectStore, bucket: Bucket, tmp_path: Path) -> None:
    def interrupt(progress: TransferProgress) -> None:
        if bucket.sent:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.log_artifact(file_of(tmp_path, 20_000 * KIB), progress=interrupt)
    assert (bucket.objects, bucket.unfinished) == ({}, [])


def test_download_large_file_fetches_ranges_and_keeps_their_order(
    store: MemoryObjectStore, bucket: Bucket, tmp_path: Path
) -> None:
    """The first range comes last, so that nothing can be digested until then."""
    data = os.urandom(1000 * KIB + 3)
    bucket.write("a b/ü/file", data)
    others = threading.Event()
    offsets: list[int] = []

    def before(key: str, offset: int) -> None:
        offsets.append(offset)
        if len(offsets) > 8:
            others.set()
        if offset == 64 * KIB:
            assert others.wait(30)

    bucket.before_get = before
    reports: list[TransferProgress] = []
    assert store.download_artifacts("file", tmp_path / "dst", progress=reports.append).read_bytes() == data
    assert sorted(offsets) == list(range(0, len(data), 64 * KIB))
    assert [report.bytes_done for report in reports] == sorted(report.bytes_done for report in reports)
    assert [report.complete for report in reports][-2:] == [False, True]


def test_download_whose_range_breaks_goes_on_where_it_was(
    store: MemoryObjectStore, bucket: Bucket, tmp_path: Path
) -> None:
    data = os.urandom(640 * KIB)
    bucket.write("a b/ü/file", data)
    opened: list[tuple[int, int | None]] = []
    genuine = store._get_object

    class Breaking:
        """Breaks after 10 KiB."""

        def __init__(self, content: bytes) -> None:
            self._content, self._given = content, 0

        def read(self, size: int, /) -> bytes:
            if self._given:
                raise TemporarilyUnavailable("The connection was reset.")
            self._given = 1
            return self._content[: 10 * KIB]

        def close(self) -> None:
            pass

    def get(key: str, offset: int, length: int | None) -> object:
        found = genuine(key, offset, length)
        opened.append((offset, length))
        if found is not None and offset == 128 * KIB:
            return type(found)(Breaking(data[offset:]), found.size, found.digest, found.version)
        return found

    store._get_object = get  # type: ignore[assignment,method-assign]
    assert store.download_artifacts("file", tmp_path / "dst").read_bytes() == data
    assert (138 * KIB, 54 * KIB) in opened
    assert len(opened) == 11


def test_download_of_file_replaced_meanwhile_is_data_loss(
    store: MemoryObjectStore, bucket: Bucket, tmp_path: Path
) -> None:
    bucket.write("a b/ü/file", b"a" * 640 * KIB)

    def before(key: str, offset: int) -> None:
        if offset == 320 * KIB:
            bucket.write(key, b"b" * 640 * KIB)

    bucket.before_get = before
    with pytest.raises(DataLoss, match="replaced"):
        store.download_artifacts("file", tmp_path / "dst")
    assert list((tmp_path / "dst").iterdir()) == []


def test_download_with_a_wrong_byte_in_some_range_is_data_loss(
    store: MemoryObjectStore, bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = os.urandom(640 * KIB)
    bucket.write("a b/ü/file", data)
    genuine = store._get_object

    def get(key: str, offset: int, length: int | None) -> object:
        found = genuine(key, offset, length)
        if found is None or offset != 192 * KIB:
            return found
        bad = bytearray(data[offset : offset + 64 * KIB])
        bad[100] ^= 1
        return type(found)(io.BytesIO(bad), found.size, found.digest, found.version)

    monkeypatch.setattr(store, "_get_object", get)
    with pytest.raises(DataLoss, match="digest"):
        store.download_artifacts("file", tmp_path / "dst")
    assert list((tmp_path / "dst").iterdir()) == []


def test_move_large_file_in_forked_child_works(store: MemoryObjectStore, bucket: Bucket, tmp_path: Path) -> None:
    """The threads that move parts are the parent's; the child makes its own."""
    source = file_of(tmp_path, 640 * KIB)
    store.log_artifact(source)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking while there are threads, from Python 3.12 on
        child = os.fork()
    if child == 0:
        signal.alarm(60)  # a child that waits for threads it does not have would wait for ever
        store.log_artifact(source)
        same = store.download_artifacts("file", tmp_path / "dst").read_bytes() == source.read_bytes()
        os._exit(0 if same else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_list_and_delete_go_through_all_pages(store: MemoryObjectStore, bucket: Bucket) -> None:
    bucket.page = 3
    for index in range(20):
        bucket.write(f"a b/ü/d/{index % 5}/{index:02}", b"")
    bucket.write("a b/ü/dd", b"")
    assert [info.path for info in store.list_artifacts("d")] == [f"d/{index}" for index in range(5)]
    assert len([info for info in store.walk() if not info.is_dir]) == 21
    store.delete_artifacts("d")
    assert set(bucket.objects) == {"a b/ü/dd"}


def test_folder_marks_of_consoles_are_folders(store: MemoryObjectStore, bucket: Bucket, tmp_path: Path) -> None:
    for key in ("a b/ü/", "a b/ü/empty/", "a b/ü/full/", "a b/ü/full/file"):
        bucket.write(key, b"")
    expected = [FileInfo("empty", True), FileInfo("full", True), FileInfo("full/file", False, 0)]
    assert list(store.walk()) == expected
    assert store.list_artifacts() == expected[:2]
    assert store.list_artifacts("empty") == []
    assert store.stat("empty").is_dir
    target = store.download_artifacts("", tmp_path / "dst")
    assert {path.name for path in target.rglob("*")} == {"empty", "full", "file"}


def test_download_of_file_and_folder_of_one_name_is_refused(
    store: MemoryObjectStore, bucket: Bucket, tmp_path: Path
) -> None:
    bucket.write("a b/ü/x/a", b"1")
    bucket.write("a b/ü/x/a/b", b"2")
    with pytest.raises(InvalidParameterValue, match="both"):
        store.download_artifacts("x", tmp_path / "dst")
    assert not (tmp_path / "dst").exists()
    assert store.download_artifacts("x/a/b", tmp_path / "dst").read_bytes() == b"2"
