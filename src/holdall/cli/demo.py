"""`holdall demo`."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from holdall.cli.output import console, make_table, print_facts, print_table, say, shown, shown_number
from holdall.stores.uri import StoreURI

if TYPE_CHECKING:
    from holdall.demo import DemoReport, Trial
    from holdall.demo.grid import Grid
    from holdall.stores.entities import Run

__all__ = ["demo"]

COLUMNS = ("val_accuracy", "test_accuracy", "test_f1_macro", "test_loss")


def demo(
    store: Annotated[
        str | None,
        typer.Option(
            "--store", "-s", metavar="URI", help="Backend store to log to. Default: that of the fluent calls."
        ),
    ] = None,
    artifacts: Annotated[
        str | None, typer.Option("--artifacts", metavar="URI", help="Where artifacts go. Default: the store's choice.")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Train two small models only.")] = False,
) -> None:
    """Train models on real data, log everything, and show what came of it."""
    import holdall
    from holdall.demo import require_packages, run_sweep
    from holdall.demo.grid import Grid

    require_packages()
    if store is not None:
        holdall.set_tracking_uri(store)
    grid = Grid.quick() if quick else Grid.full()
    with holdall.Client() as client, _show_trials(grid) as tell:
        where = client.store.describe()
        keeps = client.store.capabilities.persistent
        say(f"{'created' if client.store.created else 'opened'} {where['uri']}")
        say(f"training {len(grid.candidates)} models on the digits data, {grid.epochs} epochs each")
        report = run_sweep(artifacts, grid, tell)
    say()
    _print_leaderboard(report.leaderboard)
    say()
    print_facts("Where everything lies", _places(where["uri"], report))
    say()
    if keeps:
        say("What to try next", style="bold")
        for command in _next_commands(store, report):
            say(f"  {command}")
    else:
        say("This store lives in memory: it is gone when this command ends. Try --store sqlite:///demo.db")


@contextmanager
def _show_trials(grid: Grid) -> Iterator[Callable[[Trial], None]]:
    """Show progress: a bar on a terminal, a line per finished candidate elsewhere."""
    target = console()
    if not target.is_terminal:
        yield _say_trial
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=target, transient=True) as bar:
        task = bar.add_task("loading the data", total=len(grid.candidates) * grid.epochs)

        def tell(trial: Trial) -> None:
            accuracy = shown_number(trial.metrics["val_accuracy"])
            step = 0 if trial.finished else 1
            bar.update(task, advance=step, description=f"{trial.name}  val_accuracy {accuracy}")

        yield tell


def _say_trial(trial: Trial) -> None:
    if trial.finished:
        chosen = (f"{key} {shown_number(trial.metrics[key])}" for key in ("val_accuracy", "test_accuracy"))
        say("  ".join([trial.name, *chosen]))


def _print_leaderboard(runs: Sequence[Run]) -> None:
    title = "Leaderboard: search_runs ordered by validation accuracy"
    table = make_table("", "run", *COLUMNS, title=title, right=["", *COLUMNS])
    for place, run in enumerate(runs, start=1):
        metrics = (f"{run.data.metrics[key]:.4f}" for key in COLUMNS)
        table.add_row(str(place), shown(run.info.run_name), *metrics)
    print_table(table)


def _places(uri: str, report: DemoReport) -> dict[str, str]:
    best = report.leaderboard[0].info
    experiment = report.experiment
    return {
        "store": uri,
        "experiment": f"{experiment.name} (id {experiment.experiment_id})",
        "sweep": report.parent_run_id,
        "artifacts": str(StoreURI.parse(experiment.artifact_location)),
        "best run": f"{best.run_name} ({best.run_id})",
        "its artifacts": str(StoreURI.parse(best.artifact_uri)),
    }


def _next_commands(store: str | None, report: DemoReport) -> list[str]:
    best = report.leaderboard[0].info.run_id
    named = [] if store is None else ["--store", str(StoreURI.parse(store))]
    commands = [
        ["runs", "search", "metrics.val_accuracy > 0.95", "--order-by", "metrics.val_loss ASC", *named],
        ["runs", "show", best, *named],
        ["runs", "show", best, "--history", "val_loss", *named],
        ["artifacts", "ls", best, "--recursive", *named],
        ["artifacts", "get", best, "plots/confusion_matrix.png", *named],
        ["info", *named[1:]],
    ]
    return [shlex.join(["holdall", *words]) for words in commands]
