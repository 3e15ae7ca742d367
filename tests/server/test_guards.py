"""Whose `Host` is answered, and from which origins things may be changed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import pytest
from tests.server.live import LiveServer, live_server
from tests.server.wire import Wire, head_of

from holdall.server.guards import Guards, is_loopback
from holdall.server.messages import Request
from holdall.server.options import ServerOptions
from holdall.stores.errors import InvalidParameterValue, PermissionDenied

pytestmark = pytest.mark.extras

LOOPBACK = ServerOptions()
EVERYWHERE = ServerOptions(host="0.0.0.0")
SITE = "https://ml.example.com"
JSON = ("content-type", "application/json")


async def nothing() -> NoReturn:
    raise AssertionError("the body is not read")


def request(method: str = "POST", path: str = "/x", **headers: str) -> Request:
    named = {name.replace("_", "-").encode(): value.encode("latin-1") for name, value in headers.items()}
    return Request(method, path, b"", named, nothing)


def is_served(options: ServerOptions, host: str) -> bool:
    try:
        Guards(options).check(request("GET", host=host))
    except PermissionDenied:
        return False
    return True


@pytest.mark.parametrize(
    "host",
    """
    localhost localhost:5000 LOCALHOST:5000 localhost.:5000 127.0.0.1 127.0.0.1:5000 127.1.2.3 [::1] [::1]:5000
    """.split(),
)
def test_ask_with_host_of_loopback_is_served(host: str) -> None:
    assert is_served(LOOPBACK, host)
    assert is_served(EVERYWHERE, host)


@pytest.mark.parametrize(
    "host",
    """
    evil.com evil.com:5000 localhost.evil.com 127.0.0.1.evil.com 127.0.0.1:5000.evil.com evil.com:127.0.0.1 127.1
    0x7f000001 2130706433 localhost@evil.com evil.com@localhost localhost#evil.com localhost/evil.com localhost:5000:1
    [::1]evil.com [evil.com] [::1 ::1] localhost:x localhost:500000 xn--localhost evil.localhost localhost\\evil.com
    8.8.8.8 8.8.8.8:5000 [2001:4860:4860::8888]
    """.split(),
)
def test_ask_with_foreign_host_is_refused(host: str) -> None:
    assert not is_served(LOOPBACK, host)
    assert not is_served(EVERYWHERE, host)


@pytest.mark.parametrize("host", ["", "localhost evil.com", "local\xe9host", "a" * 100_000])
def test_ask_with_malformed_host_is_refused(host: str) -> None:
    assert not is_served(LOOPBACK, host)


@pytest.mark.parametrize("host", "10.1.2.3:5000 192.168.0.7 172.16.0.1:80 0.0.0.0:5000 [fd00::1]:5000".split())
def test_ask_with_private_address_is_served_where_all_addresses_are_listened_on(host: str) -> None:
    assert is_served(EVERYWHERE, host)
    assert is_served(replace(LOOPBACK, host="::"), host)
    assert not is_served(LOOPBACK, host)


def test_ask_with_name_that_is_bound_is_served() -> None:
    options = replace(LOOPBACK, host="ml.lab")
    assert is_served(options, "ML.lab:5000")
    assert not is_served(options, "ml.lab.evil.com")
    assert is_served(replace(LOOPBACK, host="fd00::7"), "[fd00::7]:5000")


@pytest.mark.parametrize(
    ("pattern", "host", "expected"),
    [
        ("ml.lab", "ml.lab", True),
        ("ml.lab", "ML.LAB:8080", True),
        ("ml.lab:5000", "ml.lab:5000", True),
        ("ml.lab:5000", "ml.lab:5001", False),
        ("ml.lab:*", "ml.lab:5001", True),
        ("*.lab", "a.b.lab", True),
        ("*.lab", "lab", False),
        ("*.lab", "a.lab.evil.com", False),
        ("ml?lab", "ml.lab", False),
        ("m[lx].lab", "ml.lab", False),
        ("10.*", "10.1.2.3:5000", True),
        ("10.*", "10.evil.com", False),
        ("192.168.*.*", "192.168.evil.com", False),
        ("[fd00::1]:5000", "[fd00::1]:5000", True),
        ("*", "evil.com", True),
        ("*", "", True),
    ],
)
def test_ask_with_pattern_of_hosts_is_served_where_it_matches(pattern: str, host: str, expected: bool) -> None:
    assert is_served(replace(LOOPBACK, allowed_hosts=(pattern,)), host) is expected


def test_start_with_malformed_pattern_raises() -> None:
    with pytest.raises(InvalidParameterValue, match="pattern"):
        Guards(replace(LOOPBACK, allowed_hosts=("http://ml.lab",)))


def may_change(options: ServerOptions, **headers: str) -> bool:
    try:
        Guards(options).check(request(**{"host": "localhost:5000", **headers}))
    except PermissionDenied:
        return False
    return True


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"origin": "http://localhost:5000"},
        {"origin": "http://localhost:5000", "sec_fetch_site": "same-origin"},
        {"sec_fetch_site": "none"},
        {"host": "localhost", "origin": "http://localhost"},
        {"host": "localhost", "origin": "https://localhost:443"},
        {"host": "[::1]:5000", "origin": "http://[::1]:5000"},
    ],
)
def test_change_from_no_page_or_own_page_is_served(headers: dict[str, str]) -> None:
    assert may_change(LOOPBACK, **headers)


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.com"},
        {"origin": "null"},
        {"origin": ""},
        {"origin": "http://localhost"},
        {"origin": "http://localhost:5001"},
        {"origin": "http://localhost:5000.evil.com"},
        {"origin": "http://localhost:5000@evil.com"},
        {"origin": "http://[::1"},
        {"origin": "file://localhost:5000"},
        {"origin": "localhost:5000"},
        {"origin": "http://evil.com, http://localhost:5000"},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "Cross-Site"},
        {"sec_fetch_site": "same-site"},
        {"origin": "http://localhost:5000", "sec_fetch_site": "cross-site"},
    ],
)
def test_change_from_foreign_page_is_refused(headers: dict[str, str]) -> None:
    assert not may_change(LOOPBACK, **headers)
    assert not may_change(replace(LOOPBACK, allowed_origins=(SITE,)), **headers)


def test_change_from_allowed_origin_is_served() -> None:
    options = replace(LOOPBACK, allowed_origins=(f"{SITE}/",))
    assert may_change(options, origin=SITE, sec_fetch_site="cross-site")
    assert may_change(replace(LOOPBACK, allowed_origins=("*",)), origin="https://any.example")
    assert not may_change(options, origin=f"{SITE}.evil.com")


@pytest.mark.parametrize(
    ("host", "expected"),
    [("localhost", True), ("127.0.0.1", True), ("::1", True), ("0.0.0.0", False), ("::", False), ("ml.lab", False)],
)
def test_look_at_address_tells_whether_others_reach_it(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


# A live server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with live_server(tmp_path_factory.mktemp("server"), "--cors-allowed-origins", SITE) as live:
        yield live


@pytest.fixture
def wire(server: LiveServer) -> Iterator[Wire]:
    with Wire(server.url) as connection:
        yield connection


def test_ask_live_server_with_foreign_host_is_403_except_for_health(wire: Wire) -> None:
    reply = wire.ask("GET", "/version", [("host", "evil.com")])
    assert (reply.status, reply.json()["error_code"]) == (403, "PERMISSION_DENIED")
    assert "--allowed-hosts" in str(reply.json()["message"])
    assert wire.ask("GET", "/health", [("host", "evil.com")]).status == 200
    assert wire.send(b"GET /version HTTP/1.0\r\n\r\n").status == 403
    assert wire.ask("GET", "/no/such/path", [("host", "evil.com")]).status == 403


@pytest.mark.parametrize("name", ["host", "origin", "authorization", "content-type"])
def test_ask_live_server_with_header_given_twice_is_400(wire: Wire, name: str) -> None:
    reply = wire.ask("GET", "/version", [("host", "localhost"), (name, "localhost"), (name, "evil.com")])
    assert (reply.status, reply.json()["error_code"]) == (400, "INVALID_PARAMETER_VALUE")


def test_ask_live_server_for_absolute_target_of_other_host_goes_by_the_header(wire: Wire) -> None:
    assert wire.ask("GET", "http://evil.com/version", [("host", "localhost")]).status == 200
    assert wire.ask("GET", "http://localhost/version", [("host", "evil.com")]).status == 403


def test_change_on_live_server_from_foreign_page_does_nothing(wire: Wire) -> None:
    create = "/api/2.0/mlflow/experiments/create"
    reply = wire.ask("POST", create, [JSON, ("origin", "https://evil.com")], b'{"name": "csrf"}')
    assert (reply.status, reply.json()["error_code"]) == (403, "PERMISSION_DENIED")
    assert "access-control-allow-origin" not in reply.headers
    assert wire.ask("GET", "/api/2.0/mlflow/experiments/get-by-name?experiment_name=csrf").status == 404


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"])
def test_change_on_live_server_by_form_is_refused(wire: Wire, kind: str) -> None:
    reply = wire.ask("POST", "/api/2.0/mlflow/experiments/create", [("content-type", kind)], b'{"name": "form"}')
    assert reply.status == 400


def test_ask_live_server_from_allowed_page_can_be_read_by_it(wire: Wire) -> None:
    asked = [("origin", SITE), ("access-control-request-method", "POST")]
    reply = wire.ask(
        "OPTIONS", "/api/2.0/mlflow/runs/create", [*asked, ("access-control-request-headers", "authorization")]
    )
    assert (reply.status, reply.headers["access-control-allow-origin"]) == (204, SITE)
    assert reply.headers["access-control-allow-headers"] == "authorization"
    assert "POST" in reply.headers["access-control-allow-methods"]
    answer = wire.ask("POST", "/api/2.0/mlflow/experiments/search", [JSON, ("origin", SITE)], b"{}")
    assert (answer.status, answer.headers["access-control-allow-origin"]) == (200, SITE)
    assert answer.headers["vary"] == "origin"
    missing = wire.ask("GET", "/api/2.0/mlflow/experiments/get?experiment_id=9", [("origin", SITE)])
    assert (missing.status, missing.headers["access-control-allow-origin"]) == (404, SITE)


def test_ask_live_server_beforehand_from_foreign_page_is_403(wire: Wire) -> None:
    asked = [("origin", "https://evil.com"), ("access-control-request-method", "POST")]
    reply = wire.ask("OPTIONS", "/api/2.0/mlflow/runs/create", asked)
    assert reply.status == 403
    assert not [name for name in reply.headers if name.startswith("access-control")]
    assert wire.ask("OPTIONS", "/api/2.0/mlflow/runs/create").status == 405


def test_start_on_all_addresses_without_users_says_so_loudly(tmp_path: Path) -> None:
    with live_server(tmp_path, "--host", "0.0.0.0") as live:
        text = live.log.read_text()
    assert "WARNING: everybody who can reach" in text
    assert "--auth" in text


def test_start_on_loopback_without_users_is_quiet(server: LiveServer) -> None:
    assert server.log.read_text().count("everybody") == 0


def test_write_head_keeps_bytes() -> None:
    assert head_of("GET", b"/\xff", [("a", b"\xfe")]) == b"GET /\xff HTTP/1.1\r\na: \xfe\r\n\r\n"
