"""`holdall artifacts`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

Command = Any


@pytest.fixture
def local(folder: Path) -> Path:
    """A folder with two files to put."""
    place = folder / "plots"
    (place / "deep").mkdir(parents=True)
    (place / "a.txt").write_text("alpha", encoding="utf-8")
    (place / "deep" / "b.bin").write_bytes(b"\x00" * 2048)
    return place


def test_put_and_get_by_run_id_returns_the_same_bytes(
    holdall_command: Command, run_ids: list[str], store: str, local: Path, folder: Path
) -> None:
    run_id = run_ids[0]
    assert "a.txt" in holdall_command("artifacts", "put", run_id, local, "--store", store).err
    listed = holdall_command("artifacts", "list", run_id, "-r", "--store", store, "--json").json["files"]
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
    out = holdall_command("artifacts", "list", "./bucket", "models").out
    assert [line.split() for line in out.splitlines()] == [["path", "size"], ["models/first/"]]
    assert holdall_command("artifacts", "list", "./bucket", "models/first/a.txt").out.split()[2:] == [
        "models/first/a.txt",
        "5",
        "B",
    ]


def test_get_by_file_uri_fetches_into_working_directory(holdall_command: Command, local: Path, folder: Path) -> None:
    holdall_command("artifacts", "get", f"file://{local}", "a.txt")
    assert (folder / "a.txt").read_text(encoding="utf-8") == "alpha"


@pytest.mark.parametrize(
    ("words", "code", "expected"),
    [
        (("get", "./plots", "missing.txt"), 1, "missing.txt"),
        (("get", "./plots", "../runs.db"), 2, ".."),
        (("put", "./plots", "nowhere.txt"), 1, "nowhere.txt"),
        (("list", "ftp://host/x"), 2, "file://"),
        (("list", "0123456789abcdef0123456789abcdef"), 1, "0123456789abcdef0123456789abcdef"),
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
