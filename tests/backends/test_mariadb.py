"""`mariadb://` passes the conformance suite on a real MariaDB, which the tests start themselves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.backends.server_harness import ServerHarness, server_harness

from holdall.conformance_tests import BackendStoreSuite

pytestmark = pytest.mark.extras


class TestMariadb(BackendStoreSuite):
    @pytest.fixture
    def harness(self, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ServerHarness]:
        yield from server_harness(request, tmp_path, "mariadb")
