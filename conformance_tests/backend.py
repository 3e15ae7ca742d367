"""`BackendStoreSuite`: all sections of the backend suite in one class."""

from __future__ import annotations

from holdall.conformance_tests.batches import BatchTests
from holdall.conformance_tests.concurrency import ConcurrencyTests
from holdall.conformance_tests.durability import DurabilityTests
from holdall.conformance_tests.experiments import ExperimentTests
from holdall.conformance_tests.history import HistoryTests
from holdall.conformance_tests.inputs import InputTests
from holdall.conformance_tests.lifecycle import LifecycleTests
from holdall.conformance_tests.logged_model_durability import LoggedModelDurabilityTests
from holdall.conformance_tests.logged_model_runs import LoggedModelRunTests
from holdall.conformance_tests.logged_model_search import LoggedModelSearchTests
from holdall.conformance_tests.logged_models import LoggedModelTests
from holdall.conformance_tests.metrics import MetricTests
from holdall.conformance_tests.params_tags import ParamTests, TagTests
from holdall.conformance_tests.runs import RunTests
from holdall.conformance_tests.search import ExperimentSearchTests, RunSearchTests
from holdall.conformance_tests.stateful import StatefulTests

__all__ = ["BackendStoreSuite"]


class BackendStoreSuite(
    ExperimentTests,
    RunTests,
    MetricTests,
    ParamTests,
    TagTests,
    BatchTests,
    HistoryTests,
    InputTests,
    RunSearchTests,
    ExperimentSearchTests,
    LoggedModelTests,
    LoggedModelRunTests,
    LoggedModelSearchTests,
    LoggedModelDurabilityTests,
    LifecycleTests,
    DurabilityTests,
    ConcurrencyTests,
    StatefulTests,
):
    """Everything that a backend store promises.

        class TestMyStore(BackendStoreSuite):
            uri = "mine://{tmp}/store"

    is a complete conformance run. Sections can be run alone while a store is being written:

        class TestMyStore(ExperimentTests, RunTests):
            uri = "mine://{tmp}/store"

    Override the fixture `harness` for stores that a URI alone cannot name, and to offer raw access.
    """
