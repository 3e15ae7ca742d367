"""`holdall conformance`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from holdall.cli.options import JsonOption
from holdall.cli.output import console, make_table, print_json, print_table, say, shown
from holdall.stores import StoreURI, known_schemes

if TYPE_CHECKING:
    from holdall.conformance_tests.matrix import ConformanceReport, SectionSummary, TestRecord

__all__ = ["conformance"]

LINE_EVERY = 100
"""Tests between two lines of progress, where there is no terminal."""

VERDICT_STYLES = {"passed": "green", "failed": "bold red", "skipped": "dim"}


class Profile(StrEnum):
    """How long the comparison with the memory store takes."""

    DEFAULT = "default"
    CI = "ci"
    NIGHTLY = "nightly"


def conformance(
    uri: Annotated[
        str | None,
        typer.Argument(
            metavar="[URI]",
            help="Backend store, or an artifact store whose scheme is that of no backend, such as s3://bucket. "
            "'{tmp}' in it is a fresh folder of each test: sqlite:///{tmp}/runs.db",
        ),
    ] = None,
    artifact_uri: Annotated[
        str | None, typer.Option(metavar="URI", help="Artifact store to test; '{tmp}' as above.")
    ] = None,
    artifact_root: Annotated[
        str | None, typer.Option(metavar="URI", help="Artifact root to open the backend with.")
    ] = None,
    keyword: Annotated[str | None, typer.Option("-k", metavar="TEXT", help="Only tests whose names match.")] = None,
    profile: Annotated[Profile, typer.Option(help="How long to compare with the memory store.")] = Profile.DEFAULT,
    workers: Annotated[int, typer.Option(min=0, help="Processes; more than 0 need pytest-xdist.")] = 0,
    details: Annotated[bool, typer.Option("--details", help="Print what pytest printed.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Run the public conformance suite against stores, and print what passes.

    Without '{tmp}' in a URI the tests write into the store itself: into a backend under names of their own, into an
    artifact store in scratch folders that they remove.
    """
    from holdall.conformance_tests.runner import run_conformance

    if uri is not None and artifact_uri is None and _keeps_artifacts_only(uri):
        uri, artifact_uri = None, uri
    with _show_progress() as on_record:
        report = run_conformance(
            uri,
            artifact_uri,
            artifact_root=artifact_root,
            keyword=keyword,
            profile=profile.value,
            workers=workers,
            on_record=on_record,
        )
    if as_json:
        print_json(report.to_dict())
    else:
        _print(report, details=details)
    if not report.ok:
        raise typer.Exit(1)


def _keeps_artifacts_only(uri: str) -> bool:
    scheme = StoreURI.parse(uri).scheme
    return scheme in known_schemes("artifact") and scheme not in known_schemes("backend")


@contextmanager
def _show_progress() -> Iterator[Callable[[TestRecord], None]]:
    """Count results on standard error: in place on a terminal, a line now and then elsewhere."""
    target = console(stderr=True)
    done = failed = 0
    with target.status("starting") as status:

        def count(record: TestRecord) -> None:
            nonlocal done, failed
            done += 1
            failed += record.outcome == "failed"
            line = f"{done} tests, {failed} failed, now: {record.section}"
            status.update(line)
            if not target.is_terminal and done % LINE_EVERY == 0:
                target.print(line)

        yield count


def _print(report: ConformanceReport, *, details: bool) -> None:
    say(", ".join(filter(None, [report.backend_uri, report.artifact_uri])), style="bold")
    _print_matrix("section", [*report.sections(), report.total()])
    if report.capabilities():
        _print_matrix("capability", report.capabilities())
    for reason, count in sorted(report.total().reasons.items()):
        say(f"not asked, {count}: {shown(reason)}")
    for record in report.failures():
        lines = record.reason.strip().splitlines()
        say(f"failed: {record.suite}::{record.test}: {shown(lines[-1] if lines else '')}", style="red")
    if details or (not report.ok and not report.failures()):
        say(report.output)


def _print_matrix(title: str, rows: Sequence[SectionSummary]) -> None:
    from rich.text import Text

    counts = ("passed", "failed", "skipped", "excluded")
    table = make_table(title, *counts, "verdict", right=counts)
    for row in rows:
        numbers = map(str, (row.passed, row.failed, row.skipped, row.excluded))
        table.add_row(row.name, *numbers, Text(row.verdict, style=VERDICT_STYLES[row.verdict]))
    print_table(table)
