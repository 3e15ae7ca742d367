"""`SqlRawAccess` reads and writes what it says, without any store; a harness makes and drops databases."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.backends.server_harness import LARGEST, ServerHarness, SqlRawAccess

from holdall.conformance_tests.emulators import DatabaseName, DatabaseServer, shared_server
from holdall.conformance_tests.support import identity
from holdall.stores import Metric

pytestmark = pytest.mark.extras

TABLES = """
CREATE TABLE metrics (
    {key} VARCHAR(250), value DOUBLE PRECISION, timestamp BIGINT, run_uuid VARCHAR(32), step BIGINT, is_nan BOOLEAN
);
CREATE TABLE params ({key} VARCHAR(250), value VARCHAR(8000), run_uuid VARCHAR(32));
CREATE TABLE tags ({key} VARCHAR(250), value VARCHAR(8000), run_uuid VARCHAR(32))
"""


@pytest.fixture(params=["mariadb", "postgresql"])
def server(request: pytest.FixtureRequest) -> DatabaseServer:
    name: DatabaseName = request.param
    return shared_server(name)


@pytest.fixture
def harness(server: DatabaseServer, tmp_path: Path) -> Iterator[ServerHarness]:
    harness = ServerHarness(server, tmp_path)
    key = '"key"' if server.scheme == "postgresql" else "`key`"
    for statement in TABLES.format(key=key).split(";"):
        server.execute(harness.database, statement)
    yield harness
    harness.remove()


def test_write_points_of_every_kind_reads_the_same(harness: ServerHarness) -> None:
    values = [math.nan, math.inf, -math.inf, 5e-324, 0.1 + 0.2, 1.0]  # MariaDB has no −0.0
    points = [Metric("m", value, 2**62 + number, -number) for number, value in enumerate(values)]
    for point in points:
        harness.raw.write_metric_point("run", point)
    assert sorted(map(identity, harness.raw.metric_points("run"))) == sorted(map(identity, points))
    assert harness.raw.metric_points("other") == []


def test_write_special_values_stores_them_as_mlflow_does(harness: ServerHarness) -> None:
    for number, value in enumerate([math.nan, math.inf, -math.inf]):
        harness.raw.write_metric_point("run", Metric("m", value, number))
    rows = harness.server.execute(harness.database, "SELECT value, is_nan FROM metrics ORDER BY timestamp")
    assert rows == [(0.0, True), (LARGEST, False), (-LARGEST, False)]


def test_read_params_and_tags_finds_those_of_the_run(harness: ServerHarness) -> None:
    for table, value in (("params", "p"), ("tags", "t")):
        harness.server.execute(harness.database, f"INSERT INTO {table} VALUES (%s, %s, 'run')", ["a%", value])
    assert (harness.raw.params("run"), harness.raw.tags("run")) == ({"a%": "p"}, {"a%": "t"})
    assert harness.raw.params("other") == {}


def test_write_row_changes_counts_and_digest(harness: ServerHarness) -> None:
    before = harness.raw.digest()
    assert harness.raw.digest() == before
    assert harness.raw.counts() == {"metrics": 0, "params": 0, "tags": 0}
    harness.raw.write_metric_point("run", Metric("m", 1.0, 1))
    assert harness.raw.counts() == {"metrics": 1, "params": 0, "tags": 0}
    assert harness.raw.digest() != before


def test_read_empty_database_counts_nothing(server: DatabaseServer, tmp_path: Path) -> None:
    harness = ServerHarness(server, tmp_path)
    assert harness.raw.counts() == {}
    assert harness.raw.digest()
    harness.remove()


def test_make_other_from_prototype_has_its_rows_and_is_dropped_with_the_first(
    harness: ServerHarness, tmp_path: Path
) -> None:
    harness.raw.write_metric_point("run", Metric("m", 1.0, 1))
    first = ServerHarness(harness.server, tmp_path, prototype=harness.database)
    other = first.another()
    assert len({harness.database, first.database, other.database}) == 3
    for copy in (first, other):
        assert copy.isolated
        assert copy.raw.digest() == harness.raw.digest()
    first.remove()
    for copy in (first, other):
        assert not exists(harness.server, copy.database)


def test_remove_harness_of_given_database_keeps_it(harness: ServerHarness, tmp_path: Path) -> None:
    sharing = ServerHarness(harness.server, tmp_path, database=harness.database)
    assert not sharing.isolated
    sharing.remove()
    assert isinstance(harness.raw, SqlRawAccess)
    assert exists(harness.server, harness.database)


def exists(server: DatabaseServer, database: str) -> bool:
    if server.scheme == "postgresql":
        rows = server.execute("postgres", "SELECT 1 FROM pg_database WHERE datname = %s", [database])
    else:
        rows = server.execute("", "SELECT 1 FROM information_schema.schemata WHERE schema_name = %s", [database])
    return bool(rows)
