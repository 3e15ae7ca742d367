"""`python -m holdall.conformance_tests.emulators install|run`: servers without a test run."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Callable
from types import FrameType

from holdall.conformance_tests.emulators.installation import NAMES, install
from holdall.conformance_tests.emulators.sharing import new_server
from holdall.stores import HoldallError


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; the exit code says whether it went well."""
    parser = argparse.ArgumentParser(prog="python -m holdall.conformance_tests.emulators", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("install", help="install what is absent: with apt-get, as root, and npm")
    one.add_argument("names", nargs="*", metavar="SERVER", help=f"{', '.join(NAMES)}; all by default")
    two = commands.add_parser("run", help="start a server, print the URI of an empty place, run until Ctrl-C")
    two.add_argument("name", metavar="SERVER", help=", ".join(NAMES))
    two.add_argument("flags", nargs="*", help="after --: options of the server's command line")
    options = parser.parse_args(arguments)
    try:
        if options.command == "install":
            install(*options.names)
        else:
            run(options.name, *options.flags)
    except HoldallError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def run(name: str, *flags: str) -> None:
    """Serve an empty database, bucket or folder until interrupted or terminated."""
    server = new_server(name, *flags)
    _on_interruption(signal.default_int_handler)
    try:
        server.start()
        print(server.new_uri(), flush=True)
        while True:
            time.sleep(1)  # `pause` would miss a signal that comes just before it
    except KeyboardInterrupt:
        _on_interruption(signal.SIG_IGN)
    finally:
        server.remove()


def _on_interruption(handler: Callable[[int, FrameType | None], None] | signal.Handlers) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, handler)


if __name__ == "__main__":
    sys.exit(main())
