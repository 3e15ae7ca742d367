"""How far the benchmark has come: a bar on a terminal, a line per operation elsewhere."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

__all__ = ["Progress"]


class Progress:
    """Counts rounds on standard error.

    Args:
        total: Rounds of all operations.
    """

    def __init__(self, total: int) -> None:
        console = Console(stderr=True)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._plain = None if console.is_terminal else console
        self._bar = Bar(*columns, console=console, transient=True, disable=self._plain is not None)
        self._task = self._bar.add_task("", total=total)
        self._said = ""

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def say(self, text: str) -> None:
        """Tell what is being done now."""
        self._bar.update(self._task, description=text)
        if self._plain is not None and text != self._said:
            self._plain.print(text, highlight=False, markup=False, soft_wrap=True)
        self._said = text

    def advance(self, text: str) -> None:
        """One round of `text` is done."""
        self.say(text)
        self._bar.advance(self._task)
