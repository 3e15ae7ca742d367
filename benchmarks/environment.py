"""The interpreter that MLflow runs in: named, this one, or a new environment."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from importlib import metadata
from pathlib import Path

from benchmarks.peer import BenchmarkError

__all__ = ["MLFLOW_VERSION", "find_mlflow_python"]

MLFLOW_VERSION = "3.17.2"
VARIABLE = "HOLDALL_BENCH_MLFLOW_PYTHON"
DRIVERS = ("psycopg2-binary", "PyMySQL", "cryptography", "boto3", "google-cloud-storage", "azure-storage-blob")
"""What MLflow needs for stores on servers, and does not bring."""


def find_mlflow_python(named: Path | None, work: Path) -> Path:
    """An interpreter that has MLflow in the version that ratios are promised against.

    Args:
        named: What the user asked for; otherwise the environment variable `HOLDALL_BENCH_MLFLOW_PYTHON`, then this
            interpreter if it has that version, then an environment made under `work`.
        work: Folder for the environment, kept for the next time.

    Raises:
        BenchmarkError: It has no MLflow or another version, or MLflow cannot be installed.
    """
    variable = os.environ.get(VARIABLE)
    if named is None and variable is None and _own_version() == MLFLOW_VERSION:
        return Path(sys.executable)
    python = named or (Path(variable) if variable else _make_environment(work / f"mlflow-{MLFLOW_VERSION}"))
    version = _version(python)
    if version != MLFLOW_VERSION:
        raise BenchmarkError(f"{python} has MLflow {version or 'not'} installed; ratios are against {MLFLOW_VERSION}.")
    return python


def _own_version() -> str | None:
    try:
        return metadata.version("mlflow")
    except metadata.PackageNotFoundError:
        return None


def _version(python: Path, package: str = "mlflow") -> str:
    code = f"from importlib import metadata; print(metadata.version({package!r}))"
    try:
        done = subprocess.run([str(python), "-c", code], capture_output=True, text=True, check=False)
    except OSError as error:
        raise BenchmarkError(f"{python} cannot be run: {error.strerror}.") from error
    return done.stdout.strip()


def _make_environment(folder: Path) -> Path:
    python = folder / "bin" / "python"
    if python.is_file() and _version(python) == MLFLOW_VERSION and all(_version(python, name) for name in DRIVERS):
        return python
    venv.create(folder, with_pip=True, clear=True)
    command = [str(python), "-m", "pip", "install", "--quiet", f"mlflow=={MLFLOW_VERSION}", *DRIVERS]
    if subprocess.run(command, check=False).returncode != 0:
        raise BenchmarkError(f"MLflow {MLFLOW_VERSION} cannot be installed in {folder}.")
    return python
