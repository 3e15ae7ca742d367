"""Reading a filter or an order clause piece by piece.

The lexer is asked for what the grammar expects next, so a word means one thing as a key (`metrics.order`,
`params.null`) and another as an operator.
"""

from __future__ import annotations

import re

from holdall.stores.errors import InvalidParameterValue
from holdall.stores.search.ast import Comparator

__all__ = ["Lexer", "compile_token"]

# A doubled quote and a quote after a backslash do not end a text; both characters stay in it.
_IN_BACKTICKS = r"`[^`]*(?:``[^`]*)*`"
_IN_DOUBLE_QUOTES = r'"[^"\\]*(?:(?:""|\\"|\\)[^"\\]*)*"'
_IN_SINGLE_QUOTES = r"'[^'\\]*(?:(?:''|\\'|\\)[^'\\]*)*'"


def compile_token(regex: str) -> re.Pattern[str]:
    """Compile the pattern of a token; its group 1 is the token, blanks may precede it.

    Filters come from anywhere, so no pattern may take more than linear time: what may repeat is possessive (`*+`) or
    stops at a character that it cannot hold.
    """
    return re.compile(rf"\s*+({regex})", re.DOTALL)


_ANDS = re.compile(r"((?:\s*AND\b)*)\s*", re.IGNORECASE)
# No blanks before: an order_by clause may not start with any. Single quotes enclose a key only behind a dot, as
# `'status'` by itself would be a value.
_IDENTIFIER = re.compile(
    rf"((?:{_IN_BACKTICKS}|{_IN_DOUBLE_QUOTES}|\w+)(?:\.(?:{_IN_BACKTICKS}|{_IN_DOUBLE_QUOTES}|{_IN_SINGLE_QUOTES}|\w*))*)"
)
_BARE = re.compile(r"[\w.]+")
_RESERVED = re.compile(r"(?<![^.])(?:in|case|\d++)(?![^.])", re.IGNORECASE)
_COMPARATOR = compile_token(r"[=<>!]+|(?i:I?LIKE|(?:NOT\s+)?IN|IS\s+(?:NOT )?NULL)\b")
_STRING = compile_token(f"{_IN_SINGLE_QUOTES}|{_IN_DOUBLE_QUOTES}")
# A word may follow an exponent directly (`1e5AND`) but no other number; `.5e3`, `1.e3`, `1e+5` are not numbers.
_NUMBER = compile_token(r"-?(?:\d++(?:\.\d++)?[eE]-?\d++|(?:\d++\.?\d*+|\.\d++)(?!\w))")
_DIRECTION = compile_token(r"(?i:ASC|DESC)\b")
_EXCERPT = compile_token(r"[\w.]{1,50}|\S{1,20}")
_SURROGATE = re.compile("[\ud800-\udfff]")

_MAX_SHOWN = 500
_COMPARATORS = {comparator.value: comparator for comparator in Comparator}


class Lexer:
    """A text and a position in it.

    Args:
        text: What to read.
        what: What the text is, for messages, such as `filter`.

    Raises:
        InvalidParameterValue: The text holds lone surrogates, which no store can keep or compare.
    """

    __slots__ = ("_what", "position", "text")

    def __init__(self, text: str, what: str) -> None:
        self.text = text
        self.position = 0
        self._what = what
        if _SURROGATE.search(text):
            raise self.error("a lone surrogate is not a character")

    def error(self, problem: str) -> InvalidParameterValue:
        """The error to raise for `problem`."""
        return InvalidParameterValue(f"Invalid {self._what} {_clip(repr(self.text))}: {_clip(problem)}.")

    def expected(self, wanted: str) -> InvalidParameterValue:
        """The error to raise when `wanted` does not come next."""
        found = self.take(_EXCERPT)
        return self.error(f"expected {wanted}, found {'the end' if found is None else repr(found)}")

    def take(self, pattern: re.Pattern[str]) -> str | None:
        """Read a token, the group 1 of `pattern`; None, and nothing read, if something else comes next."""
        match = pattern.match(self.text, self.position)
        if match is None:
            return None
        self.position = match.end()
        return match[1]

    def at_end(self) -> bool:
        """Whether everything has been read."""
        return self.position == len(self.text)

    def skip_ands(self) -> None:
        """Go beyond any number of ANDs and blanks."""
        self.take(_ANDS)

    def identifier(self) -> str:
        """Read an identifier as written, quotes included."""
        start = self.position
        text = self.take(_IDENTIFIER)
        reserved = _RESERVED.search(text) if text and _BARE.fullmatch(text) else None
        if text is None or (reserved and reserved.start() == 0):
            self.position = start
            raise self.expected("a key such as status or metrics.`my key`")
        if reserved:
            raise self.error(f"{reserved[0]!r} in {text!r} must be quoted, as in metrics.`{reserved[0]}`")
        return text

    def comparator(self) -> Comparator:
        """Read a comparator."""
        start = self.position
        comparator = _COMPARATORS.get(" ".join((self.take(_COMPARATOR) or "").upper().split()))
        if comparator is None:
            self.position = start
            raise self.expected(
                f"one of {', '.join(Comparator)} after {self.text[:start].rsplit(maxsplit=1)[-1]!r} "
                "(a key with characters other than letters, digits, '_' and '.' goes between backticks)"
            )
        return comparator

    def string(self) -> str | None:
        """Read a quoted text, which knows no escapes, and give what is between its quotes; None if none is next."""
        text = self.take(_STRING)
        return None if text is None else text[1:-1]

    def number(self) -> str | None:
        """Read a number; None if none is next."""
        return self.take(_NUMBER)

    def direction(self) -> str | None:
        """Read ASC or DESC, in capitals; None if neither is next."""
        text = self.take(_DIRECTION)
        return None if text is None else text.upper()


def _clip(text: str) -> str:
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…"
