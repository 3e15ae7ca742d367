"""Who may import whom: `stores` ← `backends`, `artifacts` ← `client`, `migrate`, `server`, `cli`.

The rule holds for every import statement, also those inside functions and under `TYPE_CHECKING`.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

STANDARD = sys.stdlib_module_names | {"_typeshed"}
"""The standard library, and the stubs of it that type checkers see."""

ALLOWED = {
    "stores": {"holdall.stores"},
    "backends": {"holdall.stores", "holdall.backends", "sqlalchemy", "yaml"},
    "artifacts": {"holdall.stores", "holdall.artifacts"},
    "conformance_tests": {"holdall.stores", "holdall.conformance_tests", "pytest", "_pytest", "hypothesis"},
}
"""What a folder's modules may import besides the standard library."""

EXCEPTIONS: dict[str, set[str]] = {
    "artifacts/azure/presigning.py": {"azure"},
    "artifacts/azure/signing.py": {"azure"},
    "artifacts/gcs/sdk.py": {"google"},
    "artifacts/gcs/service.py": {"google_crc32c"},
    "artifacts/gcs/signing.py": {"google"},
    "artifacts/s3/sdk.py": {"boto3", "botocore"},
    "artifacts/sftp/known_hosts.py": {"paramiko"},
    "artifacts/sftp/login.py": {"paramiko"},
    "artifacts/sftp/packets.py": {"paramiko"},
    "artifacts/sftp/session.py": {"paramiko"},
    "artifacts/sftp/ssh_config.py": {"paramiko"},
    "conformance_tests/emulators/azurite.py": {"azure"},
    "conformance_tests/emulators/fake_gcs.py": {"google"},
    "conformance_tests/emulators/mariadb.py": {"pymysql"},
    "conformance_tests/emulators/postgresql.py": {"psycopg"},
    "conformance_tests/emulators/s3.py": {"botocore"},
    "conformance_tests/emulators/seaweedfs.py": {"botocore"},
}
"""Modules that may import more: each emulator its client library. Stale ones fail."""

ROOT_THIRD_PARTY = {
    "httptools",
    "joblib",
    "matplotlib",
    "numpy",
    "orjson",
    "pandas",
    "PIL",
    "plotly",
    "pyarrow",
    "rich",
    "sklearn",
    "sqlalchemy",
    "typer",
    "uvicorn",
    "yaml",
}
"""What the package root (fluent API, client, command line) may import besides holdall."""

ROOT_SUITE_USERS = "src/holdall/cli/"
"""Where the package root may import the conformance suite."""


def modules(folder: str) -> list[Path]:
    """Modules under a top-level folder, links left out."""
    found = []
    for path in sorted((ROOT / folder).rglob("*.py")):
        parents = [parent for parent in path.parents if parent.is_relative_to(ROOT)]
        if not any(parent.is_symlink() for parent in parents):
            found.append(path)
    return found


def imported_names(path: Path) -> Iterator[tuple[int, str]]:
    """Line and dotted name of everything that a module imports.

    `from holdall import stores` counts as `holdall.stores`, so that no spelling goes around the rule.
    """
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            module = node.module or ""
            if module == "holdall":
                yield from ((node.lineno, f"holdall.{alias.name}") for alias in node.names)
            else:
                yield node.lineno, module


def is_within(name: str, packages: set[str]) -> bool:
    """Whether a dotted name is one of the packages or lies in one."""
    return any(name == package or name.startswith(package + ".") for package in packages)


def foreign_imports(path: Path, allowed: set[str]) -> list[tuple[int, str]]:
    """Imports of a module that are neither in the standard library nor allowed."""
    return [
        (line, name)
        for line, name in imported_names(path)
        if name.partition(".")[0] not in STANDARD and not is_within(name, allowed)
    ]


@pytest.mark.parametrize("folder", sorted(ALLOWED))
def test_import_from_layer_outside_its_allowance_is_absent(folder: str) -> None:
    assert modules(folder), f"{folder} holds no modules"
    broken = []
    for path in modules(folder):
        relative = path.relative_to(ROOT).as_posix()
        allowed = ALLOWED[folder] | EXCEPTIONS.get(relative, set())
        broken += [f"{relative}:{line}: {name}" for line, name in foreign_imports(path, allowed)]
    assert broken == []


def test_list_exceptions_to_the_rule_are_all_needed() -> None:
    stale = []
    for relative, extra in EXCEPTIONS.items():
        path = ROOT / relative
        used = {name for _, name in imported_names(path)} if path.is_file() else set()
        stale += [f"{relative}: {package}" for package in extra if not any(is_within(n, {package}) for n in used)]
    assert stale == []


def test_import_from_package_root_names_known_packages_only() -> None:
    broken = []
    for path in modules("src/holdall"):
        relative = path.relative_to(ROOT).as_posix()
        for line, name in foreign_imports(path, {"holdall", *ROOT_THIRD_PARTY}):
            broken.append(f"{relative}:{line}: {name}")
        if not relative.startswith(ROOT_SUITE_USERS):
            suite = {"holdall.conformance_tests"}
            broken += [f"{relative}:{line}: {name}" for line, name in imported_names(path) if is_within(name, suite)]
    assert broken == []
