"""Metrics: values without loss, points as a set, the rule of the latest value."""

from __future__ import annotations

import itertools
import math

import pytest

from holdall.conformance_tests.base import BackendSuite
from holdall.conformance_tests.harness import BackendHarness
from holdall.conformance_tests.names import BAD_KEYS, CONFUSABLE_KEYS, HOSTILE_KEYS
from holdall.conformance_tests.support import bits, identity, refuses, requires
from holdall.stores import BackendStore, InvalidParameterValue, Metric

__all__ = ["MetricTests"]

VALUES = (
    0.0,
    1.0,
    0.1,
    1 / 3,
    -2.5e-7,
    123456789.123456789,
    2.0**53 + 2,
    float(2**63),
    1.7976931348623155e308,
    2.2250738585072014e-308,
    1e-320,
    5e-324,
    -5e-324,
    math.inf,
    -math.inf,
    math.nan,
)

INT64_MAX = 2**63 - 1


class MetricTests(BackendSuite):
    """Metrics."""

    @pytest.mark.parametrize("value", VALUES)
    def test_log_metric_with_any_double_keeps_every_bit(
        self, store: BackendStore, experiment: str, run: str, value: float
    ) -> None:
        """The value comes back equal to the bit from the run, its history and a search (mlflow#22826).

        Usual cause of failure: numbers written as short text, single precision, Inf or NaN mapped to something else.
        """
        store.log_metric(run, Metric("m", value, 5, 2))
        self.expect_value(store, experiment, run, value)

    @pytest.mark.parametrize("value", VALUES)
    def test_log_batch_with_any_double_keeps_every_bit(
        self, store: BackendStore, experiment: str, run: str, value: float
    ) -> None:
        """Batches keep values as single calls do.

        Usual cause of failure: another way of writing for batches.
        """
        store.log_batch(run, [Metric("m", value, 5, 2)])
        self.expect_value(store, experiment, run, value)

    @requires("negative_zero")
    def test_log_metric_with_negative_zero_keeps_the_sign(self, store: BackendStore, experiment: str, run: str) -> None:
        """-0.0 is not 0.0.

        Usual cause of failure: whole numbers are stored as integers. Unset `negative_zero` if the storage does that.
        """
        store.log_metric(run, Metric("m", -0.0, 5, 2))
        self.expect_value(store, experiment, run, -0.0)

    def expect_value(self, store: BackendStore, experiment: str, run: str, value: float) -> None:
        """Every way to read the only point of `m` gives `value` at timestamp 5, step 2."""
        found = store.get_run(run).data
        assert bits(found.metrics["m"]) == bits(value)
        assert found.metric_points == {"m": (5, 2)}
        assert list(map(identity, found.latest_metrics)) == [("m", bits(value), 5, 2)]
        assert [identity(point) for point in store.get_metric_history(run, "m")] == [("m", bits(value), 5, 2)]
        [searched] = store.search_runs([experiment])
        assert bits(searched.data.metrics["m"]) == bits(value)
        assert type(searched.data.metrics["m"]) is float

    @pytest.mark.parametrize("sign", [1, -1])
    def test_log_metric_with_largest_double_means_infinity(self, store: BackendStore, run: str, sign: int) -> None:
        """±1.7976931348623157e308 is how tables spell ±Inf, so it is ±Inf in every store.

        Usual cause of failure: the public method was overridden without its checks.
        """
        store.log_metric(run, Metric("m", sign * 1.7976931348623157e308, 1))
        assert store.get_run(run).data.metrics == {"m": sign * math.inf}

    @pytest.mark.parametrize("value", [True, 7, 2**60])
    def test_log_metric_with_whole_number_becomes_double(self, store: BackendStore, run: str, value: float) -> None:
        """Integers and booleans are converted.

        Usual cause of failure: an integer comes back from a dynamically typed column.
        """
        store.log_metric(run, Metric("m", value, 1))
        found = store.get_run(run).data.metrics["m"]
        assert (type(found), found) == (float, float(value))

    @pytest.mark.parametrize("value", ["1.0", None, 1j, [1.0], 10**400])
    def test_log_metric_with_no_number_is_refused(self, store: BackendStore, run: str, value: float) -> None:
        """Only numbers that fit into a double are values.

        Usual cause of failure: the public method was overridden without its checks.
        """
        refuses(InvalidParameterValue, store.log_metric, run, Metric("m", value, 1))
        assert store.get_run(run).data.metrics == {}

    @pytest.mark.parametrize(
        ("timestamp", "step"),
        [(0, 0), (INT64_MAX, INT64_MAX), (0, -INT64_MAX - 1), (2**31, -1), (2**53 + 1, 2**53 + 1)],
    )
    def test_log_metric_with_extreme_time_and_step_keeps_them(
        self, store: BackendStore, run: str, timestamp: int, step: int
    ) -> None:
        """Timestamps and steps are 64-bit integers; steps may be negative.

        Usual cause of failure: 32-bit columns, or integers that travel as doubles.
        """
        store.log_metric(run, Metric("m", 1.5, timestamp, step))
        assert store.get_metric_history(run, "m") == [Metric("m", 1.5, timestamp, step)]
        assert store.get_run(run).data.metric_points == {"m": (timestamp, step)}

    @pytest.mark.parametrize(
        ("timestamp", "step"),
        [
            (-1, 0),
            (2**63, 0),
            (1.5, 0),
            ("1", 0),
            (True, 0),
            (None, 0),
            (1, 2**63),
            (1, -(2**63) - 1),
            (1, 0.5),
            (1, None),
        ],
    )
    def test_log_metric_with_bad_time_or_step_is_refused(
        self, store: BackendStore, run: str, timestamp: int, step: int
    ) -> None:
        """Timestamps are not negative, and both fit into 64 bits.

        Usual cause of failure: the public method was overridden without its checks.
        """
        refuses(InvalidParameterValue, store.log_metric, run, Metric("m", 1.0, timestamp, step))
        refuses(InvalidParameterValue, store.log_batch, run, [Metric("m", 1.0, timestamp, step)])
        assert store.get_run(run).data.metrics == {}

    @pytest.mark.parametrize("value", [0.5, math.nan, math.inf, 0.0])
    def test_log_metric_with_same_point_again_changes_nothing(
        self, store: BackendStore, run: str, value: float
    ) -> None:
        """A point is the tuple (key, step, timestamp, value), so that every retry is safe. NaN is one value.

        Usual cause of failure: points are appended without a look, or NaN differs from itself.
        """
        point = Metric("m", value, 10, 1)
        for _ in range(3):
            store.log_metric(run, point)
        store.log_batch(run, [point, point])
        store.log_batch(run, [point, Metric("other", 1.0, 1)])
        assert [identity(found) for found in store.get_metric_history(run, "m")] == [identity(point)]

    def test_log_metric_with_points_differing_in_one_part_keeps_all(self, store: BackendStore, run: str) -> None:
        """Points that differ in step, timestamp or value alone are different points.

        Usual cause of failure: a primary key without one of the parts.
        """
        points = [
            Metric("m", value, timestamp, step)
            for value in (1.0, 2.0, math.nan)
            for timestamp in (10, 11)
            for step in (0, 1)
        ]
        for point in points:
            store.log_metric(run, point)
        found = store.get_metric_history(run, "m")
        assert sorted(map(identity, found)) == sorted(map(identity, points))

    @pytest.mark.parametrize(
        ("points", "latest"),
        [
            pytest.param([(1.0, 10, 1), (2.0, 20, 0), (0.5, 5, 1)], (1.0, 10, 1), id="step-first"),
            pytest.param([(1.0, 10, 0), (2.0, 9, 0), (0.5, 11, 0)], (0.5, 11, 0), id="then-timestamp"),
            pytest.param([(1.0, 10, 0), (2.0, 10, 0), (-3.0, 10, 0)], (2.0, 10, 0), id="then-value"),
            pytest.param([(5.0, 1, -2), (1.0, 1, -1), (9.0, 9, -3)], (1.0, 1, -1), id="negative-steps"),
            pytest.param([(math.nan, 10, 0), (-1.0, 10, 0), (0.0, 10, 0)], (math.nan, 10, 0), id="nan-above-zero"),
            pytest.param([(math.nan, 10, 0), (5e-324, 10, 0), (0.0, 10, 0)], (5e-324, 10, 0), id="positive-above-nan"),
            pytest.param([(math.nan, 10, 1), (7.0, 10, 0), (1.0, 11, 0)], (math.nan, 10, 1), id="nan-by-step"),
            pytest.param([(math.inf, 1, 0), (1e300, 1, 0), (-math.inf, 1, 0)], (math.inf, 1, 0), id="infinities"),
        ],
    )
    def test_log_metrics_in_any_order_shows_greatest_as_latest(
        self,
        store: BackendStore,
        experiment: str,
        points: list[tuple[float, int, int]],
        latest: tuple[float, int, int],
    ) -> None:
        """The latest value is that of the greatest (step, timestamp, value), however and in whatever order it came.

        NaN ranks just above 0. Usual cause of failure: the last one written wins, or a batch is compared with itself.
        """
        value, timestamp, step = latest
        for order in itertools.permutations(Metric("m", *point) for point in points):
            one_by_one, at_once = store.create_run(experiment).info.run_id, store.create_run(experiment).info.run_id
            for point in order:
                store.log_metric(one_by_one, point)
            store.log_batch(at_once, order)
            for run_id in (one_by_one, at_once):
                data = store.get_run(run_id).data
                assert bits(data.metrics["m"]) == bits(value)
                assert data.metric_points["m"] == (timestamp, step)

    def test_log_metric_with_unusual_keys_keeps_all(self, store: BackendStore, run: str) -> None:
        """All keys that the rules allow coexist, each with a history of its own.

        Usual cause of failure: keys are file names, or their column has a collation or is too short.
        """
        expected = {key: float(number) for number, key in enumerate(HOSTILE_KEYS)}
        for key, value in expected.items():
            store.log_metric(run, Metric(key, value, 1))
        assert store.get_run(run).data.metrics == expected
        for key, value in expected.items():
            assert store.get_metric_history(run, key) == [Metric(key, value, 1)]

    @pytest.mark.parametrize(("one", "other"), CONFUSABLE_KEYS)
    def test_log_metric_with_similar_keys_keeps_them_apart(
        self, store: BackendStore, run: str, one: str, other: str
    ) -> None:
        """Keys compare by code point, and `x` and `x/y` coexist.

        Usual cause of failure: a file where a folder is needed; a collation; Unicode normalization.
        """
        store.log_metric(run, Metric(one, 1.0, 1))
        store.log_batch(run, [Metric(other, 2.0, 1), Metric(one, 3.0, 2)])
        assert store.get_run(run).data.metrics == {one: 3.0, other: 2.0}
        assert [point.value for point in store.get_metric_history(run, one)] == [1.0, 3.0]
        assert [point.value for point in store.get_metric_history(run, other)] == [2.0]

    @pytest.mark.parametrize("key", BAD_KEYS)
    def test_log_metric_with_bad_key_is_refused(self, store: BackendStore, run: str, key: str) -> None:
        """Keys that could be taken for other paths, or hold other characters, are refused.

        Usual cause of failure: the public method was overridden without its checks.
        """
        refuses(InvalidParameterValue, store.log_metric, run, Metric(key, 1.0, 1))
        refuses(InvalidParameterValue, store.log_batch, run, [Metric("good", 1.0, 1), Metric(key, 1.0, 1)])
        refuses(InvalidParameterValue, store.get_metric_history, run, key)
        assert store.get_run(run).data.metrics == {}

    @requires("raw.metric_points")
    def test_log_metric_seen_behind_the_store_is_there_once(
        self, store: BackendStore, run: str, harness: BackendHarness
    ) -> None:
        """What a call has returned from is in the storage itself, each point once.

        Usual cause of failure: writes wait in a buffer, or the store removes doubles on reading only.
        """
        points = [Metric("m", value, 1, step) for step, value in enumerate((0.5, math.nan, math.inf, -math.inf))]
        for number, point in enumerate(points):
            store.log_metric(run, point)
            store.log_metric(run, point)
            stored = harness.raw.metric_points(run)
            assert sorted(map(identity, stored)) == sorted(map(identity, points[: number + 1]))
        store.log_batch(run, [*points, Metric("n", 1.0, 1)])
        stored = harness.raw.metric_points(run)
        assert sorted(map(identity, stored)) == sorted(map(identity, [*points, Metric("n", 1.0, 1)]))

    @requires("raw.write_metric_point", "multi_process")
    def test_read_metric_written_behind_the_store_sees_it(
        self, store: BackendStore, run: str, harness: BackendHarness
    ) -> None:
        """What another program has stored is read, also by a store that has read before.

        Usual cause of failure: a cache that only the store's own writes invalidate.
        """
        store.log_metric(run, Metric("m", 1.0, 1, 0))
        assert store.get_run(run).data.metrics == {"m": 1.0}
        harness.raw.write_metric_point(run, Metric("m", 2.0, 2, 1))
        assert [point.value for point in store.get_metric_history(run, "m")] == [1.0, 2.0]
