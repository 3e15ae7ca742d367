"""What the tests of the API ask of a server, in few words."""

from __future__ import annotations

import json
import uuid
from typing import Any
from urllib.parse import urlencode

from tests.server.live import LiveServer, Reply

from holdall.stores.errors import HTTP_STATUS

__all__ = ["BASE", "Caller", "created_experiment", "created_run", "failure", "pairs", "unique"]

BASE = "/api/2.0/mlflow/"


def unique(name: str) -> str:
    """A name that no other test gives to anything."""
    return f"{name} {uuid.uuid4().hex[:8]}"


class Caller:
    """Asks a server's API, and knows what to expect of any answer.

    Args:
        server: To ask.
        base: What endpoints are below.
    """

    def __init__(self, server: LiveServer, base: str = BASE) -> None:
        self.server = server
        self.base = base

    def reply(self, method: str, endpoint: str, body: object = None, query: object = None) -> Reply:
        """Ask, whatever comes of it."""
        text = f"?{urlencode(query, doseq=True)}" if isinstance(query, (dict, list)) else ""
        if body is None:
            return self.server.ask(method, f"{self.base}{endpoint}{text}")
        headers = {"content-type": "application/json"}
        return self.server.ask(method, f"{self.base}{endpoint}{text}", headers=headers, raw=json.dumps(body).encode())

    def get(self, endpoint: str, **query: object) -> dict[str, Any]:
        """The document that a `GET` gives."""
        return succeeded(self.reply("GET", endpoint, query=query))

    def post(self, endpoint: str, **body: object) -> dict[str, Any]:
        """The document that a `POST` gives."""
        return succeeded(self.reply("POST", endpoint, body))

    def ask(self, method: str, endpoint: str, **body: object) -> dict[str, Any]:
        """The document that another method gives."""
        return succeeded(self.reply(method, endpoint, body))

    def refused(self, endpoint: str, body: object, code: str = "INVALID_PARAMETER_VALUE", method: str = "POST") -> str:
        """The message with which a call with a body is refused."""
        return failure(self.reply(method, endpoint, body), code)

    def refused_get(self, endpoint: str, query: object, code: str = "INVALID_PARAMETER_VALUE") -> str:
        """The message with which a `GET` is refused."""
        return failure(self.reply("GET", endpoint, query=query), code)

    def run(self, run_id: str) -> dict[str, Any]:
        """A run as it is now."""
        run: dict[str, Any] = self.get("runs/get", run_id=run_id)["run"]
        return run

    def experiment(self, experiment_id: str) -> dict[str, Any]:
        """An experiment as it is now."""
        experiment: dict[str, Any] = self.get("experiments/get", experiment_id=experiment_id)["experiment"]
        return experiment

    def points(self, run_id: str, key: str, **query: object) -> list[dict[str, Any]]:
        """The history of a metric."""
        points: list[dict[str, Any]] = self.get("metrics/get-history", run_id=run_id, metric_key=key, **query).get(
            "metrics", []
        )
        return points


def created_experiment(api: Caller, name: str = "experiment", **fields: object) -> str:
    """The id of a new experiment."""
    experiment_id: str = api.post("experiments/create", name=unique(name), **fields)["experiment_id"]
    return experiment_id


def created_run(api: Caller, experiment_id: str = "0", **fields: object) -> str:
    """The id of a new run."""
    run_id: str = api.post("runs/create", experiment_id=experiment_id, **fields)["run"]["info"]["run_id"]
    return run_id


def succeeded(reply: Reply) -> dict[str, Any]:
    """The document of an answer that must be one of success."""
    assert reply.status == 200, (reply.status, reply.body)
    assert reply.headers["content-type"] == "application/json"
    return reply.json()


def failure(reply: Reply, code: str) -> str:
    """The message of an answer that must be a refusal of this code, with the status that belongs to it."""
    document = reply.json()
    assert (reply.status, document.get("error_code")) == (HTTP_STATUS[code], code), (reply.status, document)
    assert set(document) == {"error_code", "message"}
    message = document["message"]
    assert isinstance(message, str)
    assert message
    return message


def pairs(items: list[dict[str, str]]) -> dict[str, str]:
    """Tags or params by key, each of which must be there once."""
    found = {item["key"]: item["value"] for item in items}
    assert len(found) == len(items)
    return found
