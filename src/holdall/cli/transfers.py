"""Progress of files on their way: a bar on a terminal, plain lines elsewhere, on standard error."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from holdall.cli.output import console, shown, shown_size
from holdall.stores.transfers import TransferProgress

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

__all__ = ["TransferDisplay", "show_transfers", "shown_files"]

BAR_INTERVAL = 0.1
"""Seconds between two states of the bar."""

LINE_INTERVAL = 10.0
"""Seconds between two lines that tell the state, where there is no bar."""

NAME_WIDTH = 40
"""Characters of a name beside the bar: its last ones."""


class TransferDisplay:
    """A progress callback that counts; what it is told costs the same however many files there are.

    Args:
        files: How many are expected; None if that is not known.
        size: How many bytes are expected; None for those of the files seen so far.

    Attributes:
        interval: Seconds between two calls of `_show`, at the least.
        files: Finished files.
        size: Bytes moved.
    """

    interval = LINE_INTERVAL

    def __init__(self, files: int | None = None, size: int | None = None) -> None:
        self._expected_files, self._expected_size = files, size
        self._under_way: dict[str, TransferProgress] = {}
        self._seen_size = 0
        self._start = self._shown_at = time.monotonic()
        self.files = 0
        self.size = 0

    def __call__(self, report: TransferProgress) -> None:
        """Take a report."""
        before = self._under_way.pop(report.path, None)
        self.size += report.bytes_done - (before.bytes_done if before else 0)
        self._seen_size += report.bytes_total - (before.bytes_total if before else 0)
        if report.complete:
            self.files += 1
            self._finish(report)
        else:
            self._under_way[report.path] = report
        now = time.monotonic()
        if now - self._shown_at >= self.interval:
            self._shown_at = now
            self._show(report)

    @property
    def seconds(self) -> float:
        """Time since the start."""
        return time.monotonic() - self._start

    @property
    def total_size(self) -> int:
        """Bytes expected, as far as that is known."""
        return self._seen_size if self._expected_size is None else max(self._expected_size, self.size)

    @property
    def speed(self) -> str:
        """Bytes per second since the start, for people."""
        return f"{shown_size(round(self.size / max(self.seconds, 1e-3)))}/s"

    @property
    def state(self) -> str:
        """How far everything has come, for people."""
        files = shown_files(self.files)
        if self._expected_files is not None:
            files = f"{self.files:,} of {shown_files(self._expected_files)}"
        return f"{files}, {shown_size(self.size)} of {shown_size(self.total_size)}, {self.speed}"

    @property
    def summary(self) -> str:
        """What was moved, and how fast, for people."""
        return f"{shown_files(self.files)}, {shown_size(self.size)} in {self.seconds:.1f} s ({self.speed})"

    def _show(self, report: TransferProgress) -> None:
        """Show the state, of which `report` is the latest news."""

    def _finish(self, report: TransferProgress) -> None:
        """Show that a file is finished."""


class _Lines(TransferDisplay):
    """A line for each finished file, and now and then one for all; written past `rich`, which takes its time."""

    def __init__(self, target: Console, files: int | None, size: int | None) -> None:
        super().__init__(files, size)
        self._target = target

    def _show(self, report: TransferProgress) -> None:
        self._target.file.write(f"… {self.state}\n")

    def _finish(self, report: TransferProgress) -> None:
        self._target.file.write(f"{shown(report.path)}  {shown_size(report.bytes_total)}\n")


class _Bar(TransferDisplay):
    """One bar over the bytes of all files."""

    interval = BAR_INTERVAL

    def __init__(self, bar: Progress, files: int | None, size: int | None) -> None:
        super().__init__(files, size)
        self._bar = bar
        self._task = bar.add_task("", total=size, state="")

    def _show(self, report: TransferProgress) -> None:
        label = shown(report.path)[-NAME_WIDTH:]
        self._bar.update(self._task, description=label, completed=self.size, total=self.total_size, state=self.state)


@contextmanager
def show_transfers(
    *, files: int | None = None, size: int | None = None, quiet: bool = False
) -> Iterator[TransferDisplay]:
    """Give a callback that shows what it is told while the block runs.

    Args:
        files: How many are expected; None if that is not known.
        size: How many bytes are expected; None if that is not known.
        quiet: Print no lines where there is no terminal.
    """
    target = console(stderr=True)
    if not target.is_terminal:
        yield TransferDisplay(files, size) if quiet else _Lines(target, files, size)
        return
    with _new_bar(target) as bar:
        yield _Bar(bar, files, size)


def _new_bar(target: Console) -> Progress:
    from rich.progress import BarColumn, Progress, TextColumn

    # Names are data, never markup.
    name, state = TextColumn("{task.description}", markup=False), TextColumn("{task.fields[state]}", markup=False)
    return Progress(name, BarColumn(), state, console=target, transient=True)


def shown_files(count: int) -> str:
    """A number of files, for people."""
    return f"{count:,} file" if count == 1 else f"{count:,} files"
