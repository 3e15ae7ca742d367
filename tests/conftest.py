"""What all of the project's own tests share."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator

import pytest
from tests.interop import peers

from holdall.conformance_tests.emulators import emulators_dir

collect_ignore_glob = (
    ["artifacts/test_http*.py", "artifacts/test_sftp*.py", "backends/test_http*.py", "server/*.py"]
    if os.environ.get("HOLDALL_TEST_MINIMAL") == "1"
    else []
)
"""Modules that cannot even be imported without the extras: they play SSH servers, or talk to `holdall server`."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip tests marked `extras` in the environment that has base dependencies only, and nowhere else."""
    if os.environ.get("HOLDALL_TEST_MINIMAL") != "1":
        return
    skip = pytest.mark.skip(reason="needs the extras, and this is the minimal environment")
    for item in items:
        if item.get_closest_marker("extras"):
            item.add_marker(skip)


@pytest.fixture(scope="session", autouse=True)
def private_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep indexes of folders that are opened read-only out of the user's cache, also in processes that tests start."""
    with pytest.MonkeyPatch.context() as patch:
        if not os.environ.keys() & {"HOLDALL_PEERS_DIR", "TOX_WORK_DIR"}:  # peers are kept where they are
            patch.setenv("HOLDALL_PEERS_DIR", str(peers.peers_dir()))
        patch.setenv("HOLDALL_EMULATORS_DIR", str(emulators_dir()))
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def levels_of_loggers() -> Iterator[None]:
    """Give loggers the levels back that they had: `holdall --debug` lowers them for its process."""
    loggers = [logging.getLogger(), logging.getLogger("holdall")]
    levels = [logger.level for logger in loggers]
    yield
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)
