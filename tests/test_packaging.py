"""The package list, the links and the archives agree with the tree."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
LINKED = ("artifacts", "backends", "conformance_tests", "stores")
PYPROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
SETUPTOOLS: dict[str, Any] = PYPROJECT["tool"]["setuptools"]


def package_folders() -> dict[str, Path]:
    """Folder of every package in the tree by dotted name; the links in `src/holdall` are not followed."""
    folders: dict[str, Path] = {}
    for name, root in SETUPTOOLS["package-dir"].items():
        for folder, subfolders, files in os.walk(ROOT / root):
            subfolders[:] = [sub for sub in subfolders if sub != "__pycache__" and not Path(folder, sub).is_symlink()]
            if any(file.endswith(".py") for file in files):
                relative = Path(folder).relative_to(ROOT / root)
                folders[".".join((name, *relative.parts))] = Path(folder)
    return folders


def module_paths() -> set[str]:
    """Path inside the wheel of every module and of the typing marker."""
    paths = {"holdall/py.typed"}
    for package, folder in package_folders().items():
        paths.update(f"{package.replace('.', '/')}/{file.name}" for file in folder.glob("*.py"))
    return paths


def test_list_packages_compared_with_tree_is_complete() -> None:
    assert sorted(SETUPTOOLS["packages"]) == sorted(package_folders())


def test_find_modules_in_every_package_folder_has_init() -> None:
    lacking = [str(folder) for folder in package_folders().values() if not (folder / "__init__.py").is_file()]
    assert lacking == []


@pytest.mark.parametrize("name", LINKED)
def test_read_link_in_package_root_points_to_top_level_folder(name: str) -> None:
    link = ROOT / "src" / "holdall" / name
    assert link.is_symlink()
    assert link.readlink() == Path(f"../../{name}")
    assert SETUPTOOLS["package-dir"][f"holdall.{name}"] == name


def test_list_links_in_package_root_finds_only_the_known_four() -> None:
    links = sorted(path.name for path in (ROOT / "src" / "holdall").iterdir() if path.is_symlink())
    assert links == sorted(LINKED)


def test_build_archives_from_a_copy_contain_every_module(tmp_path: Path) -> None:
    source, out = tmp_path / "source", tmp_path / "dist"
    shutil.copytree(
        ROOT,
        source,
        symlinks=True,
        ignore=lambda folder, names: [
            name
            for name in names
            if name in {"__pycache__", "build", "dist", "tests", "docs", "benchmarks", "examples"}
            or name.endswith(".egg-info")
            or (name.startswith(".") and Path(folder) == ROOT)
        ],
    )
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr

    [wheel] = out.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        in_wheel = set(archive.namelist())
        [entry_points] = [name for name in in_wheel if name.endswith("entry_points.txt")]
        assert "holdall = holdall.cli:main" in archive.read(entry_points).decode()
    assert {name for name in in_wheel if name.startswith("holdall/") and name.endswith((".py", "py.typed"))} == (
        module_paths()
    )

    [sdist] = out.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        in_sdist = {name.partition("/")[2] for name in archive.getnames()}
    expected = {
        path.relative_to(ROOT).as_posix() for folder in package_folders().values() for path in folder.glob("*.py")
    }
    assert expected | {"pyproject.toml", "README.md", "LICENSE", "src/holdall/py.typed"} <= in_sdist


def test_compare_ci_script_with_readme_runs_the_second_block() -> None:
    blocks = re.findall(r"```bash\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    prelude, _, commands = script.partition('cd "$(dirname "$0")/.."\n')
    assert "set -euo pipefail" in prelude
    assert commands.strip() == blocks[1].strip()
