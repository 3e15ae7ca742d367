"""What both command lines have in common: options, the run, what is written, the exit code."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from rich.console import Console
from rich.table import Table

from benchmarks.artifacts.data import FileSet
from benchmarks.artifacts.services import SERVICES, version_of
from benchmarks.artifacts.session import DIRECTIONS, Comparison, Result
from benchmarks.environment import MLFLOW_VERSION, find_mlflow_python
from benchmarks.peer import BenchmarkError

__all__ = ["Printable", "Program"]

WORK = Path("build") / "benchmarks"


class Printable(Protocol):
    """What a program finds."""

    @property
    def missed(self) -> list[str]:
        """Promises that were not kept, in words."""
        ...

    def table(self) -> Table:
        """For a terminal."""
        ...

    def markdown(self) -> str:
        """For the documentation."""
        ...

    def json(self) -> dict[str, object]:
        """For programs."""
        ...


@dataclass(frozen=True, slots=True)
class Program:
    """A command line.

    Attributes:
        name: How it is called.
        description: What it does.
        sets: What it copies by default.
        contestants: Who may take part; all of a service's if empty.
        rounds: How often by default.
        memory: Whether it watches memory.
        report: What it makes of a service, the results, and the versions of all that took part.
    """

    name: str
    description: str | None
    sets: Sequence[FileSet]
    contestants: Collection[str]
    rounds: int
    memory: bool
    report: Callable[[str, Sequence[Result], Mapping[str, str]], Printable]

    def main(self, arguments: Sequence[str]) -> int:
        """Measure, print, return the exit code: 1 if a promise is missed and `--check` is given, 2 on failure."""
        options = self._parse(arguments)
        try:
            report = self._measure(options)
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

    def _parse(self, arguments: Sequence[str]) -> argparse.Namespace:
        parser = argparse.ArgumentParser(prog=self.name, description=self.description)
        add = parser.add_argument
        add("--service", choices=SERVICES, default="s3", help="kind of storage; default: %(default)s")
        servers = "; ".join(f"{name}: {', '.join(service.servers)}" for name, service in SERVICES.items())
        add("--server", help=f"what stands for it; default: the first of {servers}")
        sides = "; ".join(f"{name}: {','.join(self._contestants(name))}" for name in SERVICES)
        add("--sides", type=lambda text: text.split(","), help=f"comma-separated; default: all, which are {sides}")
        sets = ",".join(map(str, self.sets))
        add("--sets", type=_sets, default=self.sets, help=f"comma-separated, COUNTxSIZE each; default: {sets}")
        add("--only", choices=DIRECTIONS, help="one way only")
        add("--scale", type=float, default=1.0, help="part of every set to copy; default: %(default)s")
        add("--rounds", type=int, default=self.rounds, help="default: %(default)s")
        add(
            "--calm",
            type=float,
            default=math.inf,
            metavar="CORES",
            help="how many others may keep busy: waits, repeats",
        )
        add("--check", action="store_true", help="exit with 1 if a promise is missed")
        add("--json", type=Path, metavar="FILE", help="write everything measured")
        add("--markdown", type=Path, metavar="FILE", help="write the table for the documentation")
        add("--mlflow-python", type=Path, metavar="FILE", help=f"interpreter that has MLflow {MLFLOW_VERSION}")
        add("--work-dir", type=Path, default=WORK, help="for data and copies (deleted); default: %(default)s")
        options = parser.parse_args(arguments)
        options.server = options.server or SERVICES[options.service].servers[0]
        options.sides = options.sides or self._contestants(options.service)
        _refuse_unknown(parser, "server", [options.server], SERVICES[options.service].servers)
        _refuse_unknown(parser, "side", options.sides, self._contestants(options.service))
        return options

    def _contestants(self, service: str) -> list[str]:
        return [name for name in SERVICES[service].contestants if not self.contestants or name in self.contestants]

    def _measure(self, options: argparse.Namespace) -> Printable:
        comparison = Comparison(
            server=options.server,
            contestants=options.sides,
            sets=[files.scaled(options.scale).capped(SERVICES[options.service].largest) for files in options.sets],
            directions=[options.only] if options.only else DIRECTIONS,
            rounds=options.rounds,
            work=options.work_dir,
            mlflow_python=find_mlflow_python(options.mlflow_python, WORK) if "mlflow" in options.sides else None,
            memory=self.memory,
            calm=options.calm,
        )
        results = comparison.run()
        named = {name: version_of(name) for name in (options.server, *options.sides)}
        return self.report(options.service, results, {name: version for name, version in named.items() if version})


def _sets(text: str) -> list[FileSet]:
    try:
        return [FileSet.parse(part) for part in text.split(",")]
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _refuse_unknown(parser: argparse.ArgumentParser, what: str, names: Collection[str], known: Collection[str]) -> None:
    for name in names:
        if name not in known:
            parser.error(f"unknown {what} {name!r}; known: {', '.join(known)}")
