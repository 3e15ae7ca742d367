"""Names and texts that stores have been seen to spoil, as data for the suite."""

from __future__ import annotations

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

CONFUSABLE_KEYS = (
    ("x", "x/y"),
    ("loss", "Loss"),
    ("key", "key "),
    ("Å", "\u212b"),
    ("straße", "strasse"),
    ("a_b", "aXb"),
    ("1", "01"),
    ("ı", "i"),
)
"""Pairs of different keys that a file system, a collation or a pattern takes for one."""

CONFUSABLE_NAMES = (
    ("name", "Name"),
    ("name", "name "),
    ("name", " name"),
    ("\u00e9", "e\u0301"),
    ("a b", "a%20b"),
    ("straße", "strasse"),
    ("ﬁ", "fi"),
    ("a", "á"),
    ("😀", "😁"),
    ("a_b", "aXb"),
)
"""Pairs of different names of experiments that a collation, a decoder or a pattern takes for one."""

MALFORMED_IDS: tuple[object, ...] = ("", " ", "../x", "a/b", "a b", "1\n", "-1", "'; --", "é", "x" * 300, None, 1, b"1")
"""What is no id at all, whatever the store."""
