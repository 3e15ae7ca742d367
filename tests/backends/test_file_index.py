"""A search with an index finds what reading everything finds, whatever was done to the folder, by whom and when."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.backends.folders import DATASET, Grove, grow, open_scanning, strip_own
from tests.backends.index_changes import CHANGES

from holdall.backends.file import index, watch
from holdall.backends.file.watch import Watch, WatchLost
from holdall.stores import BackendStore, Metric, Param, RunTag, ViewType, open_backend_store

pytestmark = pytest.mark.exhaustive

UNSETTLED_NS = 50_000_000
QUERIES: list[tuple[str, list[str]]] = [
    ("", []),
    ("tags.colour = 'green'", ["tags.colour"]),
    ("tags.colour != 'green'", []),
    ("metrics.loss < 0.4", ["metrics.loss DESC"]),
    ("metrics.`deep/er` > 0", ["attributes.start_time"]),
    ("params.`net/depth` = '3'", ["params.lr"]),
    ("attributes.status = 'RUNNING'", ["attributes.run_name"]),
    ("dataset.digest = 'abc123'", []),
]


@pytest.fixture(autouse=True)
def quick_to_settle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files count as settled after little time, so that their stamps are relied on in tests too."""
    monkeypatch.setattr(index, "_UNSETTLED_NS", UNSETTLED_NS)


def _few_watches(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(watch, "_half_of_the_limit", lambda: 12)


def _no_watches(patch: pytest.MonkeyPatch) -> None:
    def refuse(self: object) -> None:
        raise WatchLost("not here")

    patch.setattr(Watch, "__init__", refuse)


def _never_local(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(index, "is_local_disk", lambda path: False)


MODES = {"watched": lambda patch: None, "few watches": _few_watches, "no watches": _no_watches}


@pytest.fixture
def grove(tmp_path: Path) -> Grove:
    grove = grow(tmp_path / "mlruns")
    with open_backend_store(grove.root) as store:
        store.search_runs(grove.experiment_ids)
    _settle(grove.root)
    with open_backend_store(grove.root) as store:
        store.search_runs(grove.experiment_ids)
    return grove


def _settle(root: Path) -> None:
    """Wait until no file is so new that its stamp is not relied on."""
    newest = max(path.lstat().st_ctime_ns for path in root.rglob("*") if "index" not in path.name)
    while time.time_ns() <= newest + UNSETTLED_NS:
        time.sleep(0.005)


def _answers(store: BackendStore, ids: list[str]) -> list[str]:
    return [
        repr([(run.info, sorted(run.data.tags.items()), run.data.metrics, run.data.metric_points) for run in found])
        + repr([(sorted(run.data.params.items()), run.inputs) for run in found])
        for text, order in QUERIES
        for view in (ViewType.ACTIVE_ONLY, ViewType.ALL)
        for found in (store.search_runs(ids, text, view, order_by=order),)
    ]


def _assert_right(store: BackendStore, grove: Grove) -> None:
    """Whether a store finds what reading everything finds."""
    with open_scanning(grove.root, read_only=True) as scanning:
        assert _answers(store, grove.experiment_ids) == _answers(scanning, grove.experiment_ids)


@pytest.mark.parametrize("name", CHANGES)
def test_search_after_change_while_no_store_was_open_finds_it(grove: Grove, name: str) -> None:
    CHANGES[name](grove)
    for read_only in (True, False, True):
        with open_backend_store(grove.root, read_only=read_only) as store:
            _assert_right(store, grove)


@pytest.mark.parametrize("mode", [*MODES, "watched, as MLflow made it"])
@pytest.mark.parametrize("name", CHANGES)
def test_search_after_change_behind_an_open_store_finds_it(
    grove: Grove, mode: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if mode in MODES:
        MODES[mode](monkeypatch)
    elif name != "remove own folder":
        strip_own(grove.root)
    with open_backend_store(grove.root) as store, open_backend_store(grove.root, read_only=True) as reader:
        _assert_right(store, grove)
        _assert_right(reader, grove)
        CHANGES[name](grove)
        _assert_right(store, grove)
        _assert_right(reader, grove)
        (grove.root / grove.other / grove.elsewhere / "tags" / "colour").write_text("after")
        _assert_right(store, grove)
        _assert_right(reader, grove)


@pytest.mark.parametrize("mode", [*MODES, "shared disk"])
def test_search_after_one_change_after_another_finds_each(
    tmp_path: Path, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    MODES.get(mode, _never_local)(monkeypatch)
    grove = grow(tmp_path / "mlruns")
    with open_backend_store(grove.root) as store, open_backend_store(grove.root) as other:
        for number in range(12):
            (grove.run_path / "tags" / "colour").write_text(f"{number:03}")
            _assert_right(store, grove)
            other.log_metric(grove.victim, Metric("loss", float(number), number, 100 + number))
            _assert_right(store, grove)
            store.log_param(grove.victim, Param(f"p/{number}", "1"))
            _assert_right(other, grove)
            run_id = (store, other)[number % 2].create_run(grove.experiment).info.run_id
            (store, other)[number % 3 % 2].set_tag(run_id, RunTag("colour", "green"))
            _assert_right(store, grove)
            shutil.rmtree(grove.experiment_path / run_id)
            _assert_right(other, grove)


def test_search_after_more_changes_than_the_kernel_keeps_finds_all(grove: Grove) -> None:
    most = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    with open_backend_store(grove.root) as store:
        _assert_right(store, grove)
        paths = [grove.run_path / "tags" / "colour", grove.run_path / "params" / "lr"]
        for _ in range(most // 2 + 100):
            for path in paths:
                os.utime(path)
        (grove.root / grove.other / grove.elsewhere / "tags" / "colour").write_text("unseen")
        _assert_right(store, grove)
        (grove.root / grove.other / grove.elsewhere / "tags" / "colour").write_text("seen")
        _assert_right(store, grove)


def test_search_run_that_mlflow_made_and_a_dead_writer_left_half_ours_finds_keys_of_its_own(grove: Grove) -> None:
    """A folder of ours without a journal: nothing in it is watched, and keys that go there alone come unseen."""
    strip_own(grove.root)
    (grove.run_path / ".holdall").mkdir()
    with open_backend_store(grove.root) as store:
        _assert_right(store, grove)
        CHANGES["write keys of its own alone"](grove)
        _assert_right(store, grove)


@pytest.mark.parametrize("kind", ["datasets", "inputs"])
def test_search_where_dataset_comes_after_the_link_to_it_finds_it(grove: Grove, kind: str) -> None:
    (place,) = ((grove.experiment_path if kind == "datasets" else grove.run_path) / kind).iterdir()
    aside = grove.root / ".aside"
    place.rename(aside)
    with open_backend_store(grove.root) as store:
        _assert_right(store, grove)
        aside.rename(place)
        _assert_right(store, grove)
        place.parent.rename(aside)
        _assert_right(store, grove)
        aside.rename(place.parent)
        _assert_right(store, grove)
        assert len(store.search_runs([grove.experiment], f"dataset.name = '{DATASET.dataset.name}'")) == 2


FORK = """
import os, sys
from pathlib import Path
from holdall.stores import RunTag, open_backend_store

root, experiment, run = sys.argv[1:]
tag = Path(root, experiment, run, "tags", "colour")


def search(value):
    return len(store.search_runs([experiment], f"tags.colour = '{value}'"))


with open_backend_store(root) as store:
    assert search("green") == 2
    back, forth = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            assert search("green") == 2
            for number in range(20):
                store.set_tag(run, RunTag("colour", f"c{number}"))
                assert search(f"c{number}") == 1
                tag.write_text(f"w{number}")
                assert search(f"w{number}") == 1, number
        except BaseException as error:
            os.write(2, repr(error).encode())
            os._exit(1)
        os._exit(0)
    for number in range(20):
        Path(root, experiment, run, "params", f"n{number}").write_text("1")
        assert len(store.search_runs([experiment], f"params.n{number} = '1'")) == 1
    assert os.waitpid(pid, 0)[1] == 0
    assert search("w19") == 1
"""


def test_fork_after_a_search_lets_both_sides_find_what_either_writes(grove: Grove) -> None:
    command = [sys.executable, "-c", FORK, str(grove.root), grove.experiment, grove.victim]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    with open_backend_store(grove.root) as store:
        _assert_right(store, grove)
