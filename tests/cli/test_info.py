"""`holdall info`, and what all commands share."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from holdall.stores import ReadOnly, open_backend_store

Command = Any


def test_show_info_of_store_counts_what_it_holds(holdall_command: Command, run_ids: list[str], store: str) -> None:
    with open_backend_store(store) as opened:
        opened.delete_run(run_ids[2])
    found = holdall_command("info", store, "--json").json
    assert found["counts"] == {"experiments": 2, "deleted experiments": 0, "runs": 2, "deleted runs": 1}
    assert [run["run_id"] for run in found["last_runs"]] == [run_ids[1], run_ids[0]]
    assert found["capabilities"]["persistent"] is True
    assert found["store"]["mode"] == "read-only"


def test_show_info_of_store_leaves_its_bytes_alone(
    holdall_command: Command, run_ids: list[str], store: str, folder: Path
) -> None:
    def digests() -> dict[str, str]:
        return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}

    before = digests()
    out = holdall_command("info", store).out
    assert digests() == before
    for expected in ("SqliteBackendStore", "runs", "persistent", run_ids[0]):
        assert expected in out


def test_show_info_of_missing_store_creates_nothing(holdall_command: Command, folder: Path) -> None:
    outcome = holdall_command("info", "sqlite:///missing.db", code=1)
    assert outcome.out == ""
    assert "missing.db" in outcome.err
    assert list(folder.iterdir()) == []


def test_show_info_of_dead_run_and_unreachable_artifacts_tells_both(
    holdall_command: Command, run_ids: list[str], store: str
) -> None:
    with open_backend_store(store) as opened:
        opened.create_experiment("lost", artifact_location="nosuchscheme://bucket/place")
        opened.create_run("0", start_time=time.time_ns() // 1_000_000)
    stale, unreachable = holdall_command("info", store, "--json").json["problems"]
    assert stale.startswith("3 runs")
    assert "'lost'" in unreachable


def test_name_unknown_scheme_exits_as_usage_error_with_known_ones(holdall_command: Command) -> None:
    outcome = holdall_command("info", "gopher://host", code=2)
    assert "sqlite://" in outcome.err
    assert outcome.err.startswith("Error: ")
    assert len(outcome.err.splitlines()) == 1


def test_name_uri_with_password_never_prints_it(holdall_command: Command) -> None:
    outcome = holdall_command("info", "gopher://user:hunter2@host/x", code=2)
    assert "hunter2" not in outcome.out + outcome.err


def test_meet_error_with_debug_lets_the_traceback_through(holdall_command: Command) -> None:
    from typer.testing import CliRunner

    from holdall.cli import app

    result = CliRunner().invoke(app, ["--debug", "info", "sqlite:///missing.db"])
    assert isinstance(result.exception, LookupError)


def test_ask_for_version_prints_it(holdall_command: Command) -> None:
    assert holdall_command("--version").out.startswith("holdall 0.")


def test_ask_for_unknown_command_exits_as_usage_error(holdall_command: Command) -> None:
    assert "exports" in holdall_command("exports", code=2).err


def in_new_process(*words: str) -> subprocess.CompletedProcess[str]:
    """The console script in a new interpreter."""
    code = f"import sys; sys.path[:] = {sys.path!r}; from holdall.cli import main; main()"
    environment = {**os.environ, "COLUMNS": "100"}
    return subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, check=False, env=environment
    )


def test_ask_for_help_in_new_process_loads_nothing_heavy() -> None:
    code = (
        f"import sys; sys.path[:] = {sys.path!r}\n"
        "import holdall.cli\n"
        "heavy = ('sqlalchemy', 'numpy', 'pandas', 'sklearn', 'matplotlib', 'pytest', 'hypothesis')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    listed = in_new_process("--help")
    assert listed.returncode == 0
    for command in ("demo", "experiments", "runs", "artifacts", "info", "conformance"):
        assert command in listed.stdout


def test_close_the_pipe_early_ends_quietly(run_ids: list[str], store: str) -> None:
    script = f"import sys; sys.path[:] = {sys.path!r}; from holdall.cli import main; main()"
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as closed:
        done = subprocess.run(
            [sys.executable, "-c", script, "runs", "list", "--store", store],
            stdout=closed,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr == ""


def test_write_through_reading_command_is_impossible(run_ids: list[str], store: str) -> None:
    from holdall.cli.stores import open_for_reading

    with open_for_reading(store) as opened, pytest.raises(ReadOnly):
        opened.delete_run(run_ids[0])
