"""The rules for names, values and limits: public, and the same for every store.

Each function returns the value to store, or raises `InvalidParameterValue` with a message that says where the bad value
stands (`metrics[3].key`). `BackendStore` calls them before a backend sees anything, so a plugin need not.
"""

from __future__ import annotations

import numbers
import posixpath
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import TypeVar

from holdall.stores.entities import (
    Dataset,
    DatasetInput,
    ExperimentTag,
    InputTag,
    Metric,
    Param,
    RunStatus,
    RunTag,
    ViewType,
)
from holdall.stores.errors import InvalidParameterValue
from holdall.stores.uri import StoreURI

__all__ = [
    "MAX_BATCH_ENTITIES",
    "MAX_BATCH_METRICS",
    "MAX_BATCH_PARAMS",
    "MAX_BATCH_TAGS",
    "MAX_EXPERIMENT_NAME_LENGTH",
    "MAX_EXPERIMENT_TAG_LENGTH",
    "MAX_KEY_LENGTH",
    "MAX_PARAM_LENGTH",
    "MAX_RUN_NAME_LENGTH",
    "MAX_RUN_TAG_LENGTH",
    "MAX_SEARCH_RESULTS",
    "check_batch_limits",
    "is_valid_key",
    "validate_artifact_location",
    "validate_dataset_input",
    "validate_experiment_id",
    "validate_experiment_ids",
    "validate_experiment_name",
    "validate_experiment_tag",
    "validate_int64",
    "validate_items",
    "validate_key",
    "validate_max_results",
    "validate_metric",
    "validate_metrics",
    "validate_param",
    "validate_params",
    "validate_run_id",
    "validate_run_name",
    "validate_run_status",
    "validate_run_tag",
    "validate_run_tags",
    "validate_text",
    "validate_timestamp",
    "validate_view_type",
]

T = TypeVar("T")

MAX_KEY_LENGTH = 250
MAX_PARAM_LENGTH = 6000
MAX_RUN_TAG_LENGTH = 8000
MAX_EXPERIMENT_TAG_LENGTH = 20000
MAX_EXPERIMENT_NAME_LENGTH = 500
MAX_RUN_NAME_LENGTH = 250
MAX_USER_LENGTH = 256
MAX_BATCH_METRICS = 1000
MAX_BATCH_PARAMS = 100
MAX_BATCH_TAGS = 100
MAX_BATCH_ENTITIES = 1000
MAX_SEARCH_RESULTS = 50000
MAX_LOCATION_LENGTH = 2048

_INT64_MIN, _INT64_MAX = -(2**63), 2**63 - 1
_LARGEST_FINITE = 1.7976931348623157e308
_KEY = re.compile(r"[/\w.\- :]+")
_EXPERIMENT_ID = re.compile(r"[a-zA-Z0-9][\w\-]{0,63}")
_RUN_ID = re.compile(r"[a-zA-Z0-9][\w\-]{0,255}")


def validate_text(value: object, what: str, max_length: int) -> str:
    """Check any text that is stored.

    Args:
        value: What the caller gave.
        what: Its name, for messages.
        max_length: Limit in characters (code points).

    Raises:
        InvalidParameterValue: Not a str, too long, or holding NUL or unpaired surrogates, which databases refuse.
    """
    if not isinstance(value, str):
        raise InvalidParameterValue(f"{what} must be text, got {type(value).__name__}.")
    if len(value) > max_length:
        raise InvalidParameterValue(
            f"{what} exceeds the maximum length of {max_length} characters: it has {len(value)}."
        )
    if not value.isascii():
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            raise InvalidParameterValue(f"{what} holds an unpaired surrogate and cannot be stored as UTF-8.") from None
    if "\0" in value:
        raise InvalidParameterValue(f"{what} must not hold NUL characters.")
    return value


def validate_key(key: object, what: str = "key") -> str:
    """Check the name of a metric, param or tag.

    Letters of any script, digits, `_ - . space : /`, at most 250 characters; as a path it must not resolve to another
    name (`a//b`, `a/`, `../x`).

    Raises:
        InvalidParameterValue: The name breaks a rule.
    """
    if isinstance(key, str) and is_valid_key(key):
        return key
    raise InvalidParameterValue(_explain_key(validate_text(key, what, MAX_KEY_LENGTH), what))


@lru_cache(maxsize=4096)
def is_valid_key(key: str) -> bool:
    """Whether `validate_key` takes a text."""
    return (
        0 < len(key) <= MAX_KEY_LENGTH
        and _KEY.fullmatch(key) is not None
        and posixpath.normpath(key) == key
        and key != "."
        and not key.startswith(("..", "/"))
    )


def _explain_key(key: str, what: str) -> str:
    if key and _KEY.fullmatch(key) is None:
        return f"Invalid {what} {key!r}: use letters, digits, and _ - . : / or spaces only."
    resolved = posixpath.normpath(key)
    return f"Invalid {what} {key!r}: it must be a relative path in its shortest form; as a path it means {resolved!r}."


def validate_run_id(run_id: object) -> str:
    """Check the form of a run id; it need not exist."""
    if isinstance(run_id, str) and _is_valid_run_id(run_id):
        return run_id
    raise InvalidParameterValue(
        f"Invalid run id {run_id!r}: give the text of an id such as '0123456789abcdef0123456789abcdef'."
    )


@lru_cache(maxsize=4096)
def _is_valid_run_id(run_id: str) -> bool:
    return _RUN_ID.fullmatch(run_id) is not None


def validate_experiment_id(experiment_id: object) -> str:
    """Check the form of an experiment id; it need not exist."""
    if isinstance(experiment_id, str) and _EXPERIMENT_ID.fullmatch(experiment_id):
        return experiment_id
    raise InvalidParameterValue(f"Invalid experiment id {experiment_id!r}: give the id as text, such as '1'.")


def validate_experiment_ids(experiment_ids: Iterable[str]) -> tuple[str, ...]:
    """Check the ids of the experiments to search, and leave out repetitions; a text is one id."""
    ids = [experiment_ids] if isinstance(experiment_ids, str) else experiment_ids
    return tuple(dict.fromkeys(map(validate_experiment_id, validate_items(ids, "experiment_ids"))))


def validate_experiment_name(name: object) -> str:
    """Check an experiment's name: any non-empty text of at most 500 characters."""
    text = validate_text(name, "experiment name", MAX_EXPERIMENT_NAME_LENGTH)
    if not text:
        raise InvalidParameterValue("Invalid experiment name '': it must not be empty.")
    return text


def validate_artifact_location(location: object) -> str:
    """Check where an experiment keeps artifacts: a URI or path of at most 2048 characters; gives it absolute."""
    uri = StoreURI.parse(validate_text(location, "artifact_location", MAX_LOCATION_LENGTH))
    if uri.scheme == "runs":
        raise InvalidParameterValue(f"Invalid artifact location {uri}: a run cannot hold an experiment's artifacts.")
    if uri.query and uri.scheme in ("http", "https", "mlflow-artifacts"):
        raise InvalidParameterValue(f"Invalid artifact location {uri}: a query ('?') means nothing in it.")
    return uri.absolute().render(hide_password=False)


def validate_run_name(name: object) -> str:
    """Check a run's name: text of at most 250 characters; '' means none."""
    return validate_text(name, "run name", MAX_RUN_NAME_LENGTH)


def validate_run_status(status: object) -> RunStatus:
    """Check a run's status, by its name."""
    try:
        return RunStatus(status)  # type: ignore[arg-type]
    except ValueError:
        known = ", ".join(RunStatus)
        raise InvalidParameterValue(f"Invalid run status {status!r}; known ones: {known}.") from None


def validate_timestamp(value: object, what: str = "timestamp") -> int:
    """Check a time: whole milliseconds since the epoch, 0 … 2⁶³−1."""
    number = validate_int64(value, what)
    if number < 0:
        raise InvalidParameterValue(f"{what} must be a nonnegative 64-bit integer (milliseconds), got {number}.")
    return number


def validate_int64(value: object, what: str) -> int:
    """Check a whole number of 64 bits."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise InvalidParameterValue(f"{what} must be a 64-bit integer, got {value!r}.")
    number = int(value)
    if not _INT64_MIN <= number <= _INT64_MAX:
        raise InvalidParameterValue(f"{what} must fit into 64 bits, got {number}.")
    return number


def validate_metric(metric: Metric, what: str = "metric") -> Metric:
    """Check one metric point.

    ±1.7976931348623157e308 is how tables and the wire spell ±Inf, so it is ±Inf in every store.

    Raises:
        InvalidParameterValue: The key, value, timestamp or step is not allowed.
    """
    key, value, timestamp, step = metric.key, metric.value, metric.timestamp, metric.step
    if (
        type(value) is float
        and type(timestamp) is int
        and type(step) is int
        and 0 <= timestamp <= _INT64_MAX
        and _INT64_MIN <= step <= _INT64_MAX
        and value != _LARGEST_FINITE
        and value != -_LARGEST_FINITE
        and type(key) is str
        and is_valid_key(key)
    ):
        return metric
    return Metric(
        validate_key(key, f"{what}.key"),
        _double(value, f"{what}.value"),
        validate_timestamp(timestamp, f"{what}.timestamp"),
        validate_int64(step, f"{what}.step"),
    )


def _double(value: object, what: str) -> float:
    if not isinstance(value, numbers.Real):
        raise InvalidParameterValue(f"{what} must be a number, got {value!r}.")
    try:
        number = float(value)
    except OverflowError:
        raise InvalidParameterValue(f"{what} does not fit into a double: {str(value)[:40]}…") from None
    if abs(number) == _LARGEST_FINITE:
        return float("inf") if number > 0 else float("-inf")
    return number


def validate_metrics(metrics: Iterable[Metric]) -> list[Metric]:
    """Check the metrics of a batch; messages say `metrics[3].key`."""
    checked: list[Metric] = []
    good_keys: set[str] = set()
    for metric in validate_items(metrics, "metrics"):
        if (  # the usual point, without a call: a batch has a thousand
            type(metric) is Metric
            and metric.key in good_keys
            and type(metric.value) is float
            and type(metric.timestamp) is int
            and type(metric.step) is int
            and -_LARGEST_FINITE < metric.value < _LARGEST_FINITE
            and 0 <= metric.timestamp <= _INT64_MAX
            and _INT64_MIN <= metric.step <= _INT64_MAX
        ):
            checked.append(metric)
            continue
        what = f"metrics[{len(checked)}]"
        if not isinstance(metric, Metric):
            raise InvalidParameterValue(f"{what} must be a Metric, got {type(metric).__name__}.")
        metric = validate_metric(metric, what)
        good_keys.add(metric.key)
        checked.append(metric)
    return checked


def validate_param(param: Param, what: str = "param") -> Param:
    """Check a param; values over 6000 characters are refused, never cut."""
    _validate_item(param, what, MAX_PARAM_LENGTH)
    return param


def _validate_item(item: Param | RunTag | ExperimentTag, what: str, max_length: int) -> None:
    validate_key(item.key, f"{what}.key")
    validate_text(item.value, f"{what}.value", max_length)


def _are_plain(items: Sequence[Param] | Sequence[RunTag], kind: type, max_length: int) -> bool:
    """Whether nothing in a batch needs a closer look: the usual case, decided without a call for each item."""
    if not set(map(type, items)) <= {kind}:
        return False
    keys, values = [item.key for item in items], [item.value for item in items]
    if not set(map(type, keys + values)) <= {str}:
        return False
    text = "".join(values)
    return (
        max(map(len, values), default=0) <= max_length
        and text.isascii()
        and "\0" not in text
        and all(map(is_valid_key, keys))
    )


def validate_params(params: Iterable[Param]) -> list[Param]:
    """Check the params of a batch, in which no key may appear twice."""
    items = list(validate_items(params, "params"))
    checked: dict[str, Param] = {}
    if _are_plain(items, Param, MAX_PARAM_LENGTH) and len({param.key for param in items}) == len(items):
        return items
    for param in items:
        what = f"params[{len(checked)}]"
        if not isinstance(param, Param):
            raise InvalidParameterValue(f"{what} must be a Param, got {type(param).__name__}.")
        if param.key in checked:
            raise InvalidParameterValue(f"{what}.key {param.key!r} appears twice in the batch; log each param once.")
        checked[param.key] = validate_param(param, what)
    return items


def validate_run_tag(tag: RunTag, what: str = "tag") -> RunTag:
    """Check a run's tag; values over 8000 characters are refused, never cut."""
    _validate_item(tag, what, MAX_RUN_TAG_LENGTH)
    return tag


def validate_run_tags(tags: Iterable[RunTag]) -> dict[str, str]:
    """Check the tags of a batch; of a key that appears twice the last value counts."""
    items = list(validate_items(tags, "tags"))
    if not _are_plain(items, RunTag, MAX_RUN_TAG_LENGTH):
        for index, tag in enumerate(items):
            if not isinstance(tag, RunTag):
                raise InvalidParameterValue(f"tags[{index}] must be a RunTag, got {type(tag).__name__}.")
            validate_run_tag(tag, f"tags[{index}]")
    return {tag.key: tag.value for tag in items}


def validate_experiment_tag(tag: ExperimentTag, what: str = "tag") -> ExperimentTag:
    """Check an experiment's tag; values over 20000 characters are refused, never cut."""
    if not isinstance(tag, ExperimentTag):
        raise InvalidParameterValue(f"{what} must be an ExperimentTag, got {type(tag).__name__}.")
    _validate_item(tag, what, MAX_EXPERIMENT_TAG_LENGTH)
    return tag


def validate_dataset_input(item: DatasetInput, what: str = "datasets[0]") -> DatasetInput:
    """Check a dataset and the tags of its use; the limits are those of `Dataset`."""
    if not isinstance(item, DatasetInput) or not isinstance(item.dataset, Dataset):
        raise InvalidParameterValue(f"{what} must be a DatasetInput, got {type(item).__name__}.")
    dataset = item.dataset
    limits: Mapping[str, int] = {"name": 500, "digest": 36, "source_type": 36, "source": 65535}
    for attribute, limit in limits.items():
        validate_text(getattr(dataset, attribute), f"{what}.dataset.{attribute}", limit)
    for attribute, limit in {"schema": 1048575, "profile": 16777215}.items():
        if getattr(dataset, attribute) is not None:
            validate_text(getattr(dataset, attribute), f"{what}.dataset.{attribute}", limit)
    tags: dict[str, InputTag] = {}
    for index, tag in enumerate(item.tags):
        if not isinstance(tag, InputTag):
            raise InvalidParameterValue(f"{what}.tags[{index}] must be an InputTag, got {type(tag).__name__}.")
        validate_text(tag.key, f"{what}.tags[{index}].key", 255)
        validate_text(tag.value, f"{what}.tags[{index}].value", 500)
        tags[tag.key] = tag
    return DatasetInput(dataset, tuple(tags.values()))


def validate_view_type(view_type: object) -> ViewType:
    """Check which lifecycle stages to look at."""
    try:
        return ViewType(view_type)  # type: ignore[arg-type]
    except ValueError:
        known = ", ".join(f"ViewType.{view.name}" for view in ViewType)
        raise InvalidParameterValue(f"Invalid view type {view_type!r}; use one of {known}.") from None


def validate_max_results(value: object, maximum: int) -> int:
    """Check a page size: 1 … `maximum`."""
    number = validate_int64(value, "max_results")
    if not 1 <= number <= maximum:
        raise InvalidParameterValue(f"Invalid value {number} for max_results: it must be between 1 and {maximum}.")
    return number


def check_batch_limits(metrics: Sequence[object], params: Sequence[object], tags: Sequence[object]) -> None:
    """Refuse a batch that is over the limits of one request."""
    for what, items, limit in (
        ("metrics", metrics, MAX_BATCH_METRICS),
        ("params", params, MAX_BATCH_PARAMS),
        ("tags", tags, MAX_BATCH_TAGS),
    ):
        if len(items) > limit:
            raise InvalidParameterValue(f"A batch may hold at most {limit} {what}, got {len(items)}; split it up.")
    total = len(metrics) + len(params) + len(tags)
    if total > MAX_BATCH_ENTITIES:
        raise InvalidParameterValue(
            f"A batch may hold at most {MAX_BATCH_ENTITIES} entities in all, got {total}; split it up."
        )


def validate_items(values: Iterable[T], what: str) -> Iterable[T]:
    """Check that an argument holds items: an iterable, but neither a text nor a mapping."""
    if isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable):
        raise InvalidParameterValue(f"{what} must be a sequence, got {type(values).__name__}.")
    return values
