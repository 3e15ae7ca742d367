"""The state machine agrees with a right store and finds what is wrong with others, by itself."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import hypothesis
import pytest
from hypothesis.stateful import run_state_machine_as_test

from holdall.conformance_tests import StoreComparison, compare_with_memory
from holdall.conformance_tests.stateful import PROFILES
from holdall.stores import open_backend_store

FILE = Path(__file__).with_name("defective_stores.py")
REPEATABLE = hypothesis.settings(
    PROFILES["ci"],
    derandomize=True,
    print_blob=False,
    phases=[hypothesis.Phase.generate],
    verbosity=hypothesis.Verbosity.quiet,
)
"""The same steps at every run, and no search for fewer."""


@pytest.fixture(scope="module")
def defective_stores() -> ModuleType:
    """The module of the planted defects."""
    spec = importlib.util.spec_from_file_location("holdall_defective_stores_of_machine", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_compare_memory_with_memory_finds_no_difference() -> None:
    with open_backend_store("memory://") as store:
        compare_with_memory(store)


def test_compare_store_that_holds_other_things_finds_no_difference() -> None:
    with open_backend_store("memory://") as store:
        run = store.create_run(store.create_experiment("mine")).info
        compare_with_memory(store)
        assert store.get_run(run.run_id).info == run


@pytest.mark.parametrize(
    "defect",
    [
        "AcceptsChangedParam",
        "ForgetsNameTag",
        "ForgivesMissingTag",
        "KeepsDoubles",
        "LetsMissingDiffer",
        "ReordersHistory",
        "ShowsLastLogged",
        "SkipsPageRow",
    ],
)
def test_compare_defective_store_with_memory_finds_a_difference(defective_stores: ModuleType, defect: str) -> None:
    harness = defective_stores.DefectHarness(getattr(defective_stores, defect))

    class Comparison(StoreComparison):
        def __init__(self) -> None:
            super().__init__(harness.open())

    with pytest.raises(AssertionError):
        run_state_machine_as_test(Comparison, settings=REPEATABLE)
