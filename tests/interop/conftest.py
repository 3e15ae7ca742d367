"""The mark of the tests that use a peer."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("tests.interop.scenarios")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "interop: runs MLflow itself, installed on first use in an environment of its own"
    )
