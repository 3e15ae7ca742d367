"""The same SQLite file used by holdall and by MLflow."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.interop.databases import Databases, SqliteDatabases
from tests.interop.scenarios import UpgradeScenarios

pytestmark = pytest.mark.interop


class TestSqlite(UpgradeScenarios):
    @pytest.fixture
    def databases(self, tmp_path: Path) -> Databases:
        return SqliteDatabases(tmp_path)
