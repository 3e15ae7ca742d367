"""`holdall conformance`."""

from __future__ import annotations

from typing import Any

import pytest

from holdall.conformance_tests.emulators import shared_server
from holdall.stores import StoreURI

Command = Any


def test_run_suite_on_sound_store_prints_matrix(holdall_command: Command) -> None:
    outcome = holdall_command("conformance", "memory://", "-k", "test_rename_experiment")
    rows = [line.split() for line in outcome.out.splitlines()]
    assert rows[0] == ["memory://"]
    [total] = [row for row in rows if row[:1] == ["total"]]
    assert int(total[1]) > 0
    assert total[2:] == ["0", "0", "0", "passed"]


def test_run_suite_as_json_gives_every_record(holdall_command: Command) -> None:
    found = holdall_command("conformance", "memory://", "-k", "test_rename_experiment", "--json").json
    assert found["ok"] is True
    assert {record["outcome"] for record in found["records"]} == {"passed"}


def test_run_suite_that_selects_nothing_fails(holdall_command: Command) -> None:
    assert "deselected" in holdall_command("conformance", "memory://", "-k", "no_such_test", code=1).out


def test_run_suite_on_nothing_exits_as_usage_error(holdall_command: Command) -> None:
    assert "URI" in holdall_command("conformance", code=2).err


@pytest.mark.extras
def test_run_suite_on_bucket_leaves_nothing_in_it(holdall_command: Command) -> None:
    server = shared_server("moto")
    place = server.create_place()
    server.raw(place).write("mine/file", b"kept")
    uri = server.uri(place)
    outcome = holdall_command("conformance", uri, "-k", "test_list_folder or test_delete_root")
    [total] = [line.split() for line in outcome.out.splitlines() if line.startswith("total")]
    assert total == ["total", "2", "0", "0", "0", "passed"]
    assert StoreURI.parse(uri).password not in outcome.out + outcome.err
    assert server.raw(place).list() == {"mine/file"}
    server.raw(place).remove()
