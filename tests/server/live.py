"""A server as its users start it: `holdall server` in a process of its own, on a free port."""

from __future__ import annotations

import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import orjson

__all__ = ["LiveServer", "Reply", "live_server"]

STOP_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer.

    Attributes:
        status: HTTP status.
        headers: By lower-case name.
        body: Its bytes.
    """

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> dict[str, object]:
        """The object in the body."""
        document = orjson.loads(self.body)
        assert isinstance(document, dict)
        return document


@dataclass(frozen=True, slots=True)
class LiveServer:
    """A running server.

    Attributes:
        url: `http://127.0.0.1:<port>` and the static prefix.
        process: Of the server; its children are the workers.
        log: What it wrote to standard error.
    """

    url: str
    process: subprocess.Popen[str]
    log: Path

    def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        headers: dict[str, str] | None = None,
        raw: bytes | None = None,
    ) -> Reply:
        """Send one request.

        Args:
            method: HTTP method.
            path: Path and query, encoded, as in `/health`.
            body: Sent as JSON.
            headers: Sent besides.
            raw: Sent as it is, in place of JSON.
        """
        data = raw if body is None else orjson.dumps(body)
        request = urllib.request.Request(self.url + path, data, method=method)
        if body is not None:
            request.add_header("content-type", "application/json")
        for name, value in (headers or {}).items():
            request.add_header(name, value)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return Reply(answer.status, _lowered(answer.headers.items()), answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return Reply(error.code, _lowered(error.headers.items()), error.read())

    def api(self, method: str, endpoint: str, body: object = None) -> dict[str, object]:
        """Ask an endpoint below `/api/2.0/mlflow`, which must succeed; its document."""
        reply = self.ask(method, f"/api/2.0/mlflow/{endpoint}", body)
        assert reply.status == 200, (reply.status, reply.body)
        return reply.json()


@contextmanager
def live_server(folder: Path, *arguments: str, backend: str | None = None, prelude: str = "") -> Iterator[LiveServer]:
    """A server that runs while the context lasts.

    Args:
        folder: Where it runs; its database and artifacts are here unless the arguments say otherwise.
        arguments: Of `holdall server`, besides.
        backend: URI of the store; a new SQLite file in the folder by default.
        prelude: Statements that the process runs first, such as one that shortens a limit of time.
    """
    log = folder / "server.log"
    command = [sys.executable, "-c", f"{prelude}\nfrom holdall.cli import main; main()", "server", "--port", "0"]
    command += ["--backend-store-uri", backend or "sqlite:///mlflow.db", *arguments]
    with log.open("w") as errors:
        process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=errors, text=True)
    assert process.stdout is not None
    try:
        yield LiveServer(_announced(process.stdout, log), process, log)
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        finally:
            process.kill()
            process.wait()
            process.stdout.close()


def _announced(output: IO[str], log: Path) -> str:
    """Where a server says that it serves."""
    for line in output:
        if " on http" in line:
            return line.rpartition(" on ")[2].strip()
    raise AssertionError(f"The server did not start: {log.read_text()}")


def _lowered(headers: list[tuple[str, str]]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers}
