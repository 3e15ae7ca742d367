"""The server's processes: workers that are replaced, stops that finish what was begun, starts that fail in one line."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from tests.server.live import LiveServer, Reply, live_server

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes by /proc")

PATIENCE = 30.0


def children(pid: int) -> list[int]:
    """Processes that a process has started."""
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def workers(server: LiveServer) -> list[int]:
    """The workers of a server; Python's tracker of resources is a child too."""
    return [pid for pid in children(server.process.pid) if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it has not come true"
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def run_server(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A server that is expected to end by itself."""
    command = [sys.executable, "-c", "from holdall.cli import main; main()", "server", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


def test_kill_worker_is_replaced_and_server_goes_on(tmp_path: Path) -> None:
    with live_server(tmp_path, "--workers", "2") as server:
        before = workers(server)
        assert len(before) == 2
        server.api("POST", "experiments/create", {"name": "kept"})
        for victim in before:
            os.kill(victim, signal.SIGKILL)
        wait_until(lambda: len(set(workers(server)) - set(before)) == 2)
        assert server.api("GET", "experiments/get-by-name?experiment_name=kept")["experiment"]
        wait_until(lambda: b"holdall_workers_replaced_total 2\n" in server.ask("GET", "/metrics").body)
    assert "another one takes its place" in server.log.read_text()


def test_kill_supervisor_stops_its_workers(tmp_path: Path) -> None:
    with live_server(tmp_path, "--workers", "2") as server:
        orphans = workers(server)
        server.process.kill()
        server.process.wait()
        wait_until(lambda: not any(map(is_alive, orphans)))


@pytest.mark.parametrize("count", ["1", "3"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stop_idle_server_ends_with_zero(tmp_path: Path, count: str, number: signal.Signals) -> None:
    with live_server(tmp_path, "--workers", count) as server:
        members = workers(server)
        server.process.send_signal(number)
        assert server.process.wait(PATIENCE) == 0
        assert not any(map(is_alive, members))
    assert server.log.read_text() == ""


@pytest.mark.parametrize("count", ["1", "2"])
def test_stop_in_the_middle_of_requests_answers_them_and_takes_no_more(tmp_path: Path, count: str) -> None:
    with live_server(tmp_path, "--workers", count) as server:
        experiment_id = server.api("POST", "experiments/create", {"name": "e"})["experiment_id"]
        host, port = "127.0.0.1", int(server.url.rpartition(":")[2])
        body = b'{"experiment_id": "%s", "run_name": "last"}' % str(experiment_id).encode()
        head = b"POST /api/2.0/mlflow/runs/create HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n" % port
        head += b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
        with socket.create_connection((host, port), timeout=PATIENCE) as begun:
            begun.sendall(head + body[:10])
            wait_until(lambda: b"holdall_requests_in_flight 2\n" in server.ask("GET", "/metrics").body)
            server.process.terminate()
            wait_until(lambda: refuses(host, port))
            assert server.process.poll() is None
            begun.sendall(body[10:])
            answer = b""
            while piece := begun.recv(65536):
                answer += piece
        assert answer.startswith(b"HTTP/1.1 200 OK")
        assert server.process.wait(PATIENCE) == 0
    with live_server(tmp_path) as again:
        found = again.api("POST", "runs/search", {"experiment_ids": [experiment_id]})
        assert isinstance(found["runs"], list)
        assert [run["info"]["run_name"] for run in found["runs"]] == ["last"]


def refuses(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=1).close()
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    return False


def test_start_on_port_in_use_fails_in_one_line_and_makes_no_store(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = run_server(tmp_path, "--port", str(port), "--workers", "2")
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert len(ended.stderr.splitlines()) == 1
    assert f"port {port}: Address already in use" in ended.stderr
    assert not (tmp_path / "mlflow.db").exists()


@pytest.mark.parametrize("count", ["1", "2"])
@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("nonsense://here", "nonsense"),
        ("sqlite:///missing/folder/x.db", "missing/folder does not exist"),
        ("sqlite:///text.db", "not an SQLite database"),
    ],
)
def test_start_with_unusable_store_fails_in_one_line(tmp_path: Path, count: str, uri: str, said: str) -> None:
    (tmp_path / "text.db").write_text("no database " * 100)
    ended = run_server(tmp_path, "--port", "0", "--workers", count, "--backend-store-uri", uri)
    assert ended.returncode in (1, 2)
    assert ended.stdout == ""
    assert len(ended.stderr.splitlines()) == 1, ended.stderr
    assert said in ended.stderr


@pytest.mark.parametrize("count", ["1", "2"])
def test_start_with_unusable_artifacts_fails_in_one_line(tmp_path: Path, count: str) -> None:
    ended = run_server(tmp_path, "--port", "0", "--workers", count, "--artifacts-destination", "nonsense://here")
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert len(ended.stderr.splitlines()) == 1, ended.stderr
    assert "nonsense" in ended.stderr


def test_start_with_workers_over_store_of_one_process_fails_in_one_line(tmp_path: Path) -> None:
    ended = run_server(tmp_path, "--port", "0", "--workers", "2", "--backend-store-uri", "sqlite:///:memory:")
    assert ended.returncode == 2
    assert "--workers 1" in ended.stderr


def test_serve_store_of_one_process_takes_one_worker_by_default(tmp_path: Path) -> None:
    with live_server(tmp_path, backend="sqlite:///:memory:") as server:
        assert workers(server) == []
        assert server.api("POST", "experiments/create", {"name": "e"})["experiment_id"]


def test_connect_many_at_once_spreads_over_workers(tmp_path: Path) -> None:
    with live_server(tmp_path, "--workers", "2") as server:
        port = int(server.url.rpartition(":")[2])
        connections = [socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) for _ in range(40)]
        try:
            for connection in connections:
                connection.sendall(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n" % port)
            for connection in connections:
                assert connection.recv(65536).startswith(b"HTTP/1.1 200 OK")
            counts = [open_sockets(pid) for pid in workers(server)]
        finally:
            for connection in connections:
                connection.close()
    assert min(counts) >= 5, counts


def open_sockets(pid: int) -> int:
    links = (os.readlink(entry) for entry in Path(f"/proc/{pid}/fd").iterdir() if entry.is_symlink())
    return sum(link.startswith("socket:") for link in links)


def test_overload_answers_503_with_retry_after_and_keeps_what_was_acknowledged(tmp_path: Path) -> None:
    with live_server(tmp_path, "--workers", "1", "--max-waiting", "2") as server:
        experiment_id = server.api("POST", "experiments/create", {"name": "e"})["experiment_id"]
        replies: dict[str, Reply] = {}

        def create(name: str) -> None:
            body = {"experiment_id": experiment_id, "run_name": name}
            replies[name] = server.ask("POST", "/api/2.0/mlflow/runs/create", body)

        threads = [threading.Thread(target=create, args=(f"run-{number}",)) for number in range(6)]
        with closing(sqlite3.connect(tmp_path / "mlflow.db")) as other:
            other.execute("BEGIN IMMEDIATE")  # writes wait for this
            for thread in threads:
                thread.start()
            wait_until(lambda: len(replies) == 4)
            assert server.ask("GET", "/health").status == 200
        for thread in threads:
            thread.join()
        refused = [reply for reply in replies.values() if reply.status != 200]
        assert [reply.status for reply in refused] == [503] * 4
        assert {reply.json()["error_code"] for reply in refused} == {"TEMPORARILY_UNAVAILABLE"}
        assert all(int(reply.headers["retry-after"]) >= 1 for reply in refused)
        found = server.api("POST", "runs/search", {"experiment_ids": [experiment_id]})
        assert isinstance(found["runs"], list)
        acknowledged = {name for name, reply in replies.items() if reply.status == 200}
        assert {run["info"]["run_name"] for run in found["runs"]} == acknowledged
