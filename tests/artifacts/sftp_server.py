"""`PlainServer`: an SFTP server in this process that can do little, and says of its folders what a test wants."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

import paramiko
from paramiko import Ed25519Key, PKey, SFTPAttributes, SFTPHandle, SFTPServer, SFTPServerInterface
from paramiko.common import (
    AUTH_FAILED,
    AUTH_PARTIALLY_SUCCESSFUL,
    AUTH_SUCCESSFUL,
    OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED,
    OPEN_SUCCEEDED,
)
from paramiko.sftp import CMD_EXTENDED, CMD_EXTENDED_REPLY, SFTP_FAILURE, SFTP_OK

from holdall.stores import StoreURI

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

T = TypeVar("T")

__all__ = ["PlainServer", "new_key"]

Listing = Callable[[str, list[SFTPAttributes]], list[SFTPAttributes]]
"""Given a folder and what is in it, what to say is in it."""


def new_key(file: Path, kind: str = "ed25519", passphrase: str = "") -> PKey:
    """Make a key, by OpenSSH's own tool, which writes the private and public parts beside each other."""
    command = ["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-C", "test", "-f", str(file)]
    subprocess.run(command, check=True, timeout=60)
    kinds: dict[str, Any] = {"ed25519": Ed25519Key, "rsa": paramiko.RSAKey, "ecdsa": paramiko.ECDSAKey}
    key: PKey = kinds[kind].from_private_key_file(str(file), passphrase or None)
    return key


class PlainServer:
    """paramiko's server, which has neither `posix-rename` nor `fsync` nor `limits`, and resolves no links.

    It serves the files of this machine. A context manager.

    Args:
        folder: Empty; for keys, and in `data` for what is stored.
        kind: Of the host key.

    Attributes:
        port: Where it listens.
        data: What is stored.
        host_key: Of the server.
        known_hosts: File in which that is known.
        passwords: By user.
        keys: Public keys that are let in, in base64; `identity` in `folder` is one of them.
        both: Whether a key and a password are asked for.
        listing: What to say of folders.
        forwards: Whether connections go on to other ports of this machine.
        more_host_keys: Of the server, beside the known one.
        ciphers: Kinds of encryption that it has; those of paramiko if empty.
        offers_sftp: Whether it does what it is for.
        greeting: What it says before that, as shells do whose user prints something at every start.
        most_connections: After which others are turned away.
        runs_commands: Whether users may have commands run.
        shows_menu: Whether it asks people what they want in place of that, and waits for them.
        checks_files: Whether it has the extension `check-file`.
        damage: What it makes of bytes that are to be written.
        longest_read: Bytes of a read at most.
        slowness: Seconds that it takes to tell about an open file.
        seen: What was tried at logins, in order: kinds of attempts.
    """

    user = "somebody"

    def __init__(self, folder: Path, kind: str = "ed25519") -> None:
        self.folder = folder
        self.data = folder / "data"
        self.data.mkdir()
        self.host_key = new_key(folder / "host_key", kind)
        self.keys = {new_key(folder / "identity").get_base64()}
        self.passwords: dict[str, str] = {}
        self.both = False
        self.listing: Listing = lambda folder, entries: entries
        self.forwards = False
        self.more_host_keys: list[PKey] = []
        self.ciphers: tuple[str, ...] = ()
        self.offers_sftp = True
        self.greeting = b""
        self.most_connections = 1000
        self.runs_commands = self.shows_menu = self.checks_files = False
        self.damage: Callable[[bytes], bytes] = lambda data: data
        self.longest_read = 1 << 20
        self.slowness = 0.0
        self.seen: list[str] = []
        self._transports: list[paramiko.Transport] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.known_hosts = folder / "known_hosts"
        self.known_hosts.write_text(f"[127.0.0.1]:{self.port} {self.host_line}\n", encoding="ascii")
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    @property
    def host_line(self) -> str:
        """The host key as it stands in files, after the name of the host."""
        return f"{self.host_key.get_name()} {self.host_key.get_base64()}"

    def uri(self, *options: tuple[str, str], password: str | None = None, path: str = "") -> StoreURI:
        """The URI of a folder in `data`; with `known_hosts`, and `identity` unless there is a password."""
        given = dict(options)
        given.setdefault("known_hosts", str(self.known_hosts))
        given.setdefault("config", "none")
        if password is None:
            given.setdefault("identity_file", str(self.folder / "identity"))
        query = tuple((name, value) for name, value in given.items() if value)
        root = f"{self.data}/{path}" if path else str(self.data)
        return StoreURI("sftp", None, self.user, password, "127.0.0.1", self.port, root, query)

    @property
    def connections(self) -> int:
        """How many there are of users who were let in."""
        return sum(transport.is_active() and transport.is_authenticated() for transport in self._transports)

    def cut(self) -> None:
        """End all connections there are."""
        for transport in self._transports:
            transport.close()
        self._transports.clear()

    def close(self) -> None:
        """End all connections and listen no more."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()
        self.cut()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _listen(self) -> None:
        while True:
            try:
                wire, _ = self._listener.accept()
            except OSError:
                return
            if self.connections >= self.most_connections:
                wire.close()
                continue
            transport = paramiko.Transport(wire)
            transport.set_log_channel("tests.sftp_server")
            for key in (self.host_key, *self.more_host_keys):
                transport.add_server_key(key)
            if self.ciphers:
                transport.get_security_options().ciphers = self.ciphers
            if self.offers_sftp:
                transport.set_subsystem_handler("sftp", _Sftp, _Files, self)
            self._transports.append(transport)
            with suppress(paramiko.SSHException, EOFError):
                transport.start_server(event=threading.Event(), server=_Door(self))


class _Door(paramiko.ServerInterface):
    """Lets people in, and tells nobody why not."""

    def __init__(self, server: PlainServer) -> None:
        self._server = server
        self._has_key = False

    def get_allowed_auths(self, username: str) -> str:
        return "publickey,password" if self._server.passwords else "publickey"

    def check_auth_publickey(self, username: str, key: PKey) -> int:
        self._server.seen.append(f"key {key.get_name()}")
        if username != self._server.user or key.get_base64() not in self._server.keys:
            return AUTH_FAILED
        self._has_key = True
        return AUTH_PARTIALLY_SUCCESSFUL if self._server.both else AUTH_SUCCESSFUL

    def check_auth_password(self, username: str, password: str) -> int:
        self._server.seen.append("password")
        if self._server.both and not self._has_key:
            return AUTH_FAILED
        return AUTH_SUCCESSFUL if self._server.passwords.get(username) == password else AUTH_FAILED

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return OPEN_SUCCEEDED if kind == "session" else OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED

    def check_channel_direct_tcpip_request(
        self, chanid: int, origin: tuple[str, int], destination: tuple[str, int]
    ) -> int:
        if not self._server.forwards:
            return OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED
        transport = self._server._transports[-1]
        threading.Thread(target=_forward, args=(transport, destination), daemon=True).start()
        return OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        if self._server.shows_menu:
            return True
        if not self._server.runs_commands:
            return False
        threading.Thread(target=_run, args=(channel, command), daemon=True).start()
        return True


def _run(channel: paramiko.Channel, command: bytes) -> None:
    assert channel.recv(1) == b"", "the client has not ended its input"  # it does once it knows that it may have one
    done = subprocess.run(command, shell=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=False)
    channel.sendall(b"Last login: yesterday\n" + done.stdout)
    channel.send_exit_status(done.returncode)
    channel.close()


def _forward(transport: paramiko.Transport, destination: tuple[str, int]) -> None:
    channel = transport.accept(10)
    assert channel is not None
    wire = socket.create_connection(destination)

    def pump(receive: Callable[[int], bytes], send: Callable[[bytes], None]) -> None:
        with suppress(OSError, EOFError):
            while data := receive(1 << 15):
                send(data)
        channel.close()
        with suppress(OSError):
            wire.shutdown(socket.SHUT_RDWR)

    back = threading.Thread(target=pump, args=(wire.recv, channel.sendall), daemon=True)
    back.start()
    pump(channel.recv, wire.sendall)
    back.join()
    wire.close()


class _Sftp(SFTPServer):
    """paramiko's SFTP with one extension more."""

    def start_subsystem(self, name: str, transport: paramiko.Transport, channel: paramiko.Channel) -> None:
        assert isinstance(self.server, _Files)
        channel.sendall(self.server.plain.greeting)
        super().start_subsystem(name, transport, channel)

    def _process(self, kind: int, number: int, message: paramiko.Message) -> None:
        assert isinstance(self.server, _Files)
        if kind == CMD_EXTENDED and self.server.plain.checks_files:
            assert message.get_text() == "check-file-name"
            data = Path(message.get_text()).read_bytes()
            assert message.get_text() == "sha256"
            answer = paramiko.Message()
            answer.add_int(number)
            answer.add_string("sha256")
            answer.add_bytes(hashlib.sha256(data).digest())
            cast(Any, self)._send_packet(CMD_EXTENDED_REPLY, answer)
        else:
            cast(Any, super())._process(kind, number, message)


class _OpenFile(SFTPHandle):
    """A file."""

    def __init__(self, server: PlainServer, path: str, flags: int) -> None:
        super().__init__(flags)
        self._server = server
        self._file = os.open(path, flags, 0o666)

    def read(self, offset: int, length: int) -> bytes | int:
        return _answer(lambda: os.pread(self._file, min(length, self._server.longest_read), offset))

    def write(self, offset: int, data: ReadableBuffer) -> int:
        written = _answer(lambda: os.pwrite(self._file, self._server.damage(bytes(data)), offset))
        return SFTP_OK if written else SFTP_FAILURE

    def stat(self) -> SFTPAttributes | int:
        time.sleep(self._server.slowness)
        return SFTPAttributes.from_stat(os.fstat(self._file))

    def close(self) -> None:
        os.close(self._file)


class _Files(SFTPServerInterface):
    """The files of this machine."""

    def __init__(self, door: paramiko.ServerInterface, server: PlainServer) -> None:
        super().__init__(door)
        self.plain = server

    def list_folder(self, path: str) -> list[SFTPAttributes] | int:
        def look() -> list[SFTPAttributes]:
            found = [SFTPAttributes.from_stat(child.lstat(), child.name) for child in Path(path).iterdir()]
            return self.plain.listing(path, found)

        return _answer(look)

    def stat(self, path: str) -> SFTPAttributes | int:
        return _answer(lambda: SFTPAttributes.from_stat(os.stat(path)))

    def lstat(self, path: str) -> SFTPAttributes | int:
        return _answer(lambda: SFTPAttributes.from_stat(os.lstat(path)))

    def open(self, path: str, flags: int, attr: SFTPAttributes) -> SFTPHandle | int:
        return _answer(lambda: _OpenFile(self.plain, path, flags))

    def remove(self, path: str) -> int:
        return _done(os.remove, path)

    def rename(self, oldpath: str, newpath: str) -> int:
        # As the protocol has it; OpenSSH's extension is another matter.
        return SFTP_FAILURE if os.path.lexists(newpath) else _done(os.rename, oldpath, newpath)

    def mkdir(self, path: str, attr: SFTPAttributes) -> int:
        return _done(os.mkdir, path)

    def rmdir(self, path: str) -> int:
        return _done(os.rmdir, path)

    def readlink(self, path: str) -> str | int:
        return _answer(lambda: os.readlink(path))


def _answer(action: Callable[[], T]) -> T | int:
    try:
        return action()
    except OSError as error:
        return SFTPServer.convert_errno(error.errno or 0)


def _done(action: Callable[..., None], *arguments: str) -> int:
    answer = _answer(lambda: action(*arguments))
    return SFTP_OK if answer is None else answer
