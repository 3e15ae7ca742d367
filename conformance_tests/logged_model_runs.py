"""Logged models and runs: the metrics they share, and the links between them."""

from __future__ import annotations

import math

import pytest

from holdall.conformance_tests.logged_model_base import MISSING, LoggedModelSuite
from holdall.conformance_tests.names import HOSTILE_KEYS, HOSTILE_TEXTS
from holdall.conformance_tests.support import bits, identity, refuses, requires
from holdall.stores import (
    BackendStore,
    Dataset,
    DatasetInput,
    InvalidParameterValue,
    LoggedModelInput,
    LoggedModelMetric,
    LoggedModelOutput,
    LoggedModelStore,
    Metric,
    NotFound,
)

__all__ = ["LoggedModelRunTests"]

OTHER = "m-" + "1" * 32


def _links(store: BackendStore, run_id: str) -> tuple[set[LoggedModelInput], set[LoggedModelOutput]]:
    run = store.get_run(run_id)
    inputs, outputs = run.inputs.model_inputs, run.outputs.model_outputs
    assert len(set(inputs)) == len(inputs), "an input appears twice"
    assert len(set(outputs)) == len(outputs), "an output appears twice"
    return set(inputs), set(outputs)


class LoggedModelRunTests(LoggedModelSuite):
    """What logged models have to do with runs."""

    @requires("logged_models")
    def test_log_model_metrics_reaches_run_and_model(
        self, models: LoggedModelStore, store: BackendStore, experiment: str, run: str, model: str
    ) -> None:
        """A metric of a model is one of the run too, which remembers all points; the model shows the latest.

        Usual cause of failure: one of the two is forgotten.
        """
        points = [Metric("acc", 0.5, 10, 0), Metric("acc", 0.7, 11, 1), Metric("loss", 2.0, 10, -1)]
        models.log_model_metrics(model, run, points)
        assert models.get_logged_model(model).metrics == (
            LoggedModelMetric("acc", 0.7, 11, 1, run),
            LoggedModelMetric("loss", 2.0, 10, -1, run),
        )
        [found] = store.search_runs([experiment])
        assert found.data.metrics == store.get_run(run).data.metrics == {"acc": 0.7, "loss": 2.0}
        assert list(store.get_metric_history(run, "acc")) == points[:2]
        store.log_metric(run, Metric("acc", 0.9, 12, 2))
        assert models.get_logged_model(model).metrics[0].value == 0.7

    @requires("logged_models")
    def test_log_model_metrics_on_datasets_keeps_the_latest_of_each(
        self, models: LoggedModelStore, store: BackendStore, run: str, model: str
    ) -> None:
        """A model shows one value for each key on each dataset; name and digest together make a dataset.

        Usual cause of failure: the dataset is no part of the key.
        """
        expected = []
        for number, dataset in enumerate([(None, None), ("a", "1"), ("a", "2"), ("b", "1")]):
            late, early = Metric("m", float(number), 20 + number, 1), Metric("m", 9.0, 10 + number, 0)
            models.log_model_metrics(model, run, [late], *dataset)
            models.log_model_metrics(model, run, [early], *dataset)
            expected.append(LoggedModelMetric("m", float(number), 20 + number, 1, run, *dataset))
        assert models.get_logged_model(model).metrics == tuple(expected)
        assert len(store.get_metric_history(run, "m")) == 8

    @requires("logged_models")
    def test_log_model_metrics_at_one_moment_on_two_datasets_keeps_both(
        self, models: LoggedModelStore, store: BackendStore, run: str, model: str
    ) -> None:
        """Points that agree in all but the dataset are two of the model, and one of the run.

        Usual cause of failure: a key of model, metric, timestamp, step and run.
        """
        for name in ("a", "b"):
            models.log_model_metrics(model, run, [Metric("m", 1.0, 1, 1)], name, "d")
        assert [metric.dataset_name for metric in models.get_logged_model(model).metrics] == ["a", "b"]
        assert store.get_metric_history(run, "m") == [Metric("m", 1.0, 1, 1)]

    @requires("logged_models")
    def test_log_model_metrics_in_any_order_shows_greatest_as_latest(
        self, models: LoggedModelStore, run: str, model: str
    ) -> None:
        """The latest point is that of the greatest (step, timestamp, value), however they came; NaN stands above 0.

        Usual cause of failure: the last line or row wins, or the greatest timestamp.
        """
        points = [
            Metric("m", 9.0, 99, 0),
            Metric("m", 1.0, 2, 1),
            Metric("m", 2.0, 3, 1),
            Metric("m", math.nan, 3, 1),
            Metric("m", 3.0, 3, 1),
            Metric("m", -1.0, 3, 1),
            Metric("m", 8.0, 1, 1),
        ]
        for ordered in (points, points[::-1]):
            for point in ordered:
                models.log_model_metrics(model, run, [point])
        [latest] = models.get_logged_model(model).metrics
        assert (latest.value, latest.timestamp, latest.step) == (3.0, 3, 1)

    @requires("logged_models")
    def test_log_model_metrics_from_several_runs_says_whose_value_it_is(
        self, models: LoggedModelStore, store: BackendStore, experiment: str, run: str, model: str
    ) -> None:
        """Runs of whatever experiment may measure a model; its latest value is the latest of all.

        Usual cause of failure: the model is looked for in the experiment of the run.
        """
        elsewhere = store.create_run(store.create_experiment(f"elsewhere-{run}")).info.run_id
        models.log_model_metrics(model, elsewhere, [Metric("m", 2.0, 1, 2)])
        models.log_model_metrics(model, run, [Metric("m", 1.0, 1, 1)])
        assert models.get_logged_model(model).metrics == (LoggedModelMetric("m", 2.0, 1, 2, elsewhere),)
        assert store.get_run(run).data.metrics == {"m": 1.0}
        assert store.get_run(elsewhere).data.metrics == {"m": 2.0}

    @requires("logged_models")
    def test_log_model_metrics_again_changes_nothing(
        self, models: LoggedModelStore, store: BackendStore, run: str, model: str
    ) -> None:
        """The same points again are a repetition, alone or among others.

        Usual cause of failure: an insert that fails on the primary key.
        """
        points = [Metric("m", math.nan, 1, 1), Metric("m", 1.0, 1, 0), Metric("m", 1.0, 1, 0)]
        for _ in range(2):
            models.log_model_metrics(model, run, points, "data", "d1")
            models.log_model_metrics(model, run, points)
        assert len(models.get_logged_model(model).metrics) == 2
        assert len(store.get_metric_history(run, "m")) == 2

    @requires("logged_models")
    @pytest.mark.parametrize("value", [0.1, 5e-324, 1.7976931348623155e308, math.inf, -math.inf, math.nan, 2**53 + 2.0])
    def test_log_model_metrics_with_any_double_keeps_every_bit(
        self, models: LoggedModelStore, store: BackendStore, experiment: str, run: str, model: str, value: float
    ) -> None:
        """Values come back to the bit.

        Usual cause of failure: a text with too few digits, NaN kept as 0, Inf as the greatest double.
        """
        models.log_model_metrics(model, run, [Metric("m", value, 2**63 - 1, -(2**63))], "data", "d1")
        [searched] = models.search_logged_models([experiment])
        for found in (searched, models.get_logged_model(model)):
            [metric] = found.metrics
            assert (bits(metric.value), metric.timestamp, metric.step) == (bits(value), 2**63 - 1, -(2**63))
        assert [identity(point) for point in store.get_metric_history(run, "m")] == [
            ("m", bits(value), 2**63 - 1, -(2**63))
        ]

    @requires("logged_models")
    @pytest.mark.parametrize("text", HOSTILE_TEXTS)
    def test_log_model_metrics_on_dataset_with_unusual_name_keeps_it(
        self, models: LoggedModelStore, run: str, model: str, text: str
    ) -> None:
        """Name and digest of a dataset come back as they were given, blanks included, and can be searched for.

        Usual cause of failure: they are parts of a line that is taken apart at blanks.
        """
        models.log_model_metrics(model, run, [Metric("m", 1.0, 1)], text, text[:36])
        models.log_model_metrics(model, run, [Metric("m", 2.0, 1)], text + "x", text[:35] + "y")
        found = models.get_logged_model(model)
        assert [(metric.dataset_name, metric.dataset_digest, metric.value) for metric in found.metrics] == [
            (text, text[:36], 1.0),
            (text + "x", text[:35] + "y", 2.0),
        ]
        selector = {"dataset_name": text, "dataset_digest": text[:36]}
        assert models.search_logged_models([found.experiment_id], "metrics.m = 1", [selector]) == [found]
        assert models.search_logged_models([found.experiment_id], "metrics.m = 2", [selector]) == []

    @requires("logged_models")
    def test_log_model_metrics_with_unusual_keys_keeps_all(
        self, models: LoggedModelStore, experiment: str, run: str, model: str
    ) -> None:
        """Every key that the rules allow can be logged, searched and sorted by.

        Usual cause of failure: keys are file names, or taken apart at dots.
        """
        models.log_model_metrics(model, run, [Metric(key, 1.0, 1) for key in HOSTILE_KEYS])
        found = models.get_logged_model(model)
        assert {metric.key for metric in found.metrics} == set(HOSTILE_KEYS)
        for key in HOSTILE_KEYS:
            order = [{"field_name": f"metrics.{key}"}]
            assert models.search_logged_models([experiment], f"metrics.`{key}` = 1", order_by=order) == [found]

    @requires("logged_models")
    def test_log_model_metrics_to_missing_model_leaves_the_run_alone(
        self, models: LoggedModelStore, store: BackendStore, run: str
    ) -> None:
        """What is refused is written nowhere.

        Usual cause of failure: the run is written before the model is looked for.
        """
        before = store.get_run(run)
        refuses(NotFound, models.log_model_metrics, MISSING, run, [Metric("m", 1.0, 1)])
        assert store.get_run(run) == before

    @requires("logged_models")
    def test_log_model_metrics_of_missing_or_deleted_run_leaves_the_model_alone(
        self, models: LoggedModelStore, store: BackendStore, run: str, model: str
    ) -> None:
        """A missing run is not found; a deleted one takes no metrics.

        Usual cause of failure: the model is written before the run is looked at.
        """
        before = models.get_logged_model(model)
        for metrics in ([Metric("m", 1.0, 1)], []):
            refuses(NotFound, models.log_model_metrics, model, "d" * 32, metrics)
        store.delete_run(run)
        for metrics in ([Metric("m", 1.0, 1)], []):
            refuses(InvalidParameterValue, models.log_model_metrics, model, run, metrics)
        assert models.get_logged_model(model) == before

    @requires("logged_models")
    def test_log_model_metrics_that_break_the_rules_writes_nothing(
        self, models: LoggedModelStore, store: BackendStore, run: str, model: str
    ) -> None:
        """Points and datasets are checked before anything is written; a call takes 1000 points.

        Usual cause of failure: the public method was overridden without its checks.
        """
        good = Metric("m", 1.0, 1)
        for bad in (Metric("", 1.0, 1), Metric("m", 1.0, -1), Metric("m", 1.0, 1, 2**63), "m", None):
            refuses(InvalidParameterValue, models.log_model_metrics, model, run, [good, bad])
        refuses(InvalidParameterValue, models.log_model_metrics, model, run, good)
        refuses(InvalidParameterValue, models.log_model_metrics, model, run, [good] * 1001)
        for dataset in (("a", None), (None, "1"), ("", "1"), ("a", ""), ("a" * 501, "1"), ("a", "1" * 37), (1, 2)):
            refuses(InvalidParameterValue, models.log_model_metrics, model, run, [good], *dataset)
        assert models.get_logged_model(model).metrics == ()
        assert store.get_run(run).data.metrics == {}
        models.log_model_metrics(model, run, [Metric("m", 1.0, number) for number in range(1000)], "ü" * 500, "1" * 36)
        assert models.get_logged_model(model).metrics[0].timestamp == 999

    # Links

    @requires("logged_models")
    def test_link_models_to_run_shows_inputs_and_outputs(
        self, models: LoggedModelStore, store: BackendStore, experiment: str, run: str, model: str
    ) -> None:
        """A run tells which models it used and which it made, at which step; a search tells it too.

        Usual cause of failure: inputs and outputs are mixed up, or a search leaves them out.
        """
        models.log_model_inputs(run, [LoggedModelInput(model), LoggedModelInput(OTHER)])
        models.log_outputs(run, [LoggedModelOutput(model, 3), LoggedModelOutput(MISSING, -(2**63))])
        inputs = {LoggedModelInput(model), LoggedModelInput(OTHER)}
        outputs = {LoggedModelOutput(model, 3), LoggedModelOutput(MISSING, -(2**63))}
        assert _links(store, run) == (inputs, outputs)
        [found] = store.search_runs([experiment])
        assert (set(found.inputs.model_inputs), set(found.outputs.model_outputs)) == (inputs, outputs)
        other = store.create_run(experiment).info.run_id
        assert _links(store, other) == (set(), set())

    @requires("logged_models", "datasets")
    def test_link_models_and_datasets_to_run_keeps_both(
        self, models: LoggedModelStore, store: BackendStore, run: str, model: str
    ) -> None:
        """Models and datasets are inputs side by side.

        Usual cause of failure: one kind of input is taken for the other.
        """
        dataset = DatasetInput(Dataset(model, "d", "t", "s"))
        models.log_model_inputs(run, [LoggedModelInput(model)])
        store.log_inputs(run, [dataset])
        found = store.get_run(run).inputs
        assert (found.dataset_inputs, found.model_inputs) == ((dataset,), (LoggedModelInput(model),))

    @requires("logged_models")
    def test_link_models_again_changes_nothing(
        self, models: LoggedModelStore, store: BackendStore, run: str, model: str
    ) -> None:
        """The same model again is a repetition, whatever its step: the first one stays.

        Usual cause of failure: a second link, or an insert that fails on the primary key.
        """
        for step in (1, 2, 1):
            models.log_model_inputs(run, [LoggedModelInput(model), LoggedModelInput(model)])
            models.log_outputs(run, [LoggedModelOutput(model, step), LoggedModelOutput(model, 7)])
        models.log_outputs(run, [LoggedModelOutput(OTHER, 0), LoggedModelOutput(model, 4)])
        assert _links(store, run) == (
            {LoggedModelInput(model)},
            {LoggedModelOutput(model, 1), LoggedModelOutput(OTHER, 0)},
        )

    @requires("logged_models")
    def test_link_models_to_missing_or_deleted_run_is_refused(
        self, models: LoggedModelStore, store: BackendStore, run: str, model: str
    ) -> None:
        """A missing run is not found; a deleted one takes no links, nor does it when there are none to take.

        Usual cause of failure: the run is not looked at.
        """
        for inputs, outputs in (([LoggedModelInput(model)], [LoggedModelOutput(model)]), ([], [])):
            refuses(NotFound, models.log_model_inputs, "d" * 32, inputs)
            refuses(NotFound, models.log_outputs, "d" * 32, outputs)
        store.delete_run(run)
        for inputs, outputs in (([LoggedModelInput(model)], [LoggedModelOutput(model)]), ([], [])):
            refuses(InvalidParameterValue, models.log_model_inputs, run, inputs)
            refuses(InvalidParameterValue, models.log_outputs, run, outputs)
        assert _links(store, run) == (set(), set())

    @requires("logged_models")
    def test_link_models_malformed_writes_nothing(
        self, models: LoggedModelStore, store: BackendStore, run: str, model: str
    ) -> None:
        """What is no link is refused with all that came with it.

        Usual cause of failure: the public method was overridden without its checks.
        """
        for bad in (model, None, LoggedModelOutput(model), LoggedModelInput("../x")):
            refuses(InvalidParameterValue, models.log_model_inputs, run, [LoggedModelInput(model), bad])
        for bad in (model, None, LoggedModelInput(model), LoggedModelOutput(OTHER, 2**63), LoggedModelOutput("a/b")):
            refuses(InvalidParameterValue, models.log_outputs, run, [LoggedModelOutput(model), bad])
        refuses(InvalidParameterValue, models.log_outputs, run, {model: 1})
        assert _links(store, run) == (set(), set())

    @requires("logged_models", "negative_zero")
    def test_log_model_metrics_with_negative_zero_keeps_the_sign(
        self, models: LoggedModelStore, run: str, model: str
    ) -> None:
        """−0.0 is not 0.0.

        Usual cause of failure: a text without the sign, or an integer.
        """
        models.log_model_metrics(model, run, [Metric("m", -0.0, 1)])
        [metric] = models.get_logged_model(model).metrics
        assert bits(metric.value) == bits(-0.0)
