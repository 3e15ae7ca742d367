"""A process that forks, as data loaders do, and goes on logging on both sides."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

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


def _output(program: str, *arguments: str) -> str:
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", program, *arguments]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


@pytest.mark.parametrize("uri", ["sqlite:///{}/runs.db", "{}/mlruns"])
def test_fork_while_a_thread_writes_leaves_children_a_store_that_works(tmp_path: Path, uri: str) -> None:
    assert _output(PARENT_WITH_WRITING_THREAD, uri.format(tmp_path)) == "[0, 0, 0, 0] [25, 25, 25, 25]"


def test_fork_with_database_in_memory_gives_the_child_a_copy() -> None:
    assert _output(COPY_OF_MEMORY) == "0"
