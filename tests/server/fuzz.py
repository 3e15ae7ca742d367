"""Requests at random: `python -m tests.server.fuzz --minutes 60` sends them to a server of its own.

Whatever is sent, an answer must come soon, must be no failure of the server, and must be JSON with a known code if it
is a refusal.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_from_bytes

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from tests.server.calls import Caller
from tests.server.live import LiveServer, Reply, live_server
from tests.server.shapes import ARGUMENT, Plausible, distinct_routes, fields_of, plausible_values, put
from tests.server.wire import Wire

from holdall.stores.errors import HTTP_STATUS

__all__ = ["SLOW", "Shot", "Target", "shots"]

EXTRA_STATUS = {405: 400, 408: 400, 413: 400, 416: 400, 431: 400}
"""Statuses that HTTP has of its own, and those of the codes that come with them."""

ROUTES = distinct_routes()

SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example, HealthCheck.filter_too_much]
"""Checks of hypothesis that requests of this size would not pass."""

SLOWEST = 20.0
"""Seconds after which an answer counts as none."""


@dataclass(frozen=True)
class Shot:
    """A request.

    Attributes:
        method: HTTP method.
        target: Path and query, as bytes.
        headers: Besides `Host` and the length.
        body: Its body, or None.
    """

    method: str
    target: bytes
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None

    def __repr__(self) -> str:
        body = None if self.body is None else self.body[:500]
        return f"Shot({self.method!r}, {self.target[:500]!r}, {self.headers!r}, {body!r})"


# Values


def _nested(depth: int, last: object) -> object:
    for number in range(depth):
        last = [last] if number % 2 else {"a": last}
    return last


numbers = st.one_of(
    st.integers(),
    st.sampled_from([0, -1, 2**31, 2**53 + 1, 2**63 - 1, 2**63, -(2**63) - 1, 2**64, 10**400, 10**4000]),
    st.floats(allow_nan=True, allow_infinity=True),
)
texts = st.one_of(
    st.text(max_size=20),
    st.text(st.characters(categories=["Cs", "Cc", "Co", "Cn", "Zl", "Lo"]), max_size=5),
    st.sampled_from(
        ["", " ", "\0", "a\0b", "\ud800", "\udfff\ud800", "\ufeff", "é" * 300, "x" * 10_000, "x" * 100_000]
    ),
    st.sampled_from(
        ["NaN", "Infinity", "-inf", "1e999", "0x10", "1_000", "١٢", "1" * 5000, "true", "null", "[]", "{}"]
    ),
    st.sampled_from(["' OR 1=1 --", "metrics.a > 1 AND", "params.`a` = 'b'", "((((((", "a IN (", "tags.x LIKE '%'"]),
    st.sampled_from(["attributes.start_time > 99999999999999999999999", "metrics.m = 1e400", "name ILIKE '\\'", "`"]),
    st.sampled_from(
        ["(" * 5000, "a" + " AND a" * 3000, "metrics." + "a" * 5000 + " > 1", "../../etc/passwd", "%2e%2e/"]
    ),
    st.builds(lambda part, times: part * times, st.text(min_size=1, max_size=3), st.integers(1, 3000)),
)
scalars = st.one_of(st.none(), st.booleans(), numbers, texts)
values: st.SearchStrategy[Any] = st.one_of(
    scalars,
    st.recursive(
        scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4), max_leaves=8
    ),
    st.builds(_nested, st.integers(1, 400), scalars),
    st.builds(lambda times, value: [value] * times, st.integers(1, 2000), scalars),
)


def _places(document: object, place: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Where a document holds anything, the document itself excepted."""
    inner: list[tuple[str | int, object]] = []
    if isinstance(document, dict):
        inner = list(document.items())
    elif isinstance(document, list):
        inner = list(enumerate(document))
    found = [place] if place else []
    for step, value in inner:
        found += _places(value, (*place, step))
    return found


# Requests


@st.composite
def shots(draw: st.DrawFn, plausible: Plausible) -> Shot:
    """A request to one of the routes, with a few things wrong about it."""
    route = draw(st.sampled_from(ROUTES))
    document = fields_of(route, plausible)
    for _ in range(draw(st.integers(0, 3))):
        if not (places := _places(document)):
            break
        document = put(document, draw(st.sampled_from(places)), draw(values))
    if document and draw(st.integers(0, 9)) == 0:
        del document[draw(st.sampled_from(sorted(document)))]
    path = _fill(draw, route.path, document)
    method = (
        route.method if draw(st.integers(0, 19)) else draw(st.sampled_from(["PATCH", "DELETE", "HEAD", "OPTIONS", "X"]))
    )
    query = draw(_queries(document)) if method in ("GET", "HEAD") or draw(st.integers(0, 9)) == 0 else b""
    body = None if method in ("GET", "HEAD") else draw(_bodies(document))
    return Shot(method, path + (b"?" + query if query else b""), draw(_headers), body)


def _fill(draw: st.DrawFn, path: str, document: dict[str, Any]) -> bytes:
    for name in ARGUMENT.findall(path):
        given = document.pop(name, "x")
        raw = str(given).encode("utf-8", "surrogatepass")[:3000]
        text = quote_from_bytes(raw, safe=draw(st.sampled_from(["", "/", "/%:\\;"])))
        path = ARGUMENT.sub(lambda _, text=text: text or "x", path, count=1)  # type: ignore[misc]
    if draw(st.integers(0, 29)) == 0:
        path += draw(st.sampled_from(["/", "//", "/x", "%00", "%ff", "%", "%2", ";a=b", "/..", "/../..", "%2f", "\\"]))
    return path.encode()


@st.composite
def _queries(draw: st.DrawFn, document: Mapping[str, Any]) -> bytes:
    pairs = []
    for name, value in document.items():
        for item in value if isinstance(value, list) else [value]:
            text = str(item).encode("utf-8", "surrogatepass")[:8000]
            pairs.append(f"{quote(name.encode('utf-8', 'surrogatepass'))}={quote_from_bytes(text)}".encode())
    if draw(st.integers(0, 4)) == 0:
        odd = [
            b"&&",
            b"=",
            b"a",
            b"%",
            b"a=%ff",
            b"run_id=%ff",
            b"a=b;c=d",
            b"max_results=1&max_results=2",
            b"a" * 20_000,
        ]
        pairs.append(draw(st.sampled_from([*odd, b"&".join([b"order_by=a"] * 10_001)])))
    return b"&".join(draw(st.permutations(pairs)))


@st.composite
def _bodies(draw: st.DrawFn, document: dict[str, Any]) -> bytes:
    form = draw(st.integers(0, 19))
    text = json.dumps(document)
    if form == 0:
        return draw(st.binary(max_size=100))
    if form == 1:
        return draw(
            st.sampled_from(
                [b"", b"[", b"null", b"[]", b'"x"', b"1", b"NaN", b"\xff", b"[" * 100_000, b'{"a":' * 100_000]
            )
        )
    if form == 2:
        return text.encode(draw(st.sampled_from(["utf-16", "utf-32", "utf-8-sig", "utf-7"])), "replace")
    if form == 3:
        return json.dumps(document, ensure_ascii=False).encode("utf-8", "surrogatepass")
    if form == 4:
        return (text[:-1] + "," + text[1:] if document else text).encode()  # every key twice
    if form == 5:
        return text.encode() + draw(st.sampled_from([b"x", b"\0", b"{}", b" ", b"\n\n"]))
    if form == 6:
        return text.encode()[: draw(st.integers(0, len(text)))]
    return text.encode()


_headers = st.one_of(
    st.just((("content-type", "application/json"),)),
    st.just((("content-type", "application/json"),)),
    st.just((("content-type", "application/json"),)),
    st.sampled_from(
        [
            (),
            (("content-type", ""),),
            (("content-type", "application/json; charset=utf-16"),),
            (("content-type", "APPLICATION/JSON ;x"),),
            (("content-type", "text/plain"),),
            (("content-type", "application/json"), ("content-encoding", "gzip")),
            (("content-type", "application/json"), ("accept", "x" * 5000)),
            (("content-type", "application/json"), ("authorization", "Basic é")),
            (("content-type", "application/json"), ("range", "bytes=5-1,-0,99999999999999999999-")),
            (("content-type", "application/json"), ("range", "bytes=-" + "9" * 5000), ("if-none-match", "*")),
            (("content-type", "application/json"), ("content-digest", "sha-256=:!:"), ("repr-digest", "md5=::")),
            (("content-type", "application/json"), ("content-range", "bytes 0-1/-5")),
        ]
    ),
)


# A server


@dataclass
class Target:
    """A server that requests are sent to.

    Attributes:
        server: The server.
        statuses: How many answers had which status.
    """

    server: LiveServer
    statuses: Counter[int] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._wire = Wire(self.server.url, SLOWEST)

    def __enter__(self) -> Target:
        return self

    def __exit__(self, *_: object) -> None:
        self._wire.close()

    def strategy(self) -> st.SearchStrategy[Shot]:
        """Requests for this server."""
        return shots(plausible_values(Caller(self.server)))

    def fire(self, shot: Shot) -> None:
        """Send a request, and check what comes."""
        reply = self._wire.ask(shot.method, shot.target, shot.headers, shot.body)
        self.statuses[reply.status] += 1
        problem = _problem(shot, reply)
        assert problem is None, f"{problem}: {shot!r}: {reply.status} {reply.body[:1000]!r}"


def _problem(shot: Shot, reply: Reply) -> str | None:
    """What is wrong with an answer, or None."""
    if reply.status >= 500 and reply.status != 501:
        return "a failure"
    if reply.status < 400 or shot.method == "HEAD":
        return None
    try:
        document = json.loads(reply.body)
    except ValueError:
        return "not JSON"
    code = document.get("error_code")
    if code == "DATA_LOSS" and reply.status == 400:  # the sender's digest is wrong: nothing of the server's is lost
        return None
    expected = HTTP_STATUS.get(code)
    if expected is None or expected != EXTRA_STATUS.get(reply.status, reply.status):
        return "not a code of this status"
    return None if isinstance(document.get("message"), str) else "no message"


def main() -> None:
    """Send requests until the time is over; fails at the first answer that is wrong, with a request made small."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=time.time_ns())
    options = parser.parse_args()
    end = time.monotonic() + options.minutes * 60
    with tempfile.TemporaryDirectory() as folder, live_server(Path(folder)) as server, Target(server) as target:
        strategy = target.strategy()
        number = options.seed
        while time.monotonic() < end:
            _round(target, strategy, number)
            print(f"seed {number}: {sum(target.statuses.values())} requests, {dict(target.statuses)}", flush=True)  # noqa: T201
            number += 1
        assert "Traceback" not in server.log.read_text(), server.log.read_text()


def _round(target: Target, strategy: st.SearchStrategy[Shot], number: int) -> None:
    @seed(number)
    @settings(
        max_examples=1000,
        deadline=None,
        database=None,
        suppress_health_check=SLOW,
        phases=[Phase.generate, Phase.shrink],
    )
    @given(strategy)
    def fire(shot: Shot) -> None:
        target.fire(shot)

    fire()


if __name__ == "__main__":
    main()
