"""Nobody weakens a suite in silence: overrides, removals, marks and stale exclusions fail the run."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import ClassVar

import pytest

from holdall.conformance_tests import BackendStoreSuite
from holdall.conformance_tests.guard import GUARD_TEST, check_exclusions, find_weakenings
from holdall.conformance_tests.matrix import TestRecord
from holdall.conformance_tests.runner import run_pytest

STOPPED = 4
"""Exit code of a run whose tests cannot be collected."""


def run_suite(folder: Path, body: str, *tests: str) -> tuple[dict[str, str], int, str]:
    """Run tests of a suite on `memory://` with `body` as its class body: outcomes by test, exit code, output."""
    file = folder / "test_mine.py"
    lines = ["import pytest", "from holdall.conformance_tests import BackendStoreSuite", ""]
    lines += [
        "class TestMine(BackendStoreSuite):",
        "    uri = 'memory://'",
        textwrap.indent(textwrap.dedent(body), "    "),
    ]
    file.write_text("\n".join(lines), encoding="utf-8")
    records, code, output = run_pytest([f"{file}::TestMine::{test}" for test in tests or (GUARD_TEST,)])
    return {record.test: record.outcome for record in records}, code, output


OVERRIDE = """
def test_delete_tag_removes_it(self):
    pass
"""
REMOVAL = "test_delete_tag_removes_it = None"


@pytest.mark.parametrize("body", [OVERRIDE, REMOVAL])
def test_run_suite_with_changed_test_fails(tmp_path: Path, body: str) -> None:
    outcomes, code, output = run_suite(tmp_path, body)
    assert (outcomes, code) == ({GUARD_TEST: "failed"}, 1)
    assert "TestMine.test_delete_tag_removes_it" in output


def test_run_suite_without_changes_passes(tmp_path: Path) -> None:
    outcomes, code, _ = run_suite(tmp_path, "def test_of_mine(self):\n    pass\n", GUARD_TEST, "test_of_mine")
    assert (outcomes, code) == ({GUARD_TEST: "passed", "test_of_mine": "passed"}, 0)


MARKED = """
@pytest.mark.xfail(reason="the service keeps tags for ever", strict=True)
def test_delete_tag_removes_it(self, store, run):
    {}
"""


@pytest.mark.parametrize(("statement", "outcome"), [("assert False", "excluded"), ("assert store", "failed")])
def test_run_suite_with_explained_change_fails_only_when_stale(tmp_path: Path, statement: str, outcome: str) -> None:
    outcomes, code, _ = run_suite(tmp_path, MARKED.format(statement), GUARD_TEST, "test_delete_tag_removes_it")
    assert outcomes == {GUARD_TEST: "passed", "test_delete_tag_removes_it": outcome}
    assert code == (1 if outcome == "failed" else 0)


def test_run_suite_with_stale_exclusion_fails(tmp_path: Path) -> None:
    body = "exclusions = {'test_delete_tag_removes_it': 'was true once'}"
    outcomes, code, _ = run_suite(tmp_path, body, GUARD_TEST, "test_delete_tag_removes_it")
    assert (outcomes, code) == ({GUARD_TEST: "passed", "test_delete_tag_removes_it": "failed"}, 1)


def test_run_suite_with_needed_exclusion_reports_its_reason(tmp_path: Path) -> None:
    body = """
    exclusions = {"test_delete_tag_removes_it": "tags are for ever"}

    @pytest.fixture
    def run(self):
        return "no such run!"
    """
    outcomes, code, output = run_suite(tmp_path, body, GUARD_TEST, "test_delete_tag_removes_it")
    assert (outcomes, code) == ({GUARD_TEST: "passed", "test_delete_tag_removes_it": "excluded"}, 0)
    assert "tags are for ever" in output


@pytest.mark.parametrize(
    "body",
    [
        f"def {GUARD_TEST}(self):\n    pass",
        f"{GUARD_TEST} = None",
        "pytestmark = pytest.mark.skip(reason='not today')",
        "pytestmark = [pytest.mark.xfail(reason='never', strict=True)]",
    ],
)
def test_run_suite_with_guard_disabled_stops_the_run(tmp_path: Path, body: str) -> None:
    outcomes, code, output = run_suite(tmp_path, body, "test_delete_tag_removes_it")
    assert (outcomes, code) == ({}, STOPPED)
    assert "weakens the conformance suite" in output


def test_find_weakenings_of_second_generation_names_the_class() -> None:
    class Mine(BackendStoreSuite):
        def test_log_param_over_empty_value_is_refused(self) -> None:  # type: ignore[override]
            """Nothing."""

    class Theirs(Mine):
        """Inherits the change."""

    [found] = find_weakenings(Theirs)
    assert "Mine.test_log_param_over_empty_value_is_refused" in found
    assert find_weakenings(BackendStoreSuite) == []


def test_check_exclusions_without_reason_or_test_names_them() -> None:
    class Mine(BackendStoreSuite):
        exclusions: ClassVar = {"test_no_such_thing": "why not", "test_delete_tag_removes_it": " "}

    assert check_exclusions(Mine) == [
        "the exclusion of test_no_such_thing names no test",
        "the exclusion of test_delete_tag_removes_it gives no reason",
    ]
    assert check_exclusions(BackendStoreSuite) == []


def test_read_record_written_as_json_is_equal() -> None:
    record = TestRecord("test_x[\u00e4]", "TestMine", "runs", ("uri", "isolated"), "skipped", "store lacks: uri", 0.5)
    assert TestRecord.from_json(record.to_json()) == record
