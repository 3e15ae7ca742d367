"""All pages of a search as one list."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from holdall.stores.entities import PagedList
from holdall.stores.errors import InvalidParameterValue

__all__ = ["collect"]

T = TypeVar("T")

PAGE_SIZE = 10_000


def collect(fetch: Callable[[int, str | None], PagedList[T]], max_results: int | None) -> list[T]:
    """Fetch pages until there are no more, or enough.

    Args:
        fetch: Given a page size and a token, returns a page.
        max_results: Most items wanted; None for all.

    Raises:
        InvalidParameterValue: `max_results` is not a positive whole number.
    """
    if max_results is not None and (not isinstance(max_results, int) or max_results < 1):
        raise InvalidParameterValue(f"max_results must be a positive whole number, got {max_results!r}.")
    found: list[T] = []
    token: str | None = None
    while max_results is None or len(found) < max_results:
        room = PAGE_SIZE if max_results is None else min(PAGE_SIZE, max_results - len(found))
        page = fetch(room, token)
        found += page
        token = page.token
        if token is None:
            break
    return found
