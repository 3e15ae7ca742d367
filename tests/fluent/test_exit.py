"""What becomes of runs that are open when the interpreter exits."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from holdall.stores.entities import Run
from holdall.stores.resolution import open_backend_store

RunScript = Callable[..., "subprocess.CompletedProcess[str]"]


def statuses(name: str = "mlflow.db") -> dict[str, str]:
    with open_backend_store(f"sqlite:///{name}", read_only=True) as store:
        runs: list[Run] = store.search_runs(["0"])
        assert all((run.info.end_time is None) == (run.info.status == "RUNNING") for run in runs)
        return {run.info.run_name: run.info.status for run in runs}


def test_exit_with_open_runs_finishes_all_of_them(run_script: RunScript) -> None:
    done = run_script(
        """
import threading, holdall
holdall.start_run(run_name="parent")
holdall.start_run(run_name="child", nested=True)
thread = threading.Thread(target=lambda: holdall.start_run(run_name="thread"))
thread.start()
thread.join()
"""
    )
    assert done.returncode == 0, done.stderr
    assert statuses() == {"parent": "FINISHED", "child": "FINISHED", "thread": "FINISHED"}
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("error", ["ValueError('boom')", "KeyboardInterrupt()"])
def test_exit_by_uncaught_exception_fails_open_runs(run_script: RunScript, error: str) -> None:
    done = run_script(
        f"""
import holdall
holdall.start_run(run_name="parent")
holdall.start_run(run_name="child", nested=True)
raise {error}
"""
    )
    assert done.returncode != 0
    assert error.partition("(")[0] in done.stderr
    assert statuses() == {"parent": "FAILED", "child": "FAILED"}


def test_exit_after_handled_exception_finishes_open_run(run_script: RunScript) -> None:
    done = run_script(
        """
import sys, holdall
holdall.start_run(run_name="run")
try:
    raise ValueError
except ValueError:
    pass
sys.exit(3)
"""
    )
    assert done.returncode == 3
    assert statuses() == {"run": "FINISHED"}


def test_exit_by_uncaught_exception_in_with_block_fails_run(run_script: RunScript) -> None:
    done = run_script(
        """
import holdall
with holdall.start_run(run_name="run"):
    1 / 0
"""
    )
    assert "ZeroDivisionError" in done.stderr
    assert statuses() == {"run": "FAILED"}


def test_exit_of_interactive_session_after_an_error_finishes_open_run(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-i", "-c", f"import sys; sys.path[:0] = {sys.path!r}"],
        input="import holdall\nrun = holdall.start_run(run_name='run')\n1 / 0\n",
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
    )
    assert "ZeroDivisionError" in done.stderr
    assert statuses() == {"run": "FINISHED"}


def test_exit_of_forked_child_leaves_runs_of_parent_alone(run_script: RunScript) -> None:
    done = run_script(
        """
import os, sys, holdall
holdall.start_run(run_name="parent")
holdall.log_metric("before", 1)
pid = os.fork()
if pid == 0:
    holdall.log_metric("child", 1)
    sys.exit(0)
assert os.waitpid(pid, 0)[1] == 0
run = holdall.last_active_run()
assert holdall.get_run(run.info.run_id).info.status == "RUNNING"
assert holdall.get_run(run.info.run_id).data.metrics == {"before": 1.0, "child": 1.0}
""",
        PYTHONWARNINGS="error",
    )
    assert done.returncode == 0, done.stderr
    assert statuses() == {"parent": "FINISHED"}


def test_exit_with_open_run_that_was_deleted_reports_it(run_script: RunScript) -> None:
    done = run_script(
        """
import holdall
holdall.start_run(run_name="parent")
child = holdall.start_run(run_name="child", nested=True)
holdall.delete_run(child.info.run_id)
"""
    )
    assert done.returncode == 0
    assert "could not be ended" in done.stderr
    assert "Traceback" not in done.stderr
    assert statuses() == {"parent": "FINISHED"}


def test_exit_with_client_left_open_is_silent(run_script: RunScript) -> None:
    done = run_script(
        """
import holdall
client = holdall.Client("sqlite:///own.db")
client.log_text(client.create_run("0", run_name="run").info.run_id, "x", "x.txt")
""",
        PYTHONWARNINGS="error",
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert statuses("own.db") == {"run": "RUNNING"}
