"""The same requests to MLflow's server and to ours get the same answers; where not, a reason is written beside them."""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from tests.interop.api_cases import CASES, Case
from tests.interop.mlflow_server import mlflow_server
from tests.server.live import live_server

pytestmark = [pytest.mark.interop, pytest.mark.extras]

VERSION = "3.17.2"

TIMES = frozenset({"creation_time", "last_update_time", "creation_timestamp_ms", "last_updated_timestamp_ms"})
"""What the server chooses: compared by type."""

Answer = tuple[int, object]
"""The status, and the code of the error or the document, without what differs from one time to the next."""


class Asker:
    """Sends the cases to a server one after the other."""

    def __init__(self, url: str) -> None:
        self._connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=60)
        self._known: dict[str, str] = {}

    def close(self) -> None:
        self._connection.close()

    def ask(self, case: Case) -> Answer:
        body = case.raw if case.body is None else self._filled(json.dumps(case.body)).encode()
        headers = {} if case.kind is None or body is None else {"Content-Type": case.kind}
        path = f"/api/2.0/mlflow/{self._filled(case.endpoint)}"
        self._connection.request(case.method, path, body=body, headers=headers)
        reply = self._connection.getresponse()
        content = reply.read()
        try:
            document: Any = json.loads(content)
        except ValueError:
            return reply.status, "no JSON"
        if reply.status != 200:
            return reply.status, document.get("error_code")
        for name, place in case.keep.items():
            found = document
            for step in place:
                found = found[step]
            self._known[name] = found
        return reply.status, self._normal(document)

    def _filled(self, text: str) -> str:
        return re.sub(r"\$([a-z]+)", lambda match: self._known[match[1]], text)

    def _normal(self, value: object, key: str = "") -> object:
        if isinstance(value, dict):
            return {name: self._normal(item, name) for name, item in sorted(value.items())}
        if isinstance(value, list):
            return (
                sorted((self._normal(item) for item in value), key=_place)
                if _is_set(value)
                else [*map(self._normal, value)]
            )
        if key in TIMES:
            return type(value)
        if isinstance(value, str):
            return self._anonymous(value, key)
        return value, type(value)

    def _anonymous(self, text: str, key: str) -> str:
        if key == "next_page_token":
            return "a token"
        if key == "experiment_id":
            return next(f"${name}" for name, known in {**self._known, "default": "0"}.items() if text == known)
        for name in ("run", "model"):
            if name in self._known:
                text = text.replace(self._known[name], f"${name}")
        return re.sub(r"\b[0-9a-f]{32}\b", "<id>", text)


def _is_set(items: list[object]) -> bool:
    """Whether it is a list of tags, params or latest metrics, whose order means nothing."""
    return all(isinstance(item, dict) and {"key", "value"} <= set(item) for item in items)


def _place(item: object) -> str:
    return repr(item)


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[tuple[Answer, Answer]]]:
    """What MLflow answers, and what we do, case by case."""
    theirs, ours = (tmp_path_factory.mktemp(name) for name in ("mlflow", "holdall"))
    with mlflow_server(VERSION, theirs) as url, live_server(ours) as live:
        askers = [Asker(url), Asker(live.url)]
        yield [(askers[0].ask(case), askers[1].ask(case)) for case in CASES]
        for asker in askers:
            asker.close()


@pytest.mark.parametrize("number", range(len(CASES)), ids=[f"{case.method} {case.endpoint}" for case in CASES])
def test_ask_mlflow_and_holdall_answers_are_the_same_or_differ_as_declared(
    answers: list[tuple[Answer, Answer]], number: int
) -> None:
    case, (theirs, ours) = CASES[number], answers[number]
    assert ours[0] < 500, "no request of a user makes the server fail"
    assert ours[1] != "no JSON"
    if case.differs:
        assert ours != theirs, f"there is no difference any more; remove: {case.differs}"
    else:
        assert ours == theirs
