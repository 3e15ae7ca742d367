"""Runs: creation, names, states, and the tags that belong to the system."""

from __future__ import annotations

import re
import time

import pytest

from holdall.conformance_tests.base import BackendSuite
from holdall.conformance_tests.names import HOSTILE_TEXTS, MALFORMED_IDS
from holdall.conformance_tests.support import refuses, unique
from holdall.stores import (
    BackendStore,
    InvalidParameterValue,
    LifecycleStage,
    Metric,
    NotFound,
    Param,
    RunStatus,
    RunTag,
)

__all__ = ["RunTests"]

NAME_TAG = "mlflow.runName"
_UNKNOWN = "0123456789abcdef0123456789abcdef"


class RunTests(BackendSuite):
    """Runs."""

    def test_create_run_with_defaults_is_running(self, store: BackendStore, experiment: str) -> None:
        """A new run is active, RUNNING, has a start time of now, a random name, and no data but the tag of its name.

        Usual cause of failure: an end time of 0 in place of none.
        """
        before = time.time_ns() // 1_000_000
        run = store.create_run(experiment)
        info = run.info
        assert re.fullmatch(r"[0-9a-f]{32}", info.run_id)
        assert (info.experiment_id, info.user_id) == (experiment, "unknown")
        assert (info.status, info.lifecycle_stage) == (RunStatus.RUNNING, LifecycleStage.ACTIVE)
        assert info.start_time is not None
        assert before <= info.start_time <= time.time_ns() // 1_000_000
        assert info.end_time is None
        assert info.run_name
        assert run.data.tags == {NAME_TAG: info.run_name}
        assert (run.data.metrics, run.data.params, run.inputs.dataset_inputs) == ({}, {}, ())
        assert store.get_run(info.run_id) == run

    def test_create_run_with_all_arguments_keeps_them(self, store: BackendStore, experiment: str) -> None:
        """User, start time, tags and name are kept.

        Usual cause of failure: an argument is not passed on.
        """
        tags = [RunTag("a", "1"), RunTag("mlflow.parentRunId", "no such run")]
        run = store.create_run(experiment, "Zoë", 1234567890123, tags, "night run")
        found = store.get_run(run.info.run_id)
        assert (found.info.user_id, found.info.start_time, found.info.run_name) == ("Zoë", 1234567890123, "night run")
        assert found.data.tags == {"a": "1", "mlflow.parentRunId": "no such run", NAME_TAG: "night run"}

    def test_create_run_keeps_artifacts_below_its_experiment(self, store: BackendStore, experiment: str) -> None:
        """The artifact URI is `<experiment location>/<run id>/artifacts`.

        Usual cause of failure: it is put together without `run_artifact_uri`.
        """
        info = store.create_run(experiment).info
        location = store.get_experiment(experiment).artifact_location
        assert info.artifact_uri == f"{location}/{info.run_id}/artifacts"

    def test_create_run_twice_makes_two_runs(self, store: BackendStore, experiment: str) -> None:
        """Names of runs need not be unique; ids are.

        Usual cause of failure: runs are kept by name.
        """
        runs = [store.create_run(experiment, run_name="same") for _ in range(3)]
        assert len({run.info.run_id for run in runs}) == 3
        assert len(store.search_runs([experiment])) == 3

    def test_create_run_with_user_tag_takes_the_user_from_it(self, store: BackendStore, experiment: str) -> None:
        """The tag `mlflow.user` is the user unless one is given; later changes of the tag do not matter.

        Usual cause of failure: tag and field are linked for ever.
        """
        run_id = store.create_run(experiment, tags=[RunTag("mlflow.user", "ada")]).info.run_id
        assert store.get_run(run_id).info.user_id == "ada"
        store.set_tag(run_id, RunTag("mlflow.user", "bob"))
        assert store.get_run(run_id).info.user_id == "ada"

    def test_create_run_with_name_tag_takes_the_name_from_it(self, store: BackendStore, experiment: str) -> None:
        """The tag `mlflow.runName` names the run; equal names agree, different ones are refused.

        Usual cause of failure: one of the two wins in silence.
        """
        tag = RunTag(NAME_TAG, "tagged")
        assert store.create_run(experiment, tags=[tag]).info.run_name == "tagged"
        assert store.create_run(experiment, tags=[tag], run_name="tagged").info.run_name == "tagged"
        assert store.create_run(experiment, tags=[tag], run_name="").info.run_name == "tagged"
        assert store.create_run(experiment, run_name="").info.run_name
        refuses(InvalidParameterValue, store.create_run, experiment, tags=[tag], run_name="other")
        assert len(store.search_runs([experiment])) == 4

    @pytest.mark.parametrize("name", HOSTILE_TEXTS)
    def test_create_run_with_unusual_name_keeps_it_exactly(
        self, store: BackendStore, experiment: str, name: str
    ) -> None:
        """Any text without NUL is a name.

        Usual cause of failure: names are trimmed or normalized.
        """
        run_id = store.create_run(experiment, run_name=name).info.run_id
        found = store.get_run(run_id)
        assert (found.info.run_name, found.data.tags[NAME_TAG]) == (name, name)

    def test_create_run_at_name_limit_is_kept_whole(self, store: BackendStore, experiment: str) -> None:
        """250 characters are kept, 251 refused, also through the tag.

        Usual cause of failure: the name is cut by its column while the tag is not.
        """
        name = "😀" * 250
        run_id = store.create_run(experiment, run_name=name).info.run_id
        assert store.get_run(run_id).info.run_name == name
        refuses(InvalidParameterValue, store.create_run, experiment, run_name=name + "x")
        refuses(InvalidParameterValue, store.update_run_info, run_id, run_name=name + "x")
        refuses(InvalidParameterValue, store.set_tag, run_id, RunTag(NAME_TAG, name + "x"))
        refuses(InvalidParameterValue, store.log_batch, run_id, tags=[RunTag(NAME_TAG, name + "x")])
        assert store.get_run(run_id).info.run_name == name

    @pytest.mark.parametrize("start_time", [0, 1, 2**31, 2**53 + 1, 2**63 - 1])
    def test_create_run_with_extreme_start_time_keeps_it(
        self, store: BackendStore, experiment: str, start_time: int
    ) -> None:
        """Times are int64 milliseconds; 0 is a time, not a missing one.

        Usual cause of failure: 32-bit columns, or a test for truth in place of one for None.
        """
        run_id = store.create_run(experiment, start_time=start_time).info.run_id
        assert store.get_run(run_id).info.start_time == start_time
        store.update_run_info(run_id, end_time=start_time)
        assert store.get_run(run_id).info.end_time == start_time

    @pytest.mark.parametrize("start_time", [-1, 2**63, 1.5, "1", True])
    def test_create_run_with_bad_time_is_refused(
        self, store: BackendStore, experiment: str, run: str, start_time: int
    ) -> None:
        """Times that are no int64, or negative, are refused.

        Usual cause of failure: the public method was overridden without its checks.
        """
        refuses(InvalidParameterValue, store.create_run, experiment, start_time=start_time)
        refuses(InvalidParameterValue, store.update_run_info, run, end_time=start_time)
        assert len(store.search_runs([experiment])) == 1

    def test_get_run_with_unknown_id_is_not_found(self, store: BackendStore) -> None:
        """Every call with the id of a missing run says so, and makes none.

        Usual cause of failure: a foreign key's error is passed on, or data of a ghost run is written.
        """
        refuses(NotFound, store.get_run, _UNKNOWN)
        refuses(NotFound, store.update_run_info, _UNKNOWN, RunStatus.FINISHED)
        refuses(NotFound, store.delete_run, _UNKNOWN)
        refuses(NotFound, store.restore_run, _UNKNOWN)
        refuses(NotFound, store.log_metric, _UNKNOWN, Metric("k", 1.0, 1))
        refuses(NotFound, store.log_param, _UNKNOWN, Param("k", "v"))
        refuses(NotFound, store.set_tag, _UNKNOWN, RunTag("k", "v"))
        refuses(NotFound, store.delete_tag, _UNKNOWN, "k")
        refuses(NotFound, store.log_batch, _UNKNOWN, params=[Param("k", "v")])
        refuses(NotFound, store.log_batch, _UNKNOWN)
        refuses(NotFound, store.get_metric_history, _UNKNOWN, "k")
        refuses(NotFound, store.get_run, _UNKNOWN)

    @pytest.mark.parametrize("run_id", MALFORMED_IDS)
    def test_get_run_with_malformed_id_is_refused(self, store: BackendStore, run_id: str) -> None:
        """What cannot be an id is an error of the caller, not a missing run.

        Usual cause of failure: the public method was overridden without its checks.
        """
        refuses(InvalidParameterValue, store.get_run, run_id)
        refuses(InvalidParameterValue, store.delete_run, run_id)
        refuses(InvalidParameterValue, store.log_param, run_id, Param("k", "v"))
        refuses(InvalidParameterValue, store.get_metric_history, run_id, "k")

    def test_get_run_then_change_the_value_leaves_the_store_alone(self, store: BackendStore, run: str) -> None:
        """What a store hands out belongs to the caller.

        Usual cause of failure: a cache hands out its own dict.
        """
        store.log_batch(run, [Metric("m", 1.0, 1)], [Param("p", "1")], [RunTag("t", "1")])
        data = store.get_run(run).data
        for values in (data.metrics, data.params, data.tags):
            values.clear()
        data = store.get_run(run).data
        assert (data.metrics, data.params, data.tags["t"]) == ({"m": 1.0}, {"p": "1"}, "1")

    def test_update_run_info_changes_what_is_given(self, store: BackendStore, run: str) -> None:
        """None leaves a field alone, so does an empty name; the new info is returned.

        Usual cause of failure: fields that are not given are reset.
        """
        before = store.get_run(run).info
        assert store.update_run_info(run) == before
        info = store.update_run_info(run, status=RunStatus.FINISHED)
        assert (info.status, info.end_time, info.run_name) == ("FINISHED", None, before.run_name)
        info = store.update_run_info(run, end_time=77)
        assert (info.status, info.end_time) == ("FINISHED", 77)
        info = store.update_run_info(run, run_name="renamed")
        assert (info.run_name, info.status, info.end_time) == ("renamed", "FINISHED", 77)
        assert store.update_run_info(run, run_name="").run_name == "renamed"
        assert store.get_run(run).info == info

    def test_update_run_info_accepts_every_change_of_status(self, store: BackendStore, run: str) -> None:
        """Any status may follow any other, and the end time stays when a run goes on.

        Usual cause of failure: a table of transitions that knows better.
        """
        store.update_run_info(run, end_time=5)
        for status in (*RunStatus, *reversed(RunStatus)):
            assert store.update_run_info(run, status=status).status == status
            found = store.get_run(run).info
            assert (found.status, found.end_time) == (status, 5)

    @pytest.mark.parametrize("status", ["", "finished", "DONE", 3])
    def test_update_run_info_to_unknown_status_is_refused(self, store: BackendStore, run: str, status: str) -> None:
        """Statuses have exact names.

        Usual cause of failure: the public method was overridden without its checks.
        """
        refuses(InvalidParameterValue, store.update_run_info, run, status=status)
        assert store.get_run(run).info.status == RunStatus.RUNNING

    def test_rename_run_keeps_name_and_tag_equal(self, store: BackendStore, run: str) -> None:
        """Name and tag `mlflow.runName` change together, whichever is set, and how; deleting the tag leaves the name.

        Usual cause of failure: one way to set a tag does not know the rule.
        """
        store.update_run_info(run, run_name="by update")
        assert store.get_run(run).data.tags[NAME_TAG] == "by update"
        store.set_tag(run, RunTag(NAME_TAG, "by tag"))
        assert store.get_run(run).info.run_name == "by tag"
        store.log_batch(run, tags=[RunTag(NAME_TAG, "first"), RunTag(NAME_TAG, "by batch")])
        found = store.get_run(run)
        assert (found.info.run_name, found.data.tags[NAME_TAG]) == ("by batch", "by batch")
        store.delete_tag(run, NAME_TAG)
        found = store.get_run(run)
        assert (found.info.run_name, found.data.tags) == ("by batch", {})

    def test_search_runs_by_any_name_finds_it(self, store: BackendStore, experiment: str) -> None:
        """A run is found under its present name only.

        Usual cause of failure: the search looks at a name that renaming left behind.
        """
        old, new = unique("old"), unique("new")
        run_id = store.create_run(experiment, run_name=old).info.run_id
        store.set_tag(run_id, RunTag(NAME_TAG, new))
        assert store.search_runs([experiment], f"run_name = '{old}'") == []
        assert [run.info.run_id for run in store.search_runs([experiment], f"run_name = '{new}'")] == [run_id]
