"""`ServerProcess`: a program that serves from a temporary folder, as an ordinary user, for as long as its starter."""

from __future__ import annotations

import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import TypedDict

from holdall.stores import InternalError

__all__ = ["ServerProcess", "environment_of_tools", "free_port"]

_STOP_SECONDS = 30
_SETTINGS = ("PG", "MYSQL_", "MARIADB_")
"""How variables begin by which a user's environment would direct servers and their clients."""

_WATCH = 'read -r _; kill -9 "$(head -n 1 "$1")"; rm -rf "$2" || { sleep 1; rm -rf "$2"; }'
"""Waits for the other end of its standard input to close, as it does however the starter ends, and clears up."""


class _Account(TypedDict, total=False):
    """Arguments of `Popen` that choose whom a process runs as."""

    user: int
    group: int
    extra_groups: list[int]


class ServerProcess:
    """A folder and the server that keeps its data there.

    Root's servers run as `nobody`: some refuse to run as root, and none should. If the process that made this object
    dies, the server is killed and the folder deleted. Not safe for threads.

    Args:
        name: Part of the folder's name.
        pid_file: Where, from the folder, the server writes its process id.

    Attributes:
        folder: Belongs to the server's user; `log` in it is what the server printed.
    """

    def __init__(self, name: str, pid_file: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=f"holdall-server-{name}-"))
        self._pid_file = self.folder / pid_file
        self._account: _Account = {}
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            self._account = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
            os.chown(self.folder, nobody.pw_uid, nobody.pw_gid)
        self._server: subprocess.Popen[bytes] | None = None
        self._watch: subprocess.Popen[bytes] | None = self._start_watch()

    @property
    def running(self) -> bool:
        """Whether the server was launched and has not ended."""
        return self._server is not None and self._server.poll() is None

    @property
    def log(self) -> str:
        """The end of what the server has printed."""
        file = self.folder / "log"
        return file.read_text(encoding="utf-8", errors="replace")[-4000:] if file.exists() else ""

    def run(self, command: Sequence[str | Path]) -> None:
        """Run a program to its end, as the server's user.

        Raises:
            InternalError: It failed; the message holds what it printed.
        """
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=environment_of_tools(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
            **self._account,
        )
        if done.returncode != 0:
            raise InternalError(f"{command[0]} failed:\n{done.stdout.decode(errors='replace')}")

    def launch(self, command: Sequence[str | Path]) -> None:
        """Start the server; it may not be ready yet."""
        with (self.folder / "log").open("ab") as log:
            self._server = subprocess.Popen(
                command,
                cwd=self.folder,
                env=environment_of_tools(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for the starter, who stops the server in order
                **self._account,
            )

    def stop(self, how: signal.Signals) -> None:
        """Send a signal to the server, if it runs, and wait for its end; kill it if that takes too long."""
        if self._server is None:
            return
        self._server.send_signal(how)
        try:
            self._server.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._server.kill()
            self._server.wait()
        self._server = None

    def remove(self) -> None:
        """Kill the server, if it runs, and delete the folder."""
        self.stop(signal.SIGKILL)
        shutil.rmtree(self.folder, ignore_errors=True)
        if self._watch is not None:
            self._watch.kill()
            self._watch.communicate()
            self._watch = None

    def _start_watch(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            ["/bin/sh", "-c", _WATCH, "sh", self._pid_file, self.folder],
            cwd="/",
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            **self._account,
        )


def environment_of_tools() -> dict[str, str]:
    """This process's environment without what would direct a server or its clients elsewhere."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_SETTINGS)}
    return kept | {"LC_ALL": "C.UTF-8", "TZ": "UTC"}


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens at just now.

    Below those that the kernel gives to outgoing connections, so that it is still free when a stopped server starts
    again.
    """
    for _ in range(100):
        port = random.randrange(20_000, 32_000)
        with closing(socket.socket()) as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise InternalError("No free port found between 20000 and 32000.")
