"""`Server`: what all servers of the tests have in common."""

from __future__ import annotations

import secrets
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from holdall.conformance_tests.emulators.installation import find_program, require_modules
from holdall.conformance_tests.emulators.process import ServerProcess, free_port
from holdall.stores import InternalError

__all__ = ["Server", "new_name"]

_READY_SECONDS = 60.0
_ATTEMPTS = 20


class Server(ABC):
    """A server of its own, in a temporary folder and at a free port of 127.0.0.1.

    It does not outlive the process that made it. What it serves may be used by any process and thread; the methods are
    safe for threads except those that start and end the server.

    Args:
        flags: Further options of the server's command line; they win over those set here.

    Attributes:
        name: By which `new_server` knows it.
        scheme: Of its URIs.
        keeps_data: Whether it still has its data when it starts again after `stop` or `kill`.
        host: Where it listens.
        port: Where it listens; 0 before the first start, then always the same.
    """

    name: ClassVar[str]
    scheme: ClassVar[str]
    keeps_data: ClassVar[bool] = True
    host: str = "127.0.0.1"

    _modules: ClassVar[tuple[tuple[str, str], ...]] = ()
    """Modules that it takes, the server's or a client library's, and what to give to `pip install` for each."""

    _stop_signal: ClassVar[signal.Signals] = signal.SIGTERM
    _stop_seconds: ClassVar[float] = 30.0
    _account: ClassVar[str | None]
    """Whom root's servers run as; None for root."""

    def __init__(self, flags: Sequence[str] = ()) -> None:
        self.port = 0
        self._flags = tuple(flags)
        self._process: ServerProcess | None = None

    @property
    def folder(self) -> Path:
        """Where a started server keeps everything, until `remove`."""
        return self._started.folder

    def start(self) -> None:
        """Start the server and wait until it answers; again at the same port after `stop` or `kill`.

        Raises:
            MissingExtra: The server or its client library is not installed and cannot be from here.
            InternalError: It does not answer; the message holds its log.
        """
        if self._process is None:
            require_modules(self._modules)
            self._process = self._new_process()
        elif self._process.running:
            return
        try:
            self._launch(self._process)
        except BaseException:
            self.remove()
            raise

    def stop(self) -> None:
        """End the server in order, without waiting for its clients; does nothing if it is not running."""
        if self._process is not None:
            self._process.stop(self._stop_signal, self._stop_seconds)

    def kill(self) -> None:
        """End the server as `kill -9` does."""
        if self._process is not None:
            self._process.stop(signal.SIGKILL)

    def remove(self) -> None:
        """Stop the server and delete its data; a later start begins with an empty server at another port."""
        if self._process is not None:
            self.stop()
            self._process.remove()
            self._process = None
            self.port = 0

    @abstractmethod
    def new_uri(self) -> str:
        """The URI of a new, empty place on the server, credentials included."""

    @abstractmethod
    def _initialise(self, process: ServerProcess) -> None:
        """Make what a new server finds in its folder."""

    @abstractmethod
    def _command(self, folder: Path) -> list[str | Path]:
        """The command line of the server."""

    @abstractmethod
    def _answers(self) -> bool:
        """Whether the server, and no other at this port, answers."""

    def _choose_ports(self) -> None:
        """Choose where a new server listens."""
        self.port = free_port()

    @property
    def _started(self) -> ServerProcess:
        if self._process is None:
            raise InternalError(f"The {self.name} server of the tests was not started.")
        return self._process

    def _new_process(self) -> ServerProcess:
        process = ServerProcess(self.name, account=self._account)
        try:
            self._initialise(process)
        except BaseException:
            process.remove()
            raise
        return process

    def _launch(self, process: ServerProcess) -> None:
        first = self.port == 0
        for _ in range(_ATTEMPTS):
            if first:
                self._choose_ports()
            process.launch(self._command(process.folder))
            if self._becomes_ready(process):
                return
            if not first:
                time.sleep(0.2)  # the children of a killed server end after it
        raise InternalError(f"The {self.name} server of the tests ends at once; it says:\n{process.log}")

    def _becomes_ready(self, process: ServerProcess) -> bool:
        """Wait until the server answers; False if it ends instead."""
        deadline = time.monotonic() + _READY_SECONDS
        while time.monotonic() < deadline:
            if self._answers() and process.running:
                return True
            if not process.running:
                return False
            time.sleep(0.01)
        seconds = f"{_READY_SECONDS:.0f} s"
        raise InternalError(f"The {self.name} server of the tests is not ready in {seconds}:\n{process.log}")

    def _program(self, name: str) -> Path:
        return find_program(self.name, name)


def new_name() -> str:
    """A name for a database, bucket or folder that no other has."""
    return f"test_{secrets.token_hex(8)}"
