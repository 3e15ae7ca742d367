"""A working directory of its own for every test, and the command line without a process."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from holdall.cli import app
from holdall.session import SESSION
from holdall.stores import Metric, Param, RunTag, open_backend_store

STORE = "sqlite:///runs.db"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The working directory, with nothing configured."""
    for name in [name for name in os.environ if name.startswith("MLFLOW_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    SESSION.close()
    yield tmp_path
    SESSION.close()


@dataclass(frozen=True)
class Outcome:
    """What a command came to."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output, parsed by a parser that knows no NaN."""

        def refuse(constant: str) -> None:
            raise AssertionError(f"{constant} is not JSON")

        return json.loads(self.out, parse_constant=refuse)


class CommandLine:
    """`holdall`, called with the words of a command."""

    def __call__(self, *words: str | os.PathLike[str], code: int = 0) -> Outcome:
        """Run a command, and expect this exit code."""
        result = CliRunner().invoke(app, [os.fspath(word) for word in words])
        outcome = Outcome(result.exit_code, result.stdout, result.stderr)
        assert outcome.code == code, f"{outcome}\n{result.exception!r}"
        return outcome


@pytest.fixture
def holdall_command() -> CommandLine:
    return CommandLine()


@pytest.fixture
def run_ids(folder: Path) -> list[str]:
    """Three runs in `STORE`, the first has the best accuracy; their names are run-0, run-1, run-2."""
    ids = []
    with open_backend_store(STORE) as store:
        experiment_id = store.create_experiment("digits")
        for number in range(3):
            run = store.create_run(experiment_id, start_time=1_700_000_000_000 + number, run_name=f"run-{number}")
            store.log_batch(
                run.info.run_id,
                metrics=[Metric("accuracy", 0.9 - number / 10 - step / 100, 5 + step, step) for step in (1, 0)],
                params=[Param("lr", str(number))],
                tags=[RunTag("team", "blue")],
            )
            ids.append(run.info.run_id)
    return ids


@pytest.fixture
def store() -> str:
    """URI of the store of `run_ids`."""
    return STORE
