"""Finding what the servers take, and installing it where that is possible."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from holdall.conformance_tests.emulators.node import find_azurite
from holdall.stores import InternalError, InvalidParameterValue, MissingExtra

__all__ = ["NAMES", "find_program", "find_script", "install", "require_modules"]


@dataclass(frozen=True, slots=True)
class _Needs:
    """Programs that a server takes, and the Debian packages that bring them."""

    programs: tuple[str, ...]
    packages: tuple[str, ...]


_NEEDS = {
    "mariadb": _Needs(
        ("mariadbd", "mariadb-install-db", "mariadb", "mariadb-dump"), ("mariadb-server-core", "mariadb-client")
    ),
    "postgresql": _Needs(("initdb", "postgres", "psql", "pg_dump"), ("postgresql", "postgresql-client")),
    "sshd": _Needs(("sshd", "ssh-keygen"), ("openssh-server", "openssh-client")),
}

NAMES = tuple(sorted([*_NEEDS, "azurite", "fake-gcs", "moto", "seaweedfs"]))
"""What can be started. Those with neither system packages nor npm's are Python packages, which pip alone installs."""

_APT = ("apt-get", "-q", "-y", "-o", "DPkg::Lock::Timeout=300")
"""Waits for another installation: every worker of a test run may come here at once."""


def find_program(server: str, name: str) -> Path:
    """A program of a server, installed first if it is absent and that is possible.

    Raises:
        MissingExtra: It is absent, and cannot be installed from here.
    """
    found = _find(name)
    if found is None:
        install(server)
        found = _find(name)
    if found is None:
        raise MissingExtra(f"{server} is installed without its program {name}.")
    return found


def find_script(distribution: str, name: str) -> Path:
    """A program that a Python package brings, wherever it is installed.

    Raises:
        MissingExtra: The package is absent.
    """
    try:
        files = metadata.distribution(distribution).files or []
    except metadata.PackageNotFoundError:
        raise MissingExtra(f"{distribution} is not installed; install it with: pip install {distribution}") from None
    for file in files:
        if file.name == name and file.parent.name == "bin":
            return Path(str(file.locate())).resolve()
    raise MissingExtra(f"{distribution} is installed without its program {name}.")


def require_modules(modules: Iterable[tuple[str, str]]) -> None:
    """Check that modules can be imported.

    Args:
        modules: Each with what to give to `pip install` for it.

    Raises:
        MissingExtra: One is absent.
    """
    for module, requirement in modules:
        if not _can_import(module):
            raise MissingExtra(f"{module} is not installed; install it with: pip install '{requirement}'")


def install(*names: str) -> None:
    """Install servers from the distribution and npm; does nothing, and says nothing, where all of them are there.

    Args:
        names: Some of `NAMES`; all of them if none is given.

    Raises:
        InvalidParameterValue: There is no such server.
        MissingExtra: Something is absent, and this is not root on a machine with apt-get, or there is no npm.
        InternalError: apt-get or npm failed.
    """
    unknown = sorted(set(names) - set(NAMES))
    if unknown:
        raise InvalidParameterValue(f"Unknown server {unknown[0]!r}; known are {', '.join(NAMES)}.")
    _install_packages(list(_absent_packages(names or NAMES)))
    if not names or "azurite" in names:
        find_azurite()


def _install_packages(packages: list[str]) -> None:
    if not packages:
        return
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise MissingExtra(
            f"The tests start servers that are not installed. On Debian: apt-get install {' '.join(packages)}"
        )
    command = [*_APT, "install", "--no-install-recommends", *packages]
    if _run(command).returncode != 0:
        _run([*_APT, "update"])  # no lists yet, or lists of packages that are gone
        done = _run(command)
        if done.returncode != 0:
            raise InternalError(f"{' '.join(command)} failed:\n{done.stdout}")


def _absent_packages(names: Iterable[str]) -> Iterator[str]:
    for name in sorted(set(names) & _NEEDS.keys()):
        if any(_find(program) is None for program in _NEEDS[name].programs):
            yield from _NEEDS[name].packages


def _find(name: str) -> Path | None:
    # Debian's PostgreSQL is not on PATH; what is there under the names of its clients are wrappers that take 0.1 s.
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: folder.parent.name.zfill(4))
    for folder in (*reversed(versions), Path("/usr/sbin")):
        if os.access(folder / name, os.X_OK):
            return folder / name
    found = shutil.which(name)
    return None if found is None else Path(found)


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    return subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )


def _can_import(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # not even the package that it would be in
        return False
