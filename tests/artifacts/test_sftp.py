"""`SftpArtifactStore`: the suite on OpenSSH's server and on one that can do little."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterator

import pytest
from tests.artifacts.emulated import EmulatedSuite
from tests.artifacts.sftp_server import PlainServer

from holdall.conformance_tests.artifact_base import ArtifactHarness
from holdall.conformance_tests.artifacts import ArtifactStoreSuite
from holdall.stores import ArtifactStore, open_artifact_store

pytestmark = pytest.mark.extras


class TestSuiteOnSshd(EmulatedSuite):
    server = "sshd"


class PlainHarness(ArtifactHarness):
    """A new folder on a `PlainServer`."""

    _numbers = itertools.count()

    def __init__(self, server: PlainServer) -> None:
        self._server = server
        self._root = server.data / f"a place {next(self._numbers)}"
        self._uri = server.uri(("patience", "1"), path=self._root.name)

    def open(self, *, read_only: bool = False) -> ArtifactStore:
        return open_artifact_store(self._uri, read_only=read_only)

    def another(self) -> ArtifactHarness:
        return PlainHarness(self._server)

    def raw_write(self, path: str, data: bytes) -> None:
        file = self._root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)

    def raw_read(self, path: str) -> bytes | None:
        file = self._root / path
        return file.read_bytes() if file.is_file() else None

    def raw_list(self) -> set[str]:
        return {file.relative_to(self._root).as_posix() for file in self._root.rglob("*") if not file.is_dir()}

    def remove(self) -> None:
        shutil.rmtree(self._root, ignore_errors=True)


@pytest.fixture(scope="module")
def plain_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlainServer]:
    with PlainServer(tmp_path_factory.mktemp("sftp")) as server:
        yield server


class TestSuiteOnServerWithoutExtensions(ArtifactStoreSuite):
    big_file_size = 96 << 20

    @pytest.fixture
    def harness(self, plain_server: PlainServer) -> Iterator[PlainHarness]:
        harness = PlainHarness(plain_server)
        yield harness
        harness.remove()
