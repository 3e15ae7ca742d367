"""The history of a metric: its order, and its pages."""

from __future__ import annotations

import base64
import json
import math
import random

import pytest

from holdall.conformance_tests.base import BackendSuite
from holdall.conformance_tests.support import drain, identity, refuses
from holdall.stores import BackendStore, InvalidParameterValue, Metric, NotFound
from holdall.stores.points import history_key

__all__ = ["GARBAGE_TOKENS", "HistoryTests"]

GARBAGE_TOKENS = (
    "garbage",
    "é",
    "!!!",
    "AAAA",
    base64.b64encode(b"hello").decode(),
    base64.b64encode(b"{}").decode(),
    base64.b64encode(b"[]").decode(),
    base64.b64encode(json.dumps({"offset": 2}).encode()).decode(),
    base64.b64encode(b"[" * 5000).decode(),
)
"""Texts that no store made as a token."""

_TIED = [
    Metric("m", value, timestamp, step)
    for timestamp in (10, 10**12)
    for step in (-1, 0, 7)
    for value in (-math.inf, -1.5, 0.0, math.nan, 5e-324, 3.0, math.inf)
]
"""Points with every kind of tie, in the order of histories."""


def _shuffled(points: list[Metric]) -> list[Metric]:
    return random.Random(7).sample(points, len(points))


class HistoryTests(BackendSuite):
    """Metric histories."""

    def test_get_history_of_shuffled_points_is_in_order(self, store: BackendStore, run: str) -> None:
        """Histories are ordered by timestamp, step, value; NaN stands just above 0.

        Usual cause of failure: the order of insertion, or an order without its last part.
        """
        assert sorted(_TIED, key=history_key) == _TIED
        for point in _shuffled(_TIED):
            store.log_metric(run, point)
        assert [identity(point) for point in store.get_metric_history(run, "m")] == list(map(identity, _TIED))

    @pytest.mark.parametrize("size", [1, 2, 3, 7, 41, 42, 43])
    def test_page_history_with_ties_gives_every_point_once(self, store: BackendStore, run: str, size: int) -> None:
        """Pages of any size hold every point once, in order; the last one has no token (mlflow#23916).

        Usual cause of failure: a token that holds less than the whole place, or cannot hold Inf or NaN.
        """
        store.log_batch(run, _shuffled(_TIED))
        pages = []
        token = None
        while True:
            page = store.get_metric_history(run, "m", size, token)
            pages.append(page)
            if page.token is None:
                break
            token = page.token
        assert [len(page) for page in pages[:-1]] == [size] * (len(pages) - 1)
        assert 0 < len(pages[-1]) <= size
        assert [identity(point) for page in pages for point in page] == list(map(identity, _TIED))

    def test_page_history_while_points_arrive_neither_skips_nor_repeats(self, store: BackendStore, run: str) -> None:
        """Points logged before the place of a page do not shift it; those after it are found.

        Usual cause of failure: pages by offset.
        """
        old = [Metric("m", float(step), 1000 + step, step) for step in range(30)]
        store.log_batch(run, old)
        seen: list[Metric] = []
        token = None
        for round_number in range(100):
            page = store.get_metric_history(run, "m", 7, token)
            seen += page
            if page.token is None:
                break
            token = page.token
            store.log_metric(run, Metric("m", -1.0, round_number, 0))
            store.log_metric(run, Metric("m", -2.0, 2000 + round_number, 0))
        assert seen[:30] == old
        assert [point.timestamp for point in seen[30:]] == [2000, 2001, 2002, 2003]

    def test_get_history_without_limit_gives_all(self, store: BackendStore, run: str) -> None:
        """Without `max_results` all points come at once, without a token, however many there are.

        Usual cause of failure: a default limit that cuts in silence.
        """
        points = [Metric("m", float(step), step, step) for step in range(3000)]
        for start in range(0, 3000, 1000):
            store.log_batch(run, points[start : start + 1000])
        found = store.get_metric_history(run, "m")
        assert (found.token, len(found)) == (None, 3000)
        assert found == points
        assert drain(lambda token: store.get_metric_history(run, "m", 1000, token)) == points

    def test_get_history_with_exact_page_size_has_no_token(self, store: BackendStore, run: str) -> None:
        """A last page that is full is still the last.

        Usual cause of failure: a full page is taken for a sign of more.
        """
        store.log_batch(run, _TIED)
        assert store.get_metric_history(run, "m", len(_TIED)).token is None
        assert store.get_metric_history(run, "m", len(_TIED) - 1).token is not None

    @pytest.mark.parametrize("count", [1, 2, 3, 7, 99, 100, 101])
    def test_sample_history_spreads_points_evenly(self, store: BackendStore, run: str, count: int) -> None:
        """Of n points, those at ⌊i(n−1)/(count−1)⌋ of the history come, in its order; of one, the last.

        Usual cause of failure: every n-th point, which leaves out the last.
        """
        points = [Metric("m", float(number % 7), 1000 + number // 2, number) for number in range(100)]
        store.log_batch(run, _shuffled(points))
        history = list(store.get_metric_history(run, "m"))
        places = range(100) if count >= 100 else [i * 99 // (count - 1) for i in range(count)] if count > 1 else [99]
        assert store.sample_metric_history(run, "m", count) == [history[place] for place in places]

    def test_sample_history_keeps_special_values_and_refuses_nonsense(self, store: BackendStore, run: str) -> None:
        """Points are those of the history, to the bit; an unknown metric has none, an unknown run is an error.

        Usual cause of failure: values as a drawing library would have them.
        """
        store.log_batch(run, _shuffled(_TIED))
        sampled = store.sample_metric_history(run, "m", len(_TIED))
        assert [identity(point) for point in sampled] == list(map(identity, _TIED))
        assert store.sample_metric_history(run, "other", 5) == []
        refuses(NotFound, store.sample_metric_history, "e" * 32, "m", 5)
        refuses(InvalidParameterValue, store.sample_metric_history, run, "m", 0)
        refuses(InvalidParameterValue, store.sample_metric_history, run, "", 5)

    def test_get_history_of_unknown_metric_is_empty(self, store: BackendStore, run: str) -> None:
        """A metric that was never logged has no points; other metrics and similar keys do not show.

        Usual cause of failure: keys compare by a collation or as a prefix.
        """
        store.log_metric(run, Metric("m/n", 1.0, 1))
        store.log_metric(run, Metric("M", 1.0, 1))
        assert store.get_metric_history(run, "m") == []
        assert store.get_metric_history(run, "m", 10).token is None

    def test_get_history_of_unknown_run_is_not_found(self, store: BackendStore) -> None:
        """A missing run is an error, not an empty history.

        Usual cause of failure: the points are looked up without the run.
        """
        refuses(NotFound, store.get_metric_history, "e" * 32, "m")
        refuses(NotFound, store.get_metric_history, "e" * 32, "m", 5)

    def test_get_history_of_deleted_run_is_readable(self, store: BackendStore, run: str) -> None:
        """Deleting a run hides nothing from those who know its id.

        Usual cause of failure: reads check the lifecycle stage.
        """
        store.log_metric(run, Metric("m", 1.0, 1))
        store.delete_run(run)
        assert store.get_metric_history(run, "m") == [Metric("m", 1.0, 1)]

    @pytest.mark.parametrize("size", [0, -1, 1.5, "5", True])
    def test_get_history_with_bad_page_size_is_refused(self, store: BackendStore, run: str, size: int) -> None:
        """A page holds at least one point.

        Usual cause of failure: 0 means none, or all.
        """
        refuses(InvalidParameterValue, store.get_metric_history, run, "m", size)

    @pytest.mark.parametrize("token", GARBAGE_TOKENS)
    def test_get_history_with_garbage_token_is_refused(self, store: BackendStore, run: str, token: str) -> None:
        """Texts that are no tokens are errors of the caller.

        Usual cause of failure: the decoder's exception is passed on.
        """
        store.log_batch(run, _TIED)
        refuses(InvalidParameterValue, store.get_metric_history, run, "m", 5, token)

    def test_get_history_with_token_of_another_query_is_refused(
        self, store: BackendStore, experiment: str, run: str
    ) -> None:
        """A token is bound to run and metric.

        Usual cause of failure: tokens that are mere places.
        """
        store.log_batch(run, [*_TIED, *(Metric("other", float(step), 1, step) for step in range(9))])
        token = store.get_metric_history(run, "m", 5).token
        other_run = store.create_run(experiment).info.run_id
        refuses(InvalidParameterValue, store.get_metric_history, run, "other", 5, token)
        refuses(InvalidParameterValue, store.get_metric_history, other_run, "m", 5, token)
        refuses(InvalidParameterValue, store.search_runs, [experiment], page_token=token)
        assert len(store.get_metric_history(run, "m", 6, token)) == 6
