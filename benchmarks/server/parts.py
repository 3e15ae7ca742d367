"""Where a request's time goes: parts that can be run alone are, the rest of the server's processor time is HTTP."""

from __future__ import annotations

import argparse
import asyncio
import random
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import orjson
from rich.console import Console

from benchmarks.artifacts.report import markdown_table, rich_table
from benchmarks.peer import BenchmarkError
from benchmarks.report import duration, machine
from benchmarks.server.contestants import RUNS, Environment, values_of
from benchmarks.server.requests import OPERATIONS, Operation, Site, post
from benchmarks.server.session import Comparison
from holdall.server.endpoints import all_routes
from holdall.server.fields import parse_arguments
from holdall.server.messages import parse_json, parse_query
from holdall.server.meters import MeterTable
from holdall.server.options import ServerOptions
from holdall.server.routes import Router
from holdall.server.service import Service
from holdall.stores.backend import BackendStore

__all__ = ["main"]

CALLS = 3000
_COUNTS = {"search": 200, "log-batch": 600}
"""Calls, where they are fewer: batches take longer the more there is, and a server that is measured has few."""

CONNECTIONS = 16
_TOGETHER = {"search": 1, "log-batch": 3}
"""Calls that SQLite commits together, where they are not as many as there are connections."""

_HEADINGS = ("request", "parse", "validate", "store", "encode", "HTTP, threads", "all of it")


@dataclass(slots=True)
class Parts:
    """Processor time of requests, in seconds, by what it is spent on."""

    parse: float = 0.0
    validate: float = 0.0
    store: float = 0.0
    encode: float = 0.0


class _Timed:
    """A store that notes how long its methods take."""

    def __init__(self, store: BackendStore) -> None:
        self.store = store
        self.seconds = 0.0

    def __getattr__(self, name: str) -> Callable[..., object]:
        method = cast("Callable[..., object]", getattr(self.store, name))

        def timed(*arguments: object, **named: object) -> object:
            start = time.thread_time()
            try:
                return method(*arguments, **named)
            finally:
                self.seconds += time.thread_time() - start

        return timed


def main(arguments: Sequence[str]) -> int:
    """Measure on SQLite, print, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.server parts", description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement of the whole")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table for the documentation")
    parser.add_argument("--work-dir", type=Path, default=Path("build") / "benchmarks")
    options = parser.parse_args(arguments)
    try:
        rows = list(_rows(options.work_dir, options.seconds))
    except BenchmarkError as error:
        Console(stderr=True).print(f"error: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        return 2
    caption = f"Processor time of a request, one worker, SQLite; {machine()}"
    Console(width=160).print(rich_table(_HEADINGS, 1, iter(rows), caption))
    if options.markdown:
        options.markdown.write_text(markdown_table(_HEADINGS, 1, iter(rows), caption), encoding="utf-8")
    return 0


def _rows(work: Path, seconds: float) -> Iterator[tuple[str, ...]]:
    environment = Environment(mlflow_python=None, fasttrackml=None, workers=1)
    comparison = Comparison("sqlite", ["holdall"], OPERATIONS, environment, work, rounds=1, seconds=seconds)
    results, _ = comparison.run()
    parts = asyncio.run(_all_parts(work))
    for result in results:
        whole, _client = result.cost("holdall")
        found = parts[result.operation.name]
        known = (found.parse, found.validate, found.store, found.encode)
        rest = whole - sum(known)  # of what is mostly the store's work, measured twice, the difference may be noise
        shown = [*map(duration, known), duration(rest) if rest > 0 else "–", duration(whole)]
        yield (result.operation.title, *shown)


async def _all_parts(work: Path) -> dict[str, Parts]:
    with tempfile.TemporaryDirectory(dir=work.resolve(), prefix="run-") as folder:
        options = ServerOptions(backend_store=f"sqlite:///{folder}/tracking.db", serve_artifacts=False)
        service = Service(options, MeterTable(all_routes()))
        try:
            store = _Timed(service.store)
            service.store = cast(BackendStore, store)
            server = _Server(service, store)
            site = server.fill()
            return {operation.name: server.parts(operation, site) for operation in OPERATIONS}
        finally:
            service.close()


class _Server:
    """Answers requests in this thread, and notes what each step takes.

    Args:
        service: What handlers are given.
        store: Its store.
    """

    def __init__(self, service: Service, store: _Timed) -> None:
        self._service = service
        self._store = store
        self._router = Router(all_routes())

    def fill(self) -> Site:
        """Make the runs that servers have in the comparison."""
        store = self._service.store
        searched, busy = store.create_experiment("searched"), store.create_experiment("busy")
        run_ids = [store.create_run(searched, "ada", start_time=number).info.run_id for number in range(RUNS)]
        chosen = random.Random(1)
        for run_id in run_ids:
            self.answer(post(0, "runs/log-batch", values_of(run_id, chosen)), Parts())
        return Site(0, searched, run_ids, busy, [store.create_run(busy).info.run_id for _ in range(CONNECTIONS)])

    def parts(self, operation: Operation, site: Site) -> Parts:
        """What a request of an operation takes, when as many go together as in a server that is busy."""
        size = _TOGETHER.get(operation.name, CONNECTIONS)
        count = _COUNTS.get(operation.name, CALLS) // size
        streams = [operation.requests(site, connection, 0) for connection in range(size)]
        for _ in range(count // 10):
            self._answer_group(streams, Parts())
        total = Parts()
        for _ in range(count):
            self._answer_group(streams, total)
        calls = count * size
        return Parts(total.parse / calls, total.validate / calls, total.store / calls, total.encode / calls)

    def _answer_group(self, streams: Sequence[Iterator[bytes]], parts: Parts) -> None:
        with self._store.store.group_calls():
            for stream in streams:
                self.answer(next(stream), parts)
            answered = time.thread_time()
        parts.store += time.thread_time() - answered

    def answer(self, request: bytes, parts: Parts) -> None:
        """Answer a request, and add up what it takes."""
        head, _, body = request.partition(b"\r\n\r\n")
        method, target = head.split(b" ", 2)[:2]
        path, _, query = target.decode().partition("?")
        route, _arguments = self._router.find(method.decode(), path)
        repeated = {known.name for known in route.fields if known.kind.many}
        start = time.thread_time()
        given = parse_json(body) if body else parse_query(query.encode(), repeated)
        parsed = time.thread_time()
        arguments = parse_arguments(route.fields, given)
        validated, self._store.seconds = time.thread_time(), 0.0
        assert route.call is not None
        orjson.dumps(route.call(self._service, arguments))
        done = time.thread_time()
        parts.parse += parsed - start
        parts.validate += validated - parsed
        parts.store += self._store.seconds
        parts.encode += done - validated - self._store.seconds
