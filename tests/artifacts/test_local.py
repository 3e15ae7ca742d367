"""`LocalArtifactStore`: the suite by path and by URI, and what is its own."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from holdall.artifacts.local import LocalArtifactStore
from holdall.conformance_tests.artifacts import ArtifactStoreSuite
from holdall.stores import (
    FileInfo,
    HoldallError,
    InternalError,
    InvalidParameterValue,
    NotFound,
    ReadOnly,
    StoreURI,
    TemporarilyUnavailable,
    open_artifact_store,
)
from holdall.stores.atomic_file import PRIVATE_PREFIX, STALE_SECONDS
from holdall.stores.paths import validate_artifact_path


class TestSuiteByPath(ArtifactStoreSuite):
    uri = "{tmp}/a root"


class TestSuiteByFileURI(ArtifactStoreSuite):
    uri = "file://{tmp}/a%20root%2525"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "root"


@pytest.fixture
def store(root: Path) -> Iterator[LocalArtifactStore]:
    with LocalArtifactStore(StoreURI.parse(root)) as store:
        yield store


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder beside the root, with a file in it."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "secret").write_bytes(b"secret")
    return folder


def put(store: LocalArtifactStore, path: str, data: bytes = b"data") -> None:
    with store.open(path, "wb") as upload:
        upload.write(data)


def tree(folder: Path) -> dict[str, bytes | None]:
    """Everything below a folder: content of files, None for folders and links."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() and not path.is_symlink() else None
        for path in sorted(folder.rglob("*"))
    }


class TestRoot:
    def test_open_store_without_root_creates_nothing(self, root: Path) -> None:
        for read_only in (True, False):
            with LocalArtifactStore(StoreURI.parse(root / "deep"), read_only=read_only) as store:
                assert store.list_artifacts() == []
                assert list(store.walk()) == []
                with pytest.raises(NotFound):
                    store.open("file")
        assert not root.exists()

    def test_write_first_file_creates_root_and_parents(self, root: Path) -> None:
        with LocalArtifactStore(StoreURI.parse(root / "deep")) as store:
            put(store, "file")
        assert tree(root) == {"deep": None, "deep/file": b"data"}

    def test_change_directory_after_opening_keeps_relative_root(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path)
        with open_artifact_store("root") as store:
            monkeypatch.chdir(tmp_path / "elsewhere")
            with store.open("file", "wb") as upload:
                upload.write(b"data")
        assert tree(tmp_path) == {"elsewhere": None, "root": None, "root/file": b"data"}

    def test_reach_root_through_link_follows_it(self, tmp_path: Path, root: Path) -> None:
        root.mkdir()
        (tmp_path / "link").symlink_to(root)
        with open_artifact_store(tmp_path / "link") as store:
            with store.open("d/file", "wb") as upload:
                upload.write(b"data")
            assert [info.path for info in store.walk()] == ["d", "d/file"]
        assert tree(root) == {"d": None, "d/file": b"data"}

    def test_open_file_as_root_is_refused(self, root: Path) -> None:
        root.write_bytes(b"")
        with pytest.raises(InvalidParameterValue, match="not a folder"):
            open_artifact_store(root)

    def test_open_other_scheme_is_refused(self) -> None:
        with pytest.raises(InvalidParameterValue, match="not a local folder"):
            LocalArtifactStore(StoreURI.parse("s3://bucket/prefix"))

    def test_write_files_and_folders_takes_modes_from_umask(self, store: LocalArtifactStore, root: Path) -> None:
        before = os.umask(0o027)
        try:
            put(store, "d/file")
        finally:
            os.umask(before)
        modes = {path: path.stat().st_mode & 0o7777 for path in (root, root / "d", root / "d" / "file")}
        assert modes == {root: 0o750, root / "d": 0o750, root / "d" / "file": 0o640}

    def test_download_file_takes_mode_from_umask(self, store: LocalArtifactStore, tmp_path: Path) -> None:
        put(store, "file")
        before = os.umask(0o077)
        try:
            target = store.download_artifacts("file", tmp_path / "dst")
        finally:
            os.umask(before)
        assert target.stat().st_mode & 0o7777 == 0o600


ESCAPES: dict[str, tuple[str, str]] = {
    "file": ("link", "{outside}/secret"),
    "file by relative link": ("link", "../outside/secret"),
    "folder": ("link", "{outside}"),
    "file in linked folder": ("link/secret", "{outside}"),
    "new file in linked folder": ("link/new", "{outside}"),
    "new folder in linked folder": ("link/new/new", "{outside}"),
    "folder above": ("link/outside/secret", ".."),
    "folder with a similar name": ("link/x", "{root}-2"),
    "back and forth": ("link/secret", "{root}/d/../../outside"),
    "file system": ("link/etc/passwd", "/"),
    "link to a link": ("link/secret", "second"),
    "loop": ("link", "link"),
    "loop in folder": ("link/x", "link/link"),
}

OPERATIONS: dict[str, Callable[[LocalArtifactStore, str, Path], object]] = {
    "open rb": lambda store, path, local: store.open(path),
    "open wb": lambda store, path, local: store.open(path, "wb"),
    "stat": lambda store, path, local: store.stat(path),
    "exists": lambda store, path, local: store.exists(path),
    "list": lambda store, path, local: store.list_artifacts(path),
    "walk": lambda store, path, local: list(store.walk(path)),
    "download": lambda store, path, local: store.download_artifacts(path, local / "dst"),
    "delete": lambda store, path, local: store.delete_artifacts(path),
    "log": lambda store, path, local: store.log_artifact(local / "file", path),
    "log folder": lambda store, path, local: store.log_artifacts(local, path),
}


class TestLinks:
    @pytest.mark.parametrize(("path", "target"), ESCAPES.values(), ids=ESCAPES.keys())
    @pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS.keys())
    def test_use_link_out_of_root_is_refused(
        self,
        store: LocalArtifactStore,
        root: Path,
        outside: Path,
        tmp_path: Path,
        operation: Callable[[LocalArtifactStore, str, Path], object],
        path: str,
        target: str,
    ) -> None:
        """mlflow#18964, mlflow#19260: symlinks in an artifact folder led out of it."""
        put(store, "d/file")
        local = tmp_path / "local"
        local.mkdir()
        (local / "file").write_bytes(b"mine")
        (root.with_name("root-2")).mkdir()
        (root / "second").symlink_to(outside)
        (root / "link").symlink_to(target.format(outside=outside, root=root))
        before = tree(tmp_path)
        with pytest.raises(InvalidParameterValue, match="link"):
            operation(store, path, local)
        assert tree(tmp_path) == before

    @pytest.mark.parametrize("prefix", ["", "{root}/"], ids=["relative", "absolute"])
    def test_use_link_inside_root_follows_it(self, store: LocalArtifactStore, root: Path, prefix: str) -> None:
        put(store, "v2/model", b"two")
        prefix = prefix.format(root=root)
        (root / "latest").symlink_to(f"{prefix}v2")
        (root / "model").symlink_to(f"{prefix}latest/../v2/./model")
        assert store.list_artifacts("latest") == [FileInfo("latest/model", False, 3)]
        assert store.stat("model") == FileInfo("model", False, 3)
        for path in ("model", "latest/model"):
            with store.open(path) as reader:
                assert reader.read() == b"two"
        put(store, "latest/new")
        assert (root / "v2" / "new").read_bytes() == b"data"
        assert [info.path for info in store.list_artifacts()] == ["latest", "model", "v2"]

    def test_list_folder_with_unusable_links_leaves_them_out(
        self, store: LocalArtifactStore, root: Path, outside: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        put(store, "d/file")
        (root / "d" / "out").symlink_to(outside)
        (root / "d" / "loop").symlink_to("loop")
        (root / "d" / "broken").symlink_to("nowhere")
        assert [info.path for info in store.walk()] == ["d", "d/file"]
        assert "'d/out'" in caplog.text
        store.download_artifacts("", tmp_path / "dst")
        assert tree(tmp_path / "dst") == {"d": None, "d/file": b"data"}

    def test_walk_folders_that_link_to_each_other_ends(self, store: LocalArtifactStore, root: Path) -> None:
        put(store, "a/file")
        put(store, "b/file")
        (root / "a" / "self").symlink_to(".")
        (root / "a" / "up").symlink_to("..")
        (root / "a" / "b").symlink_to("../b")
        (root / "b" / "a").symlink_to("../a")
        found = [info.path for info in store.walk()]
        assert found == ["a", "a/b", "a/b/file", "a/file", "b", "b/a", "b/a/file", "b/file"]

    def test_delete_link_keeps_its_target(self, store: LocalArtifactStore, root: Path, outside: Path) -> None:
        put(store, "v2/model")
        (root / "latest").symlink_to("v2")
        (root / "broken").symlink_to("nowhere/at/all")
        store.delete_artifacts("latest")
        store.delete_artifacts("broken")
        assert tree(root) == {"v2": None, "v2/model": b"data"}

    def test_delete_folder_with_link_out_of_root_keeps_its_target(
        self, store: LocalArtifactStore, root: Path, outside: Path
    ) -> None:
        put(store, "d/file")
        (root / "d" / "link").symlink_to(outside)
        (root / "link").symlink_to(outside)
        store.delete_artifacts("d")
        store.delete_artifacts()
        assert tree(root) == {}
        assert tree(outside) == {"secret": b"secret"}

    @pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS.keys())
    def test_swap_folder_for_link_during_the_check_never_leads_out(
        self,
        store: LocalArtifactStore,
        root: Path,
        outside: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        operation: Callable[[LocalArtifactStore, str, Path], object],
    ) -> None:
        """The folder becomes a link after it was found to be none, before it is entered."""
        put(store, "d/secret", b"mine")
        local = tmp_path / "local"
        local.mkdir()
        (local / "file").write_bytes(b"mine")
        genuine = os.readlink

        def swap(name: str, *, dir_fd: int) -> str:
            try:
                return genuine(name, dir_fd=dir_fd)
            finally:
                if name == "d" and not (root / "d").is_symlink():
                    (root / "d").rename(tmp_path / "moved")
                    (root / "d").symlink_to(outside)

        monkeypatch.setattr(os, "readlink", swap)
        try:
            result = operation(store, "d/secret", local)
        except (NotFound, InvalidParameterValue):
            pass
        else:
            assert result in (None, False, [])
        assert tree(outside) == {"secret": b"secret"}
        assert not (local / "dst").exists()


class TestUnfinishedFiles:
    def test_validate_private_name_as_path_is_refused(self) -> None:
        with pytest.raises(InvalidParameterValue):
            validate_artifact_path(f"{PRIVATE_PREFIX}0123")

    def test_list_root_during_upload_hides_private_file(self, store: LocalArtifactStore, root: Path) -> None:
        with store.open("d/file", "wb") as upload:
            upload.write(b"x" * 3_000_000)
            [private] = root.iterdir()
            assert private.name.startswith(PRIVATE_PREFIX)
            assert store.list_artifacts() == []
        assert tree(root) == {"d": None, "d/file": b"x" * 3_000_000}

    def test_delete_root_during_upload_keeps_the_upload(self, store: LocalArtifactStore, root: Path) -> None:
        put(store, "old")
        with store.open("d/file", "wb") as upload:
            upload.write(b"data")
            store.delete_artifacts()
        assert tree(root) == {"d": None, "d/file": b"data"}

    def test_upload_folder_that_holds_a_root_leaves_private_files_out(
        self, store: LocalArtifactStore, root: Path, tmp_path: Path
    ) -> None:
        put(store, "file")
        with store.open("other", "wb") as upload:
            upload.write(b"x")
            store.log_artifacts(root, "copy")
        assert tree(root / "copy") == {"file": b"data"}

    def test_write_first_file_removes_day_old_remains_only(self, store: LocalArtifactStore, root: Path) -> None:
        root.mkdir()
        old, new = root / f"{PRIVATE_PREFIX}old", root / f"{PRIVATE_PREFIX}new"
        old.write_bytes(b"x")
        new.write_bytes(b"x")
        stale = new.stat().st_mtime - STALE_SECONDS - 60
        os.utime(old, (stale, stale))
        assert store.list_artifacts() == []
        put(store, "file")
        assert set(root.iterdir()) == {new, root / "file"}

    def test_kill_writer_in_mid_file_leaves_no_short_file(self, store: LocalArtifactStore, root: Path) -> None:
        put(store, "d/file", b"old")
        code = f"""
            import sys
            sys.path[:] = {sys.path!r}
            from holdall.stores import open_artifact_store
            store = open_artifact_store({str(root)!r})
            for path in ("d/file", "d/new"):
                upload = store.open(path, "wb")
                upload.write(b"x" * 5_000_000)
                globals()[path] = upload
            print("written", flush=True)
            sys.stdin.read()
        """
        with subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(code)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as writer:
            assert writer.stdout is not None
            assert writer.stdout.readline() == b"written\n"
            assert sum(path.stat().st_size for path in root.glob(f"{PRIVATE_PREFIX}*")) == 10_000_000
            writer.kill()
            assert writer.wait() == -signal.SIGKILL
        assert list(store.walk()) == [FileInfo("d", True), FileInfo("d/file", False, 3)]
        put(store, "d/new")
        assert tree(root / "d") == {"file": b"old", "new": b"data"}

    def test_write_file_flushes_it_before_it_gets_its_name(
        self, store: LocalArtifactStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        steps: list[str] = []

        def recorded(name: str) -> Callable[..., None]:
            genuine: Callable[..., None] = getattr(os, name)

            def call(*arguments: object, **options: object) -> None:
                steps.append(name)
                genuine(*arguments, **options)

            return call

        for name in ("fsync", "replace"):
            monkeypatch.setattr(os, name, recorded(name))
        put(store, "file")
        assert steps == ["fsync", "replace"]

    @pytest.mark.parametrize(
        ("code", "kind"), [(errno.ENOSPC, InternalError), (errno.EIO, InternalError), (errno.EACCES, ReadOnly)]
    )
    def test_fail_to_write_leaves_nothing(
        self,
        store: LocalArtifactStore,
        root: Path,
        monkeypatch: pytest.MonkeyPatch,
        code: int,
        kind: type[HoldallError],
    ) -> None:
        def fail(file: int, data: bytes) -> int:
            raise OSError(code, "driver text")

        put(store, "file", b"old")
        monkeypatch.setattr(os, "write", fail)
        with pytest.raises(kind, match=os.strerror(code)) as caught:
            put(store, "file", b"new")
        assert "driver text" not in caught.value.message
        assert tree(root) == {"file": b"old"}

    def test_write_into_folder_that_is_always_deleted_gives_up(
        self, store: LocalArtifactStore, root: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def vanish(*names: str, **folders: int) -> None:
            raise FileNotFoundError

        monkeypatch.setattr(os, "replace", vanish)
        with pytest.raises(TemporarilyUnavailable):
            put(store, "d/file")
        assert tree(root) == {"d": None}


class TestForeignFiles:
    def test_list_names_that_no_path_can_have_leaves_them_out(
        self, store: LocalArtifactStore, root: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        put(store, "file")
        (root / "a%2f%2e%2e%2fb").write_bytes(b"")
        (root / "..%2f").write_bytes(b"")
        (root / os.fsdecode(b"latin-\xe9")).write_bytes(b"")
        assert store.list_artifacts() == [FileInfo("file", False, 4)]
        assert caplog.text.count("Left out") == 3

    def test_open_pipe_is_refused_without_waiting(self, store: LocalArtifactStore, root: Path, tmp_path: Path) -> None:
        put(store, "file")
        os.mkfifo(root / "pipe")
        assert [info.path for info in store.list_artifacts()] == ["file"]
        assert not store.exists("pipe")
        with pytest.raises(InvalidParameterValue, match="not a file"):
            store.open("pipe")
        with pytest.raises(InvalidParameterValue, match="pipe"):
            store.log_artifacts(root, "copy")
        with pytest.raises(InvalidParameterValue, match="regular"):
            store.log_artifact(root / "pipe")
        store.delete_artifacts("pipe")
        assert tree(root) == {"file": b"data"}

    def test_handle_path_longer_than_the_system_takes_at_once(self, store: LocalArtifactStore, root: Path) -> None:
        path = "/".join(["n" * 250] * 16)
        put(store, path)
        assert sum(1 for _ in store.walk()) == 16
        with store.open(path) as reader:
            assert reader.read() == b"data"
        store.delete_artifacts(path.partition("/")[0])
        assert tree(root) == {}

    def test_handle_deepest_path_that_is_allowed(self, store: LocalArtifactStore, root: Path) -> None:
        path = "/".join(["d"] * 256)
        put(store, path)
        assert store.stat(path).file_size == 4
        store.delete_artifacts("d")
        assert tree(root) == {}
