"""What other programs do to a folder while nobody looks, or while a store is open: writes that no index is told of."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.backends.folders import Grove

from holdall.stores import (
    Dataset,
    DatasetInput,
    InputTag,
    Metric,
    Param,
    RunTag,
    open_backend_store,
)

__all__ = ["CHANGES", "NEW_RUN", "Change"]

Change = Callable[[Grove], object]

NEW_RUN = "fedcba9876543210fedcba9876543210"

_LOG = """
import sys
from holdall.stores import Metric, RunTag, open_backend_store
with open_backend_store(sys.argv[1]) as store:
    store.log_batch(sys.argv[2], [Metric("loss", 0.001, 1, 77)], tags=[RunTag("colour", "other")])
"""


def _write(grove: Grove, path: str, text: str) -> None:
    """Write a file of the victim in place, as MLflow does."""
    target = grove.run_path / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text, encoding="utf-8")


def _with_times_kept(path: Path, act: Callable[[Path], object]) -> None:
    status = path.stat()
    act(path)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def _replace(path: Path, content: bytes) -> None:
    spare = path.with_name("spare-of-another-program")
    spare.write_bytes(content)
    status = path.stat()
    os.utime(spare, ns=(status.st_atime_ns, status.st_mtime_ns))
    spare.replace(path)


def _edit(path: Path, before: str, after: str) -> None:
    text = path.read_text("utf-8")
    assert before in text
    path.write_text(text.replace(before, after), "utf-8")


def _append(grove: Grove, line: str) -> None:
    with (grove.run_path / "metrics" / "loss").open("a") as file:
        file.write(line)


def _add_run(grove: Grove, source: str, experiment: Path) -> None:
    """Copy a run under another id, file by file, as MLflow makes one."""
    target = experiment / NEW_RUN
    target.mkdir()
    (target / "meta.yaml").write_text(
        (grove.experiment_path / source / "meta.yaml").read_text().replace(source, NEW_RUN)
    )
    for kind in ("tags", "params", "metrics"):
        shutil.copytree(grove.experiment_path / source / kind, target / kind)


def _rename_run(grove: Grove) -> None:
    target = grove.experiment_path / NEW_RUN
    grove.run_path.rename(target)
    _edit(target / "meta.yaml", grove.victim, NEW_RUN)


def _move_run(grove: Grove) -> None:
    target = grove.root / grove.other / grove.victim
    grove.run_path.rename(target)
    _edit(target / "meta.yaml", f"experiment_id: '{grove.experiment}'", f"experiment_id: '{grove.other}'")


def _to_trash_and_back(grove: Grove) -> None:
    binned = grove.root / ".trash" / grove.experiment
    grove.experiment_path.rename(binned)
    (binned / grove.victim / "tags" / "colour").write_text("white")
    binned.rename(grove.experiment_path)


def _swap_experiment(grove: Grove) -> None:
    """Another folder in the place of the experiment's, with the times of the first."""
    aside = grove.root / ".aside"
    shutil.copytree(grove.experiment_path, aside)
    _with_times_kept(aside / grove.victim / "tags" / "colour", lambda path: path.write_text("black"))
    shutil.rmtree(grove.experiment_path)
    aside.rename(grove.experiment_path)


def _remake_metrics(grove: Grove) -> None:
    shutil.rmtree(grove.run_path / "metrics")
    _write(grove, "metrics/loss", "1 0.125 0\n")


def _datasets(grove: Grove) -> Path:
    (found,) = (grove.experiment_path / "datasets").iterdir()
    return found


def _inputs(grove: Grove) -> Path:
    (found,) = (grove.run_path / "inputs").iterdir()
    return found


def _log_elsewhere(grove: Grove) -> None:
    """Through another store, keys that no files can be named by among them."""
    with open_backend_store(grove.root) as store:
        store.log_batch(grove.victim, [Metric("loss", 9.0, 9, 9), Metric("deep", 9.0, 9)], [Param("lr/x", "1")])
        store.update_run_info(grove.neighbour, "FINISHED", 5, "renamed")
        store.set_tag(grove.neighbour, RunTag("colour/of", "blue"))
        store.log_inputs(grove.victim, [DatasetInput(Dataset("two", "d", "t", "s"), (InputTag("context", "eval"),))])


def _delete_elsewhere(grove: Grove) -> None:
    with open_backend_store(grove.root) as store:
        store.delete_run(grove.neighbour)
        store.delete_experiment(grove.experiment)


def _restore_elsewhere(grove: Grove) -> None:
    with open_backend_store(grove.root) as store:
        store.restore_experiment(grove.deleted)


def _only_own_keys(grove: Grove) -> None:
    """Written under `.holdall` alone: nothing in MLflow's folders changes."""
    with open_backend_store(grove.root) as store:
        store.log_param(grove.victim, Param("lr/x/y", "1"))


def _log_in_process(grove: Grove) -> None:
    subprocess.run([sys.executable, "-c", _LOG, str(grove.root), grove.victim], check=True)


CHANGES: dict[str, Change] = {
    "overwrite tag": lambda grove: _write(grove, "tags/colour", "brown"),
    "overwrite tag, times kept": lambda grove: _with_times_kept(
        grove.run_path / "tags" / "colour", lambda path: path.write_text("brown")
    ),
    "replace tag, times kept": lambda grove: _replace(grove.run_path / "tags" / "colour", b"brown"),
    "add tag": lambda grove: _write(grove, "tags/fresh", "1"),
    "remove tag": lambda grove: (grove.run_path / "tags" / "colour").unlink(),
    "rename tag": lambda grove: (grove.run_path / "tags" / "colour").rename(grove.run_path / "tags" / "color"),
    "append metric": lambda grove: _append(grove, "9 0.5 99\n"),
    "append metric without an end": lambda grove: _append(grove, "9 0.5 99"),
    "overwrite metric, times kept": lambda grove: _with_times_kept(
        grove.run_path / "metrics" / "deep" / "er", lambda path: path.write_text("1 0.6 0\n")
    ),
    "remake metrics": _remake_metrics,
    "add nested param": lambda grove: _write(grove, "params/a/b/c", "1"),
    "change nested param": lambda grove: _write(grove, "params/net/depth", "4"),
    "remove nested params": lambda grove: shutil.rmtree(grove.run_path / "params" / "net"),
    "break tag": lambda grove: (grove.run_path / "tags" / "colour").write_bytes(b"\xff"),
    "edit meta": lambda grove: _edit(grove.run_path / "meta.yaml", "status: 1", "status: 3"),
    "edit meta, times kept": lambda grove: _with_times_kept(
        grove.run_path / "meta.yaml", lambda path: _edit(path, "status: 1", "status: 4")
    ),
    "replace meta, times kept": lambda grove: _replace(
        grove.run_path / "meta.yaml", (grove.run_path / "meta.yaml").read_bytes().replace(b"victim", b"Victim")
    ),
    "empty meta": lambda grove: (grove.run_path / "meta.yaml").write_bytes(b""),
    "remove meta": lambda grove: (grove.run_path / "meta.yaml").unlink(),
    "delete run as MLflow does": lambda grove: _edit(
        grove.run_path / "meta.yaml", "lifecycle_stage: active", "lifecycle_stage: deleted"
    ),
    "remove run": lambda grove: shutil.rmtree(grove.run_path),
    "rename run": _rename_run,
    "rename run, and leave what it says": lambda grove: grove.run_path.rename(grove.experiment_path / NEW_RUN),
    "add run": lambda grove: _add_run(grove, grove.neighbour, grove.experiment_path),
    "move run to another experiment": _move_run,
    "edit dataset": lambda grove: _edit(_datasets(grove) / "meta.yaml", "digest: abc123", "digest: abc124"),
    "remove dataset": lambda grove: shutil.rmtree(_datasets(grove)),
    "edit input": lambda grove: _edit(_inputs(grove) / "meta.yaml", "tags: {}", "tags: {a: b}"),
    "remove inputs": lambda grove: shutil.rmtree(grove.run_path / "inputs"),
    "edit experiment": lambda grove: _edit(grove.experiment_path / "meta.yaml", "name: forest", "name: jungle"),
    "edit experiment's place": lambda grove: _edit(
        grove.experiment_path / "meta.yaml", "artifact_location: /", "artifact_location: /elsewhere/"
    ),
    "break experiment": lambda grove: (grove.experiment_path / "meta.yaml").write_text("- no\n"),
    "remove experiment": lambda grove: shutil.rmtree(grove.experiment_path),
    "experiment to trash": lambda grove: grove.experiment_path.rename(grove.root / ".trash" / grove.experiment),
    "experiment from trash": lambda grove: (grove.root / ".trash" / grove.deleted).rename(grove.root / grove.deleted),
    "experiment to trash and back": _to_trash_and_back,
    "swap experiment": _swap_experiment,
    "remove own folder": lambda grove: shutil.rmtree(grove.run_path / ".holdall"),
    "write through another store": _log_elsewhere,
    "write keys of its own alone": _only_own_keys,
    "delete through another store": _delete_elsewhere,
    "restore through another store": _restore_elsewhere,
    "write in another process": _log_in_process,
}
