"""The names of the package: complete, lazy, and the same under `holdall.tracking`."""

from __future__ import annotations

import importlib
import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

import holdall
import holdall.tracking


def test_get_every_exported_name_finds_it_where_it_lives() -> None:
    assert sorted(holdall._HOMES) == sorted(set(holdall.__all__) - {"MlflowClient", "__version__"})
    for name, module in holdall._HOMES.items():
        assert getattr(holdall, name) is getattr(importlib.import_module(module), name)
        assert name in importlib.import_module(module).__all__
    assert set(holdall.__all__) <= set(dir(holdall))


def test_get_unknown_name_is_an_attribute_error() -> None:
    for module in (holdall, holdall.tracking):
        with pytest.raises(AttributeError, match="no_such_call"):
            module.no_such_call  # noqa: B018


def test_get_names_of_tracking_alias_are_those_of_the_package() -> None:
    assert holdall.tracking.__all__ == holdall.__all__
    for name in holdall.__all__:
        assert getattr(holdall.tracking, name) is getattr(holdall, name)


def test_read_version_agrees_with_project_file() -> None:
    project = Path(__file__).resolve().parents[2] / "pyproject.toml"
    assert holdall.__version__ == tomllib.loads(project.read_text(encoding="utf-8"))["project"]["version"]


@pytest.mark.parametrize("module", ["holdall", "holdall.tracking"])
def test_import_module_loads_no_store(module: str, run_script: Callable[..., CompletedProcess[str]]) -> None:
    done = run_script(f"import json, {module}; print(json.dumps(sorted(sys.modules)))")
    loaded = json.loads(done.stdout)
    assert [name for name in loaded if name.startswith("holdall")] == sorted({"holdall", module})


def test_log_without_extras_loads_none_of_them(run_script: Callable[..., CompletedProcess[str]]) -> None:
    done = run_script(
        """
import holdall as mlflow
mlflow.set_tracking_uri("memory://")
with mlflow.start_run():
    mlflow.log_metric("m", 1)
    mlflow.log_dict({"a": 1}, "a.json")
    mlflow.log_table({"a": 1}, "t.json")
mlflow.search_runs(output_format="list")
print([name for name in ("sqlalchemy", "pandas", "numpy", "matplotlib", "PIL", "yaml", "rich") if name in sys.modules])
"""
    )
    assert done.stdout.strip() == "[]", done.stderr
