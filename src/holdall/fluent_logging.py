"""Fluent calls that log params, metrics and tags to the active run; without one, they begin one that stays active."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from holdall.fluent_target import run_target
from holdall.stores.errors import Unsupported
from holdall.values import MetricValue, StepValue, TimeValue, as_metrics, as_params, as_tags, as_timestamp, now

__all__ = ["delete_tag", "log_metric", "log_metrics", "log_param", "log_params", "set_tag", "set_tags"]

V = TypeVar("V")


def log_param(key: str, value: V, synchronous: bool | None = None) -> V:
    """Log a param, an input of the run that stays what it is.

    Args:
        key: Name of the param.
        value: Anything; its `str()` is kept, at most 6000 characters.
        synchronous: None or True; logging in the background is not supported.

    Returns:
        The value.

    Raises:
        InvalidParameterValue: The param has another value already, or key or value break the rules.
    """
    _require_synchronous(synchronous)
    client, run_id = run_target(None)
    client.log_param(run_id, key, value)
    return value


def log_params(params: Mapping[str, object], synchronous: bool | None = None, run_id: str | None = None) -> None:
    """Log params, any number of them: all or none.

    Args:
        params: Values by name, such as `vars(arguments)`.
        synchronous: None or True; logging in the background is not supported.
        run_id: Another run than the active one.

    Raises:
        InvalidParameterValue: A param has another value already, or a key or value breaks the rules.
        NotFound: There is no such run.
    """
    _require_synchronous(synchronous)
    checked = as_params(params)
    client, target = run_target(run_id)
    client.log_batch(target, params=checked)


def log_metric(
    key: str,
    value: MetricValue,
    step: StepValue | None = None,
    synchronous: bool | None = None,
    timestamp: TimeValue | None = None,
    run_id: str | None = None,
) -> None:
    """Log one point of a metric.

    Args:
        key: Name of the metric.
        value: A number of any kind, numeric text, or an array or tensor of one element.
        step: Whole number, by default 0.
        synchronous: None or True; logging in the background is not supported.
        timestamp: Milliseconds since the epoch; None and 0 mean now.
        run_id: Another run than the active one.

    Raises:
        InvalidParameterValue: The value is not one number, or an argument breaks the rules.
        NotFound: There is no such run.
    """
    if synchronous is False:
        _require_synchronous(synchronous)
    client, target = run_target(run_id)
    client.log_metric(target, key, value, timestamp or None, step)


def log_metrics(
    metrics: Mapping[str, MetricValue],
    step: StepValue | None = None,
    synchronous: bool | None = None,
    run_id: str | None = None,
    timestamp: TimeValue | None = None,
) -> None:
    """Log a point of each of several metrics, all of one time: if one is refused, none is written.

    Args:
        metrics: Values by name.
        step: Whole number, by default 0.
        synchronous: None or True; logging in the background is not supported.
        run_id: Another run than the active one.
        timestamp: Milliseconds since the epoch; None and 0 mean now.

    Raises:
        InvalidParameterValue: A value is not one number, or an argument breaks the rules.
        NotFound: There is no such run.
    """
    _require_synchronous(synchronous)
    time = as_timestamp(timestamp, "metrics") if timestamp else now()
    points = as_metrics(metrics, time, step)
    client, target = run_target(run_id)
    client.log_batch(target, metrics=points)


def set_tag(key: str, value: object, synchronous: bool | None = None) -> None:
    """Set a tag of the run, overwriting it.

    Args:
        key: Name of the tag.
        value: Anything; its `str()` is kept, at most 8000 characters.
        synchronous: None or True; logging in the background is not supported.

    Raises:
        InvalidParameterValue: Key or value break the rules.
    """
    _require_synchronous(synchronous)
    client, run_id = run_target(None)
    client.set_tag(run_id, key, value)


def set_tags(tags: Mapping[str, object], synchronous: bool | None = None) -> None:
    """Set tags of the run, overwriting them: if one is refused, none is set.

    Args:
        tags: Values by name.
        synchronous: None or True; logging in the background is not supported.

    Raises:
        InvalidParameterValue: A key or value breaks the rules.
    """
    _require_synchronous(synchronous)
    checked = as_tags(tags)
    client, run_id = run_target(None)
    client.log_batch(run_id, tags=checked)


def delete_tag(key: str) -> None:
    """Delete a tag of the run.

    Raises:
        NotFound: The run has no such tag.
    """
    client, run_id = run_target(None)
    client.delete_tag(run_id, key)


def _require_synchronous(synchronous: bool | None) -> None:
    if synchronous is False:
        raise Unsupported("holdall writes before a call returns; leave synchronous out, or set it to True.")
