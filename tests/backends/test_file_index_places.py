"""An index that is lost, damaged or cannot be kept where it should be costs time, and never a wrong answer."""

from __future__ import annotations

import logging
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from tests.backends.folders import Grove, as_ordinary_user, entries, grow, open_scanning

from holdall.backends.file import index
from holdall.backends.file.index_place import VERSION
from holdall.backends.file.layout import INDEX_PREFIX
from holdall.stores import BackendStore, RunTag, ViewType, open_backend_store

pytestmark = pytest.mark.exhaustive

NAME = f"{INDEX_PREFIX}-{VERSION}.db"


@pytest.fixture
def grove(tmp_path: Path) -> Grove:
    return grow(tmp_path / "mlruns")


def _assert_right(store: BackendStore, grove: Grove) -> None:
    with open_scanning(grove.root, read_only=True) as scanning:
        for text in ("", "tags.colour = 'green'"):
            ours, theirs = (
                [run.info.run_id for run in one.search_runs(grove.experiment_ids, text, ViewType.ALL)]
                for one in (store, scanning)
            )
            assert ours == theirs
            assert len(ours) > 0


def _truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def _empty(path: Path) -> None:
    os.truncate(path, 0)


def _garble(path: Path) -> None:
    path.write_bytes(b"this is no database" * 1000)


def _garble_pages(path: Path) -> None:
    """The header stays."""
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(size - 4096))


def _remove_all(path: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)


def _make_folder(path: Path) -> None:
    _remove_all(path)
    path.mkdir()


def _make_full_folder(path: Path) -> None:
    _make_folder(path)
    (path / "somebody's file").write_text("x")


def _drop_tables(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.execute("DROP TABLE runs")
        database.commit()


def _other_tables(path: Path) -> None:
    _remove_all(path)
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE entries (run_id TEXT)")
        database.commit()


def _refuse_all(path: Path) -> None:
    path.chmod(0)


DAMAGES: dict[str, Callable[[Path], None]] = {
    "removed": _remove_all,
    "file alone removed": lambda path: path.unlink(),
    "truncated": _truncate,
    "empty": _empty,
    "garbage": _garble,
    "garbage pages": _garble_pages,
    "a folder": _make_folder,
    "a folder with something in it": _make_full_folder,
    "tables dropped": _drop_tables,
    "other tables": _other_tables,
    "forbidden": _refuse_all,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_search_after_index_was_damaged_while_closed_is_right(grove: Grove, damage: str) -> None:
    with open_backend_store(grove.root) as store:
        _assert_right(store, grove)
    DAMAGES[damage](grove.root / NAME)

    def work() -> None:
        for _ in range(2):
            with open_backend_store(grove.root) as store:
                _assert_right(store, grove)
                store.set_tag(grove.victim, RunTag("colour", "red"))
                _assert_right(store, grove)

    as_ordinary_user(work)


@pytest.mark.parametrize("damage", DAMAGES)
def test_search_after_index_was_damaged_while_open_is_right(grove: Grove, damage: str) -> None:
    def work() -> None:
        with open_backend_store(grove.root) as store, open_backend_store(grove.root) as other:
            for one in (store, other):
                _assert_right(one, grove)
            DAMAGES[damage](grove.root / NAME)
            for value in ("red", "green"):
                store.set_tag(grove.victim, RunTag("colour", value))
                for one in (store, other):
                    _assert_right(one, grove)
        with open_backend_store(grove.root) as store:
            _assert_right(store, grove)

    as_ordinary_user(work)


def test_search_folder_that_may_not_be_written_keeps_the_index_in_the_cache(
    grove: Grove, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for path in (grove.root, *grove.root.rglob("*")):
        if path.is_dir():
            path.chmod(0o555)
    before = entries(grove.root, own=True)

    def work() -> None:
        for read_only in (False, True):
            with open_backend_store(grove.root, read_only=read_only) as store:
                _assert_right(store, grove)
                assert store.describe()["index"].startswith(str(tmp_path / "cache" / "holdall" / "index"))

    as_ordinary_user(work)
    assert entries(grove.root, own=True) == before
    assert (tmp_path / "cache" / "holdall" / "index").stat().st_mode & 0o077 == 0
    assert len(list((tmp_path / "cache" / "holdall" / "index").glob("*.db"))) == 1


@pytest.mark.parametrize("cache", ["a file", "forbidden", "missing and forbidden"])
def test_search_where_no_cache_can_be_kept_uses_an_index_that_is_removed_again(
    grove: Grove, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: str
) -> None:
    place = tmp_path / "cache"
    if cache == "a file":
        place.write_text("x")
    else:
        place.mkdir(mode=0o555)
        place = place / "deeper" if cache.startswith("missing") else place
    monkeypatch.setenv("XDG_CACHE_HOME", str(place))
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))

    def work() -> None:
        with open_backend_store(grove.root, read_only=True) as store:
            _assert_right(store, grove)
            assert store.describe()["index"].startswith(str(temporary))
            assert len(list(temporary.iterdir())) == 1

    as_ordinary_user(work)
    assert list(temporary.iterdir()) == []


def test_search_where_no_index_can_be_kept_reads_everything_and_says_so_once(
    grove: Grove, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    place = tmp_path / "nowhere"
    place.mkdir(mode=0o555)
    monkeypatch.setenv("XDG_CACHE_HOME", str(place))
    monkeypatch.setattr(tempfile, "tempdir", str(place))

    def work() -> None:
        with open_backend_store(grove.root, read_only=True) as store:
            for _ in range(3):
                _assert_right(store, grove)
            assert store.describe()["index"] == "none"

    with caplog.at_level(logging.WARNING, "holdall"):
        as_ordinary_user(work)
    assert len([record for record in caplog.records if "without an index" in record.getMessage()]) == 1


def test_search_after_the_root_was_moved_away_and_another_put_there_is_right(grove: Grove, tmp_path: Path) -> None:
    with open_backend_store(grove.root) as store:
        _assert_right(store, grove)
        copy = Path(shutil.copytree(grove.root, tmp_path / "copy", ignore=shutil.ignore_patterns(".holdall-*")))
        (copy / grove.experiment / grove.victim / "tags" / "colour").write_text("of the copy")
        grove.root.rename(tmp_path / "away")
        copy.rename(grove.root)
        _assert_right(store, grove)
        assert len(store.search_runs([grove.experiment], "tags.colour = 'of the copy'")) == 1
        assert store.get_run(grove.victim).data.tags["colour"] == "of the copy"


def test_search_by_many_stores_at_once_on_a_new_index_is_right(grove: Grove) -> None:
    from concurrent.futures import ThreadPoolExecutor

    for path in grove.root.glob(f"{INDEX_PREFIX}*"):
        path.unlink()

    def work(_: int) -> None:
        with open_backend_store(grove.root) as store:
            _assert_right(store, grove)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert index.RunIndex.__doc__


def test_open_index_kept_before_the_machine_was_started_makes_it_anew(tmp_path: Path) -> None:
    """It is never flushed to the disk, so what a crash of the machine has left of it is not to be trusted."""
    root = tmp_path / "m"
    with open_backend_store(root) as store:
        run_id = store.create_run("0").info.run_id
        assert len(store.search_runs(["0"])) == 1
    [index] = root.glob(".holdall-index-*.db")
    with closing(sqlite3.connect(index)) as connection, connection:
        connection.execute("UPDATE origin SET boot = 'another'")
        connection.execute("CREATE TABLE of_before (x)")
    with open_backend_store(root) as store:
        assert [run.info.run_id for run in store.search_runs(["0"])] == [run_id]
    with closing(sqlite3.connect(index)) as connection:
        assert connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'of_before'").fetchall() == []
