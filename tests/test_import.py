"""`import holdall` is light, and exports what it says."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import types

import pytest

HEAVY = (
    "sqlalchemy",
    "pandas",
    "numpy",
    "boto3",
    "matplotlib",
    "rich",
    "typer",
    "sklearn",
    "PIL",
    "yaml",
    "hypothesis",
)
BUDGET_SECONDS = 0.1
"""What `import holdall` may take on a warm disk."""


def in_fresh_interpreter(code: str) -> str:
    """Standard output of a script run by a new interpreter with this one's import path."""
    setup = f"import sys; sys.path[:] = {sys.path!r}\n"
    done = subprocess.run([sys.executable, "-c", setup + code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("module", ["holdall", "holdall.stores", "holdall.conformance_tests.plugin"])
def test_import_module_in_fresh_interpreter_loads_nothing_heavy(module: str) -> None:
    loaded = json.loads(in_fresh_interpreter(f"import json, {module}; print(json.dumps(sorted(sys.modules)))"))
    assert module in loaded
    assert [name for name in HEAVY if name in loaded] == []


def test_import_stores_in_fresh_interpreter_loads_no_backend() -> None:
    loaded = json.loads(in_fresh_interpreter("import json, holdall.stores; print(json.dumps(sorted(sys.modules)))"))
    assert [name for name in loaded if name.startswith(("holdall.backends", "holdall.artifacts"))] == []


def test_import_holdall_on_warm_disk_stays_in_budget() -> None:
    code = "import time; start = time.perf_counter(); import holdall; print(time.perf_counter() - start)"
    best = min(float(in_fresh_interpreter(code)) for _ in range(5))
    assert best < BUDGET_SECONDS


def public_names(module: types.ModuleType) -> set[str]:
    """Names without an underscore that a module offers and that are holdall's own, submodules left out."""
    return {
        name
        for name in dir(module)
        if not name.startswith("_") and getattr(getattr(module, name), "__module__", "").startswith("holdall")
    }


@pytest.mark.parametrize("name", ["holdall", "holdall.stores"])
def test_list_exported_names_matches_dunder_all(name: str) -> None:
    module = importlib.import_module(name)
    assert len(set(module.__all__)) == len(module.__all__)
    missing = [exported for exported in module.__all__ if not hasattr(module, exported)]
    assert missing == []
    assert public_names(module) <= set(module.__all__)
