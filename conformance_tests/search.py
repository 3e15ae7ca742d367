"""Searches: what clauses mean, how results are ordered, how pages hold together."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial

import pytest

from holdall.conformance_tests.base import BackendSuite
from holdall.conformance_tests.history import GARBAGE_TOKENS
from holdall.conformance_tests.names import HOSTILE_KEYS
from holdall.conformance_tests.search_cases import (
    BAD_FILTERS,
    BAD_ORDERINGS,
    FILTERS,
    LIKE_CASES,
    ORDERINGS,
    create_runs,
)
from holdall.conformance_tests.support import drain, refuses, requires, search_all, unique
from holdall.stores import (
    BackendStore,
    Experiment,
    ExperimentTag,
    InvalidParameterValue,
    Metric,
    Param,
    Run,
    RunTag,
    ViewType,
)

__all__ = ["ExperimentSearchTests", "RunSearchTests"]


def _ids(runs: list[Run]) -> list[str]:
    return [run.info.run_id for run in runs]


class RunSearchTests(BackendSuite):
    """Searches for runs."""

    @pytest.mark.parametrize("filter_string", [text for text in FILTERS if "dataset" not in text])
    def test_search_runs_with_filter_finds_what_it_means(
        self, store: BackendStore, experiment: str, filter_string: str
    ) -> None:
        """A filter finds the same runs on every store.

        Usual cause of failure: a missing key that matches `!=`, NaN taken for 0, a collation that ignores case.
        """
        self.expect_found(store, experiment, filter_string)

    @requires("datasets")
    @pytest.mark.parametrize("filter_string", [text for text in FILTERS if "dataset" in text])
    def test_search_runs_by_dataset_finds_what_it_means(
        self, store: BackendStore, experiment: str, filter_string: str
    ) -> None:
        """A clause on datasets holds if any input satisfies it; each clause looks for its own input.

        Usual cause of failure: clauses on datasets share one join.
        """
        self.expect_found(store, experiment, filter_string)

    def expect_found(self, store: BackendStore, experiment: str, filter_string: str) -> None:
        """The filter finds the runs that the table says."""
        ids = create_runs(store, experiment)
        text = re.sub("<(.)>", lambda match: ids[match.group(1)], filter_string)
        letters = {run_id: letter for letter, run_id in ids.items()}
        found = sorted(letters[run_id] for run_id in _ids(search_all(store, experiment, text)))
        assert "".join(found) == FILTERS[filter_string]

    @pytest.mark.parametrize("order_by", list(ORDERINGS), ids=", ".join)
    def test_search_runs_with_order_sorts_and_pages_alike(
        self, store: BackendStore, experiment: str, order_by: tuple[str, ...]
    ) -> None:
        """Missing values come last in either direction, NaN just before them; pages of any size agree with the whole.

        Usual cause of failure: NULLs first, a token that cannot hold Inf or a missing value, ties without an order.
        """
        ids = create_runs(store, experiment)
        tied = "".join(sorted("cd", key=lambda letter: ids[letter]))
        expected = [ids[letter] for letter in ORDERINGS[order_by].replace("*", tied)]
        assert _ids(search_all(store, experiment, order_by=order_by)) == expected
        for size in (1, 2, 5):
            assert self.page_ids(store, experiment, order_by, size) == expected

    def page_ids(self, store: BackendStore, experiment: str, order_by: Sequence[str], size: int) -> list[str]:
        """Ids of all runs in order, page by page."""
        return _ids(
            drain(lambda token: store.search_runs([experiment], max_results=size, order_by=order_by, page_token=token))
        )

    def test_search_runs_returns_runs_as_get_run_does(self, store: BackendStore, experiment: str) -> None:
        """A search returns whole runs.

        Usual cause of failure: data of one run is shown with another, or inputs are left out.
        """
        ids = create_runs(store, experiment)
        for run in search_all(store, experiment):
            assert repr(run) == repr(store.get_run(run.info.run_id))
        assert len(ids) == 6

    @pytest.mark.parametrize(("value", "pattern", "operator", "matches"), LIKE_CASES)
    def test_search_runs_with_pattern_matches_alike(
        self, store: BackendStore, experiment: str, run: str, value: str, pattern: str, operator: str, matches: bool
    ) -> None:
        """`%` is any text, `_` one character, line ends too; nothing else is special; ILIKE folds case in all scripts.

        Usual cause of failure: the database's own ILIKE, or a regular expression.
        """
        store.log_batch(run, params=[Param("p", value)], tags=[RunTag("t", value)])
        found = search_all(store, experiment, f"tags.t {operator} '{pattern}' AND params.p {operator} '{pattern}'")
        assert _ids(found) == ([run] if matches else [])

    def test_search_runs_by_unusual_keys_finds_each(self, store: BackendStore, experiment: str, run: str) -> None:
        """Every key that can be logged can be searched and sorted by.

        Usual cause of failure: keys are pasted into a statement or taken apart at dots.
        """
        for key in HOSTILE_KEYS:
            store.log_batch(run, [Metric(key, 1.0, 1)], [Param(key, "v")], [RunTag(key, "v")])
            clause = f"metrics.`{key}` = 1 AND params.`{key}` = 'v' AND tags.`{key}` = 'v'"
            assert _ids(search_all(store, experiment, clause, [f"metrics.`{key}` DESC"])) == [run]

    def test_search_runs_with_similar_keys_tells_them_apart(
        self, store: BackendStore, experiment: str, run: str
    ) -> None:
        """Keys in filters are exact.

        Usual cause of failure: a collation on the key's column.
        """
        store.log_batch(run, [Metric("Loss", 1.0, 1)], [Param("x/y", "v")], [RunTag("key ", "v")])
        for clause in ("metrics.loss = 1", "params.x = 'v'", "tags.key = 'v'", "params.`X/y` = 'v'"):
            assert search_all(store, experiment, clause) == []

    def test_search_runs_with_many_clauses_answers(self, store: BackendStore, experiment: str, run: str) -> None:
        """Filters may have many clauses, on different keys or the same.

        Usual cause of failure: a join for each clause, of which databases take 64 or fewer.
        """
        store.log_batch(run, params=[Param(f"p{number}", "v") for number in range(80)])
        clauses = [f"params.p{number} = 'v'" for number in range(80)]
        assert _ids(search_all(store, experiment, " AND ".join(clauses))) == [run]
        assert search_all(store, experiment, " AND ".join([*clauses, "params.p80 = 'v'"])) == []

    def test_search_runs_after_relogging_uses_the_latest_value(
        self, store: BackendStore, experiment: str, run: str
    ) -> None:
        """Filters and orderings see the latest value of a metric only, and follow it.

        Usual cause of failure: any stored point matches, or an index of latest values is stale.
        """
        store.log_metric(run, Metric("m", 1.0, 1, 0))
        assert _ids(search_all(store, experiment, "metrics.m = 1")) == [run]
        store.log_metric(run, Metric("m", 2.0, 1, 1))
        assert search_all(store, experiment, "metrics.m = 1") == []
        assert _ids(search_all(store, experiment, "metrics.m = 2")) == [run]

    def test_search_runs_by_text_sorts_by_code_point(self, store: BackendStore, experiment: str) -> None:
        """Text sorts by code point on every store.

        Usual cause of failure: the database's locale, or UTF-16 order.
        """
        values = ["", " ", "10", "9", "Z", "a", "z", "ä", "é", "一", "\uffee", "😀"]
        for value in reversed(values):
            store.create_run(experiment, tags=[RunTag("t", value)])
        found = search_all(store, experiment, order_by=["tags.t"])
        assert [run.data.tags["t"] for run in found] == values
        found = search_all(store, experiment, order_by=["tags.t DESC"])
        assert [run.data.tags["t"] for run in found] == values[::-1]

    def test_search_runs_with_large_times_compares_exactly(self, store: BackendStore, experiment: str) -> None:
        """Times are compared as 64-bit integers.

        Usual cause of failure: they travel as doubles.
        """
        times = [2**53, 2**53 + 1, 2**63 - 2, 2**63 - 1]
        ids = [store.create_run(experiment, start_time=time).info.run_id for time in times]
        for run_id, time in zip(ids, times, strict=True):
            assert _ids(search_all(store, experiment, f"start_time = {time}")) == [run_id]
        runs = drain(lambda token: store.search_runs([experiment], max_results=1, page_token=token))
        assert _ids(runs) == ids[::-1]

    @pytest.mark.parametrize("filter_string", BAD_FILTERS)
    def test_search_runs_with_bad_filter_is_refused(
        self, store: BackendStore, experiment: str, filter_string: str
    ) -> None:
        """What is no filter is an error of the caller.

        Usual cause of failure: the public method was overridden without the common parser.
        """
        refuses(InvalidParameterValue, store.search_runs, [experiment], filter_string)

    @pytest.mark.parametrize("clause", BAD_ORDERINGS)
    def test_search_runs_with_bad_order_is_refused(self, store: BackendStore, experiment: str, clause: str) -> None:
        """What is no ordering is an error of the caller.

        Usual cause of failure: the public method was overridden without the common parser.
        """
        refuses(InvalidParameterValue, store.search_runs, [experiment], order_by=[clause])

    def test_search_runs_in_several_experiments_finds_their_runs(self, store: BackendStore, experiment: str) -> None:
        """Runs of the experiments named are found, each once; unknown ids hold nothing; none at all finds nothing.

        Usual cause of failure: an empty list means everything, or repeated ids repeat runs.
        """
        other = store.create_experiment(unique("other"))
        first, second = (store.create_run(each).info.run_id for each in (experiment, other))
        assert set(_ids(store.search_runs([experiment, other]))) == {first, second}
        assert _ids(store.search_runs([experiment, experiment])) == [first]
        assert _ids(store.search_runs([other, "999999999999999999", "abc"])) == [second]
        assert _ids(store.search_runs(experiment)) == [first]
        assert store.search_runs([]) == []
        assert store.search_runs(["123456789012345678901234567890"]) == []
        refuses(InvalidParameterValue, store.search_runs, [other, "../x"])
        refuses(InvalidParameterValue, store.search_runs, [1])
        refuses(InvalidParameterValue, store.search_runs, 1)

    def test_search_runs_by_view_looks_at_the_runs_own_stage(self, store: BackendStore, experiment: str) -> None:
        """Active runs by default, deleted ones or all when asked.

        Usual cause of failure: the view filters after the page was cut.
        """
        runs = [store.create_run(experiment, start_time=number).info.run_id for number in range(6)]
        for run_id in runs[1::2]:
            store.delete_run(run_id)
        assert _ids(store.search_runs([experiment])) == runs[4::-2]
        deleted = drain(
            lambda token: store.search_runs(
                [experiment], run_view_type=ViewType.DELETED_ONLY, max_results=2, page_token=token
            )
        )
        assert _ids(deleted) == runs[5::-2]
        assert _ids(store.search_runs([experiment], run_view_type=ViewType.ALL)) == runs[::-1]
        refuses(InvalidParameterValue, store.search_runs, [experiment], run_view_type=9)

    @pytest.mark.parametrize("size", [0, -1, 50001, 1.5, None, "10", True])
    def test_search_runs_with_bad_page_size_is_refused(self, store: BackendStore, experiment: str, size: int) -> None:
        """A page holds 1 … 50000 runs.

        Usual cause of failure: 0 means none, or all.
        """
        refuses(InvalidParameterValue, store.search_runs, [experiment], max_results=size)

    def test_search_runs_with_exact_page_size_has_no_token(self, store: BackendStore, experiment: str) -> None:
        """A last page that is full is still the last.

        Usual cause of failure: a full page is taken for a sign of more.
        """
        create_runs(store, experiment)
        assert store.search_runs([experiment], max_results=6).token is None
        assert store.search_runs([experiment], max_results=5).token is not None
        assert len(store.search_runs([experiment], max_results=50000)) == 6

    def test_page_runs_while_runs_arrive_neither_skips_nor_repeats(self, store: BackendStore, experiment: str) -> None:
        """Runs that sort before the place of a page do not shift it; those after it are found (mlflow#25858).

        Usual cause of failure: pages by offset.
        """
        old = [self.create_scored(store, experiment, float(score)) for score in range(20)]
        seen: list[str] = []
        late: list[str] = []
        token = None
        for number in range(100):
            page = store.search_runs([experiment], max_results=3, order_by=["metrics.score"], page_token=token)
            seen += _ids(page)
            if page.token is None:
                break
            token = page.token
            self.create_scored(store, experiment, -1.0 - number)
            late.append(self.create_scored(store, experiment, 100.0 + number))
        assert seen[:20] == old
        assert seen[20:] == late[: len(seen) - 20]
        assert len(seen) > 20

    def create_scored(self, store: BackendStore, experiment: str, score: float) -> str:
        """Id of a new run with the metric `score`."""
        run_id = store.create_run(experiment).info.run_id
        store.log_metric(run_id, Metric("score", score, 1))
        return run_id

    @pytest.mark.parametrize("token", GARBAGE_TOKENS)
    def test_search_runs_with_garbage_token_is_refused(self, store: BackendStore, experiment: str, token: str) -> None:
        """Texts that are no tokens are errors of the caller.

        Usual cause of failure: the decoder's exception is passed on.
        """
        create_runs(store, experiment)
        refuses(InvalidParameterValue, store.search_runs, [experiment], page_token=token)

    def test_search_runs_with_token_of_another_query_is_refused(self, store: BackendStore, experiment: str) -> None:
        """A token is bound to ids, filter, ordering and view; the page size may change.

        Usual cause of failure: tokens that are mere places.
        """
        create_runs(store, experiment)
        other = store.create_experiment(unique("other"))
        token = store.search_runs([experiment, other], "start_time > 0", max_results=2).token
        assert token is not None
        for arguments in (
            {"filter_string": "start_time > 1"},
            {"order_by": ["start_time ASC"]},
            {"order_by": ["metrics.acc"]},
            {"run_view_type": ViewType.ALL},
            {"experiment_ids": [experiment]},
        ):
            query = {"experiment_ids": [experiment, other], "filter_string": "start_time > 0", **arguments}
            refuses(InvalidParameterValue, store.search_runs, page_token=token, **query)
        refuses(InvalidParameterValue, store.search_experiments, page_token=token)
        assert len(store.search_runs([other, experiment], "start_time > 0", max_results=50, page_token=token)) == 4


class ExperimentSearchTests(BackendSuite):
    """Searches for experiments; each test looks at experiments of its own names only."""

    def test_page_experiments_by_pattern_finds_all_characters(self, store: BackendStore) -> None:
        """A pattern's `%` stands for any characters, also those beyond the basic plane, on whatever page they come.

        Usual cause of failure: an index range for the pattern, which some collations end too early.
        """
        salt = unique("pages")
        names = [f"{salt}{name}" for name in ("", "a", "z", "😀")]
        for name in names:
            store.create_experiment(name)
        pattern = f"name LIKE '{salt}%'"
        for order, expected in (("name ASC", names), ("name DESC", names[::-1])):
            for size in (1, 2, 100):
                page = partial(store.search_experiments, ViewType.ALL, size, pattern, [order])
                assert [experiment.name for experiment in drain(page)] == expected

    def test_search_experiments_by_name_finds_exact_matches(self, store: BackendStore) -> None:
        """Names compare exactly; LIKE and ILIKE as for runs.

        Usual cause of failure: a collation that ignores case.
        """
        salt = unique("s")
        names = [f"{salt} One", f"{salt} only", f"{salt} two ", f"{salt} Zwö"]
        for name in names:
            store.create_experiment(name)
        for clause, expected in {
            f"name = '{salt} one'": [],
            f"name = '{salt} only'": names[1:2],
            f"name LIKE '{salt} o%'": names[1:2],
            f"name ILIKE '{salt} O%'": names[:2],
            f"attribute.name ILIKE '{salt} zWÖ'": names[3:],
            f"name = '{salt} two'": [],
            f"name LIKE '{salt}%' AND name != '{salt} One'": names[1:],
        }.items():
            assert [found.name for found in self.find(store, clause, ["name"])] == sorted(expected)

    @requires("exact_names")
    def test_search_experiments_by_name_among_similar_ones_finds_one(self, store: BackendStore) -> None:
        """Of names that differ in case only, each is found by itself.

        Usual cause of failure: a collation that ignores case.
        """
        salt = unique("s")
        for name in (f"{salt} One", f"{salt} one"):
            store.create_experiment(name)
        for clause, expected in {
            "= '{} one'": ["one"],
            "!= '{} one'": ["One"],
            "ILIKE '{} ONE'": ["One", "one"],
        }.items():
            text = f"name LIKE '{salt}%' AND name {clause.format(salt)}"
            assert [found.name for found in self.find(store, text, ["name"])] == [f"{salt} {name}" for name in expected]

    def test_search_experiments_by_tag_finds_what_it_means(self, store: BackendStore) -> None:
        """A missing tag matches nothing but IS NULL; the empty text is not missing.

        Usual cause of failure: an outer join.
        """
        salt = unique("s")
        for name, tags in {"a": {"t": "x"}, "b": {"t": ""}, "c": {}, "d": {"T": "x", "my tag": "y"}}.items():
            store.create_experiment(f"{salt}{name}", tags=[ExperimentTag(*item) for item in tags.items()])
        for clause, expected in {
            "tags.t = 'x'": "a",
            "tag.t != 'x'": "b",
            "tags.t = ''": "b",
            "tags.t LIKE '%'": "ab",
            "tags.t IS NULL": "cd",
            "tags.t IS NOT NULL": "ab",
            "tags.`my tag` ILIKE 'Y' AND tags.T = 'x'": "d",
        }.items():
            found = self.find(store, f"name LIKE '{salt}%' AND {clause}", ["name"])
            assert "".join(experiment.name[-1] for experiment in found) == expected

    def test_search_experiments_by_id_and_time_finds_what_it_means(self, store: BackendStore) -> None:
        """Ids and times can be searched.

        Usual cause of failure: ids compare as numbers with text.
        """
        salt = unique("s")
        ids = [store.create_experiment(f"{salt}{number}") for number in range(3)]
        time = store.get_experiment(ids[0]).creation_time
        for clause, expected in {
            f"experiment_id = '{ids[0]}'": ids[:1],
            f"experiment_id != '{ids[0]}'": ids[1:],
            f"experiment_id IN ('{ids[0]}', '{ids[2]}', 'none')": [ids[0], ids[2]],
            f"experiment_id NOT IN ('{ids[0]}', '{ids[2]}')": ids[1:2],
            f"creation_time >= {time}": ids,
            f"creation_time < {time}": [],
            "last_update_time > 0.5": ids,
        }.items():
            found = self.find(store, f"name LIKE '{salt}%' AND {clause}", ["name"])
            assert [experiment.experiment_id for experiment in found] == expected

    def find(self, store: BackendStore, clause: str, order_by: list[str]) -> list[Experiment]:
        """All active experiments that a filter finds."""
        return list(store.search_experiments(filter_string=clause, order_by=order_by))

    @pytest.mark.parametrize(
        "filter_string",
        [
            "foo = 'x'",
            "metrics.a > 1",
            "name = 5",
            "name > 'a'",
            "lifecycle_stage = 'active'",
            "name IS NULL",
            "name =",
        ],
    )
    def test_search_experiments_with_bad_filter_is_refused(self, store: BackendStore, filter_string: str) -> None:
        """What is no filter for experiments is an error of the caller.

        Usual cause of failure: the public method was overridden without the common parser.
        """
        refuses(InvalidParameterValue, store.search_experiments, filter_string=filter_string)

    @pytest.mark.parametrize("order_by", [["tags.t"], ["foo"], ["name,"], [""], "name"])
    def test_search_experiments_with_bad_order_is_refused(self, store: BackendStore, order_by: list[str]) -> None:
        """What is no ordering for experiments is an error of the caller.

        Usual cause of failure: the public method was overridden without the common parser.
        """
        refuses(InvalidParameterValue, store.search_experiments, order_by=order_by)

    def test_page_experiments_in_every_order_gives_each_once(self, store: BackendStore) -> None:
        """Pages of any size agree with the whole, also while experiments arrive.

        Usual cause of failure: pages by offset, or ties of times without an order.
        """
        salt = unique("s")
        names = [f"{salt}{number:02}" for number in range(9)]
        for name in names:
            store.create_experiment(name)
        query = f"name LIKE '{salt}%'"
        for order_by in (["name"], ["name DESC"], ["creation_time"], [], ["experiment_id DESC"]):
            whole = store.search_experiments(filter_string=query, order_by=order_by)
            assert sorted(found.name for found in whole) == names
            for size in (1, 2, 4, 9):
                assert self.page_all(store, query, order_by, size) == whole
        page = store.search_experiments(max_results=4, filter_string=query, order_by=["name"])
        store.create_experiment(f"{salt}!")
        store.create_experiment(f"{salt}zz")
        rest = store.search_experiments(filter_string=query, order_by=["name"], page_token=page.token)
        assert [found.name for found in (*page, *rest)] == [*names, f"{salt}zz"]

    def page_all(self, store: BackendStore, query: str, order_by: list[str], size: int) -> list[Experiment]:
        """All experiments that a filter finds, page by page."""
        return drain(
            lambda token: store.search_experiments(
                max_results=size, filter_string=query, order_by=order_by, page_token=token
            )
        )

    def test_search_experiments_by_default_gives_the_newest_first(self, store: BackendStore) -> None:
        """Without an order the latest created come first, equal times by id.

        Usual cause of failure: the order of insertion.
        """
        salt = unique("s")
        for number in range(5):
            store.create_experiment(f"{salt}{number}")
        found = store.search_experiments(filter_string=f"name LIKE '{salt}%'")
        times = [experiment.creation_time or 0 for experiment in found]
        assert times == sorted(times, reverse=True)

    def test_search_experiments_by_view_looks_at_their_stage(self, store: BackendStore) -> None:
        """Active experiments by default, deleted ones or all when asked.

        Usual cause of failure: deleted ones are hidden from every view.
        """
        salt = unique("s")
        kept, deleted = store.create_experiment(f"{salt}a"), store.create_experiment(f"{salt}b")
        store.delete_experiment(deleted)
        query = f"name LIKE '{salt}%'"
        for view, expected in {
            ViewType.ACTIVE_ONLY: [kept],
            ViewType.DELETED_ONLY: [deleted],
            ViewType.ALL: [kept, deleted],
        }.items():
            found = store.search_experiments(view, filter_string=query, order_by=["name"])
            assert [experiment.experiment_id for experiment in found] == expected
        refuses(InvalidParameterValue, store.search_experiments, 7)

    @pytest.mark.parametrize("size", [0, -1, 50001, None])
    def test_search_experiments_with_bad_page_size_is_refused(self, store: BackendStore, size: int) -> None:
        """A page holds 1 … 50000 experiments.

        Usual cause of failure: 0 means none, or all.
        """
        refuses(InvalidParameterValue, store.search_experiments, max_results=size)

    @pytest.mark.parametrize("token", GARBAGE_TOKENS)
    def test_search_experiments_with_garbage_token_is_refused(self, store: BackendStore, token: str) -> None:
        """Texts that are no tokens are errors of the caller.

        Usual cause of failure: the decoder's exception is passed on.
        """
        refuses(InvalidParameterValue, store.search_experiments, page_token=token)

    def test_search_experiments_with_token_of_another_query_is_refused(self, store: BackendStore) -> None:
        """A token is bound to filter, ordering and view.

        Usual cause of failure: tokens that are mere places.
        """
        for _ in range(3):
            store.create_experiment(unique("s"))
        token = store.search_experiments(max_results=1).token
        assert token is not None
        refuses(InvalidParameterValue, store.search_experiments, ViewType.ALL, page_token=token)
        refuses(InvalidParameterValue, store.search_experiments, filter_string="name != ''", page_token=token)
        refuses(InvalidParameterValue, store.search_experiments, order_by=["name"], page_token=token)
