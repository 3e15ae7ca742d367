"""What is wrong in a folder is passed over and reported; everything beside it reads as before, nothing is changed."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.backends.folders import (
    DATASET,
    Grove,
    age,
    as_ordinary_user,
    entries,
    grow,
    open_scanning,
    read_everything,
    strip_own,
)
from tests.backends.malformed_cases import CASES, Case, Shows
from typer.testing import CliRunner

from holdall.cli import app
from holdall.stores import (
    BackendStore,
    ExperimentTag,
    HoldallError,
    Metric,
    Param,
    ProblemKind,
    RunTag,
    ViewType,
    open_backend_store,
)

pytestmark = pytest.mark.exhaustive

WRITES: dict[str, Callable[[BackendStore, Grove], object]] = {
    "log_metric": lambda store, grove: store.log_metric(grove.victim, Metric("loss", 1.0, 1)),
    "log_param": lambda store, grove: store.log_param(grove.victim, Param("p", "1")),
    "set_tag": lambda store, grove: store.set_tag(grove.victim, RunTag("t", "1")),
    "delete_tag": lambda store, grove: store.delete_tag(grove.victim, "colour"),
    "log_batch": lambda store, grove: store.log_batch(grove.victim, [Metric("n", 1.0, 1)], [Param("p", "1")]),
    "log_inputs": lambda store, grove: store.log_inputs(grove.victim, [DATASET]),
    "update_run_info": lambda store, grove: store.update_run_info(grove.victim, "FINISHED", 1, "x"),
    "delete_run": lambda store, grove: store.delete_run(grove.victim),
    "restore_run": lambda store, grove: store.restore_run(grove.victim),
}
EXPERIMENT_WRITES: dict[str, Callable[[BackendStore, Grove], object]] = {
    "rename_experiment": lambda store, grove: store.rename_experiment(grove.experiment, "x"),
    "delete_experiment": lambda store, grove: store.delete_experiment(grove.experiment),
    "restore_experiment": lambda store, grove: store.restore_experiment(grove.experiment),
    "set_experiment_tag": lambda store, grove: store.set_experiment_tag(grove.experiment, ExperimentTag("t", "1")),
    "delete_experiment_tag": lambda store, grove: store.delete_experiment_tag(grove.experiment, "kind"),
    "create_run": lambda store, grove: store.create_run(grove.experiment),
}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Grove]:
    """A folder as MLflow leaves one."""
    folder = tmp_path_factory.mktemp("malformed")
    grove = grow(folder / "mlruns")
    strip_own(grove.root)
    shutil.move(grove.root, folder / "template")
    return folder / "template", grove


@pytest.fixture
def grove(template: tuple[Path, Grove]) -> Grove:
    source, grove = template
    shutil.rmtree(grove.root, ignore_errors=True)
    shutil.copytree(source, grove.root)
    age(grove.root)
    return grove


def _name(case: Case) -> str:
    return case.name.replace(" ", "-")


@pytest.fixture(params=CASES, ids=_name)
def case(request: pytest.FixtureRequest) -> Case:
    result: Case = request.param
    return result


WITH_TRASH = [case for case in CASES if not case.without_trash]
NO_RUN = [case for case in CASES if case.shows in (Shows.NO_RUN, Shows.NO_EXPERIMENT)]


@pytest.fixture
def before(grove: Grove, case: Case) -> dict[str, object]:
    """What was read before the folder is broken, which it is then."""
    with open_scanning(grove.root, read_only=True) as store:
        found = read_everything(store, _ids(grove, case))
    case.harm(grove)
    age(grove.root)
    return found


def _ids(grove: Grove, case: Case) -> list[str]:
    return [id_ for id_ in grove.experiment_ids if not (case.without_trash and id_ == grove.deleted)]


def _expected(before: dict[str, object], case: Case, grove: Grove) -> dict[str, object]:
    """What must still be read, and exactly so."""
    if case.shows is Shows.EVERYTHING:
        return before
    gone = {grove.victim}
    if case.shows is Shows.NO_EXPERIMENT:
        gone |= {grove.experiment, grove.neighbour}
    if any("{e}/tags" in path for _, path in case.problems):
        gone |= {grove.experiment}
    return {what: value for what, value in before.items() if not gone & set(what.split(" "))}


@pytest.mark.parametrize("read_only", [True, False])
def test_read_broken_folder_shows_everything_else_as_before(
    grove: Grove, case: Case, before: dict[str, object], read_only: bool
) -> None:
    ids, expected = _ids(grove, case), _expected(before, case, grove)
    with open_backend_store(grove.root, read_only=read_only or case.without_trash) as store:
        found = read_everything(store, ids)
        with open_scanning(grove.root, read_only=True) as scanning:
            assert read_everything(scanning, ids) == found
        assert {what: found.get(what) for what in expected} == expected
        if case.shows is Shows.EVERYTHING:
            assert found == before
        if case.shows in (Shows.NO_RUN, Shows.NO_EXPERIMENT):
            assert f"run {grove.victim}" not in found
            with pytest.raises(HoldallError):
                store.get_run(grove.victim)
        else:
            assert store.get_run(grove.victim).info.run_id == grove.victim
            assert f"run {grove.victim}" in found
        if case.shows is Shows.NO_EXPERIMENT:
            assert f"experiment {grove.experiment}" not in found
            assert store.search_runs([grove.experiment]) == []
            with pytest.raises(HoldallError):
                store.get_experiment(grove.experiment)


def test_find_problems_in_broken_folder_tells_kind_and_path(
    grove: Grove, case: Case, before: dict[str, object]
) -> None:
    with open_backend_store(grove.root, read_only=True) as store:
        found = store.find_problems()
    assert [(problem.kind, problem.path) for problem in found] == case.expected(grove)
    assert all(problem.message for problem in found)


def test_read_broken_folder_changes_no_byte(grove: Grove, case: Case, before: dict[str, object]) -> None:
    untouched = entries(grove.root)
    ids = _ids(grove, case)
    for read_only in (True, False):
        with open_backend_store(grove.root, read_only=read_only or case.without_trash) as store:
            read_everything(store, ids)
            store.find_problems()
        assert entries(grove.root) == untouched


@pytest.mark.parametrize("case", WITH_TRASH, ids=_name, indirect=True)
def test_log_beside_broken_item_changes_nothing_else(grove: Grove, case: Case, before: dict[str, object]) -> None:
    victim = grove.neighbour if case.shows is not Shows.NO_EXPERIMENT else grove.elsewhere
    but = [path for path in grove.root.glob(f"*/{victim}") if path.is_dir() and not path.is_symlink()]
    untouched = entries(grove.root, but=but)
    with open_backend_store(grove.root) as store:
        store.log_batch(victim, [Metric("loss", 7.0, 7, 7)], [Param("p", "1")], [RunTag("t", "1")])
        store.search_runs(grove.experiment_ids)
        assert store.get_run(victim).data.metrics["loss"] == 7.0
    assert entries(grove.root, but=but) == untouched


def test_read_broken_folder_twice_warns_once(
    grove: Grove, case: Case, before: dict[str, object], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "holdall")
    with open_backend_store(grove.root, read_only=True) as store:
        for _ in range(3):
            read_everything(store, _ids(grove, case))
            with open_scanning(grove.root, read_only=True):
                pass
    for _, path in case.expected(grove):
        about = [record for record in caplog.records if f"{path}:" in record.getMessage()]
        assert len({record.getMessage() for record in about}) == len(about)
        assert bool(about) == case.is_met
        assert all(record.levelno == logging.WARNING for record in about)


def test_show_info_of_broken_folder_lists_the_problem(grove: Grove, case: Case, before: dict[str, object]) -> None:
    result = CliRunner().invoke(app, ["info", str(grove.root), "--json"])
    assert result.exit_code == 0, result.output
    for _, path in case.expected(grove):
        assert path.encode("unicode_escape").decode().split("\\")[0] in result.stdout
    assert CliRunner().invoke(app, ["info", str(grove.root)]).exit_code == 0


@pytest.mark.parametrize("case", NO_RUN, ids=_name, indirect=True)
def test_write_to_broken_run_is_refused_and_changes_nothing(
    grove: Grove, case: Case, before: dict[str, object]
) -> None:
    writes = WRITES if case.shows is Shows.NO_RUN else WRITES | EXPERIMENT_WRITES
    places = [path for path in grove.root.glob(f"*/{grove.victim}") if path.is_dir()]
    untouched = entries(grove.root), [entries(path, own=True) for path in places]
    with open_backend_store(grove.root) as store:
        for write in writes.values():
            with pytest.raises(HoldallError):
                write(store, grove)
    assert (entries(grove.root), [entries(path, own=True) for path in places]) == untouched


def test_read_file_whose_name_is_not_text_passes_over_it(grove: Grove, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "holdall")  # what reports on tests between processes takes no such names
    for place in ("", grove.experiment, f"{grove.experiment}/{grove.victim}"):
        (grove.root / place / "\udcff").mkdir()
    for kind in ("params", "tags", "metrics"):
        (grove.run_path / kind / "\udcfe").write_bytes(b"1 2 3")
    age(grove.root)
    for read_only in (True, False):
        with open_backend_store(grove.root, read_only=read_only) as store:
            for _ in range(2):
                found = store.search_runs(grove.experiment_ids, run_view_type=ViewType.ALL)
                assert grove.victim in [run.info.run_id for run in found]
                assert store.get_run(grove.victim).data.params.keys() == {"lr", "net/depth"}
            assert sorted((str(problem.kind), problem.path[-4:]) for problem in store.find_problems()) == [
                *[("foreign", r"\xff")] * 3,
                *[("malformed", r"\xfe")] * 3,
            ]
    for words in (["info", str(grove.root), "--json"], ["info", str(grove.root)]):
        assert CliRunner().invoke(app, words).exit_code == 0


# What only an ordinary user meets

PLACES = {
    "run/meta.yaml": (Shows.NO_RUN, "{e}/{r}/meta.yaml"),
    "run/metrics/loss": (Shows.RUN, "{e}/{r}/metrics/loss"),
    "run/params/lr": (Shows.RUN, "{e}/{r}/params/lr"),
    "run/params/net": (Shows.RUN, "{e}/{r}/params/net"),
    "run/tags": (Shows.RUN, "{e}/{r}/tags"),
    "run/inputs": (Shows.RUN, "{e}/{r}/inputs"),
    "run": (Shows.NO_RUN, "{e}/{r}"),
    "meta.yaml": (Shows.NO_EXPERIMENT, "{e}/meta.yaml"),
    "datasets": (Shows.RUN, "{e}/{r}/inputs"),
    "": (Shows.NO_EXPERIMENT, "{e}"),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("read_only", [True, False])
def test_read_what_permissions_forbid_passes_over_it(grove: Grove, place: str, read_only: bool) -> None:
    shows, path = PLACES[place]
    path = path.format(e=grove.experiment, r=grove.victim)
    target = grove.experiment_path / place.replace("run", grove.victim, 1)
    mode = target.stat().st_mode
    with open_scanning(grove.root, read_only=True) as store:
        before = read_everything(store, grove.experiment_ids)

    def work() -> None:
        with open_backend_store(grove.root, read_only=read_only) as store:
            for _ in range(2):
                found = {run.info.run_id for run in store.search_runs(grove.experiment_ids, run_view_type=ViewType.ALL)}
                assert grove.elsewhere in found
                assert (grove.neighbour in found) == (shows is not Shows.NO_EXPERIMENT)
                assert (grove.victim in found) == (shows in (Shows.RUN, Shows.EVERYTHING))
                assert store.get_run(grove.elsewhere) == before[f"run {grove.elsewhere}"]
                if shows is Shows.NO_EXPERIMENT:
                    continue
                assert repr(store.get_run(grove.neighbour).info) == repr(store.get_run(grove.neighbour).info)
                if shows is Shows.RUN:
                    assert store.get_run(grove.victim).info.run_id == grove.victim
            assert len(store.search_experiments()) == (3 if shows is not Shows.NO_EXPERIMENT else 2)
            assert store.get_experiment_by_name("meadow") is not None
            problems = {(problem.kind, problem.path) for problem in store.find_problems()}
            assert problems
            assert any(found.startswith(path) for _, found in problems)
            assert {kind for kind, _ in problems} <= {ProblemKind.UNREADABLE, ProblemKind.MALFORMED}

    target.chmod(0)
    try:
        as_ordinary_user(work)
    finally:
        target.chmod(mode)


@pytest.mark.parametrize("place", ["metrics/loss", "journal"])
def test_log_to_run_of_which_a_file_may_not_be_written_is_refused_and_later_writes_work(
    grove: Grove, place: str
) -> None:
    target = grove.run_path / (place if place != "journal" else ".holdall/journal")
    with open_backend_store(grove.root) as store:
        store.set_tag(grove.victim, RunTag("t", "1"))
    target.chmod(0o444)

    def refused() -> None:
        with open_backend_store(grove.root) as store:
            with pytest.raises(HoldallError):
                store.log_batch(grove.victim, [Metric("loss", 1.0, 1, 9)], [Param("refused", "1")])
            assert "refused" not in store.get_run(grove.victim).data.params

    try:
        as_ordinary_user(refused)
    finally:
        target.chmod(0o644)
    with open_backend_store(grove.root) as store:
        assert "refused" not in store.get_run(grove.victim).data.params
        store.set_tag(grove.victim, RunTag("t", "2"))
        assert "refused" not in store.get_run(grove.victim).data.params
