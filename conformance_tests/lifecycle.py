"""Deleting and restoring experiments and runs."""

from __future__ import annotations

import pytest

from holdall.conformance_tests.base import BackendSuite
from holdall.conformance_tests.support import raises, refuses, requires, snapshot, unique
from holdall.stores import (
    AlreadyExists,
    BackendStore,
    ExperimentTag,
    InvalidParameterValue,
    LifecycleStage,
    Metric,
    NotFound,
    Param,
    RunStatus,
    RunTag,
    ViewType,
)

__all__ = ["LifecycleTests"]


def _stages(store: BackendStore, runs: list[str]) -> list[str]:
    return [str(store.get_run(run_id).info.lifecycle_stage) for run_id in runs]


class LifecycleTests(BackendSuite):
    """Lifecycle stages."""

    def test_delete_run_twice_and_restore_twice_is_accepted(self, store: BackendStore, run: str) -> None:
        """Deleting a run keeps its data; both calls may be repeated.

        Usual cause of failure: the second call finds no active run.
        """
        store.log_batch(run, [Metric("m", 1.0, 1)], [Param("p", "1")], [RunTag("t", "1")])
        before = snapshot(store, run)
        for _ in range(2):
            store.delete_run(run)
            assert store.get_run(run).info.lifecycle_stage == LifecycleStage.DELETED
        for _ in range(2):
            store.restore_run(run)
            assert snapshot(store, run) == before

    @pytest.mark.parametrize("by_experiment", [False, True])
    def test_write_to_deleted_run_is_refused(
        self, store: BackendStore, experiment: str, run: str, by_experiment: bool
    ) -> None:
        """A deleted run is read only, whichever deletion it was: nothing is written, everything can be read.

        Usual cause of failure: one of the ways to write does not look at the stage.
        """
        store.log_batch(run, [Metric("m", 1.0, 1)], [Param("p", "1")], [RunTag("t", "1")])
        if by_experiment:
            store.delete_experiment(experiment)
        else:
            store.delete_run(run)
        before = snapshot(store, run)
        refuses(InvalidParameterValue, store.log_metric, run, Metric("m", 2.0, 2))
        refuses(InvalidParameterValue, store.log_param, run, Param("q", "1"))
        refuses(InvalidParameterValue, store.log_param, run, Param("p", "1"))
        refuses(InvalidParameterValue, store.set_tag, run, RunTag("t", "2"))
        refuses(InvalidParameterValue, store.delete_tag, run, "t")
        refuses(InvalidParameterValue, store.log_batch, run, [Metric("m", 2.0, 2)])
        refuses(InvalidParameterValue, store.log_batch, run, params=[Param("q", "1")])
        refuses(InvalidParameterValue, store.log_batch, run, tags=[RunTag("t", "2")])
        refuses(InvalidParameterValue, store.update_run_info, run, status=RunStatus.FINISHED)
        refuses(InvalidParameterValue, store.update_run_info, run, run_name="x")
        assert snapshot(store, run) == before
        [found] = store.search_runs([experiment], "metrics.m = 1", run_view_type=ViewType.DELETED_ONLY)
        assert found.info.run_id == run

    def test_write_to_deleted_experiment_is_refused(self, store: BackendStore, experiment: str) -> None:
        """A deleted experiment takes no runs, no tags and no new name, and can be read.

        Usual cause of failure: one of the ways to write does not look at the stage.
        """
        store.set_experiment_tag(experiment, ExperimentTag("t", "1"))
        store.delete_experiment(experiment)
        before = store.get_experiment(experiment)
        refuses(InvalidParameterValue, store.create_run, experiment)
        refuses(InvalidParameterValue, store.set_experiment_tag, experiment, ExperimentTag("t", "2"))
        refuses(InvalidParameterValue, store.delete_experiment_tag, experiment, "t")
        refuses(InvalidParameterValue, store.rename_experiment, experiment, unique("renamed"))
        assert store.get_experiment(experiment) == before
        assert store.get_experiment_by_name(before.name) == before
        assert store.search_runs([experiment], run_view_type=ViewType.ALL) == []

    def test_delete_experiment_in_wrong_stage_is_not_found(self, store: BackendStore, experiment: str) -> None:
        """Only an active experiment can be deleted, only a deleted one restored.

        Usual cause of failure: an update of no rows counts as success.
        """
        refuses(NotFound, store.restore_experiment, experiment)
        store.delete_experiment(experiment)
        assert store.get_experiment(experiment).lifecycle_stage == LifecycleStage.DELETED
        refuses(NotFound, store.delete_experiment, experiment)
        store.restore_experiment(experiment)
        assert store.get_experiment(experiment).lifecycle_stage == LifecycleStage.ACTIVE
        refuses(NotFound, store.restore_experiment, experiment)

    def test_delete_experiment_deletes_its_runs_only(self, store: BackendStore, experiment: str) -> None:
        """The active runs of the experiment go with it, those of others stay.

        Usual cause of failure: an update without its condition.
        """
        runs = [store.create_run(experiment).info.run_id for _ in range(3)]
        other = store.create_run(store.create_experiment(unique("other"))).info.run_id
        store.delete_experiment(experiment)
        assert _stages(store, runs) == ["deleted"] * 3
        assert _stages(store, [other]) == ["active"]
        store.restore_experiment(experiment)
        assert _stages(store, runs) == ["active"] * 3

    @requires("restores_by_cause")
    def test_restore_experiment_leaves_runs_deleted_by_hand(self, store: BackendStore, experiment: str) -> None:
        """Restoring an experiment restores the runs that its deletion deleted, not those deleted before by hand.

        Usual cause of failure: all deleted runs of the experiment are restored.
        """
        runs = [store.create_run(experiment).info.run_id for _ in range(4)]
        store.delete_run(runs[0])
        for _ in range(2):
            store.delete_experiment(experiment)
            assert _stages(store, runs) == ["deleted"] * 4
            store.restore_experiment(experiment)
            assert _stages(store, runs) == ["deleted", "active", "active", "active"]
        store.restore_run(runs[0])
        store.delete_run(runs[1])
        store.delete_experiment(experiment)
        store.restore_experiment(experiment)
        assert _stages(store, runs) == ["active", "deleted", "active", "active"]

    @requires("restores_by_cause")
    def test_restore_experiment_after_run_changed_stage_meanwhile_respects_it(
        self, store: BackendStore, experiment: str
    ) -> None:
        """A run that was restored and deleted again by hand while its experiment was deleted stays deleted.

        Usual cause of failure: the mark of the experiment's deletion outlives the run's restoration.
        """
        run = store.create_run(experiment).info.run_id
        store.delete_experiment(experiment)
        store.restore_run(run)
        assert _stages(store, [run]) == ["active"]
        store.delete_run(run)
        store.restore_experiment(experiment)
        assert _stages(store, [run]) == ["deleted"]

    def test_delete_experiment_keeps_its_name_taken(self, store: BackendStore, experiment: str) -> None:
        """The name is free again when the deleted experiment is restored and renamed (mlflow#2651).

        Usual cause of failure: names are unique among active experiments only.
        """
        name = store.get_experiment(experiment).name
        store.delete_experiment(experiment)
        with raises(AlreadyExists):
            store.create_experiment(name)
        store.restore_experiment(experiment)
        store.rename_experiment(experiment, unique("renamed"))
        store.delete_experiment(experiment)
        assert store.create_experiment(name) != experiment

    def test_delete_parent_run_leaves_children(self, store: BackendStore, experiment: str) -> None:
        """The tag of the parent is an ordinary tag.

        Usual cause of failure: a cascade.
        """
        parent = store.create_run(experiment).info.run_id
        child = store.create_run(experiment, tags=[RunTag("mlflow.parentRunId", parent)]).info.run_id
        store.delete_run(parent)
        assert _stages(store, [parent, child]) == ["deleted", "active"]

    @requires("isolated")
    def test_delete_default_experiment_is_reversible(self, store: BackendStore) -> None:
        """Experiment 0 is deleted and restored like any other (mlflow#2690).

        Usual cause of failure: reopening makes a second one, or the deletion cannot be undone.
        """
        run = store.create_run("0").info.run_id
        store.delete_experiment("0")
        assert store.get_experiment("0").lifecycle_stage == LifecycleStage.DELETED
        refuses(InvalidParameterValue, store.create_run, "0")
        store.restore_experiment("0")
        assert store.get_experiment("0").name == "Default"
        assert _stages(store, [run]) == ["active"]
        assert store.create_run("0").info.experiment_id == "0"
