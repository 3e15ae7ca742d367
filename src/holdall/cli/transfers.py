"""Progress of files on their way: a bar on a terminal, a line per file elsewhere, on standard error."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from holdall.cli.output import console, shown, shown_size
from holdall.stores.transfers import ProgressCallback, TransferProgress

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["show_transfers"]


@contextmanager
def show_transfers() -> Iterator[ProgressCallback]:
    """Give a callback that shows what it is told while the block runs."""
    target = console(stderr=True)
    if target.is_terminal:
        with _bar(target) as callback:
            yield callback
    else:
        yield lambda report: _say_complete(target, report)


def _say_complete(target: Console, report: TransferProgress) -> None:
    if report.complete:
        target.print(f"{shown(report.path)}  {shown_size(report.bytes_total)}", soft_wrap=True)


@contextmanager
def _bar(target: Console) -> Iterator[ProgressCallback]:
    """One bar over the bytes of all files seen so far."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    done: dict[str, int] = {}
    totals: dict[str, int] = {}
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=target, transient=True) as bar:
        task = bar.add_task("")

        def report(progress: TransferProgress) -> None:
            done[progress.path], totals[progress.path] = progress.bytes_done, progress.bytes_total
            bar.update(task, description=shown(progress.path), completed=sum(done.values()), total=sum(totals.values()))

        yield report
