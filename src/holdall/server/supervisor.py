"""The process that watches over workers: starts them, replaces those that end, and stops them all."""

from __future__ import annotations

import logging
import multiprocessing
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

from holdall.server.endpoints import all_routes
from holdall.server.meters import MeterTable
from holdall.server.options import ServerOptions
from holdall.server.worker import GRACE_SECONDS, run_worker
from holdall.stores.errors import HoldallError, InternalError

__all__ = ["Supervisor"]

logger = logging.getLogger("holdall.server")

SPARING_SECONDS = 1.0
"""The least time between two starts of a worker: one that cannot live must not keep the machine busy."""

MARGIN_SECONDS = 5.0
"""What workers have, after those they serve, to close their stores."""

_SPAWN = multiprocessing.get_context("spawn")  # a fork would take locks along that threads hold


@dataclass(slots=True, eq=False)
class _Member:
    number: int
    process: SpawnProcess
    line: Connection
    started: float = field(default_factory=time.monotonic)
    ready: bool = False


class Supervisor:
    """Runs workers on one socket.

    Each is told of its task through a line; that the line breaks off tells either side that the other one is gone.

    Args:
        options: Of the server.
        listener: Where connections come in; closed at the end.
        workers: How many.
        on_ready: Called once, when all are ready.
    """

    def __init__(
        self, options: ServerOptions, listener: socket.socket, workers: int, on_ready: Callable[[], None]
    ) -> None:
        self._options = options
        self._listener = listener
        self._on_ready = on_ready
        self._meters = MeterTable(all_routes(), workers)
        self._members: dict[Connection, _Member] = {}
        self._due = dict.fromkeys(range(workers), 0.0)
        self._serving = False
        self._stopping = False
        self._wake, self._waker = _SPAWN.Pipe(duplex=False)

    def stop(self) -> None:
        """Let `run` return; to be called in a signal's handler."""
        if not self._stopping:
            self._stopping = True
            self._waker.send_bytes(b"")

    def run(self) -> None:
        """Keep the workers running until `stop`.

        Raises:
            HoldallError: One cannot start.
        """
        try:
            while not self._stopping:
                self._start_due()
                for line in wait([self._wake, *self._members], self._pause()):
                    if line is not self._wake:
                        assert isinstance(line, Connection)
                        self._hear(self._members[line])
        finally:
            self._listener.close()
            self._end_all()

    def _start_due(self) -> None:
        now = time.monotonic()
        for number in [number for number, time_due in self._due.items() if time_due <= now]:
            del self._due[number]
            self._start(number)

    def _pause(self) -> float | None:
        return max(0.0, min(self._due.values()) - time.monotonic()) if self._due else None

    def _start(self, number: int) -> None:
        ours, theirs = _SPAWN.Pipe()
        with theirs:
            process = _SPAWN.Process(
                target=run_worker,
                args=(self._options, self._listener, self._meters, number, theirs),
                name=f"holdall-worker-{number}",
                daemon=True,
            )
            process.start()
        self._members[ours] = _Member(number, process, ours)

    def _hear(self, member: _Member) -> None:
        try:
            said = member.line.recv()
        except (EOFError, OSError):
            self._replace(member)
            return
        if isinstance(said, HoldallError):
            if not self._serving:
                raise said
            logger.error("A worker cannot start: %s", said.message)
            return
        member.ready = True
        if not self._serving and not self._due and all(each.ready for each in self._members.values()):
            self._serving = True
            self._on_ready()

    def _replace(self, member: _Member) -> None:
        del self._members[member.line]
        member.line.close()
        member.process.join()
        if not self._serving:
            raise InternalError("A worker ended before it was ready; what it printed says why.")
        code = member.process.exitcode
        logger.warning("Worker %d ended with exit code %s; another one takes its place.", member.number, code)
        self._meters.note_replacement()
        self._due[member.number] = member.started + SPARING_SECONDS

    def _end_all(self) -> None:
        for member in self._members.values():
            member.process.terminate()
        deadline = time.monotonic() + GRACE_SECONDS + MARGIN_SECONDS
        for member in self._members.values():
            member.process.join(max(0.0, deadline - time.monotonic()))
            if member.process.is_alive():
                logger.error("Worker %d does not stop; it is killed.", member.number)
                member.process.kill()
                member.process.join()
            member.line.close()
