"""`holdall runs`."""

from __future__ import annotations

from typing import Annotated

import typer

from holdall.cli.codec import run_json
from holdall.cli.options import JsonOption, LimitOption, OrderByOption, PageTokenOption, StoreOption, View, ViewOption
from holdall.cli.output import print_json
from holdall.cli.paging import say_more, take
from holdall.cli.run_tables import print_history, print_run, print_runs
from holdall.cli.stores import all_experiments, find_experiment, open_for_reading
from holdall.stores.backend import BackendStore
from holdall.stores.entities import PagedList, Run, ViewType

__all__ = ["app"]

app = typer.Typer(help="Look at runs and search them.", no_args_is_help=True)

ExperimentOption = Annotated[
    list[str] | None,
    typer.Option("--experiment", "-e", metavar="NAME", help="Name or id; may be given again. Default: all."),
]
ColumnOption = Annotated[
    list[str] | None,
    typer.Option(
        "--column", "-c", metavar="NAME", help="Such as metrics.loss, params.lr or tags.team; may be given again."
    ),
]
RunArgument = Annotated[str, typer.Argument(metavar="RUN_ID")]


@app.callback()
def runs() -> None:
    """Look at runs and search them."""


@app.command("list")
def list_runs(
    store: StoreOption = None,
    experiment: ExperimentOption = None,
    view: ViewOption = View.ACTIVE,
    order_by: OrderByOption = None,
    column: ColumnOption = None,
    limit: LimitOption = 20,
    page_token: PageTokenOption = None,
    as_json: JsonOption = False,
) -> None:
    """List runs, the latest first."""
    search_runs("", store, experiment, view, order_by, column, limit, page_token, as_json)


@app.command("search")
def search_runs(
    filter_string: Annotated[
        str, typer.Argument(metavar="FILTER", help="Such as \"metrics.accuracy > 0.9 AND params.model = 'mlp'\".")
    ],
    store: StoreOption = None,
    experiment: ExperimentOption = None,
    view: ViewOption = View.ACTIVE,
    order_by: OrderByOption = None,
    column: ColumnOption = None,
    limit: LimitOption = 20,
    page_token: PageTokenOption = None,
    as_json: JsonOption = False,
) -> None:
    """Search runs in the filter language of all stores."""
    with open_for_reading(store) as opened:
        ids = _experiment_ids(opened, experiment, view)
        found: PagedList[Run] = take(
            lambda size, token: opened.search_runs(ids, filter_string, view.view_type, size, order_by, token),
            limit,
            page_token,
        )
    if as_json:
        print_json({"runs": list(map(run_json, found)), "next_page_token": found.token})
        return
    print_runs(found, column or [])
    say_more(len(found), found.token)


@app.command("show")
def show_run(
    run_id: RunArgument,
    store: StoreOption = None,
    history: Annotated[
        str | None, typer.Option("--history", metavar="METRIC", help="Show all points of one metric instead.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show all that is known of a run."""
    with open_for_reading(store) as opened:
        if history is not None:
            print_history(run_id, opened.get_metric_history(run_id, history), as_json=as_json)
            return
        run = opened.get_run(run_id)
    if as_json:
        print_json(run_json(run))
    else:
        print_run(run)


def _experiment_ids(store: BackendStore, named: list[str] | None, view: View) -> list[str]:
    if named:
        return [find_experiment(store, text).experiment_id for text in named]
    # Deleting an experiment deletes its runs: they are out of view only if deleted runs are.
    stages = ViewType.ACTIVE_ONLY if view is View.ACTIVE else ViewType.ALL
    return [experiment.experiment_id for experiment in all_experiments(store, stages)]
