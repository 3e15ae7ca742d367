"""Sections of the artifact suite: reading, writing, deleting."""

from __future__ import annotations

import gc
import io
from pathlib import Path

import pytest

from holdall.conformance_tests.artifact_base import ArtifactHarness, ArtifactSuite
from holdall.conformance_tests.support import refuses, requires
from holdall.stores import ArtifactStore, FileInfo, InvalidParameterValue, NotFound

__all__ = ["DeleteTests", "ReadTests", "WriteTests", "fill", "put"]


def put(store: ArtifactStore, path: str, data: bytes = b"data") -> None:
    """Write a file through the store."""
    with store.open(path, "wb") as upload:
        upload.write(data)


def fill(harness: ArtifactHarness, *paths: str) -> None:
    """Put files there behind the store's back, each with its own path as content."""
    for path in paths:
        harness.raw_write(path, path.encode())


def paths(infos: list[FileInfo]) -> list[str]:
    return [info.path for info in infos]


class ReadTests(ArtifactSuite):
    """What was put there behind the store's back is found, with its size and bytes."""

    def test_list_new_store_is_empty(self, store: ArtifactStore) -> None:
        """A place that nothing was written to holds nothing, and its root exists.

        Usual cause of failure: the harness gives the same place to several tests.
        """
        assert store.list_artifacts() == []
        assert store.stat(None) == FileInfo("", is_dir=True)
        assert store.exists("")

    def test_list_folder_shows_one_level_sorted_with_sizes(
        self, store: ArtifactStore, harness: ArtifactHarness
    ) -> None:
        """Listings hold one level, sorted by path, paths from the store's root, sizes of files only.

        Usual cause of failure: paths relative to the folder asked for, or all objects of a prefix.
        """
        fill(harness, "d/b", "d/a/deep/x", "d/B", "top", "dd/y")
        assert store.list_artifacts() == [FileInfo("d", True), FileInfo("dd", True), FileInfo("top", False, 3)]
        expected = [FileInfo("d/B", False, 3), FileInfo("d/a", True), FileInfo("d/b", False, 3)]
        assert store.list_artifacts("d") == expected
        assert store.list_artifacts("d/") == expected

    @pytest.mark.parametrize("path", ["d/file", "missing", "d/file/below", "d/f"])
    def test_list_file_or_missing_path_is_empty(
        self, store: ArtifactStore, harness: ArtifactHarness, path: str
    ) -> None:
        """A file, a missing path and a mere prefix of a name hold nothing: `[]`, as in MLflow."""
        fill(harness, "d/file")
        assert store.list_artifacts(path) == []

    def test_walk_shows_each_folder_before_what_it_holds(self, store: ArtifactStore, harness: ArtifactHarness) -> None:
        """`walk` finds everything below a folder, once."""
        fill(harness, "d/a/x", "d/b", "d/a/y/z", "e")
        assert paths(list(store.walk())) == ["d", "d/a", "d/a/x", "d/a/y", "d/a/y/z", "d/b", "e"]
        assert paths(list(store.walk("d/a"))) == ["d/a/x", "d/a/y", "d/a/y/z"]
        assert list(store.walk("missing")) == []

    def test_stat_tells_files_folders_and_missing_paths_apart(
        self, store: ArtifactStore, harness: ArtifactHarness
    ) -> None:
        """`stat` and `exists` agree; a missing path is `NotFound`, also below a file and as a prefix of a name."""
        fill(harness, "d/file")
        assert store.stat("d/file") == FileInfo("d/file", False, 6)
        assert store.stat("d") == FileInfo("d", True)
        assert store.exists("d/file")
        assert store.exists("d")
        for path in ("missing", "d/f", "d/file/below", "D/file"):
            refuses(NotFound, store.stat, path)
            assert not store.exists(path)

    def test_open_file_reads_its_bytes(self, store: ArtifactStore, harness: ArtifactHarness) -> None:
        """Reading gives the bytes that are there, in binary: no end of line or zero is touched."""
        data = bytes(range(256)) * 5000 + b"\r\n\x1a\0"
        harness.raw_write("d/file", data)
        with store.open("d/file") as reader:
            assert reader.read() == data

    def test_open_empty_file_reads_nothing(self, store: ArtifactStore, harness: ArtifactHarness) -> None:
        """A file of zero bytes is a file: listed, read, downloaded."""
        harness.raw_write("empty", b"")
        assert store.list_artifacts() == [FileInfo("empty", False, 0)]
        with store.open("empty") as reader:
            assert reader.read() == b""

    def test_seek_in_opened_file_reads_from_there(self, store: ArtifactStore, harness: ArtifactHarness) -> None:
        """Readers seek, as zip and parquet readers need it.

        Usual cause of failure: `_open_reader` ignores the offset, or announces the size of the rest as that of the
        file.
        """
        data = bytes(index * 7 % 251 for index in range(1_000_000))
        harness.raw_write("file", data)
        with store.open("file") as reader:
            assert reader.seek(-5, io.SEEK_END) == len(data) - 5
            assert reader.read() == data[-5:]
            for offset in (777_777, 3, 500_000, len(data), len(data) + 10):
                reader.seek(offset)
                assert reader.read(1000) == data[offset : offset + 1000]
            reader.seek(0)
            assert reader.read() == data

    @pytest.mark.parametrize(
        ("path", "error"), [("missing", NotFound), ("d/f", NotFound), ("d", InvalidParameterValue)]
    )
    def test_open_path_without_file_is_refused(
        self, store: ArtifactStore, harness: ArtifactHarness, path: str, error: type[NotFound]
    ) -> None:
        """A missing file is `NotFound` at `open`, not at the first read; a folder is `InvalidParameterValue`."""
        fill(harness, "d/file")
        refuses(error, store.open, path)

    def test_open_with_unknown_mode_is_refused(self, store: ArtifactStore) -> None:
        """Only `rb` and `wb` exist: no text, no appending."""
        refuses(InvalidParameterValue, store.open, "file", "ab")

    def test_digest_file_matches_its_bytes(self, store: ArtifactStore, harness: ArtifactHarness) -> None:
        """`digest` gives size and SHA-256, whatever the service keeps."""
        harness.raw_write("file", b"abc")
        digest = store.digest("file")
        assert (digest.algorithm, digest.size) == ("sha256", 3)
        assert digest.value == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"

    def test_download_file_goes_under_its_name(
        self, store: ArtifactStore, harness: ArtifactHarness, local: Path
    ) -> None:
        """A file goes to `dst/<name>`, without the remote folders; `dst` is made; a file there is replaced."""
        fill(harness, "d/e/file")
        for _ in range(2):
            target = store.download_artifacts("d/e/file", local / "new" / "dst")
            assert target == local / "new" / "dst" / "file"
            assert target.read_bytes() == b"d/e/file"
            target.write_bytes(b"old")

    def test_download_folder_goes_under_its_name(
        self, store: ArtifactStore, harness: ArtifactHarness, local: Path
    ) -> None:
        """A folder goes to `dst/<name>/…`, and nothing of its neighbours with it."""
        fill(harness, "d/e/file", "d/e/f/.hidden", "d/ee/other")
        target = store.download_artifacts("d/e/", local)
        assert target == local / "e"
        found = {path.relative_to(local).as_posix() for path in local.rglob("*") if path.is_file()}
        assert found == {"e/file", "e/f/.hidden"}

    def test_download_root_goes_into_destination(
        self, store: ArtifactStore, harness: ArtifactHarness, local: Path
    ) -> None:
        """The root goes into `dst` itself; the root of an empty store can be downloaded."""
        assert store.download_artifacts("", local) == local
        fill(harness, "a", "d/b")
        assert store.download_artifacts(None, local) == local
        assert (local / "a").read_bytes() == b"a"
        assert (local / "d" / "b").read_bytes() == b"d/b"

    def test_download_without_destination_goes_to_private_folder(
        self, store: ArtifactStore, harness: ArtifactHarness, local: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Without `dst_path` a new folder is made that only its owner can enter (CVE-2022-0736, CVE-2025-10279)."""
        monkeypatch.setattr("tempfile.tempdir", str(local))
        fill(harness, "d/file")
        target = store.download_artifacts("d/file")
        assert target.parent.parent == local
        assert target.parent.stat().st_mode & 0o777 == 0o700
        assert target.read_bytes() == b"d/file"

    def test_download_missing_path_is_not_found(self, store: ArtifactStore, local: Path) -> None:
        """A missing artifact is `NotFound`, and the destination is not even made."""
        refuses(NotFound, store.download_artifacts, "missing", local / "new")
        assert not (local / "new").exists()

    def test_download_file_onto_folder_is_refused(
        self, store: ArtifactStore, harness: ArtifactHarness, local: Path
    ) -> None:
        """A local folder is never replaced by a file, nor a file by a folder."""
        fill(harness, "d/file")
        (local / "file").mkdir()
        (local / "d").write_bytes(b"mine")
        refuses(InvalidParameterValue, store.download_artifacts, "d/file", local)
        refuses(InvalidParameterValue, store.download_artifacts, "d", local)
        refuses(InvalidParameterValue, store.download_artifacts, "d", local / "d")
        assert (local / "d").read_bytes() == b"mine"

    @requires("empty_directories")
    def test_download_empty_folder_makes_it(self, store: ArtifactStore, local: Path) -> None:
        """Empty folders go both ways where the store has them."""
        (local / "src" / "empty").mkdir(parents=True)
        store.log_artifacts(local / "src")
        assert store.list_artifacts() == [FileInfo("empty", True)]
        store.download_artifacts("", local / "dst")
        assert (local / "dst" / "empty").is_dir()


class WriteTests(ArtifactSuite):
    """What was written is there, byte for byte, for those who do not ask the store."""

    def test_log_artifact_arrives_under_its_name(
        self, store: ArtifactStore, harness: ArtifactHarness, local: Path
    ) -> None:
        """A file goes to `artifact_path/<its name>`, or to the root."""
        source = local / "model.bin"
        source.write_bytes(b"\0\r\n\xff")
        store.log_artifact(source)
        store.log_artifact(str(source), "a/b/")
        assert harness.raw_read("model.bin") == harness.raw_read("a/b/model.bin") == b"\0\r\n\xff"
        assert harness.raw_list() == {"model.bin", "a/b/model.bin"}

    def test_log_artifact_given_folder_arrives_with_its_name(
        self, store: ArtifactStore, harness: ArtifactHarness, local: Path
    ) -> None:
        """A folder goes to `artifact_path/<its name>/…`, as in MLflow."""
        (local / "src" / "sub").mkdir(parents=True)
        (local / "src" / "sub" / "x").write_bytes(b"x")
        store.log_artifact(local / "src", "to")
        assert harness.raw_list() == {"to/src/sub/x"}

    def test_log_artifacts_keeps_hidden_files_and_follows_links(
        self, store: ArtifactStore, harness: ArtifactHarness, local: Path
    ) -> None:
        """Everything in a folder arrives: hidden files, empty files, what links point to, as files."""
        source, elsewhere = local / "src", local / "elsewhere"
        (source / ".git").mkdir(parents=True)
        elsewhere.mkdir()
        (source / ".env").write_bytes(b"1")
        (source / ".git" / "head").write_bytes(b"2")
        (source / "empty").write_bytes(b"")
        (elsewhere / "data").write_bytes(b"3")
        (source / "link").symlink_to(elsewhere / "data")
        (source / "linked").symlink_to(elsewhere)
        store.log_artifacts(source, "to")
        assert harness.raw_list() == {"to/.env", "to/.git/head", "to/empty", "to/link", "to/linked/data"}
        assert harness.raw_read("to/link") == harness.raw_read("to/linked/data") == b"3"

    def test_log_artifacts_with_circular_or_broken_link_is_refused(
        self, store: ArtifactStore, harness: ArtifactHarness, local: Path
    ) -> None:
        """A link to a folder above it, or to nothing, is refused before anything is sent."""
        for name, target in (("circle", "."), ("broken", "nowhere")):
            source = local / name
            source.mkdir()
            (source / "a").write_bytes(b"a")
            (source / "link").symlink_to(target)
            refuses(InvalidParameterValue, store.log_artifacts, source)
        assert harness.raw_list() == set()

    def test_log_missing_local_file_is_not_found(self, store: ArtifactStore, local: Path) -> None:
        """A missing source is a `NotFound` that is a `FileNotFoundError` too, and names the path."""
        for call in (store.log_artifact, store.log_artifacts):
            with pytest.raises(NotFound, match="nowhere") as caught:
                call(local / "nowhere")
            assert isinstance(caught.value, FileNotFoundError)

    def test_log_artifacts_given_file_is_refused(self, store: ArtifactStore, local: Path) -> None:
        """`log_artifacts` takes folders only."""
        (local / "file").write_bytes(b"")
        refuses(InvalidParameterValue, store.log_artifacts, local / "file")

    @requires("empty_directories")
    def test_log_empty_folder_keeps_it(self, store: ArtifactStore, local: Path) -> None:
        """Empty folders are kept where the store has them, whatever way they are logged; again is fine."""
        (local / "src" / "sub" / "empty").mkdir(parents=True)
        for _ in range(2):
            store.log_artifacts(local / "src", "all")
            store.log_artifact(local / "src" / "sub" / "empty")
        assert paths(list(store.walk())) == ["all", "all/sub", "all/sub/empty", "empty"]

    def test_overwrite_file_replaces_all_of_it(self, store: ArtifactStore, harness: ArtifactHarness) -> None:
        """A file written again is the new one, also if the new one is shorter."""
        harness.raw_write("file", b"a longer text")
        put(store, "file", b"short")
        assert harness.raw_read("file") == b"short"
        assert store.stat("file").file_size == 5

    def test_open_for_writing_appears_when_closed_and_not_before(
        self, store: ArtifactStore, harness: ArtifactHarness
    ) -> None:
        """A file being written is seen by nobody until it is closed.

        Usual cause of failure: the store writes to the final name, or its listing shows temporary names.
        """
        with store.open("d/file", "wb") as upload:
            upload.write(b"x" * 3_000_000)
            upload.write(b"y")
            assert upload.tell() == 3_000_001
            assert list(store.walk()) == []
            assert not store.exists("d/file")
            assert harness.raw_read("d/file") is None
        upload.close()
        assert harness.raw_read("d/file") == b"x" * 3_000_000 + b"y"
        assert harness.raw_list() == {"d/file"}

    def test_open_for_writing_in_block_that_raises_leaves_the_old_file(
        self, store: ArtifactStore, harness: ArtifactHarness
    ) -> None:
        """An exception in the `with` block drops the file: the old one stays, nothing else is left."""
        harness.raw_write("d/file", b"old")

        def fail_in_block(path: str) -> None:
            with store.open(path, "wb") as upload:
                upload.write(b"x" * 3_000_000)
                raise KeyError(path)

        for path in ("d/file", "new/file"):
            with pytest.raises(KeyError):
                fail_in_block(path)
        assert harness.raw_read("d/file") == b"old"
        assert harness.raw_list() == {"d/file"}
        assert paths(store.list_artifacts()) == ["d"]

    def test_abort_upload_leaves_nothing(self, store: ArtifactStore, harness: ArtifactHarness) -> None:
        """`abort` drops the file and may be repeated; closing afterwards does not bring it back.

        Usual cause of failure: temporary files, or parts of a multipart upload, stay behind.
        """
        upload = store.open("file", "wb")
        upload.write(b"x" * 3_000_000)
        upload.abort()
        upload.abort()
        upload.close()
        assert upload.closed
        assert harness.raw_list() == set()

    def test_forget_upload_drops_it(self, store: ArtifactStore, harness: ArtifactHarness) -> None:
        """A file that is never closed does not appear when it is collected: half a file must not look whole."""
        upload = store.open("file", "wb")
        upload.write(b"half")
        with pytest.warns(ResourceWarning, match="file") as caught:  # noqa: PT031 - the warning may come late
            del upload
            gc.collect()
        assert len(caught) == 1
        assert harness.raw_list() == set()

    def test_write_text_through_wrapper_arrives(self, store: ArtifactStore, harness: ArtifactHarness) -> None:
        """Uploads are ordinary binary files: text wrappers, `shutil.copyfileobj` and picklers take them."""
        with io.TextIOWrapper(store.open("text", "wb"), encoding="utf-8", newline="") as text:
            text.write("grüß\r\n")
        assert harness.raw_read("text") == "grüß\r\n".encode()

    def test_reopen_store_finds_what_was_written(self, harness: ArtifactHarness) -> None:
        """What a call wrote is there for a store opened later."""
        with harness.open() as first:
            if not first.capabilities.persistent:
                pytest.skip("store lacks: persistent")
            put(first, "d/file", b"kept")
        with harness.open(read_only=True) as second, second.open("d/file") as reader:
            assert reader.read() == b"kept"

    @requires("empty_directories")
    def test_write_where_folder_and_file_collide_is_refused(
        self, store: ArtifactStore, harness: ArtifactHarness, local: Path
    ) -> None:
        """Where folders are things of their own, a file never replaces a folder, nor the other way round."""
        fill(harness, "d/file")
        (local / "d").write_bytes(b"x")
        refuses(InvalidParameterValue, store.log_artifact, local / "d")
        refuses(InvalidParameterValue, store.open, "d", "wb")
        refuses(InvalidParameterValue, store.open, "d/file/x", "wb")
        refuses(InvalidParameterValue, store.log_artifact, local / "d", "d/file")
        assert harness.raw_list() == {"d/file"}


class DeleteTests(ArtifactSuite):
    """Deleting removes exactly what was named, and may be repeated."""

    def test_delete_file_keeps_its_neighbours(self, store: ArtifactStore, harness: ArtifactHarness) -> None:
        """One file can be deleted (mlflow#1555), and nothing goes with it."""
        fill(harness, "d/file", "d/file2", "d/fil", "e")
        store.delete_artifacts("d/file")
        assert harness.raw_list() == {"d/file2", "d/fil", "e"}

    def test_delete_folder_keeps_names_that_begin_like_it(self, store: ArtifactStore, harness: ArtifactHarness) -> None:
        """Deleting `a` keeps `ab`.

        Usual cause of failure: deletion by prefix without the separator.
        """
        fill(harness, "a/x", "a/b/y", "ab", "a.txt", "a b/z", "b/a/x")
        store.delete_artifacts("a")
        assert harness.raw_list() == {"ab", "a.txt", "a b/z", "b/a/x"}
        assert not store.exists("a")

    def test_delete_missing_path_does_nothing(self, store: ArtifactStore, harness: ArtifactHarness) -> None:
        """Deleting is idempotent, also below a file and in a store that was never written to."""
        store.delete_artifacts("missing")
        store.delete_artifacts()
        fill(harness, "file", "gone")
        for path in ("missing", "fil", "file/below", "gone", "gone"):
            store.delete_artifacts(path)
        assert harness.raw_list() == {"file"}

    def test_delete_root_empties_the_store(self, store: ArtifactStore, harness: ArtifactHarness) -> None:
        """None deletes everything, and the store can be written to afterwards."""
        fill(harness, "a", "d/.b", ".c/d")
        store.delete_artifacts(None)
        assert harness.raw_list() == set()
        assert store.list_artifacts() == []
        put(store, "d/new")
        assert harness.raw_list() == {"d/new"}

    def test_handle_more_than_a_thousand_files_loses_none(
        self, store: ArtifactStore, harness: ArtifactHarness, local: Path
    ) -> None:
        """Uploads, listings, downloads and deletions do not stop at 1,000 (mlflow#14654).

        Usual cause of failure: only the first page of a listing is read.
        """
        names = [f"{index:04}" for index in range(1050)]
        source = local / "src"
        source.mkdir()
        for name in names:
            (source / name).write_bytes(name.encode())
        store.log_artifacts(source, "many")
        put(store, "many2")
        assert paths(store.list_artifacts("many")) == [f"many/{name}" for name in names]
        target = store.download_artifacts("many", local / "dst")
        assert {path.name: path.read_text() for path in target.iterdir()} == {name: name for name in names}
        store.delete_artifacts("many")
        assert harness.raw_list() == {"many2"}
