"""The command line of the benchmark; see `python -m benchmarks --help`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path

from rich.console import Console

from benchmarks.operations import Operation
from benchmarks.peer import BenchmarkError
from benchmarks.populate.server import KEYS, STEPS
from benchmarks.report import Report
from benchmarks.session import Comparison
from benchmarks.suites import SUITES, Suite
from benchmarks.workload import Scale

__all__ = ["main"]

WORK = Path("build") / "benchmarks"
FULL = Scale()


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and return the exit code: 1 if a promise is missed and `--check` is given, 2 on failure."""
    options = _parse(arguments)
    try:
        report = _measure(options)
    except BenchmarkError as error:
        Console(stderr=True).print(f"error: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        return 2
    console = Console()
    if not console.is_terminal:
        console = Console(width=200)
    console.print(report.table())
    for line in report.plan_lines():
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    if options.json:
        options.json.write_text(json.dumps(report.json(), indent=2) + "\n", encoding="utf-8")
    if options.markdown:
        options.markdown.write_text(report.markdown(), encoding="utf-8")
    for line in report.missed:
        console.print(f"missed: {line}", style="red", markup=False, highlight=False, soft_wrap=True)
    return 1 if options.check and report.missed else 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=sys.modules["benchmarks"].__doc__)
    parser.add_argument(
        "--store", choices=SUITES, default="sqlite", help="kind of store to measure; default: %(default)s"
    )
    parser.add_argument(
        "--only", action="append", metavar="OPERATION", help=_each(lambda suite: ", ".join(suite.operations))
    )
    parser.add_argument(
        "--sides",
        type=lambda text: text.split(","),
        help="comma-separated; default: all, which are " + _each(lambda suite: ",".join(suite.sides)),
    )
    parser.add_argument(
        "--runs", type=_positive, help="runs to search; default: " + _each(lambda suite: str(suite.runs))
    )
    parser.add_argument(
        "--points", type=_positive, default=FULL.points, help="points of the long history; default: %(default)s"
    )
    parser.add_argument(
        "--rounds", type=_positive, help="rounds of every operation; default: each operation's own number"
    )
    parser.add_argument(
        "--synchronous",
        choices=["NORMAL", "FULL"],
        default="NORMAL",
        help="SQLite's setting, of holdall and the raw driver; default: %(default)s",
    )
    parser.add_argument(
        "--latency",
        type=float,
        default=0.0,
        metavar="MS",
        help="milliseconds to a server, and as many back; default: 0",
    )
    parser.add_argument("--check", action="store_true", help="exit with 1 if a promised ratio is missed")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything measured")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table for the documentation")
    parser.add_argument(
        "--mlflow-python", type=Path, metavar="FILE", help="interpreter that has MLflow 3.17.2; default: found or made"
    )
    parser.add_argument(
        "--work-dir",
        type=Path,
        default=WORK,
        help="for stores (deleted) and MLflow's environment (kept); default: %(default)s",
    )
    options = parser.parse_args(arguments)
    suite = SUITES[options.store]
    if options.latency and not suite.on_server:
        parser.error(f"--latency is for stores on servers, not for {suite.name}")
    _refuse_unknown(parser, "operation", options.only or (), suite.operations)
    _refuse_unknown(parser, "side", options.sides or (), suite.sides)
    return options


def _each(describe: Callable[[Suite], str]) -> str:
    return "; ".join(f"{name}: {describe(suite)}" for name, suite in SUITES.items())


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value


def _refuse_unknown(parser: argparse.ArgumentParser, what: str, names: Iterable[str], known: Collection[str]) -> None:
    for name in names:
        if name not in known:
            parser.error(f"unknown {what} {name!r}; known: {', '.join(known)}")


def _measure(options: argparse.Namespace) -> Report:
    suite = SUITES[options.store]
    scale = Scale(options.runs or suite.runs, options.points)
    comparison = Comparison(
        suite,
        options.sides or list(suite.sides),
        _choose(suite, options.only),
        scale,
        options.work_dir,
        options.rounds,
        options.mlflow_python,
        options.synchronous,
        options.latency / 1000,
        suite.operations.get("reopen_best_runs"),
    )
    found = comparison.run()
    stored = f"{scale.runs:,} runs, {scale.points:,} points"
    if suite.on_server:
        stored = f"{scale.runs:,} runs of {KEYS * STEPS} points, a history of {scale.points:,} points"
    if options.latency:
        stored += f", {options.latency:g} ms to the server and as many back"
    return Report(found.results, found.versions, stored, raw="raw" in suite.sides, plans=found.plans)


def _choose(suite: Suite, only: Collection[str] | None) -> list[Operation]:
    return [item for name, item in suite.operations.items() if (name in only if only else item.by_default)]


if __name__ == "__main__":
    sys.exit(main())
