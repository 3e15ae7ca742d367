"""A proxy that writes down what a client and a server say to each other."""

from __future__ import annotations

import http.client
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.server.recordings import Exchange

__all__ = ["Recorder", "anonymous", "recorder"]

_NOT_PASSED_ON = frozenset({"transfer-encoding", "connection", "content-length", "date", "server"})


@dataclass(slots=True)
class Recorder:
    """What was said so far.

    Attributes:
        url: Of the proxy.
        exchanges: In the order in which they were answered.
    """

    url: str
    exchanges: list[Exchange] = field(default_factory=list)


@contextmanager
def recorder(server: str) -> Iterator[Recorder]:
    """A proxy before a server while the context lasts.

    Args:
        server: `http://host:port`.
    """
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _pass_on(self) -> None:
            body = self._body()
            connection = http.client.HTTPConnection(server.removeprefix("http://"), timeout=120)
            headers = {name: value for name, value in self.headers.items() if name.lower() not in _NOT_PASSED_ON}
            connection.request(self.command, self.path, body=body, headers=headers)
            reply = connection.getresponse()
            content = reply.read()
            with lock:
                kind = self.headers.get("Content-Type")
                found.exchanges.append(_exchange(self.command, self.path, kind, body, reply, content))
            self.send_response(reply.status)
            for name, value in reply.getheaders():
                if name.lower() not in _NOT_PASSED_ON:
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)
            connection.close()

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = _pass_on  # noqa: N815

        def _body(self) -> bytes | None:
            if "chunked" in self.headers.get("Transfer-Encoding", ""):
                return self._chunks()
            length = self.headers.get("Content-Length")
            return None if length is None else self.rfile.read(int(length))

        def _chunks(self) -> bytes:
            body = b""
            while size := int(self.rfile.readline().partition(b";")[0], 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as proxy:
        found = Recorder(f"http://127.0.0.1:{proxy.server_port}")
        thread = threading.Thread(target=proxy.serve_forever, daemon=True)
        thread.start()
        try:
            yield found
        finally:
            proxy.shutdown()
            thread.join()


def _exchange(
    method: str, target: str, kind: str | None, body: bytes | None, reply: http.client.HTTPResponse, content: bytes
) -> Exchange:
    is_call = "/mlflow-artifacts/artifacts/" not in target  # anything else than a file
    said = json.loads(body) if body and is_call else None
    heard = _parsed(content) if is_call or reply.status != 200 else None
    size = None if body is None or is_call else len(body)
    length = len(content) if heard is None else None
    return Exchange(method, target, kind if body else None, said, size, reply.status, heard, length)


def _parsed(content: bytes) -> object:
    try:
        found: object = json.loads(content)
    except ValueError:
        return None
    return found


_MADE = {
    "run": re.compile(r"(?<![0-9a-zA-Z-])[0-9a-f]{32}(?![0-9a-zA-Z])"),
    "model": re.compile(r"(?<![0-9a-zA-Z])m-[0-9a-f]{32}(?![0-9a-zA-Z])"),
    "experiment": re.compile(r"(?<![0-9a-zA-Z])[0-9]{18}(?![0-9a-zA-Z])"),
    "name": re.compile(r'(?<=")[a-z]+-[a-z]+-[0-9]{1,3}(?=")'),
    "token": re.compile(r'(?<="next_page_token": ")[^"]+'),
}
"""How ids look that a store of files makes; shorter ones could not be told from other numbers. Names are of runs."""


def anonymous(exchanges: list[Exchange]) -> list[Exchange]:
    """The exchanges with names in place of what the server made: what was heard before it was said."""
    names: dict[str, str] = {}
    said: set[str] = set()

    def named(text: str) -> str:
        for made, name in names.items():
            text = text.replace(made, name)
        return text

    def learn(text: str) -> None:
        for kind, pattern in _MADE.items():
            for made in pattern.findall(text):
                if made not in said and made not in names:
                    names[made] = f"«{kind}{sum(name.startswith(f'«{kind}') for name in names.values()) + 1}»"

    found = []
    for exchange in exchanges:
        asked = exchange.target + json.dumps(exchange.json, ensure_ascii=False)
        said |= {made for pattern in _MADE.values() for made in pattern.findall(asked)} - names.keys()
        answer = json.dumps(exchange.answer, ensure_ascii=False)
        learn(answer)
        found.append(
            replace(
                exchange,
                target=named(exchange.target),
                json=json.loads(named(json.dumps(exchange.json, ensure_ascii=False))),
                answer=json.loads(named(answer)),
            )
        )
    return found
