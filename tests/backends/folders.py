"""Small folders in MLflow's layout for tests: built, aged, looked at byte by byte, read as a user without rights."""

from __future__ import annotations

import ctypes
import hashlib
import os
import re
import shutil
import stat
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar

import yaml

from holdall.backends.file import FileBackendStore
from holdall.stores import (
    BackendStore,
    Dataset,
    DatasetInput,
    ExperimentTag,
    Metric,
    Param,
    Run,
    RunTag,
    StoreURI,
    ViewType,
    open_backend_store,
)

__all__ = [
    "DATASET",
    "Entry",
    "Grove",
    "age",
    "as_ordinary_user",
    "entries",
    "grow",
    "open_scanning",
    "read_everything",
    "strip_own",
    "torn_files",
]

T = TypeVar("T")

DATASET = DatasetInput(Dataset("data", "abc123", "local", '{"uri": "/data"}'))
_AGE = 100
_POINT = re.compile(rb"-?[0-9]+ [^ \n]+ -?[0-9]+")


@dataclass(frozen=True, slots=True)
class Grove:
    """A folder with a few experiments and runs.

    Attributes:
        root: The folder.
        experiment: Id of the experiment of `victim` and `neighbour`.
        other: Id of another one, with the run `elsewhere`.
        deleted: Id of a deleted one.
        victim: Id of the run that a test breaks.
        neighbour: Id of the run beside it.
        elsewhere: Id of the run in the other experiment.
    """

    root: Path
    experiment: str
    other: str
    deleted: str
    victim: str
    neighbour: str
    elsewhere: str

    @property
    def experiment_path(self) -> Path:
        """The folder of `experiment`."""
        return self.root / self.experiment

    @property
    def run_path(self) -> Path:
        """The folder of `victim`."""
        return self.root / self.experiment / self.victim

    @property
    def experiment_ids(self) -> list[str]:
        """All experiments."""
        return ["0", self.experiment, self.other, self.deleted]


def grow(root: Path) -> Grove:
    """Build a folder."""
    with open_backend_store(root) as store:
        experiment = store.create_experiment("forest", tags=[ExperimentTag("kind", "trees")])
        other = store.create_experiment("meadow")
        deleted = store.create_experiment("felled")
        victim, neighbour = (_planted(store, experiment, name) for name in ("victim", "neighbour"))
        elsewhere = _planted(store, other, "elsewhere")
        _planted(store, deleted, "timber")
        store.delete_experiment(deleted)
    age(root)
    return Grove(root, experiment, other, deleted, victim, neighbour, elsewhere)


def _planted(store: BackendStore, experiment_id: str, name: str) -> str:
    run_id = store.create_run(experiment_id, start_time=1000, run_name=name).info.run_id
    store.log_batch(
        run_id,
        [Metric("loss", 1 / (step + 1), 1000 + step, step) for step in range(3)] + [Metric("deep/er", 0.5, 1)],
        [Param("lr", "0.1"), Param("net/depth", "3")],
        [RunTag("colour", "green")],
    )
    store.log_inputs(run_id, [DATASET])
    return run_id


def age(root: Path) -> None:
    """Set the times of everything back, so that nothing looks as if it were being written this moment."""
    for path in (root, *root.rglob("*")):
        status = path.lstat()
        times = status.st_atime_ns, status.st_mtime_ns - _AGE * 10**9
        os.utime(path, ns=times, follow_symlinks=False)


def strip_own(root: Path) -> None:
    """Remove what holdall adds to MLflow's layout, as if MLflow had written everything."""
    for path in [*root.rglob(".holdall*")]:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


class Entry(NamedTuple):
    """Something on disk, without following links; `content` is a digest of a file's bytes, or where a link leads."""

    mode: int
    modified: int
    inode: int
    content: str


def entries(top: Path, *, but: Iterable[Path] = (), own: bool = False) -> dict[str, Entry]:
    """Everything below a folder, by path from it.

    Args:
        top: The folder.
        but: Folders to leave out.
        own: Whether holdall's own files count: its index, its locks and who holds them.
    """
    found: dict[str, Entry] = {}
    left_out = {str(path) for path in but}
    for folder, folders, files in os.walk(top):
        folders[:] = [name for name in folders if f"{folder}/{name}" not in left_out]
        for name in (*folders, *files):
            path = Path(folder, name)
            parts = path.relative_to(top).parts
            if own or not any(part.startswith(".holdall") for part in parts):
                found["/".join(parts)] = _entry(path)
    return found


def _entry(path: Path) -> Entry:
    status = path.lstat()
    mode = status.st_mode
    content = ""
    if stat.S_ISLNK(mode):
        content = os.readlink(path)
    elif stat.S_ISREG(mode):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
    # A folder's time changes with what holdall keeps in it; what else is in it is listed by itself.
    modified = 0 if stat.S_ISDIR(mode) else status.st_mtime_ns
    return Entry(mode, modified, status.st_ino, content)


def torn_files(root: Path) -> list[str]:
    """What MLflow would not read as it was meant: lines cut short, text that is no YAML; and what waits to be done."""
    wrong = [f"{path}: has no text" for path in root.glob("**/params/**/*") if path.is_file() and not _is_text(path)]
    for path in [*root.glob("**/metrics/**/*"), *root.glob("**/.holdall/metrics/*")]:
        lines = path.read_bytes().split(b"\n") if path.is_file() else [b""]
        points = lines[1:-1] if ".holdall" in path.parts else lines[:-1]
        if lines[-1] or (path.is_file() and not points) or not all(map(_POINT.fullmatch, points)):
            wrong.append(f"{path}: torn")
    for path in root.glob("**/meta.yaml"):
        fields: object = yaml.safe_load(path.read_bytes())
        if not isinstance(fields, dict) or not fields:
            wrong.append(f"{path}: no fields")
    journals = [
        path for path in root.glob("**/.holdall/journal") if path.read_bytes()[-2:] not in (b"=\n", b".\n", b"")
    ]
    wrong += [f"{path}: something is pending" for path in journals]
    return wrong


def _is_text(path: Path) -> bool:
    try:
        path.read_text("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def open_scanning(root: Path, *, read_only: bool = False) -> FileBackendStore:
    """Open a folder without an index: what every other way of searching is measured against."""
    return FileBackendStore(StoreURI.parse(root), read_only=read_only, use_index=False)


def read_everything(store: BackendStore, experiment_ids: Iterable[str]) -> dict[str, object]:
    """All that a store shows of some experiments, by what it is; a search is compared with reading run by run."""
    ids = list(experiment_ids)
    found: dict[str, object] = {}
    for experiment in store.search_experiments(ViewType.ALL):
        if experiment.experiment_id in ids:
            found[f"experiment {experiment.experiment_id}"] = experiment
    for run in store.search_runs(ids, run_view_type=ViewType.ALL, max_results=50000):
        run_id = run.info.run_id
        found[f"run {run_id}"] = run
        assert _comparable(store.get_run(run_id)) == _comparable(run)
        for key in run.data.metrics:
            found[f"history {run_id} {key}"] = list(store.get_metric_history(run_id, key))
    return found


def _comparable(run: Run) -> str:
    return repr((run.info, sorted(run.data.params.items()), sorted(run.data.tags.items()))) + repr(
        (sorted(run.data.metrics.items()), sorted(run.data.metric_points.items()), run.inputs)
    )


# A user without rights


class _Header(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]


_Sets = ctypes.c_uint32 * 6
_VERSION = 0x20080522


def _drop_rights() -> None:
    """Take from this thread what lets root pass over permissions; it goes on as root, whose files it may be refused."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.capset(ctypes.byref(_Header(_VERSION, 0)), ctypes.byref(_Sets())):
        raise OSError(ctypes.get_errno(), "capset")


def as_ordinary_user(work: Callable[[], T]) -> T:
    """Do something in a thread of its own, as a user to whom permissions apply."""
    with ThreadPoolExecutor(1, initializer=_drop_rights) as pool:
        return pool.submit(work).result()
