"""Progress of files on their way."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from holdall.cli import transfers
from holdall.cli.transfers import TransferDisplay, show_transfers
from holdall.stores.transfers import TransferProgress


class Clock:
    """A clock that stands still until it is told to go on."""

    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(transfers, "time", clock)
    return clock


def open_console(monkeypatch: pytest.MonkeyPatch, *, terminal: bool) -> io.StringIO:
    output = io.StringIO()
    target = Console(file=output, force_terminal=terminal, width=160, markup=False, _environ={})
    monkeypatch.setattr(transfers, "console", lambda stderr: target)
    return output


def test_count_reports_of_interleaved_and_repeated_files_adds_each_byte_once() -> None:
    display = TransferDisplay()
    for report in (
        TransferProgress("a", 10, 30),
        TransferProgress("b", 5, 5),
        TransferProgress("a", 20, 30),
        TransferProgress("a", 0, 30),  # begun again
        TransferProgress("b", 5, 5, complete=True),
        TransferProgress("a", 30, 30),
        TransferProgress("a", 30, 30, complete=True),
        TransferProgress("c", 0, 0, complete=True),
        TransferProgress("d", 1, 7),
    ):
        display(report)
    assert (display.files, display.size, display.total_size) == (3, 36, 42)
    assert display.state.startswith("3 files, 36 B of 42 B, ")


def test_count_reports_of_many_files_keeps_only_those_under_way() -> None:
    display = TransferDisplay(20_000, 20_000)
    for number in range(20_000):
        display(TransferProgress(str(number), 1, 1))
        display(TransferProgress(str(number), 1, 1, complete=True))
        assert len(display._under_way) == 0
    assert (display.files, display.size, display.total_size) == (20_000, 20_000, 20_000)
    assert display.state.startswith("20,000 of 20,000 files, 19.5 KiB of 19.5 KiB, ")


def test_show_many_reports_draws_no_more_often_than_the_interval(clock: Clock) -> None:
    shown: list[float] = []

    class Counting(TransferDisplay):
        interval = 0.5

        def _show(self, report: TransferProgress) -> None:
            shown.append(clock.now)

    display = Counting()
    for number in range(1000):
        clock.now = 100 + number / 100
        display(TransferProgress("a", number, 1000))
    assert shown == pytest.approx([100.5 + index / 2 for index in range(19)])


def test_show_transfers_off_terminal_prints_a_line_for_each_file_and_now_and_then_the_state(
    monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    output = open_console(monkeypatch, terminal=False)
    with show_transfers(files=2, size=3 << 20) as progress:
        progress(TransferProgress("a\x1b[2J", 2048, 2048))
        progress(TransferProgress("a\x1b[2J", 2048, 2048, complete=True))
        clock.now += 10
        progress(TransferProgress("large", 1 << 20, 2 << 20))
        progress(TransferProgress("large", 2 << 20, 2 << 20))
    assert output.getvalue().splitlines() == ["a\\x1b[2J  2.0 KiB", "… 1 of 2 files, 1.0 MiB of 3.0 MiB, 102.6 KiB/s"]
    clock.now += 2
    assert progress.summary == "1 file, 2.0 MiB in 12.0 s (170.8 KiB/s)"


def test_show_transfers_off_terminal_quietly_prints_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    output = open_console(monkeypatch, terminal=False)
    with show_transfers(quiet=True) as progress:
        progress(TransferProgress("a", 1, 1, complete=True))
    assert (progress.files, output.getvalue()) == (1, "")


def test_show_transfers_on_terminal_draws_names_literally(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    output = open_console(monkeypatch, terminal=True)
    with show_transfers(files=7, size=1 << 20) as progress:
        clock.now += 1
        progress(TransferProgress("models/[/bold][red]x", 1 << 19, 1 << 20))
    drawn = output.getvalue()
    assert "models/[/bold][red]x" in drawn
    assert "0 of 7 files, 512.0 KiB of 1.0 MiB, 512.0 KiB/s" in drawn
