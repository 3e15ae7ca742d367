"""Compare JSON libraries on what a server reads and writes: bodies of requests, and a page of runs."""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from statistics import median

import msgspec
import orjson
from rich.console import Console

from benchmarks.artifacts.report import markdown_table, rich_table
from benchmarks.report import duration, machine

__all__ = ["main"]

ROUNDS = 9
ROUND_SECONDS = 0.1
_LIBRARIES = ("json", "msgspec", "orjson")
_LOADS: dict[str, Callable[[bytes], object]] = {
    "json": json.loads,
    "msgspec": msgspec.json.Decoder().decode,
    "orjson": orjson.loads,
}
_DUMPS: dict[str, Callable[[object], bytes]] = {
    "json": lambda document: json.dumps(document).encode(),
    "msgspec": msgspec.json.Encoder().encode,
    "orjson": orjson.dumps,
}


def main(arguments: Sequence[str]) -> int:
    """Measure, print, return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.server json", description=__doc__)
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table for the documentation")
    options = parser.parse_args(arguments)
    versions = f"msgspec {msgspec.__version__}, orjson {orjson.__version__}"
    caption = f"Medians of {ROUNDS} rounds; {versions}; {machine()}"
    rows, headings = list(_rows()), ("document", *_LIBRARIES)
    Console(width=160).print(rich_table(headings, 1, iter(rows), caption))
    if options.markdown:
        options.markdown.write_text(markdown_table(headings, 1, iter(rows), caption), encoding="utf-8")
    return 0


def _rows() -> Iterator[tuple[str, ...]]:
    point: dict[str, object] = {"key": "loss", "value": 0.123456789, "timestamp": 1_700_000_000_000, "step": 17}
    run_id = "0123456789abcdef" * 2
    for title, document in (
        ("body of log-metric", {"run_id": run_id, **point}),
        ("body of log-batch, 100 metrics", _batch(run_id, 100)),
        ("body of log-batch, 1,000 metrics", _batch(run_id, 1000)),
    ):
        yield _row(f"read: {title}", {name: partial(load, orjson.dumps(document)) for name, load in _LOADS.items()})
    page = {"runs": [_run(number) for number in range(50)], "next_page_token": "x" * 40}
    yield _row("write: page of 50 runs", {name: partial(dump, page) for name, dump in _DUMPS.items()})


def _batch(run_id: str, count: int) -> dict[str, object]:
    chosen = random.Random(1)
    metrics = [
        {"key": f"metric_{number % 100:02}", "value": chosen.random(), "timestamp": 1_700_000_000_000, "step": number}
        for number in range(count)
    ]
    return {"run_id": run_id, "metrics": metrics, "params": [], "tags": []}


def _run(number: int) -> dict[str, object]:
    chosen = random.Random(number)
    info = {
        "run_uuid": f"{number:032x}",
        "experiment_id": "1",
        "run_name": f"run-{number}",
        "user_id": "ada",
        "status": "FINISHED",
        "artifact_uri": f"mlflow-artifacts:/1/{number:032x}/artifacts",
        "lifecycle_stage": "active",
        "run_id": f"{number:032x}",
        "start_time": 1_700_000_000_000,
        "end_time": 1_700_000_100_000,
    }
    data = {
        "metrics": [
            {"key": f"metric_{each}", "value": chosen.random(), "timestamp": 1_700_000_000_000, "step": each}
            for each in range(5)
        ],
        "params": [{"key": f"param_{each}", "value": f"{chosen.random():.6f}"} for each in range(5)],
        "tags": [{"key": f"tag_{each}", "value": f"value {each}"} for each in range(5)],
    }
    return {"info": info, "data": data, "inputs": {}, "outputs": {}}


def _row(title: str, calls: dict[str, Callable[[], object]]) -> tuple[str, ...]:
    return (title, *(duration(_time(calls[name])) for name in _LIBRARIES))


def _time(call: Callable[[], object]) -> float:
    """Seconds of a call."""
    found = []
    for _ in range(ROUNDS):
        count, start = 0, time.perf_counter()
        while (spent := time.perf_counter() - start) < ROUND_SECONDS:
            for _ in range(10):
                call()
            count += 10
        found.append(spent / count)
    return median(found)
