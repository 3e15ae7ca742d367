"""The conformance suite: what every store promises, as tests that anybody can run.

    pytest --pyargs holdall.conformance_tests --backend-uri 'sqlite:///{tmp}/db.sqlite'

runs it against a URI. The author of a store subclasses `BackendStoreSuite` or `ArtifactStoreSuite` instead. Nothing is
imported before it is asked for, so that the pytest plugin costs other people's test runs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from holdall.conformance_tests.backend import BackendStoreSuite
    from holdall.conformance_tests.harness import BackendHarness, RawAccess, UriHarness
    from holdall.conformance_tests.matrix import ConformanceReport, SectionSummary, TestRecord
    from holdall.conformance_tests.runner import run_conformance
    from holdall.conformance_tests.stateful import StoreComparison, compare_with_memory
    from holdall.conformance_tests.support import requires

__all__ = [
    "BackendHarness",
    "BackendStoreSuite",
    "ConformanceReport",
    "RawAccess",
    "SectionSummary",
    "StoreComparison",
    "TestRecord",
    "UriHarness",
    "compare_with_memory",
    "requires",
    "run_conformance",
]

_HOMES = {
    "BackendHarness": "harness",
    "BackendStoreSuite": "backend",
    "ConformanceReport": "matrix",
    "RawAccess": "harness",
    "SectionSummary": "matrix",
    "StoreComparison": "stateful",
    "TestRecord": "matrix",
    "UriHarness": "harness",
    "compare_with_memory": "stateful",
    "requires": "support",
    "run_conformance": "runner",
}
"""Module of each public name."""


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(importlib.import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
