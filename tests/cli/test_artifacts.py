"""`holdall artifacts`: what lists, fetches, adds and removes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from holdall.cli import artifacts

Command = Any


@pytest.fixture
def local(folder: Path) -> Path:
    """A folder with two files to put."""
    place = folder / "plots"
    (place / "deep").mkdir(parents=True)
    (place / "a.txt").write_text("alpha", encoding="utf-8")
    (place / "deep" / "b.bin").write_bytes(b"\x00" * 2048)
    return place


def names(place: Path) -> list[str]:
    """All there is in a folder."""
    return sorted(path.relative_to(place).as_posix() for path in place.rglob("*"))


def test_put_and_get_by_run_id_returns_the_same_bytes(
    holdall_command: Command, run_ids: list[str], store: str, local: Path, folder: Path
) -> None:
    run_id = run_ids[0]
    assert "a.txt" in holdall_command("artifacts", "put", run_id, local, "--store", store).err
    listed = holdall_command("artifacts", "ls", run_id, "-r", "--store", store, "--json").json["files"]
    assert [(item["path"], item["file_size"]) for item in listed] == [
        ("plots", None),
        ("plots/a.txt", 5),
        ("plots/deep", None),
        ("plots/deep/b.bin", 2048),
    ]
    outcome = holdall_command("artifacts", "get", run_id, "plots", "--to", folder / "back", "--store", store)
    assert str(folder / "back" / "plots") in outcome.out
    assert (folder / "back" / "plots" / "deep" / "b.bin").read_bytes() == b"\x00" * 2048


def test_put_into_folder_of_artifact_path_lands_there(holdall_command: Command, local: Path) -> None:
    holdall_command("artifacts", "put", "./bucket", local / "a.txt", "models/first")
    assert holdall_command("artifacts", "ls", "./bucket", "models").out == "models/first/\n"
    assert holdall_command("artifacts", "ls", "./bucket", "models/first/a.txt", "-l").out == (
        "       5 B  models/first/a.txt\n"
    )


def test_list_by_former_name_works_and_is_hidden(holdall_command: Command, local: Path) -> None:
    assert holdall_command("artifacts", "list", "./plots").out == "a.txt\ndeep/\n"
    shown = holdall_command("artifacts", "--help").out
    assert " ls " in shown
    assert " list " not in shown


def test_list_recursively_with_sizes_shows_all_that_is_there(holdall_command: Command, local: Path) -> None:
    (local / "deep" / "new\x1b[2Jline").write_bytes(b"")
    assert holdall_command("artifacts", "ls", "-rl", local).out.splitlines() == [
        "       5 B  a.txt",
        "            deep/",
        "   2.0 KiB  deep/b.bin",
        "       0 B  deep/new\\x1b[2Jline",
    ]


@pytest.mark.parametrize("uri", ["./plots/deep/b.bin", "plots/deep/../deep/b.bin", "file://{folder}/plots/deep/b.bin"])
def test_list_and_get_uri_of_a_file_find_it(holdall_command: Command, local: Path, folder: Path, uri: str) -> None:
    uri = uri.format(folder=folder)
    assert holdall_command("artifacts", "ls", uri).out == "b.bin\n"
    assert holdall_command("artifacts", "du", uri, "--json").json["bytes"] == 2048
    summary = holdall_command("artifacts", "get", uri, "--to", "back", "--json")
    assert summary.err == ""
    assert {key: summary.json[key] for key in ("files", "bytes", "place")} == {
        "files": 1,
        "bytes": 2048,
        "place": str(folder / "back" / "b.bin"),
    }
    assert names(folder / "back") == ["b.bin"]


def test_list_store_that_nothing_was_written_to_is_empty(
    holdall_command: Command, run_ids: list[str], store: str
) -> None:
    assert holdall_command("artifacts", "ls", "./new").out == ""
    assert holdall_command("artifacts", "ls", run_ids[0], "--store", store).out == ""
    assert holdall_command("artifacts", "ls", run_ids[0], "plots", "--store", store, code=1).err.count("\n") == 1


def test_show_path_in_run_by_colon_is_that_folder(
    holdall_command: Command, run_ids: list[str], store: str, local: Path
) -> None:
    holdall_command("artifacts", "put", f"{run_ids[0]}:models", local, "--store", store)
    for words in ([f"{run_ids[0]}:models/plots"], [f"{run_ids[0]}:models", "plots"]):
        out = holdall_command("artifacts", "ls", "-r", *words, "--store", store).out
        assert [line.removeprefix("plots/") for line in out.split()] == ["a.txt", "deep/", "deep/b.bin"]
    assert holdall_command("artifacts", "ls", f"{run_ids[0]}:", "--store", store).out == "models/\n"


def test_show_usage_sums_files_of_each_folder(holdall_command: Command, local: Path) -> None:
    (local / "deep" / "deeper").mkdir()
    (local / "deep" / "deeper" / "c").write_bytes(b"c")
    (local / "empty").mkdir()
    usage = holdall_command("artifacts", "du", ".", "plots", "--depth", "1", "--json").json
    assert usage == {
        "path": "plots",
        "bytes": 2054,
        "files": 3,
        "folders": [
            {"path": "plots/deep", "bytes": 2049, "files": 2},
            {"path": "plots/empty", "bytes": 0, "files": 0},
        ],
    }
    lines = [line.split() for line in holdall_command("artifacts", "du", local, "-d", "2").out.splitlines()]
    assert lines == [
        ["2.0", "KiB", "2", "files", "deep/"],
        ["1", "B", "1", "file", "deep/deeper/"],
        ["0", "B", "0", "files", "empty/"],
        ["2.0", "KiB", "3", "files", "total"],
    ]
    assert holdall_command("artifacts", "du", local).out.split() == ["2.0", "KiB", "3", "files", "total"]


def test_remove_file_removes_it_alone(holdall_command: Command, local: Path) -> None:
    (local / "a.txt.bak").write_bytes(b"kept")
    assert holdall_command("artifacts", "rm", local, "a.txt", "--yes").out == "removed 1 file, 5 B\n"
    assert names(local) == ["a.txt.bak", "deep", "deep/b.bin"]


def test_remove_folder_by_run_removes_what_it_holds(
    holdall_command: Command, run_ids: list[str], store: str, local: Path
) -> None:
    holdall_command("artifacts", "put", run_ids[0], local, "--store", store)
    outcome = holdall_command("artifacts", "rm", "-r", f"{run_ids[0]}:plots/", "--yes", "--json", "--store", store)
    assert outcome.json == {"files": 2, "bytes": 2053, "dry_run": False}
    assert holdall_command("artifacts", "ls", run_ids[0], "--store", store).out == ""


def test_remove_link_keeps_what_it_points_to(holdall_command: Command, local: Path, folder: Path) -> None:
    (folder / "link").symlink_to("plots")
    holdall_command("artifacts", "rm", "-r", "./link", "--yes")
    assert names(folder) == ["plots", "plots/a.txt", "plots/deep", "plots/deep/b.bin"]


def test_remove_with_dry_run_lists_and_keeps_all(holdall_command: Command, local: Path, folder: Path) -> None:
    out = holdall_command("artifacts", "rm", "-r", "./plots", "--dry-run").out
    assert out.splitlines() == [
        "plots/",
        "plots/a.txt",
        "plots/deep/",
        "plots/deep/b.bin",
        "would remove 2 files, 2.0 KiB",
    ]
    assert len(names(local)) == 3


@pytest.mark.parametrize(
    ("words", "code", "expected"),
    [
        (["./plots", "--yes"], 2, "-r"),
        (["./plots/missing", "--yes"], 1, "missing"),
        (["./plots/missing/", "-r", "--yes"], 1, "missing"),
        (["./plots", "../runs.db", "--yes"], 2, ".."),
        (["./plots/a.txt/", "--yes"], 2, "slash"),
        (["./plots", "-r"], 2, "--yes"),
        (["/", "-r", "--yes"], 2, "everything"),
        (["file:///", "-r", "--yes"], 2, "everything"),
    ],
)
def test_remove_wrongly_exits_with_one_line_and_keeps_all(
    holdall_command: Command, local: Path, words: list[str], code: int, expected: str
) -> None:
    outcome = holdall_command("artifacts", "rm", *words, code=code)
    assert len(outcome.err.splitlines()) == 1
    assert expected in outcome.err
    assert len(names(local)) == 3


def test_remove_missing_by_force_is_fine(holdall_command: Command, local: Path) -> None:
    assert holdall_command("artifacts", "rm", local, "missing", "--force").out == "removed 0 files, 0 B\n"


@pytest.mark.parametrize(("answer", "code", "left"), [("y\n", 0, 0), ("n\n", 1, 3), ("", 1, 3)])
def test_remove_on_terminal_asks(
    local: Path, monkeypatch: pytest.MonkeyPatch, answer: str, code: int, left: int
) -> None:
    from typer.testing import CliRunner

    from holdall.cli import app

    monkeypatch.setattr(artifacts, "is_terminal", lambda: True)
    result = CliRunner().invoke(app, ["artifacts", "rm", "-r", "./plots", "--json"], input=answer)
    assert result.exit_code == code
    assert "Remove 2 files, 2.0 KiB" in result.stderr
    assert len(names(local)) == left


def test_get_by_file_uri_fetches_into_working_directory(holdall_command: Command, local: Path, folder: Path) -> None:
    holdall_command("artifacts", "get", f"file://{local}", "a.txt")
    assert (folder / "a.txt").read_text(encoding="utf-8") == "alpha"


@pytest.mark.parametrize(
    ("words", "code", "expected"),
    [
        (("get", "./plots", "missing.txt"), 1, "missing.txt"),
        (("get", "./plots", "../runs.db"), 2, ".."),
        (("put", "./plots", "nowhere.txt"), 1, "nowhere.txt"),
        (("ls", "ftp://host/x"), 2, "file://"),
        (("du", "0123456789abcdef0123456789abcdef"), 1, "0123456789abcdef0123456789abcdef"),
        (("ls", "0123456789abcdef0123456789abcdef:x"), 1, "0123456789abcdef0123456789abcdef"),
        (("ls", "plots"), 1, "./plots"),
        (("rm", "plots", "-r", "--yes"), 1, "./plots"),
    ],
)
def test_use_artifacts_wrongly_exits_with_one_line(
    holdall_command: Command,
    run_ids: list[str],
    store: str,
    local: Path,
    words: tuple[str, ...],
    code: int,
    expected: str,
) -> None:
    outcome = holdall_command("artifacts", *words, "--store", store, code=code)
    assert len(outcome.err.splitlines()) == 1
    assert expected in outcome.err


def test_get_into_folder_that_cannot_be_written_exits_with_one_line(holdall_command: Command, local: Path) -> None:
    outcome = holdall_command("artifacts", "get", "./plots", "a.txt", "--to", local / "a.txt" / "x", code=2)
    assert len(outcome.err.splitlines()) == 1
