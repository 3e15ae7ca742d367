"""Tracking servers whose answers a test writes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.artifacts.scripted_server import Answer, Asked, ScriptedServer, scripted_server

from holdall.backends.http.store import HttpBackendStore
from holdall.stores import StoreURI

__all__ = [
    "API",
    "INFO",
    "MODEL",
    "RUN",
    "SERVER_INFO",
    "Script",
    "clear_settings",
    "document",
    "open_server",
    "refusal",
    "scripted_api",
]

API = "/api/2.0/mlflow/"
SERVER_INFO = "/api/3.0/mlflow/server-info"

INFO = {"run_id": "r", "experiment_id": "1", "status": "RUNNING", "lifecycle_stage": "active"}
RUN = {"info": INFO, "data": {}}
MODEL = {"info": {"model_id": "m-1", "experiment_id": "1", "name": "n"}, "data": {}}

Script = Mapping[str, Answer | Callable[[Asked], Answer]]
"""Answers by the path after `API`, or by the whole path."""


def document(value: object, status: int = 200, **headers: str) -> Answer:
    """An answer in JSON."""
    return Answer(status, json.dumps(value).encode(), {"Content-Type": "application/json", **headers})


def refusal(status: int, code: str, message: str = "because") -> Answer:
    """An answer that is an error of the API."""
    return document({"error_code": code, "message": message}, status)


@contextmanager
def scripted_api(script: Script, certificate: Path | None = None) -> Iterator[ScriptedServer]:
    """A server that answers by a script, and with a page of HTML and 404 to all else."""

    def answer(asked: Asked) -> Answer:
        found = script.get(asked.path.removeprefix(API), script.get(asked.path))
        if found is None:
            return Answer(404, b"<html>not found</html>", {"Content-Type": "text/html"})
        return found if isinstance(found, Answer) else found(asked)

    with scripted_server(answer, certificate) as server:
        yield server


def open_server(server: ScriptedServer | str, *, patience: float = 10.0, read_only: bool = False) -> HttpBackendStore:
    """The store at a server, or at the URI of one."""
    url = server if isinstance(server, str) else server.url
    return HttpBackendStore(StoreURI.parse(f"{url}?patience={patience}"), read_only=read_only)


def clear_settings(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    """Keep what the environment of whoever runs the tests says of servers away from a test."""
    for name in (
        "USERNAME",
        "PASSWORD",
        "TOKEN",
        "INSECURE_TLS",
        "SERVER_CERT_PATH",
        "CLIENT_CERT_PATH",
    ):
        monkeypatch.delenv(f"MLFLOW_TRACKING_{name}", raising=False)
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_TIMEOUT", raising=False)
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setenv("HOME", str(home))
