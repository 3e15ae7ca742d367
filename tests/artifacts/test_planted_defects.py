"""The artifact suite catches planted defects: each is put into a copy of the local store, and the suite must fail."""

from __future__ import annotations

import os
import subprocess
import sys
import unicodedata
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import ClassVar
from urllib.parse import unquote
from xml.etree import ElementTree

import pytest

from holdall.artifacts.local import LocalArtifactStore
from holdall.conformance_tests.artifacts import ArtifactStoreSuite, UriArtifactHarness
from holdall.stores import ArtifactStore, FileInfo, NotFound
from holdall.stores.artifact_io import ArtifactWriter, Digest, OpenedArtifact
from holdall.stores.transfers import Transfer


class Sound(LocalArtifactStore):
    """No defect."""


class DeletesByPrefix(LocalArtifactStore):
    def _delete(self, path: str) -> None:
        folder, _, name = path.rpartition("/")
        for info in list(self._list(folder)):
            if info.path.rpartition("/")[2].startswith(name):
                super()._delete(info.path)


class DeletesOnce(LocalArtifactStore):
    def _delete(self, path: str) -> None:
        if path and self._stat(path) is None:
            raise NotFound(f"There is no artifact {path!r}.")
        super()._delete(path)


class DecodesNames(LocalArtifactStore):
    def _open_writer(self, path: str, size: int | None) -> ArtifactWriter:
        return super()._open_writer(unquote(path), size)


class NormalisesNames(LocalArtifactStore):
    def _open_writer(self, path: str, size: int | None) -> ArtifactWriter:
        return super()._open_writer(unicodedata.normalize("NFC", path), size)


class IgnoresCase(LocalArtifactStore):
    def _stat(self, path: str) -> FileInfo | None:
        return super()._stat(path) or super()._stat(path.lower())


class ListsDeep(LocalArtifactStore):
    def list_artifacts(self, path: str | None = None) -> list[FileInfo]:
        return list(self.walk(path))


class ListsUnsorted(LocalArtifactStore):
    def _children(self, path: str) -> list[FileInfo]:
        return super()._children(path)[::-1]


class ListsFirstPage(LocalArtifactStore):
    def _list(self, path: str) -> Iterator[FileInfo]:
        yield from sorted(super()._list(path), key=lambda info: info.path)[:1000]


class HidesDotFiles(LocalArtifactStore):
    def _list(self, path: str) -> Iterator[FileInfo]:
        yield from (info for info in super()._list(path) if not info.path.rpartition("/")[2].startswith("."))


class TrustsListings(LocalArtifactStore):
    def _children(self, path: str) -> list[FileInfo]:
        return sorted(self._list(path), key=lambda info: info.path)


class IgnoresOffset(LocalArtifactStore):
    def _open_reader(self, path: str, offset: int = 0, length: int | None = None) -> OpenedArtifact:
        return super()._open_reader(path)


class DownloadsUnverified(LocalArtifactStore):
    def _download_file(self, info: FileInfo, target: Path, transfer: Transfer) -> None:
        stream = self._open_reader(info.path).stream
        target.write_bytes(stream.read(1 << 30) or b"")
        stream.close()


class PlainWriter(ArtifactWriter):
    """Writes to the final name at once."""

    def __init__(self, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        self._file = file.open("wb", buffering=0)

    def write(self, data: bytes | memoryview) -> None:
        self._file.write(data)

    def commit(self, expected: Digest) -> None:
        self._file.close()

    def abort(self) -> None:
        self._file.close()


class WritesInPlace(LocalArtifactStore):
    def _open_writer(self, path: str, size: int | None) -> ArtifactWriter:
        return PlainWriter(self.uri.local_path / path)


class ChangedWriter(ArtifactWriter):
    """Passes everything on; subclasses differ in one point."""

    def __init__(self, inner: ArtifactWriter, file: Path) -> None:
        self._inner, self._file = inner, file

    def write(self, data: bytes | memoryview) -> None:
        self._inner.write(data)

    def commit(self, expected: Digest) -> None:
        self._inner.commit(expected)

    def abort(self) -> None:
        self._inner.abort()


class UnverifiedWriter(ChangedWriter):
    def __init__(self, inner: ArtifactWriter, file: Path) -> None:
        super().__init__(inner, file)
        self._parts: list[bytes] = []

    def write(self, data: bytes | memoryview) -> None:
        self._parts.append(bytes(data))

    def commit(self, expected: Digest) -> None:
        self._inner.abort()
        self._file.parent.mkdir(parents=True, exist_ok=True)
        self._file.write_bytes(b"".join(self._parts))


class UploadsUnverified(LocalArtifactStore):
    def _open_writer(self, path: str, size: int | None) -> ArtifactWriter:
        return UnverifiedWriter(super()._open_writer(path, size), self.uri.local_path / path)


class HoldsFileInMemory(UploadsUnverified):
    """The same mistake, seen from its other side."""


class LitteringWriter(ChangedWriter):
    def abort(self) -> None:
        self._file.with_name("leftover").write_bytes(b"")
        self._inner.abort()


class LeavesPartsBehind(LocalArtifactStore):
    def _open_writer(self, path: str, size: int | None) -> ArtifactWriter:
        return LitteringWriter(super()._open_writer(path, size), self.uri.local_path / path)


class UploadsChangingFiles(LocalArtifactStore):
    def _upload_file(self, source: Path, path: str, transfer: Transfer) -> None:
        with source.open("rb") as file, self.open(path, "wb") as upload:
            total = os.fstat(file.fileno()).st_size
            while chunk := file.read(1 << 20):
                upload.write(chunk)
                transfer.report(path, upload.tell(), total)
        transfer.report(path, total, total, complete=True)


class WritesReadOnly(LocalArtifactStore):
    def _check_writable(self) -> None:
        self._check_open()


class WorksWhenClosed(LocalArtifactStore):
    def _check_open(self) -> None:
        pass


class ForgetsToValidate(LocalArtifactStore):
    def exists(self, path: str | None) -> bool:
        self._check_open()
        with suppress(NotFound):
            return self._stat(path or "") is not None
        return False


DEFECTS: dict[type[LocalArtifactStore], str] = {
    DeletesByPrefix: "test_delete_folder_keeps_names_that_begin_like_it",
    DeletesOnce: "test_delete_missing_path_does_nothing",
    DecodesNames: "test_keep_names_that_others_confuse_apart",
    NormalisesNames: "test_keep_names_that_others_confuse_apart",
    IgnoresCase: "test_stat_tells_files_folders_and_missing_paths_apart",
    ListsDeep: "test_list_folder_shows_one_level_sorted_with_sizes",
    ListsUnsorted: "test_list_folder_shows_one_level_sorted_with_sizes",
    ListsFirstPage: "test_handle_more_than_a_thousand_files_loses_none",
    HidesDotFiles: "test_download_folder_goes_under_its_name",
    TrustsListings: "test_download_from_hostile_listing_writes_nothing",
    IgnoresOffset: "test_seek_in_opened_file_reads_from_there",
    DownloadsUnverified: "test_cut_download_leaves_no_file",
    WritesInPlace: "test_open_for_writing_appears_when_closed_and_not_before",
    UploadsUnverified: "test_upload_that_arrives_changed_leaves_no_file",
    HoldsFileInMemory: "test_move_big_file_stays_under_memory_ceiling",
    LeavesPartsBehind: "test_abort_upload_leaves_nothing",
    UploadsChangingFiles: "test_source_that_changes_during_upload_leaves_no_file",
    WritesReadOnly: "test_write_through_read_only_store_is_refused",
    WorksWhenClosed: "test_use_store_after_close_is_refused",
    ForgetsToValidate: "test_pass_hostile_path_to_any_method_is_refused",
}
"""Defect → the test of the suite that must catch it."""


class PlantedHarness(UriArtifactHarness):
    """Opens a given class of store instead of that of the URI's scheme."""

    kind: type[LocalArtifactStore] = Sound

    def open(self, *, read_only: bool = False) -> ArtifactStore:
        return self.kind(self.uri, read_only=read_only)


class PlantedSound(ArtifactStoreSuite):
    """Collected by the run below only."""

    kind: ClassVar[type[LocalArtifactStore]] = Sound
    big_file_size = 80 << 20

    @pytest.fixture
    def harness(self, tmp_path: Path) -> PlantedHarness:
        folder = tmp_path / "place"
        folder.mkdir()
        harness = PlantedHarness("{tmp}/root", folder)
        harness.kind = self.kind
        return harness


for _kind in DEFECTS:
    globals()[f"Planted{_kind.__name__}"] = type(f"Planted{_kind.__name__}", (PlantedSound,), {"kind": _kind})


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], set[str]]:
    """`passed`, `failure`, `error` or `skipped`, all of a test's parameters together, by class and test."""
    folder = tmp_path_factory.mktemp("planted")
    report = folder / "report.xml"
    pairs = [*DEFECTS.items()] + [(Sound, test) for test in {*DEFECTS.values()}]
    code = f"import sys; sys.path[:] = {sys.path!r}; import pytest; sys.exit(pytest.main(sys.argv[1:]))"
    options = ["-q", "--import-mode=importlib", "-p", "no:cacheprovider", "-p", "no:xdist"]
    for setting in (
        "python_classes=Planted",
        "addopts=",
        "markers=requires(*names): what the store must be able to do",
    ):
        options += ["-o", setting]
    tests = [f"{__file__}::Planted{kind.__name__}::{test}" for kind, test in pairs]
    command = [sys.executable, "-c", code, *options, f"--basetemp={folder / 'inner'}", f"--junitxml={report}", *tests]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert report.is_file(), done.stdout + done.stderr
    found: dict[tuple[str, str], set[str]] = {}
    for case in ElementTree.parse(report).getroot().iter("testcase"):
        outcome = next((child.tag for child in case if child.tag in ("failure", "error", "skipped")), "passed")
        key = case.attrib["classname"].rpartition(".Planted")[2], case.attrib["name"].partition("[")[0]
        found.setdefault(key, set()).add(outcome)
    return found


@pytest.mark.parametrize("test", sorted({*DEFECTS.values()}))
def test_run_suite_on_sound_copy_passes(outcomes: dict[tuple[str, str], set[str]], test: str) -> None:
    assert outcomes["Sound", test] == {"passed"}


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.__name__)
def test_run_suite_on_planted_defect_fails(
    outcomes: dict[tuple[str, str], set[str]], defect: type[LocalArtifactStore]
) -> None:
    found = outcomes[defect.__name__, DEFECTS[defect]]
    assert "failure" in found
    assert found <= {"failure", "passed"}
