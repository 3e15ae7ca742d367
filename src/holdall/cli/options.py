"""Options that several commands share."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from holdall.stores.entities import ViewType

__all__ = [
    "DryRunOption",
    "JsonOption",
    "LimitOption",
    "OrderByOption",
    "PageTokenOption",
    "PathArgument",
    "RecursiveOption",
    "StoreOption",
    "TargetArgument",
    "View",
    "ViewOption",
]


class View(StrEnum):
    """Which lifecycle stages to look at, as written on the command line."""

    ACTIVE = "active"
    DELETED = "deleted"
    ALL = "all"

    @property
    def view_type(self) -> ViewType:
        """The same as stores name it."""
        return {View.ACTIVE: ViewType.ACTIVE_ONLY, View.DELETED: ViewType.DELETED_ONLY, View.ALL: ViewType.ALL}[self]


StoreOption = Annotated[
    str | None,
    typer.Option(
        "--store",
        "-s",
        metavar="URI",
        help="Backend store. Default: MLFLOW_TRACKING_URI, else ./mlruns or ./mlflow.db.",
        show_default=False,
    ),
]
TargetArgument = Annotated[
    str, typer.Argument(metavar="RUN_ID|URI", help="A run id, RUN_ID:path, or an artifact URI or path.")
]
PathArgument = Annotated[str | None, typer.Argument(metavar="[PATH]", help="File or folder; default: everything.")]
RecursiveOption = Annotated[bool, typer.Option("--recursive", "-r", help="Folders, with all they hold.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", "-n", help="Say what would be done, and do nothing.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print strict JSON.")]
ViewOption = Annotated[View, typer.Option("--view", help="Lifecycle stages to look at.")]
LimitOption = Annotated[int, typer.Option("--limit", "-n", min=0, help="Greatest number to show; 0 for all.")]
OrderByOption = Annotated[
    list[str] | None,
    typer.Option("--order-by", metavar="CLAUSE", help="Such as 'metrics.loss ASC'; may be given again."),
]
PageTokenOption = Annotated[str | None, typer.Option("--page-token", metavar="TOKEN", help="Go on after this page.")]
