"""A working directory, an environment and a session of its own for every test."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import holdall
from holdall.session import SESSION

RunScript = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The working directory: empty, nothing configured; the session is closed afterwards."""
    for name in [name for name in os.environ if name.startswith("MLFLOW_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    place = tmp_path / "work"
    place.mkdir()
    monkeypatch.chdir(place)
    SESSION.close()
    yield place
    SESSION.close()


@pytest.fixture(params=["memory://", "sqlite:///runs.db", "./runs"])
def store(request: pytest.FixtureRequest, folder: Path) -> str:
    """URI of an empty store, which is the configured one."""
    uri: str = request.param
    holdall.set_tracking_uri(uri)
    return uri


@pytest.fixture
def run_script(folder: Path) -> RunScript:
    """Runs a Python script in the test's folder with a new interpreter."""

    def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
        script = folder / "script.py"
        script.write_text(f"import sys; sys.path[:0] = {sys.path!r}\n{code}", encoding="utf-8")
        return subprocess.run(
            [sys.executable, str(script)],
            capture_output=True,
            text=True,
            check=False,
            cwd=folder,
            env={**os.environ, **environment},
        )

    return run
