"""Writing to the folder of an experiment, a run or a logged model whose lock is held."""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Generic

from holdall.backends.file.files import Folder
from holdall.backends.file.journal import Changes, Journal
from holdall.backends.file.keyed import (
    append_lines,
    ignore_problems,
    own_path,
    put_new_values,
    put_value,
    read_one,
    read_own,
)
from holdall.backends.file.layout import ARTIFACTS, INPUTS, META, METRICS, NEW, OUTPUTS, OWN, PARAMS, TAGS
from holdall.backends.file.meta import Fields, dump_meta
from holdall.backends.file.metric_lines import LineFormat, P, without_torn_line
from holdall.backends.file.reading import apply_fields, read_fields
from holdall.stores.entities import LoggedModelMetric, Metric
from holdall.stores.errors import DataLoss

__all__ = ["FolderWriter", "Tails", "ensure_run_folders", "fill_folder"]

_MOST_TAILS = 4096
_TAKEN = frozenset({errno.ENOTEMPTY, errno.EEXIST})


@dataclass(frozen=True, slots=True)
class _Tail:
    """What is known of a metric file that this process wrote to last.

    Attributes:
        inode: Of the file.
        size: Then.
        timestamp: Greatest of its points.
        step: Greatest of its points.
        is_ended: Whether its last line ends in a newline.
    """

    inode: int
    size: int
    timestamp: int
    step: int
    is_ended: bool = True


class Tails:
    """Metric files as they were left: a point that is later than all in its file need not be looked for in it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[tuple[str, str], _Tail] = OrderedDict()

    def get(self, owner: str, key: str) -> _Tail | None:
        """What is known of the metric `key` of a run or a logged model."""
        with self._lock:
            return self._known.get((owner, key))

    def put(self, owner: str, key: str, tail: _Tail) -> None:
        """Remember."""
        with self._lock:
            self._known[owner, key] = tail
            self._known.move_to_end((owner, key))
            if len(self._known) > _MOST_TAILS:
                self._known.popitem(last=False)


class FolderWriter(Generic[P]):
    """Writes to a folder whose lock is held; begins by finishing what a writer that died has begun.

    Args:
        folder: Of an experiment, a run or a logged model.
        what: What it is, for messages, such as `Run 'abc'`.
        owner: Its id.
        spare: Name, in the folder, of the file that is written before it gets its own name.
        tails: What is known of metric files.
        lines: How its metric points are written.

    Attributes:
        fields: Its `meta.yaml`.

    Raises:
        BadMeta: Its `meta.yaml` is missing or makes no sense.
    """

    def __init__(self, folder: Folder, what: str, owner: str, spare: str, tails: Tails, lines: LineFormat[P]) -> None:
        self._folder = folder
        self._what = what
        self._owner = owner
        self._spare = spare
        self._tails = tails
        self._lines: LineFormat[P] = lines
        self._journal = Journal(folder, spare)
        self._sizes: dict[str, int] = {}
        self.fields = read_fields(folder, what)
        self._recover()

    def commit(self, changes: Changes) -> None:
        """Make changes: all of them or none."""
        if changes.files:
            self._folder.make(OWN)  # MLflow makes none
        if changes.is_atomic:
            self._write(changes)
            self._journal.mark()
        elif changes.files:
            self._require_writable(changes)
            sizes = {key: self._sizes.get(key, 0) for key in changes.metrics}
            self._journal.begin(replace(changes, sizes=sizes))
            self._write(changes, noted=True)
            self._journal.done()

    def _require_writable(self, changes: Changes) -> None:
        """Find out beforehand what would keep a change from being made, since with its line in the journal it is done.

        Raises:
            OSError: Something may not be written to, or is a link.
        """
        for key in changes.metrics:
            if self._sizes.get(key):
                self._folder.append(f"{METRICS}/{key}", b"")
        for kind in (METRICS, PARAMS, TAGS, INPUTS, OUTPUTS):
            if getattr(changes, kind):
                self._folder.require_writable(kind)

    def mark(self) -> None:
        """Tell readers that a file was changed otherwise."""
        self._journal.mark()

    def known_params(self, keys: Iterable[str]) -> dict[str, str]:
        """Values of those params that are there already, by key.

        Raises:
            DataLoss: A file holds no text.
        """
        found = {key: read_one(self._folder, PARAMS, key) for key in keys}
        try:
            return {key: files[0].decode("utf-8") for key, files in found.items() if files}
        except UnicodeDecodeError:
            raise DataLoss(
                f"{self._what}: its params cannot be compared, since a file in {PARAMS} is not UTF-8 text."
            ) from None

    def new_lines(self, points: Sequence[P]) -> dict[str, list[str]]:
        """Lines to append for those points that are not there yet, by key."""
        identity, line = self._lines.identity, self._lines.format
        by_key: dict[str, dict[object, P]] = {}
        for point in points:
            by_key.setdefault(point.key, {}).setdefault(identity(point), point)
        fresh = {key: self._missing(key, wanted) for key, wanted in by_key.items()}
        return {key: [line(point) for point in missing] for key, missing in fresh.items() if missing}

    def _missing(self, key: str, wanted: dict[object, P]) -> list[P]:
        path = f"{METRICS}/{key}"
        status = self._folder.stat(path)
        if status is not None and not stat.S_ISREG(status.st_mode):
            if not stat.S_ISDIR(status.st_mode):
                raise OSError(errno.ELOOP, "neither a file nor a folder", path)
            status = None
        self._sizes[key] = 0 if status is None else status.st_size
        elsewhere = read_own(self._folder, METRICS, key)
        tail = self._tails.get(self._owner, key)
        known: dict[object, P] = {}
        if status is not None and not _is_behind(wanted.values(), tail, status):
            known.update(self._survey(key, path))
        if elsewhere is not None:
            known.update(self._lines.read(key, elsewhere, ignore_problems).points)
        return [point for place, point in wanted.items() if place not in known]

    def _survey(self, key: str, path: str) -> dict[object, P]:
        """The points of a file that others may have written to, which is then remembered as it is."""
        found = self._folder.read_with_status(path)
        if found is None:
            return {}
        data, status = found
        points = self._lines.read(key, data, ignore_problems).points
        timestamp = max((point.timestamp for point in points.values()), default=-(2**63))
        step = max((point.step for point in points.values()), default=-(2**63))
        is_ended = not data or data.endswith(b"\n")
        self._tails.put(self._owner, key, _Tail(status.st_ino, len(data), timestamp, step, is_ended))
        return points

    def _recover(self) -> None:
        """Do what a writer that died has left to do."""
        left = self._journal.recover()
        if left is None:
            return
        points: list[P] = []
        for key, lines in left.metrics.items():
            self._cut_torn_line(key, lines, left.sizes.get(key, 0))
            points += self._lines.read(key, _as_bytes(lines), ignore_problems).points.values()
        self._write(replace(left, metrics=self.new_lines(points)))
        self._journal.done()

    def _cut_torn_line(self, key: str, lines: Sequence[str], size: int) -> None:
        for path, before in ((f"{METRICS}/{key}", size), (own_path(METRICS, key), 0)):
            data = self._folder.read(path) if self._folder.stat_file(path) is not None else None
            if data is not None:
                whole = without_torn_line(data, lines, before)
                if len(whole) < len(data):
                    self._folder.cut(path, len(whole))

    def _write(self, changes: Changes, *, noted: bool = False) -> None:
        for key, lines in changes.metrics.items():
            self._append(key, lines)
        for kind, values in ((PARAMS, changes.params), (TAGS, changes.tags)):
            for key, value in (put_new_values(self._folder, kind, values) if noted and values else values).items():
                put_value(self._folder, kind, key, value.encode("utf-8"), self._spare)
        for folder, links in ((INPUTS, changes.inputs), (OUTPUTS, changes.outputs)):
            for name, fields in links.items():
                self._put_link(f"{folder}/{name}", fields)
        if changes.info:
            self._put_fields(apply_fields(self.fields, changes.info))

    def _append(self, key: str, lines: list[str]) -> None:
        tail = self._tails.get(self._owner, key)
        data = (b"" if tail is None or tail.is_ended else b"\n") + _as_bytes(lines)
        status = append_lines(self._folder, METRICS, key, data, self._spare)
        if status is None:
            return
        timestamp = step = -(2**63)
        if tail is not None and (tail.inode, tail.size) == (status.st_ino, status.st_size - len(data)):
            timestamp, step = tail.timestamp, tail.step
        elif status.st_size != len(data):
            return  # somebody else writes to it too: it is read again the next time
        for line in lines:
            fields = line.split(" ")
            timestamp, step = max(timestamp, int(fields[0])), max(step, int(fields[2]))
        self._tails.put(self._owner, key, _Tail(status.st_ino, status.st_size, timestamp, step))

    def _put_link(self, path: str, fields: Fields) -> None:
        """The first one written stays. It appears as a whole: MLflow reads no run with a link that has no file yet."""
        meta = f"{path}/{META}"
        if self._folder.stat(meta) is not None:
            return
        kind, _, name = path.rpartition("/")
        new = f"{OWN}/link-{name}"
        self._folder.make(new)
        self._folder.create(f"{new}/{META}", dump_meta(fields))
        self._folder.make(kind)
        try:
            self._folder.rename(new, path)
        except OSError as error:
            if error.errno not in _TAKEN:
                raise
            self._folder.replace(meta, dump_meta(fields), self._spare)

    def _put_fields(self, fields: Fields) -> None:
        self._folder.replace(META, dump_meta(fields), self._spare)
        self.fields = fields


def fill_folder(folder: Folder, fields: Fields, changes: Changes, folders: Sequence[str], spare: str) -> None:
    """Fill a folder that was just made. Its `meta.yaml` gets its name last: without it nothing is there.

    Args:
        folder: The new folder.
        fields: Its `meta.yaml`.
        changes: What else it holds: params and tags.
        folders: Folders to make in it.
        spare: As for `FolderWriter`.
    """
    folder.make(OWN)
    folder.create(NEW, dump_meta(fields))
    for name in folders:
        folder.make(name)
    for kind, values in ((PARAMS, changes.params), (TAGS, changes.tags)):
        for key, value in values.items():
            put_value(folder, kind, key, value.encode("utf-8"), spare)
    Journal(folder, spare).create()
    folder.rename(NEW, META)


def ensure_run_folders(folder: Folder) -> None:
    """Make the folders without which MLflow 3 does not find a run; copies that drop empty folders lose them."""
    for name in (METRICS, PARAMS, ARTIFACTS):
        folder.make(name)


def _is_behind(points: Iterable[Metric | LoggedModelMetric], tail: _Tail | None, status: os.stat_result) -> bool:
    """Whether points come after all that a file holds."""
    if tail is None or (tail.inode, tail.size) != (status.st_ino, status.st_size):
        return False
    return all(point.timestamp > tail.timestamp or point.step > tail.step for point in points)


def _as_bytes(lines: list[str]) -> bytes:
    return "".join([f"{line}\n" for line in lines]).encode()
