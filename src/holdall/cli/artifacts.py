"""`holdall artifacts`: what is there, how much it takes, and its removal; `artifact_copies` has what moves files."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Annotated

import typer

from holdall.cli.artifact_copies import cp, get, put
from holdall.cli.codec import file_json
from holdall.cli.locations import Location, locate_target, open_target
from holdall.cli.options import DryRunOption, JsonOption, PathArgument, RecursiveOption, StoreOption, TargetArgument
from holdall.cli.output import is_terminal, print_json, print_lines, say, shown, shown_size
from holdall.cli.transfers import shown_files
from holdall.stores import open_artifact_store
from holdall.stores.artifacts import ArtifactStore
from holdall.stores.entities import FileInfo
from holdall.stores.errors import InvalidParameterValue, NotFound

__all__ = ["app"]

app = typer.Typer(help="List, copy, fetch, add and remove files of runs and stores.", no_args_is_help=True)


@app.callback()
def artifacts() -> None:
    """List, copy, fetch, add and remove files of runs and stores."""


@app.command("list", hidden=True)  # its former name
@app.command("ls")
def list_artifacts(
    target: TargetArgument,
    path: PathArgument = None,
    recursive: Annotated[bool, typer.Option("--recursive", "-r", help="Folders in folders too.")] = False,
    long: Annotated[bool, typer.Option("--long", "-l", help="With sizes.")] = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """List files and folders."""
    with open_target(target, path, store) as (opened, inner):
        found = [opened.stat(inner)] if inner else []
        if not found or found[0].is_dir:
            found = list(opened.walk(inner)) if recursive else opened.list_artifacts(inner)
    if as_json:
        print_json({"files": list(map(file_json, found))})
        return
    print_lines((f"{shown_size(info.file_size):>10}  " if long else "") + _shown_path(info) for info in found)


@dataclass(slots=True)
class _Usage:
    """What a file or folder takes.

    Attributes:
        path: Path below the root.
        bytes: Of all files.
        files: How many.
    """

    path: str
    bytes: int = 0
    files: int = 0


@app.command("du")
def show_usage(
    target: TargetArgument,
    path: PathArgument = None,
    depth: Annotated[int, typer.Option("--depth", "-d", min=0, help="Show folders down to this level too.")] = 0,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show how many bytes and files there are."""
    with open_target(target, path, store) as (opened, inner):
        total, *folders = _usages(inner, _contents(opened, inner), depth)
    if as_json:
        print_json({**asdict(total), "folders": list(map(asdict, folders))})
        return
    rows = [(usage, f"{shown(usage.path)}/") for usage in folders] + [(total, shown(total.path) or "total")]
    print_lines(f"{shown_size(usage.bytes):>10}  {shown_files(usage.files):>12}  {name}" for usage, name in rows)


@app.command("rm")
def remove_artifacts(
    target: TargetArgument,
    path: PathArgument = None,
    recursive: RecursiveOption = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do it without asking.")] = False,
    force: Annotated[bool, typer.Option("--force", "-f", help="It is fine if there is nothing.")] = False,
    dry_run: DryRunOption = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Remove a file, or with -r a folder with all it holds."""
    location = locate_target(target, store, follow=False).below(path)
    with open_artifact_store(location.root, read_only=dry_run) as opened:
        entries = _find_removable(opened, location, recursive=recursive, force=force)
        total = _usages(location.path, entries, 0)[0]
        amount = f"{shown_files(total.files)}, {shown_size(total.bytes)}"
        if entries and not dry_run:
            _require_consent(f"Remove {amount}, at {shown(str(location.whole))}?", yes)
            opened.delete_artifacts(location.path)
    if as_json:
        print_json({"files": total.files, "bytes": total.bytes, "dry_run": dry_run})
        return
    if dry_run:
        print_lines(map(_shown_path, entries))
    say(f"{'would remove' if dry_run else 'removed'} {amount}")


app.command("cp")(cp)
app.command("get")(get)
app.command("put")(put)


def _contents(store: ArtifactStore, path: str) -> list[FileInfo]:
    """A file, or a folder and everything below it.

    Raises:
        NotFound: There is nothing.
    """
    found = store.stat(path)
    return [found, *store.walk(path)] if found.is_dir else [found]


def _usages(path: str, entries: Iterable[FileInfo], depth: int) -> list[_Usage]:
    """What `path` takes, and then each folder that is at most `depth` levels below it."""
    total = _Usage(path)
    usages = {path: total}
    above = path.count("/") + 1 if path else 0
    for info in entries:
        names = info.path.split("/")
        folders = names if info.is_dir else names[:-1]
        levels = ["/".join(folders[:end]) for end in range(above + 1, min(above + depth, len(folders)) + 1)]
        for usage in (total, *(usages.setdefault(level, _Usage(level)) for level in levels)):
            usage.bytes += info.file_size or 0
            usage.files += not info.is_dir
    return list(usages.values())


def _find_removable(store: ArtifactStore, location: Location, *, recursive: bool, force: bool) -> list[FileInfo]:
    if location.is_local_root:
        raise InvalidParameterValue("Removing everything on this machine is refused.")
    try:
        entries = _contents(store, location.path)
    except NotFound:
        if force:
            return []
        raise
    location.require_kind(entries[0], recursive=recursive)
    return entries


def _require_consent(question: str, yes: bool) -> None:
    """Ask, unless the answer is known.

    Raises:
        InvalidParameterValue: Nobody is there to answer.
        typer.Exit: The answer is no.
    """
    if yes:
        return
    if not is_terminal():
        raise InvalidParameterValue("Nothing was removed: there is nobody to ask; to do it, add --yes.")
    if not typer.confirm(question, err=True):
        say("Nothing was removed.")
        raise typer.Exit(1)


def _shown_path(info: FileInfo) -> str:
    return shown(info.path) + ("/" if info.is_dir else "")
