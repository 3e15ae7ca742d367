"""`memory://` passes the conformance suite, and refuses what it cannot be."""

from __future__ import annotations

import pytest

from holdall.backends.memory import MemoryBackendStore
from holdall.conformance_tests import BackendStoreSuite
from holdall.stores import InvalidParameterValue, StoreURI, open_backend_store


class TestMemoryBackendStore(BackendStoreSuite):
    uri = "memory://"


@pytest.mark.parametrize("uri", ["memory://x", "memory:///x", "memory://?a=1", "memory://user@", "memory://:80"])
def test_open_memory_store_with_more_than_a_scheme_is_refused(uri: str) -> None:
    with pytest.raises(InvalidParameterValue):
        open_backend_store(uri)


def test_open_memory_store_twice_gives_two_stores() -> None:
    with open_backend_store("memory://") as one, open_backend_store("memory://") as other:
        one.create_experiment("x")
        assert other.get_experiment_by_name("x") is None
        assert other.create_experiment("y") == "1"


def test_number_experiments_in_memory_counts_up_from_default() -> None:
    with MemoryBackendStore(StoreURI.parse("memory://")) as store:
        assert [store.create_experiment(name) for name in "abc"] == ["1", "2", "3"]
        assert store.get_experiment("0").name == "Default"
