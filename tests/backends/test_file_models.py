"""Logged models in folders: the files that are written, those of MLflow that are read, and where they are."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from tests.backends.model_folders import OTHER, edit_meta, kinds, latest, metric_lines, open_folder, write_metric
from tests.interop.folders import unpack
from tests.interop.snapshot import FIXTURES

from holdall.backends.file.index_place import VERSION
from holdall.backends.file.store import FileBackendStore
from holdall.stores import (
    LoggedModel,
    LoggedModelInput,
    LoggedModelMetric,
    LoggedModelOutput,
    LoggedModelStatus,
    Metric,
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "mlruns"


@pytest.fixture
def store(root: Path) -> Iterator[FileBackendStore]:
    with open_folder(root) as opened:
        yield opened


@pytest.fixture
def run(store: FileBackendStore) -> str:
    return store.create_run("0").info.run_id


@pytest.fixture
def model(store: FileBackendStore) -> str:
    return store.create_logged_model("0", "model").model_id


@pytest.fixture
def folder(root: Path, model: str) -> Path:
    """The folder of `model`."""
    return root / "0" / "models" / model


# What is written


def test_create_model_writes_the_files_of_mlflow(store: FileBackendStore, root: Path, run: str) -> None:
    created = store.create_logged_model("0", "net", run, {"t": "1"}, {"p/q": "0.1"}, "sklearn")
    folder = root / "0" / "models" / created.model_id
    assert (folder / "meta.yaml").read_text() == (
        f"artifact_location: {root}/0/models/{created.model_id}/artifacts\n"
        f"creation_timestamp: {created.creation_timestamp}\n"
        "experiment_id: '0'\n"
        f"last_updated_timestamp: {created.creation_timestamp}\n"
        "lifecycle_stage: active\n"
        f"model_id: {created.model_id}\n"
        "model_type: sklearn\n"
        "name: net\n"
        f"source_run_id: {run}\n"
        "status: 1\n"
        "status_message: null\n"
    )
    assert (folder / "tags" / "t").read_text() == "1"
    assert (folder / "params" / "p" / "q").read_text() == "0.1"
    assert (folder / "metrics").is_dir()
    assert {path.name for path in folder.iterdir()} == {"meta.yaml", "tags", "params", "metrics", ".holdall"}


def test_finalize_and_delete_model_rewrite_its_meta(store: FileBackendStore, model: str, folder: Path) -> None:
    before = set((folder / "meta.yaml").read_text().splitlines())
    updated = store.finalize_logged_model(model, "READY").last_updated_timestamp
    after = set((folder / "meta.yaml").read_text().splitlines())
    assert {line for line in after if not line.startswith("last_updated")} - before == {"status: 2"}
    assert f"last_updated_timestamp: {updated}" in after
    store.delete_logged_model(model)
    assert "lifecycle_stage: deleted" in (folder / "meta.yaml").read_text().splitlines()
    assert (folder / "metrics").is_dir()


def test_log_model_metrics_writes_lines_that_mlflow_reads(
    store: FileBackendStore, root: Path, run: str, model: str, folder: Path
) -> None:
    store.log_model_metrics(model, run, [Metric("m", 0.5, 10, 3), Metric("m", 0.5, 10, 3)])
    store.log_model_metrics(model, run, [Metric("m", float("nan"), 11, -4)], "100%ü", "d/1")
    for _ in range(2):
        store.log_model_metrics(model, run, [Metric("m", 0.25, 12)], "my data", "50%\n")
    assert metric_lines(folder) == [
        f"10 0.5 3 {run}",
        f"11 nan -4 {run} 100%ü d/1",
        f"+12 0.25 0 {run} my%20data 50%25%0A",
    ]
    assert metric_lines(root / "0" / run) == ["10 0.5 3", "11 nan -4", "12 0.25 0"]


@pytest.mark.parametrize(
    "name", ["%20", "a%20b", "+", "+1", "a+b", "\u00a0", "\u2028", "\x85", "a\r", " a ", "\t", "%"]
)
def test_log_model_metrics_on_dataset_named_like_an_encoded_one_keeps_the_name(
    store: FileBackendStore, run: str, model: str, name: str
) -> None:
    store.log_model_metrics(model, run, [Metric("m", 1.0, 1)], name, name)
    assert latest(store, model) == [(1.0, run, name, name)]


def test_link_models_writes_the_files_of_mlflow(store: FileBackendStore, root: Path, run: str) -> None:
    place = root / "0" / run
    store.log_batch(run, [Metric("m", 1.0, 1)])
    assert not (place / "inputs").exists()
    assert not (place / "outputs").exists()
    store.log_model_inputs(run, [LoggedModelInput(OTHER)])
    store.log_outputs(run, [LoggedModelOutput(OTHER, 3)])
    [link] = (place / "inputs").iterdir()
    assert (link / "meta.yaml").read_text() == (
        f"destination_id: {OTHER}\ndestination_type: RUN\nsource_id: {OTHER}\nsource_type: MODEL\ntags: {{}}\n"
    )
    assert (place / "outputs" / OTHER / "meta.yaml").read_text() == (
        f"destination_id: {OTHER}\ndestination_type: MODEL_OUTPUT\nsource_id: {OTHER}\n"
        "source_type: RUN_OUTPUT\nstep: 3\ntags: {}\n"
    )


def test_log_points_again_from_two_stores_at_once_writes_each_once(
    store: FileBackendStore, root: Path, run: str, model: str, folder: Path
) -> None:
    with open_folder(root) as other, ThreadPoolExecutor(8) as pool:
        for number in range(20):
            for opened in (store, other):
                metrics = [Metric("m", 1.0, number), Metric("m", 1.0, number, 1)]
                pool.submit(opened.log_model_metrics, model, run, metrics, "my data", "d")
    assert len(metric_lines(folder)) == len(set(metric_lines(folder))) == 40
    assert store.find_problems() == []


# What is read


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"7 0.5 3 r\n", (0.5, "r", None, None)),
        (b"7 0.5 3 r", (0.5, "r", None, None)),
        (b"7 0.5 3 r\r\n", (0.5, "r", None, None)),
        (b"7 0.5 3 r digits abc\n", (0.5, "r", "digits", "abc")),
        (b"7 0.5 3 r digits abc\r\n", (0.5, "r", "digits", "abc")),
        (b"7 0.5 3 r my%20digits ab%25c\n", (0.5, "r", "my%20digits", "ab%25c")),
        (b"7 0.5 3 r my own digits abc\n", (0.5, "r", "my own digits", "abc")),
        (b"7 0.5 3 r  digits  abc\n", (0.5, "r", " digits ", "abc")),
        ("7 -Infinity 3 r größe 1\n".encode(), (float("-inf"), "r", "größe", "1")),
        (b"+7 0.5 3 r my%20digits abc\n", (0.5, "r", "my digits", "abc")),
        (b"+7 0.5 3 r my%20own digits abc\n", (0.5, "r", "my%20own digits", "abc")),
        (b"+7 0.5 3 r\n", (0.5, "r", None, None)),
    ],
)
def test_read_line_of_mlflow_gives_the_point(
    store: FileBackendStore, model: str, folder: Path, line: bytes, expected: tuple[object, ...]
) -> None:
    write_metric(folder, line)
    assert latest(store, model) == [expected]
    assert store.find_problems() == []


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"7",
        b"7 0.5",
        b"7 0.5 3",
        b"7 0.5 3 ",
        b"7 0.5 3 r digits",
        b"7.5 0.5 3 r",
        b"7 x 3 r",
        b"7 0.5 1e3 r",
        b"7 0.5 9223372036854775808 r",
        b"7 0.5 3 \xff",
        b"7 0.5 3 r \xff abc",
        b"+7 0.5 3 r %FF abc",
    ],
)
def test_read_line_that_is_no_point_reports_it_and_counts_the_others(
    store: FileBackendStore, run: str, model: str, folder: Path, line: bytes
) -> None:
    write_metric(folder, b"1 0.5 0 r\n" + line + b"\n2 0.25 1 r\n")
    assert latest(store, model) == [(0.25, "r", None, None)]
    assert kinds(store.find_problems()) == [("malformed", f"0/models/{model}/metrics/m")]
    store.log_model_metrics(model, run, [Metric("m", 0.75, 3, 2)])
    assert latest(store, model) == [(0.75, run, None, None)]
    assert (folder / "metrics" / "m").read_bytes().split(b"\n")[1] == line


def test_read_repeated_line_counts_it_once_and_reports_it(store: FileBackendStore, model: str, folder: Path) -> None:
    write_metric(folder, b"1 0.5 0 r\n1 0.5 0 r d 1\n1 0.50 0 r\n")
    assert len(latest(store, model)) == 2
    assert kinds(store.find_problems()) == [("duplicate", f"0/models/{model}/metrics/m")]


def test_extend_file_without_a_last_newline_begins_a_line(
    store: FileBackendStore, run: str, model: str, folder: Path
) -> None:
    write_metric(folder, b"1 0.5 0 r")
    store.log_model_metrics(model, run, [Metric("m", 0.5, 2)])
    assert metric_lines(folder) == ["1 0.5 0 r", f"2 0.5 0 {run}"]


def test_read_meta_as_mlflow_leaves_it_takes_what_is_missing_for_its_default(
    store: FileBackendStore, model: str, folder: Path
) -> None:
    """MLflow drops the stage when a model is finalized, and takes a model without a status for one that is ready."""
    before = store.get_logged_model(model)
    edit_meta(folder, lifecycle_stage=None, status=None, model_type=None, source_run_id=None, status_message="broken")
    found = store.get_logged_model(model)
    assert (found.status, found.status_message) == (LoggedModelStatus.READY, "broken")
    assert (found.name, found.creation_timestamp) == (before.name, before.creation_timestamp)


def test_read_model_of_mlflow_gives_everything(tmp_path: Path) -> None:
    root = unpack(FIXTURES / "mlflow-3.17.2.mlruns.tar", tmp_path / "mlruns")
    [folder] = root.glob("*/models/m-*")
    with open_folder(root) as store:
        [found] = store.search_logged_models([folder.parents[1].name])
        run_id = found.source_run_id or ""
        assert found == store.get_logged_model(folder.name)
        assert (found.name, found.status, found.params, found.tags) == (
            "net",
            LoggedModelStatus.READY,
            {"lr": "0.1"},
            {"t": "1"},
        )
        assert found.metrics == (
            LoggedModelMetric("of the model", 0.5, 1, 0, run_id),
            LoggedModelMetric("of the model", 0.75, 2, 0, run_id, "digits", "abc123"),
        )
        [searched] = [item for item in store.search_runs([found.experiment_id]) if item.info.run_id == run_id]
        for read in (searched, store.get_run(run_id)):
            assert read.outputs.model_outputs == (LoggedModelOutput(found.model_id, 3),)
        _extend(store, found, run_id)


def _extend(store: FileBackendStore, model: LoggedModel, run_id: str) -> None:
    """Write everything to a model of MLflow."""
    store.log_model_metrics(model.model_id, run_id, [Metric("of the model", 0.5, 1), Metric("new", 1.0, 1)])
    store.log_logged_model_params(model.model_id, {"lr": "0.1", "new": "1"})
    store.set_logged_model_tags(model.model_id, {"t": "2"})
    store.delete_logged_model_tag(model.model_id, "t")
    store.log_outputs(run_id, [LoggedModelOutput(model.model_id, 9)])
    changed = store.finalize_logged_model(model.model_id, "FAILED")
    assert (changed.params, changed.tags, changed.status) == ({"lr": "0.1", "new": "1"}, {}, LoggedModelStatus.FAILED)
    assert [metric.key for metric in changed.metrics] == ["new", "of the model", "of the model"]
    assert store.get_run(run_id).outputs.model_outputs == (LoggedModelOutput(model.model_id, 3),)
    store.delete_logged_model(model.model_id)
    assert store.search_logged_models([model.experiment_id]) == []


# Where models are


def test_delete_and_restore_experiment_takes_its_models_along(store: FileBackendStore, root: Path, run: str) -> None:
    experiment_id = store.create_experiment("moving")
    model = store.create_logged_model(experiment_id).model_id
    for move, place in ((store.delete_experiment, root / ".trash"), (store.restore_experiment, root)):
        move(experiment_id)
        assert (place / experiment_id / "models" / model / "meta.yaml").exists()
        store.log_model_metrics(model, run, [Metric("m", 1.0, 1)])
        with open_folder(root) as other:
            assert other.get_logged_model(model).metrics[0].run_id == run
            other.set_logged_model_tags(model, {"t": place.name})
    assert store.get_logged_model(model).tags == {"t": root.name}


# The index


@pytest.mark.parametrize("reopen", [False, True])
def test_search_runs_after_links_of_another_program_sees_each(
    store: FileBackendStore, root: Path, run: str, reopen: bool
) -> None:
    def search() -> list[int]:
        if not reopen:
            return _steps(store)
        with open_folder(root) as another:
            return _steps(another)

    assert search() == []
    for step in range(1, 5):
        link = root / "0" / run / "outputs" / f"m-{step:032d}"
        link.mkdir(parents=True)
        if step % 2:  # a search may come between the making of the folder and that of the file
            assert search() == list(range(1, step))
        (link / "meta.yaml").write_text(
            f"destination_id: {link.name}\ndestination_type: MODEL_OUTPUT\nsource_id: {link.name}\n"
            f"source_type: RUN_OUTPUT\nstep: {step}\ntags: {{}}\n"
        )
        assert search() == list(range(1, step + 1))


def _steps(store: FileBackendStore) -> list[int]:
    [found] = store.search_runs(["0"])
    return [output.step for output in found.outputs.model_outputs]


@pytest.mark.parametrize("use_index", [False, True])
def test_search_runs_gives_links_with_and_without_an_index(root: Path, use_index: bool) -> None:
    with open_folder(root, use_index=use_index) as store:
        run = store.create_run("0").info.run_id
        store.log_model_inputs(run, [LoggedModelInput(OTHER)])
        store.log_outputs(run, [LoggedModelOutput(OTHER, -(2**63))])
        for _ in range(2):
            [found] = store.search_runs(["0"])
            assert found == store.get_run(run)


def test_search_runs_beside_an_index_of_an_earlier_version_builds_its_own(root: Path) -> None:
    with open_folder(root) as store:
        run = store.create_run("0").info.run_id
        store.log_outputs(run, [LoggedModelOutput(OTHER, 1)])
    old = root / f".holdall-index-{VERSION - 1}.db"
    with closing(sqlite3.connect(old)) as database, database:
        database.execute("CREATE TABLE entries (run_id TEXT PRIMARY KEY, experiment, signature, body)")
        database.execute("INSERT INTO entries VALUES (?, '0', NULL, ?)", (run, json.dumps([])))
    before = old.read_bytes()
    with open_folder(root) as store:
        [found] = store.search_runs(["0"])
        assert found.outputs.model_outputs == (LoggedModelOutput(OTHER, 1),)
        assert store.find_problems() == []
    assert old.read_bytes() == before
