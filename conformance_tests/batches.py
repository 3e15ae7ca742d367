"""`log_batch`: all or nothing, limits, repetition."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from holdall.conformance_tests.base import BackendSuite
from holdall.conformance_tests.harness import BackendHarness
from holdall.conformance_tests.support import identity, refuses, requires, snapshot
from holdall.stores import BackendStore, InvalidParameterValue, Metric, NotFound, Param, RunTag

__all__ = ["BatchTests"]


def _metrics(number: int, start: int = 0) -> list[Metric]:
    return [Metric(f"m{index % 7}", float(index), index, index) for index in range(start, start + number)]


def _params(number: int) -> list[Param]:
    return [Param(f"p{index}", str(index)) for index in range(number)]


def _tags(number: int) -> list[RunTag]:
    return [RunTag(f"t{index}", str(index)) for index in range(number)]


class BatchTests(BackendSuite):
    """Batches."""

    def test_log_batch_of_everything_writes_all(self, store: BackendStore, run: str) -> None:
        """Metrics, params and tags of one batch are all there; iterators are as good as lists.

        Usual cause of failure: an iterator is read twice.
        """
        store.log_batch(run, iter(_metrics(20)), iter(_params(3)), iter(_tags(3)))
        data = store.get_run(run).data
        assert data.metrics == {f"m{index % 7}": float(index) for index in range(20)}
        assert data.params == {"p0": "0", "p1": "1", "p2": "2"}
        assert data.tags.items() >= {"t0": "0", "t1": "1", "t2": "2"}.items()

    @pytest.mark.parametrize("place", [0, 49, 99])
    def test_log_batch_with_changed_param_writes_nothing(self, store: BackendStore, run: str, place: int) -> None:
        """A param that would change refuses the whole batch: metrics, tags and other params too.

        Usual cause of failure: a commit for each kind of entity, or the check comes after the first writes.
        """
        store.log_batch(run, [Metric("m0", 1.0, 1)], [Param(f"p{place}", "kept")], [RunTag("t0", "kept")])
        before = snapshot(store, run)
        refuses(InvalidParameterValue, store.log_batch, run, _metrics(50), _params(100), _tags(50))
        assert snapshot(store, run) == before

    @requires("raw.counts")
    def test_log_batch_with_changed_param_leaves_no_trace_in_storage(
        self, store: BackendStore, run: str, harness: BackendHarness
    ) -> None:
        """Nothing of a refused batch is in the storage, seen or unseen.

        Usual cause of failure: rows of the refused batch that readers skip.
        """
        store.log_param(run, Param("p1", "kept"))
        before = harness.raw.counts()
        refuses(InvalidParameterValue, store.log_batch, run, _metrics(50), _params(3), _tags(5))
        assert harness.raw.counts() == before

    @pytest.mark.parametrize(
        ("metrics", "params", "tags"),
        [
            pytest.param([*_metrics(3), Metric("bad//key", 1.0, 1)], _params(2), _tags(2), id="metric-key"),
            pytest.param([*_metrics(3), Metric("m", 1.0, -1)], _params(2), _tags(2), id="timestamp"),
            pytest.param(_metrics(3), [*_params(2), Param("", "v")], _tags(2), id="param-key"),
            pytest.param(_metrics(3), [*_params(2), Param("p", "x" * 6001)], _tags(2), id="param-value"),
            pytest.param(_metrics(3), _params(2), [*_tags(2), RunTag("../t", "v")], id="tag-key"),
            pytest.param(_metrics(3), _params(2), [*_tags(2), RunTag("t", "x" * 8001)], id="tag-value"),
            pytest.param(_metrics(3), [Param("p", "1"), Param("p", "1")], _tags(2), id="param-twice"),
            pytest.param(_metrics(3), [Param("p", "1"), Param("p", "2")], _tags(2), id="params-contradict"),
            pytest.param([*_metrics(3), ("m", 1.0, 1)], _params(2), _tags(2), id="tuple"),
            pytest.param(_metrics(3), _params(2), [Param("t", "v")], id="wrong-kind"),
        ],
    )
    def test_log_batch_with_one_bad_entity_writes_nothing(
        self, store: BackendStore, run: str, metrics: list[Metric], params: list[Param], tags: list[RunTag]
    ) -> None:
        """One bad entity refuses the whole batch; a param may stand in it once only.

        Usual cause of failure: entities are checked one by one while they are written.
        """
        before = snapshot(store, run)
        refuses(InvalidParameterValue, store.log_batch, run, metrics, params, tags)
        assert snapshot(store, run) == before

    def test_log_batch_with_tag_twice_keeps_the_last(self, store: BackendStore, run: str) -> None:
        """Of equal tag keys the last one counts.

        Usual cause of failure: a database refuses to touch a row twice in one statement.
        """
        store.log_batch(run, tags=[RunTag("t", "1"), RunTag("u", "x"), RunTag("t", "2")])
        assert store.get_run(run).data.tags["t"] == "2"

    @pytest.mark.parametrize(("metrics", "params", "tags"), [(1000, 0, 0), (0, 100, 0), (0, 0, 100), (800, 100, 100)])
    def test_log_batch_at_its_limits_is_accepted(
        self, store: BackendStore, run: str, metrics: int, params: int, tags: int
    ) -> None:
        """1000 metrics, 100 params, 100 tags, 1000 entities in all.

        Usual cause of failure: a statement with more bound values than the database takes.
        """
        store.log_batch(run, _metrics(metrics), _params(params), _tags(tags))
        data = store.get_run(run).data
        assert len(data.params) == params
        assert len(data.tags) == tags + 1
        points = [point for key in data.metrics for point in store.get_metric_history(run, key)]
        assert sorted(map(identity, points)) == sorted(map(identity, _metrics(metrics)))

    @pytest.mark.parametrize(("metrics", "params", "tags"), [(1001, 0, 0), (0, 101, 0), (0, 0, 101), (900, 100, 1)])
    def test_log_batch_over_its_limits_is_refused(
        self, store: BackendStore, run: str, metrics: int, params: int, tags: int
    ) -> None:
        """A batch over its limits is refused, not split.

        Usual cause of failure: the public method was overridden without its checks.
        """
        before = snapshot(store, run)
        refuses(InvalidParameterValue, store.log_batch, run, _metrics(metrics), _params(params), _tags(tags))
        assert snapshot(store, run) == before

    def test_log_batch_again_changes_nothing(self, store: BackendStore, run: str) -> None:
        """A batch may be sent again when its answer was lost, whole or with more to it (mlflow#24577).

        Usual cause of failure: the recovery from a duplicate key loses the new rows.
        """
        store.log_batch(run, _metrics(600), _params(50), _tags(50))
        before = snapshot(store, run)
        store.log_batch(run, _metrics(600), _params(50), _tags(50))
        assert snapshot(store, run) == before
        store.log_batch(run, _metrics(400, start=400), _params(60), _tags(50))
        data = store.get_run(run).data
        assert len(data.params) == 60
        assert sum(len(store.get_metric_history(run, key)) for key in data.metrics) == 800

    def test_log_empty_batch_does_nothing(self, store: BackendStore, run: str) -> None:
        """An empty batch is accepted for a run that exists, deleted ones included.

        Usual cause of failure: a statement without rows.
        """
        before = snapshot(store, run)
        store.log_batch(run)
        store.log_batch(run, [], [], [])
        assert snapshot(store, run) == before
        store.delete_run(run)
        store.log_batch(run)
        refuses(NotFound, store.log_batch, "f" * 32)

    @pytest.mark.parametrize("items", ["text", {"k": "v"}, 5, [None]])
    def test_log_batch_with_no_entities_is_refused(self, store: BackendStore, run: str, items: Sequence[Param]) -> None:
        """What holds no entities is an error of the caller.

        Usual cause of failure: a text is taken for a list of its letters.
        """
        before = snapshot(store, run)
        refuses(InvalidParameterValue, store.log_batch, run, params=items)
        refuses(InvalidParameterValue, store.log_batch, run, metrics=items)
        refuses(InvalidParameterValue, store.log_batch, run, tags=items)
        assert snapshot(store, run) == before
