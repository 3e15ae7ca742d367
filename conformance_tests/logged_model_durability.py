"""Logged models in a store that is reopened, opened twice, read only, or closed."""

from __future__ import annotations

import pytest

from holdall.conformance_tests.harness import BackendHarness
from holdall.conformance_tests.logged_model_base import READS, WRITES, LoggedModelSuite
from holdall.conformance_tests.support import refuses, requires, unique
from holdall.stores import (
    BackendStore,
    LoggedModelInput,
    LoggedModelOutput,
    Metric,
    NotFound,
    ReadOnly,
    StoreClosed,
    as_logged_model_store,
)

__all__ = ["LoggedModelDurabilityTests"]


def _fill(store: BackendStore) -> tuple[str, str, str]:
    """Ids of an experiment, a run in it and a model that has everything."""
    models = as_logged_model_store(store)
    experiment = store.create_experiment(unique("models"))
    run = store.create_run(experiment).info.run_id
    model = models.create_logged_model(experiment, "kept", run, {"t": "1"}, {"p": "1"}, "type").model_id
    models.log_model_metrics(model, run, [Metric("m", 0.5, 1, 2)], "data", "d1")
    models.log_outputs(run, [LoggedModelOutput(model, 2)])
    models.log_model_inputs(run, [LoggedModelInput(model)])
    models.finalize_logged_model(model, "READY")
    gone = models.create_logged_model(experiment, "gone").model_id
    models.delete_logged_model(gone)
    return experiment, run, model


def _read_all(store: BackendStore, experiment: str, run: str, model: str) -> tuple[object, ...]:
    """Everything that `_fill` wrote, comparable."""
    models = as_logged_model_store(store)
    found = store.get_run(run)
    return (
        models.get_logged_model(model),
        list(models.search_logged_models([experiment])),
        found.inputs,
        found.outputs,
        found.data,
    )


class LoggedModelDurabilityTests(LoggedModelSuite):
    """What becomes of logged models when a store is opened and closed."""

    @requires("logged_models", "persistent")
    def test_open_store_again_finds_models(self, harness: BackendHarness) -> None:
        """What was written is there when the same place is opened again, for reading only too.

        Usual cause of failure: a field that is read from memory only.
        """
        with harness.open() as store:
            ids = _fill(store)
            before = _read_all(store, *ids)
        for read_only in (False, True):
            with harness.open(read_only=read_only) as store:
                assert _read_all(store, *ids) == before

    @requires("logged_models", "persistent")
    def test_write_models_to_store_opened_twice_shows_at_once(self, harness: BackendHarness) -> None:
        """What one open store has written, another one sees at once, also if it has read before.

        Usual cause of failure: caches, or a transaction left open.
        """
        with harness.open() as one, harness.open() as other:
            writer, reader = as_logged_model_store(one), as_logged_model_store(other)
            experiment, run, model = _fill(one)
            for number in range(3):
                writer.set_logged_model_tags(model, {"t": str(number)})
                writer.log_model_metrics(model, run, [Metric("n", float(number), 1, number)])
                assert reader.get_logged_model(model) == writer.get_logged_model(model)
                assert len(reader.search_logged_models([experiment], f"metrics.n = {number}")) == 1
            writer.delete_logged_model(model)
            refuses(NotFound, reader.get_logged_model, model)
            assert reader.search_logged_models([experiment]) == []

    @requires("logged_models", "persistent")
    def test_write_models_to_read_only_store_is_refused_and_changes_nothing(self, harness: BackendHarness) -> None:
        """Every write is refused with PERMISSION_DENIED, and leaves no trace.

        Usual cause of failure: one of the ways to write was overridden without the check.
        """
        with harness.open() as store:
            ids = _fill(store)
            before = _read_all(store, *ids)
        with harness.open(read_only=True) as store:
            for write in WRITES.values():
                refuses(ReadOnly, write, as_logged_model_store(store), *ids)
        with harness.open() as store:
            assert _read_all(store, *ids) == before

    @requires("logged_models", "persistent", "raw.digest", "isolated")
    def test_read_models_of_read_only_store_leaves_the_storage_alone(self, harness: BackendHarness) -> None:
        """Reading models changes nothing in the storage.

        Usual cause of failure: an index or a lock file that is written on the way.
        """
        with harness.open() as store:
            ids = _fill(store)
        before = harness.raw.digest()
        with harness.open(read_only=True) as store:
            _read_all(store, *ids)
        assert harness.raw.digest() == before

    @requires("logged_models")
    @pytest.mark.parametrize("method", [*WRITES, *READS])
    def test_use_models_of_closed_store_is_refused(self, harness: BackendHarness, method: str) -> None:
        """After `close` every call says so.

        Usual cause of failure: the store opens itself again, or the driver's exception is passed on.
        """
        store = harness.open()
        ids = _fill(store)
        store.close()
        refuses(StoreClosed, {**WRITES, **READS}[method], as_logged_model_store(store), *ids)
