"""`GcsArtifactStore`: the suite on fake-gcs-server, and what is its own."""

from __future__ import annotations

import pytest
from tests.artifacts.emulated import EmulatedSuite

from holdall.conformance_tests.emulators import FakeGcsServer

pytestmark = pytest.mark.extras


class TestSuiteOnFakeGcs(EmulatedSuite):
    server = "fake-gcs"
    exclusions = FakeGcsServer.gaps
