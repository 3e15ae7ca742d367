"""The commands of `holdall artifacts` that move files: `cp`, `get`, `put`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from holdall.artifacts.copying import CopyPlan, plan_copy
from holdall.cli.locations import locate_operand, locate_target, open_location, open_target
from holdall.cli.options import DryRunOption, JsonOption, PathArgument, RecursiveOption, StoreOption, TargetArgument
from holdall.cli.output import print_json, print_lines, say, shown, shown_size
from holdall.cli.transfers import TransferDisplay, show_transfers, shown_files
from holdall.stores import open_artifact_store

__all__ = ["cp", "get", "put"]

_PLACE = "A path, an artifact URI, or RUN_ID:path."


def cp(
    source: Annotated[str, typer.Argument(metavar="SRC", help=_PLACE)],
    target: Annotated[str, typer.Argument(metavar="DST", help=_PLACE)],
    recursive: RecursiveOption = False,
    exact: Annotated[
        bool, typer.Option("--no-target-directory", "-T", help="DST is the name of the copy, also if it is a folder.")
    ] = False,
    dry_run: DryRunOption = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Copy a file, or with -r a folder, from any store to any other.

    If DST is a folder, or ends with a slash, the copy goes into it under its
    own name; otherwise DST is its name. What has no name, such as a bucket,
    RUN_ID: or `.`, goes there without a folder of its own.
    """
    start, end = locate_operand(source, store), locate_operand(target, store)
    with open_location(start, read_only=True, missing_is_folder=False) as (opened, inner):
        start.require_kind(opened.stat(inner), recursive=recursive)
        with open_location(end, read_only=dry_run, missing_is_folder=end.is_folder) as (destination, path):
            if not path and not exact:
                path = start.name
            plan = plan_copy(opened, inner, destination, path)
            if dry_run:
                _tell_plan(plan, as_json)
            else:
                _run(plan, as_json)


def get(
    target: TargetArgument,
    path: PathArgument = None,
    to: Annotated[Path, typer.Option("--to", metavar="FOLDER", file_okay=False, help="Made if need be.")] = Path(),
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Fetch a file, or a folder with all it holds."""
    with open_target(target, path, store) as (opened, inner), show_transfers(quiet=as_json) as progress:
        local = opened.download_artifacts(inner, to, progress=progress)
    _tell_moved(progress, "fetched to", str(local), as_json)


def put(
    target: TargetArgument,
    local: Annotated[Path, typer.Argument(metavar="LOCAL", help="File or folder on this machine.")],
    path: Annotated[
        str | None, typer.Argument(metavar="[FOLDER]", help="Folder to put it in; default: the root.")
    ] = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Add a file, or a folder with all it holds."""
    root = locate_target(target, store).whole
    with open_artifact_store(root, read_only=False) as opened, show_transfers(quiet=as_json) as progress:
        opened.log_artifact(local, path, progress=progress)
    _tell_moved(progress, "added to", str(opened.uri), as_json)


def _run(plan: CopyPlan, as_json: bool) -> None:
    with show_transfers(files=len(plan.files), size=plan.size, quiet=as_json) as progress:
        report = plan.run(progress)
    if as_json:
        left_out = {"folders_left_out": report.left_out}
        print_json({**_figures(progress), "folders": report.folders, **left_out, "dry_run": False})
        return
    _tell_left_out(plan)
    say(f"copied {progress.summary}")


def _tell_plan(plan: CopyPlan, as_json: bool) -> None:
    if as_json:
        figures = {"files": len(plan.files), "bytes": plan.size, "folders": len(plan.folders)}
        items = [{"source": file.source, "target": file.target, "bytes": file.size} for file in plan.files]
        print_json({**figures, "folders_left_out": plan.left_out, "dry_run": True, "items": items})
        return
    print_lines(f"{shown(file.source)} → {shown(file.target)}  {shown_size(file.size)}" for file in plan.files)
    _tell_left_out(plan)
    say(f"would copy {shown_files(len(plan.files))}, {shown_size(plan.size)}, to {shown(str(plan.target.uri))}")


def _tell_left_out(plan: CopyPlan) -> None:
    if plan.left_out:
        count = len(plan.left_out)
        what = "1 empty folder is" if count == 1 else f"{count:,} empty folders are"
        say(f"{what} left out: {shown(str(plan.target.uri))} keeps none")


def _tell_moved(progress: TransferDisplay, what: str, where: str, as_json: bool) -> None:
    if as_json:
        print_json({**_figures(progress), "place": where})
    else:
        say(f"{what} {shown(where)}: {progress.summary}")


def _figures(progress: TransferDisplay) -> dict[str, object]:
    return {"files": progress.files, "bytes": progress.size, "seconds": round(progress.seconds, 3)}
