"""`ServerProcess`: a program that serves from a temporary folder for as long as its starter lives."""

from __future__ import annotations

import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import TypedDict

from holdall.stores import InternalError

__all__ = ["ServerProcess", "environment_of_tools", "free_port"]

_SETTINGS = ("PG", "MYSQL_", "MARIADB_", "AWS_", "AZURITE_", "MOTO_", "WEED_")
"""How variables begin by which a user's environment would direct servers and their clients."""

_LAUNCH = 'echo $$ >pid && exec "$@"'

_WATCH = """
tree() { for child in $(cat /proc/"$1"/task/*/children); do tree "$child"; done; echo "$1"; }
read -r _
[ -s "$1"/pid ] && kill -9 $(tree "$(cat "$1"/pid)")
while read -r file; do rm -f "$file"; done <"$1"/litter
rm -rf "$1" || { sleep 1; rm -rf "$1"; }
"""
"""Waits for the other end of its standard input to close, as it does however the starter ends, and clears up."""


class _Account(TypedDict, total=False):
    """Arguments of `Popen` that choose whom a process runs as."""

    user: int
    group: int
    extra_groups: list[int]


class ServerProcess:
    """A folder and the server that keeps its data there.

    If the process that made this object dies, the server is killed and the folder deleted. Not safe for threads.

    Args:
        name: Part of the folder's name.
        account: Whom root's server runs as, who then owns the folder; None for root.

    Attributes:
        folder: Belongs to the server's user; `log` in it is what the server printed.
    """

    def __init__(self, name: str, *, account: str | None) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=f"holdall-server-{name}-"))
        self._account: _Account = {}
        if account is not None and os.geteuid() == 0:
            user = pwd.getpwnam(account)
            self._account = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
            os.chown(self.folder, user.pw_uid, user.pw_gid)
        self._server: subprocess.Popen[bytes] | None = None
        self._watch: subprocess.Popen[bytes] | None = self._start_watch()

    @property
    def running(self) -> bool:
        """Whether the server was launched and has not ended."""
        return self._server is not None and self._server.poll() is None

    @property
    def log(self) -> str:
        """The end of what the server has printed since it was launched."""
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
        (self.folder / "log").unlink(missing_ok=True)
        with (self.folder / "log").open("ab") as log:
            self._server = subprocess.Popen(
                ["/bin/sh", "-c", _LAUNCH, "sh", *command],
                cwd=self.folder,
                env=environment_of_tools(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for the starter, who stops the server in order
                **self._account,
            )

    def stop(self, how: signal.Signals, seconds: float = 30.0) -> None:
        """Send a signal to the server, if it runs, and wait for its end; kill it if that takes too long.

        What it started, such as a process for each connection, ends with it.
        """
        if self._server is None:
            return
        started = _descendants(self._server.pid)
        self._server.send_signal(how)
        try:
            self._server.wait(seconds)
        except subprocess.TimeoutExpired:
            self._server.kill()
            self._server.wait()
        for pid in started:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        (self.folder / "pid").unlink(missing_ok=True)
        self._server = None

    def discard_at_end(self, files: Iterable[Path]) -> None:
        """Name more files outside the folder, left by the server, that are to be deleted with it."""
        with (self.folder / "litter").open("a", encoding="utf-8") as litter:
            litter.writelines(f"{file}\n" for file in files)

    def remove(self) -> None:
        """Kill the server, if it runs, and delete the folder."""
        self.stop(signal.SIGKILL)
        litter = self.folder / "litter"
        for file in litter.read_text(encoding="utf-8").splitlines() if litter.exists() else ():
            Path(file).unlink(missing_ok=True)
        shutil.rmtree(self.folder, ignore_errors=True)
        if self._watch is not None:
            self._watch.kill()
            self._watch.communicate()
            self._watch = None

    def _start_watch(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            ["/bin/sh", "-c", _WATCH, "sh", self.folder],
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


def _descendants(pid: int) -> list[int]:
    """Children of a process and theirs, where the system tells."""
    found: list[int] = []
    for file in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            for child in file.read_text(encoding="ascii").split():
                found += [int(child), *_descendants(int(child))]
    return found
