"""MLflow's own server, as its users start it."""

from __future__ import annotations

import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.interop.peers import Peer

from holdall.conformance_tests.emulators.process import free_port

__all__ = ["mlflow_server"]

START_SECONDS = 120
STOP_SECONDS = 20


@contextmanager
def mlflow_server(version: str, folder: Path, *arguments: str) -> Iterator[str]:
    """`mlflow server` on the loopback while the context lasts; its URL.

    Args:
        version: MLflow's.
        folder: Where it runs; its database and artifacts are here unless the arguments say otherwise.
        arguments: Of `mlflow server`, besides.
    """
    peer, port = Peer.of(version), free_port()
    command = [str(peer.python), "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", "sqlite:///mlflow.db", "--artifacts-destination", "./mlartifacts", *arguments]
    log = folder / "mlflow.log"
    environment = peer.environment(MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false")
    with log.open("w") as output:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=output, stderr=output, start_new_session=True
        )
    url = f"http://127.0.0.1:{port}"
    try:
        _wait_until_healthy(url, process, log)
        yield url
    finally:
        _end(process)


def _wait_until_healthy(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=5):
                return
        except (OSError, urllib.error.URLError):
            time.sleep(0.2)
    raise AssertionError(f"MLflow's server did not start: {log.read_text()[-4000:]}")


def _end(process: subprocess.Popen[bytes]) -> None:
    """End it with the processes that it has started."""
    try:
        with suppress(ProcessLookupError, subprocess.TimeoutExpired):
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(STOP_SECONDS)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
