"""Processes on one server: nobody fails, nothing is lost, also when clients or servers are killed."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.backends import stress
from tests.backends.places import MariadbPlace, PostgresqlPlace, ServerPlace

pytestmark = pytest.mark.extras


@pytest.fixture(params=[PostgresqlPlace, MariadbPlace], ids=lambda kind: kind.scheme)
def kind(request: pytest.FixtureRequest) -> type[ServerPlace]:
    found: type[ServerPlace] = request.param
    return found


def test_open_empty_database_by_many_processes_gives_all_one_store(kind: type[ServerPlace], tmp_path: Path) -> None:
    trials = stress.scale().cold_starts
    outcome = stress.cold_start(kind, tmp_path, trials)
    print(outcome.figures)  # noqa: T201
    assert outcome.problems == []
    assert outcome.figures["succeeded"] == outcome.figures["processes"] == 8 * trials


def test_log_by_processes_and_threads_while_others_read_loses_nothing(kind: type[ServerPlace], tmp_path: Path) -> None:
    rounds = stress.scale().rounds[kind.scheme]
    outcome = stress.load(kind, tmp_path, rounds)
    print(outcome.figures)  # noqa: T201
    assert outcome.problems == []
    assert outcome.figures["write calls"] == 4 * 8 * 6 * rounds


def test_kill_writer_at_random_moments_keeps_every_acknowledged_call(kind: type[ServerPlace], tmp_path: Path) -> None:
    kills = stress.scale().kills
    outcome = stress.crash(kind, tmp_path, kills)
    print(outcome.figures)  # noqa: T201
    assert outcome.problems == []
    assert outcome.figures["acknowledged calls"] > kills


def test_log_same_keys_in_different_orders_fails_for_nobody(kind: type[ServerPlace], tmp_path: Path) -> None:
    scale = stress.scale()
    outcome = stress.deadlock(kind, tmp_path, scale.shufflers, scale.shuffling)
    print(outcome.figures)  # noqa: T201
    assert outcome.problems == []
    assert outcome.figures["calls"] >= scale.shufflers


@pytest.mark.parametrize("kill", [False, True], ids=["stop", "kill"])
def test_restart_server_under_load_keeps_every_acknowledged_call(
    kind: type[ServerPlace], tmp_path: Path, kill: bool
) -> None:
    restarts = stress.scale().restarts
    outcome = stress.restart(kind, tmp_path, restarts, kill=kill)
    print(outcome.figures)  # noqa: T201
    assert outcome.problems == []
    assert outcome.figures["restarts"] == restarts
    assert outcome.figures["calls"] > 20 * restarts * stress.PROCESSES
