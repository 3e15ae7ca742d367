"""Sections of the artifact suite: names that are kept, paths and calls that are refused."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from holdall.conformance_tests.artifact_base import ArtifactHarness, ArtifactSuite
from holdall.conformance_tests.artifact_basics import fill, put
from holdall.conformance_tests.support import refuses, requires
from holdall.stores import ArtifactStore, FileInfo, InvalidParameterValue, ReadOnly, StoreClosed

__all__ = ["HOSTILE_PATHS", "STRANGE_NAMES", "NameTests", "RefusalTests"]

STRANGE_NAMES = {
    "blank": "a b",
    "blanks around": " x ",
    "percent": "100%",
    "encoded blank": "a%20b",
    "encoded twice": "a%252eb",
    "encoded dot": "a%2eb",
    "hash": "a#b",
    "question mark": "a?b=c",
    "semicolon": "a;v=1",
    "plus": "a+b",
    "ampersand": "a&b=<c>",
    "colon": "time=12:30:00",
    "backslash": "a\\b",
    "quotes": "'\"`$(x)",
    "glob": "[a]*{b}",
    "tilde": "~",
    "leading dot": ".hidden",
    "dots": "...",
    "trailing dot": "a.",
    "newline and tab": "a\nb\tc",
    "NFC": "caf\u00e9",
    "NFD": "cafe\u0301",
    "emoji": "\U0001f9f3",
    "right to left": "\u05e9\u05dc",
    "255 bytes": "n" * 255,
    "255 bytes of UTF-8": "\u00fc" * 127 + "n",
    "like a temporary file": ".tmp-1234~",
}

HOSTILE_PATHS = {
    "parent": "../x",
    "parent inside": "a/../../x",
    "parent at the end": "a/..",
    "only parent": "..",
    "dot": "./x",
    "only dot": ".",
    "dot inside": "a/./x",
    "empty segment": "a//x",
    "absolute": "/etc/passwd",
    "root": "/",
    "network": "//host/share",
    "drive": "C:\\x",
    "drive slash": "C:/x",
    "drive relative": "C:x",
    "UNC": "\\\\server\\share",
    "leading backslash": "\\x",
    "backslash parent": "a\\..\\..\\x",
    "mixed parent": "a/..\\x",
    "encoded parent": "%2e%2e/x",
    "encoded parent and slash": "%2E%2E%2fx",
    "half encoded": ".%2e/x",
    "encoded absolute": "%2fetc/passwd",
    "encoded backslash": "a%5c..%5cx",
    "encoded drive": "C%3a/x",
    "encoded twice": "%252e%252e/x",
    "encoded three times": "%25252e%25252e%25252fx",
    "NUL": "a\0b",
    "encoded NUL": "a%00b",
    "NUL encoded twice": "a%2500b",
    "lone surrogate": "a\udc80",
    "name too long": "n" * 256,
    "name too long in UTF-8": "\u00fc" * 128,
    "file URI": "file:///etc/passwd",
}


def by_label(table: dict[str, str]) -> pytest.MarkDecorator:
    """One test for each entry, named by its label."""
    return pytest.mark.parametrize("path", table.values(), ids=[label.replace(" ", "-") for label in table])


class NameTests(ArtifactSuite):
    """Names are kept exactly, and found again as written."""

    @requires("arbitrary_names")
    @by_label(STRANGE_NAMES)
    def test_keep_strange_name_of_file_and_folder(
        self, store: ArtifactStore, harness: ArtifactHarness, local: Path, path: str
    ) -> None:
        """Every allowed name means itself, as file and as folder, in every method (mlflow#21085, mlflow#23208).

        Usual cause of failure: a name is percent-decoded or encoded once too often, normalised, or cut at `?` or `#`.
        """
        source = local / path
        source.write_bytes(b"1")
        store.log_artifact(source)
        put(store, f"d/{path}/{path}", b"22")
        assert harness.raw_list() == {path, f"d/{path}/{path}"}
        assert harness.raw_read(path) == b"1"
        assert FileInfo(path, False, 1) in store.list_artifacts()
        assert store.list_artifacts(f"d/{path}") == [FileInfo(f"d/{path}/{path}", False, 2)]
        assert store.stat(f"d/{path}").is_dir
        with store.open(f"d/{path}/{path}") as reader:
            assert reader.read() == b"22"
        target = store.download_artifacts(f"d/{path}", local / "dst")
        assert (target.name, (target / path).read_bytes()) == (path, b"22")
        store.delete_artifacts(f"d/{path}")
        assert harness.raw_list() == {path}

    @requires("arbitrary_names")
    def test_keep_names_that_others_confuse_apart(self, store: ArtifactStore, harness: ArtifactHarness) -> None:
        """Names that differ in case, Unicode form or encoding are different files, side by side."""
        names = {"a", "A", "caf\u00e9", "cafe\u0301", "x y", "x%20y", "x%2520y", "x+y", "n", "n "}
        for name in names:
            put(store, f"d/{name}", name.encode())
        assert {info.path for info in store.list_artifacts("d")} == {f"d/{name}" for name in names}
        assert {name: harness.raw_read(f"d/{name}") for name in names} == {name: name.encode() for name in names}

    @requires("arbitrary_names")
    def test_find_strange_names_written_by_others(self, store: ArtifactStore, harness: ArtifactHarness) -> None:
        """What another program put there under a strange name is listed and read under it."""
        for name in STRANGE_NAMES.values():
            harness.raw_write(name, name.encode())
        assert {info.path for info in store.list_artifacts()} == set(STRANGE_NAMES.values())
        for name in STRANGE_NAMES.values():
            with store.open(name) as reader:
                assert reader.read() == name.encode()


class RefusalTests(ArtifactSuite):
    """Paths that lead elsewhere, writes to read-only stores and calls after closing are refused by every method."""

    @by_label(HOSTILE_PATHS)
    def test_pass_hostile_path_to_any_method_is_refused(
        self, store: ArtifactStore, harness: ArtifactHarness, local: Path, path: str
    ) -> None:
        """Every method refuses every path that could lead out of the root, and nothing is touched.

        Usual cause of failure: a public method was overridden and calls no `validate_artifact_path`.
        """
        fill(harness, "x", "a/x", "etc/passwd")
        before = harness.raw_list()
        (local / "file").write_bytes(b"x")
        (local / "src").mkdir()
        calls: list[Callable[[], object]] = [
            lambda: store.open(path),
            lambda: store.open(path, "wb"),
            lambda: store.stat(path),
            lambda: store.exists(path),
            lambda: store.digest(path),
            lambda: store.list_artifacts(path),
            lambda: store.walk(path),
            lambda: store.download_artifacts(path, local / "dst"),
            lambda: store.delete_artifacts(path),
            lambda: store.log_artifact(local / "file", path),
            lambda: store.log_artifacts(local / "src", path),
        ]
        for call in calls:
            refuses(InvalidParameterValue, call)
        assert harness.raw_list() == before
        assert not (local / "dst").exists()

    @pytest.mark.parametrize("path", [None, "", "d/", 7])
    def test_open_path_that_names_no_file_is_refused(self, store: ArtifactStore, path: str) -> None:
        """The root, a trailing slash and things that are no text never name a file."""
        refuses(InvalidParameterValue, store.open, path)
        refuses(InvalidParameterValue, store.open, path, "wb")

    @pytest.mark.parametrize(
        "listed", ["../x", "d/../../x", "/abs", "d//x", "d/a\\..\\..\\x", "d/%2e%2e", "d", "", "elsewhere/x", "d/a/b"]
    )
    def test_download_from_hostile_listing_writes_nothing(
        self, store: ArtifactStore, local: Path, monkeypatch: pytest.MonkeyPatch, listed: str
    ) -> None:
        """A listing that names paths outside the folder asked for is refused before anything is written.

        A server may be hostile or broken (CVE-2023-6975); the good file before the bad one is not fetched either.
        """
        put(store, "d/good")
        bad = FileInfo(listed, is_dir=False, file_size=1)
        genuine, genuine_below = store._list, store._list_below
        monkeypatch.setattr(store, "_list", lambda path: [*genuine(path), *([bad] if path == "d" else [])])
        places = ["d", ""]
        if type(store)._list_below is not ArtifactStore._list_below:
            monkeypatch.setattr(store, "_list_below", lambda path: [*genuine_below(path), bad])
            # Where everything is listed at once, what lies deeper is no offence.
            places = [place for place in places if listed != "d/a/b" and (place, listed) != ("", "elsewhere/x")]
        refuses(InvalidParameterValue, store.list_artifacts, "d")
        for place in places:
            refuses(InvalidParameterValue, store.download_artifacts, place, local / "dst")
        assert list(local.iterdir()) == []

    def test_download_from_endless_listing_ends(
        self, store: ArtifactStore, local: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A store whose folders hold themselves is refused, not followed for ever."""
        put(store, "d/file")
        monkeypatch.setattr(store, "_list", lambda path: [FileInfo(f"{path}/d" if path else "d", is_dir=True)])
        monkeypatch.setattr(store, "_list_below", partial(ArtifactStore._list_below, store))
        refuses(InvalidParameterValue, store.download_artifacts, "", local / "dst")
        assert list(local.iterdir()) == []

    def test_write_through_read_only_store_is_refused(self, harness: ArtifactHarness, local: Path) -> None:
        """A store opened read-only refuses every write with `ReadOnly` and changes nothing."""
        with harness.open() as writer:
            put(writer, "d/file")
        (local / "src").mkdir()
        (local / "new").write_bytes(b"x")
        before = harness.raw_list()
        with harness.open(read_only=True) as store:
            assert store.read_only
            refuses(ReadOnly, store.log_artifact, local / "new")
            refuses(ReadOnly, store.log_artifacts, local / "src")
            refuses(ReadOnly, store.open, "new", "wb")
            refuses(ReadOnly, store.delete_artifacts, "d/file")
            refuses(ReadOnly, store.delete_artifacts, "missing")
            refuses(ReadOnly, store.delete_artifacts)
            assert [info.path for info in store.walk()] == ["d", "d/file"]
        assert harness.raw_list() == before

    def test_use_store_after_close_is_refused(self, harness: ArtifactHarness, local: Path) -> None:
        """Every method of a closed store raises `StoreClosed`; closing again does nothing."""
        store = harness.open()
        put(store, "file")
        store.close()
        store.close()
        calls: list[Callable[[], object]] = [
            lambda: store.open("file"),
            lambda: store.open("file", "wb"),
            lambda: store.stat("file"),
            lambda: store.exists("file"),
            lambda: store.digest("file"),
            store.list_artifacts,
            store.walk,
            lambda: store.download_artifacts("file", local),
            store.delete_artifacts,
            lambda: store.log_artifact(local),
            lambda: store.log_artifacts(local),
        ]
        for call in calls:
            refuses(StoreClosed, call)
        assert harness.raw_list() == {"file"}
