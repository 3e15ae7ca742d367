"""The command lines of the benchmark of servers; see `python -m benchmarks.server [parts|json] --help`."""

from __future__ import annotations

import argparse
import json
import math
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

import benchmarks.server as package
from benchmarks.environment import MLFLOW_VERSION, find_mlflow_python
from benchmarks.peer import BenchmarkError
from benchmarks.server.contestants import CONTESTANTS, Environment
from benchmarks.server.report import Report
from benchmarks.server.requests import OPERATIONS
from benchmarks.server.session import Comparison

__all__ = ["main"]

WORK = Path("build") / "benchmarks"
STORES = ("sqlite", "postgresql", "mariadb")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, return the exit code: 1 if a promise is missed and `--check` is given, 2 on failure."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    if words[:1] == ["parts"]:
        from benchmarks.server import parts  # with the server's own modules

        return parts.main(words[1:])
    if words[:1] == ["json"]:
        from benchmarks.server import codecs  # with the libraries

        return codecs.main(words[1:])
    options = _parse(words)
    try:
        report = _measure(options)
    except BenchmarkError as error:
        Console(stderr=True).print(f"error: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        return 2
    console = Console()
    if not console.is_terminal:
        console = Console(width=200)
    console.print(report.table())
    if options.json:
        options.json.write_text(json.dumps(report.json(), indent=2) + "\n", encoding="utf-8")
    if options.markdown:
        options.markdown.write_text(report.markdown(), encoding="utf-8")
    for line in report.missed:
        console.print(f"missed: {line}", style="red", markup=False, highlight=False, soft_wrap=True)
    return 1 if options.check and report.missed else 0


def _parse(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.server", description=package.__doc__)
    add = parser.add_argument
    add("--store", choices=STORES, default="sqlite", help="kind of database; default: %(default)s")
    sides, names = ",".join(CONTESTANTS), ",".join(operation.name for operation in OPERATIONS)
    add("--sides", type=lambda text: text.split(","), help=f"comma-separated; default: {sides}; FastTrackML on SQLite")
    add("--only", type=lambda text: text.split(","), default=names.split(","), help=f"comma-separated of {names}")
    add("--rounds", type=int, default=3, help="default: %(default)s")
    add("--seconds", type=float, default=3.0, help="of each round; default: %(default)s")
    add("--connections", type=int, default=16, help="default: %(default)s")
    add("--workers", type=int, help="processes of holdall's server; default: its own")
    add("--calm", type=float, default=math.inf, metavar="CORES", help="how many others may keep busy: repeats")
    add("--check", action="store_true", help="exit with 1 if a promise is missed")
    add("--json", type=Path, metavar="FILE", help="write everything measured")
    add("--markdown", type=Path, metavar="FILE", help="write the table for the documentation")
    add("--mlflow-python", type=Path, metavar="FILE", help=f"interpreter that has MLflow {MLFLOW_VERSION}")
    add("--fasttrackml", type=Path, metavar="FILE", help="FastTrackML's command `fml`; default: the one on PATH")
    add("--work-dir", type=Path, default=WORK, help="for databases (deleted); default: %(default)s")
    options = parser.parse_args(words)
    if options.sides is None:
        options.sides = [name for name in CONTESTANTS if options.store == "sqlite" or name != "fasttrackml"]
    for name in (*options.sides, *options.only):
        if name not in CONTESTANTS and name not in names.split(","):
            parser.error(f"unknown {name!r}; known: {sides}; {names}")
    return options


def _measure(options: argparse.Namespace) -> Report:
    environment = Environment(
        mlflow_python=find_mlflow_python(options.mlflow_python, WORK) if "mlflow" in options.sides else None,
        fasttrackml=_find_fasttrackml(options.fasttrackml) if "fasttrackml" in options.sides else None,
        workers=options.workers,
    )
    comparison = Comparison(
        store=options.store,
        contestants=options.sides,
        operations=[operation for operation in OPERATIONS if operation.name in options.only],
        environment=environment,
        work=options.work_dir,
        rounds=options.rounds,
        seconds=options.seconds,
        connections=options.connections,
        calm=options.calm,
    )
    return Report(comparison, *comparison.run())


def _find_fasttrackml(named: Path | None) -> Path:
    found = named or shutil.which("fml")
    if not found:
        raise BenchmarkError(
            "FastTrackML is not installed: pip install fasttrackml, or name its command: --fasttrackml"
        )
    return Path(found).absolute()


if __name__ == "__main__":
    sys.exit(main())
