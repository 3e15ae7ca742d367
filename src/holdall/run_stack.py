"""Active runs: a stack for each thread, and one list of all runs that are still open in this process."""

from __future__ import annotations

import atexit
import logging
import os
import sys
from dataclasses import dataclass, field
from threading import RLock, local
from types import TracebackType
from typing import Self

from holdall.client import Client
from holdall.stores.entities import Run, RunStatus
from holdall.stores.errors import HoldallError

__all__ = ["ActiveRun", "OpenRuns"]

logger = logging.getLogger("holdall")


@dataclass(frozen=True, slots=True)
class ActiveRun(Run):
    """A run that is being written, as it was when it began: what is logged later does not show in it.

    As a context manager it ends itself, together with runs that were begun inside the block and left open: FINISHED, or
    FAILED if an exception leaves the block. A run that was ended before keeps its status.

    Attributes:
        client: The client of the store that the run is in, whatever store is configured by now.
    """

    client: Client = field(kw_only=True, repr=False, compare=False)
    _open_runs: OpenRuns = field(kw_only=True, repr=False, compare=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._open_runs.end(self, RunStatus.FINISHED)
            return
        try:
            self._open_runs.end(self, RunStatus.FAILED)
        except HoldallError as failure:  # what went wrong in the block is what the caller must see
            error.add_note(f"holdall: run {self.info.run_id} could not be ended: {failure}")


@dataclass(slots=True)
class _Open:
    """An open run, the stack it stands in, and the process that began it."""

    run: ActiveRun
    stack: list[ActiveRun]
    pid: int


class _ThreadState(local):
    """What belongs to one thread."""

    def __init__(self) -> None:
        self.stack: list[ActiveRun] = []
        self.last: ActiveRun | None = None


class OpenRuns:
    """The open runs of this process, with a stack for each thread.

    Runs that are open when the interpreter exits are ended then, whatever thread began them: FAILED if an uncaught
    exception or Ctrl-C ended the program, FINISHED otherwise (`sys.exit` included). A forked child ends only its own.
    """

    def __init__(self) -> None:
        self._thread = _ThreadState()
        self._lock = RLock()
        self._open: list[_Open] = []
        self._registered = False

    def innermost(self) -> ActiveRun | None:
        """The active run of this thread, or None."""
        stack = self._thread.stack
        return stack[-1] if stack else None

    def last(self) -> ActiveRun | None:
        """The active run of this thread, else the one that ended last in it, or None."""
        return self.innermost() or self._thread.last

    def begin(self, run: Run, client: Client) -> ActiveRun:
        """Make a run of the store the active one of this thread."""
        active = ActiveRun(run.info, run.data, run.inputs, run.outputs, client=client, _open_runs=self)
        with self._lock:
            self._thread.stack.append(active)
            self._open.append(_Open(active, self._thread.stack, os.getpid()))
            if not self._registered:
                # Registered after the stores were opened, and so run before they are closed.
                atexit.register(self.end_all)
                self._registered = True
        return active

    def end(self, run: ActiveRun, status: RunStatus) -> None:
        """End a run, and before it those that stand above it in its stack; nothing if it has been ended.

        They are active no more even if the store refuses.

        Raises:
            HoldallError: The store could not write it, or a run was deleted meanwhile.
        """
        self._terminate(self._take(run), status)

    def end_all(self) -> None:
        """End what this process left open; what cannot be ended is reported in the log."""
        status = _status_at_exit()
        with self._lock:
            mine = [entry.run for entry in self._open if entry.pid == os.getpid()]
        for run in reversed(mine):
            try:
                self.end(run, status)
            except HoldallError as error:
                logger.warning("Run %s was left open and could not be ended: %s", run.info.run_id, error)

    def _take(self, run: ActiveRun) -> list[ActiveRun]:
        """Take a run and those above it off their stack, innermost first."""
        with self._lock:
            stack = next((entry.stack for entry in self._open if entry.run is run), None)
            if stack is None:
                return []
            place = next(index for index, active in enumerate(stack) if active is run)
            taken = stack[place:][::-1]
            del stack[place:]
            gone = {id(active) for active in taken}
            self._open = [entry for entry in self._open if id(entry.run) not in gone]
        self._thread.last = run
        return taken

    def _terminate(self, runs: list[ActiveRun], status: RunStatus) -> None:
        failures = []
        for run in runs:
            try:
                run.client.set_terminated(run.info.run_id, status)
            except HoldallError as error:
                failures.append(error)
        if failures:
            for other in failures[1:]:
                failures[0].add_note(f"holdall: also {other}")
            raise failures[0]


def _status_at_exit() -> RunStatus:
    """FAILED if the interpreter ends by an uncaught exception, which it leaves in `sys.last_value`.

    Interactive sessions leave every error there, so their last one means nothing.
    """
    interactive = hasattr(sys, "ps1") or bool(sys.flags.interactive)
    return RunStatus.FAILED if getattr(sys, "last_value", None) is not None and not interactive else RunStatus.FINISHED
