"""`meta.yaml`: the fields of an experiment, a run, a dataset, a model, as a flat YAML mapping.

MLflow writes these files with PyYAML, one `key: scalar` a line. That subset is read and written here without PyYAML,
which costs forty times as much; whatever is outside it goes through PyYAML and means what PyYAML says.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

import yaml

__all__ = ["Fields", "MalformedMeta", "dump_meta", "parse_meta"]

Fields = dict[str, object]
"""Values by key: text, int, None, or what else PyYAML makes of YAML."""

_LOADER: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DUMPER: type[yaml.SafeDumper] = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
_UNFOLDED = 2**31 - 1

_LINE = re.compile(
    r"([A-Za-z_][A-Za-z0-9_]*): (?:"
    r"(?P<integer>0|-?[1-9][0-9]{0,18})"
    r"|'(?P<quoted>(?:[^'\n\r\x85\u2028\u2029]|'')*)'"
    r"|(?P<plain>[A-Za-z/](?:[\w./+@%=\-]|:(?=[\w./]))*(?: [\w/][\w./+@%=\-]*)*|(?!0b)(?=[0-9]*[a-f])[0-9a-f]{32})"
    r"|(?P<list>\[\])"
    r")\n"
)
_PLAIN = re.compile(r"[A-Za-z/](?:[\w./+@%=\-]|:(?=[\w./]))*(?: [\w/][\w./+@%=\-]*)*|(?!0b)(?=[0-9]*[a-f])[0-9a-f]{32}")
_DECIMAL = re.compile(r"[0-9]{1,40}")
_WORDS = frozenset("null true false yes no on off y n".split())
"""Plain words that YAML 1.1 takes for something else than text, in lower case."""


class MalformedMeta(ValueError):
    """The file is not what it should be; the message says why, without its contents."""


def parse_meta(data: bytes) -> Fields:
    """The fields of a `meta.yaml`.

    Raises:
        MalformedMeta: It is empty, not UTF-8, not YAML, or no mapping with text as keys.
    """
    return dict(_parse(data))


@lru_cache(maxsize=1024)
def _parse(data: bytes) -> Fields:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise MalformedMeta("is not UTF-8 text") from None
    fields = _parse_simple(text)
    return _parse_any(text) if fields is None else fields


def _parse_simple(text: str) -> Fields | None:
    """The fields, if the whole text is of the subset."""
    fields: Fields = {}
    position, end = 0, len(text)
    match = _LINE.match
    while position < end:
        line = match(text, position)
        if line is None:
            return None
        key, integer, quoted, plain, _ = line.groups()
        if plain is not None:
            lowered = plain.lower()
            if lowered in _WORDS:
                if plain != "null":
                    return None
                fields[key] = None
            else:
                fields[key] = plain
        elif quoted is not None:
            fields[key] = quoted.replace("''", "'") if "'" in quoted else quoted
        elif integer is not None:
            fields[key] = int(integer)
        else:
            fields[key] = []
        position = line.end()
    return fields or None


def _parse_any(text: str) -> Fields:
    if not text.strip():
        raise MalformedMeta("is empty")
    try:
        loaded: object = yaml.load(text, Loader=_LOADER)
    except (yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError, ArithmeticError, RecursionError):
        # PyYAML lets errors of its converters through: `!!bool perhaps` is a KeyError.
        raise MalformedMeta("is not YAML") from None
    if not isinstance(loaded, dict) or not all(isinstance(key, str) for key in loaded):
        raise MalformedMeta("holds no fields")
    return loaded


def dump_meta(fields: Fields) -> bytes:
    """The text of a `meta.yaml`, keys sorted, as MLflow writes it."""
    return "".join([_dump_line(key, fields[key]) for key in sorted(fields)]).encode()


def _dump_line(key: str, value: object) -> str:
    if isinstance(value, str):
        value = str.__str__(value)  # PyYAML does not know subclasses such as enumerations
    writer = _WRITERS.get(type(value))
    text = None if writer is None else writer(value)
    if text is not None:
        return f"{key}: {text}\n"
    dumped: str = yaml.dump({key: value}, Dumper=_DUMPER, allow_unicode=True, default_flow_style=False, width=_UNFOLDED)
    return dumped


def _text(value: str) -> str | None:
    if not value:
        return "''"
    if _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
        return value
    return f"'{value}'" if _DECIMAL.fullmatch(value) else None


_WRITERS: dict[type, Callable[..., str | None]] = {str: _text, int: str, type(None): lambda _: "null"}
"""How simple values are written; None where PyYAML must decide."""
