"""The process whose memory is measured: `python -m benchmarks.searcher FOLDER`.

It opens the folder with holdall's file store and searches it, without keeping what it found. After each step it writes
a JSON line: the step, the seconds it took, how many runs were found, and the most memory that was resident so far, in
bytes. It imports nothing that a user of the store would not.
"""

from __future__ import annotations

import json
import re
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import IO

from benchmarks.workload import EXPERIMENT_ID, PAGE, TOP
from holdall.stores import open_backend_store
from holdall.stores.backend import BackendStore

__all__ = ["search"]

_IDS = (str(EXPERIMENT_ID),)
_MAXRSS_UNIT = 1 if sys.platform == "darwin" else 1024
"""Bytes of the unit that the system counts `ru_maxrss` in."""

_STATUS = Path("/proc/self/status")
_PEAK = re.compile(r"VmHWM:\s+([0-9]+) kB")


def search(root: str, replies: IO[str]) -> None:
    """Do all steps, and say what each came to."""
    _step(replies, "start", lambda: 0)
    with open_backend_store(root) as store:
        _step(replies, "first search, top 100 by metric", lambda: _top_runs(store))
        _step(replies, "the same search again", lambda: _top_runs(store))
        _step(replies, f"read all runs by pages of {PAGE:,}", lambda: _scan(store))


def _step(replies: IO[str], step: str, call: Callable[[], int]) -> None:
    start = perf_counter()
    runs = call()
    seconds = perf_counter() - start
    replies.write(json.dumps({"step": step, "seconds": seconds, "runs": runs, "peak": _peak()}) + "\n")
    replies.flush()


def _peak() -> int:
    """The most bytes that were resident; `ru_maxrss` begins on Linux with those of the process that starts this one."""
    found = _PEAK.search(_STATUS.read_text("ascii")) if _STATUS.exists() else None
    return int(found[1]) * 1024 if found else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _MAXRSS_UNIT


def _top_runs(store: BackendStore) -> int:
    return len(store.search_runs(_IDS, TOP.filter, max_results=TOP.limit, order_by=[TOP.order_by]))


def _scan(store: BackendStore) -> int:
    page = store.search_runs(_IDS, max_results=PAGE)
    found = len(page)
    while page.token is not None:
        page = store.search_runs(_IDS, max_results=PAGE, page_token=page.token)
        found += len(page)
    return found


if __name__ == "__main__":
    search(sys.argv[1], sys.stdout)
