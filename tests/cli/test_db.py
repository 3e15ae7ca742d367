"""`holdall db check` and `holdall db tune`."""

from __future__ import annotations

import hashlib
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.interop.snapshot import FIXTURES

from holdall.stores import open_backend_store

Command = Any

MADE_BY_MLFLOW = "sqlite:///mlflow.db"


@pytest.fixture
def mlflow(folder: Path) -> Path:
    """A database that MLflow made."""
    return Path(shutil.copyfile(FIXTURES / "mlflow-2.22.5.db", folder / "mlflow.db"))


def damage(file: Path) -> None:
    """Give a param to a run that is not there."""
    execute(file, "INSERT INTO params (run_uuid, key, value) VALUES ('gone', 'lr', '1')")


def execute(file: Path, statement: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        return connection.execute(statement).fetchall()


def indexes(file: Path) -> set[str]:
    rows = execute(file, "SELECT name FROM sqlite_master WHERE type = 'index' AND name LIKE 'holdall%'")
    return {str(name) for (name,) in rows}


def digests(folder: Path) -> dict[str, str]:
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}


def test_check_database_of_mlflow_advises_indexes_and_succeeds(
    holdall_command: Command, mlflow: Path, folder: Path
) -> None:
    before = digests(folder)
    found = holdall_command("db", "check", MADE_BY_MLFLOW, "--json").json
    assert found["revision"] == "0584bdc529eb"
    assert found["sound"] is True
    assert {(item["kind"], item["severity"], item["count"]) for item in found["findings"]} == {
        ("missing-index", "advice", 1)
    }
    assert all(item["remedy"] == "make it: holdall db tune" for item in found["findings"])
    assert digests(folder) == before


def test_check_damaged_database_fails_and_says_what_to_do(holdall_command: Command, mlflow: Path, folder: Path) -> None:
    damage(mlflow)
    before = digests(folder)
    [error] = [
        item
        for item in holdall_command("db", "check", MADE_BY_MLFLOW, "--json", code=1).json["findings"]
        if item["severity"] == "error"
    ]
    assert (error["kind"], error["place"], error["count"], error["example"]) == ("orphan", "params", 1, "run_uuid gone")
    out = holdall_command("db", "check", MADE_BY_MLFLOW, code=1).out
    for expected in ("Wrong", "orphan", "run_uuid gone", "DELETE FROM params", "Advice", "holdall_runs_by_start"):
        assert expected in out
    assert digests(folder) == before


def test_check_sound_database_of_holdall_says_so(holdall_command: Command, run_ids: list[str], store: str) -> None:
    out = holdall_command("db", "check", store).out
    assert "No data is wrong" in out
    assert "Advice" not in out
    assert run_ids


def test_check_without_uri_takes_default_store(holdall_command: Command, mlflow: Path) -> None:
    assert str(mlflow) in holdall_command("db", "check").out


@pytest.mark.parametrize("words", [["check"], ["tune"], ["tune", "--yes"]], ids=" ".join)
def test_use_db_on_folder_points_to_info(holdall_command: Command, folder: Path, words: list[str]) -> None:
    open_backend_store("./mlruns").close()
    before = digests(folder / "mlruns")
    outcome = holdall_command("db", *words, "./mlruns", code=2)
    assert "is a folder: `holdall info` checks it" in outcome.err
    assert digests(folder / "mlruns") == before


def test_tune_without_terminal_or_yes_only_says_what_it_would_do(
    holdall_command: Command, mlflow: Path, folder: Path
) -> None:
    before = digests(folder)
    out = holdall_command("db", "tune", MADE_BY_MLFLOW).out
    assert "CREATE INDEX holdall_runs_by_start ON runs" in out
    assert "ANALYZE runs;" in out
    assert "--yes" in out
    assert digests(folder) == before
    assert mlflow.exists()


def test_tune_again_and_undo_with_yes_makes_and_drops_indexes(holdall_command: Command, mlflow: Path) -> None:
    assert "Done: 4 statements." in holdall_command("db", "tune", MADE_BY_MLFLOW, "--yes").out
    assert indexes(mlflow) == {"holdall_latest_metrics_by_value", "holdall_runs_by_start"}
    assert holdall_command("db", "check", MADE_BY_MLFLOW, "--json").json["findings"] == []
    assert holdall_command("db", "tune", MADE_BY_MLFLOW, "--yes").out == "All indexes of holdall's are there.\n"
    assert "Done: 2 statements." in holdall_command("db", "tune", MADE_BY_MLFLOW, "--undo", "--yes").out
    assert indexes(mlflow) == set()
    assert "holdall_experiment_deletions" not in str(execute(mlflow, "SELECT name FROM sqlite_master"))


@pytest.mark.parametrize(("answer", "made"), [("y\n", 2), ("n\n", 0)])
def test_tune_on_terminal_asks(mlflow: Path, monkeypatch: pytest.MonkeyPatch, answer: str, made: int) -> None:
    from typer.testing import CliRunner

    from holdall.cli import app, db

    monkeypatch.setattr(db, "is_terminal", lambda: True)
    result = CliRunner().invoke(app, ["db", "tune", MADE_BY_MLFLOW], input=answer)
    assert result.exit_code == 0
    assert "Do it?" in result.output
    assert len(indexes(mlflow)) == made


def test_undo_tuning_of_own_database_keeps_its_indexes(
    holdall_command: Command, run_ids: list[str], store: str, folder: Path
) -> None:
    assert run_ids
    before = indexes(folder / "runs.db")
    assert "nothing to undo" in holdall_command("db", "tune", store, "--undo", "--yes").out
    assert indexes(folder / "runs.db") == before


def test_tune_missing_database_creates_nothing(holdall_command: Command, folder: Path) -> None:
    assert "missing.db" in holdall_command("db", "tune", "sqlite:///missing.db", "--yes", code=1).err
    assert list(folder.iterdir()) == []
