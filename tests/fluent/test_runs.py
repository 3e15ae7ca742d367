"""Runs: how they begin, nest, end and go on."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

import holdall
from holdall.stores.entities import RunStatus
from holdall.stores.errors import InvalidParameterValue, NotFound, Unsupported

pytestmark = pytest.mark.usefixtures("store")


def status(run: holdall.ActiveRun) -> str:
    return holdall.get_run(run.info.run_id).info.status


def test_start_run_in_with_block_runs_then_finishes() -> None:
    with holdall.start_run(run_name="first") as run:
        assert holdall.active_run() is run
        assert status(run) == "RUNNING"
        assert run.info.run_name == "first"
    assert holdall.active_run() is None
    ended = holdall.get_run(run.info.run_id)
    assert ended.info.status == "FINISHED"
    assert ended.info.end_time is not None
    assert ended.info.end_time >= (ended.info.start_time or 0)


@pytest.mark.parametrize("error", [ValueError("boom"), KeyboardInterrupt(), SystemExit(0), GeneratorExit()])
def test_start_run_left_by_exception_fails_and_passes_it_on(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught, holdall.start_run() as run:
        raise error
    assert caught.value is error
    assert status(run) == "FAILED"
    assert holdall.active_run() is None


def test_start_run_by_hand_stays_active_until_end_run() -> None:
    run = holdall.start_run()
    assert holdall.active_run() is run
    holdall.end_run()
    assert status(run) == "FINISHED"
    holdall.end_run()
    assert holdall.active_run() is None


@pytest.mark.parametrize("final", ["FINISHED", "FAILED", "KILLED"])
def test_end_run_with_final_status_stores_it(final: str) -> None:
    run = holdall.start_run()
    holdall.end_run(final)
    assert status(run) == final


@pytest.mark.parametrize("wrong", ["RUNNING", "SCHEDULED", "DONE", ""])
def test_end_run_with_other_status_is_refused_and_run_goes_on(wrong: str) -> None:
    run = holdall.start_run()
    with pytest.raises(InvalidParameterValue):
        holdall.end_run(wrong)
    assert holdall.active_run() is run
    assert status(run) == "RUNNING"


def test_end_run_inside_with_block_keeps_its_status() -> None:
    with holdall.start_run() as run:
        holdall.end_run("KILLED")
    assert status(run) == "KILLED"


def test_start_run_while_one_is_active_is_refused() -> None:
    with holdall.start_run() as run:
        with pytest.raises(InvalidParameterValue, match="nested=True"):
            holdall.start_run()
        assert holdall.active_run() is run


def test_start_run_nested_makes_child_and_returns_to_parent() -> None:
    with holdall.start_run() as parent:
        with holdall.start_run(nested=True) as child:
            assert holdall.active_run() is child
            assert status(parent) == "RUNNING"
        assert holdall.active_run() is parent
        assert status(child) == "FINISHED"
    assert holdall.get_run(child.info.run_id).data.tags["mlflow.parentRunId"] == parent.info.run_id
    found = holdall.get_parent_run(child.info.run_id)
    assert found is not None
    assert found.info.run_id == parent.info.run_id
    assert holdall.get_parent_run(parent.info.run_id) is None


def test_start_run_nested_without_parent_is_an_ordinary_run() -> None:
    with holdall.start_run(nested=True) as run:
        pass
    assert "mlflow.parentRunId" not in holdall.get_run(run.info.run_id).data.tags


def test_leave_with_block_ends_its_own_run_and_those_left_open_inside() -> None:
    outer = holdall.start_run()
    with holdall.start_run(nested=True) as middle:
        inner = holdall.start_run(nested=True)
    assert [status(outer), status(middle), status(inner)] == ["RUNNING", "FINISHED", "FINISHED"]
    assert holdall.active_run() is outer
    left_open = holdall.start_run(nested=True)
    with pytest.raises(RuntimeError), outer:
        raise RuntimeError
    assert [status(outer), status(left_open)] == ["FAILED", "FAILED"]
    assert holdall.active_run() is None


def test_start_run_with_parent_run_id_needs_no_active_parent() -> None:
    with holdall.start_run() as parent:
        pass
    with holdall.start_run(parent_run_id=parent.info.run_id) as child:
        pass
    assert holdall.get_run(child.info.run_id).data.tags["mlflow.parentRunId"] == parent.info.run_id


def test_start_run_with_bad_parent_is_refused() -> None:
    with pytest.raises(NotFound):
        holdall.start_run(parent_run_id="0" * 32)
    with holdall.start_run() as parent:
        pass
    holdall.delete_run(parent.info.run_id)
    with pytest.raises(InvalidParameterValue, match="deleted"):
        holdall.start_run(parent_run_id=parent.info.run_id)
    with holdall.start_run(), pytest.raises(InvalidParameterValue, match="is active"):
        holdall.start_run(nested=True, parent_run_id=parent.info.run_id)


def test_start_run_with_parent_that_is_active_nests_in_it() -> None:
    with holdall.start_run() as parent:
        with pytest.raises(InvalidParameterValue):
            holdall.start_run(parent_run_id=parent.info.run_id)
        with holdall.start_run(nested=True, parent_run_id=parent.info.run_id) as child:
            pass
    assert holdall.get_run(child.info.run_id).data.tags["mlflow.parentRunId"] == parent.info.run_id


def test_start_run_again_by_id_goes_on_with_it() -> None:
    with holdall.start_run(run_name="old", tags={"a": 1}) as first:
        holdall.log_metric("loss", 1.0)
    with holdall.start_run(run_id=first.info.run_id, run_name="new", tags={"b": 2}, description="again") as second:
        assert status(second) == "RUNNING"
        holdall.log_metric("loss", 0.5, step=1)
    run = holdall.get_run(first.info.run_id)
    assert (run.info.status, run.info.run_name) == ("FINISHED", "new")
    assert run.data.metrics == {"loss": 0.5}
    assert {key: run.data.tags[key] for key in ("a", "b", "mlflow.note.content", "mlflow.runName")} == {
        "a": "1",
        "b": "2",
        "mlflow.note.content": "again",
        "mlflow.runName": "new",
    }


def test_start_run_by_bad_id_is_refused() -> None:
    with pytest.raises(NotFound):
        holdall.start_run(run_id="f" * 32)
    with pytest.raises(InvalidParameterValue):
        holdall.start_run(run_id="../x")
    with holdall.start_run() as run:
        pass
    holdall.delete_run(run.info.run_id)
    with pytest.raises(InvalidParameterValue, match="deleted"):
        holdall.start_run(run_id=run.info.run_id)
    assert holdall.active_run() is None


def test_start_run_by_id_of_other_experiment_than_chosen_is_refused() -> None:
    with holdall.start_run() as run:
        pass
    holdall.set_experiment("another")
    with pytest.raises(InvalidParameterValue, match="belongs to experiment"):
        holdall.start_run(run_id=run.info.run_id)


def test_start_run_with_run_id_in_environment_goes_on_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with holdall.start_run() as first:
        pass
    monkeypatch.setenv("MLFLOW_RUN_ID", first.info.run_id)
    with holdall.start_run() as second:
        pass
    assert second.info.run_id == first.info.run_id
    assert "MLFLOW_RUN_ID" not in os.environ
    with holdall.start_run() as third:
        pass
    assert third.info.run_id != first.info.run_id


def test_start_run_with_name_and_name_tag_prefers_name() -> None:
    with holdall.start_run(run_name="given", tags={"mlflow.runName": "tagged"}) as run:
        pass
    assert run.info.run_name == "given"
    assert run.data.tags["mlflow.runName"] == "given"


def test_start_run_with_description_sets_note_and_refuses_both() -> None:
    with holdall.start_run(description="why") as run:
        pass
    assert run.data.tags["mlflow.note.content"] == "why"
    with pytest.raises(InvalidParameterValue):
        holdall.start_run(description="why", tags={"mlflow.note.content": "because"})
    assert holdall.active_run() is None


def test_start_run_with_own_tags_overrides_those_of_system() -> None:
    with holdall.start_run(tags={"mlflow.user": "ada", "mlflow.source.name": "mine", "n": 3}) as run:
        pass
    assert run.info.user_id == "ada"
    assert (run.data.tags["mlflow.source.name"], run.data.tags["n"]) == ("mine", "3")


def test_start_run_with_system_metrics_is_unsupported() -> None:
    with pytest.raises(Unsupported):
        holdall.start_run(log_system_metrics=True)
    assert holdall.search_runs(output_format="list") == []


def test_start_run_in_threads_keeps_a_stack_for_each() -> None:
    ready = threading.Barrier(4)

    def work(number: int) -> tuple[str, str]:
        assert holdall.active_run() is None
        with holdall.start_run(run_name=f"run-{number}") as run:
            ready.wait(30)
            holdall.log_metric("number", number)
            ready.wait(30)
            active = holdall.active_run()
            assert active is not None
            return run.info.run_id, active.info.run_id

    with holdall.start_run() as main, ThreadPoolExecutor(4) as pool:
        pairs = list(pool.map(work, range(4)))
        assert holdall.active_run() is main
    assert all(own == active for own, active in pairs)
    for number, (run_id, _) in enumerate(pairs):
        run = holdall.get_run(run_id)
        assert (run.data.metrics, run.info.status) == ({"number": number}, "FINISHED")


def test_last_active_run_after_end_is_read_anew() -> None:
    assert holdall.last_active_run() is None
    with holdall.start_run() as run:
        assert holdall.last_active_run() is run
        holdall.log_metric("m", 1)
    last = holdall.last_active_run()
    assert last is not None
    assert (last.info.run_id, last.info.status, last.data.metrics) == (run.info.run_id, "FINISHED", {"m": 1.0})


def test_end_run_of_deleted_run_reports_it_and_frees_the_thread() -> None:
    run = holdall.start_run()
    holdall.delete_run(run.info.run_id)
    with pytest.raises(InvalidParameterValue):
        holdall.end_run()
    assert holdall.active_run() is None
    second = holdall.start_run()
    holdall.delete_run(second.info.run_id)
    with pytest.raises(KeyError, match="mine") as caught, second:
        raise KeyError("mine")
    assert any(second.info.run_id in note for note in caught.value.__notes__)


def test_restore_run_after_delete_makes_it_active() -> None:
    with holdall.start_run() as run:
        pass
    holdall.delete_run(run.info.run_id)
    assert holdall.get_run(run.info.run_id).info.lifecycle_stage == "deleted"
    holdall.restore_run(run.info.run_id)
    assert holdall.get_run(run.info.run_id).info.lifecycle_stage == "active"


def test_set_tracking_uri_during_run_leaves_the_run_where_it_is() -> None:
    with holdall.start_run() as run:
        here = holdall.Client()
        holdall.set_tracking_uri("sqlite:///elsewhere.db")
        holdall.log_metric("m", 1)
        holdall.log_text("text", "note.txt")
        with holdall.start_run(nested=True) as child:
            pass
    ended = here.get_run(run.info.run_id)
    assert (ended.info.status, ended.data.metrics) == (RunStatus.FINISHED, {"m": 1.0})
    assert here.get_run(child.info.run_id).info.status == "FINISHED"
    assert holdall.search_runs(search_all_experiments=True, output_format="list") == []
