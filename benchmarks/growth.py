"""How times grow with the number of runs, against MLflow on the same database server: `python -m benchmarks.growth`.

Fills new databases with 1,000, 10,000 and 100,000 runs, and measures the same calls on each. Writes a table in Markdown
and a plot for the documentation.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from benchmarks.measure import Result
from benchmarks.peer import BenchmarkError
from benchmarks.populate.server import KEYS, PRODUCTS, STEPS
from benchmarks.report import duration, machine
from benchmarks.session import Comparison, Found
from benchmarks.suites import SUITES
from benchmarks.workload import Scale

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["main"]

WORK = Path("build") / "benchmarks"
PAGES = Path("docs") / "pages"
SIZES = (1_000, 10_000, 100_000)
OPERATIONS = ("best_runs", "first_page", "by_param", "get_run", "log_metric")
_SIDES = {"holdall": ("holdall", "#2f8fd8", "o-"), "mlflow": ("MLflow", "#d9822b", "s--")}
"""What a side is called, its colour on light and dark ground alike, its marks."""

_INK = "#888888"

Growth = Mapping[int, Found]
"""What was found, by number of runs."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, write both files, and return the exit code: 2 on failure."""
    options = _parse(arguments)
    try:
        growth = {runs: _measure(options, runs) for runs in options.sizes}
    except BenchmarkError as error:
        Console(stderr=True).print(f"error: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        return 2
    options.output.mkdir(parents=True, exist_ok=True)
    table = options.output / f"growth-{options.store}.md"
    table.write_text(_markdown(growth, options.latency), encoding="utf-8")
    _plot(growth, table.with_suffix(".svg"))
    print(table.read_text(encoding="utf-8"))
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__)
    parser.add_argument("--store", choices=PRODUCTS, default=PRODUCTS[0], help="default: %(default)s")
    parser.add_argument("--sides", type=lambda text: text.split(","), default=list(_SIDES), help="comma-separated")
    parser.add_argument(
        "--sizes",
        type=lambda text: tuple(map(int, text.split(","))),
        default=SIZES,
        help="numbers of runs, comma-separated; default: %(default)s",
    )
    parser.add_argument("--rounds", type=int, help="rounds of every operation; default: each operation's own number")
    parser.add_argument("--latency", type=float, default=0.0, metavar="MS", help="milliseconds to the server and back")
    parser.add_argument("--output", type=Path, default=PAGES, help="folder of both files; default: %(default)s")
    parser.add_argument("--mlflow-python", type=Path, metavar="FILE", help="interpreter that has MLflow 3.17.2")
    parser.add_argument("--work-dir", type=Path, default=WORK, help="for what is deleted; default: %(default)s")
    return parser.parse_args(arguments)


def _measure(options: argparse.Namespace, runs: int) -> Found:
    suite = SUITES[options.store]
    return Comparison(
        suite,
        options.sides,
        [suite.operations[name] for name in OPERATIONS],
        Scale(runs, points=1),
        options.work_dir,
        options.rounds,
        options.mlflow_python,
        latency=options.latency / 1000,
    ).run()


def _by_operation(growth: Growth) -> Iterator[tuple[str, dict[int, Result]]]:
    """Titles, and results by number of runs."""
    for results in zip(*(found.results for found in growth.values()), strict=True):
        yield results[0].operation.title, dict(zip(growth, results, strict=True))


def _markdown(growth: Growth, latency: float) -> str:
    sizes = [f"{runs:,} runs" for runs in growth]
    rows = [["operation", "store", *sizes], ["---", "---", *["---:"] * len(sizes)]]
    for title, results in _by_operation(growth):
        for side, (name, _, _) in _SIDES.items():
            if side in next(iter(results.values())).seconds:
                rows.append([title, name, *(duration(result.median(side)) for result in results.values())])
        ratios = [result.times_faster("mlflow") for result in results.values()]
        if None not in ratios:
            rows.append(["", "×", *(f"{ratio:.1f}×" for ratio in ratios if ratio is not None)])
    far = [f"{latency:g} ms to the server and as many back"] if latency else []
    versions = next(iter(growth.values())).versions.values()
    conditions = "; ".join([*versions, f"{KEYS * STEPS} points a run", *far, machine()])
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([*lines, "", f"{conditions}. Median time of a call.", ""])


def _plot(growth: Growth, file: Path) -> None:
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(
        {
            "axes.edgecolor": _INK,
            "axes.labelcolor": _INK,
            "font.size": 9,
            "svg.fonttype": "none",
            "svg.hashsalt": "holdall",
            "text.color": _INK,
            "xtick.color": _INK,
            "ytick.color": _INK,
        }
    ):
        parts = list(_by_operation(growth))
        figure = Figure(figsize=(3.0 * 3, 2.6 * 2), layout="constrained")
        grid = figure.subplots(2, 3, sharex=True, sharey=True).flat
        for axes, (title, results) in zip(grid, parts, strict=False):
            _draw(axes, title, results)
        legend = grid[len(parts)]
        legend.axis("off")
        legend.legend(*grid[0].get_legend_handles_labels(), loc="center", frameon=False)
        figure.supxlabel("runs in the experiment", color=_INK)
        figure.supylabel("time of a call, ms", color=_INK)
        figure.savefig(file, transparent=True, metadata={"Date": None})


def _draw(axes: Axes, title: str, results: Mapping[int, Result]) -> None:
    axes.set_title(title, fontsize=9)
    for side, (name, colour, style) in _SIDES.items():
        times = [result.median(side) for result in results.values()]
        shown = [time * 1000 for time in times if time is not None]
        if shown:
            axes.loglog(list(results), shown, style, color=colour, label=name, markersize=4)
    axes.grid(color=_INK, alpha=0.25, linewidth=0.5)
    for edge in ("top", "right"):
        axes.spines[edge].set_visible(False)


if __name__ == "__main__":
    sys.exit(main())
