"""Experiments, and which of them is the current one."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

import holdall
from holdall.stores.entities import Experiment, ViewType
from holdall.stores.errors import AlreadyExists, InvalidParameterValue, NotFound

pytestmark = pytest.mark.usefixtures("store")


def experiment_of_new_run() -> Experiment:
    with holdall.start_run() as run:
        return holdall.get_experiment(run.info.experiment_id)


def test_start_run_without_experiment_uses_default() -> None:
    assert experiment_of_new_run().name == "Default"


def test_set_experiment_by_new_name_creates_and_logs_it(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="holdall"):
        experiment = holdall.set_experiment("digits")
    assert "digits" in caplog.text
    assert experiment == holdall.get_experiment_by_name("digits")
    assert experiment.lifecycle_stage == "active"
    assert experiment_of_new_run() == experiment
    assert holdall.set_experiment("digits") == experiment


def test_set_experiment_in_many_threads_creates_one() -> None:
    ready = threading.Barrier(8)

    def choose(_: int) -> str:
        ready.wait(30)
        return holdall.set_experiment("contended").experiment_id

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(choose, range(8)))) == 1


def test_set_experiment_by_id_selects_it() -> None:
    experiment_id = holdall.create_experiment("digits", tags={"n": 1})
    experiment = holdall.set_experiment(experiment_id=experiment_id)
    assert (experiment.name, experiment.tags) == ("digits", {"n": "1"})
    assert experiment_of_new_run().experiment_id == experiment_id
    with pytest.raises(NotFound):
        holdall.set_experiment(experiment_id="999")


def test_set_experiment_with_contradicting_arguments_is_refused() -> None:
    with pytest.raises(InvalidParameterValue):
        holdall.set_experiment()
    with pytest.raises(InvalidParameterValue):
        holdall.set_experiment("a", experiment_id="0")
    with pytest.raises(InvalidParameterValue):
        holdall.set_experiment("")


def test_set_experiment_that_is_deleted_is_refused_until_restored() -> None:
    experiment_id = holdall.create_experiment("digits")
    holdall.delete_experiment(experiment_id)
    with pytest.raises(InvalidParameterValue, match="restore"):
        holdall.set_experiment("digits")
    with pytest.raises(InvalidParameterValue, match="restore"):
        holdall.set_experiment(experiment_id=experiment_id)
    holdall.restore_experiment(experiment_id)
    assert holdall.set_experiment("digits").experiment_id == experiment_id


def test_create_experiment_leaves_current_one_and_refuses_taken_names() -> None:
    holdall.create_experiment("other")
    assert experiment_of_new_run().name == "Default"
    with pytest.raises(AlreadyExists):
        holdall.create_experiment("other")
    with pytest.raises(InvalidParameterValue):
        holdall.create_experiment("")


def test_get_experiment_by_unknown_name_is_none_and_by_id_an_error() -> None:
    assert holdall.get_experiment_by_name("nothing") is None
    with pytest.raises(NotFound):
        holdall.get_experiment("77")


def test_start_run_with_experiment_id_beats_the_current_one() -> None:
    other = holdall.create_experiment("other")
    holdall.set_experiment("current")
    with holdall.start_run(experiment_id=other) as run:
        assert run.info.experiment_id == other


def test_start_run_with_experiment_name_in_environment_creates_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "by-name")
    assert experiment_of_new_run().name == "by-name"
    holdall.set_experiment("chosen")
    assert experiment_of_new_run().name == "chosen"


def test_start_run_with_experiment_id_in_environment_uses_it(monkeypatch: pytest.MonkeyPatch) -> None:
    experiment_id = holdall.create_experiment("by-id")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", experiment_id)
    assert experiment_of_new_run().name == "by-id"
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "by-id")
    assert experiment_of_new_run().name == "by-id"
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "different")
    with pytest.raises(InvalidParameterValue, match="MLFLOW_EXPERIMENT_NAME"):
        holdall.start_run()
    assert holdall.get_experiment_by_name("different") is None


def test_start_run_with_bad_experiment_in_environment_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", "999")
    with pytest.raises(InvalidParameterValue, match="MLFLOW_EXPERIMENT_ID"):
        holdall.start_run()
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", "")
    assert experiment_of_new_run().name == "Default"
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "")
    with pytest.raises(InvalidParameterValue):
        holdall.start_run()


def test_set_experiment_tags_sets_those_of_the_current_one() -> None:
    experiment = holdall.set_experiment("digits")
    holdall.set_experiment_tag("a", 1)
    holdall.set_experiment_tags({"b": None, "a": "2"})
    assert holdall.get_experiment(experiment.experiment_id).tags == {"a": "2", "b": "None"}
    with pytest.raises(InvalidParameterValue):
        holdall.set_experiment_tags({"c": "3", "../d": "4"})
    holdall.delete_experiment_tag("a")
    assert holdall.get_experiment(experiment.experiment_id).tags == {"b": "None"}
    with pytest.raises(NotFound):
        holdall.delete_experiment_tag("a")


def test_search_experiments_with_filter_order_and_view_finds_them() -> None:
    for name in ("a-1", "b-1", "a-2"):
        holdall.create_experiment(name)
    found = holdall.search_experiments(filter_string="name LIKE 'a-%'", order_by=["name DESC"])
    assert [experiment.name for experiment in found] == ["a-2", "a-1"]
    assert len(holdall.search_experiments(max_results=2)) == 2
    gone = holdall.get_experiment_by_name("b-1")
    assert gone is not None
    holdall.delete_experiment(gone.experiment_id)
    deleted = holdall.search_experiments(view_type=ViewType.DELETED_ONLY)
    assert [experiment.name for experiment in deleted] == ["b-1"]
    with pytest.raises(InvalidParameterValue):
        holdall.search_experiments(max_results=0)


def test_set_tracking_uri_after_set_experiment_means_that_name_in_the_new_store() -> None:
    holdall.create_experiment("first")
    holdall.set_experiment("digits")
    holdall.set_tracking_uri("sqlite:///other.db")
    assert experiment_of_new_run().name == "digits"
    assert holdall.get_experiment_by_name("first") is None
