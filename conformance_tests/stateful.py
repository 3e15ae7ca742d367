"""A state machine that makes a store and the memory store do the same things, and compares them at every step."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import hypothesis
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from holdall.conformance_tests.base import BackendSuite
from holdall.conformance_tests.support import bits, drain, identity, unique
from holdall.stores import (
    BackendStore,
    Dataset,
    DatasetInput,
    Experiment,
    ExperimentTag,
    HoldallError,
    InputTag,
    LifecycleStage,
    Metric,
    Param,
    RunInfo,
    RunStatus,
    RunTag,
    ViewType,
    open_backend_store,
)

__all__ = ["PROFILES", "StatefulTests", "StoreComparison", "compare_with_memory"]

_COMMON = hypothesis.settings(
    deadline=None,
    database=None,
    print_blob=True,
    suppress_health_check=[hypothesis.HealthCheck.too_slow, hypothesis.HealthCheck.filter_too_much],
)
PROFILES = {
    "default": hypothesis.settings(_COMMON, max_examples=40, stateful_step_count=30),
    "ci": hypothesis.settings(_COMMON, max_examples=200, stateful_step_count=50),
    "nightly": hypothesis.settings(_COMMON, max_examples=5000, stateful_step_count=80),
}
"""How long the comparison takes, by the names that `--conformance-profile` knows."""


def _written(*names: str) -> st.SearchStrategy[str]:
    """Names to write, each of which the store under test tells from the others; any may be asked for."""
    apart = [name for name in names if name not in ("A", "D", "X", "a ", "ä")]
    return st.runner().flatmap(
        lambda machine: st.sampled_from(names if machine.store.capabilities.exact_names else apart)
    )


_KEYS = ("x", "X", "x/y", "ä b")
KEYS = st.sampled_from(_KEYS)
NEW_KEYS = _written(*_KEYS)
INDEX = st.integers(0, 3)
"""Which of the experiments or runs made so far."""

_TEXTS = ("", "a", "A", "a ", "10", "9", "ä", "%_", "it's", "😀", "line\nfeed")
TEXTS = st.sampled_from(_TEXTS)
NEW_NAMES = _written(*_TEXTS)
NUMBERS = st.sampled_from([0.0, 1.0, -1.5, 0.1, 5e-324, 1e300, math.inf, -math.inf, math.nan])
SMALL = st.integers(-2, 3)
METRICS = st.builds(Metric, NEW_KEYS, NUMBERS, st.integers(0, 2), st.integers(-1, 1))
PARAMS = st.builds(Param, NEW_KEYS, TEXTS)
TAGS = st.builds(RunTag, st.one_of(NEW_KEYS, st.just("mlflow.runName")), TEXTS)
VIEWS = st.sampled_from(ViewType)
DATASETS = st.builds(
    DatasetInput,
    st.builds(Dataset, _written("d", "D"), st.sampled_from(["1", "2"]), TEXTS, TEXTS),
    st.lists(st.builds(InputTag, st.just("mlflow.data.context"), TEXTS), max_size=1).map(tuple),
)

_NUMERIC = st.sampled_from(["=", "!=", ">", ">=", "<", "<="])
_TEXTUAL = st.sampled_from(["=", "!=", "LIKE", "ILIKE"])
_PATTERNS = st.sampled_from(["", "a", "A", "a%", "%", "_", "%_", "ä", "10"])
_LITERALS = st.sampled_from(["0", "1", "-1.5", "0.1", "1e400", "-1e400", "5e-324"])
CLAUSES = st.one_of(
    st.builds("metrics.`{}` {} {}".format, KEYS, _NUMERIC, _LITERALS),
    st.builds("{}.`{}` {} '{}'".format, st.sampled_from(["params", "tags"]), KEYS, _TEXTUAL, _PATTERNS),
    st.builds("{}.`{}` IS {}NULL".format, st.sampled_from(["params", "tags"]), KEYS, st.sampled_from(["", "NOT "])),
    st.builds("status {} '{}'".format, _TEXTUAL, st.sampled_from(RunStatus)),
    st.builds("run_name {} '{}'".format, _TEXTUAL, _PATTERNS),
    st.builds("{} {} {}".format, st.sampled_from(["start_time", "end_time"]), _NUMERIC, SMALL),
    st.builds("datasets.{} {} '{}'".format, st.sampled_from(["name", "context"]), _TEXTUAL, _PATTERNS),
)
FILTERS = st.one_of(st.just(""), CLAUSES, st.lists(CLAUSES, min_size=2, max_size=3).map(" AND ".join))
ORDERS = st.lists(
    st.builds(
        "{} {}".format,
        st.one_of(
            st.builds("{}.`{}`".format, st.sampled_from(["metrics", "params", "tags"]), KEYS),
            st.sampled_from(["start_time", "end_time", "status", "run_name"]),
        ),
        st.sampled_from(["ASC", "DESC"]),
    ),
    max_size=2,
)


class StoreComparison(RuleBasedStateMachine):
    """Does everything twice, to the store and to the model, and expects the same.

    Ids differ between the two, so every experiment and run is a pair of ids. Runs carry a tag with their number, by
    which orderings are made complete. The store may hold other things: nothing is done to them and they are not looked
    at.

    Args:
        store: The store under test; it stays open.
    """

    def __init__(self, store: BackendStore) -> None:
        super().__init__()
        self.store = store
        self.model = open_backend_store("memory://")
        self.salt = unique("s")
        self.numbers: dict[str, int] = {}
        self.experiments: list[tuple[str, str]] = []
        self.runs: list[tuple[str, str]] = []
        self.touched: tuple[str, str] | None = None

    def teardown(self) -> None:
        self.model.close()

    def same(self, act: Callable[[BackendStore, int], Any]) -> Any:
        """Do something to both stores; they must give the same answer or the same error.

        Args:
            act: What to do, with the store and its place in pairs of ids.

        Returns:
            The two results, or None if both raised.
        """
        (one, one_error), (other, other_error) = (
            _attempt(act, store, side) for side, store in enumerate((self.store, self.model))
        )
        assert one_error == other_error, f"{one_error or one!r} where the model gives {other_error or other!r}"
        return None if one_error else (one, other)

    def experiment(self, index: int) -> tuple[str, str]:
        """Ids of one of the experiments made so far."""
        return self.experiments[index % len(self.experiments)]

    def run(self, index: int) -> tuple[str, str]:
        """Ids of one of the runs made so far, which is compared after this step."""
        self.touched = self.runs[index % len(self.runs)]
        return self.touched

    @initialize()
    def create_first_ones(self) -> None:
        self.create_experiment("first", [])
        for start_time in (1, 2, 2, 3):
            self.create_run(0, start_time, "", [])

    @rule(name=NEW_NAMES, tags=st.lists(st.builds(ExperimentTag, NEW_KEYS, TEXTS), max_size=2))
    def create_experiment(self, name: str, tags: list[ExperimentTag]) -> None:
        pair = self.same(lambda store, _: store.create_experiment(self.salt + name, tags=tags))
        if pair is not None:
            self.experiments.append(pair)

    @rule(index=INDEX, name=NEW_NAMES)
    def rename_experiment(self, index: int, name: str) -> None:
        pair = self.experiment(index)
        self.same(lambda store, side: store.rename_experiment(pair[side], self.salt + name))

    @rule(index=INDEX)
    def delete_experiment(self, index: int) -> None:
        pair = self.experiment(index)
        self.same(lambda store, side: store.delete_experiment(pair[side]))

    @rule(index=INDEX)
    def restore_experiment(self, index: int) -> None:
        pair = self.experiment(index)
        self.same(lambda store, side: store.restore_experiment(pair[side]))

    @rule(index=INDEX, key=NEW_KEYS, value=TEXTS)
    def set_experiment_tag(self, index: int, key: str, value: str) -> None:
        pair = self.experiment(index)
        self.same(lambda store, side: store.set_experiment_tag(pair[side], ExperimentTag(key, value)))

    @rule(index=INDEX, key=KEYS)
    def delete_experiment_tag(self, index: int, key: str) -> None:
        pair = self.experiment(index)
        self.same(lambda store, side: store.delete_experiment_tag(pair[side], key))

    @rule(index=INDEX, start_time=st.integers(0, 3), name=TEXTS, tags=st.lists(TAGS, max_size=2))
    def create_run(self, index: int, start_time: int, name: str, tags: list[RunTag]) -> None:
        pair = self.experiment(index)
        number = len(self.numbers)
        extra = [*tags, RunTag("number", f"{number:06}")]
        named = name or f"run {number}"
        created = self.same(lambda store, side: store.create_run(pair[side], "u", start_time, extra, named))
        if created is not None:
            one, other = created
            self.numbers[one.info.run_id] = self.numbers[other.info.run_id] = number
            self.runs.append((one.info.run_id, other.info.run_id))

    @rule(
        index=INDEX, status=st.none() | st.sampled_from(RunStatus), end_time=st.none() | SMALL, name=st.none() | TEXTS
    )
    def update_run_info(self, index: int, status: str | None, end_time: int | None, name: str | None) -> None:
        pair = self.run(index)
        results = self.same(lambda store, side: _info_facts(store.update_run_info(pair[side], status, end_time, name)))
        assert results is None or results[0] == results[1]

    @rule(index=INDEX)
    def delete_run(self, index: int) -> None:
        pair = self.run(index)
        self.same(lambda store, side: store.delete_run(pair[side]))

    @rule(index=INDEX)
    def restore_run(self, index: int) -> None:
        pair = self.run(index)
        self.same(lambda store, side: store.restore_run(pair[side]))

    @rule(index=INDEX, metric=METRICS)
    def log_metric(self, index: int, metric: Metric) -> None:
        pair = self.run(index)
        self.same(lambda store, side: store.log_metric(pair[side], metric))

    @rule(index=INDEX, param=PARAMS)
    def log_param(self, index: int, param: Param) -> None:
        pair = self.run(index)
        self.same(lambda store, side: store.log_param(pair[side], param))

    @rule(index=INDEX, tag=TAGS)
    def set_tag(self, index: int, tag: RunTag) -> None:
        pair = self.run(index)
        self.same(lambda store, side: store.set_tag(pair[side], tag))

    @rule(index=INDEX, key=KEYS)
    def delete_tag(self, index: int, key: str) -> None:
        pair = self.run(index)
        self.same(lambda store, side: store.delete_tag(pair[side], key))

    @rule(
        index=INDEX,
        metrics=st.lists(METRICS, max_size=8),
        params=st.lists(PARAMS, max_size=3),
        tags=st.lists(TAGS, max_size=3),
    )
    def log_batch(self, index: int, metrics: list[Metric], params: list[Param], tags: list[RunTag]) -> None:
        pair = self.run(index)
        self.same(lambda store, side: store.log_batch(pair[side], metrics, params, tags))

    @rule(index=INDEX, datasets=st.lists(DATASETS, max_size=2))
    def log_inputs(self, index: int, datasets: list[DatasetInput]) -> None:
        pair = self.run(index)
        if self.store.capabilities.datasets:
            self.same(lambda store, side: store.log_inputs(pair[side], datasets))

    @rule(index=INDEX, key=KEYS, size=st.integers(1, 4))
    def page_history(self, index: int, key: str, size: int) -> None:
        pair = self.run(index)
        one, other = self.same(
            lambda store, side: [
                identity(point) for point in drain(lambda token: store.get_metric_history(pair[side], key, size, token))
            ]
        )
        assert one == other

    @rule(filter_string=FILTERS, order_by=ORDERS, view=VIEWS, size=st.integers(1, 5))
    def search_runs(self, filter_string: str, order_by: list[str], view: ViewType, size: int) -> None:
        if "datasets" in filter_string and not self.store.capabilities.datasets:
            return
        ordering = [*order_by, "tags.number"]

        def search(store: BackendStore, side: int) -> list[int]:
            ids = [pair[side] for pair in self.experiments]
            runs = drain(lambda token: store.search_runs(ids, filter_string, view, size, ordering, token))
            return [self.numbers[run.info.run_id] for run in runs]

        one, other = self.same(search)
        assert one == other, f"{filter_string!r} by {ordering}"

    @rule(
        clause=st.one_of(
            st.just("name LIKE '%'"),
            st.builds("tags.`{}` {} '{}'".format, KEYS, _TEXTUAL, _PATTERNS),
            st.builds("tags.`{}` IS {}NULL".format, KEYS, st.sampled_from(["", "NOT "])),
        ),
        direction=st.sampled_from(["ASC", "DESC"]),
        view=VIEWS,
        size=st.integers(1, 3),
    )
    def search_experiments(self, clause: str, direction: str, view: ViewType, size: int) -> None:
        text, ordering = f"name LIKE '{self.salt}%' AND {clause}", [f"name {direction}"]
        one, other = self.same(
            lambda store, _: [
                _experiment_facts(experiment)
                for experiment in drain(lambda token: store.search_experiments(view, size, text, ordering, token))
            ]
        )
        assert one == other, f"{text!r} by {ordering}"

    @rule(index=INDEX)
    def read_experiment(self, index: int) -> None:
        pair = self.experiment(index)
        one, other = self.same(lambda store, side: _experiment_facts(store.get_experiment(pair[side])))
        assert one == other

    @rule(name=TEXTS)
    def read_experiment_by_name(self, name: str) -> None:
        one, other = self.same(lambda store, _: store.get_experiment_by_name(self.salt + name))
        assert (one is None) == (other is None)
        if one is not None:
            assert (one.experiment_id, other.experiment_id) in self.experiments

    @invariant()
    def agree_on_the_touched_run(self) -> None:
        """After each step the run that it touched is the same in both, to its last point."""
        pair, self.touched = self.touched, None
        if pair is not None:
            one, other = self.same(lambda store, side: _run_facts(store, pair[side]))
            assert one == other


def compare_with_memory(store: BackendStore, profile: str = "default") -> None:
    """Run the state machine against a store; a difference raises with the shortest steps that show it.

    Args:
        store: The store under test; it may hold other things.
        profile: One of `PROFILES`.
    """

    class ComparisonOfStore(StoreComparison):
        def __init__(self) -> None:
            super().__init__(store)

    run_state_machine_as_test(ComparisonOfStore, settings=PROFILES[profile])


class StatefulTests(BackendSuite):
    """The comparison, as a test of the suite."""

    def test_compare_with_memory_step_by_step_finds_no_difference(self, store: BackendStore, pytestconfig: Any) -> None:
        """Any sequence of calls has the same results as on `memory://`, errors included.

        Usual cause of failure: read the steps that are printed; they are as few as hypothesis could make them.
        """
        compare_with_memory(store, pytestconfig.getoption("conformance_profile", "default"))


def _attempt(act: Callable[[BackendStore, int], Any], store: BackendStore, side: int) -> tuple[Any, str]:
    try:
        return act(store, side), ""
    except HoldallError as error:
        return None, error.error_code


def _experiment_facts(experiment: Experiment) -> tuple[object, ...]:
    return experiment.name[14:], LifecycleStage(experiment.lifecycle_stage), experiment.tags


def _info_facts(info: RunInfo) -> tuple[object, ...]:
    return info.run_name, str(info.status), info.start_time, info.end_time, str(info.lifecycle_stage), info.user_id


def _run_facts(store: BackendStore, run_id: str) -> tuple[object, ...]:
    run = store.get_run(run_id)
    data = run.data
    metrics = {key: (bits(value), data.metric_points[key]) for key, value in data.metrics.items()}
    histories = [[identity(point) for point in store.get_metric_history(run_id, key)] for key in sorted(metrics)]
    return _info_facts(run.info), metrics, histories, data.params, data.tags, frozenset(run.inputs.dataset_inputs)
