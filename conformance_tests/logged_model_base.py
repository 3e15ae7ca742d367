"""What the sections on logged models share: fixtures, and every method as data."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from holdall.conformance_tests.base import BackendSuite
from holdall.stores import (
    BackendStore,
    LoggedModelInput,
    LoggedModelOutput,
    LoggedModelStore,
    Metric,
    as_logged_model_store,
)

__all__ = ["MISSING", "MODEL_WRITES", "READS", "WRITES", "LoggedModelSuite"]

MISSING = "m-" + "0" * 32
"""Id of a model that no store holds."""

_Call = Callable[[LoggedModelStore, str, str, str], object]

MODEL_WRITES: dict[str, _Call] = {
    "finalize_logged_model": lambda store, experiment, run, model: store.finalize_logged_model(model, "READY"),
    "log_logged_model_params": lambda store, experiment, run, model: store.log_logged_model_params(model, {"p": "2"}),
    "log_no_logged_model_params": lambda store, experiment, run, model: store.log_logged_model_params(model, {}),
    "set_logged_model_tags": lambda store, experiment, run, model: store.set_logged_model_tags(model, {"t": "2"}),
    "delete_logged_model_tag": lambda store, experiment, run, model: store.delete_logged_model_tag(model, "t"),
    "log_model_metrics": lambda store, experiment, run, model: store.log_model_metrics(
        model, run, [Metric("refused", 1.0, 1)]
    ),
    "log_no_model_metrics": lambda store, experiment, run, model: store.log_model_metrics(model, run, []),
}
"""Every method that writes to a model, which must be there."""

WRITES: dict[str, _Call] = {
    **MODEL_WRITES,
    "create_logged_model": lambda store, experiment, run, model: store.create_logged_model(experiment),
    "delete_logged_model": lambda store, experiment, run, model: store.delete_logged_model(model),
    "log_model_inputs": lambda store, experiment, run, model: store.log_model_inputs(run, [LoggedModelInput(MISSING)]),
    "log_outputs": lambda store, experiment, run, model: store.log_outputs(run, [LoggedModelOutput(MISSING)]),
}
"""Every method that writes."""

READS: dict[str, _Call] = {
    "get_logged_model": lambda store, experiment, run, model: store.get_logged_model(model),
    "search_logged_models": lambda store, experiment, run, model: store.search_logged_models([experiment]),
    "search_logged_models_nowhere": lambda store, experiment, run, model: store.search_logged_models([]),
}
"""Every method that reads."""


class LoggedModelSuite(BackendSuite):
    """Base of the sections on logged models, whose tests all require `logged_models`."""

    @pytest.fixture
    def models(self, store: BackendStore) -> LoggedModelStore:
        """The store, as a keeper of logged models."""
        return as_logged_model_store(store)

    @pytest.fixture
    def model(self, models: LoggedModelStore, experiment: str) -> str:
        """Id of a new model in `experiment`."""
        return models.create_logged_model(experiment, "model").model_id
