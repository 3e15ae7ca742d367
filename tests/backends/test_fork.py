"""A process that forks, as data loaders do, and goes on logging on both sides."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests.backends.wire import Wire

from holdall.conformance_tests.emulators import DatabaseName, shared_server

PARENT_WITH_WRITING_THREAD = """
import os, sys, threading
from holdall.stores import Metric, open_backend_store

store = open_backend_store(sys.argv[1])
run = store.create_run("0").info.run_id
store.search_runs(["0"])
done = threading.Event()


def log() -> None:
    step = 0
    while not done.is_set():
        store.log_metric(run, Metric("thread", 1.0, step, step))
        step += 1


thread = threading.Thread(target=log)
thread.start()
children = []
for child in range(4):
    pid = os.fork()
    if pid == 0:
        for step in range(25):
            store.log_metric(run, Metric(f"child{child}", 1.0, step, step))
            assert [found.info.run_id for found in store.search_runs(["0"], f"metrics.child{child} = 1")] == [run]
        os._exit(0)
    children.append(pid)
statuses = [os.waitpid(pid, 0)[1] for pid in children]
done.set()
thread.join()
print(statuses, [len(store.get_metric_history(run, f"child{child}")) for child in range(4)])
"""

COPY_OF_MEMORY = """
import os
from holdall.stores import open_backend_store

store = open_backend_store("sqlite:///:memory:")
run = store.create_run("0").info.run_id
pid = os.fork()
if pid == 0:
    os._exit(0 if store.get_run(run).info.run_id == run else 1)
print(os.waitpid(pid, 0)[1])
"""

WHILE_A_CHILD_MAKES_ITS_POOL = """
import os, signal, sys, threading
from holdall.stores import open_backend_store

store = open_backend_store(sys.argv[1])
run = store.create_run("0").info.run_id
database = store._database
genuine = database._new_pool


def status(pid: int) -> int:
    return os.waitpid(pid, 0)[1]


child = os.fork()
if child == 0:
    inside, done = threading.Event(), threading.Event()

    def slow() -> object:
        inside.set()
        done.wait()
        return genuine()

    database._new_pool = slow
    thread = threading.Thread(target=store.get_run, args=[run])
    thread.start()
    inside.wait()
    grandchild = os.fork()
    if grandchild == 0:
        signal.alarm(30)
        database._new_pool = genuine
        os._exit(0 if store.get_run(run).info.run_id == run else 1)
    ended = status(grandchild)
    done.set()
    thread.join()
    os._exit(ended)
print(status(child), store.get_run(run).info.run_id == run)
"""

NO_CONNECTION_SHARED = """
import os, sys
from holdall.stores import Metric, open_backend_store

store = open_backend_store(sys.argv[1])
run = store.create_run("0").info.run_id
pid = os.fork()
if pid == 0:
    store.log_metric(run, Metric("child", 1.0, 1))
    store.close()
    sys.exit(0)  # which clears up, unlike os._exit
status = os.waitpid(pid, 0)[1]
store.log_metric(run, Metric("parent", 1.0, 1))
print(status, sorted(store.get_run(run).data.metrics))
"""


def _output(program: str, *arguments: str) -> str:
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", program, *arguments]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


@pytest.mark.parametrize("uri", ["sqlite:///{}/runs.db", "{}/mlruns"])
def test_fork_while_a_thread_writes_leaves_children_a_store_that_works(tmp_path: Path, uri: str) -> None:
    assert _output(PARENT_WITH_WRITING_THREAD, uri.format(tmp_path)) == "[0, 0, 0, 0] [25, 25, 25, 25]"


def test_fork_with_database_in_memory_gives_the_child_a_copy() -> None:
    assert _output(COPY_OF_MEMORY) == "0"


@pytest.mark.extras
@pytest.mark.parametrize("scheme", ["postgresql", "mariadb"])
def test_fork_with_store_on_server_leaves_children_a_store_that_works(scheme: DatabaseName) -> None:
    server = shared_server(scheme)
    assert _output(PARENT_WITH_WRITING_THREAD, server.uri(server.create_database())) == "[0, 0, 0, 0] [25, 25, 25, 25]"


@pytest.mark.extras
@pytest.mark.parametrize("scheme", ["postgresql", "mariadb"])
def test_fork_while_a_thread_takes_the_first_connection_of_its_process_does_not_block(scheme: DatabaseName) -> None:
    server = shared_server(scheme)
    assert _output(WHILE_A_CHILD_MAKES_ITS_POOL, server.uri(server.create_database())) == "0 True"


@pytest.mark.extras
@pytest.mark.parametrize("scheme", ["postgresql", "mariadb"])
def test_end_of_child_leaves_the_connections_of_its_parent_open(scheme: DatabaseName) -> None:
    server = shared_server(scheme)
    database = server.create_database()
    with Wire(server.port) as wire:
        uri = server.uri(database, port=wire.port)
        assert _output(NO_CONNECTION_SHARED, f"{uri}?retry_timeout=0") == "0 ['child', 'parent']"
        assert wire.connections == 2
