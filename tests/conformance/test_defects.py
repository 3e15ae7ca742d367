"""The suite is tested by planting defects in a right store: each must make the tests fail that are meant to find it."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from holdall.conformance_tests.matrix import TestRecord
from holdall.conformance_tests.runner import run_pytest

FILE = Path(__file__).with_name("defective_stores.py")


def _load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("holdall_defective_stores", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


DEFECTS: dict[str, tuple[str, ...]] = {kind.__name__: tests for kind, tests in _load().DEFECTS.items()}


@pytest.fixture(scope="module")
def records() -> list[TestRecord]:
    """Results of the meant tests on all defects, in one run."""
    tests = [f"{FILE}::Test{defect}::{test}" for defect, names in DEFECTS.items() for test in names]
    found, exit_code, output = run_pytest(tests)
    assert exit_code == 1, output[-3000:]
    return found


def test_run_suite_on_undamaged_store_passes_whole() -> None:
    found, exit_code, output = run_pytest([f"{FILE}::TestUndamaged"])
    assert exit_code == 0, output[-3000:]
    assert {record.outcome for record in found} == {"passed", "skipped"}
    passed = {record.test.partition("[")[0] for record in found if record.outcome == "passed"}
    assert {test for tests in DEFECTS.values() for test in tests} <= passed


@pytest.mark.parametrize("defect", DEFECTS)
def test_run_suite_on_store_with_planted_defect_fails(defect: str, records: list[TestRecord]) -> None:
    found = [record for record in records if record.suite == f"Test{defect}"]
    failed = {record.test.partition("[")[0] for record in found if record.outcome == "failed"}
    assert failed == set(DEFECTS[defect])
    assert not any("fixture" in record.reason and "not found" in record.reason for record in found)
