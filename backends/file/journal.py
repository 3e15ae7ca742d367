"""The journal of a folder: what makes several writes one, and tells readers that something was written.

A change of several files, or one that makes a file grow, is one line here before it touches any of them: with that
line, which carries a checksum, it is done. If the writer dies then, readers put the line over what they find in the
files, and the next writer repeats it, which changes nothing that was changed already. Replacing a single file needs no
line of its own, and leaves a mark.

So the journal grows with every write, and a reader that finds it as long after reading as it was before has seen one
moment. It is kept short by putting an empty one in its place.
"""

from __future__ import annotations

import json
import os
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from holdall.backends.file.files import READ_FLAGS, Folder, read_all
from holdall.backends.file.layout import OWN, is_run_name
from holdall.backends.file.meta import Fields
from holdall.stores.validation import is_valid_key

__all__ = ["JOURNAL", "Changes", "Journal", "View", "view"]

JOURNAL = f"{OWN}/journal"
_LONGEST = 4096
"""Bytes beyond which a journal with nothing pending is put aside."""

_BEGIN, _DONE, _MARK = b"+", b"=\n", b".\n"


@dataclass(frozen=True, slots=True)
class Changes:
    """What one call changes in the folder of an experiment, a run or a logged model.

    Attributes:
        info: Fields of `meta.yaml` to set; a field that is None here and absent there stays absent.
        params: Value by key.
        tags: Value by key.
        metrics: Lines to append by key.
        inputs: `meta.yaml` of new inputs by input id.
        outputs: `meta.yaml` of new outputs by model id.
        sizes: Of the metric files before they grow, by key.
    """

    info: Fields = field(default_factory=dict)
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, list[str]] = field(default_factory=dict)
    inputs: dict[str, Fields] = field(default_factory=dict)
    outputs: dict[str, Fields] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)

    @property
    def files(self) -> int:
        """How many files change."""
        links = len(self.inputs) + len(self.outputs)
        return len(self.metrics) + len(self.params) + len(self.tags) + links + bool(self.info)

    @property
    def is_atomic(self) -> bool:
        """Whether the files have all of it or nothing, without more ado: one file that is replaced, none grown."""
        return self.files == 1 and not self.metrics

    def encode(self) -> bytes:
        """As a line of a journal."""
        fields = [self.info, self.params, self.tags, self.metrics, self.inputs, self.outputs, self.sizes]
        text = json.dumps(fields, ensure_ascii=True, separators=(",", ":")).encode()
        return b"%s%08x %s\n" % (_BEGIN, zlib.crc32(text), text)

    @classmethod
    def decode(cls, line: bytes) -> Changes | None:
        """From a line of a journal, without its newline; None if it is not whole."""
        checksum, _, text = line[1:].partition(b" ")
        if checksum != b"%08x" % zlib.crc32(text):
            return None
        try:
            fields: object = json.loads(text)
            json.dumps(fields, ensure_ascii=False).encode("utf-8")
        except (ValueError, RecursionError):
            return None
        return cls(*fields) if isinstance(fields, list) and _is_sound(fields) else None


@dataclass(frozen=True, slots=True)
class View:
    """A journal as a reader finds it.

    Attributes:
        pending: What is done but not yet, or not wholly, in the files.
        version: Which state of the folder this is, as far as writers with journals go.
    """

    pending: Changes | None
    version: tuple[int, int] | None

    def is_current(self, folder: Folder) -> bool:
        """Whether nobody has written since."""
        if self is _NONE:
            return folder.stat(OWN) is None
        return self.version == _version(folder)


_NONE = View(None, None)


def _version(folder: Folder) -> tuple[int, int] | None:
    status = folder.stat(JOURNAL)
    return None if status is None else (status.st_ino, status.st_size)


def _is_sound(fields: object) -> bool:
    """Whether a line holds what `Changes.encode` writes: a folder, and its journal, may come from anywhere."""
    match fields:
        case [dict(info), dict(params), dict(tags), dict(metrics), dict(inputs), dict(outputs), dict(sizes)]:
            texts = [*params.values(), *tags.values(), *(line for lines in metrics.values() for line in lines)]
            return (
                all(isinstance(value, str | int | None) for value in info.values())
                and all(map(is_valid_key, [*params, *tags, *metrics, *sizes]))
                and all(isinstance(lines, list) for lines in metrics.values())
                and all(isinstance(text, str) for text in texts)
                and not any("\n" in line for lines in metrics.values() for line in lines)
                and all(map(is_run_name, [*inputs, *outputs]))
                and all(isinstance(link, dict) for link in [*inputs.values(), *outputs.values()])
                and all(isinstance(size, int) for size in sizes.values())
            )
    return False


@contextmanager
def view(folder: Folder) -> Iterator[View]:
    """The journal of a folder, kept open so that no later one can be taken for it."""
    if folder.stat(OWN) is None:  # what MLflow made, and nobody else has written to
        yield _NONE
        return
    try:
        place, name = folder.at(JOURNAL)
        file = os.open(name, READ_FLAGS, dir_fd=place)
    except OSError:  # none yet; or no journal of ours, which cannot be written to either
        yield View(None, _version(folder))
        return
    try:
        status = os.fstat(file)
        if stat.S_ISREG(status.st_mode):
            data = read_all(file, status.st_size)
            yield View(_pending(data), (status.st_ino, len(data)))
        else:
            yield View(None, (status.st_ino, status.st_size))
    finally:
        os.close(file)


def _pending(data: bytes) -> Changes | None:
    if not data or data.endswith((_DONE, _MARK)):
        return None
    start = data.rfind(b"\n", 0, -1) + 1
    line = data[start:]
    if not line.startswith(_BEGIN) or not line.endswith(b"\n"):
        return None
    return Changes.decode(line[:-1])


class Journal:
    """The journal of a folder whose lock is held."""

    def __init__(self, folder: Folder, spare: str) -> None:
        self._folder = folder
        self._spare = spare

    def recover(self) -> Changes | None:
        """What a writer that died has left to do; a line that was cut short is put aside."""
        with view(self._folder) as seen:
            if seen.version is None or seen.pending is not None:
                return seen.pending
        data = self._folder.read(JOURNAL)
        if data and not data.endswith((_DONE, _MARK)):
            self._renew()
        return None

    def begin(self, changes: Changes) -> None:
        """Note a change; with this it is done."""
        self._append(changes.encode())

    def done(self) -> None:
        """Note that the files have what `begin` noted."""
        if self._append(_DONE) > _LONGEST:
            self._renew()

    def mark(self) -> None:
        """Note that a single file was changed."""
        if self._append(_MARK) > _LONGEST:
            self._renew()

    def create(self) -> None:
        """Begin an empty one."""
        self._folder.create(JOURNAL, b"")

    def _append(self, data: bytes) -> int:
        try:
            return self._folder.append(JOURNAL, data).st_size
        except FileNotFoundError:
            self._folder.make(OWN)
            return self._folder.append(JOURNAL, data).st_size

    def _renew(self) -> None:
        self._folder.replace(JOURNAL, b"", self._spare)
