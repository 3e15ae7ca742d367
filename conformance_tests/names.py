"""Names and texts that stores have been seen to spoil, as data for the suite."""

from __future__ import annotations

import pytest

from holdall.conformance_tests.support import requires

__all__ = ["BAD_KEYS", "CONFUSABLE_KEYS", "CONFUSABLE_NAMES", "HOSTILE_KEYS", "HOSTILE_TEXTS", "MALFORMED_IDS"]

HOSTILE_TEXTS = (
    " ",
    "ends with a space ",
    " begins with one",
    "tab\tand\vvertical",
    "line\nfeed",
    "carriage\r\nreturn",
    "%20 and %2e%2e%2f and %252e",
    "../../etc/passwd",
    "C:\\path\\to",
    "quote ' and \" and `",
    "'; DROP TABLE runs; --",
    "100% _wild_ * ? [a-z]",
    "{braces} {0} %s %(name)s",
    "{'json': null}",
    "emoji 😀👩‍👩‍👧 and 𝒜",
    "ภาษาไทย 日本語 العربية",
    "nfc é",
    "nfd e\u0301",
    "bom \ufeff and zero \u200b width",
    "line \u2028 separator \u0085 next",
    "\x01\x1f\x7f controls",
    "NULL",
    "None",
    "1e5",
    "true",
)
"""Texts for values and names of experiments and runs: each must come back as it was given."""

HOSTILE_KEYS = (
    "plain",
    "a/b/c",
    "with space",
    "trailing ",
    " leading",
    "a.b",
    "a-b_c:d",
    "-leading-dash",
    ".hidden",
    "a/.b",
    "1",
    "null",
    "select",
    "order",
    "ärger",
    "ไทย",
    "名前",
    "k" * 250,
    "ü" * 250,
)
"""Keys that the rules allow."""

BAD_KEYS = (
    "",
    ".",
    "..",
    "../x",
    "..x",
    "a//b",
    "a/",
    "/a",
    "a/./b",
    "a/../b",
    "a\n",
    "a\\b",
    "a%2eb",
    "a?b",
    "a#b",
    "😀",
    "a\0b",
    "k" * 251,
)
"""Keys that the rules refuse."""

_ONE_TO_COLLATIONS = requires("exact_names")

CONFUSABLE_KEYS = (
    ("x", "x/y"),
    pytest.param("loss", "Loss", marks=_ONE_TO_COLLATIONS),
    pytest.param("key", "key ", marks=_ONE_TO_COLLATIONS),
    pytest.param("Å", "\u212b", marks=_ONE_TO_COLLATIONS),
    pytest.param("straße", "strasse", marks=_ONE_TO_COLLATIONS),
    ("a_b", "aXb"),
    ("1", "01"),
    pytest.param("ı", "i", marks=_ONE_TO_COLLATIONS),
)
"""Pairs of different keys that a file system, a collation or a pattern takes for one."""

CONFUSABLE_NAMES = (
    pytest.param("name", "Name", marks=_ONE_TO_COLLATIONS),
    pytest.param("name", "name ", marks=_ONE_TO_COLLATIONS),
    ("name", " name"),
    pytest.param("\u00e9", "e\u0301", marks=_ONE_TO_COLLATIONS),
    ("a b", "a%20b"),
    pytest.param("straße", "strasse", marks=_ONE_TO_COLLATIONS),
    pytest.param("ﬁ", "fi", marks=_ONE_TO_COLLATIONS),
    pytest.param("a", "á", marks=_ONE_TO_COLLATIONS),
    pytest.param("😀", "😁", marks=_ONE_TO_COLLATIONS),
    ("a_b", "aXb"),
)
"""Pairs of different names of experiments that a collation, a decoder or a pattern takes for one."""

MALFORMED_IDS: tuple[object, ...] = ("", " ", "../x", "a/b", "a b", "1\n", "-1", "'; --", "é", "x" * 300, None, 1, b"1")
"""What is no id at all, whatever the store."""
