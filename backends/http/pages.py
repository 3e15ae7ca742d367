"""Pages of what a server found.

A server's page token travels inside one of the usual form, which is bound to the query. So a token that is garbage or
belongs to another query is refused as by every other store: MLflow's servers fail on the one and obey the other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar, cast

from holdall.stores.entities import PagedList
from holdall.stores.errors import InternalError
from holdall.stores.paging import decode_token, encode_token

__all__ = ["page_of", "server_token"]

T = TypeVar("T")


def server_token(query: str, token: str | None) -> str | None:
    """The server's token in the token of a page before; None for the first page.

    Args:
        query: The fingerprint of the query that is being asked.
        token: What the page before had.

    Raises:
        InvalidParameterValue: The token is garbage or belongs to another query.
    """
    key = decode_token(query, token, 1)
    return None if key is None else str(key[0][1])


def page_of(answer: Mapping[str, object], name: str, decode: Callable[[object], T], query: str) -> PagedList[T]:
    """The page in an answer.

    Args:
        answer: With a list, which is left out if it is empty, and `next_page_token` if there is more.
        name: Of the list.
        decode: Makes an entity of one item.
        query: The fingerprint of the query.

    Raises:
        InternalError: It is no such answer.
    """
    items, token = answer.get(name), answer.get("next_page_token")
    if not isinstance(items, list | None) or not isinstance(token, str | None):
        raise InternalError(f"The server answers with something that is no page of {name}.")
    return PagedList(
        map(decode, cast(list[object], items or [])), encode_token(query, ((0, token),)) if token else None
    )
