"""`SwiftPacketizer`: SSH packets at a fraction of the processor time, and with a limit to how long sending may take."""

from __future__ import annotations

import struct
import threading
import time
from typing import TYPE_CHECKING, Any, Protocol, cast

from paramiko.message import Message
from paramiko.packet import NeedRekeyException, Packetizer

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

__all__ = ["ChannelBatch", "SwiftPacketizer"]

_BUFFER = 1 << 19
_LONGEST_PACKET = 1 << 18
"""OpenSSH's limit."""

_TAG = 16
_PACKETS_AT_ONCE = 8
_CHANNEL_DATA = 94


class _Socket(Protocol):
    def recv(self, size: int, /) -> bytes: ...
    def send(self, data: bytes | memoryview, /) -> int: ...


class _Sealer(Protocol):
    """AES-GCM of the cryptography package."""

    def encrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None) -> bytes: ...
    def decrypt(self, nonce: bytes, data: bytes | memoryview, associated_data: bytes | memoryview | None) -> bytes: ...


class _Timekeeper(Protocol):
    """What paramiko's packetizer keeps from its types."""

    def _check_keepalive(self) -> None: ...
    def _trigger_rekey(self) -> None: ...


class _Direction:
    """The key of one direction, and how much passed under it."""

    def __init__(self, sealer: _Sealer, iv: bytes) -> None:
        self.sealer = sealer
        self._fixed, self._count = iv[:4], int.from_bytes(iv[4:], "big")
        self.passed = 0

    def nonce(self) -> bytes:
        """The next one (RFC 5647)."""
        count, self._count = self._count, (self._count + 1) & 0xFFFF_FFFF_FFFF_FFFF
        return self._fixed + count.to_bytes(8, "big")


class SwiftPacketizer(Packetizer):
    """paramiko's packets, sent and received with fewer copies and system calls where AES-GCM is agreed on.

    Other ciphers take paramiko's own way. A packet that cannot be sent for `SwiftPacketizer.patience` seconds ends the
    connection, where paramiko would try for ever.
    """

    patience = 60.0

    def __init__(self, socket: Any) -> None:  # paramiko's own signature
        super().__init__(socket)
        self._wire = cast(_Socket, socket)
        self._receive_into = getattr(socket, "recv_into", None)
        self._inward: _Direction | None = None
        self._outward: _Direction | None = None
        self._sending = threading.Lock()
        self._buffer = memoryview(bytearray(_BUFFER))
        self._start = self._end = 0

    def set_inbound_cipher(self, *args: Any, **options: Any) -> None:
        super().set_inbound_cipher(*args, **options)
        self._inward = _direction(args, options, "iv_in")

    def set_outbound_cipher(self, *args: Any, **options: Any) -> None:
        super().set_outbound_cipher(*args, **options)
        self._outward = _direction(args, options, "iv_out")

    def write_all(self, out: ReadableBuffer) -> None:
        deadline = time.monotonic() + self.patience
        view = memoryview(out)
        while view:
            try:
                sent = self._wire.send(view)
            except (TimeoutError, BlockingIOError):
                sent = 0
            except OSError as error:
                raise EOFError from error
            if sent:
                view, deadline = view[sent:], time.monotonic() + self.patience
            elif self.closed or time.monotonic() > deadline:
                raise EOFError

    def send_message(self, data: Message) -> None:
        payloads = data.payloads if isinstance(data, ChannelBatch) else [(data.asbytes(),)]
        key = self._outward
        if key is None:
            for payload in payloads:
                super().send_message(Message(b"".join(payload)))
            return
        with self._sending:
            for start in range(0, len(payloads), _PACKETS_AT_ONCE):
                group = payloads[start : start + _PACKETS_AT_ONCE]
                self.write_all(b"".join(part for payload in group for part in self._seal(key, payload)))

    def _seal(self, key: _Direction, payload: tuple[bytes | memoryview, ...]) -> tuple[bytes, bytes]:
        """A packet: its length and all the rest."""
        size = sum(map(len, payload))
        padding = 19 - (size + 4) % 16
        head = struct.pack(">I", size + padding + 1)
        plain = b"".join((bytes((padding,)), *payload, bytes(padding)))
        self._count(key, len(plain))
        return head, key.sealer.encrypt(key.nonce(), plain, head)

    def read_message(self) -> tuple[int, Message]:
        key = self._inward
        if key is None:
            return super().read_message()
        self._fill(4, idle=True)
        length = int.from_bytes(self._buffer[self._start : self._start + 4], "big")
        if not 16 <= length <= _LONGEST_PACKET:
            raise EOFError
        self._fill(4 + length + _TAG)
        body = self._start + 4
        head, self._start = self._buffer[self._start : body], body + length + _TAG
        plain = key.sealer.decrypt(key.nonce(), self._buffer[body : self._start], head)
        self._count(key, length)
        kind = plain[1]
        message = _ChannelData(plain) if kind == _CHANNEL_DATA else Message(plain[2 : length - plain[0]])
        message.seqno = 0
        return kind, message

    def _fill(self, count: int, *, idle: bool = False) -> None:
        """Receive until `count` bytes are there; `idle` if none of a packet may be there yet."""
        while self._end - self._start < count:
            if self._start == self._end or len(self._buffer) - self._start < count:
                left = self._end - self._start
                self._buffer[:left] = self._buffer[self._start : self._end]
                self._start, self._end = 0, left
            try:
                received = self._receive(count - (self._end - self._start))
            except TimeoutError:
                self._pause(idle=idle and self._start == self._end)
                continue
            if not received:
                raise EOFError
            self._end += received

    def _receive(self, missing: int) -> int:
        room = self._buffer[self._end :]
        if self._receive_into is not None:
            return cast(int, self._receive_into(room))
        data = self._wire.recv(missing)  # it is a channel of another connection
        room[: len(data)] = data
        return len(data)

    def _pause(self, *, idle: bool) -> None:
        """What paramiko does whenever nothing has come for a moment."""
        if self.closed:
            raise EOFError
        if idle and self.need_rekey():
            raise NeedRekeyException
        cast(_Timekeeper, self)._check_keepalive()

    def _count(self, key: _Direction, passed: int) -> None:
        key.passed += passed
        if key.passed >= self.REKEY_BYTES and not self.need_rekey():
            cast(_Timekeeper, self)._trigger_rekey()


class ChannelBatch(Message):
    """Data for a channel, in the pieces that its window and the size of packets allow, to be sent together.

    Args:
        channel: Number of the channel at the other end.
        pieces: What to send.

    Attributes:
        payloads: Of the packets, in parts that are to be joined.
    """

    def __init__(self, channel: int, pieces: list[memoryview]) -> None:
        self.payloads = [(struct.pack(">BII", _CHANNEL_DATA, channel, len(piece)), piece) for piece in pieces]


class _ChannelData(Message):
    """The data of a channel, as paramiko asks for it, without the copies that its own messages make."""

    def __init__(self, plain: bytes) -> None:
        self._plain = plain

    def get_int(self) -> int:
        return int.from_bytes(self._plain[2:6], "big")

    def get_binary(self) -> bytes:
        return self._plain[10 : 10 + int.from_bytes(self._plain[6:10], "big")]


def _direction(args: tuple[Any, ...], options: dict[str, Any], iv: str) -> _Direction | None:
    """The key that paramiko sets, if it is one of AES-GCM."""
    if not options.get("aead"):
        return None
    return _Direction(options["block_engine"] if "block_engine" in options else args[0], options[iv])
