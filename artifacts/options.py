"""Values of options in URIs, read alike by all stores."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from holdall.stores.errors import InvalidParameterValue

__all__ = ["PATIENCE", "TIMEOUT", "choice", "flag", "seconds", "verification"]

PATIENCE = 30.0
"""Seconds after a failure in which to go on trying, unless `patience` says otherwise."""

TIMEOUT = 60.0
"""Seconds to wait for the next bytes, unless `timeout` says otherwise."""


def choice(given: Mapping[str, str], name: str, choices: Collection[str]) -> str | None:
    """The value of an option that has a few; None if it is not given.

    Raises:
        InvalidParameterValue: It has another.
    """
    value = given.get(name)
    if value is not None and value not in choices:
        raise InvalidParameterValue(f"Option {name} must be one of {', '.join(choices)}, got {value!r}.")
    return value


def flag(given: Mapping[str, str], name: str) -> bool | None:
    """The value of an option that is `true` or `false`; None if it is not given.

    Raises:
        InvalidParameterValue: It is something else.
    """
    value = choice(given, name, ("true", "false"))
    return None if value is None else value == "true"


def seconds(given: Mapping[str, str], name: str, default: float, *, least: float = 0.0) -> float:
    """The value of an option that is a time.

    Raises:
        InvalidParameterValue: It is none.
    """
    try:
        value = float(given.get(name, default))
    except ValueError:
        value = -1.0
    if not least <= value < 1e6:
        raise InvalidParameterValue(f"Option {name} must be a number of seconds, got {given[name]!r}.")
    return value


def verification(given: Mapping[str, str]) -> bool | str | None:
    """The option `verify`: whether certificates are checked, or the file to check them with; None if not given."""
    value = given.get("verify")
    return None if value is None else {"true": True, "false": False}.get(value, value)
