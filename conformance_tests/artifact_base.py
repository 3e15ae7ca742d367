"""What all sections of the artifact suite share: the place of the store, fixtures, requirements, faults."""

from __future__ import annotations

import itertools
import shutil
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import ClassVar

import pytest

from holdall.conformance_tests.guard import check_exclusions, find_weakenings
from holdall.conformance_tests.harness import PLACEHOLDER, place_uri
from holdall.stores import ArtifactCapabilities, ArtifactStore, StoreURI, open_artifact_store

__all__ = ["ArtifactHarness", "ArtifactSuite", "UriArtifactHarness"]

_FLAGS = frozenset(field.name for field in fields(ArtifactCapabilities))


class ArtifactHarness(ABC):
    """One place for an artifact store, empty at first, made anew for each test.

    The `raw_…` methods reach the storage behind the store's back (by files, an SDK, SQL), so that a store cannot vouch
    for itself. They take paths as they are and validate nothing.
    """

    @abstractmethod
    def open(self, *, read_only: bool = False) -> ArtifactStore:
        """Open the store at this place; may be called several times, also while it is open."""

    @abstractmethod
    def another(self) -> ArtifactHarness:
        """A harness for another empty place of the same kind."""

    @abstractmethod
    def raw_write(self, path: str, data: bytes) -> None:
        """Put a file there, with the folders it needs."""

    @abstractmethod
    def raw_read(self, path: str) -> bytes | None:
        """Content of the file at a path, or None."""

    @abstractmethod
    def raw_list(self) -> set[str]:
        """Paths of all files, unfinished and hidden ones included."""

    def remove(self) -> None:  # noqa: B027 - optional
        """Remove the place with all that is in it; called after the test."""


class UriArtifactHarness(ArtifactHarness):
    """A scratch place named by a URI, opened as any user would open it.

    Raw access is to the files themselves for local stores. For other schemes it is a second store on the same URI,
    which is weaker: plugin authors override the `raw_…` methods.

    Args:
        template: A URI. `{tmp}` in it stands for `folder`; without it a folder with a random name is made below the
        URI. folder: An empty folder.
    """

    def __init__(self, template: str, folder: Path) -> None:
        self._template, self._folder = template, folder
        self._numbers = itertools.count()
        uri = StoreURI.parse(place_uri(template, folder))
        scratch = f"holdall-conformance-{uuid.uuid4().hex[:12]}"
        self.uri = uri if PLACEHOLDER in template else uri.join(scratch)

    def open(self, *, read_only: bool = False) -> ArtifactStore:
        return open_artifact_store(self.uri, read_only=read_only)

    def another(self) -> UriArtifactHarness:
        folder = self._folder.with_name(f"{self._folder.name}-{next(self._numbers)}")
        folder.mkdir()
        return type(self)(self._template, folder)

    def raw_write(self, path: str, data: bytes) -> None:
        if self.uri.scheme == "file":
            file = self.uri.local_path / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data)
            return
        with self.open() as store, store.open(path, "wb") as upload:
            upload.write(data)

    def raw_read(self, path: str) -> bytes | None:
        if self.uri.scheme == "file":
            file = self.uri.local_path / path
            return file.read_bytes() if file.is_file() else None
        with self.open(read_only=True) as store:
            if not store.exists(path):
                return None
            with store.open(path) as reader:
                return reader.read()

    def raw_list(self) -> set[str]:
        if self.uri.scheme == "file":
            root = self.uri.local_path
            return {file.relative_to(root).as_posix() for file in root.rglob("*") if not file.is_dir()}
        with self.open(read_only=True) as store:
            return {info.path for info in store.walk() if not info.is_dir}

    def remove(self) -> None:
        if self.uri.scheme == "file":
            shutil.rmtree(self.uri.local_path, ignore_errors=True)
            return
        with self.open() as store:
            store.delete_artifacts()


class ArtifactSuite:
    """Base of the suite's sections.

    Set `uri`, or override the fixture `harness`; nothing else needs to be said.

    Attributes:
        uri: A URI in which `{tmp}` stands for a fresh, empty folder of each test.
        exclusions: Tests that the store is known to fail → why: `{"test_name": "reason"}`, also
            `"test_name[parameter]"`. They run all the same, and one that passes fails the run as stale.
        big_file_size: Bytes of the file that must pass in little memory.
    """

    uri: ClassVar[str] = ""
    exclusions: ClassVar[Mapping[str, str]] = {}
    big_file_size: ClassVar[int] = 256 << 20

    @pytest.fixture
    def harness(self, tmp_path: Path) -> Iterator[ArtifactHarness]:
        """The place of the store under test; override it for stores that no URI alone can name."""
        if not self.uri:
            pytest.fail(
                f"{type(self).__name__} names no store: set `uri`, or override the fixture `harness`.", pytrace=False
            )
        folder = tmp_path / "place"
        folder.mkdir()
        harness = UriArtifactHarness(self.uri, folder)
        yield harness
        harness.remove()

    @pytest.fixture
    def store(self, harness: ArtifactHarness) -> Iterator[ArtifactStore]:
        """The store, open for reading and writing."""
        with harness.open() as store:
            yield store

    @pytest.fixture
    def local(self, tmp_path: Path) -> Path:
        """An empty local folder, for what is uploaded and downloaded."""
        folder = tmp_path / "local"
        folder.mkdir()
        return folder

    @pytest.fixture(autouse=True)
    def select_by_requirements(self, request: pytest.FixtureRequest) -> None:
        """Skip a test whose requirements the store does not meet, naming them; apply declared exclusions."""
        excluded = self.exclusions.get(request.node.name) or self.exclusions.get(request.node.originalname)
        if excluded:
            request.applymarker(pytest.mark.xfail(reason=f"declared exclusion: {excluded}", strict=True))
        needed = [name for mark in request.node.iter_markers("requires") for name in mark.args]
        unknown = [name for name in needed if name not in _FLAGS]
        if unknown:
            raise pytest.UsageError(f"unknown requirement {unknown[0]!r}")
        if needed:
            store: ArtifactStore = request.getfixturevalue("store")
            missing = [name for name in needed if not getattr(store.capabilities, name)]
            if missing:
                pytest.skip(f"store lacks: {', '.join(missing)}")

    def test_subclass_suite_without_reason_changes_no_test(self) -> None:
        """A suite means the same for every store.

        Usual cause of failure: a test was overridden or set to None. Declare it in `exclusions` with a reason, or mark
        the override `xfail(reason=…, strict=True)`.
        """
        assert find_weakenings(type(self)) == []
        assert check_exclusions(type(self)) == []
