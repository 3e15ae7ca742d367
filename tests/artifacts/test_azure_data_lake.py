"""`AzureArtifactStore` where directories are real: the suite, and what is particular to such accounts."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.artifacts.data_lake import DataLake
from tests.artifacts.scripted_server import ScriptedServer, scripted_server

from holdall.conformance_tests.artifact_basics import DeleteTests, ReadTests, WriteTests
from holdall.conformance_tests.artifact_streams import ConcurrencyTests
from holdall.conformance_tests.artifacts import ArtifactHarness
from holdall.stores import ArtifactStore, FileInfo, InvalidParameterValue, StoreURI, open_artifact_store

pytestmark = pytest.mark.extras

PREFIX = "pre fix/näme"


class DataLakeHarness(ArtifactHarness):
    """A new container on a server of its own."""

    def __init__(self) -> None:
        container = f"c{secrets.token_hex(8)}"
        self.lake = DataLake(container)
        self._stack = ExitStack()
        self.server: ScriptedServer = self._stack.enter_context(scripted_server(self.lake))
        query = (("endpoint_url", self.server.url), ("account_key", "c2VjcmV0"), ("patience", "1"))
        self.uri = StoreURI(
            "abfss", username=container, host="lake.dfs.core.windows.net", path=f"/{PREFIX}", query=query
        )

    def open(self, *, read_only: bool = False) -> ArtifactStore:
        return open_artifact_store(self.uri, read_only=read_only)

    def another(self) -> DataLakeHarness:
        return DataLakeHarness()

    def raw_write(self, path: str, data: bytes) -> None:
        self.lake.write(f"{PREFIX}/{path}", data)

    def raw_read(self, path: str) -> bytes | None:
        return self.lake.files.get(f"{PREFIX}/{path}")

    def raw_list(self) -> set[str]:
        return {name.removeprefix(f"{PREFIX}/") for name in self.lake.files}

    def remove(self) -> None:
        self._stack.close()


class TestSuiteOnDataLake(ReadTests, WriteTests, DeleteTests, ConcurrencyTests):
    @pytest.fixture
    def harness(self, tmp_path: Path) -> Iterator[DataLakeHarness]:
        harness = DataLakeHarness()
        yield harness
        harness.remove()


@pytest.fixture
def harness() -> Iterator[DataLakeHarness]:
    harness = DataLakeHarness()
    yield harness
    harness.remove()


@pytest.fixture
def store(harness: DataLakeHarness) -> Iterator[ArtifactStore]:
    with harness.open() as store:
        yield store


def test_list_empty_directory_shows_a_folder(harness: DataLakeHarness, store: ArtifactStore) -> None:
    harness.raw_write("d/file", b"x")
    harness.lake.directories |= {f"{PREFIX}/empty", f"{PREFIX}/d/empty"}
    assert store.list_artifacts() == [FileInfo("d", True), FileInfo("empty", True)]
    assert store.list_artifacts("d") == [FileInfo("d/empty", True), FileInfo("d/file", False, 1)]
    assert [info.path for info in store.walk()] == ["d", "d/empty", "d/file", "empty"]
    assert store.list_artifacts("empty") == []


def test_stat_directory_is_a_folder_and_no_file(harness: DataLakeHarness, store: ArtifactStore) -> None:
    harness.lake.directories |= {PREFIX, f"{PREFIX}/empty"}
    assert store.stat("empty") == FileInfo("empty", True)
    assert store.exists("empty")
    with pytest.raises(InvalidParameterValue, match="directory"):
        store.open("empty")


def test_download_directory_brings_its_empty_folders(
    harness: DataLakeHarness, store: ArtifactStore, tmp_path: Path
) -> None:
    harness.raw_write("d/e/file", b"x")
    harness.lake.directories.add(f"{PREFIX}/d/empty")
    store.download_artifacts("d", tmp_path)
    found = {path.relative_to(tmp_path).as_posix(): path.is_dir() for path in tmp_path.rglob("*")}
    assert found == {"d": True, "d/e": True, "d/e/file": False, "d/empty": True}


def test_delete_folder_removes_directories_from_the_deepest_up(harness: DataLakeHarness, store: ArtifactStore) -> None:
    for path in ("d/a/b/c/file", "d/a/file", "d/file", "dd/file"):
        harness.raw_write(path, b"x")
    harness.lake.directories.add(f"{PREFIX}/d/empty/er")
    harness.lake.directories.add(f"{PREFIX}/d/empty")
    store.delete_artifacts("d")
    assert harness.raw_list() == {"dd/file"}
    assert harness.lake.directories == {"pre fix", PREFIX, f"{PREFIX}/dd"}


def test_delete_root_keeps_the_root_and_what_is_beside_it(harness: DataLakeHarness, store: ArtifactStore) -> None:
    harness.raw_write("d/file", b"x")
    harness.lake.write("pre fix/näme2/file", b"x")
    store.delete_artifacts()
    assert harness.lake.files == {"pre fix/näme2/file": b"x"}
    assert PREFIX in harness.lake.directories


def test_write_where_directory_or_file_is_in_the_way_is_refused(harness: DataLakeHarness, store: ArtifactStore) -> None:
    harness.raw_write("d/file", b"x")
    for path in ("d", "d/file/below"):
        with pytest.raises(InvalidParameterValue, match="ResourceTypeMismatch"), store.open(path, "wb") as upload:
            upload.write(b"y")
    assert harness.raw_list() == {"d/file"}


def test_look_below_file_finds_nothing(harness: DataLakeHarness, store: ArtifactStore) -> None:
    harness.raw_write("d/file", b"x")
    assert store.list_artifacts("d/file/below/deep") == []
    assert not store.exists("d/file/below/deep")
    store.delete_artifacts("d/file/below")
    assert harness.raw_list() == {"d/file"}


def test_upload_large_file_over_directory_account_arrives(
    harness: DataLakeHarness, store: ArtifactStore, tmp_path: Path
) -> None:
    data = bytes(range(256)) * (70 << 10)
    (tmp_path / "large").write_bytes(data)
    store.log_artifact(tmp_path / "large", "d")
    assert harness.raw_read("d/large") == data
    assert sum(asked.query.get("comp") == "block" for asked in harness.server.asked) == 3
    assert store.download_artifacts("d/large", tmp_path / "dst").read_bytes() == data
