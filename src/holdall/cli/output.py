"""What commands print: tables for people, strict JSON for programs, messages on standard error."""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

__all__ = [
    "console",
    "is_terminal",
    "make_table",
    "print_facts",
    "print_json",
    "print_lines",
    "print_table",
    "say",
    "say_error",
    "shown",
    "shown_duration",
    "shown_number",
    "shown_size",
    "shown_time",
]

Align = Literal["left", "right"]

PIPE_WIDTH = 100_000
"""Columns of an output that is no terminal: lines are never broken there."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def console(*, stderr: bool = False) -> Console:
    """A console that takes text literally: what stores hold is data, never markup."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else PIPE_WIDTH
    return Console(stderr=stderr, width=width, markup=False, highlight=False, emoji=False)


def is_terminal() -> bool:
    """Whether somebody is there to answer."""
    return sys.stdin.isatty()


def say(message: str = "", style: str | None = None) -> None:
    """Print a line for people."""
    console().print(message, style=style, soft_wrap=True)


def say_error(message: str) -> None:
    """Print one red line on standard error."""
    console(stderr=True).print(f"Error: {shown(message)}", style="bold red", soft_wrap=True)


def print_json(value: object) -> None:
    """Print strict JSON: numbers that it lacks are the texts `NaN`, `Infinity` and `-Infinity`."""
    sys.stdout.write(json.dumps(_strict(value), indent=2, allow_nan=False) + "\n")


def print_lines(lines: Iterable[str]) -> None:
    """Print many lines, faster than a table can be made of them."""
    sys.stdout.writelines(f"{line}\n" for line in lines)


def make_table(*columns: str, title: str | None = None, right: Iterable[str] = (), whole: Iterable[str] = ()) -> Table:
    """A table: with lines on a terminal, in bare columns elsewhere.

    Args:
        columns: Headings.
        title: Printed above.
        right: Headings of the columns that are aligned to the right.
        whole: Headings of the columns that are never broken, such as ids that people copy.
    """
    from rich import box
    from rich.table import Table

    lines = box.SIMPLE_HEAD if sys.stdout.isatty() else None
    table = Table(title=title, title_justify="left", title_style="bold", box=lines, pad_edge=False)
    for column in columns:
        align: Align = "right" if column in right else "left"
        table.add_column(column, justify=align, overflow="fold", no_wrap=column in whole)
    return table


def print_table(table: Table) -> None:
    """Print a table, elsewhere than on a terminal without blanks at the ends of lines."""
    target = console()
    if target.is_terminal:
        target.print(table)
        return
    with target.capture() as captured:
        target.print(table)
    sys.stdout.writelines(line.rstrip() + "\n" for line in captured.get().splitlines())


def print_facts(title: str, facts: Mapping[str, str]) -> None:
    """Print names and values below a title; nothing if there are none."""
    if not facts:
        return
    from rich.table import Table

    table = Table(title=title, title_justify="left", title_style="bold", box=None, show_header=False, pad_edge=False)
    table.add_column(style="cyan" if sys.stdout.isatty() else "", overflow="fold")
    table.add_column(overflow="fold")
    for name, value in facts.items():
        table.add_row(f"  {shown(name)}", shown(value))
    print_table(table)


def shown(text: str) -> str:
    """Text in one line, fit for a terminal: control characters, escape sequences among them, are spelled out."""
    return _CONTROL.sub(lambda match: match.group().encode("unicode_escape").decode("ascii"), text)


def shown_number(value: float | None) -> str:
    """A metric value, to six significant digits; '' for None."""
    return "" if value is None else f"{value:.6g}"


def shown_time(milliseconds: int | None) -> str:
    """A point in time in UTC; '' for None, the number itself where no calendar reaches."""
    if milliseconds is None:
        return ""
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
    except (OverflowError, OSError, ValueError):
        return f"{milliseconds} ms"


def shown_duration(start: int | None, end: int | None) -> str:
    """Time between two points in time, given in milliseconds; '' if one is missing."""
    if start is None or end is None:
        return ""
    seconds = (end - start) / 1000
    if abs(seconds) < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"


def shown_size(size: int | None) -> str:
    """A number of bytes; '' for None."""
    if size is None:
        return ""
    amount = float(size)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{amount:.0f} B" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TiB"


def _strict(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, Mapping):
        return {str(key): _strict(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_strict(item) for item in value]
    return value
