"""Folders that MLflow and holdall share: packed, listed, and how MLflow's points in them read under holdall's rules."""

from __future__ import annotations

import math
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from tests.interop.snapshot import RunSnapshot, Snapshot

__all__ = ["Entry", "differences", "listing", "pack", "settled", "unpack"]


class Entry(NamedTuple):
    """A file or folder as it lies on disk; a folder has no content."""

    content: bytes | None
    modified: int
    mode: int


def listing(folder: Path) -> dict[str, Entry]:
    """Everything below a folder and the folder itself, by path from it."""
    return {str(path.relative_to(folder)): _entry(path) for path in (folder, *sorted(folder.rglob("*")))}


def pack(folder: Path, archive: Path) -> None:
    """Write a folder as a tar file that depends on names and contents alone; empty folders count."""
    with tarfile.open(archive, "w", format=tarfile.GNU_FORMAT) as tar:
        for path in sorted(folder.rglob("*")):
            tar.add(path, str(path.relative_to(folder)), recursive=False, filter=_neutral)


def unpack(archive: Path, folder: Path) -> Path:
    """Make a folder of what `pack` wrote, and return it."""
    folder.mkdir()
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    return folder


def settled(state: Snapshot) -> Snapshot:
    """What MLflow reads from a folder, in holdall's terms.

    A metric is a file that MLflow only appends to, so it lists points in the order of logging and as often as they were
    logged; holdall has a point once, ordered by timestamp, step and value. Of several points at the last step and time,
    NaN among them, MLflow's latest depends on which was logged first; to holdall NaN ranks just above 0.
    """
    return {
        "experiments": state["experiments"],
        "runs": {run_id: _settled_run(run) for run_id, run in state["runs"].items()},
    }


def differences(theirs: object, ours: object, path: str = "") -> list[str]:
    """Where two snapshots differ, one line for each value; quick on snapshots of any size."""
    if isinstance(theirs, Mapping) and isinstance(ours, Mapping):
        keys = sorted(theirs.keys() | ours.keys())
        found = [differences(theirs.get(key, "none"), ours.get(key, "none"), f"{path}/{key}") for key in keys]
        return [line for lines in found for line in lines]
    return [] if theirs == ours else [f"{path}: {theirs!r} is not {ours!r}"]


def _settled_run(run: RunSnapshot) -> RunSnapshot:
    copy = run.copy()
    copy["history"] = {key: sorted(set(points), key=_place) for key, points in run["history"].items()}
    copy["metrics"] = {key: _latest(copy["history"][key], value) for key, value in run["metrics"].items()}
    return copy


def _latest(points: Iterable[str], theirs: str) -> str:
    """MLflow's latest value, unless NaN left it to chance."""
    places = [_place(point) for point in points]
    step, timestamp = max((step, timestamp) for timestamp, step, _, _ in places)
    ties = [place[2:] for place in places if place[:2] == (timestamp, step)]
    if not any(is_nan for _, is_nan in ties):
        return theirs
    number, is_nan = max(ties)
    return "nan" if is_nan else repr(number)


def _place(point: str) -> tuple[int, int, float, bool]:
    timestamp, step, text = point.split()
    value = float(text)
    return int(timestamp), int(step), 0.0 if math.isnan(value) else value, math.isnan(value)


def _entry(path: Path) -> Entry:
    stat = path.stat()
    return Entry(path.read_bytes() if path.is_file() else None, stat.st_mtime_ns, stat.st_mode)


def _neutral(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = member.mtime = 0
    member.uname = member.gname = ""
    member.mode = 0o755 if member.isdir() else 0o644
    return member
