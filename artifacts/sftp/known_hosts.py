"""Host keys: which are known, and what to tell people about one that is not."""

from __future__ import annotations

import binascii
import hashlib
import hmac
import logging
import os
from base64 import b64decode, b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from paramiko import PKey

from holdall.artifacts.sftp.ssh_config import Destination
from holdall.stores.errors import InvalidParameterValue, Unauthenticated

__all__ = ["KnownHosts"]

_log = logging.getLogger(__name__)

_REVOKED = "@revoked"


@dataclass(frozen=True, slots=True)
class _Line:
    """A line of a file of host keys.

    Attributes:
        place: Where it is, for messages.
        marker: `@revoked`, `@cert-authority` or ''.
        hosts: Names, patterns, or a digest of a name.
        kind: Of the key.
        key: As it goes over the wire.
    """

    place: str
    marker: str
    hosts: str
    kind: str
    key: bytes

    def is_for(self, host: str) -> bool:
        if self.hosts.startswith("|1|"):
            return _is_hash_of(self.hosts, host)
        patterns = self.hosts.lower().split(",")
        if any(pattern.startswith("!") and fnmatchcase(host, _escaped(pattern[1:])) for pattern in patterns):
            return False
        return any(fnmatchcase(host, _escaped(pattern)) for pattern in patterns)


class KnownHosts:
    """The keys that are known for a server.

    Args:
        destination: The server.

    Raises:
        InvalidParameterValue: A file of host keys cannot be read.
    """

    def __init__(self, destination: Destination) -> None:
        self._destination = destination
        lines = [line for file in destination.known_hosts for line in _lines(Path(file).expanduser())]
        name = destination.name.lower()
        found = [line for line in lines if line.is_for(name)]
        # As OpenSSH does: a key that is known for the machine is good at all of its ports.
        self._lines = found or [line for line in lines if line.is_for(destination.key_name.lower())]
        self._exact = bool(found)

    @property
    def kinds(self) -> list[str]:
        """Kinds of the known keys, to be asked for first: a server may have others that are not known."""
        return list(dict.fromkeys(line.kind for line in self._lines if not line.marker))

    def check(self, key: PKey) -> None:
        """Compare with the key that the server has.

        Raises:
            Unauthenticated: It is not known, another one is, or it is revoked; the message says what to do.
        """
        wire = key.asbytes()
        same = [line for line in self._lines if line.key == wire]
        for line in same:
            if line.marker == _REVOKED:
                raise Unauthenticated(f"{self._shown(key)} was revoked in {line.place}; do not connect to this server.")
        if any(not line.marker for line in same):
            return
        others = [line for line in self._lines if not line.marker] if self._exact else []
        problem = self._changed(key, others) if others else self._unknown(key)
        if self._destination.checking == "no" or (self._destination.checking == "accept-new" and not others):
            _log.warning(
                "%s Connected nevertheless, since host keys are not to be checked.", problem.partition(" If ")[0]
            )
            return
        raise Unauthenticated(problem)

    def _unknown(self, key: PKey) -> str:
        return (
            f"{self._shown(key)} is not known. If the administrator of the server confirms it, add it: "
            f"{self._scan()}. {self._ways_out()}"
        )

    def _changed(self, key: PKey, others: list[_Line]) -> str:
        known = ", ".join(f"{_fingerprint(line.key)} in {line.place}" for line in others[:3])
        return (
            f"{self._shown(key)} is another than the known one ({known}): the server was set up anew, or somebody is "
            f"between you and it. If the administrator of the server confirms the new key, replace the old one: "
            f"ssh-keygen -f {self._file} -R '{self._destination.name}' && {self._scan()}. {self._ways_out()}"
        )

    def _shown(self, key: PKey) -> str:
        return f"The host key of {self._destination} ({key.get_name()} {_fingerprint(key.asbytes())})"

    def _scan(self) -> str:
        return f"ssh-keyscan -p {self._destination.port} {self._destination.host} >> {self._file}"

    def _ways_out(self) -> str:
        return "Another file of host keys is named by the option known_hosts."

    @property
    def _file(self) -> str:
        return (self._destination.known_hosts or ("~/.ssh/known_hosts",))[0]


def _lines(path: Path) -> Iterator[_Line]:
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return
    except OSError as error:
        raise InvalidParameterValue(
            f"Cannot read the host keys in {str(path)!r}: {os.strerror(error.errno or 0)}."
        ) from error
    for number, line in enumerate(text.splitlines(), 1):
        fields = line.split()
        if not fields or fields[0].startswith("#"):
            continue
        marker = fields.pop(0) if fields[0].startswith("@") else ""
        try:
            hosts, kind, key = fields[:3]
            yield _Line(f"{path}:{number}", marker, hosts, kind, b64decode(key, validate=True))
        except ValueError:
            _log.warning("%s:%d is no host key; left out.", path, number)


def _is_hash_of(text: str, host: str) -> bool:
    try:
        salt, digest = (b64decode(part, validate=True) for part in text.split("|")[2:4])
    except (ValueError, binascii.Error):
        return False
    return hmac.compare_digest(hmac.digest(salt, host.encode(), "sha1"), digest)


def _escaped(pattern: str) -> str:
    """A pattern of OpenSSH, which knows `*` and `?` alone, for `fnmatch`."""
    return pattern.replace("[", "[[]")


def _fingerprint(key: bytes) -> str:
    """As `ssh-keygen -l` shows it."""
    return "SHA256:" + b64encode(hashlib.sha256(key).digest()).decode().rstrip("=")
