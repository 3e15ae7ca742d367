"""Values on the right of a comparator: texts, numbers, lists of texts."""

from __future__ import annotations

import re
import unicodedata

from holdall.stores.search.ast import Comparator, Identifier
from holdall.stores.search.kinds import Column, ValueType
from holdall.stores.search.lexer import Lexer, compile_token

__all__ = ["parse_value"]

_INT64 = range(-(2**63), 2**63)
_MAX_INT_CHARACTERS = 20
_MAX_NESTING = 20

_LIST_STRING = compile_token(r"""[uUrR]?(?:'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*")""")
_OPEN, _COMMA, _END = compile_token(r"\("), compile_token(","), compile_token(r",?\s*+\)")
_ESCAPE = re.compile(
    r"\\(?:([0-7]{1,3})|x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|N\{([^}]*)\}|(.))", re.DOTALL
)
_SIMPLE_ESCAPES = {
    "\n": "", "\\": "\\", "'": "'", '"': '"',
    "a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v",
}  # fmt: skip


def parse_value(
    lexer: Lexer, identifier: Identifier, column: Column, comparator: Comparator
) -> str | int | float | tuple[str, ...] | None:
    """Read the right side of a clause.

    Raises:
        InvalidParameterValue: What comes next is not a value that fits.
    """
    if comparator is Comparator.IS_NULL or comparator is Comparator.IS_NOT_NULL:
        return None
    if comparator is Comparator.IN or comparator is Comparator.NOT_IN:
        return tuple(map(column.canonical, _parse_list(lexer)))
    is_text = column.type is ValueType.TEXT
    text = lexer.string() if is_text else _number_text(lexer, column)
    if text is None and column.names:
        text = lexer.number()
    if text is None:
        wanted = "a text in quotes such as 'my-value'" if is_text else "a number without quotes"
        raise lexer.expected(f"{wanted} to compare {identifier.entity} {identifier.key!r} with")
    if not is_text:
        return _to_number(text, column.type)
    return text if comparator in (Comparator.LIKE, Comparator.ILIKE) else column.canonical(text)


def _number_text(lexer: Lexer, column: Column) -> str | None:
    quoted = lexer.string() if column.quotable else None
    if quoted is None:
        return lexer.number()
    inner = Lexer(quoted, "number")
    text = inner.number()
    if not inner.at_end():
        raise inner.expected("a number and nothing else")
    return text


def _to_number(text: str, value_type: ValueType) -> int | float:
    """An int if the column holds integers and an int64 was written, otherwise a float, possibly infinite."""
    if value_type is ValueType.INTEGER and len(text) <= _MAX_INT_CHARACTERS and text.lstrip("-").isdecimal():
        value = int(text)
        if value in _INT64:
            return value
    return float(text)


def _parse_list(lexer: Lexer) -> tuple[str, ...]:
    """Read what Python would read as a tuple of texts; a single text needs no comma."""
    if lexer.take(_OPEN) is None:
        raise lexer.expected("a list of texts such as ('a', 'b')")
    group = _parse_group(lexer, 1)
    return (group,) if isinstance(group, str) else group


def _parse_group(lexer: Lexer, depth: int) -> str | tuple[str, ...]:
    """Read up to the closing parenthesis; parentheses around one thing are that thing."""
    items = [_parse_item(lexer, depth)]
    while (end := lexer.take(_END)) is None:
        if lexer.take(_COMMA) is None:
            raise lexer.expected("',' or ')' in the list")
        items.append(_parse_item(lexer, depth))
    if end == ")" and len(items) == 1:
        return items[0]
    texts = tuple(item for item in items if isinstance(item, str))
    if len(texts) < len(items):
        raise lexer.error("a list holds texts, not lists")
    return texts


def _parse_item(lexer: Lexer, depth: int) -> str | tuple[str, ...]:
    if lexer.take(_OPEN):
        if depth == _MAX_NESTING:
            raise lexer.error("parentheses are nested too deeply")
        return _parse_group(lexer, depth + 1)
    parts: list[str] = []
    while (literal := lexer.take(_LIST_STRING)) is not None:
        parts.append(_decode(lexer, literal))
    if not parts:
        raise lexer.expected("a text in quotes in the list")
    return "".join(parts)


def _decode(lexer: Lexer, literal: str) -> str:
    """The text that a Python string literal stands for."""
    quoted = literal.lstrip("uUrR")
    text = quoted[1:-1]
    if "\\" not in text or literal[0] in "rR":
        return text
    try:
        return _ESCAPE.sub(_unescape, text)
    except ValueError as error:
        raise lexer.error(f"malformed escape in {literal}: {error}") from error


def _unescape(match: re.Match[str]) -> str:
    octal, *hexadecimals, name, simple = match.groups()
    if name is not None:
        return _named(name)
    if octal is not None:
        return chr(int(octal, 8))
    digits = next((digits for digits in hexadecimals if digits is not None), None)
    if digits is not None:
        return _character(int(digits, 16))
    if simple in {"x", "u", "U", "N"}:
        raise ValueError(f"\\{simple} is cut short")
    return _SIMPLE_ESCAPES.get(simple, match[0])


def _named(name: str) -> str:
    try:
        return unicodedata.lookup(name)
    except KeyError as error:
        raise ValueError(f"no character is called {name!r}") from error


def _character(number: int) -> str:
    if number > 0x10FFFF or 0xD800 <= number <= 0xDFFF:
        raise ValueError(f"{number:#x} is not a character")
    return chr(number)
