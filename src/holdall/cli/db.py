"""`holdall db`: checks and tunes databases."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated

import typer

from holdall.cli.options import JsonOption
from holdall.cli.output import console, is_terminal, print_facts, print_json, say, shown
from holdall.cli.stores import open_for_reading
from holdall.stores import open_backend_store
from holdall.stores.backend import BackendStore
from holdall.stores.databases import DatabaseReport, DatabaseStore, Finding, TuningPlan, as_database_store
from holdall.stores.errors import InvalidParameterValue

__all__ = ["app"]

app = typer.Typer(help="Check and tune databases.", no_args_is_help=True)

UriArgument = Annotated[str | None, typer.Argument(metavar="[URI]", help="Database. Default: as for --store.")]


@app.callback()
def db() -> None:
    """Check and tune databases."""


@app.command()
def check(uri: UriArgument = None, as_json: JsonOption = False) -> None:
    """Look for what is wrong with a database, or could be better, without writing anything.

    The exit code is 1 if data is wrong. Advice, such as on missing indexes or narrow columns, leaves it at 0.
    """
    with open_for_reading(uri) as store, _as_database(store) as database:
        with console(stderr=True).status("reading") as status:
            report = database.inspect_database(lambda what: status.update(f"looking at {what}"))
        if as_json:
            _print_json(store, report)
        else:
            _print(store, report)
    if not report.is_sound:
        raise typer.Exit(1)


@app.command()
def tune(
    uri: Annotated[str, typer.Argument(metavar="URI", help="Database.")],
    undo: Annotated[bool, typer.Option("--undo", help="Drop the indexes that this command made.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do it without asking.")] = False,
) -> None:
    """Give a database of MLflow's the indexes with which holdall is fast, and gather statistics.

    All statements are shown before any is run. Others may use the database meanwhile.
    """
    with open_backend_store(uri, read_only=True) as store, _as_database(store) as database:
        plan = database.plan_tuning(undo=undo)
    _print_plan(plan)
    if plan.steps and _is_wanted(yes):
        with open_backend_store(uri, create=False) as store, _as_database(store) as database:
            done = database.tune_database(undo=undo, on_step=lambda step: say(f"… {shown(step.purpose)}"))
        say(f"Done: {len(done.steps)} statements.")


@contextmanager
def _as_database(store: BackendStore) -> Iterator[DatabaseStore]:
    """The same store, where it is a database."""
    if not store.capabilities.database:
        what = "a folder" if store.uri.scheme == "file" else "none"
        raise InvalidParameterValue(f"holdall db works on databases; {store.uri} is {what}: `holdall info` checks it.")
    yield as_database_store(store)


def _is_wanted(yes: bool) -> bool:
    if yes:
        return True
    if not is_terminal():
        say("Nothing was done; to do it, say --yes.")
        return False
    return typer.confirm("Do it?")


def _print_plan(plan: TuningPlan) -> None:
    for step in plan.steps:
        say(f"{shown(step.purpose)}:")
        say(f"    {shown(step.statement)};")
    say(plan.remark)


def _print(store: BackendStore, report: DatabaseReport) -> None:
    print_facts("Database", store.describe())
    errors = [finding for finding in report.findings if finding.kind.is_error]
    advice = [finding for finding in report.findings if not finding.kind.is_error]
    _print_findings("Wrong" if errors else "No data is wrong", errors)
    if advice:
        _print_findings("Advice", advice)


def _print_findings(title: str, findings: Sequence[Finding]) -> None:
    say(title, style="bold")
    for finding in findings:
        say(f"  {finding.kind}: {shown(finding.place)}, {finding.count:,}: {shown(finding.message)}")
        say(f"    such as: {shown(finding.example)}")
        say(f"    remedy:  {shown(finding.remedy)}")


def _print_json(store: BackendStore, report: DatabaseReport) -> None:
    print_json(
        {
            "store": store.describe(),
            "revision": report.revision,
            "sound": report.is_sound,
            "findings": [
                {
                    "kind": finding.kind.value,
                    "severity": "error" if finding.kind.is_error else "advice",
                    "place": finding.place,
                    "message": finding.message,
                    "count": finding.count,
                    "example": finding.example,
                    "remedy": finding.remedy,
                }
                for finding in report.findings
            ],
        }
    )
