"""Ids, names and keys that try to lead out of a folder, or to what is not theirs in it, lead nowhere."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
from tests.backends.folders import entries
from tests.backends.hostile import (
    EXPERIMENT_CALLS,
    KEY_CALLS,
    RUN_CALLS,
    SECRET,
    TRICKS,
    Surroundings,
    refusal,
    surround,
)

from holdall.stores import BackendStore, HoldallError, NotFound, RunTag, ViewType, open_backend_store

pytestmark = pytest.mark.exhaustive

REFUSALS = {"INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST"}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Surroundings:
    """For tests that leave everything as it is."""
    return surround(tmp_path_factory.mktemp("hostile"))


@pytest.fixture
def around(tmp_path: Path) -> Surroundings:
    """For tests that write."""
    return surround(tmp_path)


@pytest.fixture(params=[True, False], ids=["read-only", "read-write"])
def store(request: pytest.FixtureRequest, shared: Surroundings) -> Iterator[BackendStore]:
    with open_backend_store(shared.grove.root, read_only=request.param) as store:
        yield store


def _ids(around: Surroundings, text: str) -> list[str]:
    """A trick alone, and where it would reach a real folder if it were taken for a path."""
    grove = around.grove
    return [
        text,
        f"{text}/{grove.experiment}",
        f"{text}/{grove.victim}",
        f"{grove.experiment}/{grove.victim}/{text}",
        f"{around.outside}/{grove.experiment}",
        f"../{grove.experiment}/{grove.victim}",
        f"../../outside/{grove.experiment}/{grove.victim}",
    ]


@pytest.mark.parametrize("trick", TRICKS)
def test_name_experiment_by_trick_finds_nothing_and_touches_nothing(
    shared: Surroundings, store: BackendStore, trick: str
) -> None:
    before = entries(shared.grove.root)
    with shared.undisturbed():
        for text in _ids(shared, TRICKS[trick]):
            for name, call in EXPERIMENT_CALLS.items():
                with pytest.raises(HoldallError) as raised:
                    call(store, shared.grove, text)
                assert raised.value.error_code in REFUSALS | {"PERMISSION_DENIED"}, name
            with suppress(HoldallError):
                assert store.search_runs([text]) == []
            with suppress(HoldallError):
                assert store.search_runs([shared.grove.experiment, text], run_view_type=ViewType.DELETED_ONLY) == []
    assert entries(shared.grove.root) == before


@pytest.mark.parametrize("trick", TRICKS)
def test_name_run_by_trick_finds_nothing_and_touches_nothing(
    shared: Surroundings, store: BackendStore, trick: str
) -> None:
    before = entries(shared.grove.root)
    with shared.undisturbed():
        for text in _ids(shared, TRICKS[trick]):
            for name, call in RUN_CALLS.items():
                with pytest.raises(HoldallError) as raised:
                    call(store, shared.grove, text)
                assert raised.value.error_code in REFUSALS | {"PERMISSION_DENIED"}, name
    assert entries(shared.grove.root) == before


@pytest.mark.parametrize("trick", TRICKS)
def test_use_trick_as_key_stays_in_its_folder(around: Surroundings, trick: str) -> None:
    grove = around.grove
    others = [grove.root / "0", grove.root / grove.other, grove.root / ".trash"]
    before = {path: entries(path) for path in others}
    neighbour = entries(grove.experiment_path / grove.neighbour, own=True)
    with around.undisturbed(), open_backend_store(grove.root) as store:
        for text in (TRICKS[trick], f"../../{grove.neighbour}/params/{TRICKS[trick]}", f"a/../../{TRICKS[trick]}"):
            for call in KEY_CALLS.values():
                assert refusal(partial(call, store, grove, text)) in {None, *REFUSALS}
        store.get_run(grove.victim)
        store.search_runs(grove.experiment_ids)
    assert {path: entries(path) for path in others} == before
    assert entries(grove.experiment_path / grove.neighbour, own=True) == neighbour
    assert {path.name for path in grove.root.iterdir() if not path.name.startswith(".holdall")} <= {
        *(".trash", "0", grove.experiment, grove.other),
        *(path.name for path in grove.root.iterdir() if re.fullmatch(r"\d{18}", path.name)),
    }


@pytest.mark.parametrize("trick", TRICKS)
def test_call_experiment_or_run_by_trick_keeps_the_text_and_makes_no_path_of_it(
    around: Surroundings, trick: str
) -> None:
    text, grove = TRICKS[trick], around.grove
    with around.undisturbed(), open_backend_store(grove.root) as store:
        if text == "" or len(text) > 500 or {"\0", "\udcff"} & set(text):
            assert refusal(lambda: store.create_experiment(text)) == "INVALID_PARAMETER_VALUE"
            return
        experiment_id = store.create_experiment(text)
        assert re.fullmatch(r"\d{18}", experiment_id)
        found = store.get_experiment_by_name(text)
        assert found is not None
        assert (found.experiment_id, found.name) == (experiment_id, text)
        store.rename_experiment(experiment_id, f"{text} again")
        run = store.create_run(experiment_id, user_id=text[:200], run_name=text[:200], tags=[RunTag("t", text)])
        store.update_run_info(run.info.run_id, run_name=f"{text[:200]} again")
        assert [item.data.tags["t"] for item in store.search_runs([experiment_id])] == [text]
        new = {str(path.relative_to(grove.root)) for path in grove.root.glob(f"{experiment_id}/**/*")}
        store.delete_experiment(experiment_id)
    assert {name for name in new if name.count("/") == 1 and ".holdall" not in name} == {
        f"{experiment_id}/meta.yaml",
        f"{experiment_id}/{run.info.run_id}",
    }


@pytest.mark.parametrize("trick", TRICKS)
def test_give_trick_as_artifact_location_touches_nothing(
    around: Surroundings, trick: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(around.grove.root)
    with around.undisturbed(), open_backend_store(around.grove.root) as store, suppress(HoldallError):
        experiment_id = store.create_experiment("new", artifact_location=TRICKS[trick])
        run = store.create_run(experiment_id)
        assert run.info.artifact_uri.endswith(f"{run.info.run_id}/artifacts")


@pytest.mark.parametrize("name", ["models", "tags", "datasets", "traces", ".trash", ".holdall"])
def test_name_reserved_folder_that_looks_right_finds_nothing(around: Surroundings, name: str) -> None:
    """A folder that says of itself that it is an experiment, or a run, with the name of something else."""
    grove = around.grove
    for source in (grove.experiment_path, grove.run_path):
        target = source.parent / name
        shutil.copytree(source, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".holdall"))
        meta = target / "meta.yaml"
        meta.write_text(meta.read_text().replace(source.name, name))
    with open_backend_store(grove.root) as store:
        ids = {experiment.experiment_id for experiment in store.search_experiments(ViewType.ALL)}
        assert ids - {"tags", "datasets", "traces"} == {*grove.experiment_ids}  # MLflow reserves them for no experiment
        for call in (store.get_run, store.delete_run) if name in ids else (store.get_run, store.get_experiment):
            with pytest.raises(HoldallError) as raised:
                call(name)
            assert raised.value.error_code in REFUSALS
        found = store.search_runs(grove.experiment_ids, run_view_type=ViewType.ALL)
        assert name not in [run.info.run_id for run in found]


def test_search_by_trick_in_filter_reads_nothing_outside(shared: Surroundings, store: BackendStore) -> None:
    with shared.undisturbed():
        for text in TRICKS.values():
            for template in ("tags.`{}` = 'x'", "params.`{}` != '1'", "attributes.run_name = '{}'", "metrics.`{}` > 0"):
                with suppress(HoldallError):
                    assert SECRET not in repr(store.search_runs(shared.grove.experiment_ids, template.format(text)))


def test_open_store_whose_uri_leads_through_parent_opens_that_place_alone(around: Surroundings) -> None:
    with around.undisturbed(), open_backend_store(f"{around.top}/0/../mlruns", read_only=True) as store:
        assert store.get_run(around.grove.victim).data.params["lr"] == "0.1"
        with pytest.raises(NotFound):
            store.get_run("0" * 32)
