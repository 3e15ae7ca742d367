"""The run that a fluent call means."""

from __future__ import annotations

from holdall.client import Client
from holdall.fluent_runs import start_run
from holdall.run_stack import ActiveRun
from holdall.session import SESSION

__all__ = ["current_run", "run_target"]


def current_run() -> ActiveRun:
    """This thread's active run; without one, a run is begun and stays active."""
    return SESSION.runs.innermost() or start_run()


def run_target(run_id: str | None) -> tuple[Client, str]:
    """Client and id of the run that a call names, or else of the current one."""
    active = SESSION.runs.innermost()
    if run_id is None:
        active = active or start_run()
        return active.client, active.info.run_id
    if active is not None and active.info.run_id == run_id:
        return active.client, run_id
    return SESSION.client(), run_id
