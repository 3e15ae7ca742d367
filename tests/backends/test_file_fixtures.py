"""Folders that MLflow and earlier holdalls wrote, against what their writers read from them. No peer is needed."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.backends.stranger import Stranger
from tests.interop.folders import Entry, differences, listing, pack, settled, unpack
from tests.interop.snapshot import FIXTURES, anonymous, apply, by_ref, expected, found, snapshot
from tests.interop.steps import ROOT
from tests.interop.workload import EXTEND, EXTEND_AGAIN, WRITE, for_folder

from holdall.stores import BackendStore, Metric, Run, RunTag, ViewType, open_backend_store
from holdall.stores.errors import NotFound, ReadOnly

NAMES = sorted(path.stem for path in FIXTURES.glob("*.mlruns.tar"))
MLFLOW = [name for name in NAMES if name.startswith("mlflow")]


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    result: str = request.param
    return result


@pytest.fixture
def folder(name: str, tmp_path: Path) -> Path:
    return unpack(FIXTURES / f"{name}.tar", tmp_path / "mlruns")


@pytest.fixture
def untouchable(folder: Path) -> Iterator[Path]:
    """A fixture folder in which nothing is writable."""
    paths = [folder, *folder.rglob("*")]
    for path in paths:
        path.chmod(0o555 if path.is_dir() else 0o444)
    yield folder
    for path in paths:
        path.chmod(0o755 if path.is_dir() else 0o644)


def test_find_fixtures_in_the_tree_has_every_version() -> None:
    assert {"mlflow-2.22.5.mlruns", "mlflow-3.17.2.mlruns"} <= set(NAMES)


def test_pack_unpacked_fixture_gives_the_same_bytes(name: str, folder: Path, tmp_path: Path) -> None:
    pack(folder, tmp_path / "again.tar")
    assert (tmp_path / "again.tar").read_bytes() == (FIXTURES / f"{name}.tar").read_bytes()


@pytest.mark.parametrize("read_only", [False, True])
@pytest.mark.parametrize("scheme", ["", "file://"])
def test_read_fixture_returns_what_its_writer_read(name: str, folder: Path, scheme: str, read_only: bool) -> None:
    with open_backend_store(f"{scheme}{folder}", read_only=read_only) as store:
        assert not store.created
        assert differences(settled(expected(name)["snapshot"]), snapshot(store)) == []


@pytest.mark.parametrize("read_only", [False, True])
def test_search_fixture_finds_what_its_writer_found(name: str, folder: Path, read_only: bool) -> None:
    asked = expected(name)["searches"]
    with open_backend_store(folder, read_only=read_only) as store:
        results = found(store, [(filter_string, order_by) for filter_string, order_by, _ in asked])
    assert dict(zip(map(str, asked), results, strict=True)) == {str(item): item[2] for item in asked}


def test_read_fixture_with_special_values_returns_true_nan_and_infinities(name: str, folder: Path) -> None:
    run_id = _run_id(name, "rich")
    with open_backend_store(folder) as store:
        metrics = store.get_run(run_id).data.metrics
        mixed = [point.value for point in store.get_metric_history(run_id, "mixed")]
        positive = store.search_runs([store.get_run(run_id).info.experiment_id], "metrics.inf > 1.8e307")
    assert (metrics["inf"], metrics["-inf"]) == (math.inf, -math.inf)
    assert math.isnan(metrics["nan"])
    assert metrics["was nan"] == 0.25
    assert mixed[:2] + mixed[3:] == [math.inf, -math.inf, 3.5]
    assert math.isnan(mixed[2])
    assert [run.info.run_id for run in positive] == [run_id]


def test_read_metric_lines_with_a_dataset_returns_their_steps(name: str, folder: Path) -> None:
    """MLflow 3.17.2 writes them, but reads step 0 from all, and nothing when the name of a dataset has blanks."""
    run_id = _run_id(name, "rich")
    (place,) = folder.glob(f"*/{run_id}/metrics")
    (place / "on data").write_text("1 0.5 4 digits abc123\n2 0.25 -3 my digits abc123\n", encoding="utf-8")
    with open_backend_store(folder) as store:
        assert store.get_run(run_id).data.metrics["on data"] == 0.5
        assert store.get_metric_history(run_id, "on data") == [
            Metric("on data", 0.5, 1, 4),
            Metric("on data", 0.25, 2, -3),
        ]


def test_read_fixture_through_a_writable_store_changes_no_file(name: str, folder: Path) -> None:
    before = _files(listing(folder))
    with open_backend_store(folder) as store:
        snapshot(store)
    after = listing(folder)
    assert {path: after.get(path) for path in before} == before


def test_extend_fixture_in_place_equals_the_same_work_in_memory(name: str, folder: Path) -> None:
    with (
        open_backend_store("memory://", artifact_root=ROOT) as model,
        open_backend_store(folder) as store,
    ):
        apply(model, for_folder([*WRITE, *EXTEND, *EXTEND_AGAIN]))
        apply(store, for_folder(EXTEND))
        apply(store, for_folder(EXTEND_AGAIN))
        state = snapshot(store)
        by_ref(state, "rich")["metrics"].pop("of the model", None)  # only MLflow writes logged models
        by_ref(state, "rich")["history"].pop("of the model", None)
        assert anonymous(state) == anonymous(snapshot(model))


def test_extend_fixture_in_place_keeps_registry_and_logged_models(name: str, folder: Path) -> None:
    before = _not_ours(listing(folder))
    assert {"models/classifier/meta.yaml", "models/classifier/aliases/champion"} <= before.keys() or name not in MLFLOW
    with open_backend_store(folder) as store:
        apply(store, for_folder(EXTEND))
    assert _not_ours(listing(folder)) == before


def test_extend_fixture_in_place_appends_to_metric_files_alone(name: str, folder: Path) -> None:
    before = listing(folder)
    with open_backend_store(folder) as store:
        apply(store, for_folder(EXTEND))
    after = listing(folder)
    metrics = {path: entry.content for path, entry in before.items() if "/metrics/" in path and entry.content}
    assert metrics
    for path, content in metrics.items():
        assert (after[path].content or b"").startswith(content), path


def test_extend_fixture_in_place_leaves_other_experiments_as_they_were(name: str, folder: Path) -> None:
    before = listing(folder)
    with open_backend_store(folder) as store:
        ids = {experiment.name: experiment.experiment_id for experiment in store.search_experiments(ViewType.ALL)}
        apply(store, for_folder(EXTEND))
    places = f"{ids['search']}/", f".trash/{ids['binned']}/"
    mine = {path: entry for path, entry in _files(before).items() if path.startswith(places)}
    assert len(mine) > 20
    assert {path: entry for path, entry in _files(listing(folder)).items() if path.startswith(places)} == mine


def test_restore_experiment_in_a_fixture_leaves_runs_deleted_by_hand(name: str, folder: Path) -> None:
    by_hand = _run_id(name, "deleted")
    with open_backend_store(folder) as store:
        experiment_id = store.get_run(by_hand).info.experiment_id
        active = {run.info.run_id for run in store.search_runs([experiment_id])}
        store.delete_experiment(experiment_id)
        assert store.search_runs([experiment_id]) == []
        store.restore_experiment(experiment_id)
        assert {run.info.run_id for run in store.search_runs([experiment_id])} == active
        assert store.get_run(by_hand).info.lifecycle_stage == "deleted"


@pytest.mark.parametrize("name", MLFLOW)
def test_restore_experiment_that_mlflow_deleted_brings_its_runs_back(name: str, folder: Path) -> None:
    """In a folder MLflow stamps the runs that it deletes with the experiment alone, and later than those before."""
    with_it, by_hand = _run_id(name, "binned with it"), _run_id(name, "binned by hand")
    with open_backend_store(folder) as store:
        experiment_id = store.get_run(with_it).info.experiment_id
        store.restore_experiment(experiment_id)
        assert store.get_run(with_it).info.lifecycle_stage == "active"
        assert store.get_run(by_hand).info.lifecycle_stage == "deleted"
        store.set_tag(with_it, RunTag("back", "yes"))


def test_open_read_only_leaves_every_byte_and_creates_no_file(name: str, untouchable: Path) -> None:
    before = listing(untouchable)
    asked = expected(name)["searches"]
    for _ in range(2):  # the second time there may be an index elsewhere
        with open_backend_store(untouchable, read_only=True) as store:
            assert differences(settled(expected(name)["snapshot"]), snapshot(store)) == []
            found(store, [(filter_string, order_by) for filter_string, order_by, _ in asked])
            with pytest.raises(ReadOnly):
                store.create_experiment("another")
            with pytest.raises(ReadOnly):
                store.log_metric(_run_id(name, "running"), Metric("loss", 1.0, 0))
            with pytest.raises(ReadOnly):
                store.delete_experiment(store.get_run(_run_id(name, "running")).info.experiment_id)
            assert listing(untouchable) == before
    assert listing(untouchable) == before


def test_open_read_only_a_copy_with_the_same_times_reads_the_copy(name: str, folder: Path, tmp_path: Path) -> None:
    run_id, tag = _run_id(name, "running"), "tags/mlflow.runName"
    with open_backend_store(folder, read_only=True) as store:
        experiment_id = store.get_run(run_id).info.experiment_id
        store.search_runs([experiment_id])
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    path = copy / experiment_id / run_id / tag
    path.write_bytes(path.read_bytes().upper())
    shutil.copystat(folder / experiment_id / run_id / tag, path)
    folder.rename(tmp_path / "moved away")
    copy.rename(folder)
    with open_backend_store(folder, read_only=True) as store:
        assert store.get_run(run_id).data.tags["mlflow.runName"] == "STILL RUNNING"
        assert len(store.search_runs([experiment_id], "tags.mlflow.runName = 'STILL RUNNING'")) == 1


def test_open_read_only_while_another_store_writes_sees_each_write(name: str, folder: Path) -> None:
    run_id = _run_id(name, "running")
    with open_backend_store(folder, read_only=True) as reader:
        experiment_id = reader.get_run(run_id).info.experiment_id
        assert "seen" not in reader.get_run(run_id).data.tags
        with open_backend_store(folder) as writer:
            for value in ("one", "two"):
                writer.set_tag(run_id, RunTag("seen", value))
                assert reader.get_run(run_id).data.tags["seen"] == value
                assert len(reader.search_runs([experiment_id], f"tags.seen = '{value}'")) == 1
        assert reader.get_run(run_id).data.tags["seen"] == "two"
        with open_backend_store(folder) as writer:
            writer.set_tag(run_id, RunTag("seen", "three"))
        assert reader.get_run(run_id).data.tags["seen"] == "three"


@pytest.mark.parametrize("read_only", [False, True])
def test_search_after_each_write_of_another_program_sees_it(name: str, folder: Path, read_only: bool) -> None:
    """The writes are of the same size and as quick as can be, so that times alone may not tell them apart."""
    run_id = _run_id(name, "running")
    with open_backend_store(folder, read_only=read_only) as store:
        experiment_id = store.get_run(run_id).info.experiment_id
        place = folder / experiment_id / run_id
        for number in range(100, 300):
            (place / "tags" / "mlflow.note.content").write_text(f"{number}", encoding="utf-8")
            (place / "metrics" / "fresh").write_text(f"1 {number} 0\n", encoding="utf-8")
            searched = store.search_runs([experiment_id], f"tags.mlflow.note.content = '{number}'")
            assert [run.info.run_id for run in searched] == [run_id]
            assert searched[0].data.metrics["fresh"] == number
            assert store.get_run(run_id).data.metrics["fresh"] == number


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("read_only", [False, True])
def test_search_after_changes_of_another_program_finds_what_is_there(
    name: str, folder: Path, read_only: bool, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    stranger, acts = Stranger(folder, seed), ["opened"]
    with _opened_with_an_index(folder, monkeypatch, read_only=read_only, older=seed > 0) as store:
        ids = _experiment_ids(store)
        for _ in range(60):
            searched = {run.info.run_id: run for run in store.search_runs(ids, run_view_type=ViewType.ALL)}
            there = {run.info.run_id: run for run in (store.get_run(place.name) for place in stranger.runs())}
            assert _texts(searched) == _texts(there), acts[-3:]
            acts.append(stranger.act())


@pytest.mark.parametrize("read_only", [False, True])
def test_search_with_an_older_index_sees_later_writes_to_nested_keys(
    name: str, folder: Path, read_only: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = _run_id(name, "rich")
    (place,) = folder.glob(f"*/{run_id}/metrics/valid/acc")
    with _opened_with_an_index(folder, monkeypatch, read_only=read_only) as store:
        experiment_id = store.get_run(run_id).info.experiment_id
        assert len(store.search_runs([experiment_id], "metrics.`valid/acc` < 1")) == 1
        with place.open("a", encoding="utf-8") as file:
            file.write("1700000000001 2.0 1\n")
        assert [run.info.run_id for run in store.search_runs([experiment_id], "metrics.`valid/acc` > 1")] == [run_id]


def test_open_read_only_a_missing_folder_is_not_found_and_creates_nothing(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="missing"):
        open_backend_store(tmp_path / "missing", read_only=True)
    assert list(tmp_path.iterdir()) == []


def test_search_experiments_in_a_fixture_sees_each_lifecycle_stage(folder: Path) -> None:
    with open_backend_store(folder) as store:
        deleted = store.search_experiments(ViewType.DELETED_ONLY)
        active = store.search_experiments(order_by=["name"])
    assert [experiment.name for experiment in deleted] == ["binned"]
    assert [experiment.name for experiment in active] == [
        "Default",
        "empty",
        "search",
        "second name",
        "vision",
        "Ünïcode 实验 / 😀 its",
    ]


@contextmanager
def _opened_with_an_index(
    folder: Path, monkeypatch: pytest.MonkeyPatch, *, read_only: bool, older: bool = True
) -> Iterator[BackendStore]:
    """A store that has searched all runs; with an older index, made by another store when all files seemed settled."""
    now = time.time_ns
    with monkeypatch.context() as patch:
        if older:
            patch.setattr(time, "time_ns", lambda: now() + 60_000_000_000)
            with open_backend_store(folder, read_only=read_only) as store:
                store.search_runs(_experiment_ids(store), run_view_type=ViewType.ALL)
        opened = open_backend_store(folder, read_only=read_only)
        opened.search_runs(_experiment_ids(opened), run_view_type=ViewType.ALL)
    with opened:
        yield opened


def _experiment_ids(store: BackendStore) -> list[str]:
    return [experiment.experiment_id for experiment in store.search_experiments(ViewType.ALL)]


def _texts(runs: dict[str, Run]) -> dict[str, str]:
    """Runs as text: NaN equals NaN then."""
    return {run_id: repr(run) for run_id, run in sorted(runs.items())}


def _run_id(name: str, ref: str) -> str:
    (run_id,) = (key for key, run in expected(name)["snapshot"]["runs"].items() if run["tags"]["ref"] == ref)
    return run_id


def _files(entries: dict[str, Entry]) -> dict[str, Entry]:
    return {path: entry for path, entry in entries.items() if entry.content is not None}


def _not_ours(entries: dict[str, Entry]) -> dict[str, Entry]:
    """Registered models, logged models, and the links of runs to them: what holdall does not write."""
    return {
        path: entry
        for path, entry in entries.items()
        if {"models", "outputs"} & set(Path(path).parts) or b"source_type: MODEL" in (entry.content or b"")
    }
