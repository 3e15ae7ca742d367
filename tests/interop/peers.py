"""MLflow, each version in an environment of its own, used as a black box."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.interop.snapshot import Snapshot
from tests.interop.steps import ROOT, Search, Step

__all__ = ["VERSIONS", "Peer", "Place", "peer_python", "peer_uri", "peers_dir"]

Place = Path | str
"""Where a store is: a file `*.db` that is a SQLite database, another path for a folder of files, or a server's URI."""

VERSIONS = ("2.22.5", "3.17.2")

_PACKAGES = ("sqlalchemy>=2.0,<2.1", "psycopg2-binary", "PyMySQL")
"""What the SQL store needs beside MLflow. MLflow 2.22 imports a name that SQLAlchemy 2.1 no longer has."""

_DRIVERS = {"postgresql": "postgresql+psycopg2", "mariadb": "mysql+pymysql", "mysql": "mysql+pymysql"}
"""MLflow's schemes for ours."""

_SETTINGS = {
    "PYTHONUTF8": "1",
    "GIT_PYTHON_REFRESH": "quiet",
    "MLFLOW_ALLOW_FILE_STORE": "true",  # MLflow 3 opens no folder without it
    "MLFLOW_DISABLE_TELEMETRY": "true",
}

_NOTE = "requirements.txt"

_SCRIPT = Path(__file__).with_name("peer_script.py")


@dataclass(frozen=True, slots=True)
class Peer:
    """One version of MLflow.

    Attributes:
        python: Interpreter that has it.
    """

    python: Path

    @classmethod
    def of(cls, version: str) -> Peer:
        """The peer of this version, installed if need be."""
        return cls(peer_python(version))

    def use(
        self, place: Place, steps: Sequence[Step] = (), searches: Sequence[Search] = ()
    ) -> tuple[Snapshot, list[list[str]]]:
        """Open or create a store, take steps, then search; everything that is there then, and what was found."""
        request = {"uri": peer_uri(place), "root": ROOT, "steps": steps, "searches": searches}
        answer = json.loads(self._run([str(_SCRIPT)], json.dumps(request)))
        return answer["snapshot"], answer["found"]

    def upgrade(self, database: Place) -> None:
        """`mlflow db upgrade`."""
        self._run(["-m", "mlflow", "db", "upgrade", peer_uri(database)])

    def collect_garbage(self, folder: Path) -> None:
        """`mlflow gc`: remove all deleted runs and experiments for good."""
        store = str(folder)
        self._run(["-m", "mlflow", "gc", "--backend-store-uri", store], MLFLOW_TRACKING_URI=store)

    def run_script(self, script: Path, request: object, **settings: str) -> Any:
        """Run a script as its user would, under its bare name: nothing that it logs tells of this machine.

        Args:
            script: Reads JSON on its standard input and answers with JSON on its standard output.
            request: What it is given.
            settings: Variables of its environment besides.
        """
        return json.loads(self._run([script.name], json.dumps(request), [script], **settings))

    def environment(self, **settings: str) -> dict[str, str]:
        """The variables it runs with: neither our package nor the settings of whoever runs the tests reach it."""
        hidden = ("PYTHON", "MLFLOW", "COV_", "COVERAGE")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
        return kept | _SETTINGS | settings

    def _run(self, arguments: list[str], stdin: str = "", files: Sequence[Path] = (), **settings: str) -> str:
        with tempfile.TemporaryDirectory() as folder:  # MLflow writes where it works
            for file in files:
                shutil.copy(file, folder)
            done = subprocess.run(
                [str(self.python), *arguments],
                input=stdin,
                capture_output=True,
                text=True,
                encoding="utf-8",
                cwd=folder,
                env=self.environment(**settings),
                check=False,
            )
        assert done.returncode == 0, f"the peer failed on {arguments}:\n{done.stderr[-4000:]}"
        return done.stdout


def peer_uri(place: Place) -> str:
    """What MLflow calls a place."""
    if isinstance(place, str):
        scheme, colon, address = place.partition(":")
        return _DRIVERS[scheme] + colon + address
    return f"sqlite:///{place}" if place.suffix == ".db" else str(place)


def peer_python(version: str) -> Path:
    """The interpreter of an environment that has this MLflow; created once, whoever asks first.

    Environments are kept in `HOLDALL_PEERS_DIR`, by default in tox's work directory, else in the user's cache.

    Raises:
        RuntimeError: It cannot be installed. A peer that is not there fails the test: it is never skipped.
    """
    home = peers_dir()
    environment = home / f"mlflow-{version}"
    if not _is_complete(version, environment):
        home.mkdir(parents=True, exist_ok=True)
        with _locked(home / f"mlflow-{version}.lock"):
            if not _is_complete(version, environment):
                _install(version, environment)
    return environment / "bin" / "python"


def peers_dir() -> Path:
    """Where the environments are kept."""
    if chosen := os.environ.get("HOLDALL_PEERS_DIR"):
        return Path(chosen)
    if tox := os.environ.get("TOX_WORK_DIR"):
        return Path(tox, "peers")
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "holdall", "peers")


def _requirements(version: str) -> list[str]:
    return [f"mlflow=={version}", *_PACKAGES]


def _is_complete(version: str, environment: Path) -> bool:
    """Whether all that is wanted today was installed: what is noted last."""
    note = environment / _NOTE
    return note.exists() and note.read_text(encoding="utf-8").split() == _requirements(version)


def _install(version: str, environment: Path) -> None:
    """Make the environment, or add to it what is wanted since it was made."""
    python = environment / "bin" / "python"
    if not python.exists():
        partial = environment.with_name(f"{environment.name}.part")  # so that a half-made one is never taken for whole
        _call(version, [sys.executable, "-m", "venv", "--clear", str(partial)])
        partial.rename(environment)
    _call(version, [str(python), "-m", "pip", "install", "--quiet", *_requirements(version)])
    (environment / _NOTE).write_text("\n".join(_requirements(version)), encoding="utf-8")


def _call(version: str, command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"MLflow {version} cannot be installed: {command} failed:\n{done.stdout}{done.stderr}")


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
