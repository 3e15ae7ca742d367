"""`Store`: what stores of every kind have in common, the life of an opened one."""

from __future__ import annotations

from abc import ABC
from types import TracebackType
from typing import Self

from holdall.stores.errors import ReadOnly, StoreClosed
from holdall.stores.uri import StoreURI

__all__ = ["Store"]


class Store(ABC):  # noqa: B024 - the hooks are those of its subclasses
    """An opened store: a context manager that is closed once, and may refuse writes.

    Args:
        uri: What was opened, parsed.
        read_only: Refuse every write with `ReadOnly`, and write nothing on opening.

    Attributes:
        uri: What was opened, absolute.
        read_only: Whether writes are refused.
    """

    def __init__(self, uri: StoreURI, *, read_only: bool = False) -> None:
        self.uri = uri.absolute()
        self.read_only = read_only
        self._closed = False

    def close(self) -> None:
        """Give back connections and files. Closing again does nothing; other calls raise `StoreClosed` from now on."""
        if not self._closed:
            self._closed = True
            self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.uri}{' read-only' if self.read_only else ''}>"

    def describe(self) -> dict[str, str]:
        """Facts about the opened store for people, as `holdall info` shows them: name → text. Derived; extend it."""
        return {
            "uri": str(self.uri),
            "store": type(self).__name__,
            "mode": "read-only" if self.read_only else "read-write",
        }

    def _close(self) -> None:  # noqa: B027 - derived: many stores hold nothing
        """Give back what is held; called once."""

    def _check_open(self) -> None:
        if self._closed:
            raise StoreClosed(f"The store {self.uri} is closed; open it again.")

    def _check_writable(self) -> None:
        self._check_open()
        if self.read_only:
            raise ReadOnly(f"The store {self.uri} was opened read-only; open it without read_only to write.")
