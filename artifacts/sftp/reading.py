"""`RemoteStream`: the bytes of a file on the server, asked for ahead of their use."""

from __future__ import annotations

from queue import SimpleQueue
from typing import cast

from holdall.artifacts.sftp.errors import translated
from holdall.artifacts.sftp.protocol import Attributes, Reply, Request, attributes_of, close, data_of, read, stat_handle
from holdall.artifacts.sftp.session import Answers, Session

__all__ = ["RemoteStream"]

MOST_AHEAD = 16
"""Requests for one stream under way at once: 2 MiB. Large files are read by several streams at once."""

_STAT = "stat"


class RemoteStream:
    """A range of a file, read in order.

    At first little is asked for, as a reader may want no more; the further it reads, the more is asked for ahead.

    Args:
        session: The conversation that the file was opened in.
        handle: The file; closed with the stream.
        path: For messages.
        offset: First byte.
        length: Bytes that will be read for sure, if the file has as many; None if that is not known.

    Attributes:
        attributes: Of the file.
        size: Bytes of the whole file.
    """

    def __init__(self, session: Session, handle: bytes, path: str, offset: int, length: int | None) -> None:
        self._session = session
        self._handle = handle
        self._path = path
        self._answers: Answers = SimpleQueue()
        self._position = self._asked = offset
        self._rest = b""
        self._arrived: dict[int, bytes] = {}
        self._lengths: dict[int, int] = {}
        self._ahead = 1 if length is None else MOST_AHEAD
        self._ended = self._closed = False
        self._end = offset + (session.read_block if length is None else length)
        self._ask([(_STAT, stat_handle(handle))])
        self.attributes = self._take_attributes()
        self.size = self.attributes.size or 0
        self._end = self.size if length is None else min(self._end, self.size)

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes; `b''` at the end."""
        if not self._rest:
            if self._position >= self._end or self._ended:
                return b""
            self._ask([])
            self._rest = self._next_block()
            self._ahead = min(2 * self._ahead, MOST_AHEAD)
        data, self._rest = (self._rest, b"") if len(self._rest) <= size else (self._rest[:size], self._rest[size:])
        self._position += len(data)
        return data

    def close(self) -> None:
        """Close the file; answers that are still to come are dropped."""
        if not self._closed:
            self._closed = True
            self._session.post(close(self._handle))

    def _ask(self, requests: list[tuple[object, Request]]) -> None:
        """Send requests, and with them as many for what comes next as are wanted ahead."""
        while self._asked < self._end and len(self._lengths) + len(self._arrived) < self._ahead:
            length = min(self._session.read_block, self._end - self._asked)
            requests.append(self._read_request(self._asked, length))
            self._asked += length
        if requests:
            self._session.submit(self._answers, requests)

    def _read_request(self, offset: int, length: int) -> tuple[object, Request]:
        self._lengths[offset] = length
        return offset, read(self._handle, offset, length)

    def _take_attributes(self) -> Attributes:
        early: list[tuple[object, Reply]] = []
        while True:
            tag, reply = self._session.take(self._answers)
            if tag == _STAT:
                for answer in early:  # of a server that works on several requests at once
                    self._answers.put(answer)
                with translated("read", self._path):
                    return attributes_of(reply)
            early.append((tag, reply))

    def _next_block(self) -> bytes:
        while self._position not in self._arrived:
            tag, reply = self._session.take(self._answers)
            offset = cast(int, tag)
            with translated("read", self._path):
                data = data_of(reply)
            missing = min(self._lengths.pop(offset), self._end - offset) - len(data)
            self._arrived[offset] = data
            if data and missing > 0:
                # A server may give less than was asked for, and says so only by what it gives.
                after = offset + len(data)
                self._session.submit(self._answers, [self._read_request(after, missing)])
        data = self._arrived.pop(self._position)
        self._ended = not data
        return data
