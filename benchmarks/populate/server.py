"""Fill a database on a server by statements that make their rows there: the same rows in the tables of every product.

Statements are such that PostgreSQL and MariaDB take them alike. Standard library only.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import md5
from pathlib import Path

from benchmarks.workload import (
    EXPERIMENT,
    EXPERIMENT_ID,
    HISTORY_KEY,
    HISTORY_RUN,
    LOG_EXPERIMENT_ID,
    SCAN_EXPERIMENT_ID,
    START,
    Scale,
)

__all__ = ["KEYS", "PRODUCTS", "STEPS", "analysing", "counting", "filling", "run_id"]

KEYS = 5
"""Metrics of a run, params, and tags."""

STEPS = 10
"""Points of each metric of a run."""

PRODUCTS = ("postgresql", "mariadb")
TABLES = ("runs", "metrics", "latest_metrics", "params", "tags")

_SETTINGS = {
    "postgresql": "SET session_replication_role = replica",  # the rows are right: foreign keys need no check
    "mariadb": "SET foreign_key_checks = 0, unique_checks = 0, sql_mode = 'ANSI_QUOTES'",  # loads empty tables in bulk
}
_VALUE = "((n * 611953 + k * 104729 + s * 7919) % 1000003) / 1000003e0"
"""Looks random, and differs between runs as far as the search for the best goes."""


def run_id(number: int) -> str:
    """The id of a stored run."""
    return md5(f"run-{number}".encode(), usedforsecurity=False).hexdigest()


def filling(product: str, artifacts: Path, scale: Scale) -> Iterator[str]:
    """Statements that fill a new database: runs to search, a tenth of as many to read, and a long history."""
    yield _SETTINGS[product]
    for number, name in ((EXPERIMENT_ID, EXPERIMENT), (SCAN_EXPERIMENT_ID, "scan"), (LOG_EXPERIMENT_ID, "log")):
        yield (
            "INSERT INTO experiments"
            " (experiment_id, name, artifact_location, lifecycle_stage, creation_time, last_update_time)"
            f" VALUES ({number}, '{name}', '{artifacts / str(number)}', 'active', {START}, {START})"
        )
    runs = _numbers(product, "n", scale.runs + scanned_runs(scale))
    # Ids in order, as each run's rows lie together in some tables, and none do in others.
    yield f"CREATE TEMPORARY TABLE stored AS SELECT n, md5(concat('run-', n)) AS id FROM {runs} ORDER BY 2"
    yield (
        "INSERT INTO runs (run_uuid, name, source_type, source_name, entry_point_name, user_id, status, start_time,"
        " end_time, source_version, lifecycle_stage, artifact_uri, experiment_id)"
        " SELECT id, concat('run-', lpad(concat(n), 6, '0')), 'UNKNOWN', '', '', 'bench', 'FINISHED',"
        f" {START} + 1000 * n, {START} + 1000 * n + 500, '', 'active', concat('{artifacts}/', id, '/artifacts'),"
        f" CASE WHEN n < {scale.runs} THEN {EXPERIMENT_ID} ELSE {SCAN_EXPERIMENT_ID} END FROM stored"
        # Deleted, so that searches do not meet it.
        f" UNION ALL SELECT '{HISTORY_RUN}', 'history', 'UNKNOWN', '', '', 'bench', 'FINISHED', {START}, {START},"
        f" '', 'deleted', '{artifacts}/{HISTORY_RUN}/artifacts', {EXPERIMENT_ID}"
    )
    keys, steps = _numbers(product, "k", KEYS), _numbers(product, "s", STEPS)
    points, last = _numbers(product, "p", scale.points), scale.points - 1
    columns = '(run_uuid, "key", value, "timestamp", step, is_nan)'
    for table, chosen, history in (
        ("metrics", steps, points),
        ("latest_metrics", f"(SELECT {STEPS - 1} AS s) AS steps", f"(SELECT {last} AS p) AS points"),
    ):
        yield (
            f"INSERT INTO {table} {columns}"
            f" SELECT id, concat('m', k), {_VALUE}, {START} + 1000 * n + s, s, false"
            f" FROM stored CROSS JOIN {keys} CROSS JOIN {chosen}"
            f" UNION ALL SELECT '{HISTORY_RUN}', '{HISTORY_KEY}', 1e0 / (1 + p), {START} + p, p, false FROM {history}"
        )
    yield (
        "INSERT INTO params (run_uuid, \"key\", value) SELECT id, concat('p', k), concat('v', (n * (k + 3) + k) % 10)"
        f" FROM stored CROSS JOIN {keys}"
    )
    yield (
        "INSERT INTO tags (run_uuid, \"key\", value) SELECT id, CASE k WHEN 4 THEN 'mlflow.runName' ELSE concat('t', k)"
        " END, CASE k WHEN 4 THEN concat('run-', lpad(concat(n), 6, '0'))"
        f" ELSE concat('team-', (n * (k + 7) + k) % 20) END FROM stored CROSS JOIN {keys}"
    )


def analysing(product: str) -> Iterator[str]:
    """Statements after which the server knows what it has, and will not clean up while something is measured."""
    if product == "postgresql":
        yield "VACUUM ANALYZE"
        yield "CHECKPOINT"
    else:
        yield f"ANALYZE TABLE {', '.join(TABLES)}"


def counting() -> Iterator[str]:
    """Queries for the numbers of rows that were logged."""
    logged = f"runs WHERE experiment_id = {LOG_EXPERIMENT_ID}"
    yield f"SELECT count(*) FROM {logged}"
    for table in TABLES[1:]:
        yield f"SELECT count(*) FROM {table} WHERE run_uuid IN (SELECT run_uuid FROM {logged})"


def scanned_runs(scale: Scale) -> int:
    """How many runs are all read."""
    return max(1, scale.runs // 10)


def _numbers(product: str, name: str, count: int) -> str:
    """A table of the numbers from 0."""
    if product == "postgresql":
        return f"generate_series(0::bigint, {count - 1}) AS numbers_{name}({name})"
    return f"(SELECT seq AS {name} FROM seq_0_to_{count - 1}) AS numbers_{name}"
