"""Mixed load while workers are killed and the server restarts: what was acknowledged is there, and nothing twice.

By default it takes a few seconds; `HOLDALL_LOAD_SECONDS=600` is the long run.
"""

from __future__ import annotations

import http.client
import os
import random
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import orjson
import pytest
from tests.server.live import live_server

from holdall.stores import open_backend_store
from holdall.stores.backend import BackendStore

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes by /proc")

SECONDS = float(os.environ.get("HOLDALL_LOAD_SECONDS", "9"))
KILL_SECONDS = 20.0 if SECONDS > 60 else 1.5
RESTARTS = 2
WRITERS = 8


@dataclass(eq=False)
class Writer:
    """Writes over one connection until told to stop, and keeps account of what it was told.

    A write that can be repeated is repeated until it is acknowledged; a run that may or may not have been created is
    left alone.
    """

    port: int
    experiment_id: str
    number: int
    ended: threading.Event
    acknowledged: Counter[str] = field(default_factory=Counter)
    steps: set[int] = field(default_factory=set)
    batches: set[int] = field(default_factory=set)
    tags: dict[str, str] = field(default_factory=dict)
    created: set[str] = field(default_factory=set)
    doubtful: set[str] = field(default_factory=set)
    failures: list[str] = field(default_factory=list)
    run_id: str = ""
    connection: http.client.HTTPConnection | None = None

    def work(self) -> None:
        """Do it; in a thread."""
        chosen = random.Random(self.number)
        actions: list[Callable[[int], None]] = [
            self._log_metric,
            self._log_batch,
            self._set_tag,
            self._create,
            self._get,
        ]
        count = 0
        while not self.ended.is_set():
            count += 1
            action = chosen.choices(actions, weights=[8, 3, 2, 2, 3])[0]
            action(count)
        if self.connection is not None:
            self.connection.close()

    def _ask(self, method: str, path: str, body: object = None) -> dict[str, object] | None:
        """The answer; None if there is none, or that the server cannot just now."""
        data = None if body is None else orjson.dumps(body)
        try:
            if self.connection is None:
                self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
            self.connection.request(method, f"/api/2.0/mlflow/{path}", data, {"content-type": "application/json"})
            answer = self.connection.getresponse()
            text = answer.read()
        except (OSError, http.client.HTTPException):
            if self.connection is not None:
                self.connection.close()
                self.connection = None
            self.ended.wait(0.02)
            return None
        if answer.status == 503:
            return None
        if answer.status != 200:
            self.failures.append(f"{path}: {answer.status} {text[:300]!r}")
            return None
        found = orjson.loads(text)
        assert isinstance(found, dict)
        return found

    def _insist(self, path: str, body: dict[str, object]) -> bool:
        """Ask until it is acknowledged; whether it was."""
        while not self.ended.is_set():
            if self._ask("POST", path, body) is not None:
                self.acknowledged[path] += 1
                return True
            if self.failures:
                return False
        return False

    def _log_metric(self, count: int) -> None:
        point = {"key": "loss", "value": count / 7, "timestamp": 1_700_000_000_000 + count, "step": count}
        if self._insist("runs/log-metric", {"run_id": self.run_id, **point}):
            self.steps.add(count)

    def _log_batch(self, count: int) -> None:
        points = [{"key": f"m{key}", "value": 1.5, "timestamp": count, "step": count} for key in range(20)]
        if self._insist("runs/log-batch", {"run_id": self.run_id, "metrics": points}):
            self.batches.add(count)

    def _set_tag(self, count: int) -> None:
        key = f"tag{count % 5}"
        if self._insist("runs/set-tag", {"run_id": self.run_id, "key": key, "value": str(count)}):
            self.tags[key] = str(count)
        else:
            self.tags.pop(key, None)

    def _create(self, count: int) -> None:
        name = f"{self.number}-{count}"
        body = {"experiment_id": self.experiment_id, "run_name": name}
        if self._ask("POST", "runs/create", body) is None:
            self.doubtful.add(name)
        else:
            self.created.add(name)
            self.acknowledged["runs/create"] += 1

    def _get(self, _count: int) -> None:
        self._ask("GET", f"runs/get?run_id={self.run_id}")

    def check(self, store: BackendStore) -> None:
        """Compare what is there with what was acknowledged."""
        steps = Counter(point.step for point in store.get_metric_history(self.run_id, "loss"))
        assert set(steps) >= self.steps
        assert not steps or max(steps.values()) == 1
        written = [Counter(p.step for p in store.get_metric_history(self.run_id, f"m{key}")) for key in range(20)]
        assert all(found == written[0] for found in written), "a batch was written in part"
        assert set(written[0]) >= self.batches
        assert not written[0] or max(written[0].values()) == 1
        tags = store.get_run(self.run_id).data.tags
        for key, value in self.tags.items():
            assert int(tags[key]) >= int(value)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def kill_a_worker(pid: int, chosen: random.Random) -> None:
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    found = [int(word) for word in listed if b"spawn_main" in Path(f"/proc/{word}/cmdline").read_bytes()]
    if found:
        os.kill(chosen.choice(found), signal.SIGKILL)


def test_write_while_workers_are_killed_and_server_restarts_keeps_all_and_nothing_twice(tmp_path: Path) -> None:
    port, chosen, ended = free_port(), random.Random(0), threading.Event()
    database = f"sqlite:///{tmp_path / 'load.db'}"
    with open_backend_store(database, artifact_root=str(tmp_path)) as store:
        experiment_id = store.create_experiment("load")
        logged = store.create_experiment("logged")
        writers = [Writer(port, experiment_id, number, ended) for number in range(WRITERS)]
        for writer in writers:
            writer.run_id = store.create_run(logged).info.run_id
    threads = [threading.Thread(target=writer.work) for writer in writers]
    with ExitStack() as stack:
        stack.callback(ended.set)
        for period in range(RESTARTS + 1):
            with live_server(tmp_path, "--port", str(port), "--workers", "2", backend=database) as server:
                if period == 0:
                    for thread in threads:
                        thread.start()
                until = time.monotonic() + SECONDS / (RESTARTS + 1)
                while (left := until - time.monotonic()) > 0:
                    ended.wait(min(left, KILL_SECONDS))
                    kill_a_worker(server.process.pid, chosen)
                if period == RESTARTS:
                    ended.set()
                    for thread in threads:
                        thread.join()
    assert [failure for writer in writers for failure in writer.failures] == []
    acknowledged = sum((writer.acknowledged for writer in writers), Counter())
    assert min(acknowledged[path] for path in ("runs/log-metric", "runs/log-batch", "runs/create")) > 0
    print(f"acknowledged in {SECONDS:g} s: {dict(acknowledged)}")  # noqa: T201 - figures of the long run, by -s
    with open_backend_store(database, artifact_root=str(tmp_path)) as store:
        for writer in writers:
            writer.check(store)
        check_created(store, experiment_id, writers)


def check_created(store: BackendStore, experiment_id: str, writers: list[Writer]) -> None:
    names: Counter[str] = Counter()
    token: str | None = None
    while True:
        page = store.search_runs([experiment_id], max_results=5000, page_token=token)
        names.update(run.info.run_name for run in page)
        if (token := page.token) is None:
            break
    created = set().union(*(writer.created for writer in writers))
    doubtful = set().union(*(writer.doubtful for writer in writers))
    assert created <= set(names)
    assert set(names) <= created | doubtful
    assert not names or max(names.values()) == 1
