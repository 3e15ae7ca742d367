"""`holdall experiments`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from holdall.cli.codec import experiment_json
from holdall.cli.options import JsonOption, LimitOption, OrderByOption, PageTokenOption, StoreOption, View, ViewOption
from holdall.cli.output import make_table, print_json, print_table, shown, shown_time
from holdall.cli.paging import say_more, take
from holdall.cli.stores import open_for_reading
from holdall.stores.entities import Experiment

__all__ = ["app"]

app = typer.Typer(help="Look at experiments.", no_args_is_help=True)


@app.callback()
def experiments() -> None:
    """Look at experiments."""


@app.command("list")
def list_experiments(
    filter_string: Annotated[
        str, typer.Option("--filter", metavar="FILTER", help="Such as \"name LIKE 'digits%'\".")
    ] = "",
    store: StoreOption = None,
    view: ViewOption = View.ACTIVE,
    order_by: OrderByOption = None,
    limit: LimitOption = 100,
    page_token: PageTokenOption = None,
    as_json: JsonOption = False,
) -> None:
    """List experiments, the newest first."""
    with open_for_reading(store) as opened:
        found = take(
            lambda size, token: opened.search_experiments(view.view_type, size, filter_string, order_by, token),
            limit,
            page_token,
        )
    if as_json:
        print_json({"experiments": list(map(experiment_json, found)), "next_page_token": found.token})
        return
    _print(found)
    say_more(len(found), found.token)


def _print(experiments: Sequence[Experiment]) -> None:
    table = make_table("id", "name", "stage", "created (UTC)", "artifacts", right=["id"])
    for item in experiments:
        created = shown_time(item.creation_time)
        table.add_row(
            item.experiment_id, shown(item.name), item.lifecycle_stage, created, shown(item.artifact_location)
        )
    print_table(table)
