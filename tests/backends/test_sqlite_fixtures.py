"""Databases that MLflow and earlier holdalls wrote, against what their writers read from them. No peer is needed."""

from __future__ import annotations

import math
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tests.interop.snapshot import FIXTURES, anonymous, apply, by_ref, expected, found, snapshot
from tests.interop.steps import ROOT
from tests.interop.workload import EXTEND, EXTEND_AGAIN, WRITE

from holdall.stores import Metric, RunTag, ViewType, open_backend_store
from holdall.stores.errors import NotFound, ReadOnly

NAMES = sorted(path.stem for path in FIXTURES.glob("*.db"))
MLFLOW = [name for name in NAMES if name.startswith("mlflow")]
OURS = {
    "experiments",
    "experiment_tags",
    "runs",
    "params",
    "tags",
    "metrics",
    "latest_metrics",
    "datasets",
    "input_tags",
}


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    result: str = request.param
    return result


@pytest.fixture
def database(name: str, tmp_path: Path) -> Path:
    return Path(shutil.copyfile(FIXTURES / f"{name}.db", tmp_path / "tracking.db"))


def test_find_fixtures_in_the_tree_has_every_version() -> None:
    assert {"mlflow-2.22.5", "mlflow-3.17.2"} <= set(NAMES)


@pytest.mark.parametrize("read_only", [False, True])
def test_read_fixture_returns_what_its_writer_read(name: str, database: Path, read_only: bool) -> None:
    with open_backend_store(f"sqlite:///{database}", read_only=read_only) as store:
        assert not store.created
        assert snapshot(store) == expected(name)["snapshot"]


def test_search_fixture_finds_what_its_writer_found(name: str, database: Path) -> None:
    asked = expected(name)["searches"]
    with open_backend_store(f"sqlite:///{database}") as store:
        results = found(store, [(filter_string, order_by) for filter_string, order_by, _ in asked])
    assert dict(zip(map(str, asked), results, strict=True)) == {str(item): item[2] for item in asked}


def test_read_fixture_with_special_values_returns_true_nan_and_infinities(name: str, database: Path) -> None:
    run_id = _run_id(name, "rich")
    with open_backend_store(f"sqlite:///{database}") as store:
        metrics = store.get_run(run_id).data.metrics
        mixed = [point.value for point in store.get_metric_history(run_id, "mixed")]
        positive = store.search_runs([store.get_run(run_id).info.experiment_id], "metrics.inf > 1.8e307")
    assert (metrics["inf"], metrics["-inf"]) == (math.inf, -math.inf)
    assert math.isnan(metrics["nan"])
    assert metrics["was nan"] == 0.25
    assert mixed[:2] + mixed[3:] == [math.inf, -math.inf, 3.5]
    assert math.isnan(mixed[2])
    assert [run.info.run_id for run in positive] == [run_id]


def test_extend_fixture_in_place_equals_the_same_work_in_memory(name: str, database: Path) -> None:
    with (
        open_backend_store("memory://", artifact_root=ROOT) as model,
        open_backend_store(f"sqlite:///{database}") as store,
    ):
        apply(model, [*WRITE, *EXTEND, *EXTEND_AGAIN])
        apply(store, EXTEND)
        apply(store, EXTEND_AGAIN)
        state = snapshot(store)
        by_ref(state, "rich")["metrics"].pop("of the model", None)  # only MLflow writes logged models
        by_ref(state, "rich")["history"].pop("of the model", None)
        assert anonymous(state) == anonymous(snapshot(model))


def test_extend_fixture_in_place_keeps_the_schema_and_foreign_tables(name: str, database: Path) -> None:
    before, schema = _foreign_rows(database), _schema(database)
    with open_backend_store(f"sqlite:///{database}") as store:
        apply(store, EXTEND)
    assert _foreign_rows(database) == before
    assert {item: sql for item, sql in _schema(database).items() if not item.startswith("holdall_")} == {
        item: sql for item, sql in schema.items() if not item.startswith("holdall_")
    }
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []


def test_restore_experiment_in_a_fixture_leaves_runs_deleted_by_hand(name: str, database: Path) -> None:
    by_hand = _run_id(name, "deleted")
    with open_backend_store(f"sqlite:///{database}") as store:
        experiment_id = store.get_run(by_hand).info.experiment_id
        active = {run.info.run_id for run in store.search_runs([experiment_id])}
        store.delete_experiment(experiment_id)
        assert store.search_runs([experiment_id]) == []
        store.restore_experiment(experiment_id)
        assert {run.info.run_id for run in store.search_runs([experiment_id])} == active
        assert store.get_run(by_hand).info.lifecycle_stage == "deleted"


@pytest.mark.parametrize("name", MLFLOW)
def test_restore_experiment_that_mlflow_deleted_brings_its_runs_back(name: str, database: Path) -> None:
    """MLflow stamps all runs of an experiment when it deletes it, so nothing says which were deleted before."""
    run_id = _run_id(name, "binned with it")
    with open_backend_store(f"sqlite:///{database}") as store:
        experiment_id = store.get_run(run_id).info.experiment_id
        store.restore_experiment(experiment_id)
        assert store.get_run(run_id).info.lifecycle_stage == "active"
        store.set_tag(run_id, RunTag("back", "yes"))


@pytest.fixture(params=["delete", "wal"])
def untouchable(request: pytest.FixtureRequest, database: Path) -> Iterator[Path]:
    """A fixture database in a folder of its own that is not writable, in either journal mode."""
    folder = database.parent / "untouchable"
    folder.mkdir()
    path = database.rename(folder / "tracking.db")
    with closing(sqlite3.connect(path)) as connection:
        (mode,) = connection.execute(f"PRAGMA journal_mode = {request.param}").fetchone()
        assert mode == request.param
    path.chmod(0o444)
    folder.chmod(0o555)
    yield path
    folder.chmod(0o755)


def test_open_read_only_leaves_every_byte_and_creates_no_file(name: str, untouchable: Path) -> None:
    before = _bytes_and_times(untouchable)
    with open_backend_store(f"sqlite:///{untouchable}", read_only=True) as store:
        assert snapshot(store) == expected(name)["snapshot"]
        assert [path.name for path in untouchable.parent.iterdir()] == ["tracking.db"]
        with pytest.raises(ReadOnly):
            store.create_experiment("another")
        with pytest.raises(ReadOnly):
            store.log_metric(_run_id(name, "running"), Metric("loss", 1.0, 0))
    assert _bytes_and_times(untouchable) == before
    assert [path.name for path in untouchable.parent.iterdir()] == ["tracking.db"]


def test_open_read_only_while_another_store_writes_sees_each_write(name: str, database: Path) -> None:
    run_id = _run_id(name, "running")
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA journal_mode = wal")
    with open_backend_store(f"sqlite:///{database}", read_only=True) as reader:
        assert "seen" not in reader.get_run(run_id).data.tags
        with open_backend_store(f"sqlite:///{database}") as writer:
            for value in ("one", "two"):
                writer.set_tag(run_id, RunTag("seen", value))
                assert reader.get_run(run_id).data.tags["seen"] == value
        assert reader.get_run(run_id).data.tags["seen"] == "two"
        with open_backend_store(f"sqlite:///{database}") as writer:
            writer.set_tag(run_id, RunTag("seen", "three"))
        assert reader.get_run(run_id).data.tags["seen"] == "three"


def test_open_read_only_a_missing_file_is_not_found_and_creates_nothing(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"missing\.db"):
        open_backend_store(f"sqlite:///{tmp_path}/missing.db", read_only=True)
    assert list(tmp_path.iterdir()) == []


def test_search_experiments_in_a_fixture_sees_each_lifecycle_stage(database: Path) -> None:
    with open_backend_store(f"sqlite:///{database}") as store:
        deleted = store.search_experiments(ViewType.DELETED_ONLY)
        active = store.search_experiments(order_by=["name"])
    assert [experiment.name for experiment in deleted] == ["binned"]
    assert [experiment.name for experiment in active] == [
        "Default",
        "empty",
        "search",
        "second name",
        "vision",
        "Ünïcode 实验 / 😀 it's",
    ]


def _run_id(name: str, ref: str) -> str:
    (run_id,) = (key for key, run in expected(name)["snapshot"]["runs"].items() if run["tags"]["ref"] == ref)
    return run_id


def _bytes_and_times(path: Path) -> tuple[bytes, int, int]:
    stat = os.stat(path)
    return path.read_bytes(), stat.st_mtime_ns, stat.st_mode


def _schema(path: Path) -> dict[str, str]:
    with closing(sqlite3.connect(path)) as connection:
        return dict(connection.execute("SELECT name, sql FROM sqlite_master"))


def _foreign_rows(path: Path) -> dict[str, list[tuple[object, ...]]]:
    """Rows of all tables that holdall does not write, and the links that are not from datasets."""
    with closing(sqlite3.connect(path)) as connection:
        tables = [table for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        foreign = [
            table
            for table in tables
            if table not in OURS | {"inputs"} and not table.startswith(("holdall_", "sqlite_"))
        ]
        rows = {table: connection.execute(f"SELECT * FROM {table}").fetchall() for table in foreign}
        rows["inputs"] = connection.execute("SELECT * FROM inputs WHERE source_type != 'DATASET'").fetchall()
    return rows
