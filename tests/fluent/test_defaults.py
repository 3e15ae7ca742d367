"""Where data goes, configured or not."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

import holdall
from holdall.configuration import MAX_CONNECTIONS
from holdall.session import SESSION
from holdall.stores.errors import InvalidParameterValue, StoreClosed, UnsupportedScheme
from holdall.stores.resolution import open_backend_store


def make_file_store(folder: Path) -> None:
    open_backend_store(folder / "mlruns").close()


def test_start_run_with_nothing_configured_creates_database_and_says_so(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with holdall.start_run() as run:
        holdall.log_text("x", "x.txt")
    assert (folder / "mlflow.db").is_file()
    assert run.info.artifact_uri == str(folder / "mlartifacts" / "0" / run.info.run_id / "artifacts")
    assert Path(run.info.artifact_uri, "x.txt").is_file()
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith(f"holdall: created sqlite:///{folder}/mlflow.db")
    assert str(folder / "mlartifacts") in lines[0]
    assert "MLFLOW_TRACKING_URI" in lines[0]
    assert not holdall.is_tracking_uri_set()
    assert holdall.get_tracking_uri() == f"sqlite:///{folder}/mlflow.db"


def test_start_run_with_visible_log_says_it_there_only(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="holdall"), holdall.start_run():
        pass
    assert "nothing was configured" in caplog.text
    assert capsys.readouterr().err == ""


def test_start_run_with_existing_database_uses_it(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with open_backend_store("sqlite:///mlflow.db") as store:
        store.create_experiment("was here")
    (folder / "mlruns").mkdir()
    assert holdall.get_experiment_by_name("was here") is not None
    assert f"holdall: opened sqlite:///{folder}/mlflow.db" in capsys.readouterr().err


def test_start_run_beside_file_store_uses_it_and_makes_no_database(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_file_store(folder)
    with holdall.start_run() as run:
        holdall.log_text("x", "x.txt")
    assert sorted(os.listdir(folder)) == ["mlruns"]
    assert (folder / "mlruns" / "0" / run.info.run_id / "artifacts" / "x.txt").is_file()
    assert f"holdall: opened {folder}/mlruns" in capsys.readouterr().err
    assert holdall.get_tracking_uri() == str(folder / "mlruns")


def test_start_run_with_database_and_file_store_uses_database_and_names_both(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    open_backend_store("sqlite:///mlflow.db").close()
    make_file_store(folder)
    with holdall.start_run():
        pass
    [line] = capsys.readouterr().err.splitlines()
    assert f"opened sqlite:///{folder}/mlflow.db" in line
    assert f"{folder}/mlruns exists too" in line


def test_resolve_folder_that_is_no_file_store_ignores_it(folder: Path) -> None:
    for name in ("models", "0x", "۱"):
        (folder / "mlruns" / name).mkdir(parents=True)
        (folder / "mlruns" / name / "meta.yaml").write_text("")
    (folder / "mlruns" / "0").mkdir()
    assert holdall.get_tracking_uri() == f"sqlite:///{folder}/mlflow.db"


def test_set_tracking_uri_beats_environment_beats_default(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///environment.db")
    assert holdall.is_tracking_uri_set()
    assert holdall.get_tracking_uri() == f"sqlite:///{folder}/environment.db"
    holdall.set_tracking_uri("memory://")
    assert holdall.get_tracking_uri() == "memory://"
    assert os.environ["MLFLOW_TRACKING_URI"] == "sqlite:///environment.db"
    for nothing in (None, ""):
        holdall.set_tracking_uri("memory://")
        holdall.set_tracking_uri(nothing)
        assert holdall.get_tracking_uri() == f"sqlite:///{folder}/environment.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    assert not holdall.is_tracking_uri_set()
    assert holdall.get_tracking_uri() == f"sqlite:///{folder}/mlflow.db"


def test_start_run_with_configured_store_is_silent_on_stderr(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///environment.db")
    with holdall.start_run():
        pass
    assert (folder / "environment.db").is_file()
    assert capsys.readouterr().err == ""


def test_set_tracking_uri_with_malformed_uri_is_refused_at_once() -> None:
    for bad in ("sqlite://runs.db", " memory://", "sqlite:///a#b", 5):
        with pytest.raises(InvalidParameterValue):
            holdall.set_tracking_uri(bad)  # type: ignore[arg-type]
    assert not holdall.is_tracking_uri_set()


def test_get_tracking_uri_with_password_keeps_it_and_error_hides_it() -> None:
    uri = "nosuchstore://user:secret@host:5432/db"
    holdall.set_tracking_uri(uri)
    assert holdall.get_tracking_uri() == uri
    with pytest.raises(UnsupportedScheme) as caught:
        holdall.start_run()
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("how", ["set", "environment", "default"])
def test_change_folder_after_first_use_stays_with_the_store(
    how: str, folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if how == "set":
        holdall.set_tracking_uri("sqlite:///mlflow.db")
    elif how == "environment":
        monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
    with holdall.start_run():
        pass
    monkeypatch.chdir(tmp_path)
    with holdall.start_run():
        pass
    assert not (tmp_path / "mlflow.db").exists()
    assert len(holdall.search_runs(output_format="list")) == 2


def test_set_tracking_uri_back_and_forth_finds_stores_as_they_were() -> None:
    holdall.set_tracking_uri("memory://")
    holdall.create_experiment("in memory")
    holdall.set_tracking_uri("sqlite:///runs.db")
    holdall.create_experiment("in file")
    holdall.set_tracking_uri("memory://")
    assert holdall.get_experiment_by_name("in memory") is not None
    assert holdall.get_experiment_by_name("in file") is None


def test_set_tracking_uri_many_times_closes_stores_nobody_uses() -> None:
    holdall.set_tracking_uri("memory://")
    holdall.create_experiment("kept")
    holdall.set_tracking_uri("sqlite:///0.db")
    used = holdall.Client()
    unused = []
    for number in range(1, MAX_CONNECTIONS + 4):
        holdall.set_tracking_uri(f"sqlite:///{number}.db")
        unused.append(holdall.Client().store)
    with pytest.raises(StoreClosed):
        unused[0].get_experiment("0")
    unused[-1].get_experiment("0")
    used.get_experiment("0")
    holdall.set_tracking_uri("memory://")
    assert holdall.get_experiment_by_name("kept") is not None


def test_close_session_ends_runs_and_forgets_configuration() -> None:
    holdall.set_tracking_uri("sqlite:///runs.db")
    run = holdall.start_run()
    SESSION.close()
    assert holdall.active_run() is None
    assert not holdall.is_tracking_uri_set()
    with open_backend_store("sqlite:///runs.db") as store:
        assert store.get_run(run.info.run_id).info.status == "FINISHED"
    with pytest.raises(StoreClosed):
        run.client.get_run(run.info.run_id)
