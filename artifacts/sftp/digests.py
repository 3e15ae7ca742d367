"""`RemoteDigests`: what a server says the bytes are that it has stored."""

from __future__ import annotations

import hashlib
import logging
import shlex
import struct
import threading

from holdall.artifacts.sftp.protocol import Refused, checksum_of, extended
from holdall.artifacts.sftp.session import Session

__all__ = ["LEAST_SIZE", "RemoteDigests"]

_log = logging.getLogger(__name__)

LEAST_SIZE = 1 << 20
"""Bytes from which on a file is worth the question, which takes a server as long as a dozen small files do."""

TRIAL_SECONDS = 5.0
"""How long a server may take to show whether it runs commands; some put a menu in their place."""

COMMANDS_AT_ONCE = 4
"""OpenSSH lets ten channels share a connection."""

_CHECK_FILE = {"check-file", "check-file-name"}
_CHECK_FILE_BY_NAME = "check-file-name"
_ALGORITHM = "sha256"
_COMMAND = "sha256sum"


class RemoteDigests:
    """Asks a server for digests, by the protocol extension `check-file` or by running `sha256sum`.

    What the server can is found out once. Many servers can neither.

    Args:
        wanted: Whether to ask at all.
    """

    def __init__(self, *, wanted: bool) -> None:
        self._wanted = wanted
        self._runs_commands: bool | None = None
        self._lock = threading.Lock()
        self._commands = threading.BoundedSemaphore(COMMANDS_AT_ONCE)

    def available(self, session: Session) -> bool:
        """Whether the server may tell digests.

        Raises:
            TemporarilyUnavailable: The connection broke.
        """
        return self._wanted and (bool(_CHECK_FILE & session.extensions.keys()) or self._can_run(session))

    def sha256(self, session: Session, path: bytes, size: int) -> str | None:
        """The SHA-256 of a file; None if the server does not tell.

        Raises:
            TemporarilyUnavailable: The connection broke.
        """
        found = _check_file(session, path, size) if _CHECK_FILE & session.extensions.keys() else None
        if found is None and self._can_run(session):
            found = self._run(session, f"{_COMMAND} -- {shlex.quote(path.decode())}", session.seconds_for(size))
        return found

    def _can_run(self, session: Session) -> bool:
        with self._lock:
            if self._runs_commands is None:
                found = self._run(session, f"{_COMMAND} </dev/null", TRIAL_SECONDS)
                self._runs_commands = found == hashlib.sha256().hexdigest()
                _log.debug("The server %s run %s.", "can" if self._runs_commands else "cannot", _COMMAND)
            return self._runs_commands

    def _run(self, session: Session, command: str, seconds: float) -> str | None:
        with self._commands:
            printed = session.run(command, seconds)
        for line in printed.decode("ascii", "replace").splitlines():  # a shell may print a greeting first
            word = line.lstrip("\\").split(" ")[0]
            if len(word) == 64 and set(word) <= set("0123456789abcdef"):
                return word
        return None


def _check_file(session: Session, path: bytes, size: int) -> str | None:
    """By the protocol extension, which takes several kinds of digests, and may not know this one."""
    whole = struct.pack(">QQI", 0, 0, 0)
    with session.slowly(size):
        [reply] = session.ask(extended(_CHECK_FILE_BY_NAME, path, _ALGORITHM.encode(), tail=whole))
    try:
        algorithm, digest = checksum_of(reply)
    except Refused:
        return None
    return digest.hex() if algorithm == _ALGORITHM else None
