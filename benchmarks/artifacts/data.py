"""The folders that are copied, and whether a copy of one is right."""

from __future__ import annotations

import filecmp
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.peer import BenchmarkError

__all__ = ["GIB", "SETS", "FileSet"]

GIB = 1 << 30
_UNITS = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": GIB}
_FILES_PER_FOLDER = 100
_SAMPLE = 50
_CHUNK = 1 << 20
_SMALL = 1 << 20


@dataclass(frozen=True, slots=True)
class FileSet:
    """Files of one size, a hundred in a folder.

    Attributes:
        count: How many.
        size: Bytes of each.
    """

    count: int
    size: int

    @classmethod
    def parse(cls, text: str) -> FileSet:
        """From `COUNTxSIZE`, such as `5000x4KiB`.

        Raises:
            ValueError: It is not of that form.
        """
        found = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)(B|KiB|MiB|GiB)", text)
        if found is None:
            raise ValueError(f"{text!r} is not COUNTxSIZE, such as 5000x4KiB")
        count, number, unit = found.groups()
        return cls(int(count), int(number) * _UNITS[unit])

    def __str__(self) -> str:
        unit = max((unit for unit, size in _UNITS.items() if self.size % size == 0), key=_UNITS.__getitem__)
        return f"{self.count}x{self.size // _UNITS[unit]}{unit}"

    @property
    def total(self) -> int:
        """Bytes of all files."""
        return self.count * self.size

    @property
    def small(self) -> bool:
        """Whether it is the number of files that costs, not their bytes."""
        return self.size <= _SMALL

    def scaled(self, factor: float) -> FileSet:
        """A part of it: fewer files if they are small, smaller files if they are large."""
        if self.small:
            return replace(self, count=max(1, round(self.count * factor)))
        return replace(self, size=max(_SMALL, round(self.size * factor) // _CHUNK * _CHUNK))

    def capped(self, largest: int) -> FileSet:
        """The same with files of that size if they are larger."""
        return replace(self, size=min(self.size, largest))

    def names(self) -> list[str]:
        """Paths of the files, from the folder."""
        return [f"part-{number // _FILES_PER_FOLDER:03}/file-{number:05}.bin" for number in range(self.count)]

    def make(self, folder: Path, *, sparse: bool = False) -> None:
        """Write the files: random bytes, the same every time, or nothing but a hole."""
        source = random.Random(f"{self}")
        for name in self.names():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as file:
                if sparse:
                    file.truncate(self.size)
                    continue
                for start in range(0, self.size, _CHUNK):
                    file.write(source.randbytes(min(_CHUNK, self.size - start)))

    def check_listing(self, found: Mapping[str, int], whose: str) -> None:
        """Compare names and sizes.

        Raises:
            BenchmarkError: They differ.
        """
        expected = dict.fromkeys(self.names(), self.size)
        if found != expected:
            wrong = sorted(name for name in {*found, *expected} if found.get(name) != expected.get(name))
            raise BenchmarkError(
                f"{whose} of {self}: {len(found):,} files of {sum(found.values()):,} bytes are there, and"
                f" {len(wrong):,} are not as they should be, such as {wrong[0]!r}: {found.get(wrong[0])} bytes"
            )

    def check_copy(self, original: Path, copy: Path, whose: str) -> None:
        """Compare names and sizes of all files, and every byte of a sample.

        Raises:
            BenchmarkError: They differ.
        """
        files = [path for path in copy.rglob("*") if path.is_file()]
        self.check_listing({path.relative_to(copy).as_posix(): path.stat().st_size for path in files}, whose)
        names = self.names()
        for name in names[:: max(1, len(names) // _SAMPLE)]:
            if not filecmp.cmp(original / name, copy / name, shallow=False):
                raise BenchmarkError(f"{whose} of {self}: {name!r} has other bytes than what was stored")


SETS = tuple(map(FileSet.parse, ("1x1GiB", "2000x64KiB", "5000x4KiB")))
"""What is measured by default."""
