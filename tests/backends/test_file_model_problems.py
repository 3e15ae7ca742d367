"""Logged models in folders that writers died in the middle of, and those that something is wrong with."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.backends.model_folders import OTHER, edit_meta, kinds, latest, metric_lines, open_folder, write_metric
from tests.interop.folders import listing

from holdall.backends.file.journal import Changes
from holdall.backends.file.store import FileBackendStore
from holdall.stores import (
    LoggedModelInput,
    LoggedModelOutput,
    LoggedModelStatus,
    Metric,
    ProblemKind,
)
from holdall.stores.errors import DataLoss, HoldallError, NotFound


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


# Writers that died


def test_read_model_whose_writer_died_shows_what_it_had_noted(
    store: FileBackendStore, root: Path, run: str, model: str, folder: Path
) -> None:
    """With its line in the journal a change is done; of its own line in the file there may be a part."""
    store.log_model_metrics(model, run, [Metric("m", 0.5, 1)])
    lines = {"m": [f"2 0.25 1 {run} größe 1", f"+3 0.75 2 {run} a%20b 1"], "new": [f"1 1.0 0 {run}"]}
    sizes = {"m": (folder / "metrics" / "m").stat().st_size, "new": 0}
    noted = Changes({"status": 2}, {"p": "1"}, {"t": "1"}, lines, sizes=sizes)
    with (folder / ".holdall" / "journal").open("ab") as journal:
        journal.write(noted.encode())
    torn = lines["m"][0].encode()[:-3]  # in the middle of a character
    with (folder / "metrics" / "m").open("ab") as file:
        file.write(torn)
    (folder / "metrics" / "new").touch()
    expected = [(0.5, run, None, None), (0.75, run, "a b", "1"), (0.25, run, "größe", "1"), (1.0, run, None, None)]
    with open_folder(root, read_only=True) as reader:
        assert latest(reader, model) == expected
        assert reader.get_logged_model(model).status is LoggedModelStatus.READY
        assert reader.find_problems() == []
    assert _lines_of(folder)[-1] == torn
    store.set_logged_model_tags(model, {"u": "2"})
    assert latest(store, model) == expected
    found = store.get_logged_model(model)
    assert (found.params, found.tags, found.status) == ({"p": "1"}, {"t": "1", "u": "2"}, LoggedModelStatus.READY)
    assert metric_lines(folder) == [f"1 0.5 0 {run}", *lines["m"]]
    assert store.find_problems() == []


def _lines_of(folder: Path) -> list[bytes]:
    return (folder / "metrics" / "m").read_bytes().split(b"\n")


def test_read_run_whose_writer_died_shows_the_links_it_had_noted(store: FileBackendStore, root: Path, run: str) -> None:
    store.log_outputs(run, [LoggedModelOutput(OTHER, 1)])
    place = root / "0" / run
    meta = place / "outputs" / OTHER / "meta.yaml"
    fields = {"destination_id": OTHER, "destination_type": "MODEL_OUTPUT", "source_id": OTHER, "step": 1}
    meta.unlink()
    meta.parent.rmdir()
    with (place / ".holdall" / "journal").open("ab") as journal:
        journal.write(Changes(outputs={OTHER: fields}).encode())
    assert store.get_run(run).outputs.model_outputs == (LoggedModelOutput(OTHER, 1),)
    store.log_metric(run, Metric("m", 1.0, 1))
    assert meta.exists()


def test_read_model_whose_creator_died_finds_none_and_reports_it(
    store: FileBackendStore, model: str, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "meta.yaml").rename(folder / ".holdall" / "new")
    with pytest.raises(NotFound):
        store.get_logged_model(model)
    assert store.search_logged_models(["0"]) == []
    assert caplog.records == []
    assert kinds(store.find_problems()) == [("unfinished", f"0/models/{model}/meta.yaml")]


# What is wrong


_Spoil = Callable[[Path], object]

_SPOILT: dict[str, tuple[_Spoil, ProblemKind, str]] = {
    "no meta": (lambda folder: _age(folder, None), ProblemKind.MISSING, "meta.yaml"),
    "empty meta": (lambda folder: _age(folder, b""), ProblemKind.MALFORMED, "meta.yaml"),
    "no YAML": (lambda folder: _age(folder, b"a: [\n"), ProblemKind.MALFORMED, "meta.yaml"),
    "no time": (lambda folder: edit_meta(folder, creation_timestamp=None), ProblemKind.MALFORMED, "meta.yaml"),
    "status": (lambda folder: edit_meta(folder, status="9"), ProblemKind.MALFORMED, "meta.yaml"),
    "no status": (lambda folder: edit_meta(folder, status="null"), ProblemKind.MALFORMED, "meta.yaml"),
    "stage": (lambda folder: edit_meta(folder, lifecycle_stage="gone"), ProblemKind.MALFORMED, "meta.yaml"),
    "name": (lambda folder: edit_meta(folder, name="[1]"), ProblemKind.MALFORMED, "meta.yaml"),
    "other model": (lambda folder: edit_meta(folder, model_id=OTHER), ProblemKind.MISPLACED, "meta.yaml"),
    "other experiment": (lambda folder: edit_meta(folder, experiment_id="'1'"), ProblemKind.MISPLACED, "meta.yaml"),
}
"""How to make a model unusable, and the problem that is reported."""


def _age(folder: Path, data: bytes | None) -> None:
    """Replace the `meta.yaml` of a model by one from long ago, or remove it from a folder from long ago."""
    meta = folder / "meta.yaml"
    meta.unlink()
    if data is not None:
        meta.write_bytes(data)
        os.utime(meta, (1, 1))
    os.utime(folder, (1, 1))


@pytest.mark.parametrize("name", _SPOILT)
def test_read_unusable_model_reports_it_and_finds_its_neighbours(
    store: FileBackendStore, run: str, model: str, folder: Path, name: str
) -> None:
    spoil, kind, path = _SPOILT[name]
    neighbour = store.create_logged_model("0", "neighbour").model_id
    spoil(folder)
    before = listing(folder)
    assert [found.model_id for found in store.search_logged_models(["0"])] == [neighbour]
    with pytest.raises(NotFound if name == "no meta" else DataLoss):
        store.get_logged_model(model)
    with pytest.raises(HoldallError):
        store.finalize_logged_model(model, "READY")
    with pytest.raises(HoldallError):
        store.set_logged_model_tags(model, {"t": "1"})
    with pytest.raises(HoldallError):
        store.log_model_metrics(model, run, [Metric("m", 1.0, 1)])
    assert store.get_run(run).data.metrics == {}
    assert kinds(store.find_problems()) == [(kind.value, f"0/models/{model}/{path}")]
    assert listing(folder) == before


def test_read_model_with_status_as_text_reads_and_reports_it(store: FileBackendStore, model: str, folder: Path) -> None:
    edit_meta(folder, status="READY")
    assert store.get_logged_model(model).status is LoggedModelStatus.READY
    assert kinds(store.find_problems()) == [("malformed", f"0/models/{model}/meta.yaml")]


def test_read_model_with_bad_files_reports_them_and_keeps_the_rest(
    store: FileBackendStore, model: str, folder: Path
) -> None:
    store.log_logged_model_params(model, {"good": "1"})
    store.set_logged_model_tags(model, {"good": "1"})
    (folder / "params" / "bad").write_bytes(b"\xff")
    (folder / "tags" / "b$d").write_text("1")
    write_metric(folder, b"", "empty")
    (folder / "stray").touch()
    (folder.parent / "stray").touch()
    (folder.parent / "folder").mkdir()
    (folder.parent / OTHER).symlink_to(folder)
    found = store.get_logged_model(model)
    assert (found.params, found.tags, found.metrics) == ({"good": "1"}, {"good": "1"}, ())
    assert store.search_logged_models(["0"]) == [found]
    assert sorted(kinds(store.find_problems())) == sorted(
        [
            ("foreign", "0/models/folder"),
            ("foreign", "0/models/stray"),
            ("foreign", f"0/models/{model}/stray"),
            ("malformed", f"0/models/{model}/metrics/empty"),
            ("malformed", f"0/models/{model}/params/bad"),
            ("malformed", f"0/models/{model}/tags/b$d"),
            ("unreadable", f"0/models/{OTHER}"),
        ]
    )


def test_read_models_through_a_link_finds_none_and_reports_it(
    store: FileBackendStore, root: Path, model: str, tmp_path: Path
) -> None:
    shutil.move(root / "0" / "models", tmp_path / "elsewhere")
    (root / "0" / "models").symlink_to(tmp_path / "elsewhere")
    before = listing(tmp_path / "elsewhere")
    assert store.search_logged_models(["0"]) == []
    for write in (store.get_logged_model, store.delete_logged_model):
        with pytest.raises(NotFound):
            write(model)
    with pytest.raises(HoldallError):
        store.create_logged_model("0")
    assert listing(tmp_path / "elsewhere") == before
    assert ("unreadable", "0/models") in kinds(store.find_problems())


@pytest.mark.parametrize("model_id", ["folder", "M-" + "1" * 32, "m-" + "A" * 32, "m-" + "1" * 31, "m-" + "1" * 33])
def test_read_model_with_an_id_that_mlflow_does_not_give_is_not_found(
    store: FileBackendStore, folder: Path, model_id: str
) -> None:
    shutil.copytree(folder, folder.parent / model_id)
    with pytest.raises(NotFound):
        store.get_logged_model(model_id)


@pytest.mark.parametrize(
    "content", [b"", None, b"step: 1\ndestination_type: MODEL_OUTPUT\n", b"step: x\ndestination_type: MODEL_OUTPUT\n"]
)
def test_read_malformed_output_reports_it_and_keeps_the_others(
    store: FileBackendStore, root: Path, run: str, content: bytes | None
) -> None:
    store.log_outputs(run, [LoggedModelOutput(OTHER, 1)])
    bad = root / "0" / run / "outputs" / ("m-" + "2" * 32)
    bad.mkdir()
    if content is not None:
        (bad / "meta.yaml").write_bytes(content)
    [searched] = store.search_runs(["0"])
    assert searched.outputs.model_outputs == (LoggedModelOutput(OTHER, 1),)
    assert kinds(store.find_problems()) == [("malformed", f"0/{run}/outputs/{bad.name}/meta.yaml")]


@pytest.mark.parametrize("stray", [None, "stray"])
def test_link_model_where_a_folder_is_left_without_its_file_adds_the_file(
    store: FileBackendStore, root: Path, run: str, stray: str | None
) -> None:
    """MLflow makes the folder first, and reads no run that has one without a file."""
    place = root / "0" / run / "outputs" / OTHER
    place.mkdir(parents=True)
    if stray is not None:
        (place / stray).touch()
    store.log_outputs(run, [LoggedModelOutput(OTHER, 1)])
    assert store.get_run(run).outputs.model_outputs == (LoggedModelOutput(OTHER, 1),)
    assert {path.name for path in place.iterdir()} == {"meta.yaml", stray} - {None}
    assert store.find_problems() == []


def test_inspect_sound_models_finds_nothing(store: FileBackendStore, run: str, model: str) -> None:
    store.log_logged_model_params(model, {"a": "1", "a/b": "2", "x" * 250: "3"})
    store.set_logged_model_tags(model, {"a": "1", "a/b": "2"})
    store.log_model_metrics(model, run, [Metric("a", 1.0, 1), Metric("a/b", 1.0, 1)], "my data", "a\nb")
    store.log_model_inputs(run, [LoggedModelInput(model)])
    store.log_outputs(run, [LoggedModelOutput(model, 1)])
    store.delete_logged_model(store.create_logged_model("0").model_id)
    binned = store.create_experiment("binned")
    store.create_logged_model(binned)
    store.delete_experiment(binned)
    assert store.find_problems() == []
