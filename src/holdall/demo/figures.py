"""The pictures of the demo; no pyplot, so no display and no global state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from holdall.demo.data import Part

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["draw_confusion_matrix", "draw_curves"]


def draw_confusion_matrix(model: Any, part: Part, title: str) -> Figure:
    """Which digits are taken for which."""
    from sklearn.metrics import confusion_matrix

    counts = confusion_matrix(part.digits, model.predict(part.pixels), labels=range(10))
    figure = _new_figure()
    axes = figure.add_subplot(title=title, xlabel="predicted digit", ylabel="true digit")
    axes.imshow(counts, cmap="Blues")
    axes.set_xticks(range(10))
    axes.set_yticks(range(10))
    for row in range(10):
        for column in range(10):
            if counts[row, column]:
                color = "white" if counts[row, column] > counts.max() / 2 else "black"
                axes.text(column, row, str(counts[row, column]), ha="center", va="center", color=color)
    return figure


def draw_curves(curves: Mapping[str, Sequence[float]], title: str, ylabel: str) -> Figure:
    """A line for each name, by epoch."""
    figure = _new_figure()
    axes = figure.add_subplot(title=title, xlabel="epoch", ylabel=ylabel)
    for name, values in curves.items():
        axes.plot(range(1, len(values) + 1), values, label=name)
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    return figure


def _new_figure() -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(6, 5), dpi=80)
