"""`SshdServer`."""

from __future__ import annotations

import os
import pwd
import shutil
from pathlib import Path

from holdall.conformance_tests.emulators.process import ServerProcess
from holdall.conformance_tests.emulators.server import new_name
from holdall.conformance_tests.emulators.storage import RawPlace, StorageServer
from holdall.stores import StoreURI

__all__ = ["SshdServer"]

_SETTINGS = {
    "AllowTcpForwarding": "no",
    "ForceCommand": "internal-sftp",
    "KbdInteractiveAuthentication": "no",
    "ListenAddress": "127.0.0.1",
    "LogLevel": "INFO",
    "MaxStartups": "100:30:200",
    "PasswordAuthentication": "no",
    "PidFile": "none",
    "StrictModes": "no",
    "Subsystem": "sftp internal-sftp",
    "UseDNS": "no",
    "UsePAM": "no",
}


class SshdServer(StorageServer):
    """OpenSSH's server, for SFTP with a key alone.

    It serves the files that the user of the server may see; places are folders in its own.
    """

    name = "sshd"
    scheme = "sftp"
    _account = "daemon"  # root's server would let root in, and systemd calls the account of nobody locked

    @property
    def user(self) -> str:
        """Whom the server runs as, and lets in."""
        return pwd.getpwuid(self.folder.stat().st_uid).pw_name

    def create_place(self) -> str:
        name = new_name()
        _make_folder(self.folder / "data" / name)
        return name

    def uri(self, place: str, *, port: int | None = None) -> str:
        port = port or self.port
        self._add_known_host(port)
        options = (("identity_file", str(self.folder / "identity")), ("known_hosts", str(self._known_hosts)))
        path = str(self.folder / "data" / place)
        return StoreURI(self.scheme, username=self.user, host=self.host, port=port, path=path, query=options).render(
            hide_password=False
        )

    def raw(self, place: str) -> RawPlace:
        return _Folder(self.folder / "data" / place)

    def _initialise(self, process: ServerProcess) -> None:
        folder = process.folder
        for name in ("host_key", "identity"):
            process.run([self._program("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", folder / name])
        settings = _SETTINGS | {"HostKey": folder / "host_key", "AuthorizedKeysFile": folder / "identity.pub"}
        lines = [f"{name} {value}\n" for name, value in settings.items()]
        (folder / "sshd_config").write_text("".join(lines), encoding="utf-8")
        _make_folder(folder / "data")

    def _command(self, folder: Path) -> list[str | Path]:
        return [self._program("sshd"), "-D", "-e", "-f", folder / "sshd_config", "-p", str(self.port), *self._flags]

    def _answers(self) -> bool:
        return self._says(f"Server listening on {self.host} port {self.port}.")

    @property
    def _known_hosts(self) -> Path:
        return self.folder / "known_hosts"

    def _add_known_host(self, port: int) -> None:
        """Let clients recognise the server at a port."""
        key = (self.folder / "host_key.pub").read_text(encoding="ascii").strip()
        line = f"[{self.host}]:{port} {key}\n"
        with self._known_hosts.open("a+", encoding="ascii") as file:
            file.seek(0)
            if line not in file:
                file.write(line)


class _Folder(RawPlace):
    """Files on disk; what is made here belongs to the user of the server."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def write(self, path: str, data: bytes) -> None:
        file = self._root / path
        _make_folder(file.parent)
        file.write_bytes(data)
        _give_to_owner_of(file.parent, file)

    def read(self, path: str) -> bytes | None:
        file = self._root / path
        return file.read_bytes() if file.is_file() else None

    def unfinished(self) -> list[str]:
        return []  # they are files, which `list` shows

    def list(self) -> set[str]:
        return {file.relative_to(self._root).as_posix() for file in self._root.rglob("*") if not file.is_dir()}

    def remove(self) -> None:
        shutil.rmtree(self._root, ignore_errors=True)


def _make_folder(folder: Path) -> None:
    if not folder.is_dir():
        _make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        _give_to_owner_of(folder.parent, folder)


def _give_to_owner_of(folder: Path, path: Path) -> None:
    owner = folder.stat()
    if owner.st_uid != os.geteuid():
        os.chown(path, owner.st_uid, owner.st_gid)
