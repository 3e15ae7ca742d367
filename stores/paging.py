"""Opaque page tokens over keysets.

A token holds the sort key of the last row of a page, and a fingerprint of the query it belongs to. The next page starts
after that key, so rows inserted in between neither repeat nor hide others (mlflow#25858, mlflow#23916).
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from typing import TypeVar

from holdall.stores.entities import PagedList
from holdall.stores.errors import InvalidParameterValue
from holdall.stores.search.ast import SortKey, SortValue

__all__ = ["decode_token", "encode_token", "fingerprint", "make_page"]

T = TypeVar("T")


def fingerprint(*parts: object) -> str:
    """A short digest of a query, to bind its tokens to it.

    Args:
        parts: Values whose `repr` is stable between processes.
    """
    return hashlib.blake2b(repr(parts).encode("utf-8", "surrogatepass"), digest_size=9).hexdigest()


def encode_token(query: str, key: SortKey) -> str:
    """The token of the page that follows the row at `key`.

    Args:
        query: The fingerprint of the query.
        key: Sort key of the last row that was handed out.
    """
    text = json.dumps([query, key], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode("ascii")


def decode_token(query: str, token: str | None, width: int) -> SortKey | None:
    """The sort key in a token, or None for the first page.

    Args:
        query: The fingerprint of the query that is being asked.
        token: What an earlier page gave; None and '' mean the first page.
        width: Number of keys in the query's ordering.

    Raises:
        InvalidParameterValue: The token is garbage or belongs to another query.
    """
    if token is None or token == "":
        return None
    try:
        made_for, key = json.loads(base64.b64decode(token.encode("ascii"), altchars=b"-_", validate=True))
        values = tuple(_sort_value(pair) for pair in key)
    except (ValueError, TypeError, AttributeError, RecursionError):
        raise InvalidParameterValue(
            "Invalid page token: it was not made by this store; start again without one."
        ) from None
    if made_for != query or len(values) != width:
        raise InvalidParameterValue(
            "Invalid page token: it belongs to another query; repeat the filter, ordering and ids of the page before."
        )
    return values


def make_page(found: list[T], limit: int | None, query: str, key: Callable[[T], SortKey]) -> PagedList[T]:
    """A page out of what a backend found when it was asked for one row more than the page may hold.

    Args:
        found: Rows in order, at most `limit` + 1.
        limit: Greatest number of rows of the page; None if it holds all.
        query: The fingerprint of the query.
        key: Sort key of a row.
    """
    if limit is None or len(found) <= limit:
        return PagedList(found)
    page = found[:limit]
    return PagedList(page, encode_token(query, key(page[-1])))


def _sort_value(pair: object) -> SortValue:
    match pair:
        case [int(rank), (str() | int() | float() | None) as value]:
            return rank, value
    raise TypeError
