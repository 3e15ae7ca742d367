"""What calls cost on SQLite, in statements: a clock would measure the machine, statements are the same everywhere."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from holdall.stores import (
    BackendStore,
    LoggedModelOutput,
    Metric,
    Param,
    Run,
    RunTag,
    as_logged_model_store,
    open_backend_store,
)


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The statements of every connection that is opened from now on, as they are run."""
    seen: list[str] = []
    genuine = sqlite3.connect

    def connect(*args: object, **options: object) -> sqlite3.Connection:
        connection: sqlite3.Connection = genuine(*args, **options)  # type: ignore[call-overload]
        connection.set_trace_callback(seen.append)
        return connection

    monkeypatch.setattr(sqlite3, "connect", connect)
    return seen


@pytest.fixture
def store(tmp_path: Path, statements: list[str]) -> Iterator[BackendStore]:
    with open_backend_store(f"sqlite:///{tmp_path}/runs.db") as opened:
        yield opened


@pytest.fixture
def run(store: BackendStore) -> Run:
    store.search_experiments()  # connects the reader
    return store.create_run(store.create_experiment("costs"))


def _spent(statements: list[str], call: Callable[[], object]) -> list[str]:
    statements.clear()
    call()
    return [text.split()[0].upper() for text in statements]


def test_log_values_takes_a_fixed_number_of_statements(store: BackendStore, run: Run, statements: list[str]) -> None:
    run_id = run.info.run_id
    assert _spent(statements, lambda: store.log_metric(run_id, Metric("m", 1.0, 1))) == [
        "BEGIN",
        "INSERT",
        "INSERT",
        "COMMIT",
    ]
    assert _spent(statements, lambda: store.log_param(run_id, Param("p", "1"))) == ["INSERT"]
    assert _spent(statements, lambda: store.set_tag(run_id, RunTag("t", "1"))) == ["INSERT"]


def test_read_run_or_model_takes_a_fixed_number_of_statements(
    store: BackendStore, run: Run, statements: list[str]
) -> None:
    models, run_id = as_logged_model_store(store), run.info.run_id
    model = models.create_logged_model("0", tags={"t": "1"}).model_id
    for step in range(3):
        models.log_model_metrics(model, run_id, [Metric("m", 1.0, 1, step)])
        models.log_outputs(run_id, [LoggedModelOutput(model), LoggedModelOutput(f"m-{step}", step)])
        assert _spent(statements, lambda: store.get_run(run_id)) == ["BEGIN", *["SELECT"] * 5, "ROLLBACK"]
        assert _spent(statements, lambda: models.get_logged_model(model)) == ["BEGIN", *["SELECT"] * 4, "ROLLBACK"]


def test_repeat_batch_after_long_history_costs_what_it_cost_at_first(
    store: BackendStore, run: Run, statements: list[str]
) -> None:
    """A lost answer is followed by the same request: it must not read the history (mlflow#24577)."""
    run_id = run.info.run_id
    batch = [Metric("loss", float(step), step, step) for step in range(500)]
    first = _spent(statements, lambda: store.log_batch(run_id, batch))
    for start in range(500, 5500, 1000):
        store.log_batch(run_id, [Metric("loss", 1.0, step, step) for step in range(start, start + 1000)])
    assert _spent(statements, lambda: store.log_batch(run_id, batch)) == first
    assert first.count("SELECT") == 1


def test_search_page_takes_as_many_statements_for_many_runs_as_for_one(
    store: BackendStore, run: Run, statements: list[str]
) -> None:
    experiment = run.info.experiment_id
    one = _spent(statements, lambda: store.search_runs([experiment], order_by=["start_time DESC"]))
    for _ in range(50):
        other = store.create_run(experiment)
        store.log_batch(other.info.run_id, [Metric("m", 1.0, 1)], [Param("p", "1")], [RunTag("t", "1")])
    many = _spent(statements, lambda: store.search_runs([experiment], order_by=["start_time DESC"]))
    assert len(many) == len(one) <= 8


def test_search_best_runs_walks_the_index_of_values(
    store: BackendStore, run: Run, tmp_path: Path, statements: list[str]
) -> None:
    """Among many runs, the best hundred are found without looking at all of them (mlflow#1517)."""
    with closing(sqlite3.connect(tmp_path / "runs.db")) as raw, raw:
        experiment = int(run.info.experiment_id)
        ids = [f"{number:032x}" for number in range(3000)]
        raw.executemany(
            "INSERT INTO runs (run_uuid, experiment_id, lifecycle_stage, start_time) VALUES (?, ?, 'active', 1)",
            [(run_id, experiment) for run_id in ids],
        )
        raw.executemany(
            "INSERT INTO latest_metrics (run_uuid, key, step, timestamp, value, is_nan) VALUES (?, 'acc', 0, 1, ?, 0)",
            [(run_id, number / 3000) for number, run_id in enumerate(ids)],
        )
        raw.execute("ANALYZE")  # statistics would talk the planner out of it
    statements.clear()
    found = store.search_runs([run.info.experiment_id], order_by=["metrics.acc DESC"], max_results=100)
    assert [round(item.data.metrics["acc"] * 3000) for item in found] == list(range(2999, 2899, -1))
    (query,) = {text for text in statements if "ORDER BY" in text and "LIMIT" in text and "latest_metrics" in text}
    with closing(sqlite3.connect(tmp_path / "runs.db")) as raw:
        plan = " ".join(row[3] for row in raw.execute(f"EXPLAIN QUERY PLAN {query}"))
    assert plan.startswith("SEARCH latest_metrics_1 USING COVERING INDEX holdall_latest_metrics_by_value")


def test_use_experiment_of_18_digits_keeps_its_id(store: BackendStore, tmp_path: Path) -> None:
    """MLflow's file store makes such ids, and they must survive a move into a database (mlflow#8430)."""
    number = 944140571234832402
    with closing(sqlite3.connect(tmp_path / "runs.db")) as raw, raw:
        raw.execute(
            "INSERT INTO experiments (experiment_id, name, artifact_location, lifecycle_stage) "
            "VALUES (?, 'from files', '/data/0', 'active')",
            (number,),
        )
    run = store.create_run(str(number))
    assert store.get_experiment(str(number)).name == "from files"
    assert [found.info.run_id for found in store.search_runs([str(number)])] == [run.info.run_id]
    assert [found.experiment_id for found in store.search_experiments(filter_string=f"experiment_id = '{number}'")] == [
        str(number)
    ]
    assert store.create_experiment("next") == str(number + 1)
