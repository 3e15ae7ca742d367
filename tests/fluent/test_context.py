"""What the system says about a run: user, source, commit."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import ClassVar

import pytest

from holdall.context import system_tags
from holdall.git import head_commit
from holdall.stores.errors import InvalidParameterValue

Git = Callable[..., str]


@pytest.fixture
def git(tmp_path: Path) -> Git:
    """Runs git in a folder, without the configuration of the machine."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    environment |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}

    def run(folder: Path, *arguments: str) -> str:
        identity = ("-c", "user.name=Ada", "-c", "user.email=ada@example.com", "-c", "protocol.file.allow=always")
        done = subprocess.run(
            ["git", *identity, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    return run


@pytest.fixture
def repository(tmp_path: Path, git: Git) -> Path:
    """A repository with one commit and a folder `src`."""
    root = tmp_path / "repository"
    (root / "src").mkdir(parents=True)
    (root / "src" / "train.py").write_text("")
    git(root, "init", "-q", "-b", "main")
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", "one")
    return root


def test_read_head_of_branch_is_its_commit_also_when_dirty(repository: Path, git: Git) -> None:
    assert head_commit(repository / "src") == head_commit(repository) == git(repository, "rev-parse", "HEAD")
    (repository / "src" / "train.py").write_text("changed")
    assert head_commit(repository) == git(repository, "rev-parse", "HEAD")
    git(repository, "commit", "-q", "-a", "-m", "two")
    assert head_commit(repository) == git(repository, "rev-parse", "HEAD")


def test_read_head_with_packed_refs_is_its_commit(repository: Path, git: Git) -> None:
    git(repository, "branch", "feature/x")
    git(repository, "tag", "-a", "v1", "-m", "annotated")
    git(repository, "checkout", "-q", "feature/x")
    git(repository, "pack-refs", "--all", "--prune")
    assert not (repository / ".git" / "refs" / "heads" / "feature" / "x").exists()
    assert head_commit(repository) == git(repository, "rev-parse", "HEAD")


def test_read_head_that_is_detached_is_its_commit(repository: Path, git: Git) -> None:
    first = git(repository, "rev-parse", "HEAD")
    git(repository, "commit", "-q", "--allow-empty", "-m", "two")
    git(repository, "checkout", "-q", "--detach", first)
    assert head_commit(repository) == first


@pytest.mark.parametrize("packed", [False, True])
def test_read_head_of_linked_worktree_is_its_own(repository: Path, git: Git, tmp_path: Path, packed: bool) -> None:
    worktree = tmp_path / "worktree"
    git(repository, "worktree", "add", "-q", "-b", "other", str(worktree))
    git(worktree, "commit", "-q", "--allow-empty", "-m", "two")
    if packed:
        git(repository, "pack-refs", "--all", "--prune")
    assert head_commit(worktree / "src") == git(worktree, "rev-parse", "HEAD")
    assert head_commit(worktree) != head_commit(repository)


def test_read_head_of_submodule_is_its_own(repository: Path, git: Git, tmp_path: Path) -> None:
    outer = tmp_path / "outer"
    outer.mkdir()
    git(outer, "init", "-q")
    git(outer, "submodule", "--quiet", "add", str(repository), "inner")
    assert (outer / "inner" / ".git").is_file()
    assert head_commit(outer / "inner") == git(repository, "rev-parse", "HEAD")
    assert head_commit(outer) is None


def test_read_head_in_ignored_folder_is_none(repository: Path, git: Git) -> None:
    (repository / ".gitignore").write_text(".venv/\n")
    (repository / ".venv" / "bin").mkdir(parents=True)
    assert head_commit(repository / ".venv" / "bin") is None
    assert head_commit(repository / "src") is not None


def test_read_head_without_git_installed_still_works(
    repository: Path, git: Git, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = git(repository, "rev-parse", "HEAD")
    monkeypatch.setenv("PATH", "")
    assert head_commit(repository / "src") == commit


def test_read_head_outside_repository_or_in_broken_one_is_none(folder: Path) -> None:
    assert head_commit(folder) is None
    (folder / ".git").mkdir()
    assert head_commit(folder) is None
    (folder / ".git" / "HEAD").write_text("ref: refs/heads/../../HEAD\n")
    assert head_commit(folder) is None
    (folder / ".git" / "HEAD").write_bytes(b"\xff\xfe")
    assert head_commit(folder) is None


def test_tag_run_of_script_in_repository_names_script_and_commit(
    repository: Path, git: Git, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["./train.py", "--lr", "1"])
    monkeypatch.setattr(sys.modules["__main__"], "__file__", str(repository / "src" / "train.py"), raising=False)
    monkeypatch.setenv("LOGNAME", "grace")
    tags = system_tags()
    assert tags == {
        "mlflow.user": "grace",
        "mlflow.source.name": "./train.py",
        "mlflow.source.type": "LOCAL",
        "mlflow.source.git.commit": git(repository, "rev-parse", "HEAD"),
    }


def test_tag_run_without_script_has_no_commit(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(repository)
    monkeypatch.setattr(sys, "argv", [""])
    monkeypatch.delattr(sys.modules["__main__"], "__file__", raising=False)
    tags = system_tags()
    assert tags["mlflow.source.name"] == "<console>"
    assert "mlflow.source.git.commit" not in tags


def test_tag_user_from_environment_then_credentials_then_login(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("LOGNAME", "login")
    assert system_tags()["mlflow.user"] == "login"
    credentials = tmp_path / "home" / ".mlflow" / "credentials"
    credentials.parent.mkdir(parents=True)
    credentials.write_text("[mlflow]\nmlflow_tracking_username = stored\nmlflow_tracking_password = 50%\n")
    assert system_tags()["mlflow.user"] == "stored"
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "named")
    assert system_tags()["mlflow.user"] == "named"
    monkeypatch.delenv("MLFLOW_TRACKING_USERNAME")
    credentials.write_text("no section")
    assert system_tags()["mlflow.user"] == "login"
    assert "credentials" in caplog.text


def test_tag_run_with_context_in_environment_adds_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_RUN_CONTEXT", '{"team": "vision", "n": 1, "mlflow.source.type": "JOB"}')
    tags = system_tags()
    assert (tags["team"], tags["n"], tags["mlflow.source.type"]) == ("vision", "1", "JOB")
    for bad in ("[1]", "{"):
        monkeypatch.setenv("MLFLOW_RUN_CONTEXT", bad)
        with pytest.raises(InvalidParameterValue, match="MLFLOW_RUN_CONTEXT"):
            system_tags()


def test_tag_run_in_notebook_names_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class ZMQInteractiveShell:
        user_ns: ClassVar[dict[str, object]] = {}

    ipython = ModuleType("IPython")
    monkeypatch.setattr(ipython, "get_ipython", ZMQInteractiveShell, raising=False)
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setattr(sys, "argv", ["ipykernel_launcher.py"])
    assert system_tags()["mlflow.source.type"] == "NOTEBOOK"
    assert system_tags()["mlflow.source.name"] == "ipykernel_launcher.py"
    monkeypatch.setenv("JPY_SESSION_NAME", "lab/digits.ipynb")
    assert system_tags()["mlflow.source.name"] == "lab/digits.ipynb"
    ZMQInteractiveShell.user_ns = {"__vsc_ipynb_file__": "/n/code.ipynb"}
    assert system_tags()["mlflow.source.name"] == "/n/code.ipynb"
