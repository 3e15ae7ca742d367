"""The commit that is checked out around a folder, read from `.git` itself: fast, and without git or its bindings."""

from __future__ import annotations

import os
import re
import subprocess
from functools import lru_cache
from pathlib import Path

__all__ = ["head_commit"]

_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_MAX_SYMBOLIC_REFS = 5
_TIMEOUT_SECONDS = 2


def head_commit(folder: Path) -> str | None:
    """Full hash of `HEAD` in the repository that holds a folder, dirty or not.

    Linked worktrees, submodules, detached heads and packed refs are understood; git itself is asked only where refs are
    kept in another format (reftable).

    Returns:
        The hash; None outside a repository, before the first commit, and in a folder that the repository ignores.
    """
    try:
        root = next((place for place in (folder, *folder.parents) if (place / ".git").exists()), None)
        if root is None or _is_ignored(root, folder):
            return None
        git_dir = _git_dir(root / ".git")
        return _read_commit(git_dir) if (git_dir / "HEAD").is_file() else None
    except (OSError, ValueError):  # unreadable or half-written: the commit is not known
        return None


def _git_dir(dot_git: Path) -> Path:
    """The repository's own folder; in worktrees and submodules `.git` is a file that says where it is."""
    if dot_git.is_dir():
        return dot_git
    return dot_git.parent / dot_git.read_text(encoding="utf-8").strip().removeprefix("gitdir: ")


def _read_commit(git_dir: Path) -> str | None:
    common_file = git_dir / "commondir"
    common = git_dir / common_file.read_text(encoding="utf-8").strip() if common_file.is_file() else git_dir
    if (common / "reftable").is_dir():
        return _as_commit(_ask_git(git_dir, "rev-parse", "--verify", "--quiet", "HEAD"))
    name = "HEAD"
    for _ in range(_MAX_SYMBOLIC_REFS):
        text = _read_ref(git_dir, common, name)
        if text is None or not text.startswith("ref: "):
            return _as_commit(text)
        name = text.removeprefix("ref: ").strip()
    return None


def _read_ref(git_dir: Path, common: Path, name: str) -> str | None:
    for place in dict.fromkeys((git_dir, common)):
        if (place / name).is_file():
            return (place / name).read_text(encoding="utf-8").strip()
    packed = common / "packed-refs"
    if packed.is_file():
        for line in packed.read_text(encoding="utf-8").splitlines():
            commit, _, ref = line.partition(" ")
            if ref == name:
                return commit
    return None


def _as_commit(text: str | None) -> str | None:
    return text if text is not None and _COMMIT.fullmatch(text) else None


@lru_cache(maxsize=64)
def _is_ignored(root: Path, folder: Path) -> bool:
    """Whether the repository ignores the folder, such as a virtual environment inside it; git is asked once."""
    if folder == root:
        return False
    return _ask_git(root / ".git", "-C", str(root), "check-ignore", str(folder), plain=True) is not None


def _ask_git(git_dir: Path, *arguments: str, plain: bool = False) -> str | None:
    """What git prints; None if it fails, takes long or is not installed."""
    command = ["git", *arguments] if plain else ["git", f"--git-dir={git_dir}", *arguments]
    # A hook's GIT_DIR and its like must not send the question to another repository.
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_TIMEOUT_SECONDS, check=False, env=environment
        )
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
