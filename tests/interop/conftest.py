"""The mark of the tests that use a peer."""

from __future__ import annotations

import pytest


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "interop: runs MLflow itself, installed on first use in an environment of its own"
    )
