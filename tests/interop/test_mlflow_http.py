"""`http://` at MLflow's own server: the conformance suite, with what MLflow does otherwise declared."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from tests.backends.served import ServedSuite, server  # noqa: F401 - a fixture
from tests.interop.mlflow_gaps import MLFLOW_GAPS
from tests.interop.mlflow_server import mlflow_server

pytestmark = pytest.mark.interop


class TestMlflowServer(ServedSuite):
    exclusions = MLFLOW_GAPS

    @classmethod
    def serve(cls, folder: Path) -> AbstractContextManager[str]:
        return mlflow_server("3.17.2", folder)
