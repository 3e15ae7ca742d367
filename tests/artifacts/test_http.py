"""`ProxiedArtifactStore`: the suite through live servers, holdall's and MLflow's, and what is its own."""

from __future__ import annotations

import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote

import pytest
from tests.artifacts.emulated import storage_server
from tests.interop.mlflow_server import mlflow_server
from tests.server.live import LiveServer, live_server

from holdall.conformance_tests.artifact_base import ArtifactHarness
from holdall.conformance_tests.artifacts import ArtifactStoreSuite
from holdall.conformance_tests.emulators import MotoServer
from holdall.conformance_tests.emulators.harness import EmulatorHarness
from holdall.stores import ArtifactStore, StoreURI, open_artifact_store
from holdall.stores.atomic_file import PRIVATE_PREFIX

pytestmark = pytest.mark.extras

ROUTE = "/api/2.0/mlflow-artifacts/artifacts"


class ProxiedHarness(ArtifactHarness):
    """A folder of its own among the artifacts of a server; raw access is to the server's storage.

    Args:
        server: Address of the server.
        storage: Where it keeps them: a harness of the server's own place.
    """

    def __init__(self, server: str, storage: ArtifactHarness) -> None:
        self.server, self.storage = server, storage
        self.prefix = f"pre fix/näme {uuid.uuid4().hex[:12]}"
        # Faults that never end are reported after a moment, not after half a minute.
        self.uri = StoreURI.parse(f"{server}{ROUTE}/{quote(self.prefix)}?patience=1")

    def open(self, *, read_only: bool = False) -> ArtifactStore:
        return open_artifact_store(self.uri, read_only=read_only)

    def another(self) -> ProxiedHarness:
        return type(self)(self.server, self.storage)

    def raw_write(self, path: str, data: bytes) -> None:
        self.storage.raw_write(f"{self.prefix}/{path}", data)

    def raw_read(self, path: str) -> bytes | None:
        return self.storage.raw_read(f"{self.prefix}/{path}")

    def raw_list(self) -> set[str]:
        start = f"{self.prefix}/"
        return {path.removeprefix(start) for path in self.storage.raw_list() if path.startswith(start)}


def wait_until(condition: Callable[[], bool], seconds: float = 20) -> bool:
    """Whether a condition comes true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


class FolderHarness(ArtifactHarness):
    """The folder of a server."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def open(self, *, read_only: bool = False) -> ArtifactStore:
        return open_artifact_store(self.folder, read_only=read_only)

    def another(self) -> FolderHarness:
        return FolderHarness(self.folder.with_name(uuid.uuid4().hex))

    def raw_write(self, path: str, data: bytes) -> None:
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)

    def raw_read(self, path: str) -> bytes | None:
        file = self.folder / path
        return file.read_bytes() if file.is_file() else None

    def raw_list(self) -> set[str]:
        return {path.relative_to(self.folder).as_posix() for path in self.folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """A server over a local folder."""
    with live_server(tmp_path_factory.mktemp("server")) as live:
        yield live


@pytest.fixture
def folder(server: LiveServer) -> Path:
    """Where that server keeps artifacts."""
    return server.log.parent / "mlartifacts"


class TestSuiteOverFolder(ArtifactStoreSuite):
    @pytest.fixture
    def harness(self, server: LiveServer, folder: Path) -> Iterator[ProxiedHarness]:
        harness = ProxiedHarness(server.url, FolderHarness(folder))
        yield harness
        shutil.rmtree(folder / harness.prefix, ignore_errors=True)
        assert wait_until(lambda: not list(folder.glob(f"{PRIVATE_PREFIX}*"))), "a broken upload has left something"


@pytest.fixture(scope="module")
def bucket() -> Iterator[EmulatorHarness]:
    """A place in S3."""
    harness = EmulatorHarness(storage_server("moto"))
    yield harness
    harness.remove()


@pytest.fixture(scope="module")
def server_over_bucket(bucket: EmulatorHarness, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a server that keeps artifacts there."""
    destination = bucket.uri.render(hide_password=False)
    with live_server(tmp_path_factory.mktemp("server"), "--artifacts-destination", destination) as live:
        yield live.url


class TestSuiteOverS3(ArtifactStoreSuite):
    exclusions = MotoServer.gaps

    @pytest.fixture
    def harness(self, server_over_bucket: str, bucket: EmulatorHarness) -> Iterator[ProxiedHarness]:
        yield ProxiedHarness(server_over_bucket, bucket)
        assert wait_until(lambda: bucket.raw_unfinished() == []), "a broken upload has left parts"


@pytest.fixture(scope="module")
def mlflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """Address of a server of MLflow, and where it keeps artifacts."""
    folder = tmp_path_factory.mktemp("mlflow")
    with mlflow_server("3.17.2", folder) as url:
        yield url, folder / "mlartifacts"


_DECODED_TWICE = "MLflow's server decodes names once more than HTTP does"


class TestSuiteOverMlflow(ArtifactStoreSuite):
    """What MLflow's server cannot do is declared, and tested to be still so."""

    exclusions: ClassVar[Mapping[str, str]] = {
        **{
            f"test_keep_strange_name_of_file_and_folder[{name}]": _DECODED_TWICE
            for name in ("encoded-blank", "encoded-twice", "encoded-dot")
        },
        "test_keep_strange_name_of_file_and_folder[hash]": "MLflow's server refuses names with #",
        "test_keep_strange_name_of_file_and_folder[newline-and-tab]": "MLflow's server has no route for such names",
        "test_keep_names_that_others_confuse_apart": _DECODED_TWICE,
        "test_find_strange_names_written_by_others": _DECODED_TWICE,
        "test_replace_file_under_readers_shows_whole_files_only": "MLflow's server writes to the final name",
        "test_write_into_folder_being_deleted_ends_whole_or_gone": "MLflow's server answers 500 to such a writer",
    }

    @pytest.fixture
    def harness(self, mlflow: tuple[str, Path]) -> ProxiedHarness:
        return ProxiedHarness(mlflow[0], FolderHarness(mlflow[1]))
