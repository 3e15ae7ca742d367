"""Requests and answers of the server, apart from any protocol of servers."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, cast, runtime_checkable
from urllib.parse import parse_qsl

import orjson

from holdall.stores.errors import DataLoss, HoldallError, InvalidParameterValue, TemporarilyUnavailable

__all__ = [
    "Answer",
    "ClientGone",
    "DigestMismatch",
    "Pieces",
    "Receive",
    "Request",
    "Scope",
    "Send",
    "TooLarge",
    "TooSlow",
    "error_answer",
    "json_answer",
    "page_json",
    "parse_json",
    "parse_query",
]

logger = logging.getLogger("holdall.server")

Scope = MutableMapping[str, Any]
"""ASGI's description of a connection."""

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

JSON_HEADERS = ((b"content-type", b"application/json"),)


class TooLarge(HoldallError):
    """A body is larger than the server takes; nothing was done."""

    error_code = "BAD_REQUEST"


class TooSlow(HoldallError):
    """A body has not arrived in time; nothing was done."""

    error_code = "BAD_REQUEST"


class DigestMismatch(DataLoss):
    """A body is not the one whose digest was sent with it; nothing was done."""


class ClientGone(HoldallError):
    """The connection ended in the middle of a body; there is nobody to answer."""

    error_code = "CANCELLED"


@dataclass(slots=True)
class Request:
    """A request whose body has not been read.

    Attributes:
        method: HTTP method.
        path: Below the static prefix, percent-decoded once.
        query: As it was sent.
        headers: By lower-case name; of several, the last.
        arguments: What the route's pattern took from the path.
        user: Who asks; None where nobody has to say.
        client: Address that the connection comes from; '' if it is not known.
        lines: Headers as they came; servers add the trailers to them when the body has come to its end.
        receive: Gives the messages of the body.
    """

    method: str
    path: str
    query: bytes
    headers: Mapping[bytes, bytes]
    receive: Receive
    arguments: dict[str, str] = field(default_factory=dict)
    user: str | None = None
    client: str = ""
    lines: Sequence[tuple[bytes, bytes]] = ()

    def header(self, name: str, default: str = "") -> str:
        """The text of a header."""
        value = self.headers.get(name.encode())
        return default if value is None else value.decode("latin-1")

    @property
    def has_body(self) -> bool:
        """Whether a body follows, which may still be empty."""
        return self.headers.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in self.headers

    async def pieces(self) -> AsyncIterator[bytes]:
        """The body as it comes.

        Raises:
            ClientGone: It broke off.
        """
        more = True
        while more:
            event = await self.receive()
            if event["type"] != "http.request":
                raise ClientGone("The client has gone away.")
            more = event.get("more_body", False)
            piece = cast(bytes, event.get("body", b""))
            if piece:
                yield piece

    async def body(self, limit: int) -> bytes:
        """The whole body.

        Raises:
            TooLarge: It has more than `limit` bytes.
            ClientGone: It broke off.
        """
        if (length := self.headers.get(b"content-length")) is not None and length.isdigit() and int(length) > limit:
            raise TooLarge(f"The body must not have more than {limit:,} bytes.")
        event = await self.receive()
        if event["type"] == "http.request" and not event.get("more_body", False):  # nearly always
            whole = cast(bytes, event.get("body", b""))
            if len(whole) <= limit:
                return whole
            raise TooLarge(f"The body must not have more than {limit:,} bytes.")
        if event["type"] != "http.request":
            raise ClientGone("The client has gone away.")
        taken = bytearray(cast(bytes, event.get("body", b"")))
        async for piece in self.pieces():
            taken += piece
            if len(taken) > limit:
                raise TooLarge(f"The body must not have more than {limit:,} bytes.")
        return bytes(taken)


@runtime_checkable
class Pieces(Protocol):
    """A body that holds something until it is closed, be it sent or not."""

    async def aclose(self) -> None:
        """Give back what it holds."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer.

    Attributes:
        status: HTTP status.
        headers: Names in lower case.
        body: Whole, or its pieces; those must add up to the `content-length` among the headers, if there is one. If
            pieces fail, the connection is cut.
    """

    status: int = 200
    headers: tuple[tuple[bytes, bytes], ...] = JSON_HEADERS
    body: bytes | AsyncIterator[bytes] = b"{}"

    async def send(self, send: Send, extra: tuple[tuple[bytes, bytes], ...] = ()) -> None:
        """Send it; `extra` are headers besides."""
        headers = [*self.headers, *extra]
        if isinstance(self.body, bytes):
            if all(
                name != b"content-length" for name, _ in self.headers
            ):  # the answer to a HEAD tells that of the file
                headers.append((b"content-length", str(len(self.body)).encode()))
            await send({"type": "http.response.start", "status": self.status, "headers": headers})
            await send({"type": "http.response.body", "body": self.body})
            return
        try:
            await send({"type": "http.response.start", "status": self.status, "headers": headers})
            async for piece in self.body:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        except ClientGone:
            return
        except HoldallError as error:
            # Not ended, the connection is cut: a short body must not look whole.
            logger.error("An answer broke off: %s", error.message)
            return
        finally:
            if isinstance(self.body, Pieces):
                await self.body.aclose()
        await send({"type": "http.response.body", "body": b""})


def json_answer(document: object, status: int = 200) -> Answer:
    """An answer of JSON. Doubles that JSON has no numbers for must have been replaced before."""
    return Answer(status, body=orjson.dumps(document))


def page_json(name: str, items: list[dict[str, object]], token: str | None) -> dict[str, object]:
    """A page of a search, as MLflow's servers write it: what is empty is left out."""
    page: dict[str, object] = {name: items} if items else {}
    if token is not None:
        page["next_page_token"] = token
    return page


_STATUS: Mapping[type[HoldallError], int] = {DigestMismatch: 400, TooLarge: 413, TooSlow: 408}
"""What HTTP has a status of its own for."""


def error_answer(error: HoldallError) -> Answer:
    """What clients are told of an error: its code, its message, and when to come again."""
    status = _STATUS.get(type(error)) or error.http_status
    body = orjson.dumps({"error_code": error.error_code, "message": error.message})
    headers: tuple[tuple[bytes, bytes], ...] = JSON_HEADERS
    if isinstance(error, TemporarilyUnavailable):
        headers = (*headers, (b"retry-after", str(max(1, round(error.retry_after))).encode()))
    if status == 401:
        headers = (*headers, (b"www-authenticate", b'Basic realm="holdall", charset="UTF-8"'))
    return Answer(status, headers, body)


def parse_json(body: bytes) -> dict[str, object]:
    """The object that a body holds; empty for an empty body, as MLflow's servers take it.

    Raises:
        InvalidParameterValue: It is no JSON, or no object.
    """
    if not body:
        return {}
    try:
        found: object = orjson.loads(body)
    except orjson.JSONDecodeError:
        found = _parse_leniently(body)  # `NaN` and `Infinity`, which Python's clients write as they are
    if not isinstance(found, dict):
        raise InvalidParameterValue(f"The body must be a JSON object, got {type(found).__name__}.")
    return cast("dict[str, object]", found)


def parse_query(query: bytes, repeated: Collection[str] = ()) -> dict[str, object]:
    """What a query says by name; of several values the last, but for `repeated` names, which have lists.

    Raises:
        InvalidParameterValue: It is malformed.
    """
    given: dict[str, object] = {}
    try:
        pairs = parse_qsl(query.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=10_000)
    except ValueError:
        raise InvalidParameterValue("The query must be of the form name=value&name=value, in UTF-8.") from None
    for name, value in pairs:
        if name in repeated:
            cast("list[str]", given.setdefault(name, [])).append(value)
        else:
            given[name] = value
    return given


def _parse_leniently(body: bytes) -> object:
    try:
        return cast(object, json.loads(body.decode()))
    except (ValueError, RecursionError) as error:
        raise InvalidParameterValue(f"The body is not valid JSON: {_shortly(error)}.") from None


def _shortly(error: Exception) -> str:
    return error.msg if isinstance(error, json.JSONDecodeError) else "malformed text"
