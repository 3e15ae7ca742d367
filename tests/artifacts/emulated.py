"""The artifact suite on the servers and emulators that the project starts itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest

from holdall.conformance_tests.artifacts import ArtifactStoreSuite
from holdall.conformance_tests.emulators import StorageServer, shared_server
from holdall.conformance_tests.emulators.harness import EmulatorHarness

__all__ = ["EmulatedSuite", "storage_server"]


def storage_server(name: str) -> StorageServer:
    """The server of that name, shared by all tests of this process."""
    server = shared_server(name)
    assert isinstance(server, StorageServer)
    return server


class EmulatedSuite(ArtifactStoreSuite):
    """The suite on an emulator; what that cannot do is declared beside it, in `gaps`."""

    server: ClassVar[str]

    @pytest.fixture
    def harness(self, tmp_path: Path) -> Iterator[EmulatorHarness]:
        harness = EmulatorHarness(storage_server(self.server))
        # Faults that never end are reported after a moment, not after half a minute.
        harness.uri = replace(harness.uri, query=(*harness.uri.query, ("patience", "1")))
        yield harness
        harness.remove()
