"""The servers: how each is started, and filled with the runs that all of them have."""

from __future__ import annotations

import json
import os
import random
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from benchmarks.environment import MLFLOW_VERSION
from benchmarks.peer import ROOT, BenchmarkError
from benchmarks.server.load import drive
from benchmarks.server.requests import Site, post

__all__ = ["CONTESTANTS", "RUNS", "Contestant", "Environment", "serving", "values_of"]

RUNS = 2000
"""Runs that are there before anything is measured."""

VALUES = 5
"""Metrics of each of them; as many params, and as many tags."""

_PATIENCE = 180.0


@dataclass(frozen=True, slots=True)
class Environment:
    """What contestants are started with.

    Attributes:
        mlflow_python: Interpreter that has MLflow.
        fasttrackml: FastTrackML's command.
        workers: Processes of holdall's server; None for its own default.
    """

    mlflow_python: Path | None
    fasttrackml: Path | None
    workers: int | None = None


@dataclass(frozen=True, slots=True)
class Contestant:
    """A server that can take part.

    Attributes:
        name: As it is chosen by.
        command: Starts it, by port and URI of its database.
        version: What it is, for people.
    """

    name: str
    command: Callable[[Environment, int, str], Sequence[str]]
    version: Callable[[Environment], str]


def _holdall(environment: Environment, port: int, database: str) -> Sequence[str]:
    words = ["server", "--port", str(port), "--backend-store-uri", database]
    workers = [] if environment.workers is None else ["--workers", str(environment.workers)]
    return [sys.executable, "-c", "from holdall.cli import main; main()", *words, *workers]


def _mlflow(environment: Environment, port: int, database: str) -> Sequence[str]:
    assert environment.mlflow_python is not None
    mlflow = [str(environment.mlflow_python), "-m", "mlflow", "server"]
    return [*mlflow, "--host", "127.0.0.1", "--port", str(port), "--backend-store-uri", database]


def _fasttrackml(environment: Environment, port: int, database: str) -> Sequence[str]:
    assert environment.fasttrackml is not None
    uri = database.replace("sqlite:///", "sqlite://")
    return [str(environment.fasttrackml), "server", "--listen-address", f"127.0.0.1:{port}", "--database-uri", uri]


def _own_version(environment: Environment) -> str:
    workers = "its default" if environment.workers is None else str(environment.workers)
    return f"holdall {metadata.version('holdall')}, {workers} workers"


def _fasttrackml_version(environment: Environment) -> str:
    done = subprocess.run([str(environment.fasttrackml), "--version"], capture_output=True, text=True, check=False)
    return f"FastTrackML {done.stdout.strip().rpartition(' ')[2] or 'of unknown version'}"


CONTESTANTS = {
    each.name: each
    for each in (
        Contestant("holdall", _holdall, _own_version),
        Contestant("mlflow", _mlflow, lambda _: f"MLflow {MLFLOW_VERSION}, its default workers"),
        Contestant("fasttrackml", _fasttrackml, _fasttrackml_version),
    )
}
"""By name."""


@contextmanager
def serving(
    contestant: Contestant, environment: Environment, folder: Path, database: str, connections: int
) -> Iterator[tuple[int, Site]]:
    """A server with its runs until the end of the block: its process, and where its runs are.

    Args:
        contestant: Which.
        environment: What it is started with.
        folder: Where it runs, and logs.
        database: URI of an empty database.
        connections: How many will log at once.

    Raises:
        BenchmarkError: It does not start, or refuses a run.
    """
    folder.mkdir(parents=True)
    port = _free_port()
    log = folder / "server.log"
    with log.open("w", encoding="utf-8") as output:
        process = subprocess.Popen(
            contestant.command(environment, port, database),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONPATH": str(ROOT), "MLFLOW_DISABLE_TELEMETRY": "true"},
        )
    try:
        _await(process, port, log)
        yield process.pid, _fill(port, connections)
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def _await(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5):
                return
        except urllib.error.HTTPError:
            return  # it answers
        except OSError:
            time.sleep(0.2)
    raise BenchmarkError(f"A server does not start:\n{log.read_text(encoding='utf-8')[-2000:]}")


def _fill(port: int, connections: int) -> Site:
    experiment_id, busy_experiment_id = (
        str(answer["experiment_id"])
        for answer in _ask(port, "experiments/create", [{"name": "searched"}, {"name": "busy"}], 1)
    )
    run_ids = _create(port, experiment_id, RUNS, connections)
    chosen = random.Random(1)
    _ask(port, "runs/log-batch", [values_of(run_id, chosen) for run_id in run_ids], connections)
    busy = _create(port, busy_experiment_id, connections, connections)
    return Site(port, experiment_id, run_ids, busy_experiment_id, busy)


def values_of(run_id: str, chosen: random.Random) -> dict[str, object]:
    """What is logged to a run before anything is measured: the body of a request."""
    names = ["loss", "accuracy", "recall", "precision", "seconds"][:VALUES]
    metrics = [{"key": key, "value": chosen.random(), "timestamp": 1_700_000_000_000, "step": 1} for key in names]
    params = [{"key": f"param_{number}", "value": f"{chosen.random():.6f}"} for number in range(VALUES)]
    tags = [{"key": f"tag_{number}", "value": f"value {number}"} for number in range(VALUES)]
    return {"run_id": run_id, "metrics": metrics, "params": params, "tags": tags}


def _create(port: int, experiment_id: str, count: int, connections: int) -> list[str]:
    bodies = [
        {"experiment_id": experiment_id, "user_id": "ada", "start_time": 1_700_000_000_000 + number, "run_name": "r"}
        for number in range(count)
    ]
    found = []
    for answer in _ask(port, "runs/create", bodies, connections):
        run = answer["run"]
        assert isinstance(run, dict)
        found.append(str(run["info"]["run_id"]))
    return found


def _ask(port: int, endpoint: str, bodies: Sequence[object], connections: int) -> list[dict[str, object]]:
    requests = [post(port, endpoint, body) for body in bodies]
    shares = [requests[start::connections] for start in range(min(connections, len(requests)))]
    answers = drive(port, map(iter, shares), keep=True).answers
    return [json.loads(answer) for answer in answers]
