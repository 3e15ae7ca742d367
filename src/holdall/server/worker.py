"""A worker: the application on uvicorn, behind an address that it may share with others."""

from __future__ import annotations

import asyncio
import errno
import logging
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from types import FrameType
from typing import cast

import uvicorn

from holdall.server.application import Application
from holdall.server.meters import Meter, MeterTable
from holdall.server.options import ServerOptions
from holdall.server.protocol import LimitedProtocol
from holdall.stores.errors import HoldallError

__all__ = ["GRACE_SECONDS", "Worker", "run_worker", "stopping"]

logger = logging.getLogger("holdall.server")

GRACE_SECONDS = 30
"""What requests that were begun have to be finished when the server is told to stop."""

IDLE_SECONDS = 75
"""How long a connection is kept without a request: longer than clients and proxies usually keep theirs, so that it is
not closed under a request."""

PAUSE_SECONDS = 0.5
"""How long no connection is accepted after files have run out."""

_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class Worker(uvicorn.Server):
    """Serves on an open socket until told to stop.

    It takes one connection at a time, so that those that come together spread over all workers.

    Args:
        options: Of the server.
        listener: Where connections come in; not blocking.
        meter: Counts what is served.
        on_ready: Called when the stores are open and requests are answered.
    """

    def __init__(
        self, options: ServerOptions, listener: socket.socket, meter: Meter, on_ready: Callable[[], None]
    ) -> None:
        self._application = Application(options, meter)
        self._listener = listener
        self._on_ready = on_ready
        self._arrivals: set[asyncio.Task[object]] = set()
        super().__init__(
            uvicorn.Config(
                self._application,
                http=LimitedProtocol,
                log_level="warning",
                access_log=False,
                server_header=False,
                lifespan="off",
                proxy_headers=False,
                ws="none",
                timeout_keep_alive=IDLE_SECONDS,
                timeout_graceful_shutdown=GRACE_SECONDS,
            )
        )

    def stop(self) -> None:
        """Let `run` finish what was begun, and return."""
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Open the stores, and serve.

        Raises:
            HoldallError: A store cannot be opened.
        """
        self._application.start()
        self.servers = []
        self._accept_connections()
        self.started = True
        self._on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take no more connections, finish what was begun, and close the stores."""
        asyncio.get_running_loop().remove_reader(self._listener)
        self._listener.close()
        await super().shutdown(sockets)
        self._application.stop()

    def _accept_connections(self) -> None:
        if not self.should_exit:
            asyncio.get_running_loop().add_reader(self._listener, self._accept)

    def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            connection, _ = self._listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):  # another worker was quicker
            return
        except OSError as error:
            if error.errno not in _EXHAUSTED:
                raise
            logger.warning("No connection can be accepted for now: %s.", error.strerror)
            loop.remove_reader(self._listener)
            loop.call_later(PAUSE_SECONDS, self._accept_connections)
            return
        connection.setblocking(False)
        arrival: asyncio.Task[object] = loop.create_task(loop.connect_accepted_socket(self._protocol, connection))
        self._arrivals.add(arrival)
        arrival.add_done_callback(self._arrived)

    def _protocol(self) -> asyncio.Protocol:
        make = cast("Callable[..., asyncio.Protocol]", self.config.http_protocol_class)
        return make(config=self.config, server_state=self.server_state, app_state={})

    def _arrived(self, arrival: asyncio.Task[object]) -> None:
        self._arrivals.discard(arrival)
        if not arrival.cancelled() and (error := arrival.exception()) is not None:
            logger.debug("A connection was gone before it was taken.", exc_info=error)


def run_worker(
    options: ServerOptions, listener: socket.socket, meters: MeterTable, number: int, supervisor: Connection
) -> None:
    """Be a worker in a process of its own.

    Args:
        options: Of the server.
        listener: Where connections come in.
        meters: Where workers count what they serve.
        number: Which of the workers this is.
        supervisor: Is told None once this one is ready, or the error that keeps it from it; when it breaks off, the
            worker stops.
    """
    listener.setblocking(False)
    worker = Worker(options, listener, meters.meter(number), lambda: supervisor.send(None))
    threading.Thread(target=_watch, args=(supervisor, worker), daemon=True).start()
    try:
        with stopping(worker.stop):
            worker.run()
    except HoldallError as error:
        supervisor.send(error)


def _watch(supervisor: Connection, worker: Worker) -> None:
    """Let a worker stop when nobody watches over it any more."""
    try:
        supervisor.recv()
    except (EOFError, OSError):
        worker.stop()


@contextmanager
def stopping(stop: Callable[[], None]) -> Iterator[None]:
    """Let SIGTERM and SIGINT do no more than call something.

    uvicorn, which has handlers of its own while it runs, raises what it caught once more when all is done.
    """

    def handle(_number: int, _frame: FrameType | None) -> None:
        stop()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
