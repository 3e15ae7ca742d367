"""What OpenSSH's configuration files say about a host."""

from __future__ import annotations

import getpass
import glob
import os
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from paramiko import SSHConfig, SSHException

from holdall.artifacts.sftp.options import SftpOptions
from holdall.stores.errors import InvalidParameterValue
from holdall.stores.uri import StoreURI

__all__ = ["Destination", "default_identities"]

USER_CONFIG: Final = "~/.ssh/config"
SYSTEM_CONFIG: Final = "/etc/ssh/ssh_config"
NO_FILE: Final = "none"

_KNOWN_HOSTS: Final = ("~/.ssh/known_hosts", "~/.ssh/known_hosts2")
_SYSTEM_KNOWN_HOSTS: Final = ("/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2")
_IDENTITIES: Final = ("id_ed25519", "id_ecdsa", "id_rsa")
_DEEPEST_INCLUDE = 16
_PORT = 22


@dataclass(frozen=True, slots=True, repr=False)
class Destination:
    """A server, with all that is needed to reach it and to be let in.

    Attributes:
        host: To connect to.
        port: To connect to.
        key_name: By which the server's key is known.
        user: Whom to log in as.
        password: Of the user, if it is known.
        identity_files: Private keys to try that somebody has named, the first one first.
        named_identity: Whether the first of them was named for this very server, so that it must be usable.
        passphrase: Of private keys.
        agent: Whether keys of a running agent are tried.
        identities_only: Whether of those only the ones that `identity_files` name.
        known_hosts: Files of host keys; those that do not exist hold none.
        checking: `yes`, `accept-new` or `no`.
        proxy_command: Program to reach the server through.
        proxy_jump: Servers to reach this one through, the nearest first, as `[user@]host[:port]`.
        options: What the URI says.
    """

    host: str
    port: int
    key_name: str
    user: str
    password: str | None
    identity_files: tuple[str, ...]
    named_identity: bool
    passphrase: str | None
    agent: bool
    identities_only: bool
    known_hosts: tuple[str, ...]
    checking: str
    proxy_command: str | None
    proxy_jump: tuple[str, ...]
    options: SftpOptions

    @classmethod
    def find(cls, options: SftpOptions) -> Destination:
        """Complete what a URI says by the configuration files.

        Raises:
            InvalidParameterValue: A file cannot be read or understood.
        """
        found = _look_up(options)
        host = _text(found, "hostname") or options.host
        proxies = _proxies(found)
        checking = _text(found, "stricthostkeychecking") or "yes"
        if options.host_key_checking is not None:
            checking = "yes" if options.host_key_checking else "no"
        return cls(
            host=host,
            port=_port(found),
            key_name=_text(found, "hostkeyalias") or host,
            user=_text(found, "user") or _this_user(),
            password=options.password,
            identity_files=_identities(options, found),
            named_identity=options.identity_file is not None,
            passphrase=options.passphrase,
            agent=options.agent and _text(found, "identityagent") != NO_FILE,
            identities_only=(_text(found, "identitiesonly") or "no").lower() == "yes",
            known_hosts=_known_hosts(options, found),
            checking={"off": "no", "ask": "yes"}.get(checking, checking),
            proxy_command=_text(found, "proxycommand") if not proxies else None,
            proxy_jump=proxies,
            options=options,
        )

    def hop(self, text: str) -> Destination:
        """A server on the way to this one, `[user@]host[:port]`, as the configuration files have it.

        Raises:
            InvalidParameterValue: It is malformed.
        """
        uri = StoreURI.parse(text if "://" in text else f"ssh://{text}")
        options = replace(
            self.options, host=uri.host, port=uri.port, user=uri.username, password=None, identity_file=None
        )
        return replace(Destination.find(options), proxy_jump=())  # `Host *` sends servers through themselves

    @property
    def name(self) -> str:
        """The server as it is named in files of host keys."""
        return self.key_name if self.port == _PORT else f"[{self.key_name}]:{self.port}"

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def default_identities() -> list[str]:
    """Private keys in their usual places."""
    files = [Path("~/.ssh").expanduser() / name for name in _IDENTITIES]
    return [str(file) for file in files if file.is_file()]


Found = dict[str, str | list[str] | None]
"""Settings of a host, by their names in lower case."""


def _look_up(options: SftpOptions) -> Found:
    files = [options.config] if options.config else [USER_CONFIG, SYSTEM_CONFIG]
    paths = [Path(file).expanduser() for file in files if file.lower() != NO_FILE]
    # The first value of a setting counts, and stands for %p and %r in others.
    text = [f"Port {options.port}"] if options.port else []
    text += [f"User {options.user}"] if options.user else []
    for path in paths:
        if options.config or path.is_file():
            text += ["Host *", *_lines(path, path.parent, 0)]
    try:
        return dict(SSHConfig.from_text("\n".join(text)).lookup(options.host))
    except (SSHException, ValueError, LookupError, OSError, ImportError) as error:
        raise InvalidParameterValue(
            f"Cannot understand what {' and '.join(map(str, paths))} say about {options.host!r}; correct it, or name "
            "another file by the option config (none for no file)."
        ) from error


def _lines(path: Path, folder: Path, depth: int) -> Iterator[str]:
    """Lines of a configuration file, those of the files that it includes among them."""
    try:
        lines = path.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError as error:
        raise InvalidParameterValue(f"Cannot read {str(path)!r}: {os.strerror(error.errno or 0)}.") from error
    section = ""
    for line in lines:
        keyword, _, rest = line.strip().replace("=", " ", 1).partition(" ")
        if keyword.lower() in ("host", "match"):
            section = line
        if keyword.lower() != "include":
            yield line
        elif depth < _DEEPEST_INCLUDE:
            for pattern in shlex.split(rest):
                for file in sorted(glob.glob(str(folder / Path(pattern).expanduser()))):
                    yield from _lines(Path(file), folder, depth + 1)
            yield section


def _text(found: Found, name: str) -> str | None:
    value = found.get(name)
    return value if isinstance(value, str) else None


def _port(found: Found) -> int:
    text = _text(found, "port") or str(_PORT)
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 1 << 16):
        raise InvalidParameterValue(f"Port {text!r} in ssh_config is no port.")
    return int(text)


def _proxies(found: Found) -> tuple[str, ...]:
    text = _text(found, "proxyjump") or NO_FILE
    return () if text.lower() == NO_FILE else tuple(hop.strip() for hop in text.split(","))


def _this_user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError) as error:
        raise InvalidParameterValue("This process's user has no name; write sftp://user@host/path.") from error


def _identities(options: SftpOptions, found: Found) -> tuple[str, ...]:
    if options.identity_file is not None:
        return (options.identity_file,)
    listed = found.get("identityfile")
    return tuple(file for file in listed if file.lower() != NO_FILE) if isinstance(listed, list) else ()


def _known_hosts(options: SftpOptions, found: Found) -> tuple[str, ...]:
    if options.known_hosts is not None:
        return (options.known_hosts,)
    files: list[str] = []
    for name, usual in (("userknownhostsfile", _KNOWN_HOSTS), ("globalknownhostsfile", _SYSTEM_KNOWN_HOSTS)):
        text = _text(found, name)
        files += shlex.split(text) if text else usual
    return tuple(file for file in files if file.lower() != NO_FILE)
