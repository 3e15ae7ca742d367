"""What opening does with files that are no store, not quite one, or a newer one; and what the URI may say."""

from __future__ import annotations

import shutil
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from tests.interop.snapshot import FIXTURES

from holdall.stores import Metric, open_backend_store
from holdall.stores.errors import HoldallError, InternalError, InvalidParameterValue, NotFound, ReadOnly, StoreClosed


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "tracking.db"
    with open_backend_store(f"sqlite:///{path}?journal_mode=delete") as store:
        store.create_run("0")
    return path


def _change(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA foreign_keys = OFF")
        for statement in statements:
            connection.execute(statement)


def _refused(path: Path, kinds: type[HoldallError] | tuple[type[HoldallError], ...]) -> str:
    """Open the file both ways; it must be refused, left as it is, and alone. The message of the refusal."""
    before, siblings = path.read_bytes(), sorted(path.parent.iterdir())
    message = ""
    for read_only in (True, False):
        with pytest.raises(kinds) as raised:
            open_backend_store(f"sqlite:///{path}", read_only=read_only)
        message = str(raised.value)
        assert path.read_bytes() == before
        assert sorted(path.parent.iterdir()) == siblings
    return message


def _other_tables(path: Path) -> None:
    _change(path, "CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT)", "INSERT INTO customers VALUES (1, 'x')")


def _tables_of_similar_names(path: Path) -> None:
    _change(path, "CREATE TABLE runs (id INTEGER PRIMARY KEY)", "CREATE TABLE tags (name TEXT)")


def _a_view_only(path: Path) -> None:
    _change(path, "CREATE VIEW v AS SELECT 1 AS one")


@pytest.mark.parametrize("make", [_other_tables, _tables_of_similar_names, _a_view_only])
def test_open_database_of_another_program_is_refused_and_unchanged(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    path = tmp_path / "other.db"
    make(path)
    message = _refused(path, InvalidParameterValue)
    assert "other.db" in message


@pytest.mark.parametrize(
    "content",
    [b"not a database, but long enough to have a header " * 100, b"short notes", b"SQLite format 3\0" + b"\xff" * 5000],
    ids=["long", "short", "right magic"],
)
def test_open_file_that_is_no_database_is_refused_and_unchanged(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    message = _refused(path, (InvalidParameterValue, InternalError))
    assert "database" in message
    assert "file is not a database" not in message


def test_open_empty_file_makes_it_a_store(tmp_path: Path) -> None:
    path = tmp_path / "empty.db"
    path.touch()
    with open_backend_store(f"sqlite:///{path}") as store:
        assert store.created
        assert store.get_experiment("0").name == "Default"


def test_open_empty_file_read_only_or_without_create_is_not_found_and_leaves_it_empty(tmp_path: Path) -> None:
    path = tmp_path / "empty.db"
    path.touch()
    for read_only in (True, False):
        with pytest.raises(NotFound):
            open_backend_store(f"sqlite:///{path}", read_only=read_only, create=False)
        assert path.read_bytes() == b""
        assert list(tmp_path.iterdir()) == [path]


def test_open_missing_file_without_create_is_not_found_and_creates_nothing(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"runs\.db"):
        open_backend_store(f"sqlite:///{tmp_path}/runs.db", create=False)
    assert list(tmp_path.iterdir()) == []


def test_open_in_missing_folder_names_the_folder_and_creates_nothing(tmp_path: Path) -> None:
    with pytest.raises(InvalidParameterValue, match="missing"):
        open_backend_store(f"sqlite:///{tmp_path}/missing/runs.db")
    assert list(tmp_path.iterdir()) == []


def test_open_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidParameterValue, match="folder"):
        open_backend_store(f"sqlite:///{tmp_path}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "change",
    [
        "DROP TABLE latest_metrics",
        "DROP TABLE params",
        "DROP TABLE input_tags",
        "DROP TABLE experiments",
        "ALTER TABLE runs DROP COLUMN deleted_time",
        "ALTER TABLE metrics RENAME COLUMN is_nan TO nan",
    ],
)
def test_open_database_with_parts_missing_names_part_and_remedy_and_changes_nothing(
    database: Path, change: str
) -> None:
    _change(database, change)
    message = _refused(database, InvalidParameterValue)
    assert change.split()[2] in message
    assert "mlflow db upgrade" in message


@pytest.mark.parametrize("fixture", ["mlflow-2.22.5", "mlflow-3.17.2"])
def test_open_database_of_unknown_revision_with_all_tables_works(tmp_path: Path, fixture: str) -> None:
    path = Path(shutil.copyfile(FIXTURES / f"{fixture}.db", tmp_path / "future.db"))
    _change(
        path,
        "UPDATE alembic_version SET version_num = 'ffffffffffff'",
        "ALTER TABLE runs ADD COLUMN future TEXT",
        "ALTER TABLE experiments ADD COLUMN future TEXT NOT NULL DEFAULT 'x'",
        "CREATE TABLE future (id INTEGER PRIMARY KEY)",
    )
    with open_backend_store(f"sqlite:///{path}") as store:
        run = store.create_run(store.create_experiment("new"))
        store.log_metric(run.info.run_id, Metric("m", 1.0, 1))
        assert store.get_run(run.info.run_id).data.metrics == {"m": 1.0}
        assert "ffffffffffff" in store.describe()["schema"]


@pytest.mark.parametrize("change", ["DROP TABLE alembic_version", "DELETE FROM alembic_version"])
def test_open_database_without_revision_but_with_all_tables_works(database: Path, change: str) -> None:
    _change(database, change)
    with open_backend_store(f"sqlite:///{database}") as store:
        assert len(store.search_runs(["0"])) == 1


def test_open_twice_creates_once(tmp_path: Path) -> None:
    with (
        open_backend_store(f"sqlite:///{tmp_path}/a.db") as first,
        open_backend_store(f"sqlite:///{tmp_path}/a.db") as second,
    ):
        assert (first.created, second.created) == (True, False)
        assert [experiment.experiment_id for experiment in second.search_experiments()] == ["0"]


@pytest.mark.parametrize("value", ["off", "normal", "full", "extra", "FULL"])
def test_open_with_synchronous_uses_it(tmp_path: Path, value: str) -> None:
    with open_backend_store(f"sqlite:///{tmp_path}/a.db?synchronous={value}") as store:
        assert store.describe()["synchronous"] == value.lower()
        assert store.create_run("0").info.experiment_id == "0"


def test_open_without_options_uses_wal_and_normal(tmp_path: Path) -> None:
    with open_backend_store(f"sqlite:///{tmp_path}/a.db") as store:
        described = store.describe()
    assert (described["journal"], described["synchronous"]) == ("wal", "normal")


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("timeout=5", "timeout"),
        ("synchronous=sometimes", "synchronous"),
        ("synchronous=", "synchronous"),
        ("synchronous=full&synchronous=off", "synchronous"),
        ("busy_timeout=soon", "busy_timeout"),
        ("busy_timeout=-1", "busy_timeout"),
        ("busy_timeout=nan", "busy_timeout"),
        ("journal_mode=off", "journal_mode"),
        ("mode=ro", "mode"),
        ("Synchronous=full", "Synchronous"),
    ],
)
def test_open_with_option_that_means_nothing_is_refused_and_creates_nothing(
    tmp_path: Path, query: str, named: str
) -> None:
    with pytest.raises(InvalidParameterValue, match=named):
        open_backend_store(f"sqlite:///{tmp_path}/a.db?{query}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "file_name", ["a b.db", "a%20b.db", "ü😀.db", "a'b.db", "a;b.db", "a&b=c.db", "..db", ":memory:.db"]
)
def test_open_with_odd_file_name_makes_exactly_that_file(tmp_path: Path, file_name: str) -> None:
    with open_backend_store(f"sqlite:///{tmp_path}/{file_name}?journal_mode=delete") as store:
        store.create_run("0")
    assert [path.name for path in tmp_path.iterdir()] == [file_name]
    with open_backend_store(f"sqlite:///{tmp_path}/{file_name}", read_only=True) as store:
        assert len(store.search_runs(["0"])) == 1


def test_open_relative_path_keeps_meaning_when_the_working_directory_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    with open_backend_store("sqlite:///a.db") as store:
        monkeypatch.chdir(tmp_path / "elsewhere")
        run_id = store.create_run("0").info.run_id
        assert store.get_run(run_id).info.artifact_uri.startswith(f"{tmp_path}/mlartifacts/0/")
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_open_with_password_option_never_shows_it(tmp_path: Path) -> None:
    with pytest.raises(InvalidParameterValue) as raised:
        open_backend_store(f"sqlite:///{tmp_path}/a.db?password=hunter2")
    error: BaseException | None = raised.value
    while error is not None:
        assert "hunter2" not in str(error)
        error = error.__cause__ or error.__context__


def test_write_to_damaged_database_raises_an_error_without_driver_text(database: Path) -> None:
    content = bytearray(database.read_bytes())
    content[4096:] = b"\xaa" * (len(content) - 4096)
    database.write_bytes(bytes(content))
    with pytest.raises(InternalError, match="damaged") as raised, open_backend_store(f"sqlite:///{database}") as store:
        store.search_runs(["0"])
    assert "malformed" not in str(raised.value)


def test_write_to_database_that_turned_read_only_is_refused_by_name(database: Path) -> None:
    """Another program's trigger stands for a file system that refuses: root may write to any file."""
    _change(database, "CREATE TRIGGER no BEFORE INSERT ON runs BEGIN SELECT RAISE(ABORT, 'driver text'); END")
    with open_backend_store(f"sqlite:///{database}") as store:
        with pytest.raises(HoldallError) as raised:
            store.create_run("0")
        assert "driver text" not in str(raised.value)
        assert len(store.search_runs(["0"])) == 1
        assert store.create_experiment("still works")


def test_use_after_close_is_refused_and_close_may_be_repeated(database: Path) -> None:
    store = open_backend_store(f"sqlite:///{database}")
    store.close()
    store.close()
    with pytest.raises(StoreClosed):
        store.search_experiments()


def test_close_last_store_leaves_one_file(tmp_path: Path) -> None:
    with open_backend_store(f"sqlite:///{tmp_path}/a.db") as store:
        store.create_run("0")
        with open_backend_store(f"sqlite:///{tmp_path}/a.db", read_only=True) as reader:
            assert len(reader.search_runs(["0"])) == 1
            with pytest.raises(ReadOnly):
                reader.delete_experiment("0")
    assert [path.name for path in tmp_path.iterdir()] == ["a.db"]


def test_connect_after_the_file_is_gone_makes_no_empty_one(tmp_path: Path) -> None:
    """A new connection of an open store must not replace a deleted database by an empty one."""
    database = tmp_path / "runs.db"
    with open_backend_store(f"sqlite:///{database}") as store:
        for file in tmp_path.glob("runs.db*"):
            file.unlink()
        barrier = threading.Barrier(12, timeout=30)

        def read(_: int) -> str:
            barrier.wait()
            try:
                return store.get_experiment("0").name
            except HoldallError as error:
                return error.error_code

        with ThreadPoolExecutor(12) as threads:
            answers = set(threads.map(read, range(12)))
        assert answers <= {"Default", "INVALID_PARAMETER_VALUE"}
        assert not database.exists()
