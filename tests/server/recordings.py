"""What MLflow's clients said to a server and heard, as lines of JSON, and how it is said again to another one.

A line is an exchange: `{"ask": [method, path and query], "type": …, "json" or "bytes": …, "status": …, "answer" or
"length": …}`. Files that were moved are kept as their lengths. Ids and tokens that the server made are written
`«name»`: heard in an answer, they are said again where the client repeated them. What clients made up stands as it is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.server.live import LiveServer, Reply

__all__ = ["FOLDER", "Exchange", "Replay", "load", "save"]

FOLDER = Path(__file__).with_name("recorded")

TIMES = frozenset({"creation_time", "last_update_time", "creation_timestamp_ms", "last_updated_timestamp_ms"})
OWN = frozenset({"store_type", "holdall"})
"""Of a server's account of itself."""

VOLATILE = TIMES | OWN
"""What the server chooses: compared by type."""

_NAME = re.compile("«[a-z]+[0-9]+»")


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request and its answer.

    Attributes:
        method: HTTP method.
        target: Path and query, encoded.
        kind: Content type of the request; None for none.
        json: Body, if it was JSON.
        size: Length of the body, if it was not.
        status: Of the answer.
        answer: Its JSON, if it was that.
        length: Its length, if it was not.
    """

    method: str
    target: str
    kind: str | None
    json: object
    size: int | None
    status: int
    answer: object
    length: int | None

    @property
    def path(self) -> str:
        """Without the query."""
        return urlsplit(self.target).path

    @property
    def call(self) -> str:
        """Which endpoint it asks, as a method and a path whose variable parts are `*`."""
        path = re.sub(r"(/mlflow-artifacts/artifacts)/.*", r"\1/*", self.path)
        path = re.sub(r"(/logged-models)/(?!search$)[^/]+", r"\1/*", path)
        return f"{self.method} {re.sub(r'/tags/.*', '/tags/*', path)}"

    def line(self) -> str:
        """As one line of a file."""
        fields = {
            "ask": [self.method, self.target],
            "type": self.kind,
            "json": self.json,
            "bytes": self.size,
            "status": self.status,
            "answer": self.answer,
            "length": self.length,
        }
        return json.dumps({name: value for name, value in fields.items() if value is not None}, ensure_ascii=False)

    @classmethod
    def of(cls, line: str) -> Exchange:
        """From a line."""
        fields: dict[str, Any] = json.loads(line)
        method, target = fields["ask"]
        return cls(
            method,
            target,
            fields.get("type"),
            fields.get("json"),
            fields.get("bytes"),
            fields["status"],
            fields.get("answer"),
            fields.get("length"),
        )


def load(name: str) -> list[Exchange]:
    """The exchanges of a file."""
    return [Exchange.of(line) for line in (FOLDER / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]


def save(name: str, exchanges: Iterable[Exchange]) -> Path:
    """Write a file anew."""
    FOLDER.mkdir(exist_ok=True)
    file = FOLDER / f"{name}.jsonl"
    file.write_text("".join(f"{exchange.line()}\n" for exchange in exchanges), encoding="utf-8")
    return file


class Replay:
    """Says exchanges again, one after the other.

    Args:
        server: To whom.
    """

    def __init__(self, server: LiveServer) -> None:
        self._server = server
        self._heard: dict[str, str] = {}
        self._files: dict[str, bytes] = {}

    def differences(self, exchange: Exchange) -> list[str]:
        """Ask, and compare the answer with the one that was recorded."""
        target = self._said(exchange.target)
        content = _content(exchange)
        body = None if exchange.json is None else json.loads(self._said(json.dumps(exchange.json, ensure_ascii=False)))
        headers = {} if exchange.kind is None or body is not None else {"content-type": exchange.kind}
        reply = self._server.ask(exchange.method, target, body, headers, content)
        if reply.status != exchange.status:
            return [f"status {reply.status} in place of {exchange.status}: {reply.body[:500]!r}"]
        self._keep(exchange.method, target, content)
        if exchange.answer is not None:
            return self._compared(exchange.answer, reply.json(), "")
        return self._compared_files(exchange, target, reply)

    def _keep(self, method: str, target: str, content: bytes | None) -> None:
        if method == "PUT" and content is not None:
            self._files[target] = content

    def _compared_files(self, exchange: Exchange, target: str, reply: Reply) -> list[str]:
        expected = self._files.get(target)
        if exchange.method == "GET" and expected is not None:
            return [] if reply.body == expected else [f"{len(reply.body)} bytes other than those that were sent"]
        return []

    def _said(self, text: str) -> str:
        return _NAME.sub(lambda match: self._heard[match[0]], text)

    def _compared(self, expected: object, found: object, where: str) -> list[str]:
        if isinstance(expected, dict) and isinstance(found, dict):
            if expected.keys() != found.keys():
                return [f"{where}: {sorted(found)} in place of {sorted(expected)}"]
            return [
                text
                for key, item in expected.items()
                for text in (
                    self._same_type(item, found[key], f"{where}.{key}")
                    if key in VOLATILE
                    else self._compared(item, found[key], f"{where}.{key}")
                )
            ]
        if isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
            pairs = zip(self._ordered(expected), self._ordered(found), strict=True)
            return [text for number, pair in enumerate(pairs) for text in self._compared(*pair, f"{where}[{number}]")]
        if isinstance(expected, str) and isinstance(found, str):
            return [] if self._matches(expected, found) else [f"{where}: {found!r} in place of {expected!r}"]
        if type(expected) is type(found) and expected == found:
            return []
        return [f"{where}: {found!r} in place of {expected!r}"]

    def _ordered(self, items: list[Any]) -> list[Any]:
        """Lists whose order means nothing, by what tells their items apart: tags, params, latest metrics, inputs."""
        keys = [self._key(item) for item in items]
        if None in keys or len(set(keys)) < len(keys):  # a history has points of one key, and an order
            return items
        return [item for _, item in sorted(zip(keys, items, strict=True), key=lambda pair: str(pair[0]))]

    def _key(self, item: object) -> str | None:
        match item:
            case {"key": str(key), "value": _}:
                return key
            case {"dataset": {"name": str(name), "digest": str(digest)}}:
                return f"{name} {digest}"
            case {"model_id": str(model_id)}:
                return next((name for name, heard in self._heard.items() if heard == model_id), model_id)
        return None

    def _same_type(self, expected: object, found: object, where: str) -> list[str]:
        return [] if type(expected) is type(found) else [f"{where}: {found!r} in place of {expected!r}"]

    def _matches(self, expected: str, found: str) -> bool:
        """Whether a text is the recorded one; names that are heard for the first time are learnt."""
        pattern = ""
        new: list[str] = []
        for part in re.split(f"({_NAME.pattern})", expected):
            if not _NAME.fullmatch(part) or part in self._heard:
                pattern += re.escape(self._heard.get(part, part))
            elif part in new:
                pattern += rf"(?P=n{new.index(part)})"
            else:
                pattern += rf"(?P<n{len(new)}>[\w=\-]+)"
                new.append(part)
        match = re.fullmatch(pattern, found, re.DOTALL)
        if match is not None:
            self._heard.update(zip(new, match.groups(), strict=True))
        return match is not None


def _content(exchange: Exchange) -> bytes | None:
    """Bytes in place of those that were sent: as many, and not those of another file."""
    if exchange.size is None:
        return None
    pattern = exchange.target.encode()
    return (pattern * (exchange.size // len(pattern) + 1))[: exchange.size]
