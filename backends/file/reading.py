"""What is in the folder of an experiment or a run, as its readers see it: one moment, problems apart."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from holdall.backends.file.files import Folder, stamp_of
from holdall.backends.file.journal import Changes, view
from holdall.backends.file.keyed import Reporter, Stamps, ignore_problems, read_everything
from holdall.backends.file.layout import META, METRICS, NEW, OWN, PARAMS, TAGS
from holdall.backends.file.meta import Fields, MalformedMeta, parse_meta
from holdall.backends.file.metric_lines import read_latest, read_points, without_torn_line
from holdall.stores.entities import Metric
from holdall.stores.errors import DataLoss, TemporarilyUnavailable
from holdall.stores.points import latest_key
from holdall.stores.problems import ProblemKind

__all__ = [
    "BadMeta",
    "Contents",
    "apply_fields",
    "consistently",
    "merge_points",
    "read_contents",
    "read_fields",
    "read_labels",
]

T = TypeVar("T")

_PATIENCE = 60.0
_SETTLING = 1.0
"""Seconds since its last change within which a `meta.yaml` that makes no sense is taken for one being written."""
_ATTEMPTS_UNLOCKED = 8


class BadMeta(DataLoss):
    """A `meta.yaml` is missing or makes no sense.

    Attributes:
        kind: What is wrong.
        reason: In words, for a problem.
    """

    def __init__(self, what: str, kind: ProblemKind, reason: str) -> None:
        super().__init__(f"{what} cannot be used: its {META} {reason}. Nothing was changed; restore or remove it.")
        self.kind = kind
        self.reason = reason


@dataclass(slots=True)
class Contents:
    """What was read of a run.

    Attributes:
        fields: Its `meta.yaml`.
        params: Value by key.
        tags: Value by key.
        metrics: Latest point by key.
    """

    fields: Fields
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, Metric] = field(default_factory=dict)


def consistently(
    folder: Folder, read: Callable[[Changes | None], T], locked: Callable[[Callable[[], T]], T] | None = None
) -> T:
    """Read a folder as it was at one moment.

    Args:
        folder: Of a run or an experiment.
        read: Reads it, and puts what is pending over what it finds; may be called several times.
        locked: Does something while nobody writes: for a folder that is written to without a pause.

    Raises:
        TemporarilyUnavailable: It was written to all the time, and cannot be locked.
    """
    deadline = time.monotonic() + _PATIENCE
    attempts = 0
    while True:
        with view(folder) as seen:
            result = read(seen.pending)
            if seen.is_current(folder):
                return result
        attempts += 1
        if attempts == _ATTEMPTS_UNLOCKED and locked is not None:
            return locked(lambda: consistently(folder, read))
        if time.monotonic() > deadline:
            raise TemporarilyUnavailable("A run is being written to without a pause; try to read it again.")
        time.sleep(0.0001 * attempts)


def read_fields(folder: Folder, what: str, stamps: Stamps | None = None) -> Fields:
    """The fields of a folder's `meta.yaml`.

    MLflow writes those of runs in place, so one that makes no sense and is new is read again.

    Raises:
        BadMeta: It is missing or makes no sense.
    """
    deadline = time.monotonic() + _SETTLING
    while True:
        try:
            found = folder.read_with_status(META)
        except OSError:
            raise BadMeta(what, ProblemKind.UNREADABLE, "cannot be read, or is a link") from None
        if found is None:
            if _is_unfinished(folder):
                raise BadMeta(
                    what, ProblemKind.UNFINISHED, "is not there yet: it is being created, or its creator died"
                )
            raise BadMeta(what, ProblemKind.MISSING, "is missing")
        data, status = found
        try:
            fields = parse_meta(data)
        except MalformedMeta as error:
            if abs(time.time() - status.st_mtime) > _SETTLING or time.monotonic() > deadline:
                raise BadMeta(what, ProblemKind.MALFORMED, str(error)) from None
            time.sleep(0.002)
        else:
            if stamps is not None:
                stamps.append((META, stamp_of(status)))
            return fields


def _is_unfinished(folder: Folder) -> bool:
    """Whether a folder without `meta.yaml` is one that is being created, or whose creator died."""
    if folder.stat(NEW) is not None or time.time() - os.fstat(folder.fd).st_mtime < _SETTLING:
        return True
    return set(folder.names()) <= {OWN}


def read_labels(folder: Folder, kind: str, stamps: Stamps, report: Reporter, *, own: bool = True) -> dict[str, str]:
    """All params, or tags, of a folder; `own` as for `read_everything`."""
    found: dict[str, str] = {}
    for key, data in read_everything(folder, kind, stamps, report, own=own).items():
        try:
            found[key] = data.decode("utf-8")
        except UnicodeDecodeError:
            report(ProblemKind.MALFORMED, f"{kind}/{key}", "is not UTF-8 text, and does not count")
    return found


def read_contents(folder: Folder, what: str, pending: Changes | None, stamps: Stamps, report: Reporter) -> Contents:
    """Everything of a run but its inputs.

    Raises:
        BadMeta: Its `meta.yaml` is missing or makes no sense.
    """
    own = folder.stat(OWN) is not None
    contents = Contents(read_fields(folder, what, stamps))
    contents.params = read_labels(folder, PARAMS, stamps, report, own=own)
    contents.tags = read_labels(folder, TAGS, stamps, report, own=own)
    lines, sizes = ({}, {}) if pending is None else (pending.metrics, pending.sizes)
    for key, data in read_everything(folder, METRICS, stamps, report, own=own).items():
        if key in lines:
            data = without_torn_line(data, lines[key], sizes.get(key, 0))
        latest = read_latest(key, data, report)
        if latest is not None:
            contents.metrics[key] = latest
    if pending is not None:
        _put_over(contents, pending)
    return contents


def merge_points(key: str, files: list[bytes], pending: Changes | None, report: Reporter) -> dict[Any, Metric]:
    """All points of a metric, each once, from its files and what is pending, by the parts of their `history_key`."""
    if pending is not None and key in pending.metrics:
        lines = pending.metrics[key]
        whole = [without_torn_line(data, lines, pending.sizes.get(key, 0)) for data in files]
        files = [*whole, "".join(f"{line}\n" for line in lines).encode()]
    points: dict[Any, Metric] = {}
    for data in files:
        held = read_points(key, data, report)
        if held.repeated:
            report(
                ProblemKind.DUPLICATE,
                f"{METRICS}/{key}",
                f"has {held.repeated} points more than once; each counts once",
            )
        points = held.points | points
    return points


def _put_over(contents: Contents, pending: Changes) -> None:
    contents.fields = apply_fields(contents.fields, pending.info)
    contents.params.update(pending.params)
    contents.tags.update(pending.tags)
    for key in pending.metrics:
        known = contents.metrics.get(key)
        points = [*([] if known is None else [known]), *merge_points(key, [], pending, ignore_problems).values()]
        if points:
            contents.metrics[key] = max(points, key=latest_key)


def apply_fields(fields: Fields, changes: Fields) -> Fields:
    """Fields with changes made; a change to None removes a field."""
    result = {**fields, **changes}
    return {key: value for key, value in result.items() if value is not None or key not in changes}
