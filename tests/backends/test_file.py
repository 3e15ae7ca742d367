"""Folders pass the conformance suite: by path, by `file://`, however they are searched, and whoever made them.

Raw access reads and writes the files themselves.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from tests.interop.folders import unpack
from tests.interop.snapshot import FIXTURES

from holdall.backends.file import FileBackendStore
from holdall.backends.file.watch import Watch, WatchLost
from holdall.conformance_tests import BackendStoreSuite, RawAccess, UriHarness
from holdall.stores import BackendStore, Metric, Run, StoreURI
from holdall.stores.queries import RunQuery


class FolderRawAccess(RawAccess):
    """The files of a folder, by plain reading and writing.

    Args:
        root: The store's root.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def _run(self, run_id: str) -> Path:
        [found] = self._root.glob(f"*/{run_id}")
        return found

    def metric_points(self, run_id: str) -> list[Metric]:
        return [
            Metric(key, float(value), int(timestamp), int(step))
            for key, text in self._texts(run_id, "metrics").items()
            for timestamp, value, step in (line.split(" ") for line in text.splitlines())
        ]

    def write_metric_point(self, run_id: str, metric: Metric) -> None:
        with (self._run(run_id) / "metrics" / metric.key).open("a") as file:
            file.write(f"{metric.timestamp} {metric.value} {metric.step}\n")

    def params(self, run_id: str) -> dict[str, str]:
        return self._texts(run_id, "params")

    def tags(self, run_id: str) -> dict[str, str]:
        return self._texts(run_id, "tags")

    def _texts(self, run_id: str, kind: str) -> dict[str, str]:
        """Plain files, and those for keys that no file can be named by."""
        run = self._run(run_id)
        plain, own = run / kind, run / ".holdall" / kind
        found = {
            path.relative_to(plain).as_posix(): path.read_bytes().decode()
            for path in plain.rglob("*")
            if path.is_file()
        }
        for path in own.glob("*"):
            head, _, rest = path.read_bytes().decode().partition("\n")
            found[json.loads(head)] = rest
        return found

    def counts(self) -> dict[str, int]:
        return {str(path.parent): len(list(path.parent.iterdir())) for path in self._files()}

    def digest(self) -> str:
        summary = hashlib.sha256()
        for path in sorted(self._root.rglob("*")):
            status = path.stat()
            summary.update(f"{path} {status.st_mtime_ns} {status.st_mode}\n".encode())
            if path.is_file():
                summary.update(path.read_bytes())
        return summary.hexdigest()

    def _files(self) -> list[Path]:
        return [path for path in self._root.rglob("*") if path.is_file()]


class FolderHarness(UriHarness):
    """A folder named by a URI, with raw access."""

    def __init__(self, template: str, folder: Path, artifact_root: str | None = None) -> None:
        super().__init__(template, folder, artifact_root)
        self.raw = FolderRawAccess(folder / "mlruns")


class TestFolderByPath(BackendStoreSuite):
    @pytest.fixture
    def harness(self, tmp_path: Path) -> UriHarness:
        return FolderHarness("{tmp}/mlruns", tmp_path)


@pytest.mark.exhaustive
class TestFolderByUri(BackendStoreSuite):
    @pytest.fixture
    def harness(self, tmp_path: Path) -> UriHarness:
        return FolderHarness("file://{tmp}/mlruns", tmp_path, "{tmp}/artifacts")


class UnindexedHarness(FolderHarness):
    """A folder that is searched by reading everything."""

    def open(self, *, read_only: bool = False, create: bool = True) -> BackendStore:
        assert self.uri is not None
        return FileBackendStore(StoreURI.parse(self.uri), read_only=read_only, create=create, use_index=False)


@pytest.mark.exhaustive
class TestFolderWithoutIndex(BackendStoreSuite):
    @pytest.fixture
    def harness(self, tmp_path: Path) -> UriHarness:
        return UnindexedHarness("{tmp}/mlruns", tmp_path)


@pytest.mark.exhaustive
class TestFolderWithoutWatch(BackendStoreSuite):
    @pytest.fixture
    def harness(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> UriHarness:
        def refuse(self: object) -> None:
            raise WatchLost("the system offers no inotify")

        monkeypatch.setattr(Watch, "__init__", refuse)
        return FolderHarness("{tmp}/mlruns", tmp_path)


class ForgetfulStore(FileBackendStore):
    """Each search finds an index that nobody has kept up to date since the one before."""

    def _search_runs(self, query: RunQuery) -> list[Run]:
        with self._index_lock:
            if self._index is not None:
                self._index.close()
                self._index = None
        return super()._search_runs(query)


class ForgetfulHarness(FolderHarness):
    """A folder with an index that is stale before every search."""

    def open(self, *, read_only: bool = False, create: bool = True) -> BackendStore:
        assert self.uri is not None
        return ForgetfulStore(StoreURI.parse(self.uri), read_only=read_only, create=create)


@pytest.mark.exhaustive
class TestFolderWithStaleIndex(BackendStoreSuite):
    @pytest.fixture
    def harness(self, tmp_path: Path) -> UriHarness:
        return ForgetfulHarness("{tmp}/mlruns", tmp_path)


class MlflowHarness(FolderHarness):
    """A folder that MLflow has made and filled."""

    def __init__(self, template: str, folder: Path, fixture: str) -> None:
        unpack(FIXTURES / fixture, folder / "mlruns")
        super().__init__(template, folder)
        self.isolated = False


@pytest.mark.exhaustive
class TestFolderByMlflow2(BackendStoreSuite):
    @pytest.fixture
    def harness(self, tmp_path: Path) -> UriHarness:
        return MlflowHarness("{tmp}/mlruns", tmp_path, "mlflow-2.22.5.mlruns.tar")


@pytest.mark.exhaustive
class TestFolderByMlflow3(BackendStoreSuite):
    @pytest.fixture
    def harness(self, tmp_path: Path) -> UriHarness:
        return MlflowHarness("{tmp}/mlruns", tmp_path, "mlflow-3.17.2.mlruns.tar")
