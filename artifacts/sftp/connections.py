"""`Connections`: the few conversations with a server that a store holds, begun when needed and again when broken."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable

from holdall.artifacts.sftp.session import Session
from holdall.stores.errors import HoldallError

__all__ = ["Connections"]

BUSY = 8
"""Requests under way on a connection above which another one is opened."""

REST_SECONDS = 60.0
"""How long to make do with the connections there are when the server has refused another one."""


class Connections:
    """Conversations with a server, shared by all threads of a store.

    Args:
        begin: Begins one.
        limit: Most at a time.
    """

    def __init__(self, begin: Callable[[], Session], limit: int) -> None:
        self._begin = begin
        self._limit = limit
        self._changed = threading.Condition()
        self._sessions: list[Session] = []
        self._opening = False
        self._failure: HoldallError | None = None
        self._failures = 0
        self._resting_until = 0.0
        self._process = os.getpid()
        # Stores that nobody closes must not keep connections for as long as the process lives.
        weakref.finalize(self, _close_all, self._sessions)

    def session(self) -> Session:
        """The conversation that has least to do; a new one if all are busy and there may be more.

        Raises:
            TemporarilyUnavailable: The server cannot be reached.
            Unauthenticated: It is another one than is known, or does not let the user in.
            InvalidParameterValue: There is no such host, or a key cannot be used.
        """
        self._leave_to_parent()
        with self._changed:
            seen = self._failures
            while True:
                self._forget_dead()
                least = min(self._sessions, key=lambda session: session.load, default=None)
                if least is not None and not self._wants_more(least):
                    return least
                if not self._opening:
                    self._opening = True
                    break
                self._changed.wait()
                if self._failure is not None and self._failures != seen:
                    raise type(self._failure)(self._failure.message)
        return self._open(least)

    def close(self) -> None:
        """End all conversations."""
        with self._changed:
            sessions, self._sessions[:] = self._sessions[:], []
        for session in sessions:
            session.close()

    def _wants_more(self, least: Session) -> bool:
        """Whether another connection should be opened although there is one."""
        full = len(self._sessions) >= self._limit or time.monotonic() < self._resting_until
        return least.load > BUSY and not full and not self._opening

    def _open(self, least: Session | None) -> Session:
        """Begin a conversation; without success, the one that has least to do will do."""
        try:
            session = self._begin()
        except HoldallError as error:
            self._opened(None, error)
            if least is None or not least.alive:
                raise
            self._resting_until = time.monotonic() + REST_SECONDS
            return least
        except BaseException:
            self._opened(None, None)
            raise
        self._opened(session, None)
        return session

    def _opened(self, session: Session | None, failure: HoldallError | None) -> None:
        with self._changed:
            self._opening = False
            if session is not None:
                self._sessions.append(session)
            if failure is not None:
                self._failure = failure
                self._failures += 1
            self._changed.notify_all()

    def _forget_dead(self) -> None:
        for session in [session for session in self._sessions if not session.alive]:
            self._sessions.remove(session)
            session.close()

    def _leave_to_parent(self) -> None:
        """Begin anew in a process that was forked; other threads may have held the lock then."""
        if self._process != os.getpid():
            self._process = os.getpid()
            self._changed = threading.Condition()
            self._opening = False
            for session in self._sessions:
                session.abandon()
            self._sessions.clear()


def _close_all(sessions: list[Session]) -> None:
    for session in sessions:
        session.close()
