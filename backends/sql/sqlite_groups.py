"""Groups of calls that SQLite commits together: a commit costs as much as what most calls write."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from typing import TypeVar

from holdall.stores.errors import InternalError

__all__ = ["WriteGroup"]

T = TypeVar("T")


class WriteGroup:
    """What one thread writes, as one transaction: begun by the first write, committed at the end.

    Each call in it is done wholly or not at all, whatever becomes of the others.

    Args:
        lock: Held from the first write to the end.
        writer: Gives the connection to write with, under the lock.
    """

    def __init__(self, lock: threading.Lock, writer: Callable[[], sqlite3.Connection]) -> None:
        self._lock = lock
        self._writer = writer
        self._cursor: sqlite3.Cursor | None = None

    @property
    def begun(self) -> bool:
        """Whether something has been written; then the thread must read with `cursor` to see it."""
        return self._cursor is not None

    def cursor(self) -> sqlite3.Cursor:
        """The cursor of the transaction, begun if it has not been.

        Raises:
            sqlite3.Error: It cannot begin.
            InternalError: It was lost by the failure of a call, and what was written before with it.
        """
        if self._cursor is None:
            self._cursor = self._begin()
        if not self._cursor.connection.in_transaction:
            raise InternalError("SQLite has given up a group of writes; nothing of it was written.")
        return self._cursor

    def _begin(self) -> sqlite3.Cursor:
        self._lock.acquire()
        try:
            cursor = self._writer().cursor()
            cursor.execute("BEGIN IMMEDIATE")
        except BaseException:
            self._lock.release()
            raise
        return cursor

    def call(self, work: Callable[[sqlite3.Cursor], T]) -> T:
        """Do the work of one call; undone if it raises."""
        cursor = self.cursor()
        cursor.execute("SAVEPOINT one_call")
        try:
            result = work(cursor)
        except BaseException:
            if cursor.connection.in_transaction:
                cursor.execute("ROLLBACK TO one_call")
                cursor.execute("RELEASE one_call")
            raise
        cursor.execute("RELEASE one_call")
        return result

    def end(self, *, commit: bool) -> None:
        """Commit, or undo all of it.

        Raises:
            sqlite3.Error: It cannot be committed; nothing of it was written.
            InternalError: It was lost before.
        """
        if self._cursor is None:
            return
        connection = self._cursor.connection
        try:
            if commit:
                self.cursor().execute("COMMIT")
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            self._cursor = None
            self._lock.release()
