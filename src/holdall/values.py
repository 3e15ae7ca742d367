"""From what people pass to what stores keep: metric values, steps, times, params and tags."""

from __future__ import annotations

import operator
import time
from collections.abc import Mapping
from datetime import date
from numbers import Real
from typing import SupportsFloat, SupportsIndex, TypeAlias

from holdall.stores.entities import Metric, Param, RunTag
from holdall.stores.errors import InvalidParameterValue

__all__ = [
    "MetricValue",
    "StepValue",
    "TimeValue",
    "as_double",
    "as_mapping",
    "as_metrics",
    "as_params",
    "as_step",
    "as_tags",
    "as_timestamp",
    "now",
]

MetricValue: TypeAlias = SupportsFloat | str | bytes
"""A number of any kind, numeric text, or an array or tensor of one element."""

StepValue: TypeAlias = SupportsIndex | float
"""A whole number of any kind."""

TimeValue: TypeAlias = SupportsIndex | float
"""Milliseconds since the epoch; fractions are dropped."""


def now() -> int:
    """Milliseconds since the epoch, UTC."""
    return time.time_ns() // 1_000_000


def as_double(value: object, key: str) -> float:
    """The number that a metric value stands for.

    Booleans, numeric text (`'1.5'`, `'-Infinity'`, `b'1'`), `Decimal`, `Fraction`, NumPy scalars, and arrays and
    tensors of one element are converted without importing their libraries.

    Args:
        value: What the caller gave.
        key: The metric, for messages.

    Raises:
        InvalidParameterValue: It is missing, not one number, or too large for a double.
    """
    if type(value) is float:
        return value
    if value is None:
        raise InvalidParameterValue(f"Missing value for metric {key!r}: give a number.")
    try:
        return _to_double(value)
    except OverflowError:
        raise InvalidParameterValue(f"The value of metric {key!r} does not fit into a double.") from None
    except (TypeError, ValueError, RuntimeError) as error:  # arrays of several elements; torch raises RuntimeError
        raise InvalidParameterValue(
            f"The value of metric {key!r} must be a number (64-bit floating point), got {_excerpt(value)}."
        ) from error


def _to_double(value: object) -> float:
    if isinstance(value, str | bytes | bytearray | Real):
        return float(value)
    if isinstance(value, complex | date | Mapping):
        raise TypeError
    if isinstance(item := _scalar_of(value), str | bytes | Real):
        return float(item)
    if isinstance(item, complex | date) or not isinstance(item, SupportsFloat):
        raise TypeError
    return float(item)


def _scalar_of(value: object) -> object:
    """The only element of an array or tensor (`item()`, TensorFlow: `numpy()`); other things as they are."""
    for name in ("item", "numpy"):
        convert = getattr(value, name, None)
        if callable(convert):
            found: object = convert()
            return found if name == "item" else _scalar_of(found)
    return value


def as_step(step: object, key: str) -> int:
    """A metric's step; None is 0.

    Raises:
        InvalidParameterValue: It is not a whole number.
    """
    if type(step) is int:
        return step
    if step is None:
        return 0
    if isinstance(step, float) and step.is_integer():
        return int(step)
    return _whole(step, f"The step of metric {key!r}")


def as_timestamp(timestamp: object, key: str) -> int:
    """A metric's time in milliseconds; fractions are dropped, as in `time.time() * 1000`.

    Raises:
        InvalidParameterValue: It is not a number.
    """
    if isinstance(timestamp, float) and abs(timestamp) < 2**63:
        return int(timestamp)
    return _whole(timestamp, f"The timestamp of metric {key!r}")


def _whole(value: object, what: str) -> int:
    if isinstance(value, SupportsIndex) and not isinstance(value, bool):
        try:
            return operator.index(value)
        except TypeError:  # an array of several elements, a tensor of fractions
            pass
    raise InvalidParameterValue(f"{what} must be a whole number, got {_excerpt(value)}.")


def as_mapping(values: object, what: str) -> Mapping[object, object]:
    """`values`, if it is a dict or the like.

    Raises:
        InvalidParameterValue: It is something else.
    """
    if not isinstance(values, Mapping):
        raise InvalidParameterValue(f"{what} must be a dict, got {type(values).__name__}.")
    return values


def as_metrics(metrics: object, timestamp: int, step: object) -> list[Metric]:
    """The points of a dict of values, all of one time and step."""
    return [
        Metric(_key(key), as_double(value, str(key)), timestamp, as_step(step, str(key)))
        for key, value in as_mapping(metrics, "metrics").items()
    ]


def as_params(params: object) -> list[Param]:
    """The params of a dict; values become text by `str`."""
    return [Param(_key(key), str(value)) for key, value in as_mapping(params, "params").items()]


def as_tags(tags: object) -> list[RunTag]:
    """The tags of a dict, or none; values become text by `str`."""
    if tags is None:
        return []
    return [RunTag(_key(key), str(value)) for key, value in as_mapping(tags, "tags").items()]


def _key(key: object) -> str:
    if not isinstance(key, str):
        raise InvalidParameterValue(f"Names of metrics, params and tags must be text, got {key!r}.")
    return key


def _excerpt(value: object) -> str:
    text = repr(value)
    return f"{text if len(text) <= 80 else text[:80] + '…'} ({type(value).__name__})"
