"""`postgresql://` passes the conformance suite in databases that MLflow made, as far as their columns allow."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest
from tests.backends.server_harness import ServerHarness, server_harness
from tests.interop.prototypes import prototype

from holdall.conformance_tests import BackendStoreSuite
from holdall.conformance_tests.emulators import shared_server

pytestmark = pytest.mark.extras

ROOT = Path("/srv")
"""Short, since MLflow's columns take locations of 200 characters; nothing is written there."""

_EXCLUSIONS = {
    "test_open_missing_store_without_create_is_not_found": "MLflow made the store before the test",
    "test_open_new_store_holds_the_default_experiment": "MLflow made the store before the test",
    "test_create_experiment_at_length_limit_is_kept_whole": "MLflow's column takes names of 256 characters",
}


class MlflowPostgresqlSuite(BackendStoreSuite):
    version: ClassVar[str]
    options: ClassVar[str] = ""

    @pytest.fixture
    def harness(self, request: pytest.FixtureRequest) -> Iterator[ServerHarness]:
        made = prototype(shared_server("postgresql"), self.version, "postgresql", self.options)
        yield from server_harness(request, ROOT, "postgresql", prototype=made)


class TestMlflow2(MlflowPostgresqlSuite):
    version = "2.22.5"
    exclusions = _EXCLUSIONS | {
        "test_set_experiment_tag_at_length_limit_is_kept_whole": "MLflow 2's column takes values of 5,000 characters"
    }


class TestMlflow3InEnglish(MlflowPostgresqlSuite):
    """In a database that sorts as a dictionary does, as most do outside of tests."""

    version = "3.17.2"
    exclusions = _EXCLUSIONS
    options = "LOCALE_PROVIDER icu ICU_LOCALE 'en-US'"
