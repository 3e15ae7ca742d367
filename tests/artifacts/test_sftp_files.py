"""Files, folders, links and names on SFTP servers, and what servers say that is not so."""

from __future__ import annotations

import hashlib
import logging
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from paramiko import SFTPAttributes
from tests.artifacts.emulated import storage_server
from tests.artifacts.sftp_server import PlainServer

from holdall.artifacts.sftp.digests import LEAST_SIZE
from holdall.conformance_tests.emulators import SshdServer
from holdall.stores import (
    ArtifactStore,
    DataLoss,
    FileInfo,
    InternalError,
    InvalidParameterValue,
    NotFound,
    PermissionDenied,
    ReadOnly,
    StoreURI,
    open_artifact_store,
)
from holdall.stores.atomic_file import PRIVATE_PREFIX, STALE_SECONDS

pytestmark = pytest.mark.extras


@dataclass(frozen=True)
class Spot:
    """A folder on a server of this machine.

    Attributes:
        uri: Of the store whose root is `root` in it.
        folder: On the disk.
        give: Makes the server's user the owner of something.
        resolves_links: Whether the server says where a path really leads.
    """

    uri: StoreURI
    folder: Path
    give: Callable[[Path], None]
    resolves_links: bool

    @property
    def root(self) -> Path:
        return self.folder / "root"

    def open(self) -> ArtifactStore:
        return open_artifact_store(self.uri)

    def write(self, path: str, data: bytes = b"data") -> Path:
        """Put a file there, past the store, with its folders."""
        file = self.folder / path
        self.make(file.parent)
        file.write_bytes(data)
        self.give(file)
        return file

    def make(self, folder: Path) -> None:
        if not folder.is_dir():
            self.make(folder.parent)
            folder.mkdir()
            self.give(folder)


@pytest.fixture
def plain(tmp_path: Path) -> Iterator[PlainServer]:
    folder = tmp_path / "server"
    folder.mkdir()
    with PlainServer(folder) as server:
        yield server


def plain_spot(server: PlainServer, *options: tuple[str, str]) -> Spot:
    return Spot(
        server.uri(("patience", "1"), *options, path="root"), server.data, lambda path: None, resolves_links=False
    )


@pytest.fixture(params=["sshd", "plain"])
def spot(request: pytest.FixtureRequest) -> Spot:
    """On OpenSSH's server, and on one that cannot tell where links lead."""
    if request.param == "plain":
        return plain_spot(request.getfixturevalue("plain"))
    server = storage_server("sshd")
    assert isinstance(server, SshdServer)
    place = server.create_place()
    folder = server.folder / "data" / place
    owner = folder.stat()
    uri = StoreURI.parse(server.uri(place)).join("root")
    return Spot(
        uri, folder, lambda path: os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False), resolves_links=True
    )


@pytest.fixture
def store(spot: Spot) -> Iterator[ArtifactStore]:
    with spot.open() as store:
        yield store


def put(store: ArtifactStore, path: str, data: bytes = b"data") -> None:
    with store.open(path, "wb") as upload:
        upload.write(data)


def read(store: ArtifactStore, path: str) -> bytes:
    with store.open(path) as reader:
        return reader.read()


def tree(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


class TestLinks:
    @pytest.fixture(autouse=True)
    def files(self, spot: Spot) -> None:
        spot.write("root/d/file", b"inside")
        spot.write("root/e/deep/file", b"deep")
        spot.write("outside/file", b"secret")

    @pytest.mark.parametrize(
        ("link", "target", "path"),
        [
            ("l", "d/file", "l"),
            ("l", "d", "l/file"),
            ("d/l", "../d/file", "d/l"),
            ("d/l", ".././e/deep/../deep", "d/l/file"),
            ("l", "{root}/d", "l/file"),
            ("l", "{root}", "l/d/file"),
            ("l", "{root}/./d//file", "l"),
        ],
    )
    def test_follow_link_that_stays_inside(self, spot: Spot, link: str, target: str, path: str) -> None:
        (spot.root / link).symlink_to(target.format(root=spot.root))
        with spot.open() as store:
            content = read(store, path)
            assert content in (b"inside", b"deep")
            assert store.stat(path) == FileInfo(path, False, len(content))
            put(store, path, b"new")
            assert read(store, path) == b"new"
        assert (spot.root / link).is_symlink()

    def test_follow_links_in_targets_of_links(self, spot: Spot, store: ArtifactStore) -> None:
        """`..` after a link means the folder that holds its target, not the one that holds the link."""
        (spot.root / "short").symlink_to("e/deep")
        (spot.root / "l").symlink_to("short/../deep/file")
        assert read(store, "l") == b"deep"
        (spot.root / "m").symlink_to("short/../../d/file")
        assert read(store, "m") == b"inside"

    def test_follow_absolute_link_below_root_reached_through_link(self, spot: Spot) -> None:
        """A link names the folder that the root really is; servers that cannot tell which that is keep it out."""
        (spot.folder / "way in").symlink_to(spot.root)
        (spot.root / "l").symlink_to(spot.root / "d")
        with open_artifact_store(replace(spot.uri, path=f"{spot.folder}/way in")) as store:
            assert read(store, "d/file") == b"inside"
            if spot.resolves_links:
                assert read(store, "l/file") == b"inside"
            else:
                with pytest.raises(InvalidParameterValue, match="leads out"):
                    store.open("l/file")

    @pytest.mark.parametrize(
        ("link", "target", "path"),
        [
            ("l", "../outside/file", "l"),
            ("l", "../outside", "l/file"),
            ("l", "{folder}/outside", "l/file"),
            ("l", "{root}/../outside", "l/file"),
            ("l", "{root}x", "l/file"),
            ("d/l", "../../outside/file", "d/l"),
            ("d/l", "../d/../../outside", "d/l/file"),
            ("l", "..", "l/outside/file"),
            ("l", "/", "l/etc/passwd"),
            ("l", "m", "l"),
            ("l", "missing/../../outside", "l/file"),
        ],
    )
    def test_refuse_link_that_leads_out_or_in_circles(
        self, spot: Spot, store: ArtifactStore, tmp_path: Path, link: str, target: str, path: str
    ) -> None:
        (spot.root / link).symlink_to(target.format(root=spot.root, folder=spot.folder))
        (spot.root / "m").symlink_to("l")
        (tmp_path / "name").write_bytes(b"new")
        before = tree(spot.folder)
        calls: list[Callable[[], object]] = [
            lambda: store.open(path),
            lambda: store.open(path, "wb"),
            lambda: store.stat(path),
            lambda: store.exists(path),
            lambda: store.list_artifacts(path),
            lambda: list(store.walk(path)),
            lambda: store.download_artifacts(path, tmp_path / "dst"),
            lambda: store.log_artifact(tmp_path / "name", path),
            lambda: store.delete_artifacts(path),
        ]
        for call in calls:
            with pytest.raises(InvalidParameterValue, match="link"):
                call()
        assert tree(spot.folder) == before
        assert (spot.folder / "outside" / "file").read_bytes() == b"secret"
        assert not (tmp_path / "dst").exists()

    def test_list_leaves_bad_links_out_and_ends(
        self, spot: Spot, store: ArtifactStore, caplog: pytest.LogCaptureFixture
    ) -> None:
        for name, target in (
            ("out", "../outside"),
            ("self", "self"),
            ("up", "."),
            ("d/up", ".."),
            ("d/self", "../d"),
            ("broken", "nowhere"),
            ("good", "d/file"),
            ("folder", "e"),
            ("e/again", "../d"),
        ):
            (spot.root / name).symlink_to(target)
        assert [info.path for info in store.walk()] == [
            "d",
            "d/file",
            "e",
            "e/again",
            "e/again/file",
            "e/deep",
            "e/deep/file",
            "folder",
            "folder/deep",
            "folder/deep/file",
            "good",
        ]
        assert [info.path for info in store.list_artifacts()] == ["d", "e", "folder", "good"]
        told = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
        assert all(any(f"'{name}'" in text for text in told) for name in ("out", "self", "up", "d/up", "d/self"))

    def test_delete_link_keeps_what_it_points_to(self, spot: Spot, store: ArtifactStore) -> None:
        (spot.root / "l").symlink_to("d")
        (spot.root / "e" / "out").symlink_to(spot.folder / "outside")
        store.delete_artifacts("l")
        store.delete_artifacts("e")
        assert tree(spot.folder) == {"root", "root/d", "root/d/file", "outside", "outside/file"}
        (spot.root / "out").symlink_to(spot.folder / "outside")
        store.delete_artifacts()
        assert tree(spot.folder) == {"root", "outside", "outside/file"}

    def test_write_through_link_to_nothing_makes_its_target(self, spot: Spot, store: ArtifactStore) -> None:
        (spot.root / "l").symlink_to("new/file")
        put(store, "l", b"new")
        assert (spot.root / "new" / "file").read_bytes() == b"new"

    def test_notice_folder_that_became_a_link_soon(
        self, spot: Spot, store: ArtifactStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert read(store, "d/file") == b"inside"
        (spot.root / "d").rename(spot.root / "f")
        (spot.root / "d").symlink_to(spot.folder / "outside")
        monkeypatch.setattr("holdall.artifacts.sftp.tree.TRUSTED_SECONDS", 0.0)
        with pytest.raises(InvalidParameterValue, match="leads out"):
            store.open("d/file")


class TestNames:
    @pytest.mark.parametrize("spot", ["sshd"], indirect=True)
    def test_list_leaves_refused_names_out_and_delete_removes_them(
        self, spot: Spot, store: ArtifactStore, caplog: pytest.LogCaptureFixture
    ) -> None:
        spot.write("root/d/good")
        for name in (b"caf\xe9", b"a%00b", b"x%2fy%2f..", b"..%2fx"):
            path = os.fsencode(spot.root / "d") + b"/" + name
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY))
        folder = os.fsencode(spot.root / "d") + b"/\xff"
        os.mkdir(folder)
        spot.give(Path(os.fsdecode(folder)))
        os.close(os.open(folder + b"/below", os.O_CREAT | os.O_WRONLY))
        assert [info.path for info in store.list_artifacts("d")] == ["d/good"]
        assert [info.path for info in store.walk()] == ["d", "d/good"]
        assert "Left out" in caplog.text
        store.delete_artifacts("d")
        assert tree(spot.root) == set()

    def test_pipe_is_neither_listed_nor_opened(self, spot: Spot, store: ArtifactStore) -> None:
        """Opening a pipe would hold the server up until somebody writes to it."""
        spot.make(spot.root)
        os.mkfifo(spot.root / "pipe")
        assert store.list_artifacts() == []
        with pytest.raises(InvalidParameterValue):
            store.open("pipe")
        with pytest.raises(InvalidParameterValue):
            store.open("pipe", "wb")


class TestWriting:
    def test_open_and_read_make_no_root(self, spot: Spot, store: ArtifactStore) -> None:
        assert store.list_artifacts() == []
        assert not store.exists("d/file")
        with pytest.raises(NotFound):
            store.open("d/file")
        store.delete_artifacts()
        store.delete_artifacts("d")
        assert tree(spot.folder) == set()

    def test_write_makes_root_again_that_was_deleted(self, spot: Spot, store: ArtifactStore) -> None:
        for _ in range(2):
            put(store, "d/e/file")
            assert tree(spot.root) == {"d", "d/e", "d/e/file"}
            spot.root.rename(spot.folder / f"moved {time.monotonic_ns()}")

    def test_write_makes_folder_again_that_was_deleted(self, spot: Spot, store: ArtifactStore, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        for _ in range(2):
            put(store, "d/e/file")
            store.log_artifact(tmp_path / "empty", "d/e")
            assert tree(spot.root) == {"d", "d/e", "d/e/file", "d/e/empty"}
            (spot.root / "d").rename(spot.folder / f"moved {time.monotonic_ns()}")

    def test_write_where_root_is_a_file_is_refused(self, spot: Spot, store: ArtifactStore) -> None:
        spot.write("root")
        with pytest.raises(InvalidParameterValue, match="not a folder"):
            put(store, "file")
        assert store.list_artifacts() == []

    def test_write_first_file_removes_what_is_left_of_others_after_a_day(self, spot: Spot) -> None:
        old, young = (spot.write(f"root/{PRIVATE_PREFIX}{name}") for name in ("old", "young"))
        similar = spot.write("root/.holdall-old")
        for file, age in ((old, STALE_SECONDS + 60), (young, STALE_SECONDS - 60), (similar, 2 * STALE_SECONDS)):
            os.utime(file, (time.time() - age, time.time() - age))
        (spot.root / f"{PRIVATE_PREFIX}folder").mkdir()
        with open_artifact_store(spot.uri, read_only=True) as store:
            assert [info.path for info in store.list_artifacts()] == [".holdall-old"]
            with pytest.raises(ReadOnly):
                put(store, "file")
        assert old.exists()
        with spot.open() as store:
            put(store, "file")
            assert not old.exists()
            assert young.exists()
            assert similar.exists()
            store.delete_artifacts()
        assert young.exists(), "it may be being written"

    @pytest.mark.parametrize("spot", ["sshd"], indirect=True)
    def test_write_where_it_is_not_allowed_is_denied(self, spot: Spot, store: ArtifactStore) -> None:
        spot.make(spot.root)
        spot.root.chmod(0o555)
        os.chown(spot.root, os.geteuid(), os.getegid())
        with pytest.raises(PermissionDenied, match="file"):
            put(store, "file")
        with pytest.raises(PermissionDenied):
            put(store, "d/file")

    def test_write_to_full_disk_is_an_error_and_leaves_nothing(self, plain: PlainServer) -> None:
        spot = plain_spot(plain)
        plain.damage = lambda data: b""
        with spot.open() as store, pytest.raises(InternalError, match="Failure"):
            put(store, "file", b"x" * 1_000_000)
        assert tree(spot.root) == set()

    def test_replace_file_where_server_renames_onto_nothing(self, plain: PlainServer) -> None:
        with plain_spot(plain).open() as store:
            assert not store.capabilities.atomic_replace
            for data in (b"one", b"two"):
                put(store, "d/file", data)
            assert read(store, "d/file") == b"two"


class TestVerification:
    @pytest.mark.parametrize("damage", [lambda data: data[:-1], lambda data: data + b"!"], ids=["short", "long"])
    def test_upload_that_has_another_size_on_the_server_is_data_loss(
        self, plain: PlainServer, damage: Callable[[bytes], bytes]
    ) -> None:
        spot = plain_spot(plain)
        plain.damage = damage
        with spot.open() as store, pytest.raises(DataLoss, match="10 bytes"):
            put(store, "file", b"x" * 10)
        assert tree(spot.root) == set()

    @pytest.mark.parametrize("ability", ["runs_commands", "checks_files"])
    def test_upload_that_has_another_digest_on_the_server_is_data_loss(self, plain: PlainServer, ability: str) -> None:
        spot = plain_spot(plain)
        setattr(plain, ability, True)
        with spot.open() as store:
            put(store, "whole", b"x" * LEAST_SIZE)
            plain.damage = lambda data: data.replace(b"?", b"!")
            with pytest.raises(DataLoss, match="not what was sent"):
                put(store, "file", b"?" + b"x" * LEAST_SIZE)
        assert tree(spot.root) == {"whole"}

    def test_upload_is_compared_by_size_alone_where_that_is_wanted(self, plain: PlainServer) -> None:
        spot = plain_spot(plain, ("remote_digests", "false"))
        plain.runs_commands = True
        plain.damage = lambda data: data.replace(b"?", b"!")
        with spot.open() as store:
            put(store, "file", b"?" + b"x" * LEAST_SIZE)
        assert (spot.root / "file").stat().st_size == LEAST_SIZE + 1

    def test_upload_to_server_that_runs_commands_and_cannot_digest_succeeds(
        self, plain: PlainServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        plain.runs_commands = True
        monkeypatch.setattr("holdall.artifacts.sftp.digests._COMMAND", "no-such-command")
        with plain_spot(plain).open() as store:
            put(store, "file", b"x" * LEAST_SIZE)
            assert store.stat("file").file_size == LEAST_SIZE

    def test_upload_to_server_that_waits_for_people_succeeds(
        self, plain: PlainServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        plain.shows_menu = True
        monkeypatch.setattr("holdall.artifacts.sftp.digests.TRIAL_SECONDS", 0.2)
        with plain_spot(plain).open() as store:
            put(store, "file", b"x" * LEAST_SIZE)
            assert store.stat("file").file_size == LEAST_SIZE

    @pytest.mark.parametrize("longest", [1, 999, 65_536])
    def test_read_from_server_that_gives_less_than_asked_for_is_whole(self, plain: PlainServer, longest: int) -> None:
        plain.longest_read = longest
        size = min(300 * longest, 1_500_000)
        data = hashlib.shake_128(b"seed").digest(size)
        spot = plain_spot(plain)
        spot.write("root/file", data)
        with spot.open() as store:
            assert read(store, "file") == data
            with store.open("file") as reader:
                reader.seek(size // 3)
                assert reader.read() == data[size // 3 :]

    def test_read_file_that_is_cut_short_meanwhile_is_data_loss(self, spot: Spot, store: ArtifactStore) -> None:
        file = spot.write("root/file", os.urandom(20 << 20))
        with store.open("file") as reader:
            reader.read(10)
            os.truncate(file, 1 << 20)
            with pytest.raises(DataLoss):
                reader.read()

    def test_read_file_that_is_replaced_between_two_ranges_is_data_loss(self, spot: Spot, store: ArtifactStore) -> None:
        file = spot.write("root/file", b"a" * 1_000_000)
        with store.open("file") as reader:
            reader.read(10)
            file.write_bytes(b"b" * 1_000_000)
            os.utime(file, (1e9, 1e9))
            reader.seek(900_000)
            with pytest.raises(DataLoss, match="replaced"):
                reader.read(10)

    def test_replace_file_while_it_is_read_shows_the_old_one(self, spot: Spot, store: ArtifactStore) -> None:
        put(store, "file", b"a" * 3_000_000)
        with store.open("file") as reader:
            reader.read(10)
            put(store, "file", b"b")
            assert reader.read() == b"a" * 2_999_990


class TestHostileListings:
    """A server may be hostile or broken; what it says leads nowhere else."""

    @pytest.mark.parametrize("name", ["../x", "/abs", "d/../../x", "d/x", "/", "../../../../../../etc/passwd"])
    def test_list_name_that_is_a_path_is_refused(self, plain: PlainServer, tmp_path: Path, name: str) -> None:
        spot = plain_spot(plain)
        spot.write("root/d/good")
        plain.listing = lambda folder, entries: [*entries, entry(name)]
        with spot.open() as store:
            for call in (
                store.list_artifacts,
                lambda: list(store.walk()),
                lambda: store.download_artifacts("", tmp_path / "dst"),
                lambda: store.download_artifacts("d", tmp_path / "dst"),
            ):
                with pytest.raises(InvalidParameterValue, match="does not belong"):
                    call()
        assert not (tmp_path / "dst").exists()

    @pytest.mark.parametrize("name", [".", "..", "", "a\0b", "%2e%2e", "..\\x", "C:", "n" * 300])
    def test_list_name_that_is_refused_is_left_out(self, plain: PlainServer, tmp_path: Path, name: str) -> None:
        spot = plain_spot(plain)
        spot.write("root/good")
        plain.listing = lambda folder, entries: [entry(name, folder=True), *entries, entry(name)]
        with spot.open() as store:
            assert [info.path for info in store.walk()] == ["good"]
            store.download_artifacts("", tmp_path / "dst")
        assert tree(tmp_path / "dst") == {"good"}

    def test_list_name_twice_shows_it_once(self, plain: PlainServer, tmp_path: Path) -> None:
        spot = plain_spot(plain)
        spot.write("root/d/good", b"1")
        plain.listing = lambda folder, entries: [*entries, *entries]
        with spot.open() as store:
            assert list(store.walk()) == [FileInfo("d", True), FileInfo("d/good", False, 1)]
            assert store.download_artifacts("d/good", tmp_path / "dst").read_bytes() == b"1"
            store.delete_artifacts("d")
        assert tree(spot.root) == set()

    def test_list_file_that_is_not_there_is_not_found(self, plain: PlainServer, tmp_path: Path) -> None:
        spot = plain_spot(plain)
        spot.make(spot.root)
        plain.listing = lambda folder, entries: [*entries, entry("ghost")]
        with spot.open() as store, pytest.raises(NotFound, match="ghost"):
            store.download_artifacts("", tmp_path / "dst")
        assert tree(tmp_path / "dst") == set()

    def test_list_without_types_asks_for_them(self, plain: PlainServer) -> None:
        spot = plain_spot(plain)
        for path in ("root/d/file", "root/e", "outside/file"):
            spot.write(path)
        (spot.root / "l").symlink_to(spot.folder / "outside")

        def without_types(folder: str, entries: list[SFTPAttributes]) -> list[SFTPAttributes]:
            for attributes in entries:
                attributes.st_mode = None
            return entries

        plain.listing = without_types
        with spot.open() as store:
            assert [(info.path, info.is_dir) for info in store.walk()] == [("d", True), ("d/file", False), ("e", False)]
            store.delete_artifacts()
        assert tree(spot.folder) == {"root", "outside", "outside/file"}

    def test_delete_folder_that_lists_paths_elsewhere_is_refused(self, plain: PlainServer) -> None:
        spot = plain_spot(plain)
        spot.write("root/d/file")
        spot.write("outside")
        plain.listing = lambda folder, entries: [*entries, entry("../../outside")]
        with spot.open() as store, pytest.raises(InvalidParameterValue, match="does not belong"):
            store.delete_artifacts("d")
        assert (spot.folder / "outside").exists()


def entry(name: str, *, folder: bool = False) -> SFTPAttributes:
    """What a server says of a file."""
    attributes = SFTPAttributes()
    attributes.filename = name
    attributes.st_mode = 0o040755 if folder else 0o100644
    attributes.st_size = 1
    return attributes
