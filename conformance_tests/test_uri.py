"""The suites, run on the stores that the command line names.

pytest --pyargs holdall.conformance_tests --backend-uri URI --artifact-uri URI
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from holdall.conformance_tests.artifacts import ArtifactHarness, ArtifactStoreSuite, UriArtifactHarness
from holdall.conformance_tests.backend import BackendStoreSuite
from holdall.conformance_tests.harness import BackendHarness, UriHarness
from holdall.conformance_tests.plugin import ARTIFACT_ROOT, ARTIFACT_URI, BACKEND_URI


class TestBackendUri(BackendStoreSuite):
    asked_by = BACKEND_URI

    @pytest.fixture
    def harness(self, tmp_path: Path, pytestconfig: pytest.Config) -> BackendHarness:
        return UriHarness(_asked(pytestconfig, BACKEND_URI), tmp_path, pytestconfig.getoption(ARTIFACT_ROOT))


class TestArtifactUri(ArtifactStoreSuite):
    asked_by = ARTIFACT_URI

    @pytest.fixture
    def harness(self, tmp_path: Path, pytestconfig: pytest.Config) -> Iterator[ArtifactHarness]:
        folder = tmp_path / "place"
        folder.mkdir()
        harness = UriArtifactHarness(_asked(pytestconfig, ARTIFACT_URI), folder)
        yield harness
        harness.remove()


def _asked(config: pytest.Config, option: str) -> str:
    """Value of an option; the plugin has dropped the runs whose option is not given."""
    value = config.getoption(option)
    assert isinstance(value, str)
    return value
