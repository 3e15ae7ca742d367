"""Every trick of the CVEs of this field in every field of every route: nothing outside the roots is read or written.

A canary lies outside the roots. No answer may hold what is in it, nothing outside the roots may change, and a listener
to which tricks try to lead the server must not be called.
"""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.server.calls import Caller, unique
from tests.server.live import LiveServer, Reply, live_server
from tests.server.shapes import Plausible, distinct_routes, fields_of, plausible_values, put, request_of, text_places
from tests.server.wire import Wire

from holdall.server.routes import Route
from holdall.stores.errors import HTTP_STATUS

pytestmark = pytest.mark.extras

CONTENT = b"CANARY c0ffee: nobody may see this"
JSON = ("content-type", "application/json")


@dataclass(frozen=True)
class Ground:
    """A server, and what lies around it.

    Attributes:
        server: The server.
        folder: Around all of it.
        canary: A file outside the roots.
        roots: What the server may write below.
        listener: To which nobody should connect.
        plausible: Ids of what the server holds.
    """

    server: LiveServer
    folder: Path
    canary: Path
    roots: tuple[Path, ...]
    listener: socket.socket
    plausible: Plausible

    def outside(self) -> dict[str, str]:
        """All that lies outside the roots."""
        found = {}
        for path in sorted(self.folder.rglob("*")):
            if not any(path.is_relative_to(root) for root in self.roots) and not path.name.startswith("mlflow.db"):
                content = path.read_bytes() if path.is_file() and path.name != "server.log" else b""
                found[str(path)] = f"{oct(path.lstat().st_mode)} {hashlib.sha256(content).hexdigest()}"
        return found

    def tricks(self) -> list[str]:
        """Texts that lead out of where they should, with some luck."""
        host = f"127.0.0.1:{self.listener.getsockname()[1]}"
        relative = [os.path.relpath(self.canary, root / "x" / "y") for root in self.roots]
        relative += [os.path.relpath(self.canary, self.roots[0]), os.path.relpath(self.canary, self.folder / "server")]
        absolute = str(self.canary)
        found = [*relative, absolute, f"a/../{relative[2]}", f"./{relative[2]}", f"/{relative[2]}", f"/{absolute}"]
        found += [trick.replace("/", "\\") for trick in (relative[2], absolute)]
        for trick in (relative[2], absolute):
            for _ in range(3):
                trick = trick.replace("%", "%25").replace(".", "%2e").replace("/", "%2f")
                found.append(trick)
        found += [
            trick + end for trick in (relative[2], absolute) for end in ("#x", "?x", ";x", "\0", "%00", "/", "/.")
        ]
        found += [f"file:{absolute}", f"file://{absolute}", f"FILE://{absolute}", f"file://localhost{absolute}"]
        found += [f"file://.{absolute}", f"file://evil{absolute}", f" file://{absolute}", f"/proc/self/root{absolute}"]
        found += [f"http:///?/../../..{absolute}", f"http:///#/../../..{absolute}", f"http:///;/../../..{absolute}"]
        found += [
            "..",
            "../",
            ".",
            "/",
            "//",
            "..;/",
            "%2e%2e",
            "%252e%252e",
            "..%2f",
            "%c0%ae%c0%ae/",
            "．．/",
            "~",
            "~root",
        ]
        found += ["C:\\x", "C:x", "\\\\127.0.0.1\\x", "link", "link/canary.txt", "file-link", "loop", "loop/x", "up/x"]
        found += [f"{scheme}://{host}/x" for scheme in ("http", "https", "ftp", "sftp", "mlflow-artifacts", "hdfs")]
        found += [f"s3://bucket/x?endpoint_url=http://{host}", f"//{host}/x", f"models:/../{absolute}", "runs:/../x"]
        return found


@pytest.fixture(scope="module", params=["proxied", "local"])
def ground(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    folder = tmp_path_factory.mktemp("ground")
    canary = folder / "secret" / "canary.txt"
    canary.parent.mkdir()
    canary.write_bytes(CONTENT)
    home = folder / "server"
    roots = (home / "mlartifacts", home / "roots")
    for root in roots:
        root.mkdir(parents=True)
        (root / "link").symlink_to(canary.parent)
        (root / "file-link").symlink_to(canary)
        (root / "loop").symlink_to(root / "loop")
        (root / "up").symlink_to("..")
    arguments = ["--default-artifact-root", "./roots"] if request.param == "local" else []
    with socket.create_server(("127.0.0.1", 0)) as listener, live_server(home, "--workers", "1", *arguments) as live:
        plausible = plausible_values(Caller(live))
        ground = Ground(live, folder, canary, roots, listener, plausible)
        (home / "server.log").touch()
        yield ground


def check(reply: Reply, asked: object) -> None:
    """An answer that gives nothing away and admits no failure."""
    assert CONTENT not in reply.body, asked
    assert reply.status < 500 or reply.status == 501, (asked, reply.status, reply.body)
    if reply.status >= 400:
        assert HTTP_STATUS[str(reply.json()["error_code"])] in (reply.status, 400), (asked, reply.body)


def check_nothing_happened(ground: Ground, before: dict[str, str]) -> None:
    assert ground.outside() == before
    assert "Traceback" not in ground.server.log.read_text()
    ground.listener.setblocking(False)
    with pytest.raises(BlockingIOError):
        ground.listener.accept()


def asked(route: Route, document: dict[str, Any], trick: str) -> Iterator[tuple[str, bytes | None]]:
    for place in text_places(document):
        changed = put(document, place, trick)
        yield request_of(route, changed)
        if route.method == "GET" or "{" in route.path:
            yield request_of(route, changed, raw=True)


@pytest.mark.exhaustive
def test_ask_every_route_with_every_trick_in_every_field_gives_nothing_away(ground: Ground) -> None:
    before = ground.outside()
    count = 0
    with Wire(ground.server.url) as wire:
        for route in distinct_routes():
            document = fields_of(route, ground.plausible)
            for trick in ground.tricks():
                for target, body in asked(route, document, trick):
                    check(wire.ask(route.method, target, [JSON], body), (route.method, target, body))
                    count += 1
    assert count > 5000
    check_nothing_happened(ground, before)


def test_ask_for_artifact_inside_the_roots_gives_it(ground: Ground) -> None:
    """Without this, a server that refuses everything would pass the other tests."""
    api = Caller(ground.server)
    run = api.get("runs/get", run_id=ground.plausible.values["run_id"])["run"]["info"]
    with Wire(ground.server.url) as wire:
        put_there = wire.ask(
            "POST", f"/ajax-api/2.0/mlflow/upload-artifact?run_uuid={run['run_id']}&path=d/a", [], CONTENT
        )
        assert put_there.status == 200
        assert wire.ask("GET", f"/get-artifact?run_id={run['run_id']}&path=d/a").body == CONTENT
    assert api.get("artifacts/list", run_id=run["run_id"], path="d")["files"][0]["path"] == "d/a"
    assert any(path.read_bytes() == CONTENT for root in ground.roots for path in root.glob("**/artifacts/d/a"))
    api.server.ask("DELETE", f"/api/2.0/mlflow-artifacts/artifacts/{run['experiment_id']}")


def test_ask_for_artifacts_of_run_outside_the_roots_is_refused(ground: Ground) -> None:
    api = Caller(ground.server)
    before = ground.outside()
    for location in (
        str(ground.canary.parent),
        f"file://{ground.canary.parent}",
        str(ground.roots[0] / "link"),
        "/proc/self",
    ):
        name = unique("outside")
        experiment_id = api.post("experiments/create", name=name, artifact_location=location)["experiment_id"]
        run_id = api.post("runs/create", experiment_id=experiment_id)["run"]["info"]["run_id"]
        model_id = api.post("logged-models", experiment_id=experiment_id)["model"]["info"]["model_id"]
        inside = Path(location.removeprefix("file://")) / run_id / "artifacts"
        requests: list[tuple[str, str, bytes | None]] = [
            ("GET", f"/api/2.0/mlflow/artifacts/list?run_id={run_id}", None),
            ("GET", f"/get-artifact?run_id={run_id}&path=canary.txt", None),
            ("GET", f"/get-artifact?run_id={run_id}&path=environ", None),
            ("POST", f"/ajax-api/2.0/mlflow/upload-artifact?run_uuid={run_id}&path=x", b"data"),
            ("GET", f"/api/2.0/mlflow/logged-models/{model_id}/artifacts/directories", None),
            ("GET", f"/ajax-api/2.0/mlflow/logged-models/{model_id}/artifacts/files?artifact_file_path=x", None),
        ]
        with Wire(ground.server.url) as wire:
            for method, target, body in requests:
                reply = wire.ask(method, target, [JSON], body)
                check(reply, target)
                assert reply.status in (400, 403), (target, reply.status, reply.body)
        assert not inside.exists()
    check_nothing_happened(ground, before)


@pytest.mark.parametrize(
    "name", ["link/canary.txt", "file-link", "up/roots/x", "up/mlflow.db", "loop/x", "link/new.txt"]
)
def test_move_artifact_through_symlink_out_of_the_root_is_refused(ground: Ground, name: str) -> None:
    before = ground.outside()
    with Wire(ground.server.url) as wire:
        for method in ("GET", "PUT", "DELETE", "GET"):
            reply = wire.ask(
                method, f"/api/2.0/mlflow-artifacts/artifacts/{name}", [], b"data" if method == "PUT" else None
            )
            check(reply, (method, name))
        check(wire.ask("GET", f"/api/2.0/mlflow-artifacts/artifacts?path={name}"), name)
    assert ground.canary.read_bytes() == CONTENT
    check_nothing_happened(ground, before)
    for root in ground.roots:  # a link may be deleted, what it leads to may not
        if not (root / "file-link").is_symlink():
            (root / "file-link").symlink_to(ground.canary)


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
@pytest.mark.parametrize(
    "path",
    """
    ../x %2e%2e/x %2e%2e%2fx %252e%252e/x %252e%252e%252fx %25252e%25252e%25252fx a/../x a/%2e%2e/x a/./x /x //x %2fx
    a//b a%2f%2fb ..%5cx a%5c..%5cx C:%5cx C:x %5c%5csrv%5cx a%00b %00 a/%ff %c0%ae%c0%ae/x . .. %2e
    """.split(),
)
def test_move_artifact_of_hostile_path_is_400(ground: Ground, method: str, path: str) -> None:
    with Wire(ground.server.url) as wire:
        body = b"data" if method == "PUT" else None
        reply = wire.ask(method, f"/api/2.0/mlflow-artifacts/artifacts/{path}", [], body)
        assert (reply.status, reply.json()["error_code"]) == (400, "INVALID_PARAMETER_VALUE"), reply.body


def test_create_experiment_at_location_of_other_host_is_refused(ground: Ground) -> None:
    host = f"127.0.0.1:{ground.listener.getsockname()[1]}"
    api = Caller(ground.server)
    for scheme in ("http", "https", "ftp", "sftp", "mlflow-artifacts", "hdfs", "abfss", "s3+x"):
        location = f"{scheme}://{host}/x"
        api.refused("experiments/create", {"name": unique("host"), "artifact_location": location})
    query = f"s3://bucket/x?endpoint_url=http://{host}"
    api.refused("experiments/create", {"name": unique("host"), "artifact_location": query})
