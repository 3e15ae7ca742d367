"""Finding the servers' programs, and installing them from the distribution where that is possible."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from holdall.stores import InternalError, InvalidParameterValue, MissingExtra

__all__ = ["SCHEMES", "find_program", "install"]


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
}

SCHEMES = tuple(_NEEDS)
"""What can be started, by the scheme of its URIs."""

_APT = ("apt-get", "-q", "-y", "-o", "DPkg::Lock::Timeout=300")
"""Waits for another installation: every worker of a test run may come here at once."""


def find_program(scheme: str, name: str) -> Path:
    """A program of a server, installed first if it is absent and that is possible.

    Raises:
        MissingExtra: It is absent, and cannot be installed from here.
    """
    found = _find(name)
    if found is None:
        install(scheme)
        found = _find(name)
    if found is None:
        raise MissingExtra(f"{scheme} is installed without its program {name}.")
    return found


def install(*schemes: str) -> None:
    """Install servers from the distribution; does nothing, and says nothing, where all of them are there.

    Args:
        schemes: Some of `SCHEMES`; all of them if none is given.

    Raises:
        InvalidParameterValue: There is no such server.
        MissingExtra: Something is absent, and this is not root on a machine with apt-get.
        InternalError: apt-get failed.
    """
    unknown = sorted(set(schemes) - _NEEDS.keys())
    if unknown:
        raise InvalidParameterValue(f"Unknown server {unknown[0]!r}; known are {', '.join(SCHEMES)}.")
    packages = list(_absent_packages(schemes or SCHEMES))
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


def _absent_packages(schemes: Iterable[str]) -> Iterator[str]:
    for scheme in sorted(set(schemes)):
        if any(_find(program) is None for program in _NEEDS[scheme].programs):
            yield from _NEEDS[scheme].packages


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
