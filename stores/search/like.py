"""LIKE and ILIKE, the same on every store.

`%` stands for any text, `_` for one code point, both also for newlines; every other character stands for itself, the
backslash included, and the pattern covers the whole value. Nothing is normalised: `é` as one code point and as two
differ.

ILIKE ignores case by Unicode's full case folding, so `STRASSE` finds `Straße`; accents count. With `_` in the pattern
it uses simple folding instead, which never changes a text's length, so that `_` is still one code point of the value:
`STRA_E` finds `Straße`, `STRASS_` does not.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache

__all__ = ["Folding", "folding_for", "ilike", "like"]


def like(pattern: str, value: str) -> bool:
    """Whether `value` matches `pattern`, letter case included."""
    return _matcher(pattern)(value)


def ilike(pattern: str, value: str) -> bool:
    """Whether `value` matches `pattern`, letter case aside."""
    matches, fold = _folding_matcher(pattern)
    return matches(fold(value))


@dataclass(frozen=True, slots=True)
class Folding:
    """What ILIKE asks of a database that knows only LIKE.

    Attributes:
        pattern: The pattern, folded; for LIKE.
        replacements: Characters of a value, each with what it folds to, that LIKE must see replaced. Others may stay:
            the pattern holds nothing that they fold to, so only a `%` can match them, or a `_` which is one character.
    """

    pattern: str
    replacements: tuple[tuple[str, str], ...]


@lru_cache(maxsize=1024)
def folding_for(pattern: str) -> Folding:
    """Take an ILIKE pattern apart for a database: `LIKE` of folded texts is what `ilike` finds."""
    fold = _simple_fold if "_" in pattern else str.casefold
    folded = fold(pattern)
    wanted = set(folded) - {"%", "_"}
    replacements = ((source, fold(source)) for source in _cased_characters())
    relevant = tuple(pair for pair in replacements if pair[0] != pair[1] and not wanted.isdisjoint(pair[1]))
    return Folding(folded, relevant)


@cache
def _cased_characters() -> tuple[str, ...]:
    """Every character that folding changes."""
    return tuple(character for character in map(chr, range(0x1F000)) if character.casefold() != character)


@lru_cache(maxsize=1024)
def _folding_matcher(pattern: str) -> tuple[Callable[[str], bool], Callable[[str], str]]:
    fold = _simple_fold if "_" in pattern else str.casefold
    return _matcher(fold(pattern)), fold


def _simple_fold(text: str) -> str:
    folded = text.casefold()
    return folded if len(folded) == len(text) else "".join(map(_fold_character, text))


def _fold_character(character: str) -> str:
    """Fold to one code point: a character that full folding would expand is only put in lower case, if that can be."""
    for folded in (character.casefold(), character.lower()):
        if len(folded) == 1:
            return folded
    return character


@lru_cache(maxsize=1024)
def _matcher(pattern: str) -> Callable[[str], bool]:
    """Compile a pattern to a test whose time grows with the length of the value, not with a power of it."""
    return _regex_matcher(pattern) if "_" in pattern else _text_matcher(pattern)


def _text_matcher(pattern: str) -> Callable[[str], bool]:
    """The test for a pattern without `_`: several times faster on long values than a regular expression."""
    head, *rest = pattern.split("%")
    if not rest:
        return pattern.__eq__
    tail = rest.pop()
    middle = [part for part in rest if part]
    shortest = len(head) + len(tail)

    def matches(value: str) -> bool:
        if len(value) < shortest or not value.startswith(head) or not value.endswith(tail):
            return False
        position, end = len(head), len(value) - len(tail)
        for part in middle:
            position = value.find(part, position, end)
            if position < 0:
                return False
            position += len(part)
        return True

    return matches


def _regex_matcher(pattern: str) -> Callable[[str], bool]:
    head, *rest = (_regex(part) for part in pattern.split("%"))
    if rest:
        tail = rest.pop()
        # Leftmost is best for every part but the last, so what was found need not be looked for again: atomic groups.
        head += "".join(f"(?>.*?{part})" for part in rest if part) + f".*{tail}"
    fullmatch = re.compile(head, re.DOTALL).fullmatch
    return lambda value: fullmatch(value) is not None


def _regex(part: str) -> str:
    return ".".join(map(re.escape, part.split("_")))
