"""The rules for what is said of logged models, beside those of `holdall.stores.validation`.

Each function returns the value to store, or raises `InvalidParameterValue`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from holdall.stores.entities import LoggedModelInput, LoggedModelOutput, LoggedModelStatus
from holdall.stores.errors import InvalidParameterValue
from holdall.stores.validation import validate_int64, validate_items, validate_key, validate_text

__all__ = [
    "MAX_MODEL_NAME_LENGTH",
    "MAX_MODEL_VALUE_LENGTH",
    "validate_metric_dataset",
    "validate_model_id",
    "validate_model_inputs",
    "validate_model_name",
    "validate_model_outputs",
    "validate_model_status",
    "validate_model_values",
]

MAX_MODEL_NAME_LENGTH = 500
MAX_MODEL_VALUE_LENGTH = 16383
"""Of a param or tag: what a MySQL `TEXT` column holds in any script."""

_MODEL_ID = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_\-]{0,35}")
_FORBIDDEN_IN_NAMES = frozenset("/:.%\"'")


def validate_model_id(model_id: object) -> str:
    """Check the form of a model's id, at most 36 characters; it need not exist."""
    if isinstance(model_id, str) and _MODEL_ID.fullmatch(model_id):
        return model_id
    raise InvalidParameterValue(
        f"Invalid model id {model_id!r}: give the text of an id such as 'm-0123456789abcdef0123456789abcdef'."
    )


def validate_model_name(name: object) -> str:
    """Check a model's name: not empty, at most 500 characters, none of them `/ : . % " '`."""
    text = validate_text(name, "model name", MAX_MODEL_NAME_LENGTH)
    if not text or not _FORBIDDEN_IN_NAMES.isdisjoint(text):
        raise InvalidParameterValue(
            f"Invalid model name {text!r}: it must not be empty, nor hold any of the characters / : . % \" '."
        )
    return text


def validate_model_status(status: object) -> LoggedModelStatus:
    """Check a model's status, given by itself, its name or its number."""
    if isinstance(status, str) and status in LoggedModelStatus.__members__:
        return LoggedModelStatus[status]
    if isinstance(status, int) and not isinstance(status, bool) and status in set(LoggedModelStatus):
        return LoggedModelStatus(status)
    known = ", ".join(LoggedModelStatus.__members__)
    raise InvalidParameterValue(f"Invalid status {status!r} of a logged model; known ones: {known}.")


def validate_model_values(values: Mapping[str, str] | None, what: str) -> dict[str, str]:
    """Check the params or the tags of a model.

    Args:
        values: Value by key; None for none.
        what: `params` or `tags`, for messages.
    """
    if values is None:
        return {}
    if not isinstance(values, Mapping):
        raise InvalidParameterValue(f"{what} must be a mapping of values by key, got {type(values).__name__}.")
    return {
        validate_key(key, f"key in {what}"): validate_text(value, f"{what}[{key!r}]", MAX_MODEL_VALUE_LENGTH)
        for key, value in values.items()
    }


def validate_model_inputs(models: Iterable[LoggedModelInput]) -> list[str]:
    """Check the models that a run used; gives their ids, each once."""
    ids: dict[str, None] = {}
    for index, model in enumerate(validate_items(models, "models")):
        if not isinstance(model, LoggedModelInput):
            raise InvalidParameterValue(f"models[{index}] must be a LoggedModelInput, got {type(model).__name__}.")
        ids[validate_model_id(model.model_id)] = None
    return list(ids)


def validate_model_outputs(models: Iterable[LoggedModelOutput]) -> dict[str, int]:
    """Check the models that a run made; gives steps by id, of a model that appears twice the first."""
    steps: dict[str, int] = {}
    for index, model in enumerate(validate_items(models, "models")):
        if not isinstance(model, LoggedModelOutput):
            raise InvalidParameterValue(f"models[{index}] must be a LoggedModelOutput, got {type(model).__name__}.")
        step = validate_int64(model.step, f"models[{index}].step")
        steps.setdefault(validate_model_id(model.model_id), step)
    return steps


def validate_metric_dataset(name: str | None, digest: str | None) -> tuple[str | None, str | None]:
    """Check what a metric was measured on: name and digest of a dataset, neither empty, or None and None."""
    if name is None and digest is None:
        return None, None
    if not name or not digest:
        raise InvalidParameterValue("A dataset has a name and a digest: give both dataset_name and dataset_digest.")
    return validate_text(name, "dataset_name", 500), validate_text(digest, "dataset_digest", 36)
