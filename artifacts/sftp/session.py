"""`Session`: one conversation with an SFTP server, with many requests of many threads under way at once."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from queue import Empty, SimpleQueue
from typing import Protocol, cast

from paramiko import Message, SSHException, Transport
from paramiko.buffered_pipe import BufferedPipe

from holdall.artifacts.sftp.packets import ChannelBatch
from holdall.artifacts.sftp.protocol import (
    VERSION,
    Decoder,
    Refused,
    Reply,
    Request,
    encode,
    extended,
    extensions_of,
    hello,
    sizes_of,
)
from holdall.stores.errors import HoldallError, InternalError, TemporarilyUnavailable

__all__ = ["Answers", "Session"]

Answers = SimpleQueue[tuple[object, Reply | None]]
"""Where the answers to somebody's requests arrive: the tag of a request with its answer, or None if it is lost."""

WINDOW = (1 << 31) - 1
"""Bytes that the server may send unasked, in the sense of SSH. What it does send is bounded by what is asked for."""

ACKNOWLEDGE = 1 << 23
"""Received bytes after which paramiko is told that they were taken; it tells the server now and then."""

LARGEST_SSH_PACKET = 1 << 16
"""Bytes of data in a packet that the server may send; OpenSSH's puts half as many into one, whatever it may."""

PACKETS_AT_ONCE = 64

USUAL_BLOCK = 1 << 15
"""Bytes that every server reads or writes in one request."""

LARGEST_BLOCK = 1 << 17
"""Bytes of one request where the server takes as many; more gain nothing and hold memory."""

MOST_PRINTED = 1 << 16
"""Bytes of what a command prints that are looked at."""

SLOWEST_DISK = 10 << 20
"""Bytes a second that a server can be expected to flush or digest."""

LONGEST_FACTOR = 10
"""How many times the timeout an answer may take although the server answers others meanwhile."""


class _Channel(Protocol):
    """What paramiko's channel keeps from its types, and has had since it has channels."""

    lock: threading.Lock
    remote_chanid: int
    out_window_size: int

    def _wait_for_send_window(self, size: int) -> int: ...


class _Transport(Protocol):
    def _send_user_message(self, data: Message) -> None: ...


class _Inbox(BufferedPipe):  # type: ignore[type-arg] # generic in its stubs alone
    """Hands what a channel receives to its session at once, in the thread that has received it."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session

    def feed(self, data: bytes | str) -> None:
        if isinstance(data, bytes):
            self._session._take_bytes(data)

    def read(self, nbytes: int, timeout: float | None = None) -> bytes:
        return bytes(nbytes)  # so that `Channel.recv` acknowledges that many: `feed` has handed them on

    def close(self) -> None:
        super().close()
        self._session._lose()


class Session:
    """A conversation over one SSH connection, shared by any number of threads.

    Answers are sorted in paramiko's thread, the one that receives them, and wait in the queues of those who asked. No
    method but `post` may be called in that thread.

    Args:
        transport: The connection, ready for use; closed with the session.
        where: What to call the server in messages.
        timeout: Seconds without any sign of the server after which the connection is given up.

    Attributes:
        extensions: What the server announces beyond the protocol.
        read_block: Bytes to ask for in one request.
        write_block: Bytes to send in one request.

    Raises:
        TemporarilyUnavailable: The connection broke.
        InternalError: The server has no SFTP, or what it says is none.
    """

    def __init__(self, transport: Transport, where: str, timeout: float) -> None:
        self._transport = transport
        self._where = where
        self._timeout = timeout
        self._lock = threading.RLock()
        self._waiting: dict[int, tuple[Answers | None, object]] = {}
        self._numbers = count(1)
        self._failure: HoldallError | None = None
        self._heard = time.monotonic()
        self._grants: list[float] = []
        self._decoder = Decoder()
        self._writing = threading.Lock()
        self._busy: set[int] = set()
        self._received = self._acknowledged = 0
        self._posted: deque[Request] = deque()
        self.read_block = self.write_block = USUAL_BLOCK
        self._begin()

    @property
    def alive(self) -> bool:
        """Whether requests may be sent."""
        return self._failure is None

    @property
    def load(self) -> int:
        """Requests that wait for an answer."""
        return len(self._waiting)

    def ask(self, *requests: Request) -> list[Reply]:
        """Send requests at once and wait for all answers, in order.

        Raises:
            TemporarilyUnavailable: The connection broke.
        """
        answers: Answers = SimpleQueue()
        self.submit(answers, list(enumerate(requests)))
        found = dict(self.take(answers) for _ in requests)
        return [found[index] for index in range(len(requests))]

    def submit(self, answers: Answers, requests: Sequence[tuple[object, Request]]) -> None:
        """Send requests, each with a tag, without waiting; for each, `take` gives tag and answer one day.

        Raises:
            TemporarilyUnavailable: The connection broke; none of these requests is to be waited for.
        """
        packets = self._register(answers, requests)
        with self._occupied(), self._writing:
            self._send(b"".join((*self._posted_packets(), *packets)))

    def take(self, answers: Answers) -> tuple[object, Reply]:
        """Wait for the next answer to one's requests.

        Raises:
            TemporarilyUnavailable: The connection broke.
        """
        begun = time.monotonic()
        while True:
            try:
                tag, reply = answers.get(timeout=self._timeout)
            except Empty:
                self._check_stall(begun)
                continue
            if reply is None:
                raise self._lost()
            return tag, reply

    def post(self, *requests: Request) -> None:
        """Send requests whose answers nobody waits for, now or with the next ones; for any thread, at any moment.

        Objects are closed when Python collects them, which may happen in the middle of `submit`, or in the thread that
        receives.
        """
        self._posted.extend(requests)
        if self.alive and not self.busy_here and self._writing.acquire(blocking=False):
            self._writing.release()
            try:
                self.submit(SimpleQueue(), [])
            except HoldallError:
                return  # the connection broke, and with it ended what these requests would have ended

    def run(self, command: str, seconds: float) -> bytes:
        """What a command prints that the server runs; nothing if it runs none, or prints nothing for so long.

        Raises:
            TemporarilyUnavailable: The connection broke.
        """
        printed = b""
        try:
            with self._occupied(), self._transport.open_session(timeout=self._timeout) as channel:
                with self._watched():
                    channel.exec_command(command)
                channel.settimeout(seconds)
                channel.shutdown_write()
                while len(printed) < MOST_PRINTED and (data := channel.recv(MOST_PRINTED)):
                    printed += data
        except (OSError, EOFError, SSHException):
            if not self.alive:
                raise self._lost() from None
        return printed

    @property
    def busy_here(self) -> bool:
        """Whether the calling thread is in the middle of something, so that it cannot wait for an answer."""
        return threading.get_ident() in self._busy or threading.current_thread() is self._transport

    def seconds_for(self, size: int) -> float:
        """How long the server may be silent while it works on so many bytes on its disk."""
        return self._timeout + size / SLOWEST_DISK

    @contextmanager
    def slowly(self, size: int) -> Iterator[None]:
        """In its context the server may be silent for longer, to everyone: it works on `size` bytes on its disk."""
        grant = self.seconds_for(size) - self._timeout
        self._grants.append(grant)
        try:
            yield
        finally:
            self._grants.remove(grant)

    def close(self) -> None:
        """End the connection; all who wait are told that it broke."""
        self._fail(TemporarilyUnavailable(f"The connection to {self._where} was closed."))
        self._transport.close()

    def abandon(self) -> None:
        """Let go of a connection that belongs to the process which this one was forked from."""
        self._failure = TemporarilyUnavailable("The connection belongs to another process.")
        self._transport.atfork()

    # Beginning

    def _begin(self) -> None:
        try:
            self._channel = self._transport.open_session(WINDOW, LARGEST_SSH_PACKET, self._timeout)
            self._channel.settimeout(self._timeout)
            self._channel.in_buffer = _Inbox(self)
            with self._watched():
                self._channel.invoke_subsystem("sftp")
            self.extensions = self._greet()
            self._ask_limits()
        except HoldallError:
            raise
        except (OSError, EOFError, SSHException, Refused) as error:
            if isinstance(self._failure, InternalError):
                raise self._lost() from error
            if self._transport.is_active():
                raise InternalError(f"{self._where} offers no SFTP.") from error
            raise TemporarilyUnavailable(f"{self._where} ended the connection before SFTP began.") from error

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """In its context the connection ends after a while; paramiko would wait for some answers for ever."""
        watch = threading.Timer(self._timeout, self._break_off)
        watch.daemon = True
        watch.start()
        try:
            yield
        finally:
            watch.cancel()

    def _greet(self) -> dict[str, bytes]:
        answers: Answers = SimpleQueue()
        self._waiting[VERSION] = answers, None  # where other answers have the number of their request
        with self._occupied(), self._writing:
            self._send(hello())
        return extensions_of(self.take(answers)[1])

    def _ask_limits(self) -> None:
        if "limits@openssh.com" not in self.extensions:
            return
        try:
            _, largest_read, largest_write, _ = sizes_of(self.ask(extended("limits@openssh.com"))[0])
        except (Refused, ValueError):
            return
        self.read_block = min(largest_read or USUAL_BLOCK, LARGEST_BLOCK)
        self.write_block = min(largest_write or USUAL_BLOCK, LARGEST_BLOCK)

    # Sending

    def _register(self, answers: Answers | None, requests: Sequence[tuple[object, Request]]) -> list[bytes]:
        """Give numbers to requests; their packets."""
        packets: list[bytes] = []
        with self._lock:
            if self._failure is not None:
                raise self._lost()
            for tag, request in requests:
                number = next(self._numbers) & 0xFFFF_FFFF
                self._waiting[number] = answers, tag
                packets += encode(request, number)
        return packets

    def _posted_packets(self) -> list[bytes]:
        requests = []
        while self._posted:
            requests.append((None, self._posted.popleft()))
        return self._register(None, requests)

    @contextmanager
    def _occupied(self) -> Iterator[None]:
        """In its context the thread holds locks, paramiko's too, that an answer may have to wait for."""
        here = threading.get_ident()
        self._busy.add(here)
        try:
            yield
        finally:
            self._busy.discard(here)

    def _send(self, packets: bytes) -> None:
        """Send bytes, many SSH packets at a time; `Channel.send` would spend as long on each as all else together."""
        left = memoryview(packets)
        channel, transport = cast(_Channel, self._channel), cast(_Transport, self._transport)
        try:
            self._acknowledge()
            begun = time.monotonic()
            while left:
                try:
                    pieces = self._fit(left)
                except TimeoutError:
                    self._check_stall(begun)
                    continue
                transport._send_user_message(ChannelBatch(channel.remote_chanid, pieces))
                left, begun = left[sum(map(len, pieces)) :], time.monotonic()
        except BaseException as error:
            self._lose()  # half a request may have been sent, and nothing can follow that
            self._transport.close()
            if isinstance(error, HoldallError) or not isinstance(error, (OSError, EOFError, SSHException)):
                raise
            raise self._lost() from error

    def _fit(self, data: memoryview) -> list[memoryview]:
        """As much as the channel's window lets through, in the pieces of packets; waits for the first."""
        channel = cast(_Channel, self._channel)
        pieces: list[memoryview] = []
        with channel.lock:
            while data and len(pieces) < PACKETS_AT_ONCE and (not pieces or channel.out_window_size):
                size = channel._wait_for_send_window(len(data))
                if not size:
                    raise EOFError
                pieces.append(data[:size])
                data = data[size:]
        return pieces

    def _acknowledge(self) -> None:
        while self._received - self._acknowledged > ACKNOWLEDGE:
            self._acknowledged += len(self._channel.recv(ACKNOWLEDGE))

    # Receiving, in paramiko's thread

    def _take_bytes(self, data: bytes) -> None:
        self._heard = time.monotonic()
        self._received += len(data)
        try:
            for number, reply in self._decoder.feed(data):
                answers, tag = self._waiting.pop(number)
                if answers is not None:
                    answers.put((tag, reply))
        except (HoldallError, KeyError) as error:
            problem = error if isinstance(error, HoldallError) else InternalError("The SFTP server answers unasked.")
            self._fail(problem)
            raise SSHException(problem.message) from error  # which ends paramiko's thread

    def _lose(self) -> None:
        self._fail(TemporarilyUnavailable(f"The connection to {self._where} was lost."))

    # The end

    def _check_stall(self, begun: float) -> None:
        """Give the connection up if the server has been silent for too long."""
        now, granted = time.monotonic(), max(self._grants, default=0.0)
        silent, waited = now - max(self._heard, begun), now - begun
        if silent >= self._timeout + granted or waited >= LONGEST_FACTOR * self._timeout + granted:
            self._break_off()
            raise self._lost()

    def _break_off(self) -> None:
        self._fail(TemporarilyUnavailable(f"{self._where} has not answered for {self._timeout:g} s."))
        self._transport.close()

    def _fail(self, failure: HoldallError) -> None:
        """Tell all who wait that no answer will come; the first failure counts."""
        with self._lock:
            if self._failure is not None:
                return
            self._failure = failure
            waiting = list(self._waiting.values())
            self._waiting.clear()
        for answers, tag in waiting:
            if answers is not None:
                answers.put((tag, None))

    def _lost(self) -> HoldallError:
        """What to raise, a new one for each thread."""
        failure = self._failure or TemporarilyUnavailable(f"The connection to {self._where} was lost.")
        return type(failure)(failure.message)
