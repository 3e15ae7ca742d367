"""`holdall artifacts`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from holdall.cli.codec import file_json
from holdall.cli.options import JsonOption, StoreOption
from holdall.cli.output import make_table, print_json, print_table, say, shown, shown_size
from holdall.cli.stores import open_artifacts
from holdall.cli.transfers import show_transfers

__all__ = ["app"]

app = typer.Typer(help="List, fetch and add files of runs.", no_args_is_help=True)

TargetArgument = Annotated[str, typer.Argument(metavar="RUN_ID|URI", help="A run id, or an artifact URI or path.")]
PathArgument = Annotated[str | None, typer.Argument(metavar="[PATH]", help="File or folder; default: everything.")]


@app.callback()
def artifacts() -> None:
    """List, fetch and add files of runs."""


@app.command("list")
def list_artifacts(
    target: TargetArgument,
    path: PathArgument = None,
    store: StoreOption = None,
    recursive: Annotated[bool, typer.Option("--recursive", "-r", help="Folders in folders too.")] = False,
    as_json: JsonOption = False,
) -> None:
    """List files and folders."""
    with open_artifacts(target, store, read_only=True) as opened:
        found = [opened.stat(path)] if path else []
        if not found or found[0].is_dir:
            found = list(opened.walk(path)) if recursive else opened.list_artifacts(path)
    if as_json:
        print_json({"files": list(map(file_json, found))})
        return
    table = make_table("path", "size", right=["size"])
    for info in found:
        table.add_row(shown(info.path) + ("/" if info.is_dir else ""), shown_size(info.file_size))
    print_table(table)


@app.command("get")
def get_artifacts(
    target: TargetArgument,
    path: PathArgument = None,
    to: Annotated[Path, typer.Option("--to", metavar="FOLDER", file_okay=False, help="Made if need be.")] = Path(),
    store: StoreOption = None,
) -> None:
    """Fetch a file, or a folder with all it holds."""
    with open_artifacts(target, store, read_only=True) as opened, show_transfers() as progress:
        local = opened.download_artifacts(path, to, progress=progress)
    say(f"fetched to {shown(str(local))}")


@app.command("put")
def put_artifacts(
    target: TargetArgument,
    local: Annotated[Path, typer.Argument(metavar="LOCAL", help="File or folder on this machine.")],
    path: Annotated[
        str | None, typer.Argument(metavar="[FOLDER]", help="Folder to put it in; default: the root.")
    ] = None,
    store: StoreOption = None,
) -> None:
    """Add a file, or a folder with all it holds."""
    with open_artifacts(target, store, read_only=False) as opened, show_transfers() as progress:
        opened.log_artifact(local, path, progress=progress)
        say(f"added to {shown(str(opened.uri))}")
