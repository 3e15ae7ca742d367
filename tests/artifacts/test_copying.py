"""Copying between two stores of any kind."""

from __future__ import annotations

import signal
import threading
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.artifacts.memory_store import MemoryArtifactStore

from holdall.artifacts.copying import CopyReport, copy_artifacts, plan_copy
from holdall.stores import (
    ArtifactStore,
    DataLoss,
    InternalError,
    InvalidParameterValue,
    NotFound,
    ReadOnly,
    StoreURI,
    TemporarilyUnavailable,
    open_artifact_store,
)
from holdall.stores.artifact_io import CHUNK_SIZE
from holdall.stores.transfers import TransferProgress
from holdall.stores.wrappers import FaultyArtifactStore, ReadOnlyArtifactStore

TREE = {
    "plots/a.txt": b"alpha",
    "plots/deep/b.bin": bytes(range(256)) * 10_000,
    "plots/deep/empty.bin": b"",
    "plots/ %20#?é\\": b"named",
    "plotsnot": b"beside",
}


@pytest.fixture(autouse=True)
def service() -> Iterator[None]:
    yield
    MemoryArtifactStore.buckets.clear()
    MemoryArtifactStore.digests.clear()


@pytest.fixture
def local(tmp_path: Path) -> Iterator[ArtifactStore]:
    with open_artifact_store(tmp_path / "local") as store:
        yield store


@pytest.fixture
def remote() -> Iterator[MemoryArtifactStore]:
    with MemoryArtifactStore(StoreURI.parse("objects://bucket/some/prefix")) as store:
        yield store


@pytest.fixture(params=["local to remote", "remote to local", "local to local", "remote to remote"])
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[ArtifactStore, ArtifactStore]]:
    """A store with `TREE` in it, and an empty one."""
    stores = []
    for number, kind in enumerate(request.param.split(" to ")):
        place = tmp_path / f"store-{number}"
        is_local = kind == "local"
        stores.append(
            open_artifact_store(place)
            if is_local
            else MemoryArtifactStore(StoreURI.parse(f"objects://bucket-{number}/prefix"))
        )
    fill(stores[0], TREE)
    yield stores[0], stores[1]
    for store in stores:
        store.close()


def fill(store: ArtifactStore, tree: dict[str, bytes]) -> None:
    for path, data in tree.items():
        with store.open(path, "wb") as file:
            file.write(data)


def content(store: ArtifactStore) -> dict[str, bytes]:
    found = {}
    for info in store.walk():
        if not info.is_dir:
            with store.open(info.path) as file:
                found[info.path] = file.read()
    return found


def below(folder: str, prefix: str = "") -> dict[str, bytes]:
    """What of `TREE` is in a folder, by path below it."""
    return {prefix + path.removeprefix(folder): data for path, data in TREE.items() if path.startswith(folder)}


def left_behind(folder: Path) -> list[Path]:
    """All there is in a folder, unfinished files too."""
    return [path for path in folder.rglob("*") if path.is_file()]


def test_copy_folder_gives_the_same_files_under_their_new_names(pair: tuple[ArtifactStore, ArtifactStore]) -> None:
    source, target = pair
    report = copy_artifacts(source, "plots", target, "models/new")
    assert content(target) == below("plots/", "models/new/")
    assert report == CopyReport(files=4, size=5 + 2_560_000 + 5, folders=0, left_out=())


def test_copy_everything_to_the_root_gives_the_same_tree(pair: tuple[ArtifactStore, ArtifactStore]) -> None:
    source, target = pair
    assert copy_artifacts(source, None, target, None).files == len(TREE)
    assert content(target) == TREE


def test_copy_file_replaces_the_one_that_is_there(pair: tuple[ArtifactStore, ArtifactStore]) -> None:
    source, target = pair
    fill(target, {"x/y": b"old", "x/z": b"kept"})
    copy_artifacts(source, "plots/a.txt", target, "x/y")
    assert content(target) == {"x/y": b"alpha", "x/z": b"kept"}


def test_copy_tells_progress_of_every_file_up_to_its_size(pair: tuple[ArtifactStore, ArtifactStore]) -> None:
    source, target = pair
    reports: list[TransferProgress] = []
    copy_artifacts(source, "plots", target, "p", progress=reports.append)
    last = {report.path: report for report in reports}
    sizes = {path: len(data) for path, data in below("plots/", "p/").items()}
    assert {path: report.bytes_done for path, report in last.items()} == sizes
    assert all(report.complete and report.bytes_total == report.bytes_done for report in last.values())
    steps = [report.bytes_done for report in reports if report.path == "p/deep/b.bin" and not report.complete]
    assert steps == [CHUNK_SIZE, 2 * CHUNK_SIZE, 2_560_000]


def test_copy_large_file_holds_a_few_chunks_only(tmp_path: Path) -> None:
    size = 64 * CHUNK_SIZE
    (tmp_path / "from").mkdir()
    with (tmp_path / "from" / "large").open("wb") as file:
        file.truncate(size)
    with open_artifact_store(tmp_path / "from") as source, open_artifact_store(tmp_path / "to") as target:
        tracemalloc.start()
        try:
            copy_artifacts(source, "large", target, "large")
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert target.stat("large").file_size == size
    assert peak < 8 * CHUNK_SIZE


def test_copy_keeps_empty_folders_where_both_can(local: ArtifactStore, tmp_path: Path) -> None:
    for folder in ("top/a/empty", "top/b"):
        (tmp_path / "local" / folder).mkdir(parents=True)
    fill(local, {"top/c/file": b"c"})
    with open_artifact_store(tmp_path / "to") as target:
        report = copy_artifacts(local, "top", target, "new")
        assert [info.path for info in target.walk()] == ["new", "new/a", "new/a/empty", "new/b", "new/c", "new/c/file"]
    assert (report.files, report.folders, report.left_out) == (1, 2, ())


def test_copy_of_empty_folder_itself_makes_it(local: ArtifactStore, tmp_path: Path) -> None:
    (tmp_path / "local" / "empty").mkdir(parents=True)
    with open_artifact_store(tmp_path / "to") as target:
        assert copy_artifacts(local, "empty", target, "x/y").folders == 1
        assert target.stat("x/y").is_dir


def test_copy_to_store_without_empty_folders_reports_them(
    local: ArtifactStore, remote: MemoryArtifactStore, tmp_path: Path
) -> None:
    (tmp_path / "local" / "top" / "empty").mkdir(parents=True)
    fill(local, {"top/file": b"x"})
    report = copy_artifacts(local, "top", remote, "new")
    assert (report.files, report.folders, report.left_out) == (1, 0, ("new/empty",))


@pytest.mark.parametrize("path", ["nothing", "plots/nothing"])
def test_copy_missing_source_writes_nothing(pair: tuple[ArtifactStore, ArtifactStore], path: str) -> None:
    source, target = pair
    with pytest.raises(NotFound, match="nothing"):
        copy_artifacts(source, path, target, "x")
    assert content(target) == {}


@pytest.mark.parametrize(
    ("path", "target_path", "reason"),
    [
        ("plots", "plots", "itself"),
        ("plots", "plots/deep", "itself"),
        ("plots", "plots/deep/new", "itself"),
        ("plots/a.txt", "plots/a.txt", "itself"),
        ("", "plots", "itself"),
        ("", "", "itself"),
        ("plots", "plotsnot", "that is a file"),
        ("plotsnot", "plots", "that is a folder"),
        ("plotsnot", "", "that is a folder"),
        ("plotsnot", "x/", "must name a file"),
        ("plots", "../x", "'..' segment"),
    ],
)
@pytest.mark.parametrize("kind", ["local", "remote"])
def test_copy_to_place_that_cannot_be_changes_nothing(
    request: pytest.FixtureRequest, kind: str, path: str, target_path: str, reason: str
) -> None:
    store = request.getfixturevalue(kind)
    fill(store, TREE)
    with pytest.raises(InvalidParameterValue, match=reason):
        copy_artifacts(store, path, store, target_path)
    assert content(store) == TREE


def test_copy_into_itself_through_another_root_or_link_is_refused(local: ArtifactStore, tmp_path: Path) -> None:
    fill(local, TREE)
    (tmp_path / "link").symlink_to(tmp_path / "local" / "plots")
    for root in (tmp_path / "local" / "plots" / "deep", tmp_path / "link"):
        with open_artifact_store(root) as target, pytest.raises(InvalidParameterValue, match="itself"):
            copy_artifacts(local, None, target, None)
    with open_artifact_store(tmp_path / "local" / "plots") as target:
        with pytest.raises(InvalidParameterValue, match="itself"):
            copy_artifacts(local, "plots/a.txt", target, "a.txt")
        copy_artifacts(local, "plotsnot", target, "plotsnot")  # a file beside is no folder that holds itself
    assert content(local) == {**TREE, "plots/plotsnot": b"beside"}


def test_copy_between_buckets_of_one_path_is_no_copy_to_itself(remote: MemoryArtifactStore) -> None:
    fill(remote, TREE)
    for uri in ("objects://other/some/prefix", "objects://bucket/some/prefix2"):
        with MemoryArtifactStore(StoreURI.parse(uri)) as target:
            copy_artifacts(remote, "plots", target, "plots")
            assert content(target) == below("plots/", "plots/")


def test_copy_of_file_and_folder_of_one_name_is_refused_before_writing(
    remote: MemoryArtifactStore, local: ArtifactStore
) -> None:
    remote.objects.update({"some/prefix/a": b"file", "some/prefix/a/b": b"in folder", "some/prefix/0": b"first"})
    with pytest.raises(InvalidParameterValue, match="a file and also a folder"):
        copy_artifacts(remote, None, local, None)
    assert content(local) == {}
    with MemoryArtifactStore(StoreURI.parse("objects://other")) as target:
        assert copy_artifacts(remote, None, target, None).files == 3


def test_copy_to_read_only_store_is_refused(pair: tuple[ArtifactStore, ArtifactStore]) -> None:
    source, target = pair
    with pytest.raises(ReadOnly):
        copy_artifacts(source, "plots", ReadOnlyArtifactStore(target), "x")
    assert content(target) == {}


def test_copy_of_hostile_listing_writes_nothing(remote: MemoryArtifactStore, local: ArtifactStore) -> None:
    remote.objects.update({"some/prefix/a": b"good", "some/prefix/x/../../escaped": b"evil"})
    with pytest.raises(InvalidParameterValue):
        copy_artifacts(remote, None, local, None)
    assert content(local) == {}


def test_copy_of_bytes_that_differ_from_announced_digest_keeps_the_old_file(
    remote: MemoryArtifactStore, local: ArtifactStore, tmp_path: Path
) -> None:
    fill(remote, {"model": b"flipped" * 1000})
    fill(local, {"model": b"old"})
    remote.digests[b"flipped" * 1000] = "0" * 64
    with pytest.raises(DataLoss, match="model"):
        copy_artifacts(remote, "model", local, "model")
    assert content(local) == {"model": b"old"}
    assert left_behind(tmp_path / "local") == [tmp_path / "local" / "model"]


@pytest.mark.parametrize("failing", ["open_reader", "open_writer"])
def test_copy_with_one_failing_file_stops_and_leaves_whole_files_only(
    local: ArtifactStore, remote: MemoryArtifactStore, failing: str
) -> None:
    tree = {f"{number:03}": bytes([number]) * 100 for number in range(200)}
    fill(local, tree)
    calls = iter(range(1000))
    plan = {failing: lambda: TemporarilyUnavailable("planned") if next(calls) == 50 else None}
    faulty_source = FaultyArtifactStore(local, before=lambda name, _: plan.get(name, lambda: None)())
    faulty_target = FaultyArtifactStore(remote, before=lambda name, _: plan.get(name, lambda: None)())
    with pytest.raises(TemporarilyUnavailable, match="planned"):
        copy_artifacts(faulty_source, None, faulty_target, None)
    copied = content(remote)
    assert 0 < len(copied) < 199
    assert copied.items() <= tree.items()
    assert remote.unfinished == 0


def test_copy_cancelled_by_progress_leaves_no_part_anywhere(
    local: ArtifactStore, remote: MemoryArtifactStore, tmp_path: Path
) -> None:
    fill(local, {f"large-{number}": b"x" * (4 * CHUNK_SIZE) for number in range(4)})

    def stop(report: TransferProgress) -> None:
        raise InternalError(f"stopped at {report.bytes_done}")

    with pytest.raises(InternalError, match="stopped"):
        copy_artifacts(local, None, remote, "x", progress=stop)
    assert content(remote) == {}
    assert remote.unfinished == 0
    with open_artifact_store(tmp_path / "to") as target, pytest.raises(InternalError):
        copy_artifacts(local, None, target, "x", progress=stop)
    assert left_behind(tmp_path / "to") == []


def test_copy_interrupted_by_user_leaves_no_part_anywhere(local: ArtifactStore, remote: MemoryArtifactStore) -> None:
    fill(local, {f"large-{number}": b"x" * (4 * CHUNK_SIZE) for number in range(8)})
    main, reached_main = threading.get_ident(), threading.Event()

    def interrupt(report: TransferProgress) -> None:
        if not reached_main.is_set():
            signal.pthread_kill(main, signal.SIGINT)  # as Ctrl-C does
            assert reached_main.wait(30)

    def handle(number: int, frame: object) -> None:
        reached_main.set()
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, handle)
    try:
        with pytest.raises(KeyboardInterrupt):
            copy_artifacts(local, None, remote, None, progress=interrupt)
    finally:
        signal.signal(signal.SIGINT, before)
    assert len(content(remote)) < 8
    assert all(len(data) == 4 * CHUNK_SIZE for data in content(remote).values())
    assert remote.unfinished == 0


def test_copy_several_files_moves_them_at_once(local: ArtifactStore, remote: MemoryArtifactStore) -> None:
    fill(local, {str(number): b"x" for number in range(8)})
    meeting = threading.Barrier(local.max_workers, timeout=30)

    def wait_for_others(operation: str, _: int) -> None:
        if operation == "open_reader":
            meeting.wait()

    waiting = FaultyArtifactStore(local, before=wait_for_others)
    assert copy_artifacts(waiting, None, remote, None).files == 8


def test_plan_copy_lists_all_and_writes_nothing(local: ArtifactStore, remote: MemoryArtifactStore) -> None:
    fill(local, TREE)
    plan = plan_copy(local, "plots", remote, "new")
    assert [(file.source, file.target, file.size) for file in plan.files] == [
        ("plots/ %20#?é\\", "new/ %20#?é\\", 5),
        ("plots/a.txt", "new/a.txt", 5),
        ("plots/deep/b.bin", "new/deep/b.bin", 2_560_000),
        ("plots/deep/empty.bin", "new/deep/empty.bin", 0),
    ]
    assert plan.size == 2_560_010
    assert remote.objects == {}
