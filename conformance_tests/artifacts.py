"""The artifact suite: what every `ArtifactStore` promises, as tests.

The author of a store subclasses `ArtifactStoreSuite`:

    class TestMyStore(ArtifactStoreSuite):
        @pytest.fixture
        def harness(self, tmp_path):
            return MyHarness(tmp_path)

where `MyHarness` is an `ArtifactHarness`: it opens the store, and reaches the storage behind its back. A store that is
found by URI needs `uri = "mystore://…"` only, and then vouches for itself where it must not.

Tests are selected by the store's `ArtifactCapabilities`. Faults are injected at the hooks: a store that overrides
`_upload_file` or `_download_file` still moves its bytes through `_open_writer` and `_open_reader`.
"""

from __future__ import annotations

from holdall.conformance_tests.artifact_base import ArtifactHarness, ArtifactSuite, UriArtifactHarness
from holdall.conformance_tests.artifact_basics import DeleteTests, ReadTests, WriteTests
from holdall.conformance_tests.artifact_safety import NameTests, RefusalTests
from holdall.conformance_tests.artifact_streams import ConcurrencyTests, StreamTests

__all__ = ["ArtifactHarness", "ArtifactStoreSuite", "ArtifactSuite", "UriArtifactHarness"]


class ArtifactStoreSuite(ReadTests, WriteTests, DeleteTests, NameTests, RefusalTests, StreamTests, ConcurrencyTests):
    """Everything that an artifact store must do; see the docstring of each test."""
