"""What `inspect_database` finds in databases into which defects were planted, and what it leaves alone."""

from __future__ import annotations

import math
import shutil
import sqlite3
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest
from tests.backends.server_harness import SqlRawAccess
from tests.interop.prototypes import KINDS, prototype
from tests.interop.snapshot import FIXTURES

from holdall.conformance_tests.emulators import DatabaseServer, shared_server
from holdall.stores import (
    BackendStore,
    Dataset,
    DatasetInput,
    ExperimentTag,
    Finding,
    FindingKind,
    InputTag,
    Metric,
    Param,
    ReadOnly,
    RunTag,
    TemporarilyUnavailable,
    TuningPlan,
    TuningStep,
    Unsupported,
    as_database_store,
    open_backend_store,
)
from holdall.stores.wrappers import WrapperBackendStore

ROOT = "/srv/artifacts"
PRODUCTS = (
    "sqlite",
    pytest.param("postgresql", marks=pytest.mark.extras),
    pytest.param("mariadb", marks=pytest.mark.extras),
)
OWN = {"holdall_latest_metrics_by_value", "holdall_runs_by_start"}


class Place(ABC):
    """A database that statements can be run on past any store."""

    uri: str
    key = "`key`"

    @abstractmethod
    def run(self, *statements: str) -> list[tuple[object, ...]]:
        """Run statements, each for itself; the rows of the last."""

    @abstractmethod
    def state(self) -> object:
        """Something that differs if anything was written."""

    @abstractmethod
    def indexes(self) -> set[tuple[object, ...]]:
        """Tables and names of all indexes."""

    def open(self, *, read_only: bool = False) -> BackendStore:
        return open_backend_store(self.uri, artifact_root=ROOT, read_only=read_only)

    def findings(self) -> list[Finding]:
        with self.open(read_only=True) as store:
            return list(as_database_store(store).inspect_database().findings)

    def tune(self, *, undo: bool = False) -> TuningPlan:
        with self.open() as store:
            return as_database_store(store).tune_database(undo=undo)


class SqlitePlace(Place):
    def __init__(self, file: Path) -> None:
        self.file = file
        self.uri = f"sqlite:///{file}"

    def run(self, *statements: str) -> list[tuple[object, ...]]:
        with closing(sqlite3.connect(self.file, isolation_level=None)) as connection:
            return [connection.execute(statement).fetchall() for statement in statements][-1]

    def state(self) -> object:
        return {path.name: path.read_bytes() for path in self.file.parent.iterdir()}

    def indexes(self) -> set[tuple[object, ...]]:
        return set(self.run("SELECT tbl_name, name FROM sqlite_master WHERE type = 'index'"))


class ServerPlace(Place):
    def __init__(self, server: DatabaseServer, database: str) -> None:
        self.server, self.database = server, database
        self.uri = server.uri(database)
        self.key = "key" if server.scheme == "postgresql" else "`key`"

    def run(self, *statements: str) -> list[tuple[object, ...]]:
        return [self.server.execute(self.database, statement) for statement in statements][-1]

    def state(self) -> object:
        return SqlRawAccess(self.server, self.database).digest(), self.indexes()

    def indexes(self) -> set[tuple[object, ...]]:
        if self.server.scheme == "postgresql":
            return set(self.run("SELECT tablename, indexname FROM pg_indexes WHERE schemaname = 'public'"))
        return set(
            self.run("SELECT table_name, index_name FROM information_schema.statistics WHERE table_schema = database()")
        )


@pytest.fixture(params=PRODUCTS)
def product(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def own(product: str, tmp_path: Path) -> Iterator[Place]:
    """A database that holdall created."""
    if product == "sqlite":
        yield SqlitePlace(tmp_path / "own.db")
        return
    server = shared_server(product)
    assert isinstance(server, DatabaseServer)
    name = server.create_database()
    yield ServerPlace(server, name)
    server.drop_database(name)


@pytest.fixture
def mlflow(product: str, tmp_path: Path) -> Iterator[Place]:
    """A database that MLflow 2.22 created."""
    yield from _made(product, "2.22.5", tmp_path)


@pytest.fixture
def mlflow3(product: str, tmp_path: Path) -> Iterator[Place]:
    """A database that MLflow 3 created."""
    yield from _made(product, "3.17.2", tmp_path)


@pytest.fixture(params=["2.22.5", "3.17.2"])
def any_mlflow(request: pytest.FixtureRequest, product: str, tmp_path: Path) -> Iterator[Place]:
    """A database that MLflow created, one of either version."""
    yield from _made(product, str(request.param), tmp_path)


def _made(product: str, version: str, folder: Path) -> Iterator[Place]:
    if product == "sqlite":
        yield SqlitePlace(Path(shutil.copyfile(FIXTURES / f"mlflow-{version}.db", folder / "mlflow.db")))
        return
    server = shared_server(product)
    assert isinstance(server, DatabaseServer)
    name = server.create_database(template=prototype(server, version, product), options=KINDS[product])
    yield ServerPlace(server, name)
    server.drop_database(name)


def fill(place: Place) -> dict[str, str]:
    """Write something of everything that is in order; the ids that statements refer to."""
    with place.open() as store:
        experiment = store.create_experiment("sound", tags=[ExperimentTag("team", "blue")])
        runs = [store.create_run(experiment, start_time=number).info.run_id for number in range(2)]
        for run in runs:
            dataset = Dataset(f"data-{run}", "digest", "local", "{}")
            store.log_inputs(run, [DatasetInput(dataset, (InputTag("context", "train"),))])
            points = [
                Metric("loss", value, 10 * step, step) for step, value in enumerate([0.9, math.nan, -math.inf, 0.1])
            ]
            twins = [Metric("tie", value, 5, -1) for value in (0.0, math.nan, -1.0)]
            store.log_batch(run, [*points, *twins], [Param("lr", "1")], [RunTag("team", "red")])
        store.delete_run(runs[1])
    return {"run": runs[0], "other": runs[1], "experiment": experiment, "key": place.key}


@dataclass(frozen=True)
class Defect:
    """Something wrong, how it is planted, and how it is found."""

    kind: FindingKind
    place: str
    count: int
    example: str
    statements: Sequence[str]

    def __str__(self) -> str:
        return f"{self.kind}-{self.place}"


POINT = "(run_uuid, {key}, timestamp, step, value, is_nan)"
DEFECTS = [
    Defect(
        FindingKind.ORPHAN,
        "metrics",
        2,
        "run_uuid gone",
        [
            f"INSERT INTO metrics {POINT} VALUES ('gone', 'loss', 1, 1, 0.5, FALSE)",
            f"INSERT INTO metrics {POINT} VALUES ('gone', 'loss', 2, 2, 0.5, FALSE)",
        ],
    ),
    Defect(
        FindingKind.ORPHAN,
        "latest_metrics",
        1,
        "run_uuid gone",
        [f"INSERT INTO latest_metrics {POINT} VALUES ('gone', 'loss', 1, 1, 0.5, FALSE)"],
    ),
    Defect(
        FindingKind.ORPHAN,
        "params",
        1,
        "run_uuid gone",
        ["INSERT INTO params (run_uuid, {key}, value) VALUES ('gone', 'lr', '1')"],
    ),
    Defect(
        FindingKind.ORPHAN,
        "tags",
        1,
        "run_uuid gone",
        ["INSERT INTO tags (run_uuid, {key}, value) VALUES ('gone', 'lr', '1')"],
    ),
    Defect(
        FindingKind.ORPHAN,
        "inputs",
        1,
        "destination_id gone",
        ["UPDATE inputs SET destination_id = 'gone' WHERE destination_id = '{run}'"],
    ),
    Defect(
        FindingKind.ORPHAN,
        "inputs",
        1,
        "source_id gone",
        ["UPDATE inputs SET source_id = 'gone' WHERE destination_id = '{run}'"],
    ),
    Defect(
        FindingKind.ORPHAN,
        "input_tags",
        1,
        "input_uuid gone",
        ["INSERT INTO input_tags (input_uuid, name, value) VALUES ('gone', 'context', 'train')"],
    ),
    Defect(
        FindingKind.ORPHAN,
        "experiment_tags",
        1,
        "experiment_id 77",
        ["INSERT INTO experiment_tags (experiment_id, {key}, value) VALUES (77, 'team', 'blue')"],
    ),
    Defect(
        FindingKind.ORPHAN,
        "runs",
        1,
        "experiment_id 77",
        ["UPDATE runs SET experiment_id = 77 WHERE run_uuid = '{run}'"],
    ),
    Defect(
        FindingKind.ORPHAN,
        "runs",
        1,
        "experiment_id None",
        ["UPDATE runs SET experiment_id = NULL WHERE run_uuid = '{run}'"],
    ),
    Defect(
        FindingKind.ORPHAN,
        "datasets",
        1,
        "experiment_id 77",
        ["UPDATE datasets SET experiment_id = 77 WHERE name = 'data-{run}'"],
    ),
    Defect(
        FindingKind.INVISIBLE_METRIC,
        "latest_metrics",
        1,
        "run {run}, metric 'loss'",
        ["DELETE FROM latest_metrics WHERE run_uuid = '{run}' AND {key} = 'loss'"],
    ),
    Defect(
        FindingKind.WRONG_LATEST,
        "latest_metrics",
        1,
        "run {run}, metric 'loss'",
        ["UPDATE latest_metrics SET step = 0, timestamp = 0, value = 0.9 WHERE run_uuid = '{run}' AND {key} = 'loss'"],
    ),
    Defect(
        FindingKind.WRONG_LATEST,
        "latest_metrics",
        1,
        "run {other}, metric 'loss'",
        ["UPDATE latest_metrics SET step = 99 WHERE run_uuid = '{other}' AND {key} = 'loss'"],
    ),
]


@pytest.mark.parametrize("defect", DEFECTS, ids=str)
def test_inspect_database_with_defect_reports_it_once_and_nothing_else(own: Place, defect: Defect) -> None:
    names = fill(own)
    before = own.findings()
    own.run(*(statement.format(**names) for statement in defect.statements))
    state = own.state()
    found = [finding for finding in own.findings() if finding not in before]
    assert [(finding.kind, finding.place, finding.count, finding.example) for finding in found] == [
        (defect.kind, defect.place, defect.count, defect.example.format(**names))
    ]
    assert found[0].kind.is_error
    assert own.state() == state


def test_inspect_sound_database_finds_nothing_wrong_and_writes_nothing(own: Place) -> None:
    fill(own)
    state = own.state()
    kinds = {finding.kind for finding in own.findings()}
    assert kinds <= {FindingKind.WIDE_IDS}
    assert own.state() == state


def test_inspect_database_of_mlflow_gives_advice_only(any_mlflow: Place) -> None:
    place = any_mlflow
    state = place.state()
    found = place.findings()
    assert not [finding for finding in found if finding.kind.is_error]
    assert {finding.example for finding in found if finding.kind is FindingKind.MISSING_INDEX} == OWN
    assert place.state() == state


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM latest_metrics WHERE run_uuid = '{run}' AND {key} = 'loss'",
        "UPDATE latest_metrics SET step = 0, timestamp = 0, value = 0.9 WHERE run_uuid = '{run}' AND {key} = 'loss'",
    ],
)
def test_log_greatest_point_again_as_remedy_says_mends_latest_value(own: Place, statement: str) -> None:
    names = fill(own)
    before = own.findings()
    own.run(statement.format(**names))
    with own.open() as store:
        store.log_metric(names["run"], store.get_metric_history(names["run"], "loss")[-1])
    assert own.findings() == before


def test_delete_orphans_as_remedy_says_leaves_none(own: Place) -> None:
    names = fill(own)
    before = own.findings()
    for defect in DEFECTS:
        if defect.kind is FindingKind.ORPHAN and "UPDATE" not in defect.statements[0]:
            own.run(*(statement.format(**names) for statement in defect.statements))
    found = [finding for finding in own.findings() if finding not in before]
    assert len(found) == 6
    own.run(*(finding.remedy.removeprefix("back up, then ") for finding in found))
    assert own.findings() == before


def test_inspect_experiments_of_one_name_in_two_workspaces_is_advice(mlflow3: Place) -> None:
    mlflow3.run(
        "INSERT INTO experiments (experiment_id, name, lifecycle_stage, workspace) "
        "VALUES (77, 'Default', 'active', 'other')"
    )
    [found] = [finding for finding in mlflow3.findings() if finding.kind is FindingKind.SAME_NAME]
    assert (found.count, found.example, found.kind.is_error) == (1, "'Default'", False)


def test_inspect_sqlite_with_inexact_collation_names_the_table(tmp_path: Path) -> None:
    place = SqlitePlace(tmp_path / "own.db")
    fill(place)
    place.run("DROP TABLE params", "CREATE TABLE params (run_uuid TEXT, key TEXT COLLATE NOCASE, value TEXT)")
    [found] = place.findings()
    assert (found.kind, found.place) == (FindingKind.INEXACT_COLLATION, "params")


@pytest.mark.extras
@pytest.mark.parametrize("product", ["postgresql", "mariadb"], indirect=True)
class TestColumns:
    def test_inspect_narrow_columns_names_each_with_its_width(self, mlflow: Place) -> None:
        narrow = {f.place: f.message for f in mlflow.findings() if f.kind is FindingKind.NARROW_COLUMN}
        assert set(narrow) >= {
            "experiments.name",
            "experiments.artifact_location",
            "experiment_tags.value",
            "runs.artifact_uri",
        }
        assert "500" in narrow["experiments.name"]
        assert "256" in narrow["experiments.name"]

    def test_inspect_own_columns_finds_none_narrow(self, own: Place) -> None:
        fill(own)
        assert not [f for f in own.findings() if f.kind in (FindingKind.NARROW_COLUMN, FindingKind.NARROW_IDS)]

    def test_inspect_values_near_width_counts_those_at_risk(self, mlflow: Place) -> None:
        with mlflow.open() as store:
            for length in (229, 230, 256):
                store.create_experiment("x" * length)
        [found] = [f for f in mlflow.findings() if f.kind is FindingKind.LONG_VALUE]
        assert (found.place, found.count) == ("experiments.name", 2)

    def test_inspect_location_without_room_for_runs_is_error(self, mlflow: Place) -> None:
        with mlflow.open() as store:
            store.create_experiment("fits", "file:///" + "x" * 149)
            store.create_experiment("does not fit", "file:///" + "x" * 150)
            locations = [found.artifact_location for found in store.search_experiments()]
        [found] = [f for f in mlflow.findings() if f.kind is FindingKind.LONG_LOCATION]
        assert (
            found.count == 1 == sum(len(location) + len("/") + 32 + len("/artifacts") > 200 for location in locations)
        )

    def test_inspect_narrow_ids_counts_columns(self, mlflow: Place) -> None:
        [found] = [f for f in mlflow.findings() if f.kind is FindingKind.NARROW_IDS]
        assert found.count == 4


@pytest.mark.extras
class TestPostgresql:
    @pytest.fixture(params=["postgresql"])
    def product(self, request: pytest.FixtureRequest) -> str:
        return str(request.param)

    def test_inspect_sequence_behind_ids_is_error_until_remedy(self, mlflow: Place) -> None:
        before = mlflow.findings()
        mlflow.run(
            "INSERT INTO experiments (experiment_id, name, lifecycle_stage) VALUES (5, 'explicit', 'active')",
        )
        [found] = [finding for finding in mlflow.findings() if finding not in before]
        assert (found.kind, found.count) == (FindingKind.SEQUENCE_BEHIND, 5)
        mlflow.run(found.remedy)
        assert mlflow.findings() == before

    def test_inspect_interrupted_index_is_advice_and_tune_makes_it(self, mlflow: Place) -> None:
        fill(mlflow)
        with pytest.raises(Exception, match="could not create unique index"):  # what is left of it is as if killed
            mlflow.run("CREATE UNIQUE INDEX CONCURRENTLY holdall_runs_by_start ON runs (source_type)")
        found = {finding.example: finding.kind for finding in mlflow.findings() if finding.example in OWN}
        assert found["holdall_runs_by_start"] is FindingKind.UNFINISHED_INDEX
        assert "DROP INDEX" in " ".join(step.statement for step in mlflow.tune().steps)
        assert not [finding for finding in mlflow.findings() if finding.example in OWN]


@pytest.mark.extras
class TestMariadb:
    @pytest.fixture(params=["mariadb"])
    def product(self, request: pytest.FixtureRequest) -> str:
        return str(request.param)

    def test_inspect_inexact_collation_is_advice(self, mlflow: Place) -> None:
        kinds = [finding.kind for finding in mlflow.findings()]
        assert kinds.count(FindingKind.INEXACT_COLLATION) == 1
        assert FindingKind.POOR_CHARACTER_SET not in kinds
        assert FindingKind.WIDE_IDS not in kinds

    def test_inspect_latin1_says_that_characters_are_lost(self) -> None:
        server = shared_server("mariadb")
        place = ServerPlace(server, prototype(server, "2.22.5", "mariadb-latin1"))
        assert FindingKind.POOR_CHARACTER_SET in [finding.kind for finding in place.findings()]

    def test_inspect_metrics_that_differ_in_case_only_is_error(self, mlflow: Place) -> None:
        names = fill(mlflow)
        mlflow.run(f"INSERT INTO metrics {POINT} VALUES ('{{run}}', 'LOSS', -1, -1, 0, 0)".format(**names))
        [found] = [finding for finding in mlflow.findings() if finding.kind.is_error]
        assert (found.kind, found.count) == (FindingKind.MIXED_NAMES, 1)


def test_tune_and_undo_leaves_indexes_as_they_were(any_mlflow: Place) -> None:
    place = any_mlflow
    before = place.indexes()
    assert any("ANALYZE" in step.statement for step in place.tune().steps)
    tuned = place.indexes()
    assert {name for _, name in tuned - before} == OWN
    assert not [finding for finding in place.findings() if finding.kind is FindingKind.MISSING_INDEX]
    assert place.tune().steps == ()
    assert place.indexes() == tuned
    assert len(place.tune(undo=True).steps) == 2
    assert place.indexes() == before
    assert place.tune(undo=True).steps == ()


def test_tune_while_others_write_loses_nothing(mlflow: Place) -> None:
    with mlflow.open() as store:
        experiment = store.create_experiment("busy")
        run = store.create_run(experiment).info.run_id
    done = threading.Event()

    def log() -> int:
        with mlflow.open() as store:
            for step in count():
                store.log_metric(run, Metric("loss", 0.5, step, step))
                store.create_run(experiment, start_time=step)
                if done.is_set():
                    return step + 1
        raise AssertionError

    with ThreadPoolExecutor(1) as pool:
        logging = pool.submit(log)
        for undo in (False, True, False):
            assert mlflow.tune(undo=undo).steps
        done.set()
        logged = logging.result()
    with mlflow.open() as store:
        assert len(store.get_metric_history(run, "loss")) == logged
        assert len(store.search_runs([experiment], max_results=50_000)) == logged + 1
    assert not [finding for finding in mlflow.findings() if finding.kind.is_error]


@pytest.mark.extras
@pytest.mark.parametrize("product", ["postgresql", "mariadb"], indirect=True)
def test_tune_by_two_at_once_lets_one_do_it(mlflow: Place) -> None:
    with mlflow.open() as one, mlflow.open() as other:
        second: list[str] = []

        def meanwhile(_: TuningStep) -> None:
            with pytest.raises(TemporarilyUnavailable, match="Another process is tuning"):
                as_database_store(other).tune_database()
            second.append("refused")

        as_database_store(one).tune_database(on_step=meanwhile)
        assert len(second) == 4
        assert as_database_store(other).tune_database().steps == ()


def test_tune_read_only_store_is_refused(mlflow: Place) -> None:
    with mlflow.open(read_only=True) as store, pytest.raises(ReadOnly):
        as_database_store(store).tune_database()


def test_tune_own_database_does_nothing_and_undo_keeps_its_indexes(own: Place) -> None:
    fill(own)
    before = own.indexes()
    assert own.tune().steps == own.tune(undo=True).steps == ()
    assert own.indexes() == before


def test_plan_tuning_changes_nothing(mlflow: Place) -> None:
    before = mlflow.state()
    with mlflow.open(read_only=True) as store:
        database = as_database_store(store)
        assert len(database.plan_tuning().steps) == 4
        assert database.plan_tuning(undo=True).steps == ()
    assert mlflow.state() == before


def test_ask_store_that_is_no_database_for_one_is_unsupported() -> None:
    with WrapperBackendStore(open_backend_store("memory://")) as store:
        for each in (store, store.inner):
            with pytest.raises(Unsupported):
                as_database_store(each)


def test_inspect_database_through_wrapper_reaches_it(tmp_path: Path) -> None:
    with WrapperBackendStore(open_backend_store(f"sqlite:///{tmp_path}/own.db")) as store:
        seen: list[str] = []
        assert as_database_store(store).inspect_database(seen.append).findings == []
        assert len(seen) > 10
