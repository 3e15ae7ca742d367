"""What all of the project's own tests share."""

from __future__ import annotations

import os

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip tests marked `extras` in the environment that has base dependencies only, and nowhere else."""
    if os.environ.get("HOLDALL_TEST_MINIMAL") != "1":
        return
    skip = pytest.mark.skip(reason="needs the extras, and this is the minimal environment")
    for item in items:
        if item.get_closest_marker("extras"):
            item.add_marker(skip)
