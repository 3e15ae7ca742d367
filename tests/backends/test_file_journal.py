"""A writer dies at each step that it takes: all of its call is there or nothing, for every reader and for MLflow."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from tests.backends.dying import Death, mortal
from tests.backends.folders import Grove, grow, open_scanning, torn_files

from holdall.backends.file.journal import Changes
from holdall.stores import (
    BackendStore,
    Dataset,
    DatasetInput,
    ExperimentTag,
    HoldallError,
    Metric,
    Param,
    Run,
    RunTag,
    ViewType,
    open_backend_store,
)

pytestmark = pytest.mark.exhaustive

NEXT = "next"
"""Tag of whatever is written next; views leave it out."""

Call = Callable[[BackendStore, Grove], object]


def _log_batch(store: BackendStore, grove: Grove) -> None:
    metrics = [Metric("loss", 0.01, 2000 + step, 10 + step) for step in range(3)]
    metrics += [Metric("new", 1.0, 1), Metric("new/nested", 2.0, 1), Metric("deep", 3.0, 1)]
    params = [Param("lr", "0.1"), Param("lr/decay", "0.5"), Param("other", "ü")]
    store.log_batch(grove.victim, metrics, params, [RunTag("colour", "red"), RunTag("mlflow.runName", "renamed")])


def _log_much(store: BackendStore, grove: Grove) -> None:
    """More than a journal keeps."""
    store.log_batch(grove.victim, [Metric("loss", 1 / 3, 5000, step) for step in range(300)], [Param("p", "1" * 4000)])


def _log_unended(store: BackendStore, grove: Grove) -> None:
    """Behind a line of another program that has no end yet, and begins like ours."""
    store.log_batch(grove.victim, [Metric("unended", 0.5, 1000, 12), Metric("loss", 0.5, 9000, 9)])


def _log_inputs(store: BackendStore, grove: Grove) -> None:
    store.log_inputs(grove.victim, [DatasetInput(Dataset(name, "d", "local", "s")) for name in ("one", "two")])


CALLS: dict[str, Call] = {
    "log_batch": _log_batch,
    "log_much": _log_much,
    "log_unended": _log_unended,
    "log_metric": lambda store, grove: store.log_metric(grove.victim, Metric("loss", 0.01, 2000, 10)),
    "log_param": lambda store, grove: store.log_param(grove.victim, Param("x/y", "1")),
    "set_tag": lambda store, grove: store.set_tag(grove.victim, RunTag("colour", "red")),
    "set_tag of name": lambda store, grove: store.set_tag(grove.victim, RunTag("mlflow.runName", "renamed")),
    "delete_tag": lambda store, grove: store.delete_tag(grove.victim, "colour"),
    "update_run_info": lambda store, grove: store.update_run_info(grove.victim, "FINISHED", 5, "renamed"),
    "log_inputs": _log_inputs,
    "delete_run": lambda store, grove: store.delete_run(grove.victim),
    "restore_run": lambda store, grove: store.restore_run(grove.neighbour),
    "create_run": lambda store, grove: store.create_run(
        grove.experiment, "me", 5, [RunTag("a", "1"), RunTag("a/b", "2")], "born"
    ),
    "create_experiment": lambda store, grove: store.create_experiment("grown", "/srv/a", [ExperimentTag("t", "1")]),
    "rename_experiment": lambda store, grove: store.rename_experiment(grove.experiment, "wood"),
    "set_experiment_tag": lambda store, grove: store.set_experiment_tag(grove.experiment, ExperimentTag("t/u", "1")),
    "delete_experiment_tag": lambda store, grove: store.delete_experiment_tag(grove.experiment, "kind"),
    "delete_experiment": lambda store, grove: store.delete_experiment(grove.experiment),
    "restore_experiment": lambda store, grove: store.restore_experiment(grove.deleted),
}


class _Views(NamedTuple):
    """What four ways of reading show: nothing here depends on ids or times that a call makes up."""

    read: object
    searched: object
    scanned: object


def _views(root: Path, *, read_only: bool) -> _Views:
    with open_backend_store(root, read_only=read_only) as store:
        experiments = store.search_experiments(ViewType.ALL)
        ids = [experiment.experiment_id for experiment in experiments]
        names = {found.experiment_id: (found.name, found.lifecycle_stage, _labels(found.tags)) for found in experiments}
        searched = store.search_runs(ids, run_view_type=ViewType.ALL)
        read = [
            (
                names[run.info.experiment_id],
                _facts(store.get_run(run.info.run_id)),
                [(key, list(store.get_metric_history(run.info.run_id, key))) for key in sorted(run.data.metrics)],
            )
            for run in searched
        ]
        found = [_facts(run) for run in searched]
    with open_scanning(root, read_only=read_only) as store:
        scanned = [_facts(run) for run in store.search_runs(ids, run_view_type=ViewType.ALL)]
    return _Views(
        sorted([sorted(map(repr, names.values())), *map(repr, read)], key=repr), sorted(found), sorted(scanned)
    )


def _labels(tags: dict[str, str]) -> list[tuple[str, str]]:
    return sorted((key, value) for key, value in tags.items() if key != NEXT)


def _facts(run: Run) -> str:
    info, data = run.info, run.data
    return repr(
        (
            (info.run_name, info.user_id, info.status, info.start_time, info.end_time, info.lifecycle_stage),
            sorted(data.params.items()),
            _labels(data.tags),
            sorted(data.metrics.items()),
            sorted(data.metric_points.items()),
            sorted(map(repr, run.inputs.dataset_inputs)),
        )
    )


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Grove]:
    """A folder to begin with, and where it lies while it is worked on."""
    folder = tmp_path_factory.mktemp("journal")
    grove = grow(folder / "mlruns")
    with open_backend_store(grove.root) as store:
        store.delete_run(grove.neighbour)
    shutil.copytree(grove.root, folder / "template")
    return folder / "template", grove


def _fresh(template: tuple[Path, Grove], name: str = "") -> Grove:
    """The folder as it was, ready for a call."""
    source, grove = template
    shutil.rmtree(grove.root, ignore_errors=True)
    shutil.copytree(source, grove.root)
    if name == "log_unended":
        _unended(grove).write_bytes(b"900 0.5 0\n1000 0.5 1")
    return grove


def _unended(grove: Grove) -> Path:
    return grove.run_path / "metrics" / "unended"


def _perform(call: Call, grove: Grove, last: int | None = None) -> int:
    """Make a call that dies after so many steps; how many it takes."""
    with open_backend_store(grove.root) as store:
        store.set_tag(grove.elsewhere, RunTag("colour", "green"))  # it says who it is before anything counts
        with mortal(last) as system, suppress(Death):
            call(store, grove)
    return system.steps


def _write_next(grove: Grove) -> None:
    """Something else is written wherever the call was at work, as far as what is there now takes it."""
    with open_backend_store(grove.root) as store:
        for experiment in store.search_experiments(ViewType.ALL):
            with suppress(HoldallError):
                store.set_experiment_tag(experiment.experiment_id, ExperimentTag(NEXT, "1"))
                store.delete_experiment_tag(experiment.experiment_id, NEXT)
        for run_id in (grove.victim, grove.neighbour):
            with suppress(HoldallError):
                store.set_tag(run_id, RunTag(NEXT, "1"))
                store.delete_tag(run_id, NEXT)


def _misplaced(root: Path) -> list[str]:
    """Experiments that are not where their stage says, and runs whose stage differs from what holdall reads."""
    wrong = []
    with open_scanning(root, read_only=True) as store:
        for experiment in store.search_experiments(ViewType.ALL):
            place = root / ("" if experiment.lifecycle_stage == "active" else ".trash") / experiment.experiment_id
            if _stage(place) != experiment.lifecycle_stage:
                wrong.append(f"{experiment.name} is not in {place}, or says something else")
            runs = [run.info for run in store.search_runs([experiment.experiment_id], run_view_type=ViewType.ALL)]
            wrong += [run.run_name for run in runs if _stage(place / run.run_id) != run.lifecycle_stage]
    return wrong


def _stage(folder: Path) -> object:
    path = folder / "meta.yaml"
    return yaml.safe_load(path.read_bytes())["lifecycle_stage"] if path.exists() else "nowhere"


@pytest.mark.parametrize("name", CALLS)
def test_die_at_each_step_of_a_call_leaves_all_of_it_or_nothing(template: tuple[Path, Grove], name: str) -> None:
    before = _views(_fresh(template, name).root, read_only=True)
    grove = _fresh(template, name)
    steps = _perform(CALLS[name], grove)
    after = _views(grove.root, read_only=True)
    assert steps > 0
    assert before != after
    outcomes = []
    for last in range(steps):
        grove = _fresh(template, name)
        _perform(CALLS[name], grove, last)
        seen = _views(grove.root, read_only=True)
        where = f"{name} died after {last} of {steps} steps"
        assert seen in (before, after), where
        assert _views(grove.root, read_only=False) == seen, where
        _write_next(grove)
        assert _views(grove.root, read_only=True) == seen, where
        if seen == before and name == "log_unended":
            _unended(grove).unlink()  # as the other program left it
        assert torn_files(grove.root) == [], where
        assert _misplaced(grove.root) == [], where
        outcomes.append(seen == after)
    assert outcomes == sorted(outcomes), "what was done was undone by going on"
    assert not outcomes[0]


@pytest.mark.parametrize("name", ["log_batch", "delete_experiment", "restore_experiment"])
def test_die_again_while_finishing_what_was_begun_leaves_it_done(template: tuple[Path, Grove], name: str) -> None:
    grove = _fresh(template, name)
    steps = _perform(CALLS[name], grove)
    after = _views(grove.root, read_only=True)
    begun = 0
    for last in range(2, steps, max(1, steps // 4)):
        _perform(CALLS[name], _fresh(template, name), last)
        if _views(grove.root, read_only=True) != after:
            continue
        begun += 1
        for second in range(0, 1000, 3):
            _perform(CALLS[name], _fresh(template, name), last)
            with mortal(second) as system, suppress(Death):
                _write_next(grove)
            seen = _views(grove.root, read_only=True)
            if system.steps <= second:
                break
            assert seen == after, f"{name} died after {last} and {second} steps"
            if second % 9 == 0:
                _write_next(grove)
                assert torn_files(grove.root) == []
                assert _misplaced(grove.root) == []
    assert begun > 1


def test_die_at_each_step_of_making_a_store_leaves_one_that_can_be_made(tmp_path: Path) -> None:
    root = tmp_path / "mlruns"
    with mortal() as system:
        open_backend_store(root).close()
    for last in range(system.steps):
        shutil.rmtree(root)
        with mortal(last), suppress(Death):
            open_backend_store(root).close()
        with open_backend_store(root) as store:
            assert [experiment.name for experiment in store.search_experiments(ViewType.ALL)] == ["Default"]
            assert store.create_run("0").info.experiment_id == "0"
            assert store.find_problems() == []
        assert (root / ".trash").is_dir()


def test_fail_to_write_a_file_after_the_call_was_noted_leaves_all_or_nothing(
    template: tuple[Path, Grove],
) -> None:
    """A file that takes no more lines must not keep the run from everything that comes later."""
    grove = _fresh(template)
    (grove.run_path / "metrics" / "loss").unlink()
    (grove.run_path / "metrics" / "loss").symlink_to(grove.run_path / "metrics" / "deep" / "er")
    with open_backend_store(grove.root) as store:
        with pytest.raises(HoldallError):
            store.log_batch(grove.victim, [Metric("loss", 1.0, 1, 99)], [Param("refused", "1")])
        assert "refused" not in store.get_run(grove.victim).data.params
        store.set_tag(grove.victim, RunTag("later", "1"))
        assert store.get_run(grove.victim).data.tags["later"] == "1"


LINES = ["2000 0.25 10", "2001 -inf 11"]


def _leave_pending(grove: Grove, appended: bytes, key: str = "loss") -> None:
    """What a writer leaves that died while it appended to one metric file."""
    changes = Changes(params={"pending": "1"}, metrics={key: LINES})
    with (grove.run_path / ".holdall" / "journal").open("ab") as journal:
        journal.write(changes.encode())
    with (grove.run_path / "metrics" / key).open("ab") as file:
        file.write(appended)


def test_read_metric_file_torn_at_each_byte_shows_each_pending_point_once(template: tuple[Path, Grove]) -> None:
    whole = "".join(f"{line}\n" for line in LINES).encode()
    points = [Metric("loss", 0.25, 2000, 10), Metric("loss", float("-inf"), 2001, 11)]
    for size in range(len(whole) + 1):
        grove = _fresh(template)
        _leave_pending(grove, whole[:size])
        for read_only in (True, False):
            with open_scanning(grove.root, read_only=read_only) as store:
                assert store.get_metric_history(grove.victim, "loss")[3:] == points, size
                data = store.get_run(grove.victim).data
                assert (data.metrics["loss"], data.params["pending"]) == (float("-inf"), "1")
                assert store.find_problems() == []
        with open_scanning(grove.root) as store:
            store.set_tag(grove.victim, RunTag(NEXT, "1"))
        assert (grove.run_path / "metrics" / "loss").read_bytes().endswith(b"1002 0.3333333333333333 2\n" + whole), size
        assert torn_files(grove.root) == []


def test_read_journal_torn_at_each_byte_shows_nothing_of_it(template: tuple[Path, Grove]) -> None:
    grove = _fresh(template)
    journal = grove.run_path / ".holdall" / "journal"
    before, line = journal.read_bytes(), Changes(params={"pending": "1", "also": "2"}).encode()
    for size in range(len(line)):
        journal.write_bytes(before + line[:size])
        with open_scanning(grove.root, read_only=True) as store:
            assert "pending" not in store.get_run(grove.victim).data.params, size
    with open_scanning(grove.root) as store:
        store.set_tag(grove.victim, RunTag(NEXT, "1"))
        assert store.get_run(grove.victim).data.params == {"lr": "0.1", "net/depth": "3"}
    assert torn_files(grove.root) == []


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_log_behind_line_of_another_program_begins_on_a_line_of_its_own(template: tuple[Path, Grove], end: str) -> None:
    grove = _fresh(template)
    path = grove.run_path / "metrics" / "loss"
    with open_backend_store(grove.root) as store:
        store.log_metric(grove.victim, Metric("loss", 1.0, 3000, 20))
        with path.open("a", newline="") as file:
            file.write(f"3001 2.0 21{end}")
        assert store.get_run(grove.victim).data.metrics["loss"] == 2.0
        store.log_metric(grove.victim, Metric("loss", 3.0, 3002, 22))
        assert [point.value for point in store.get_metric_history(grove.victim, "loss")[3:]] == [1.0, 2.0, 3.0]
    assert path.read_bytes().endswith(f"3001 2.0 21{end or chr(10)}3002 3.0 22\n".encode())
