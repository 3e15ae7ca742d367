"""The command lines of the benchmark of transfers; see `python -m benchmarks.artifacts [memory] --help`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from benchmarks.artifacts import memory
from benchmarks.artifacts.data import SETS
from benchmarks.artifacts.program import Program
from benchmarks.artifacts.report import Report

__all__ = ["main"]

_SPEED = Program(
    name="python -m benchmarks.artifacts",
    description=sys.modules["benchmarks.artifacts"].__doc__,
    sets=SETS,
    contestants=(),
    rounds=3,
    memory=False,
    report=Report,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure speed or memory, print, and return the exit code of `Program.main`."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    if words[:1] == ["memory"]:
        return memory.PROGRAM.main(words[1:])
    return _SPEED.main(words)


if __name__ == "__main__":
    sys.exit(main())
