"""From a destination to an authenticated SSH connection."""

from __future__ import annotations

import logging
import os
import socket
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol, cast

from paramiko import (
    Agent,
    AuthenticationException,
    BadAuthenticationType,
    ECDSAKey,
    Ed25519Key,
    PasswordRequiredException,
    PKey,
    RSAKey,
    SSHException,
    Transport,
)
from paramiko.ssh_exception import IncompatiblePeer

from holdall.artifacts.sftp.known_hosts import KnownHosts
from holdall.artifacts.sftp.packets import SwiftPacketizer
from holdall.artifacts.sftp.ssh_config import Destination, default_identities
from holdall.stores.errors import (
    HoldallError,
    InternalError,
    InvalidParameterValue,
    TemporarilyUnavailable,
    Unauthenticated,
)

__all__ = ["connect"]

QUIET: Final = "holdall.artifacts.sftp.paramiko"
"""Where paramiko logs, to which a lost connection is an error with a traceback; silent unless somebody sets a level."""

KEEPALIVE_SECONDS = 30
_COMMAND_SECONDS = 2.0

_FAST_CIPHERS: Final = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com")
_KEY_KINDS: Final = (Ed25519Key, ECDSAKey, RSAKey)
_RSA_KINDS: Final = ("rsa-sha2-512", "rsa-sha2-256")

Attempt = tuple[str, Callable[[Transport], Sequence[str]]]
"""What it is called, and a function that gives the methods that are still asked for: none once the user is let in."""

_logger = logging.getLogger(QUIET)
if _logger.level == logging.NOTSET:
    _logger.setLevel(logging.CRITICAL + 1)


def connect(destination: Destination, wire: _Wire | None = None) -> Transport:
    """Connect, make sure that it is the right server, and log in.

    Args:
        destination: The server.
        wire: What leads to it already, if something does.

    Raises:
        TemporarilyUnavailable: The server cannot be reached, or ended the connection.
        Unauthenticated: The server's key is not the known one, or the user is not let in.
        InvalidParameterValue: There is no such host; a key or a file of host keys cannot be used.
        InternalError: There is no kind of encryption that both sides have.
    """
    hosts = KnownHosts(destination)
    transport = _start(wire or _reach(destination), destination, hosts)
    try:
        hosts.check(transport.get_remote_server_key())
        _Login(transport, destination).run()
        transport.set_keepalive(KEEPALIVE_SECONDS)
    except BaseException:
        transport.close()
        raise
    return transport


def _reach(destination: Destination) -> _Wire:
    """Something like a socket that leads to the server."""
    try:
        if destination.proxy_jump:
            return _tunnel(destination)
        if destination.proxy_command:
            return _Command(destination.proxy_command)
        wire = socket.create_connection((destination.host, destination.port), destination.options.timeout)
    except socket.gaierror as error:
        if error.errno == socket.EAI_AGAIN:
            raise TemporarilyUnavailable(f"The address of {destination.host!r} cannot be found at present.") from error
        raise InvalidParameterValue(f"There is no host {destination.host!r}.") from error
    except HoldallError:
        raise
    except (OSError, SSHException, EOFError) as error:
        reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else "no answer"
        raise TemporarilyUnavailable(f"{destination} cannot be reached: {reason}.") from error
    wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return wire


def _tunnel(destination: Destination) -> _Tunnel:
    """A way through other servers."""
    nearest, *others = [destination.hop(text) for text in destination.proxy_jump]
    transport = connect(nearest)
    try:
        for target in others:
            transport = connect(target, _Tunnel(transport, target))
        return _Tunnel(transport, destination)
    except BaseException:
        transport.close()
        raise


class _Wire(Protocol):
    """What paramiko needs of a socket."""

    def recv(self, size: int, /) -> bytes: ...
    def send(self, data: bytes, /) -> int: ...
    def settimeout(self, seconds: float | None, /) -> None: ...
    def close(self) -> None: ...


class _Command(socket.socket):
    """The standard streams of a program, which is run as OpenSSH runs it and ends with them."""

    def __init__(self, command: str) -> None:
        near, far = socket.socketpair()
        super().__init__(fileno=near.detach())
        with far:
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", f"exec {command}"],
                stdin=far.fileno(),
                stdout=far.fileno(),
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )

    def close(self) -> None:
        super().close()
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(_COMMAND_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()


class _Tunnel:
    """A channel through one server to another; it ends with the connection that it goes through."""

    def __init__(self, transport: Transport, target: Destination) -> None:
        address = target.host, target.port
        channel = transport.open_channel("direct-tcpip", address, ("127.0.0.1", 0), timeout=target.options.timeout)
        self._transport = transport
        self.recv = channel.recv
        self.send = channel.send
        self.settimeout = channel.settimeout
        self._closed = False  # paramiko asks every socket for it

    def close(self) -> None:
        self._closed = True
        self._transport.close()


def _start(wire: _Wire, destination: Destination, hosts: KnownHosts) -> Transport:
    """Agree on keys; who the server is remains to be checked."""
    transport = Transport(cast(socket.socket, wire), packetizer_class=SwiftPacketizer)
    try:
        transport.set_log_channel(QUIET)
        _set_limits(transport, destination.options.timeout)
        _prefer(transport, hosts.kinds)
        transport.start_client(timeout=destination.options.timeout)
        transport.get_remote_server_key()
    except IncompatiblePeer as error:
        transport.close()
        raise InternalError(
            f"{destination} and paramiko have no version of SSH, kind of encryption or of host key in common."
        ) from error
    except (OSError, EOFError, SSHException) as error:
        transport.close()
        raise TemporarilyUnavailable(f"{destination} ended the connection, or speaks no SSH.") from error
    return transport


def _set_limits(transport: Transport, seconds: float) -> None:
    transport.banner_timeout = transport.handshake_timeout = transport.auth_timeout = seconds
    transport.channel_timeout = transport.clear_to_send_timeout = seconds
    cast(SwiftPacketizer, transport.packetizer).patience = seconds


def _prefer(transport: Transport, kinds: Sequence[str]) -> None:
    """Ask first for fast ciphers, and for the host keys that are known."""
    options = transport.get_security_options()
    fast = [cipher for cipher in _FAST_CIPHERS if cipher in options.ciphers]
    options.ciphers = (*fast, *(cipher for cipher in options.ciphers if cipher not in fast))
    known = [name for kind in kinds for name in (_RSA_KINDS if kind == "ssh-rsa" else (kind,))]
    first = [name for name in known if name in options.key_types]
    options.key_types = (*first, *(name for name in options.key_types if name not in first))


class _Login:
    """Attempts to be let in, one after the other; what was named for this very server comes first."""

    def __init__(self, transport: Transport, destination: Destination) -> None:
        self._transport = transport
        self._destination = destination
        self._user = destination.user
        self._refused: list[str] = []

    def run(self) -> None:
        """Log in.

        Raises:
            Unauthenticated: The server refuses all that there is.
            TemporarilyUnavailable: It ended the connection instead of an answer.
        """
        refused = self._refused
        for name, attempt in self._attempts():
            try:
                if not attempt(self._transport):
                    return
            except BadAuthenticationType as error:
                refused.append(f"{name} (the server takes {', '.join(error.allowed_types)} only)")
            except AuthenticationException as error:
                if "timeout" in str(error).lower() or (not self._transport.is_active() and not refused):
                    raise self._ended() from error
                refused.append(name)
            except (SSHException, OSError, EOFError) as error:
                if not self._transport.is_active() and not refused:
                    raise self._ended() from error
                refused.append(name)
            if not self._transport.is_active():
                break
        raise Unauthenticated(
            f"{self._destination} does not let {self._user!r} in; tried: {', '.join(refused)}. Name a key "
            "by the option identity_file, load it into the SSH agent, or write the password into the URI: "
            "sftp://user:password@host/path."
        )

    def _attempts(self) -> Iterator[Attempt]:
        destination = self._destination
        files = list(destination.identity_files) or default_identities()
        if destination.named_identity:
            yield self._try_key(f"key {files[0]}", _load(files[0], destination.passphrase))
        if destination.password is not None:
            password = destination.password
            yield "password", lambda transport: transport.auth_password(self._user, password)
        for file in [] if destination.named_identity else files:
            with suppress(InvalidParameterValue):  # of many, some may be locked, or the agent's
                yield self._try_key(f"key {file}", _load(file, destination.passphrase))
        if destination.agent:
            yield from self._agent_attempts(files)
        if not self._refused:
            yield "nothing", lambda transport: transport.auth_none(self._user)

    def _agent_attempts(self, files: Sequence[str]) -> Iterator[Attempt]:
        if not Path(os.environ.get("SSH_AUTH_SOCK", "")).is_socket():
            return
        try:
            agent = Agent()
        except SSHException:
            return
        try:
            public = {_public_part(file) for file in files} if self._destination.identities_only else None
            for key in agent.get_keys():
                if public is None or key.get_base64() in public:
                    yield self._try_key(f"the agent's key {key.get_base64()[-12:]}", key)
        finally:
            agent.close()

    def _try_key(self, name: str, key: PKey) -> Attempt:
        return name, lambda transport: transport.auth_publickey(self._user, key)

    def _ended(self) -> TemporarilyUnavailable:
        return TemporarilyUnavailable(f"{self._destination} ended the connection at login.")


def _load(file: str, passphrase: str | None) -> PKey:
    """A private key, with its certificate if there is one beside it.

    Raises:
        InvalidParameterValue: It cannot be read.
    """
    path = str(Path(file).expanduser())
    for kind in _KEY_KINDS:
        try:
            key = kind.from_private_key_file(path, passphrase)
        except PasswordRequiredException as error:
            raise InvalidParameterValue(
                f"The key {path!r} is locked; give its passphrase by the option passphrase, or load it into the SSH "
                "agent and leave the option identity_file out."
            ) from error
        except OSError as error:
            raise InvalidParameterValue(f"Cannot read the key {path!r}: {os.strerror(error.errno or 0)}.") from error
        except (SSHException, ValueError):
            continue  # of another kind
        if Path(f"{path}-cert.pub").is_file():
            key.load_certificate(f"{path}-cert.pub")
        return key
    raise InvalidParameterValue(
        f"The key {path!r} cannot be used: its passphrase is wrong, or it is of a kind or in a format that paramiko "
        "does not know; ssh-keygen -p converts it to OpenSSH's."
    )


def _public_part(file: str) -> str:
    """The public key beside a private one, in base64."""
    with suppress(OSError, IndexError):
        return Path(f"{file}.pub").expanduser().read_text(encoding="utf-8").split()[1]
    return ""
