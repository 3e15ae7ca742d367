"""As many items as were asked for, from as many pages as it takes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import TypeVar

from holdall.cli.output import console
from holdall.stores.entities import PagedList

__all__ = ["every", "say_more", "take"]

T = TypeVar("T")

PAGE = 1000

FetchPage = Callable[[int, str | None], PagedList[T]]
"""Gets a page of at most so many items after a token."""


def take(fetch: FetchPage[T], limit: int, token: str | None = None) -> PagedList[T]:
    """At most `limit` items, all for 0, with the token of what follows."""
    found: list[T] = []
    while True:
        page = fetch(min(PAGE, limit - len(found)) if limit else PAGE, token)
        found.extend(page)
        token = page.token
        if token is None or (limit and len(found) >= limit):
            return PagedList(found, token)


def every(fetch: FetchPage[T]) -> Iterator[T]:
    """All items, one page in memory at a time."""
    token: str | None = None
    while True:
        page = fetch(PAGE, token)
        yield from page
        token = page.token
        if token is None:
            return


def say_more(count: int, token: str | None) -> None:
    """Tell on standard error how to get the rest, if there is any."""
    if token is not None:
        hint = f"{count} shown, there are more: raise --limit, or go on with --page-token {token}"
        sys.stdout.flush()
        console(stderr=True).print(hint, style="dim", soft_wrap=True)
