"""The processes of a server: one that serves alone, or workers that share an address and one that watches over them."""

from __future__ import annotations

import socket

from holdall.server.endpoints import all_routes
from holdall.server.meters import MeterTable
from holdall.server.options import ServerOptions
from holdall.server.supervisor import Supervisor
from holdall.server.worker import Worker, stopping
from holdall.stores import open_backend_store
from holdall.stores.errors import InvalidParameterValue
from holdall.stores.uri import StoreURI

__all__ = ["serve"]

BACKLOG = 1024
"""Connections that the system keeps until a worker takes them."""

WORKERS = 2
"""Processes by default, where the store can be shared."""


def serve(options: ServerOptions) -> None:
    """Serve until told to stop by SIGTERM or SIGINT, and finish what was begun; says where on standard output.

    Raises:
        HoldallError: The address cannot be had, a store cannot be opened, or a worker cannot start.
    """
    with _listen(options) as listener:
        workers = _count_workers(options)

        def announce() -> None:
            served = StoreURI.parse(options.backend_store)
            print(f"holdall serves {served} on {_address(options, listener)}", flush=True)  # noqa: T201

        if workers == 1:
            worker = Worker(options, listener, MeterTable(all_routes()).meter(0), announce)
            with stopping(worker.stop):
                worker.run()
        else:
            supervisor = Supervisor(options, listener, workers, announce)
            with stopping(supervisor.stop):
                supervisor.run()


def _listen(options: ServerOptions) -> socket.socket:
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    try:
        listener = socket.create_server((options.host, options.port), family=family, backlog=BACKLOG)
    except OSError as error:
        reason = (error.strerror or str(error)).partition(" (while")[0]
        raise InvalidParameterValue(
            f"The server cannot listen on {options.host}, port {options.port}: {reason}."
        ) from error
    listener.setblocking(False)
    return listener


def _address(options: ServerOptions, listener: socket.socket) -> str:
    host = f"[{options.host}]" if ":" in options.host else options.host
    return f"http://{host}:{listener.getsockname()[1]}{options.static_prefix}"


def _count_workers(options: ServerOptions) -> int:
    """How many workers there will be. The store is there afterwards: workers need not make it, or fail each.

    Raises:
        InvalidParameterValue: More are asked for than the store allows.
    """
    with open_backend_store(
        options.backend_store, artifact_root=options.artifact_root, read_only=options.read_only
    ) as store:
        shared = store.capabilities.multi_process
    if options.workers is None:
        return WORKERS if shared else 1
    if options.workers > 1 and not shared:
        raise InvalidParameterValue(f"{store.uri} lives in one process: it can be served by --workers 1 only.")
    return options.workers
