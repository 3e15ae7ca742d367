"""The most memory that a process needs to search a large folder of runs: `python -m benchmarks.memory`.

Fills a folder, then lets two processes search it one after the other with holdall's file store: the first meets the
folder for the first time, the second finds the index that the first has left. Peak resident memory is promised to stay
below a limit.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.peer import BenchmarkError, import_path
from benchmarks.populate.mlruns import create_root, insert_experiment, populate
from benchmarks.workload import Scale

__all__ = ["LIMIT", "main"]

LIMIT = 300_000_000
"""Bytes that are promised not to be exceeded, at the default number of runs."""

WORK = Path("build") / "benchmarks"
PROCESSES = ("first contact", "in a new process")


@dataclass(frozen=True, slots=True)
class Step:
    """What a step of a process came to.

    Attributes:
        process: Which process.
        step: What it did.
        seconds: How long it took.
        runs: How many runs it found.
        peak: The most bytes that were resident until then.
    """

    process: str
    step: str
    seconds: float
    runs: int
    peak: int


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and return the exit code: 1 if the promise is missed and `--check` is given, 2 on failure."""
    options = _parse(arguments)
    errors = Console(stderr=True)
    try:
        steps = _measure(options.work_dir.resolve(), options.runs, errors)
    except BenchmarkError as error:
        errors.print(f"error: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        return 2
    console = Console()
    console.print(_table(steps, options.runs))
    peak = max(step.peak for step in steps)
    if options.json:
        found = {"runs": options.runs, "limit": LIMIT, "peak": peak, "steps": [asdict(step) for step in steps]}
        options.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    if peak >= LIMIT:
        console.print(f"missed: {_megabytes(peak)} at most, promised under {_megabytes(LIMIT)}", style="red")
    return 1 if options.check and peak >= LIMIT else 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=__doc__)
    parser.add_argument("--runs", type=int, default=50_000, help="runs to search; default: %(default)s")
    parser.add_argument("--check", action="store_true", help="exit with 1 if the promise is missed")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything measured")
    parser.add_argument("--work-dir", type=Path, default=WORK, help="for the folder (deleted); default: %(default)s")
    return parser.parse_args(arguments)


def _measure(work: Path, runs: int, console: Console) -> list[Step]:
    work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=work, prefix="run-") as folder:
        root = Path(folder) / "mlruns"
        console.print(f"preparing {runs:,} runs", highlight=False)
        create_root(root)
        insert_experiment(root)
        populate(root, Scale(runs, points=1))
        return [step for process in PROCESSES for step in _search(process, root, runs, console)]


def _search(process: str, root: Path, runs: int, console: Console) -> list[Step]:
    console.print(f"searching: {process}", highlight=False)
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.searcher", str(root)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": import_path(), "XDG_CACHE_HOME": str(root.parent / "caches")},
    )
    if done.returncode != 0:
        raise BenchmarkError(f"The process ended with exit code {done.returncode}:\n{done.stderr}")
    steps = [Step(process, **json.loads(line)) for line in done.stdout.splitlines()]
    if steps[-1].runs != runs:
        raise BenchmarkError(f"{process}: {steps[-1].runs:,} runs were read of {runs:,}.")
    return steps


def _table(steps: Sequence[Step], runs: int) -> Table:
    table = Table(caption=f"{runs:,} runs; promised: under {_megabytes(LIMIT)}", caption_justify="left")
    for heading in ("process", "step"):
        table.add_column(heading)
    for heading in ("time", "peak so far"):
        table.add_column(heading, justify="right")
    for step in steps:
        table.add_row(step.process, step.step, f"{step.seconds:.2f} s", _megabytes(step.peak))
    return table


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.0f} MB"


if __name__ == "__main__":
    sys.exit(main())
