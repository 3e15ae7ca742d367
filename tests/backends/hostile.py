"""A small folder among things that are nobody's business, and every call that takes an id, a name or a key."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.backends.folders import DATASET, Grove, age, grow

from holdall.stores import (
    BackendStore,
    Dataset,
    DatasetInput,
    ExperimentTag,
    HoldallError,
    InputTag,
    Metric,
    Param,
    RunTag,
)

__all__ = [
    "EXPERIMENT_CALLS",
    "KEY_CALLS",
    "RUN_CALLS",
    "SECRET",
    "SECRET_VALUE",
    "TRICKS",
    "Surroundings",
    "refusal",
    "surround",
]

SECRET, SECRET_VALUE = "SECRET", 666.0
"""What every param, tag and metric outside says."""

Call = Callable[[BackendStore, Grove, str], object]

TRICKS: dict[str, str] = {
    "parent": "..",
    "sibling": "../outside",
    "itself": ".",
    "through itself": "0/../0",
    "beneath": "0/.",
    "absolute": "/etc/passwd",
    "two slashes": "//proc/self/root",
    "encoded parent": "%2e%2e",
    "encoded sibling": "..%2foutside",
    "encoded twice": "%252e%252e%252foutside",
    "encoded three times": "%25252e%25252e%25252foutside",
    "backslash": "..\\outside",
    "backslash inside": "0\\..\\..\\outside",
    "drive": "C:\\outside",
    "drive without slash": "C:outside",
    "network": "\\\\server\\share",
    "NUL": "0\0",
    "NUL and parent": "..\0",
    "newline": "0\n",
    "newline before": "\n0",
    "carriage return": "0\r",
    "escape": "\x1b[2J",
    "blank": " ",
    "blanks around": " 0 ",
    "empty": "",
    "dot behind": "0.",
    "registry": "models",
    "trash": ".trash",
    "through trash": ".trash/0",
    "own": ".holdall",
    "root lock": ".holdall-lock",
    "tags": "tags",
    "datasets": "datasets",
    "traces": "traces",
    "meta": "meta.yaml",
    "long": "x" * 300,
    "longer than a path": "x/" * 3000 + "x",
    "full-width dots": "\uff0e\uff0e/outside",
    "one-dot leaders": "\u2024\u2024/outside",
    "two-dot leader": "\u2025/outside",
    "division slash": "..\u2215outside",
    "full-width zero": "\uff10",
    "right-to-left": "\u202e0",
    "zero-width": "0\u200b",
    "unpaired surrogate": "0\udcff",
    "home": "~",
    "user": "~root",
    "option": "-rf",
    "uri": "file:///etc/passwd",
    "query": "0?x=/../../outside",
    "fragment": "0#/../../outside",
    "params": "0;/../../outside",
    "wildcard": "*",
    "variable": "${HOME}",
}

EXPERIMENT_CALLS: dict[str, Call] = {
    "get_experiment": lambda store, grove, text: store.get_experiment(text),
    "rename_experiment": lambda store, grove, text: store.rename_experiment(text, "new name"),
    "delete_experiment": lambda store, grove, text: store.delete_experiment(text),
    "restore_experiment": lambda store, grove, text: store.restore_experiment(text),
    "set_experiment_tag": lambda store, grove, text: store.set_experiment_tag(text, ExperimentTag("t", "1")),
    "delete_experiment_tag": lambda store, grove, text: store.delete_experiment_tag(text, "kind"),
    "create_run": lambda store, grove, text: store.create_run(text),
}
RUN_CALLS: dict[str, Call] = {
    "get_run": lambda store, grove, text: store.get_run(text),
    "update_run_info": lambda store, grove, text: store.update_run_info(text, "FINISHED", 1, "new name"),
    "delete_run": lambda store, grove, text: store.delete_run(text),
    "restore_run": lambda store, grove, text: store.restore_run(text),
    "log_metric": lambda store, grove, text: store.log_metric(text, Metric("m", 1.0, 1)),
    "log_param": lambda store, grove, text: store.log_param(text, Param("p", "1")),
    "set_tag": lambda store, grove, text: store.set_tag(text, RunTag("t", "1")),
    "delete_tag": lambda store, grove, text: store.delete_tag(text, "colour"),
    "log_batch": lambda store, grove, text: store.log_batch(text, [Metric("m", 1.0, 1)], [Param("p", "1")]),
    "log_empty_batch": lambda store, grove, text: store.log_batch(text),
    "log_inputs": lambda store, grove, text: store.log_inputs(text, [DATASET]),
    "get_metric_history": lambda store, grove, text: store.get_metric_history(text, "loss"),
}
KEY_CALLS: dict[str, Call] = {
    "log_metric": lambda store, grove, text: store.log_metric(grove.victim, Metric(text, 1.0, 1)),
    "log_param": lambda store, grove, text: store.log_param(grove.victim, Param(text, "1")),
    "set_tag": lambda store, grove, text: store.set_tag(grove.victim, RunTag(text, "1")),
    "delete_tag": lambda store, grove, text: store.delete_tag(grove.victim, text),
    "log_batch": lambda store, grove, text: store.log_batch(
        grove.victim, [Metric(text, 2.0, 2), Metric("fine", 1.0, 1)], [Param(text, "1")], [RunTag(text, "2")]
    ),
    "get_metric_history": lambda store, grove, text: store.get_metric_history(grove.victim, text),
    "set_experiment_tag": lambda store, grove, text: store.set_experiment_tag(
        grove.experiment, ExperimentTag(text, "1")
    ),
    "delete_experiment_tag": lambda store, grove, text: store.delete_experiment_tag(grove.experiment, text),
    "create_run": lambda store, grove, text: store.create_run(grove.experiment, tags=[RunTag(text, "1")]),
    "create_experiment": lambda store, grove, text: store.create_experiment("new", tags=[ExperimentTag(text, "1")]),
    "log_inputs": lambda store, grove, text: store.log_inputs(
        grove.victim, [DatasetInput(Dataset(text, text[:36], text, text, text, text), (InputTag(text, text),))]
    ),
}


def refusal(act: Callable[[], object]) -> str | None:
    """The code of the error that a call ends in; None if it is taken."""
    try:
        act()
    except HoldallError as error:
        return error.error_code
    return None


@dataclass(frozen=True, slots=True)
class Surroundings:
    """A folder and what lies around it.

    Attributes:
        top: The folder that holds everything.
        grove: The store.
        outside: A copy of the store beside it, in which all that can be read is secret.
    """

    top: Path
    grove: Grove
    outside: Path

    def state(self) -> dict[str, tuple[object, ...]]:
        """All that is not in the store: kind, times of reading and changing, contents."""
        found: dict[str, tuple[object, ...]] = {}
        for folder, folders, files in os.walk(self.top):
            folders[:] = [name for name in folders if Path(folder, name) != self.grove.root]
            for name in (".", *folders, *files):
                path = Path(folder, name)
                found[str(path)] = _look(path)
        return found

    @contextmanager
    def undisturbed(self) -> Iterator[None]:
        """Within the block nothing outside the store is read, written, made or removed."""
        before = self.state()
        yield
        after = self.state()
        touched = sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))
        assert touched == [], "this was touched outside"


def _look(path: Path) -> tuple[object, ...]:
    """What tells whether something was touched; looking leaves no trace, and reading it later leaves one."""
    status = path.lstat()
    content = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
    if not path.is_symlink() and not path.is_dir():
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    read = 0 if path.is_dir() else status.st_atime_ns  # folders are listed by looking
    return status.st_mode, status.st_ino, status.st_mtime_ns, read, content


def surround(top: Path) -> Surroundings:
    """Build a store among other things, some of which look like a store's."""
    grove = grow(top / "mlruns")
    outside = top / "outside"
    shutil.copytree(grove.root, outside)
    for path in outside.rglob("*"):
        if not path.is_file() or ".holdall" in path.parts[-2]:
            continue
        kinds = set(path.parts) & {"params", "tags", "metrics"}
        if "metrics" in kinds:
            path.write_text(f"1 {SECRET_VALUE} 999\n")
        elif kinds:
            path.write_text(SECRET)
        elif path.name == "meta.yaml":
            text = path.read_text()
            for word in ("victim", "neighbour", "elsewhere", "forest", "meadow", "abc123", "unknown"):
                text = text.replace(word, SECRET)
            path.write_text(text)
    shutil.copytree(outside / grove.experiment, top / "0")
    shutil.copytree(outside / grove.experiment / grove.victim, top / "run")
    for name in ("meta.yaml", "models", "tags", "secret.txt"):
        (top / name).write_text(SECRET)
    age(top)
    _forget_reading(top)
    return Surroundings(top, grove, outside)


def _forget_reading(top: Path) -> None:
    """Set the times of reading before those of changing, so that the next reading sets them on every file system."""
    for path in top.rglob("*"):
        if path.is_file() and not path.is_symlink():
            os.utime(path, ns=(1_000_000_000, path.stat().st_mtime_ns))
