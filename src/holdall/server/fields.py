"""What requests may say: fields by name and kind, checked in one place, for bodies and queries alike.

Rules and messages are those of MLflow's servers (REST API reference, section 1). Two slips are not kept: a fraction
where an integer belongs, and an unknown name of an enum, are errors here and silently ignored there.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeVar, cast

from holdall.stores.errors import InvalidParameterValue

__all__ = [
    "BOOL",
    "DOUBLE",
    "INT64",
    "TEXT",
    "Arguments",
    "Field",
    "Kind",
    "choice",
    "many",
    "message",
    "optional",
    "parse_arguments",
    "present",
    "required",
]

T = TypeVar("T")

Parse = Callable[[object, str], object]
"""Makes the value of what JSON holds; the text says where it stands, for messages."""

_SEE = "See the API docs for more information about request parameters."
_DECIMAL = re.compile(r"-?[0-9]+")
_WORDS = {"nan": math.nan, "infinity": math.inf, "-infinity": -math.inf, "inf": math.inf, "-inf": -math.inf}


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of value.

    Attributes:
        parse: Checks and converts.
        schema: The same as a JSON schema, for the OpenAPI document.
        many: Whether it may be given several times in a query.
    """

    parse: Parse
    schema: Mapping[str, object]
    many: bool = False


@dataclass(frozen=True, slots=True)
class Field:
    """A named value of a request.

    Attributes:
        name: As in JSON and in the query.
        kind: What it may be.
        required: Whether it must be there, and not be empty.
        alias: Another name for it.
        may_be_empty: Whether it may be empty although it must be there.
    """

    name: str
    kind: Kind
    required: bool = False
    alias: str | None = None
    may_be_empty: bool = False


def required(name: str, kind: Kind, alias: str | None = None) -> Field:
    """A field that must be there."""
    return Field(name, kind, required=True, alias=alias)


def present(name: str, kind: Kind) -> Field:
    """A field that must be there, and may be empty."""
    return Field(name, kind, required=True, may_be_empty=True)


def optional(name: str, kind: Kind) -> Field:
    """A field that may be left out."""
    return Field(name, kind)


class Arguments:
    """The checked values of a request by name; what was left out, or null, is not there."""

    __slots__ = ("_values",)

    def __init__(self, values: dict[str, object]) -> None:
        self._values = values

    def text(self, name: str, default: str = "") -> str:
        """A text, or the default."""
        return cast(str, self._values.get(name, default))

    def maybe_text(self, name: str) -> str | None:
        """A text, or None."""
        return cast("str | None", self._values.get(name))

    def integer(self, name: str, default: int) -> int:
        """An integer, or the default."""
        return cast(int, self._values.get(name, default))

    def maybe_integer(self, name: str) -> int | None:
        """An integer, or None."""
        return cast("int | None", self._values.get(name))

    def number(self, name: str) -> float:
        """A double that is required."""
        return cast(float, self._values[name])

    def flag(self, name: str, default: bool = False) -> bool:
        """A boolean, or the default."""
        return cast(bool, self._values.get(name, default))

    def value(self, name: str, kind: type[T]) -> T | None:
        """What a kind of the caller's made, or None."""
        return cast("T | None", self._values.get(name))

    def items(self, name: str, kind: type[T]) -> list[T]:
        """What `many` of a kind made; nothing if it was left out."""
        return cast("list[T]", self._values.get(name, []))


def parse_arguments(fields: Sequence[Field], given: Mapping[str, object], where: str = "") -> Arguments:
    """Check what was given.

    Args:
        fields: What is known; everything else is ignored.
        given: By name.
        where: What comes before the names in messages, as in `metrics[0].`.

    Raises:
        InvalidParameterValue: A field is missing, empty, or of another kind.
    """
    values: dict[str, object] = {}
    for known in fields:
        value = given.get(known.name)
        if (value is None or value == "") and known.alias is not None:
            value = given.get(known.alias)
        if value is None or (known.required and not known.may_be_empty and value in ("", [])):
            if known.required:
                raise InvalidParameterValue(f"Missing value for required parameter '{where}{known.name}'. {_SEE}")
        else:
            values[known.name] = known.kind.parse(value, f"{where}{known.name}")
    return Arguments(values)


def _invalid(value: object, where: str, hint: str | None = None) -> InvalidParameterValue:
    hint = hint or f"Value was of type '{type(value).__name__}'."
    shown = repr(value)
    shown = shown if len(shown) <= 100 else f"{shown[:100]}…"
    return InvalidParameterValue(f"Invalid value {shown} for parameter '{where}' supplied: Hint: {hint} {_SEE}")


def _text(value: object, where: str) -> object:
    if type(value) is str:
        return value
    raise _invalid(value, where)


def _int64(value: object, where: str) -> object:
    number = value
    if type(value) is str:
        number = int(value) if len(value) <= 20 and _DECIMAL.fullmatch(value) else None
    elif type(value) is float:
        # Whole numbers beyond 64 bits arrive as floats, that of -2**63 among them.
        number = int(value) if value.is_integer() and value > -(2.0**63) else None
    if type(number) is not int:
        raise _invalid(value, where)
    if not -(2**63) <= number < 2**63:
        raise _invalid(value, where, "It must fit into 64 bits.")
    return number


def _double(value: object, where: str) -> object:
    if type(value) is float:
        return value
    try:
        if type(value) is int:
            return float(value)
        if type(value) is str:
            word = _WORDS.get(value.lower())
            return float(value) if word is None else word
    except (ValueError, OverflowError):
        pass
    raise _invalid(value, where)


def _bool(value: object, where: str) -> object:
    if type(value) is bool:
        return value
    raise _invalid(value, where)


TEXT = Kind(_text, {"type": "string"})
INT64 = Kind(_int64, {"type": "integer", "format": "int64"})
DOUBLE = Kind(_double, {"oneOf": [{"type": "number"}, {"type": "string", "enum": ["NaN", "Infinity", "-Infinity"]}]})
BOOL = Kind(_bool, {"type": "boolean"})


def choice(members: Mapping[str, Enum], numbers: Mapping[int, Enum] | None = None) -> Kind:
    """One of several by its name, or by its number.

    Args:
        members: By name.
        numbers: By number.
    """
    known = ", ".join(members)

    def parse(value: object, where: str) -> object:
        found = members.get(value) if isinstance(value, str) else None
        if found is None and numbers is not None and type(value) is int:
            found = numbers.get(value)
        if found is None:
            raise _invalid(value, where, f"It must be one of {known}.")
        return found

    return Kind(parse, {"type": "string", "enum": list(members)})


def many(kind: Kind) -> Kind:
    """Any number of a kind, as a list; in a query, the name is repeated."""

    def parse(value: object, where: str) -> object:
        if not isinstance(value, list):
            raise _invalid(value, where)
        return [kind.parse(item, f"{where}[{index}]") for index, item in enumerate(value)]

    return Kind(parse, {"type": "array", "items": kind.schema}, many=True)


@dataclass(frozen=True, slots=True)
class _Message:
    fields: tuple[Field, ...]
    make: Callable[[Arguments], object]
    quick: Callable[[dict[str, object]], object | None] | None = field(default=None)

    def __call__(self, value: object, where: str) -> object:
        if not isinstance(value, dict):
            raise _invalid(value, where)
        if self.quick is not None and (made := self.quick(value)) is not None:
            return made
        return self.make(parse_arguments(self.fields, value, f"{where}."))


def message(
    *fields: Field,
    make: Callable[[Arguments], object],
    quick: Callable[[dict[str, object]], object | None] | None = None,
) -> Kind:
    """An object with fields of its own.

    Args:
        fields: Its fields.
        make: What becomes of them.
        quick: Makes the same of an object in its usual form, and None of any other; where there are very many.
    """
    properties = {known.name: known.kind.schema for known in fields}
    return Kind(_Message(fields, make, quick), {"type": "object", "properties": properties})
