"""Params, metrics and tags: what is accepted, what it becomes, what is refused."""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import SupportsFloat

import pytest

import holdall
from holdall.stores.entities import Metric
from holdall.stores.errors import InvalidParameterValue, NotFound, Unsupported

pytestmark = pytest.mark.usefixtures("store")


class Tensor:
    """Shaped like a torch tensor."""

    def __init__(self, *values: float) -> None:
        self.values = values

    def __repr__(self) -> str:
        return f"Tensor{self.values}"

    def item(self) -> float:
        if len(self.values) != 1:
            raise RuntimeError("a Tensor with several elements cannot be converted to Scalar")
        return self.values[0]

    def __float__(self) -> float:
        return self.item()


class EagerTensor:
    """Shaped like a TensorFlow tensor."""

    def __repr__(self) -> str:
        return "EagerTensor"

    def numpy(self) -> Tensor:
        return Tensor(2.5)

    def __float__(self) -> float:
        raise AssertionError("numpy() is the way")


def logged() -> holdall.ActiveRun:
    run = holdall.active_run()
    assert run is not None
    return run


def metrics() -> dict[str, float]:
    return holdall.get_run(logged().info.run_id).data.metrics


def history(key: str) -> list[Metric]:
    return holdall.Client().get_metric_history(logged().info.run_id, key)


def params() -> dict[str, str]:
    return holdall.get_run(logged().info.run_id).data.params


def tags() -> dict[str, str]:
    found = holdall.get_run(logged().info.run_id).data.tags
    return {key: value for key, value in found.items() if not key.startswith("mlflow.")}


def test_log_metric_without_run_begins_one_that_stays_active() -> None:
    holdall.log_metric("m", 1)
    run = logged()
    holdall.log_param("p", 1)
    holdall.set_tag("t", 1)
    assert logged() is run
    assert (metrics(), params(), tags()) == ({"m": 1.0}, {"p": "1"}, {"t": "1"})


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1, 1.0),
        (0.1, 0.1),
        (True, 1.0),
        ("1.5", 1.5),
        (" 2 ", 2.0),
        (b"1", 1.0),
        ("-Infinity", -math.inf),
        (math.inf, math.inf),
        (Decimal("0.25"), 0.25),
        (Fraction(1, 4), 0.25),
        (Tensor(3.5), 3.5),
        (EagerTensor(), 2.5),
        (5e-324, 5e-324),
    ],
    ids=lambda value: f"{value!r}",
)
def test_log_metric_with_number_of_any_kind_stores_double(value: SupportsFloat | str | bytes, expected: float) -> None:
    holdall.log_metric("m", value)
    assert metrics() == {"m": expected}


def test_log_metric_with_nan_and_negative_zero_keeps_them() -> None:
    holdall.log_metric("nan", "nan")
    holdall.log_metric("zero", -0.0)
    assert math.isnan(metrics()["nan"])
    assert math.copysign(1, metrics()["zero"]) == -1


@pytest.mark.extras
def test_log_metric_with_numpy_value_stores_double() -> None:
    import numpy as np

    values: dict[str, SupportsFloat] = {
        "float32": np.float32(0.1),
        "float64": np.float64(0.1),
        "int": np.int64(7),
        "bool": np.bool_(True),
        "array": np.array(2.5),
        "nested": np.array([[3.5]]),
    }
    holdall.log_metrics(values)
    assert metrics() == {
        "float32": 0.10000000149011612,
        "float64": 0.1,
        "int": 7.0,
        "bool": 1.0,
        "array": 2.5,
        "nested": 3.5,
    }
    for bad in (np.array([1.0, 2.0]), np.array([]), np.datetime64("2026-01-01"), np.complex64(1)):
        with pytest.raises(InvalidParameterValue):
            holdall.log_metric("bad", bad)


@pytest.mark.extras
def test_log_metric_with_pandas_value_stores_double_or_refuses() -> None:
    import pandas as pd

    holdall.log_metric("series", pd.Series([4.5]))  # type: ignore[arg-type]
    assert metrics() == {"series": 4.5}
    for bad in (pd.Timestamp("2026-01-01"), pd.Series([1, 2])):
        with pytest.raises(InvalidParameterValue):
            holdall.log_metric("bad", bad)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "value",
    [None, "abc", "", [1], (1,), {"a": 1}, 1j, 10**400, Tensor(1, 2), object()],
    ids=lambda value: type(value).__name__,
)
def test_log_metric_with_no_number_is_refused(value: SupportsFloat) -> None:
    holdall.start_run()
    with pytest.raises(InvalidParameterValue, match="'m'"):
        holdall.log_metric("m", value)
    assert metrics() == {}


def test_log_metric_with_steps_and_timestamps_keeps_history() -> None:
    before = time.time_ns() // 1_000_000
    holdall.log_metric("loss", 1.0)
    holdall.log_metric("loss", 0.5, step=2, timestamp=1234)
    holdall.log_metric("loss", 0.7, step=-1, timestamp=1234)
    holdall.log_metric("loss", 0.6, step=3.0, timestamp=1235.9)
    holdall.log_metric("loss", 0.1, step=1, timestamp=0)
    after = time.time_ns() // 1_000_000
    points = {(point.step, point.value): point.timestamp for point in history("loss")}
    assert {key: points[key] for key in [(2, 0.5), (-1, 0.7), (3, 0.6)]} == {
        (2, 0.5): 1234,
        (-1, 0.7): 1234,
        (3, 0.6): 1235,
    }
    assert before <= points[0, 1.0] <= after
    assert before <= points[1, 0.1] <= after
    assert metrics() == {"loss": 0.6}


@pytest.mark.parametrize("step", ["1", 2.7, True, [1], 2**63])
def test_log_metric_with_bad_step_is_refused(step: float) -> None:
    with pytest.raises(InvalidParameterValue):
        holdall.log_metric("m", 1.0, step=step)


@pytest.mark.parametrize("timestamp", [-1, "now", math.nan, 2**63])
def test_log_metric_with_bad_timestamp_is_refused(timestamp: float) -> None:
    with pytest.raises(InvalidParameterValue):
        holdall.log_metric("m", 1.0, timestamp=timestamp)


def test_log_metrics_with_one_bad_value_writes_nothing() -> None:
    holdall.start_run()
    with pytest.raises(InvalidParameterValue, match="'bad'"):
        holdall.log_metrics({"good": 1, "bad": "x"})
    with pytest.raises(InvalidParameterValue):
        holdall.log_metrics({"good": 1, "a//b": 2})
    assert metrics() == {}


def test_log_metrics_share_one_timestamp_and_step() -> None:
    holdall.log_metrics({"a": 1, "b": 2}, step=3)
    [a], [b] = history("a"), history("b")
    assert (a.timestamp, a.step) == (b.timestamp, b.step)
    assert a.step == 3


def test_log_params_converts_values_to_text() -> None:
    values = {"flag": True, "none": None, "list": [1, 2], "small": 1e-10, "empty": "", "text": "é"}
    holdall.log_params(values)
    assert params() == {"flag": "True", "none": "None", "list": "[1, 2]", "small": "1e-10", "empty": "", "text": "é"}
    holdall.log_params(vars(argparse.Namespace(lr=0.1, name="x")))
    assert params()["lr"] == "0.1"


def test_log_param_returns_value_and_accepts_the_same_text_again() -> None:
    value = [1, 2]
    assert holdall.log_param("p", value) is value
    holdall.log_param("p", "[1, 2]")
    with pytest.raises(InvalidParameterValue):
        holdall.log_param("p", 3)
    assert params() == {"p": "[1, 2]"}


def test_log_params_with_one_changed_writes_nothing() -> None:
    holdall.log_param("p", 1)
    with pytest.raises(InvalidParameterValue):
        holdall.log_params({"a": 1, "p": 2})
    assert params() == {"p": "1"}


def test_log_params_over_limit_of_a_request_writes_all_or_nothing() -> None:
    many = {f"p{number}": number for number in range(350)}
    holdall.log_params(many)
    assert params() == {key: str(value) for key, value in many.items()}
    more = {f"q{number}": number for number in range(150)}
    with pytest.raises(InvalidParameterValue):
        holdall.log_params({**more, "p7": "changed"})
    with pytest.raises(InvalidParameterValue):
        holdall.log_params({**more, "../x": 1})
    assert len(params()) == 350


def test_log_metrics_and_tags_over_limit_of_a_request_are_split() -> None:
    holdall.log_metrics({f"m{number}": number for number in range(2500)})
    holdall.set_tags({f"t{number}": number for number in range(250)})
    assert len(metrics()) == 2500
    assert len(tags()) == 250
    assert (metrics()["m2499"], tags()["t249"]) == (2499.0, "249")


def test_log_value_over_its_length_is_refused_not_cut() -> None:
    holdall.log_param("p", "x" * 6000)
    holdall.set_tag("t", "x" * 8000)
    with pytest.raises(InvalidParameterValue):
        holdall.log_param("q", "x" * 6001)
    with pytest.raises(InvalidParameterValue):
        holdall.set_tag("u", "x" * 8001)
    assert (set(params()), set(tags())) == ({"p"}, {"t"})


def test_set_tags_overwrites_and_delete_tag_removes() -> None:
    holdall.set_tags({"a": 1, "b": None})
    holdall.set_tag("a", 2)
    assert tags() == {"a": "2", "b": "None"}
    holdall.delete_tag("a")
    assert tags() == {"b": "None"}
    with pytest.raises(NotFound):
        holdall.delete_tag("a")


def test_set_tag_with_run_name_renames_the_run() -> None:
    holdall.set_tag("mlflow.runName", "other")
    assert holdall.get_run(logged().info.run_id).info.run_name == "other"


def test_log_empty_dict_writes_nothing_and_wrong_type_is_refused() -> None:
    holdall.start_run()
    holdall.log_metrics({})
    holdall.log_params({})
    holdall.set_tags({})
    assert (metrics(), params(), tags()) == ({}, {}, {})
    calls: list[Callable[..., None]] = [holdall.log_metrics, holdall.log_params, holdall.set_tags]
    for call in calls:
        with pytest.raises(InvalidParameterValue, match="dict"):
            call([("a", 1)])
        with pytest.raises(InvalidParameterValue):
            call({1: 1})


def test_log_to_other_run_by_id_leaves_active_one_alone() -> None:
    with holdall.start_run() as other:
        pass
    with holdall.start_run() as active:
        holdall.log_metric("m", 1, run_id=other.info.run_id)
        holdall.log_metrics({"n": 2}, run_id=other.info.run_id)
        holdall.log_params({"p": 3}, run_id=other.info.run_id)
        holdall.log_metric("own", 1, run_id=active.info.run_id)
    found = holdall.get_run(other.info.run_id)
    assert (found.data.metrics, found.data.params) == ({"m": 1.0, "n": 2.0}, {"p": "3"})
    assert holdall.get_run(active.info.run_id).data.metrics == {"own": 1.0}


def test_log_in_background_is_unsupported_and_in_foreground_accepted() -> None:
    holdall.log_metric("m", 1, synchronous=True)
    with pytest.raises(Unsupported):
        holdall.log_metric("m", 1, synchronous=False)
    with pytest.raises(Unsupported):
        holdall.log_params({"p": 1}, synchronous=False)
    with pytest.raises(Unsupported):
        holdall.set_tag("t", 1, synchronous=False)
