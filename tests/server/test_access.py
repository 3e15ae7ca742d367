"""Who may do what: every route has a policy, and a server with users keeps to it."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.server.live import LiveServer, Reply, live_server
from tests.server.wire import Wire

from holdall.server.endpoints import all_routes
from holdall.server.routes import Access, Route
from holdall.server.throttle import Throttle, TooManyAttempts
from holdall.users import PasswordHash, Role, User, edited_users, save_users, token_digest

pytestmark = pytest.mark.extras

PASSWORD = "correct horse é"
TOKENS = {role: f"hld_token-of-{role}" for role in Role}
LEVEL = {Role.READER: Access.READ, Role.WRITER: Access.WRITE, Role.ADMIN: Access.ADMIN}

PUBLIC = {"/health", "/ready", "/version"}
"""What tells nothing about what is stored."""

READING_POSTS = {
    "artifacts/presigned-download-url",
    "experiments/search",
    "experiments/search-datasets",
    "logged-models/search",
    "runs/search",
}
"""Endpoints that are asked by `POST`, since what they are asked may be long, and change nothing."""

JSON = ("content-type", "application/json")
SEARCH = "/api/2.0/mlflow/experiments/search"


def lowest_access(route: Route) -> Access:
    """What a route must ask for at least."""
    if route.path in PUBLIC:
        return Access.PUBLIC
    if route.method in ("GET", "HEAD") or route.path.partition("/mlflow/")[2] in READING_POSTS:
        return Access.READ
    return Access.WRITE


def test_list_routes_none_is_weaker_than_what_it_does() -> None:
    weak = [f"{route.method} {route.path}" for route in all_routes() if route.access < lowest_access(route)]
    assert weak == []


def test_list_routes_each_has_a_policy_of_its_own() -> None:
    routes = all_routes()
    assert all(isinstance(route.access, Access) for route in routes)
    assert len({(route.method, route.path) for route in routes}) == len(routes)


def test_list_exceptions_to_the_policy_are_all_needed() -> None:
    paths = {route.path for route in all_routes()}
    assert paths >= PUBLIC
    assert {path.partition("/mlflow/")[2] for path in paths} >= READING_POSTS


def test_list_routes_one_endpoint_has_one_policy_under_all_prefixes() -> None:
    found: dict[tuple[str, str], set[Access]] = {}
    for route in all_routes():
        _, below, endpoint = route.path.partition("/mlflow")
        if below:
            found.setdefault((route.method, endpoint), set()).add(route.access)
    assert [endpoint for endpoint, policies in found.items() if len(policies) > 1] == []


# A server with users


def users() -> list[User]:
    hashed = PasswordHash.of(PASSWORD)
    made = [User(role.value, role, hashed, (token_digest(TOKENS[role]),)) for role in Role]
    return [*made, User("robot", Role.WRITER)]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("users") / "users.toml"
    save_users(file, users())
    return file


@pytest.fixture(scope="module")
def server(file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with live_server(tmp_path_factory.mktemp("server"), "--auth", str(file), "--workers", "1") as live:
        yield live


@pytest.fixture
def wire(server: LiveServer) -> Iterator[Wire]:
    with Wire(server.url) as connection:
        yield connection


def basic(name: str, password: str, encoding: str = "utf-8") -> tuple[str, str]:
    return "authorization", "Basic " + base64.b64encode(f"{name}:{password}".encode(encoding)).decode()


def bearer(token: str) -> tuple[str, str]:
    return "authorization", f"Bearer {token}"


def search(wire: Wire, *headers: tuple[str, str]) -> Reply:
    return wire.ask("POST", SEARCH, [JSON, *headers], b"{}")


def target_of(route: Route) -> str:
    return route.path.replace("{", "").replace(":path}", "").replace("}", "")


@pytest.mark.parametrize("role", [None, *Role], ids=str)
def test_ask_every_route_is_decided_by_its_policy(wire: Wire, role: Role | None) -> None:
    wrong = []
    for route in all_routes():
        headers = [bearer(TOKENS[role])] if role else []
        reply = wire.ask(route.method, target_of(route), [("content-type", "text/nonsense"), *headers], b"x")
        if role is None and route.access is not Access.PUBLIC:
            as_it_should = reply.status == 401 and "www-authenticate" in reply.headers
        elif role is not None and LEVEL[role] < route.access:
            as_it_should = reply.status == 403 and reply.json()["error_code"] == "PERMISSION_DENIED"
        else:
            as_it_should = reply.status not in (401, 403)
        if not as_it_should:
            wrong.append((route.method, route.path, reply.status))
    assert wrong == []


def test_ask_without_credentials_is_401_before_the_body_is_read(server: LiveServer) -> None:
    with Wire(server.url, timeout=10) as wire:
        headers = [JSON, ("content-length", "1000000")]
        reply = wire.ask("POST", "/api/2.0/mlflow/runs/create", headers)
    assert (reply.status, reply.json()["error_code"]) == (401, "UNAUTHENTICATED")
    assert reply.headers["www-authenticate"].startswith("Basic realm=")


def test_sign_in_with_password_or_token_is_served(wire: Wire) -> None:
    assert search(wire, basic("reader", PASSWORD)).status == 200
    assert search(wire, ("Authorization", basic("reader", PASSWORD)[1].replace("Basic", "basic"))).status == 200
    assert search(wire, basic("reader", PASSWORD, "latin-1")).status == 200
    assert search(wire, bearer(TOKENS[Role.READER])).status == 200


@pytest.mark.parametrize(
    "header",
    [
        basic("reader", "wrong word"),
        basic("reader", ""),
        basic("Reader", PASSWORD),
        basic("nobody", PASSWORD),
        basic("robot", PASSWORD),
        basic("robot", ""),
        basic("", ""),
        basic("reader", TOKENS[Role.READER]),
        basic("\0" * 100, "\ud7ff" * 100),
        bearer(TOKENS[Role.READER] + "x"),
        bearer(token_digest(TOKENS[Role.READER])),
        bearer(""),
        bearer("é"),
        ("authorization", "Basic"),
        ("authorization", "Basic !!!"),
        ("authorization", "Basic " + base64.b64encode(b"reader").decode()),
        ("authorization", "Basic " + base64.b64encode(b"\xff\xfe:\xff").decode()),
        ("authorization", "Basic " + base64.b64encode(b"a:" + b"x" * 30_000).decode()),
        ("authorization", "Digest username=reader"),
        ("authorization", ""),
        ("authorization", " "),
    ],
    ids=lambda header: ascii(header[1][:40]),
)
def test_sign_in_with_anything_else_is_401(wire: Wire, header: tuple[str, str]) -> None:
    reply = search(wire, header)
    assert (reply.status, reply.json()["error_code"]) == (401, "UNAUTHENTICATED")
    assert PASSWORD not in reply.body.decode()


def test_sign_in_again_costs_no_second_hash(wire: Wire) -> None:
    search(wire, basic("writer", PASSWORD))
    begun = time.perf_counter()
    for _ in range(50):
        assert search(wire, basic("writer", PASSWORD)).status == 200
    assert time.perf_counter() - begun < 3  # 50 hashes take longer


def test_sign_in_on_many_connections_at_once_is_served(server: LiveServer, file: Path) -> None:
    with edited_users(file) as found:
        found["crowd"] = User("crowd", Role.READER, PasswordHash.of(PASSWORD))

    def ask(_: int) -> int:
        with Wire(server.url) as wire:
            return search(wire, basic("crowd", PASSWORD)).status

    deadline = time.monotonic() + 20
    while ask(0) != 200:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    with edited_users(file) as found:  # so that nothing is remembered
        found["crowd"] = User("crowd", Role.WRITER, PasswordHash.of(PASSWORD))
    time.sleep(1.1)  # what a server may take to notice
    with ThreadPoolExecutor(40) as pool:
        assert set(pool.map(ask, range(40))) == {200}


def test_change_users_while_server_runs_is_noticed(tmp_path: Path) -> None:
    file = tmp_path / "users.toml"
    save_users(file, users())
    with live_server(tmp_path, "--auth", str(file), "--workers", "1") as live, Wire(live.url) as wire:

        def until(status: int, header: tuple[str, str]) -> None:
            deadline = time.monotonic() + 10
            while search(wire, header).status != status:
                assert time.monotonic() < deadline
                time.sleep(0.1)

        until(200, basic("reader", PASSWORD))
        with edited_users(file) as found:
            del found["reader"]
        until(401, basic("reader", PASSWORD))
        until(401, bearer(TOKENS[Role.READER]))
        good = file.read_text()
        file.write_text(good + "nonsense")
        time.sleep(1.1)
        until(200, bearer(TOKENS[Role.ADMIN]))  # a file that cannot be used changes nothing
        assert "still those of before" in live.log.read_text()
        file.unlink()
        time.sleep(1.1)
        until(200, bearer(TOKENS[Role.ADMIN]))
        save_users(file, [User("new", Role.READER, None, (token_digest("hld_new"),))])
        until(200, bearer("hld_new"))
        until(401, bearer(TOKENS[Role.ADMIN]))


def test_guess_passwords_is_slowed_for_the_guesser_only(tmp_path: Path) -> None:
    file = tmp_path / "users.toml"
    save_users(file, users())
    with live_server(tmp_path, "--auth", str(file), "--workers", "1") as live, Wire(live.url) as wire:
        assert search(wire, basic("reader", PASSWORD)).status == 200
        statuses = [search(wire, basic("reader", f"guess {number}")).status for number in range(20)]
        assert statuses[:10] == [401] * 10
        assert 429 in statuses
        refused = search(wire, basic("reader", "guess"))
        assert (refused.status, refused.json()["error_code"]) == (429, "REQUEST_LIMIT_EXCEEDED")
        assert 1 <= int(refused.headers["retry-after"]) <= 10
        assert search(wire, basic("reader", PASSWORD)).status == 200  # whoever had signed in still is
        assert search(wire, basic("writer", PASSWORD)).status == 200
        assert search(wire, bearer(TOKENS[Role.READER])).status == 200
        assert "guess" not in live.log.read_text()


def test_ask_for_unknown_user_takes_as_long_as_for_a_known_one(wire: Wire) -> None:
    def seconds(name: str) -> float:
        taken = []
        for number in range(4):
            begun = time.perf_counter()
            assert search(wire, basic(name, f"{time.time_ns()} {number}")).status == 401
            taken.append(time.perf_counter() - begun)
        return min(taken)

    assert 0.5 < seconds("admin") / seconds("somebody") < 2


@pytest.mark.parametrize("text", [None, "nonsense"])
def test_start_with_unusable_file_fails_with_remedy(tmp_path: Path, text: str | None) -> None:
    file = tmp_path / "users.toml"
    if text is not None:
        file.write_text(text)
    with (
        pytest.raises(AssertionError, match="did not start") as caught,
        live_server(tmp_path, "--auth", str(file), "--workers", "1"),
    ):
        pass
    assert "Traceback" not in str(caught.value)
    assert "file of users" in str(caught.value)


def test_start_with_file_that_others_can_read_warns(tmp_path: Path) -> None:
    file = tmp_path / "users.toml"
    save_users(file, users())
    file.chmod(0o644)
    with live_server(tmp_path, "--auth", str(file), "--workers", "1", "--host", "0.0.0.0") as live:
        log = live.log.read_text()
    assert log.count("chmod 600") == 1
    assert "everybody" not in log


# The throttle


class Clock:
    """Time that goes on when told to."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_take_more_than_the_burst_raises_until_time_goes_on() -> None:
    clock = Clock()
    throttle = Throttle(3, 10.0, clock)
    for _ in range(3):
        throttle.take("a")
    with pytest.raises(TooManyAttempts) as caught:
        throttle.take("a")
    assert caught.value.retry_after == pytest.approx(10)
    throttle.take("b")
    clock.now += 10.1
    throttle.take("a")
    with pytest.raises(TooManyAttempts):
        throttle.take("a")
    clock.now += 1000
    for _ in range(3):
        throttle.take("a")


def test_give_back_attempt_makes_room_but_never_more_than_the_burst() -> None:
    throttle = Throttle(2, 10.0, Clock())
    for _ in range(100):
        throttle.take("a")
        throttle.give_back("a")
    throttle.give_back("a")
    throttle.take("a")
    throttle.take("a")
    with pytest.raises(TooManyAttempts):
        throttle.take("a")


def test_take_for_very_many_keys_keeps_memory_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("holdall.server.throttle.MOST_KEYS", 100)
    throttle = Throttle(1, 1e9, Clock())
    for number in range(1000):
        throttle.take(number)
    with pytest.raises(TooManyAttempts):
        throttle.take(999)
    throttle.take(0)  # forgotten
