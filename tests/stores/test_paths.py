"""The one path validator: tables, and properties that no path may break."""

from __future__ import annotations

import ntpath
import posixpath
import re
from urllib.parse import unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from holdall.conformance_tests.artifact_safety import HOSTILE_PATHS, STRANGE_NAMES
from holdall.stores.errors import InvalidParameterValue
from holdall.stores.paths import (
    MAX_DEPTH,
    MAX_PATH_BYTES,
    MAX_SEGMENT_BYTES,
    join_artifact_path,
    validate_artifact_path,
)

KEPT = [
    *STRANGE_NAMES.values(),
    "a",
    "a/b/c.txt",
    "...",
    "..a",
    "a..",
    "a/.../b",
    ".a/..b",
    "%",
    "%%",
    "%zz",
    "%2",
    "100%25",
    "a%2fb",
    "a%5cb",
    "a%2520b",
    "%c0%ae%c0%ae",
    "ab:c",
    "a/C:x",
    "1:x",
    ":",
    "a\\b\\c",
    "a\\",
    "a\\...",
    "images/acc+step+0+timestamp+17+u.png",
    "images/acc%step%0%timestamp%1700000000000%g1.png",
    "images/a#b%step%25%timestamp%1%z.png",
    "/".join(["d"] * MAX_DEPTH),
    "/".join(["n" * 240] * 17)[:MAX_PATH_BYTES],
]

REFUSED = [
    *HOSTILE_PATHS.values(),
    " /../x",
    "a/b/../..",
    "..\\x",
    "\\..\\x",
    "a\\..",
    ".\\",
    "a\\.\\b",
    "a/\\..\\b",
    "%2e",
    "a/%2e/b",
    "a/%2e%2e",
    "%2e%2e%5cx",
    "%2e.\\x",
    "a%2f..%2f..%2fb",
    "a/..%2fb",
    "%5c%5cserver",
    "%255c..%255cx",
    "%43:x",
    "c:",
    "%25252525252e%25252525252e/x",
    "a//",
    "a/b//",
    "\0",
    "\ud800",
    "a/" * MAX_DEPTH + "a",
    "/".join(["n" * 240] * 18),
]


@pytest.mark.parametrize("path", KEPT, ids=ascii)
def test_validate_harmless_path_returns_it_unchanged(path: str) -> None:
    assert validate_artifact_path(path) == path
    assert validate_artifact_path(path, file=True) == path


@pytest.mark.parametrize("path", REFUSED, ids=ascii)
def test_validate_hostile_path_is_refused(path: str) -> None:
    for file in (True, False):
        with pytest.raises(InvalidParameterValue, match="Invalid artifact_path"):
            validate_artifact_path(path, name="artifact_path", file=file)


@pytest.mark.parametrize("path", [None, ""])
def test_validate_root_is_empty_and_no_file(path: str | None) -> None:
    assert validate_artifact_path(path) == ""
    with pytest.raises(InvalidParameterValue, match="must name a file"):
        validate_artifact_path(path, file=True)


def test_validate_trailing_slash_is_dropped_and_no_file() -> None:
    assert validate_artifact_path("d/e/") == "d/e"
    with pytest.raises(InvalidParameterValue, match="must name a file"):
        validate_artifact_path("d/e/", file=True)


@pytest.mark.parametrize("path", [7, b"a", ["a"]])
def test_validate_something_other_than_text_is_refused(path: str) -> None:
    with pytest.raises(InvalidParameterValue, match="must be text"):
        validate_artifact_path(path)


@pytest.mark.parametrize("name", ["n", "\u00fc", "\U0001f9f3"])
def test_validate_name_at_the_limit_counts_bytes(name: str) -> None:
    longest = name * (MAX_SEGMENT_BYTES // len(name.encode()))
    assert validate_artifact_path(f"d/{longest}") == f"d/{longest}"
    with pytest.raises(InvalidParameterValue, match="255 bytes"):
        validate_artifact_path(f"d/{longest}{name}")


def test_validate_long_hostile_path_gives_short_message() -> None:
    with pytest.raises(InvalidParameterValue) as caught:
        validate_artifact_path("../" * 100_000)
    assert len(caught.value.message) < 300


def test_join_parts_leaves_empty_ones_out() -> None:
    assert join_artifact_path() == ""
    assert join_artifact_path(None, "") == ""
    assert join_artifact_path("a", None, "b/", "", "c d") == "a/b/c d"


@pytest.mark.parametrize("parts", [("a", "../b"), ("a", "/b"), ("a", ".."), ("n/" * 200, "n/" * 100)])
def test_join_hostile_parts_is_refused(parts: tuple[str, ...]) -> None:
    with pytest.raises(InvalidParameterValue):
        join_artifact_path(*parts)


def escapes(path: str) -> bool:
    """Whether a careless reader of either system would leave the root, or name the root itself, by `path`.

    `ntpath` takes any character before a colon for a drive; only letters are, and names such as `1:30` are kept.
    """
    if path[1:2] == ":" and not re.match("[A-Za-z]", path):
        path = f"{path[0]}_{path[2:]}"
    for module, root in ((posixpath, "/srv/root"), (ntpath, "D:\\srv\\root")):
        joined = module.normpath(module.join(root, path.replace("\0", module.sep + "..")))
        if not joined.startswith(root + module.sep):
            return True
    return False


PIECES = st.sampled_from(
    [
        "..",
        ".",
        "/",
        "\\",
        "%2e",
        "%2E",
        "%2f",
        "%5c",
        "%25",
        "%252e",
        "2e",
        "2f",
        "5c",
        "%00",
        "\0",
        "C:",
        ":",
        "a",
        " ",
        "%",
    ]
)
PATHS = st.lists(PIECES, max_size=12).map("".join) | st.text(max_size=30)


@given(PATHS)
@example("%25252e%25252e%25252f")
@example("a%2f..%2f..")
@example(".\\")
def test_validate_any_path_never_admits_a_way_out(path: str) -> None:
    try:
        kept = validate_artifact_path(path, file=True)
    except InvalidParameterValue:
        return
    assert kept == path
    for _ in range(5):
        assert not escapes(path)
        path = unquote(path)


@given(PATHS)
def test_validate_path_twice_changes_nothing(path: str) -> None:
    try:
        once = validate_artifact_path(path)
    except InvalidParameterValue:
        return
    assert validate_artifact_path(once) == once
    assert once in (path, path[:-1])


@given(st.lists(PATHS, max_size=4))
def test_join_any_parts_never_admits_what_validation_refuses(parts: list[str]) -> None:
    try:
        joined = join_artifact_path(*parts)
    except InvalidParameterValue:
        return
    assert validate_artifact_path(joined) == joined
    assert not joined or not escapes(joined)
