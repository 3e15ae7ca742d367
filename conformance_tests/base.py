"""`BackendSuite`: the fixtures that all sections of the backend suite share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import ClassVar

import pytest

from holdall.conformance_tests.guard import check_exclusions, find_weakenings
from holdall.conformance_tests.harness import BackendHarness, UriHarness
from holdall.conformance_tests.support import unique
from holdall.stores import BackendStore, Capabilities

__all__ = ["BackendSuite"]

_FLAGS = frozenset(field.name for field in fields(Capabilities) if field.type in ("bool", bool))


class BackendSuite:
    """Base of the suite's sections.

    Set `uri`, or override the fixture `harness`; nothing else needs to be said.

    Attributes:
        uri: A URI in which `{tmp}` stands for a fresh, empty folder of each test.
        exclusions: Tests that the store is known to fail → why: `{"test_name": "reason"}`, also
            `"test_name[parameter]"`. They run all the same, and one that passes fails the run as stale.
    """

    uri: ClassVar[str] = ""
    exclusions: ClassVar[Mapping[str, str]] = {}

    @pytest.fixture
    def harness(self, tmp_path: Path) -> BackendHarness:
        """The place of the store under test; override it for stores that no URI alone can name."""
        if not self.uri:
            pytest.fail(
                f"{type(self).__name__} names no store: set `uri`, or override the fixture `harness`.", pytrace=False
            )
        return UriHarness(self.uri, tmp_path)

    @pytest.fixture
    def store(self, harness: BackendHarness) -> Iterator[BackendStore]:
        """The store, open for reading and writing."""
        with harness.open() as store:
            yield store

    @pytest.fixture
    def experiment(self, store: BackendStore) -> str:
        """Id of a new experiment."""
        return store.create_experiment(unique("experiment"))

    @pytest.fixture
    def run(self, store: BackendStore, experiment: str) -> str:
        """Id of a new run in `experiment`."""
        return store.create_run(experiment).info.run_id

    @pytest.fixture(autouse=True)
    def select_by_requirements(self, request: pytest.FixtureRequest) -> None:
        """Skip a test whose requirements the store does not meet, naming them; apply declared exclusions."""
        excluded = self.exclusions.get(request.node.name) or self.exclusions.get(request.node.originalname)
        if excluded:
            request.applymarker(pytest.mark.xfail(reason=f"declared exclusion: {excluded}", strict=True))
        needed = [name for mark in request.node.iter_markers("requires") for name in mark.args]
        if needed:
            missing = _missing(needed, request.getfixturevalue("harness"))
            if missing:
                pytest.skip(f"store lacks: {', '.join(missing)}")

    def test_subclass_suite_without_reason_changes_no_test(self) -> None:
        """A suite means the same for every store.

        Usual cause of failure: a test was overridden or set to None. Declare it in `exclusions` with a reason, or mark
        the override `xfail(reason=…, strict=True)`.
        """
        assert find_weakenings(type(self)) == []
        assert check_exclusions(type(self)) == []


def _missing(needed: list[str], harness: BackendHarness) -> list[str]:
    """Those of the requirements that are not met."""
    probing = any(name in _FLAGS for name in needed) or ("isolated" in needed and not harness.isolated)
    flags = _capabilities(harness) if probing else None
    return [name for name in needed if not _meets(name, harness, flags)]


def _capabilities(harness: BackendHarness) -> Capabilities:
    """Asked once for each place: opening a store may take longer than most tests."""
    known = _KNOWN.get(harness.uri) if harness.uri else None
    if known is None:
        with harness.open() as store:
            known = store.capabilities
        if harness.uri:
            _KNOWN[harness.uri] = known
    return known


_KNOWN: dict[str, Capabilities] = {}
"""Capabilities by URI; those of one store do not change."""


def _meets(name: str, harness: BackendHarness, flags: Capabilities | None) -> bool:
    if name == "isolated":
        return harness.isolated
    if name == "uri":
        return harness.uri is not None
    kind, _, hook = name.partition(".")
    if kind == "raw" and hook:
        return harness.raw.provides(hook)
    if name not in _FLAGS:
        raise pytest.UsageError(f"unknown requirement {name!r}")
    return bool(getattr(flags, name))
