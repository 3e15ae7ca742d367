"""Fluent calls that begin, end and find runs."""

from __future__ import annotations

from collections.abc import Mapping

from holdall import environment
from holdall.batches import log_all
from holdall.client import Client
from holdall.context import system_tags
from holdall.run_stack import ActiveRun
from holdall.session import SESSION
from holdall.stores.entities import LifecycleStage, Run, RunStatus
from holdall.stores.errors import InvalidParameterValue, Unsupported
from holdall.stores.names import NOTE_TAG, PARENT_RUN_TAG, RUN_NAME_TAG
from holdall.stores.validation import validate_run_status
from holdall.values import as_tags

__all__ = [
    "active_run",
    "delete_run",
    "end_run",
    "get_parent_run",
    "get_run",
    "last_active_run",
    "restore_run",
    "start_run",
]

FINAL = (RunStatus.FINISHED, RunStatus.FAILED, RunStatus.KILLED)


def start_run(
    run_id: str | None = None,
    experiment_id: str | None = None,
    run_name: str | None = None,
    nested: bool = False,
    parent_run_id: str | None = None,
    tags: Mapping[str, object] | None = None,
    description: str | None = None,
    log_system_metrics: bool | None = None,
) -> ActiveRun:
    """Begin a run, or go on with one, and make it the active run of this thread.

    Use it in a `with` statement, which ends the run FINISHED, or FAILED if an exception leaves the block; or end it
    with `end_run`. A run left open is ended when the interpreter exits: FAILED after an uncaught exception, else
    FINISHED.

    Args:
        run_id: Run to go on with, else that of `MLFLOW_RUN_ID`, which the first call consumes. It becomes RUNNING
            again.
        experiment_id: Experiment of a new run, by default the current one.
        run_name: Name; by default the tag `mlflow.runName`, else a random one.
        nested: Make it a child of this thread's active run, in the same store.
        parent_run_id: Parent of a new run; if there is an active run it must be that one, and `nested` be set.
        tags: Tags, over those of the system; values become text.
        description: The tag `mlflow.note.content`.
        log_system_metrics: Not supported: leave it out, or False.

    Raises:
        InvalidParameterValue: A run is active and `nested` is not set; the run, its parent or its experiment is
            deleted; arguments contradict each other or break the rules.
        NotFound: The run, its parent or the experiment does not exist.
        Unsupported: `log_system_metrics` is set.
    """
    if log_system_metrics:
        raise Unsupported("holdall does not log system metrics; leave log_system_metrics out.")
    outer = SESSION.runs.innermost()
    if outer is not None and not nested:
        raise InvalidParameterValue(
            f"Run {outer.info.run_id} is already active in this thread: end it with end_run(), or begin a child of it "
            "with start_run(nested=True)."
        )
    client = outer.client if outer is not None else SESSION.client()
    extra = _with_description({tag.key: tag.value for tag in as_tags(tags)}, description)
    waiting = environment.take_run_id()
    if resumed := run_id or waiting:
        run = _resume(client, resumed, experiment_id, run_name, extra)
    else:
        parent = _parent_id(client, outer, parent_run_id)
        run = _create(client, experiment_id, run_name, parent, extra)
    return SESSION.runs.begin(run, client)


def _with_description(tags: dict[str, str], description: str | None) -> dict[str, str]:
    if description is None:
        return tags
    if NOTE_TAG in tags:
        raise InvalidParameterValue(f"Give either description or the tag {NOTE_TAG!r}, not both.")
    return tags | {NOTE_TAG: str(description)}


def _create(
    client: Client, experiment_id: str | None, run_name: str | None, parent_id: str | None, tags: dict[str, str]
) -> Run:
    whole = system_tags()
    if parent_id is not None:
        whole[PARENT_RUN_TAG] = parent_id
    whole |= tags
    if run_name:
        whole[RUN_NAME_TAG] = run_name
    return client.create_run(experiment_id or SESSION.experiment_id(client), tags=whole)


def _resume(client: Client, run_id: str, experiment_id: str | None, run_name: str | None, tags: dict[str, str]) -> Run:
    run = client.get_run(run_id)
    if run.info.lifecycle_stage != LifecycleStage.ACTIVE:
        raise InvalidParameterValue(f"Run {run_id} is deleted; restore it before going on with it.")
    expected = experiment_id or SESSION.chosen_experiment_id(client)
    if expected is not None and expected != run.info.experiment_id:
        raise InvalidParameterValue(
            f"Run {run_id} belongs to experiment {run.info.experiment_id!r}, not to the chosen one, {expected!r}; "
            "choose its own with set_experiment(experiment_id=…), or none."
        )
    log_all(client.store, run_id, tags=as_tags(tags))
    client.update_run(run_id, RunStatus.RUNNING, run_name)
    return client.get_run(run_id)


def _parent_id(client: Client, outer: ActiveRun | None, parent_run_id: str | None) -> str | None:
    """Id of the parent of a new run; the active run needs no check."""
    active = None if outer is None else outer.info.run_id
    if parent_run_id is None or parent_run_id == active:
        return active
    if active is not None:
        raise InvalidParameterValue(f"parent_run_id is {parent_run_id}, but run {active} is active; end it first.")
    if client.get_run(parent_run_id).info.lifecycle_stage != LifecycleStage.ACTIVE:
        raise InvalidParameterValue(f"The parent run {parent_run_id} is deleted; restore it first.")
    return parent_run_id


def end_run(status: str = RunStatus.FINISHED) -> None:
    """End the active run of this thread; without one, nothing happens.

    Args:
        status: FINISHED, FAILED or KILLED.

    Raises:
        InvalidParameterValue: The status is another, and the run goes on; or the run was deleted meanwhile.
    """
    final = validate_run_status(status)
    if final not in FINAL:
        raise InvalidParameterValue(f"A run cannot end as {final}; use one of {', '.join(FINAL)}.")
    run = SESSION.runs.innermost()
    if run is not None:
        SESSION.runs.end(run, final)


def active_run() -> ActiveRun | None:
    """The active run of this thread as it was when it began, or None; `get_run` reads what it logged since."""
    return SESSION.runs.innermost()


def last_active_run() -> Run | None:
    """This thread's active run, else the run that ended last in it, read anew; None if there was none.

    Raises:
        HoldallError: The store cannot be read.
    """
    run = SESSION.runs.last()
    if run is None or run is SESSION.runs.innermost():
        return run
    return run.client.get_run(run.info.run_id)


def get_run(run_id: str) -> Run:
    """The run with this id, active or deleted, with what it has logged.

    Raises:
        NotFound: There is none.
    """
    return SESSION.client().get_run(run_id)


def get_parent_run(run_id: str) -> Run | None:
    """The parent of a run, or None.

    Raises:
        NotFound: There is no such run, or its parent is gone.
    """
    return SESSION.client().get_parent_run(run_id)


def delete_run(run_id: str) -> None:
    """Mark a run as deleted.

    Raises:
        NotFound: There is no such run.
    """
    SESSION.client().delete_run(run_id)


def restore_run(run_id: str) -> None:
    """Undo `delete_run`.

    Raises:
        NotFound: There is no such run.
    """
    SESSION.client().restore_run(run_id)
