"""The pytest plugin: options, the marker of requirements, the guard, the matrix.

It is loaded into every pytest run of whoever has holdall installed, so it imports nothing that they may not need, and
does nothing for tests that are not the suite's.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from holdall.conformance_tests.guard import GUARD_TEST, find_weakenings
from holdall.conformance_tests.matrix import REQUIRES, SECTION, SUITE, Collector

__all__ = ["ARTIFACT_ROOT", "ARTIFACT_URI", "BACKEND_URI", "PROFILE"]

BACKEND_URI, ARTIFACT_URI, ARTIFACT_ROOT = "backend_uri", "artifact_uri", "artifact_root"
PROFILE, REPORT = "conformance_profile", "conformance_report"
_PACKAGE = "holdall.conformance_tests"
_CONCRETE = f"{_PACKAGE}.test_uri"
_BASES = (f"{_PACKAGE}.base", f"{_PACKAGE}.artifact_base")

pytest.register_assert_rewrite(
    *(
        f"{_PACKAGE}.{file.stem}"
        for file in Path(__file__).parent.glob("*.py")
        if f"{_PACKAGE}.{file.stem}" not in sys.modules and file.stem != "__init__"
    )
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of the suite."""
    group = parser.getgroup("holdall", "holdall conformance suite: pytest --pyargs holdall.conformance_tests")
    group.addoption(
        "--backend-uri",
        dest=BACKEND_URI,
        metavar="URI",
        help="run the backend suite on the store at URI; {tmp} in it is a fresh folder of each test, "
        "as in sqlite:///{tmp}/db.sqlite; without it all tests share one store",
    )
    group.addoption(
        "--artifact-uri",
        dest=ARTIFACT_URI,
        metavar="URI",
        help="run the artifact suite on the store at URI; {tmp} as above; without it each test gets a folder below URI",
    )
    group.addoption(
        "--artifact-root",
        dest=ARTIFACT_ROOT,
        metavar="URI",
        help="artifact root that backends are opened with; {tmp} as above",
    )
    group.addoption(
        "--conformance-profile",
        dest=PROFILE,
        choices=["default", "ci", "nightly"],
        default="default",
        help="how long the comparison with the memory store takes",
    )
    group.addoption(
        "--conformance-report", dest=REPORT, metavar="FILE", help="write each result as a line of JSON to FILE"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker, and the collector where results come together."""
    config.addinivalue_line("markers", "requires(*names): what a store must be able to do to be asked this")
    if not hasattr(config, "workerinput"):
        path = config.getoption(REPORT)
        stream = open(path, "w", encoding="utf-8") if path else None  # noqa: SIM115 - closed with the run
        if stream is not None:
            config.add_cleanup(stream.close)
        config.pluginmanager.register(Collector(stream), "holdall-conformance-collector")


def pytest_pycollect_makeitem(collector: pytest.Module | pytest.Class, name: str, obj: object) -> None:
    """Refuse to collect a suite in which the guard itself was overridden, or all tests were switched off."""
    if isinstance(obj, type) and collector.istestclass(obj, name) and _is_suite(obj):
        weakened = [text for text in find_weakenings(obj) if GUARD_TEST in text or text.endswith("as a whole")]
        if weakened:
            raise collector.CollectError(f"{name} weakens the conformance suite: {'; '.join(weakened)}")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Label the tests of suites, and drop the runs by URI that were not asked for."""
    for item in items:
        if isinstance(item, pytest.Function) and _is_suite(item.cls):
            _label(item)
    _select_asked(config, items)


def _is_suite(kind: type | None) -> bool:
    return kind is not None and any(base.__module__ in _BASES for base in kind.__mro__)


def _label(item: pytest.Function) -> None:
    needed = [name for mark in item.iter_markers("requires") for name in mark.args]
    section = item.function.__module__.rpartition(".")[2]
    suite = item.cls.__qualname__ if item.cls is not None else ""
    item.user_properties += [(SECTION, section), (SUITE, suite), (REQUIRES, ",".join(needed))]


def _select_asked(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Of the shipped concrete runs, keep those that an option asks for."""
    concrete = [item for item in items if _option_of(item) is not None]
    unasked = [item for item in concrete if not config.getoption(_option_of(item) or "")]
    if concrete and len(unasked) == len(concrete) and not hasattr(config, "workerinput"):
        raise pytest.UsageError("say what to test: --backend-uri URI, --artifact-uri URI, or both")
    if unasked:
        dropped = set(unasked)
        config.hook.pytest_deselected(items=unasked)
        items[:] = [item for item in items if item not in dropped]


def _option_of(item: pytest.Item) -> str | None:
    """Name of the option that a concrete run by URI needs, None for all other tests."""
    kind = item.cls if isinstance(item, pytest.Function) else None
    return getattr(kind, "asked_by", None) if kind is not None and _is_suite(kind) else None
