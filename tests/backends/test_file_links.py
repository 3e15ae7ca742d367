"""Links and other traps planted in a folder lead neither readers nor writers out of it."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import zlib
from contextlib import closing, suppress
from pathlib import Path

import pytest
from tests.backends.folders import open_scanning, read_everything
from tests.backends.hostile import (
    EXPERIMENT_CALLS,
    KEY_CALLS,
    RUN_CALLS,
    SECRET,
    SECRET_VALUE,
    Surroundings,
    surround,
)

from holdall.backends.file import reading
from holdall.backends.file.index_place import VERSION
from holdall.backends.file.journal import Changes
from holdall.backends.file.layout import INDEX_PREFIX, ROOT_LOCK
from holdall.backends.file.locks import Locks
from holdall.stores import BackendStore, HoldallError, ViewType, open_backend_store

pytestmark = pytest.mark.exhaustive

PLACES = [
    "{e}",
    "{e}/meta.yaml",
    "{e}/tags",
    "{e}/tags/kind",
    "{e}/datasets",
    "{e}/datasets/{dataset}",
    "{e}/datasets/{dataset}/meta.yaml",
    "{e}/.holdall",
    "{e}/.holdall/locks",
    "{e}/{r}",
    "{e}/{r}/meta.yaml",
    "{e}/{r}/metrics",
    "{e}/{r}/metrics/loss",
    "{e}/{r}/metrics/deep",
    "{e}/{r}/metrics/deep/er",
    "{e}/{r}/params",
    "{e}/{r}/params/lr",
    "{e}/{r}/params/net",
    "{e}/{r}/tags",
    "{e}/{r}/tags/colour",
    "{e}/{r}/inputs",
    "{e}/{r}/inputs/{input}",
    "{e}/{r}/inputs/{input}/meta.yaml",
    "{e}/{r}/artifacts",
    "{e}/{r}/.holdall",
    "{e}/{r}/.holdall/journal",
    ".trash",
    ".trash/{d}",
    ".trash/{d}/meta.yaml",
]


@pytest.fixture
def around(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Surroundings:
    monkeypatch.setattr(Locks.__init__, "__defaults__", (0.3,))  # a link in the place of a lock is waited for
    monkeypatch.setattr(reading, "_PATIENCE", 0.3)
    return surround(tmp_path)


def _path(around: Surroundings, place: str) -> str:
    grove = around.grove
    (dataset,) = (path.name for path in (grove.experiment_path / "datasets").iterdir())
    (used,) = (path.name for path in (grove.run_path / "inputs").iterdir())
    return place.format(e=grove.experiment, r=grove.victim, d=grove.deleted, dataset=dataset, input=used)


def _plant(around: Surroundings, place: str) -> None:
    """Put a link to its counterpart outside in the place of something."""
    inside, outside = around.grove.root / _path(around, place), around.outside / _path(around, place)
    assert outside.exists()
    if inside.is_dir():
        shutil.rmtree(inside)
    else:
        inside.unlink()
    inside.symlink_to(outside)


def _read(store: BackendStore, around: Surroundings) -> str:
    """Everything that the store tells, in every way."""
    grove = around.grove
    told: list[object] = [read_everything(store, grove.experiment_ids), store.search_experiments(ViewType.ALL)]
    for run_id in (grove.victim, grove.neighbour):
        for ask in (store.get_run, lambda run_id: store.get_metric_history(run_id, "loss")):
            with suppress(HoldallError):
                told.append(ask(run_id))
    for experiment_id in grove.experiment_ids:
        with suppress(HoldallError):
            told.append(store.get_experiment(experiment_id))
    return repr(told)


def _write(store: BackendStore, around: Surroundings) -> None:
    grove = around.grove
    for calls, text in ((RUN_CALLS, grove.victim), (KEY_CALLS, "loss"), (KEY_CALLS, "deep/er"), (KEY_CALLS, "lr")):
        for call in calls.values():
            with suppress(HoldallError):
                call(store, grove, text)
    for call in EXPERIMENT_CALLS.values():
        for experiment_id in (grove.experiment, grove.deleted, grove.other):
            with suppress(HoldallError):
                call(store, grove, experiment_id)


@pytest.mark.parametrize("place", PLACES)
def test_read_folder_with_planted_link_never_follows_it(around: Surroundings, place: str) -> None:
    _plant(around, place)
    with around.undisturbed():
        for read_only in (True, False):
            with open_backend_store(around.grove.root, read_only=read_only) as store:
                told = _read(store, around)
                assert SECRET not in told
                assert str(SECRET_VALUE) not in told
            with open_scanning(around.grove.root, read_only=read_only) as store:
                assert SECRET not in _read(store, around)


@pytest.mark.parametrize("place", PLACES)
def test_inspect_folder_with_planted_link_never_follows_it(around: Surroundings, place: str) -> None:
    _plant(around, place)
    with around.undisturbed(), open_backend_store(around.grove.root, read_only=True) as store:
        assert SECRET not in repr(store.find_problems())


@pytest.mark.parametrize("place", PLACES)
def test_write_to_folder_with_planted_link_never_follows_it(around: Surroundings, place: str) -> None:
    _plant(around, place)
    with around.undisturbed(), open_backend_store(around.grove.root) as store:
        _write(store, around)
        assert SECRET not in _read(store, around)


@pytest.mark.parametrize(
    "name", [f"{INDEX_PREFIX}-{VERSION}.db{suffix}" for suffix in ("", "-wal", "-shm", "-journal")]
)
@pytest.mark.parametrize("exists", [True, False])
def test_search_where_the_index_is_a_link_writes_to_nothing_outside(
    around: Surroundings, name: str, exists: bool
) -> None:
    target = around.top / "innocent.db"
    if exists:
        with closing(sqlite3.connect(target)) as database:
            database.execute("CREATE TABLE innocent (a)")
            database.commit()
    for path in around.grove.root.glob(f"{INDEX_PREFIX}*"):
        path.unlink()
    (around.grove.root / name).symlink_to(target)
    with around.undisturbed(), open_backend_store(around.grove.root) as store:
        found = store.search_runs(around.grove.experiment_ids)
        assert len(found) == 3
        assert len(store.search_runs(around.grove.experiment_ids, "tags.colour = 'green'")) == 3


def test_write_where_the_lock_of_the_root_is_a_link_waits_and_leaves_it(around: Surroundings) -> None:
    (around.grove.root / ROOT_LOCK).symlink_to(around.top / "secret.txt")
    with (
        around.undisturbed(),
        open_backend_store(around.grove.root) as store,
        pytest.raises(HoldallError, match="locked"),
    ):
        store.create_experiment("new")


@pytest.mark.parametrize("kind", ["params", "tags", "metrics", "inputs"])
@pytest.mark.parametrize(
    "key", ["../../../../outside/planted", "../../../0/planted", "{top}/planted", "a/../../../../x", "a\0"]
)
def test_recover_planted_journal_whose_keys_lead_out_writes_nothing_there(
    around: Surroundings, kind: str, key: str
) -> None:
    """A folder from elsewhere brings its journals; their checksum proves nothing."""
    grove, path = around.grove, key.replace("{top}", str(around.top))
    changes = {
        "params": Changes(params={path: "1", "b": "2"}),
        "tags": Changes(tags={path: "1", "b": "2"}),
        "metrics": Changes(metrics={path: ["1 2.0 3"], "b": ["1 2.0 3"]}),
        "inputs": Changes(inputs={path: {"source_type": "DATASET"}, "b": {}}),
    }[kind]
    others = sorted(path for path in grove.root.rglob("*") if grove.victim not in path.parts)
    with (grove.run_path / ".holdall" / "journal").open("ab") as journal:
        journal.write(changes.encode())
    shown = []
    with around.undisturbed():
        with open_backend_store(grove.root, read_only=True) as store, suppress(HoldallError):
            shown.append(store.get_run(grove.victim).data)
        with open_backend_store(grove.root) as store, suppress(HoldallError):
            KEY_CALLS["set_tag"](store, grove, "colour")
        with open_backend_store(grove.root) as store:
            with suppress(HoldallError):
                shown.append(store.get_run(grove.victim).data)
            assert len(store.search_runs(grove.experiment_ids)) >= 2
    assert [data for data in shown if path in {**data.params, **data.tags, **data.metrics}] == []
    after = sorted(path for path in grove.root.rglob("*") if grove.victim not in path.parts)
    assert [path for path in after if not any(part.startswith(".holdall") for part in path.parts)] == [
        path for path in others if not any(part.startswith(".holdall") for part in path.parts)
    ]


SHAPES = [
    "5",
    "null",
    "[]",
    "[1,2,3,4,5]",
    "{}",
    '[{},{"p":5},{},{},{}]',
    '[{},{},{},{"m":"x"},{}]',
    '[{},{},{},{"m":[5]},{}]',
    '[{"status":"x"},{},{},{},{}]',
    '[{"start_time":"x","name":5},{},{},{},{}]',
    '[{},{},{},{},{"i":5}]',
    '[{},{},{},{"m":["no point"]},{}]',
    '[{},{"p":"\\ud800"},{},{},{}]',
    "[" * 20000,
]


@pytest.mark.parametrize("place", ["run", "experiment"])
@pytest.mark.parametrize("shape", SHAPES, ids=range(len(SHAPES)))
def test_read_planted_journal_of_another_shape_fails_nobody_else(around: Surroundings, shape: str, place: str) -> None:
    grove = around.grove
    text = shape.encode()
    folder = grove.run_path if place == "run" else grove.experiment_path
    with (folder / ".holdall" / "journal").open("ab") as journal:
        journal.write(b"+%08x %s\n" % (zlib.crc32(text), text))
    for read_only in (True, False):
        with open_backend_store(grove.root, read_only=read_only) as store:
            assert grove.elsewhere in [run.info.run_id for run in store.search_runs(grove.experiment_ids)]
            assert store.get_run(grove.elsewhere).data.params["lr"] == "0.1"
            assert len(store.search_experiments(ViewType.ALL)) >= 3
            store.find_problems()
            with suppress(HoldallError):
                store.get_run(grove.victim)
    with open_backend_store(grove.root) as store:
        for call in (*RUN_CALLS.values(), EXPERIMENT_CALLS["set_experiment_tag"]):
            with suppress(HoldallError):
                call(store, grove, grove.victim if call in RUN_CALLS.values() else grove.experiment)
        store.create_experiment("new")


TRANSITIONS = [
    "active >=x",
    "active >=",
    "active ",
    "deleted",
    "gone x",
    "deleted x y",
    "active >=99999999999999999999",
]


@pytest.mark.parametrize("transition", TRANSITIONS)
def test_read_planted_transition_fails_nobody_else(around: Surroundings, transition: str) -> None:
    grove = around.grove
    with open_backend_store(grove.root) as store:
        store.delete_run(grove.victim)
    with (grove.experiment_path / "meta.yaml").open("a") as meta:
        meta.write(f"holdall_transition: '{transition}'\n")
    for read_only in (True, False):
        with open_backend_store(grove.root, read_only=read_only) as store:
            found = store.search_runs(grove.experiment_ids, run_view_type=ViewType.ALL)
            assert grove.elsewhere in [run.info.run_id for run in found]
            store.find_problems()
    with open_backend_store(grove.root) as store, suppress(HoldallError):
        store.delete_experiment(grove.experiment)


# Traps that must end: each in a process of its own, which is given up after a while

ACT = """
import resource, sys
from contextlib import suppress
from holdall.stores import HoldallError, Metric, ViewType, open_backend_store

resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
root, experiment, victim, elsewhere = sys.argv[1:]
with open_backend_store(root) as store:
    for _ in range(2):
        found = store.search_runs([experiment, "0"], run_view_type=ViewType.ALL)
    with suppress(HoldallError):
        store.get_run(victim)
    with suppress(HoldallError):
        store.log_metric(victim, Metric("loss", 1.0, 1, 9))
    with suppress(HoldallError):
        store.log_metric(victim, Metric("deep/er", 1.0, 1, 9))
    assert store.get_run(elsewhere).info.run_id == elsewhere
    store.find_problems()
"""


def _laugh(path: Path, field: str) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]\n"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)]
    kept = [line for line in path.read_text().splitlines(True) if not line.startswith(f"{field}:")]
    path.write_text("".join([*kept, *lines, f"{field}: *a11\n"]))


def _nest(top: Path, depth: int) -> None:
    """Folders so deep that no path names the last."""
    file = os.open(top, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("d", dir_fd=file)
        deeper = os.open("d", os.O_RDONLY, dir_fd=file)
        os.close(file)
        file = deeper
    os.close(file)


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


TRAPS = {
    "laughs in run_id": lambda run: _laugh(run / "meta.yaml", "run_id"),
    "laughs in experiment_id of a run": lambda run: _laugh(run / "meta.yaml", "experiment_id"),
    "laughs in experiment_id": lambda run: _laugh(run.parent / "meta.yaml", "experiment_id"),
    "laughs in name": lambda run: _laugh(run.parent / "meta.yaml", "name"),
    "laughs in status": lambda run: _laugh(run / "meta.yaml", "status"),
    "metrics 300 deep": lambda run: _nest(run / "metrics", 300),
    "params 1500 deep": lambda run: _nest(run / "params", 1500),
    "metric is a pipe": lambda run: _pipe(run / "metrics" / "loss"),
    "journal is a pipe": lambda run: _pipe(run / ".holdall" / "journal"),
    "experiment's meta.yaml is a pipe": lambda run: _pipe(run.parent / "meta.yaml"),
}


@pytest.mark.parametrize("trap", TRAPS)
def test_work_on_folder_with_trap_comes_to_an_end(around: Surroundings, trap: str) -> None:
    grove = around.grove
    TRAPS[trap](grove.run_path)
    command = [sys.executable, "-c", ACT, grove.root, grove.experiment, grove.victim, grove.elsewhere]
    try:
        done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=30, check=False)
    except subprocess.TimeoutExpired:
        pytest.fail("it goes on for ever")
    finally:
        subprocess.run(["rm", "-rf", str(grove.root)], check=False)  # too deep for Python's own
    assert done.returncode == 0, done.stderr[-2000:]
