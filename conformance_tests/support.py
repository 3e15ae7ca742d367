"""What the modules of the suite share: markers, unique names, comparison of values and errors."""

from __future__ import annotations

import struct
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import pytest

from holdall.stores import BackendStore, HoldallError, Metric, PagedList, Run

__all__ = ["bits", "drain", "identity", "raises", "refuses", "requires", "search_all", "snapshot", "unique"]

T = TypeVar("T")

_DRIVER_WORDS = ("sqlite3", "sqlalchemy", "psycopg", "pymysql", "sqlalche.me", "traceback", "[sql:", "errno")
"""Lower-case marks of text that comes from a driver; none may reach a message."""


def requires(*names: str) -> pytest.MarkDecorator:
    """Select a test by what the store can do; a test that is selected away is reported as skipped, with the name.

    Args:
        names: Flags of `Capabilities`; `isolated` (the place is empty at first, and the test's alone); `uri` (other
            processes can open it); `raw.<hook>` (the harness offers that hook of `RawAccess`).
    """
    return pytest.mark.requires(*names)


def unique(prefix: str) -> str:
    """A name that no other test uses, in whatever store."""
    return f"{prefix}-{uuid.uuid4().hex[:12]}"


def bits(value: float) -> str:
    """A double as text that tells all doubles apart; all NaNs are one."""
    return "nan" if value != value else struct.pack(">d", value).hex()


def identity(metric: Metric) -> tuple[str, str, int, int]:
    """All of a metric point, comparable: key, value to the bit, timestamp, step."""
    return metric.key, bits(metric.value), metric.timestamp, metric.step


@contextmanager
def raises(kind: type[HoldallError]) -> Iterator[None]:
    """The block must raise `kind`, with its stable code and a message that shows no driver's text."""
    with pytest.raises(kind) as caught:
        yield
    error = caught.value
    assert error.error_code == kind.error_code
    assert error.message.strip(), "an error needs a message"
    leaked = [word for word in _DRIVER_WORDS if word in error.message.lower()]
    assert leaked == [], f"driver text in a message: {error.message}"


def refuses(kind: type[HoldallError], call: Callable[..., object], *args: object, **options: object) -> None:
    """`call(*args, **options)` must raise as `raises` says."""
    with raises(kind):
        call(*args, **options)


def drain(page: Callable[[str | None], PagedList[T]], limit: int = 10_000) -> list[T]:
    """All rows of a paged call, page after page.

    Args:
        page: Gives the page for a token, the first for None.
        limit: Number of pages after which the call counts as one that never ends.
    """
    rows: list[T] = []
    token: str | None = None
    for _ in range(limit):
        found = page(token)
        rows += found
        if found.token is None:
            return rows
        assert found.token != token, "the token does not advance"
        assert found, "an empty page has a token"
        token = found.token
    raise AssertionError(f"more than {limit} pages")


def search_all(
    store: BackendStore, experiment_id: str, filter_string: str = "", order_by: Iterable[str] = ()
) -> list[Run]:
    """Runs of one experiment, in one page."""
    return list(store.search_runs([experiment_id], filter_string, order_by=list(order_by)))


def snapshot(store: BackendStore, run_id: str) -> tuple[object, ...]:
    """Everything that can be read of a run, comparable with ==."""
    run = store.get_run(run_id)
    data = run.data
    history = {key: sorted(map(identity, store.get_metric_history(run_id, key))) for key in data.metrics}
    latest = {key: (bits(value), data.metric_points[key]) for key, value in data.metrics.items()}
    inputs = sorted(repr(item) for item in run.inputs.dataset_inputs)
    return run.info, latest, data.params, data.tags, inputs, history
