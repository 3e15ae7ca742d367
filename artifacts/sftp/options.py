"""What a URI says about a folder on an SFTP server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from holdall.artifacts.options import PATIENCE, flag, seconds
from holdall.stores.errors import InvalidParameterValue
from holdall.stores.uri import StoreURI

__all__ = ["SftpOptions"]

MOST_CONNECTIONS = 64

_KNOWN: Final = (
    "agent",
    "config",
    "connections",
    "host_key_checking",
    "identity_file",
    "known_hosts",
    "passphrase",
    "patience",
    "remote_digests",
    "timeout",
)


@dataclass(frozen=True, slots=True, repr=False)
class SftpOptions:
    """How to reach a folder; None leaves a thing to the user's `ssh_config`, and then to SSH's usual place for it.

    Attributes:
        host: As in the URI: a name, an address, or a `Host` of the configuration file.
        port: Of the server.
        user: Whom to log in as.
        password: Of the user.
        root: Absolute path of the folder.
        identity_file: Private key.
        passphrase: Of private keys.
        agent: Whether keys of a running agent are tried.
        known_hosts: File of host keys.
        host_key_checking: Whether the server must prove who it is.
        config: The configuration file; `none` for no file at all.
        connections: Most connections at a time.
        timeout: Seconds to wait for a connection, and for any sign of the server.
        patience: Seconds after a failure in which to go on trying.
        remote_digests: Whether the server is asked for digests of what was uploaded, where it can compute them.
    """

    host: str
    port: int | None
    user: str | None
    password: str | None
    root: str
    identity_file: str | None
    passphrase: str | None
    agent: bool
    known_hosts: str | None
    host_key_checking: bool | None
    config: str | None
    connections: int
    timeout: float
    patience: float
    remote_digests: bool

    @classmethod
    def parse(cls, uri: StoreURI) -> SftpOptions:
        """Read a URI.

        Raises:
            InvalidParameterValue: It names no host or folder, or an option is unknown or malformed.
        """
        given = uri.options(*_KNOWN)
        if uri.scheme != "sftp" or not uri.host or uri.driver:
            raise InvalidParameterValue(f"{uri} names no SFTP server; write sftp://user@host/absolute/path.")
        if not uri.path.startswith("/"):
            raise InvalidParameterValue(f"{uri} names no folder; write sftp://user@host/absolute/path.")
        return cls(
            host=uri.host,
            port=uri.port,
            user=uri.username or None,
            password=uri.password,
            root="/" + "/".join(name for name in uri.path.split("/") if name not in ("", ".")),
            identity_file=given.get("identity_file"),
            passphrase=given.get("passphrase"),
            agent=flag(given, "agent") is not False,
            known_hosts=given.get("known_hosts"),
            host_key_checking=flag(given, "host_key_checking"),
            config=given.get("config"),
            connections=_count(given, "connections", 4),
            timeout=seconds(given, "timeout", 30.0, least=0.001),
            patience=seconds(given, "patience", PATIENCE),
            remote_digests=flag(given, "remote_digests") is not False,
        )


def _count(given: Mapping[str, str], name: str, default: int) -> int:
    text = given.get(name, str(default))
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= MOST_CONNECTIONS):
        raise InvalidParameterValue(f"Option {name} must be a number from 1 to {MOST_CONNECTIONS}, got {text!r}.")
    return int(text)
