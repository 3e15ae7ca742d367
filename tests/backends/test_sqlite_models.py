"""Logged models in SQLite files: which tables they are in, when those are made, what MLflow's rows mean."""

from __future__ import annotations

import math
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy.dialects import sqlite
from sqlalchemy.schema import CreateTable
from tests.interop.snapshot import FIXTURES

from holdall.backends.sql.schema import MLFLOW_MODELS
from holdall.backends.sql.sqlite import SqliteBackendStore
from holdall.stores import (
    LoggedModelInput,
    LoggedModelMetric,
    LoggedModelOutput,
    LoggedModelStatus,
    Metric,
    NotFound,
    StoreURI,
)

OWN = {
    "holdall_logged_models",
    "holdall_logged_model_params",
    "holdall_logged_model_tags",
    "holdall_logged_model_metrics",
}


@pytest.fixture
def new(tmp_path: Path) -> Path:
    """A file that holdall has just made."""
    file = tmp_path / "new.db"
    _open(file).close()
    return file


@pytest.fixture
def of_mlflow_2(tmp_path: Path) -> Path:
    return Path(shutil.copyfile(FIXTURES / "mlflow-2.22.5.db", tmp_path / "mlflow2.db"))


@pytest.fixture
def of_mlflow_3(tmp_path: Path) -> Path:
    return Path(shutil.copyfile(FIXTURES / "mlflow-3.17.2.db", tmp_path / "mlflow3.db"))


@pytest.fixture(params=["new", "of_mlflow_2", "of_mlflow_3"])
def store(request: pytest.FixtureRequest) -> Iterator[SqliteBackendStore]:
    with _open(request.getfixturevalue(request.param)) as opened:
        yield opened


def test_read_models_before_there_are_any_makes_no_tables(of_mlflow_2: Path) -> None:
    with _open(of_mlflow_2) as store:
        assert store.search_logged_models(["0"]) == []
        run = store.create_run("0").info.run_id
        for refused in (
            lambda: store.get_logged_model("m-x"),
            lambda: store.finalize_logged_model("m-x", "READY"),
            lambda: store.delete_logged_model("m-x"),
            lambda: store.set_logged_model_tags("m-x", {"t": "1"}),
            lambda: store.log_model_metrics("m-x", run, [Metric("m", 1.0, 1)]),
        ):
            with pytest.raises(NotFound):
                refused()
        store.log_outputs(run, [LoggedModelOutput("m-x", 1)])
    assert not any(name.startswith("holdall_logged") for name in _tables(of_mlflow_2))


def test_create_first_model_in_mlflow_2_database_is_seen_by_who_has_read_before(of_mlflow_2: Path) -> None:
    with _open(of_mlflow_2) as writer, _open(of_mlflow_2, read_only=True) as reader:
        assert reader.search_logged_models(["0"]) == []
        model = writer.create_logged_model("0", "first")
        assert reader.get_logged_model(model.model_id) == model
        assert reader.search_logged_models(["0"]) == [model]
    assert _tables(of_mlflow_2) >= OWN
    with closing(sqlite3.connect(of_mlflow_2)) as raw:
        assert raw.execute("PRAGMA foreign_key_list(holdall_logged_models)").fetchall() == []


def test_read_models_that_mlflow_3_wrote_gives_what_it_wrote(of_mlflow_3: Path) -> None:
    with _open(of_mlflow_3, read_only=True) as store:
        [model] = store.search_logged_models(["1"])
        assert store.get_logged_model(model.model_id) == model
        run = model.source_run_id or ""
        assert (model.name, model.experiment_id, model.status) == ("net", "1", LoggedModelStatus.READY)
        assert (model.params, model.tags) == ({"lr": "0.1"}, {"t": "1"})
        assert model.metrics == (LoggedModelMetric("of the model", 0.5, 1, 0, run),)
        found = store.get_run(run)
        assert found.inputs.model_inputs == (LoggedModelInput(model.model_id),)
        assert found.outputs.model_outputs == (LoggedModelOutput(model.model_id, 3),)
        assert found in store.search_runs(["1"])


def test_write_models_to_mlflow_3_database_fills_its_tables_and_keeps_its_keys(of_mlflow_3: Path) -> None:
    with _open(of_mlflow_3) as store:
        run = store.create_run("0").info.run_id
        model = store.create_logged_model("0", "ours", run, {"t": "1"}, {"p": "1"}).model_id
        store.log_model_metrics(model, run, [Metric("m", math.inf, 1, 2)], "data", "d1")
        store.log_outputs(run, [LoggedModelOutput(model, 4)])
        store.log_model_inputs(run, [LoggedModelInput(model)])
        store.finalize_logged_model(model, "READY")
    with closing(sqlite3.connect(of_mlflow_3)) as raw:
        assert raw.execute("PRAGMA foreign_key_check").fetchall() == []
        assert raw.execute("SELECT status, lifecycle_stage FROM logged_models WHERE name = 'ours'").fetchall() == [
            (2, "active")
        ]
        points = raw.execute("SELECT * FROM logged_model_metrics WHERE model_id = ?", [model]).fetchall()
        assert points == [(model, "m", 1, 2, 1.7976931348623157e308, 0, run, None, "data", "d1")]
        assert raw.execute("SELECT count(*) FROM holdall_logged_model_metrics").fetchall() == [(0,)]
        links = raw.execute(
            "SELECT source_type, source_id, destination_type, step FROM inputs WHERE destination_id = ?", [model]
        )
        assert sorted(links) == [("RUN_INPUT", run, "MODEL_INPUT", 0), ("RUN_OUTPUT", run, "MODEL_OUTPUT", 4)]


def test_log_model_metrics_again_after_conflicts_adds_no_rows(store: SqliteBackendStore, tmp_path: Path) -> None:
    run, model = store.create_run("0").info.run_id, store.create_logged_model("0").model_id
    points = [Metric("m", value, 1, 1) for value in (0.5, math.nan, -1.0)] + [Metric("n", math.nan, 1)]
    for dataset in ((None, None), ("a", "1")):
        store.log_model_metrics(model, run, points, *dataset)
    before, rows = store.get_logged_model(model), _points(store)
    for dataset in ((None, None), ("a", "1")):
        store.log_model_metrics(model, run, points[::-1], *dataset)
    assert repr(store.get_logged_model(model)) == repr(before)
    assert _points(store) == rows
    assert [(point.key, point.value) for point in before.metrics if point.key == "m"] == [("m", 0.5)] * 2


def test_upgrade_database_with_models_moves_them_at_the_next_opening(new: Path) -> None:
    with _open(new) as store:
        run, model = _fill(store)
        before = (store.get_logged_model(model), store.get_run(run))
    _upgrade(new)
    with _open(new, read_only=True) as store:
        assert (store.get_logged_model(model), store.get_run(run)) == before
        assert store.search_logged_models(["0"], "metrics.m > 0") == [before[0]]
    assert _count(new, "logged_models") == 0
    for _ in range(2):
        with _open(new) as store:
            assert (store.get_logged_model(model), store.get_run(run)) == before
            assert store.search_logged_models(["0"]) == [before[0]]
            assert store.search_runs(["0"]) == [before[1]]
        assert (_count(new, "logged_models"), _count(new, "holdall_logged_models")) == (2, 0)
        assert _count(new, "logged_model_metrics") == 2
        assert _count(new, "inputs WHERE source_type = 'RUN_OUTPUT' AND step = -3") == 1
        assert _count(new, "inputs WHERE destination_type = 'RUN'") == _count(new, "input_tags") == 0
    with _open(new) as store:
        store.log_outputs(run, [LoggedModelOutput(model, 8)])
        assert store.get_run(run) == before[1]


def test_upgrade_database_with_models_that_do_not_fit_keeps_them_where_they_are(new: Path) -> None:
    """They are found beside the others, sorted among them, and can be changed."""
    with _open(new) as store:
        fits = [store.create_logged_model("0", name).model_id for name in ("a", "c")]
        wide = store.create_logged_model("0", "b", "r" * 33).model_id
    _upgrade(new)
    with _open(new) as store:
        assert (_count(new, "logged_models"), _count(new, "holdall_logged_models")) == (2, 1)
        by_name = [{"field_name": "name"}]
        assert [m.model_id for m in store.search_logged_models(["0"], order_by=by_name)] == [fits[0], wide, fits[1]]
        page = store.search_logged_models(["0"], max_results=2, order_by=by_name)
        rest = store.search_logged_models(["0"], max_results=2, order_by=by_name, page_token=page.token)
        assert [m.model_id for m in (*page, *rest)] == [fits[0], wide, fits[1]]
        run = store.create_run("0").info.run_id
        store.log_model_metrics(wide, run, [Metric("m", 1.0, 1)])
        store.set_logged_model_tags(wide, {"t": "1"})
        assert store.finalize_logged_model(wide, "READY").tags == {"t": "1"}
        assert [m.model_id for m in store.search_logged_models(["0"], "metrics.m = 1")] == [wide]
        store.delete_logged_model(wide)
        assert len(store.search_logged_models(["0"])) == 2


def _open(file: Path, *, read_only: bool = False) -> SqliteBackendStore:
    return SqliteBackendStore(StoreURI.parse(f"sqlite:///{file}"), read_only=read_only)


def _fill(store: SqliteBackendStore) -> tuple[str, str]:
    """A run, the model that it made and measured, and another one that is deleted."""
    run = store.create_run("0").info.run_id
    model = store.create_logged_model("0", "kept", run, {"t": "1"}, {"p": "1"}, "type").model_id
    store.log_model_metrics(model, run, [Metric("m", value, 1, 1) for value in (0.5, 0.25)])
    store.log_model_metrics(model, run, [Metric("m", 2.0, 2, 2)], "data", "d1")
    store.log_outputs(run, [LoggedModelOutput(model, -3)])
    store.log_model_inputs(run, [LoggedModelInput(model)])
    store.delete_logged_model(store.create_logged_model("0", "gone").model_id)
    return run, model


def _upgrade(file: Path) -> None:
    """Give a database what `mlflow db upgrade` gives it for logged models."""
    with closing(sqlite3.connect(file)) as raw, raw:
        for table in MLFLOW_MODELS.all:
            raw.execute(str(CreateTable(table).compile(dialect=sqlite.dialect())))
        raw.execute("ALTER TABLE inputs ADD COLUMN step BIGINT NOT NULL DEFAULT 0")


def _tables(file: Path) -> set[str]:
    with closing(sqlite3.connect(file)) as raw:
        return {name for (name,) in raw.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def _count(file: Path, what: str) -> int:
    with closing(sqlite3.connect(file)) as raw:
        (count,) = raw.execute(f"SELECT count(*) FROM {what}").fetchone()
    return int(count)


def _points(store: SqliteBackendStore) -> dict[str, int]:
    """How many points there are, by table."""
    file = Path(store.uri.local_path)
    names = [name for name in _tables(file) if name.endswith("logged_model_metrics")]
    return {name: _count(file, name) for name in names}
