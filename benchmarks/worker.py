"""The process that plays one side: `python -m benchmarks.worker SUITE SIDE FOLDER RUNS POINTS SYNCHRONOUS`.

It answers with JSON lines on standard output. The first, unasked, is `{"version": …}` when its stores are ready.
The URI of its database on a server, if it has one, is in the environment, as it holds a password.
Each line `{"operation": …, "calls": n}` that it reads is answered with the seconds that the calls took together, the
answer of the last one, and the numbers of rows in the store that is logged to. What libraries print goes to standard
error. Standard library only.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from time import perf_counter
from typing import IO

from benchmarks.operations import Operation
from benchmarks.sides.base import Side
from benchmarks.suites import SUITES, Suite
from benchmarks.workload import Scale

__all__ = ["DATABASE", "measure", "serve"]

DATABASE = "HOLDALL_BENCH_DATABASE"
"""The environment variable with the URI."""

Reply = dict[str, object]


def measure(side: Side, operation: Operation, calls: int) -> Reply:
    """Prepare a number of calls, time them, and say what came out."""
    tasks = operation.plan(side, calls)
    results = []
    start = perf_counter()
    for task in tasks:
        results.append(task.call())  # noqa: PERF401 - the plainest loop
    seconds = perf_counter() - start
    answer = tasks[-1].answer(results[-1])
    for task, result in zip(tasks, results, strict=True):
        task.finish(result)
    return {"seconds": seconds, "answer": answer, "rows": side.count_rows()}


def serve(suite: Suite, side: Side, requests: IO[str], replies: IO[str]) -> None:
    """Prepare the side, then answer requests until there are no more."""
    side.prepare()
    _reply(replies, {"version": side.version})
    for line in requests:
        request = json.loads(line)
        _reply(replies, measure(side, suite.operations[request["operation"]], request["calls"]))
    side.close()


def _reply(replies: IO[str], reply: Reply) -> None:
    replies.write(json.dumps(reply) + "\n")
    replies.flush()


def main(arguments: list[str]) -> None:
    """Play the side that the arguments name, over standard input and output."""
    store, name, folder, runs, points, synchronous = arguments
    suite = SUITES[store]
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    scale = Scale(int(runs), int(points))
    side = suite.open_side(name, Path(folder), scale, synchronous, os.environ.get(DATABASE, ""))
    serve(suite, side, sys.stdin, replies)


if __name__ == "__main__":
    main(sys.argv[1:])
