"""Searches of logged models: what clauses mean, how results are ordered, how pages hold together."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import pytest

from holdall.conformance_tests.history import GARBAGE_TOKENS
from holdall.conformance_tests.logged_model_base import LoggedModelSuite
from holdall.conformance_tests.logged_model_cases import (
    BAD_DATASETS,
    BAD_FILTERS,
    BAD_ORDERINGS,
    DATASETS,
    FILTERS,
    ORDERINGS,
    create_models,
)
from holdall.conformance_tests.names import HOSTILE_KEYS
from holdall.conformance_tests.support import drain, refuses, requires, unique
from holdall.stores import BackendStore, InvalidParameterValue, LoggedModel, LoggedModelStore, Metric

__all__ = ["LoggedModelSearchTests"]

Items = Sequence[Mapping[str, object]]


def _ids(found: Sequence[LoggedModel]) -> list[str]:
    return [model.model_id for model in found]


def _newest_first(found: Sequence[LoggedModel]) -> list[str]:
    return _ids(sorted(found, key=lambda model: (-model.creation_timestamp, model.model_id)))


class LoggedModelSearchTests(LoggedModelSuite):
    """Searches of logged models."""

    @requires("logged_models")
    @pytest.mark.parametrize("filter_string", FILTERS)
    def test_search_models_with_filter_finds_what_it_means(
        self, models: LoggedModelStore, experiment: str, run: str, filter_string: str
    ) -> None:
        """A filter finds the same models on every store; a clause on a metric looks at the latest on any dataset.

        Usual cause of failure: a missing key that matches `!=`, a status compared as a number, all points compared.
        """
        self.expect_models(models, experiment, run, filter_string, (), FILTERS[filter_string])

    @requires("logged_models")
    @pytest.mark.parametrize(("filter_string", "datasets", "letters"), DATASETS)
    def test_search_models_on_datasets_finds_what_was_measured_there(
        self, models: LoggedModelStore, experiment: str, run: str, filter_string: str, datasets: Items, letters: str
    ) -> None:
        """Models without a value on the datasets are not found; clauses on metrics see values on them only.

        Usual cause of failure: an absent digest is taken for one that is null.
        """
        self.expect_models(models, experiment, run, filter_string, datasets, letters)

    def expect_models(
        self, models: LoggedModelStore, experiment: str, run: str, filter_string: str, datasets: Items, letters: str
    ) -> None:
        """The search finds the models that the table says."""
        ids = create_models(models, experiment, run)
        values = {**ids, "run": run, "experiment": experiment}
        text = re.sub("<([a-z]+)>", lambda match: values[match.group(1)], filter_string)
        found = set(_ids(models.search_logged_models([experiment], text, datasets)))
        assert "".join(letter for letter, model_id in ids.items() if model_id in found) == letters
        assert len(found) == len(letters)

    @requires("logged_models")
    @pytest.mark.parametrize(("order_by", "letters"), ORDERINGS)
    def test_search_models_with_order_sorts_and_pages_alike(
        self, models: LoggedModelStore, experiment: str, run: str, order_by: Items, letters: str
    ) -> None:
        """Missing values come last in either direction, NaN just before them; pages of any size agree with the whole.

        Usual cause of failure: NULLs first, values of other datasets, a token that cannot hold Inf or a missing value.
        """
        ids = create_models(models, experiment, run)
        expected = [ids[letter] for letter in letters]
        assert _ids(models.search_logged_models([experiment], order_by=order_by)) == expected
        for size in (1, 2, 5):
            assert self.page_model_ids(models, experiment, order_by, size) == expected

    def page_model_ids(self, models: LoggedModelStore, experiment: str, order_by: Items, size: int) -> list[str]:
        """Ids of all models in order, page by page."""
        return _ids(
            drain(
                lambda token: models.search_logged_models(
                    [experiment], max_results=size, order_by=order_by, page_token=token
                )
            )
        )

    @requires("logged_models")
    def test_search_models_without_order_gives_the_newest_first(
        self, models: LoggedModelStore, experiment: str, run: str
    ) -> None:
        """Without an ordering the newest come first, by id where they are of one millisecond; ties break so too.

        Usual cause of failure: ties without an order.
        """
        create_models(models, experiment, run)
        found = models.search_logged_models([experiment])
        assert _ids(found) == _newest_first(found)
        assert _ids(models.search_logged_models([experiment], None, None, order_by=None)) == _ids(found)
        assert _ids(models.search_logged_models([experiment], "", [], order_by=[])) == _ids(found)
        tied = models.search_logged_models([experiment], order_by=[{"field_name": "experiment_id", "ascending": False}])
        assert _ids(tied) == _ids(found)
        oldest_first = models.search_logged_models([experiment], order_by=[{"field_name": "creation_time"}])
        expected = sorted(found, key=lambda model: (model.creation_timestamp, model.model_id))
        assert _ids(oldest_first) == _ids(expected)

    @requires("logged_models")
    def test_search_models_returns_models_as_get_does(
        self, models: LoggedModelStore, experiment: str, run: str
    ) -> None:
        """A search returns whole models.

        Usual cause of failure: data of one model is shown with another, or metrics are left out.
        """
        create_models(models, experiment, run)
        found = models.search_logged_models([experiment])
        assert len(found) == 6
        for model in found:
            assert repr(model) == repr(models.get_logged_model(model.model_id))

    @requires("logged_models")
    def test_search_models_by_unusual_keys_finds_each(
        self, models: LoggedModelStore, experiment: str, run: str, model: str
    ) -> None:
        """Every key that can be logged can be searched by, exactly.

        Usual cause of failure: keys are pasted into a statement, or have a collation.
        """
        for key in HOSTILE_KEYS:
            models.log_logged_model_params(model, {key: "v"})
            models.set_logged_model_tags(model, {key: "v"})
            assert _ids(models.search_logged_models([experiment], f"params.`{key}` = 'v' AND tags.`{key}` = 'v'")) == [
                model
            ]
        for clause in ("params.PLAIN = 'v'", "tags.`a/b` = 'v'", "tags.trailing = 'v'"):
            assert models.search_logged_models([experiment], clause) == []

    @requires("logged_models")
    def test_search_models_after_change_sees_it(
        self, models: LoggedModelStore, experiment: str, run: str, model: str
    ) -> None:
        """Searches follow every write.

        Usual cause of failure: an index that is stale.
        """
        for step in range(3):
            models.log_model_metrics(model, run, [Metric("m", float(step), 1, step)])
            models.set_logged_model_tags(model, {"t": str(step)})
            assert _ids(models.search_logged_models([experiment], f"metrics.m = {step} AND tags.t = '{step}'")) == [
                model
            ]
            assert models.search_logged_models([experiment], f"metrics.m = {step - 1}") == []
        models.finalize_logged_model(model, "FAILED")
        assert _ids(models.search_logged_models([experiment], "status = 'FAILED' AND metrics.m = 2")) == [model]
        models.delete_logged_model_tag(model, "t")
        assert models.search_logged_models([experiment], "tags.t LIKE '%'") == []

    @requires("logged_models")
    def test_search_models_in_several_experiments_finds_their_models(
        self, models: LoggedModelStore, store: BackendStore, experiment: str
    ) -> None:
        """Models of the experiments named are found, each once; unknown ids hold nothing; none at all finds nothing.

        Usual cause of failure: an empty list means everything, or repeated ids repeat models.
        """
        other = store.create_experiment(unique("other"))
        first, second = (models.create_logged_model(each).model_id for each in (experiment, other))
        assert set(_ids(models.search_logged_models([experiment, other]))) == {first, second}
        assert _ids(models.search_logged_models([experiment, experiment])) == [first]
        assert _ids(models.search_logged_models([other, "999999999999999999", "abc"])) == [second]
        assert models.search_logged_models([]) == []
        refuses(InvalidParameterValue, models.search_logged_models, [other, "../x"])
        refuses(InvalidParameterValue, models.search_logged_models, 1)

    @requires("logged_models")
    @pytest.mark.parametrize("filter_string", [*BAD_FILTERS, 5])
    def test_search_models_with_bad_filter_is_refused(
        self, models: LoggedModelStore, experiment: str, filter_string: str
    ) -> None:
        """What is no filter is an error of the caller.

        Usual cause of failure: the public method was overridden without the common parser.
        """
        refuses(InvalidParameterValue, models.search_logged_models, [experiment], filter_string)

    @requires("logged_models")
    @pytest.mark.parametrize("clause", BAD_ORDERINGS)
    def test_search_models_with_bad_order_is_refused(
        self, models: LoggedModelStore, experiment: str, clause: Mapping[str, object]
    ) -> None:
        """What is no ordering is an error of the caller.

        Usual cause of failure: the public method was overridden without the common parser.
        """
        good = {"field_name": "name"}
        refuses(InvalidParameterValue, models.search_logged_models, [experiment], order_by=[good, clause])
        refuses(InvalidParameterValue, models.search_logged_models, [experiment], order_by=good)

    @requires("logged_models")
    @pytest.mark.parametrize("dataset", BAD_DATASETS)
    def test_search_models_on_bad_dataset_is_refused(
        self, models: LoggedModelStore, experiment: str, dataset: Mapping[str, object]
    ) -> None:
        """What selects no datasets is an error of the caller.

        Usual cause of failure: the public method was overridden without the common parser.
        """
        good = {"dataset_name": "ds1"}
        refuses(InvalidParameterValue, models.search_logged_models, [experiment], datasets=[good, dataset])
        refuses(InvalidParameterValue, models.search_logged_models, [experiment], datasets=good)

    @requires("logged_models")
    @pytest.mark.parametrize("size", [0, -1, 50001, 1.5, None, "10", True])
    def test_search_models_with_bad_page_size_is_refused(
        self, models: LoggedModelStore, experiment: str, size: int
    ) -> None:
        """A page holds 1 … 50000 models.

        Usual cause of failure: 0 means none, or all.
        """
        refuses(InvalidParameterValue, models.search_logged_models, [experiment], max_results=size)

    @requires("logged_models")
    def test_search_models_with_exact_page_size_has_no_token(
        self, models: LoggedModelStore, experiment: str, run: str
    ) -> None:
        """A last page that is full is still the last; a page holds 100 models unless told otherwise.

        Usual cause of failure: a full page is taken for a sign of more.
        """
        create_models(models, experiment, run)
        assert models.search_logged_models([experiment], max_results=6).token is None
        assert models.search_logged_models([experiment], max_results=5).token is not None
        for _ in range(95):
            models.create_logged_model(experiment)
        page = models.search_logged_models([experiment])
        assert (len(page), page.token is None) == (100, False)
        assert len(models.search_logged_models([experiment], max_results=50000)) == 101

    @requires("logged_models")
    def test_page_models_while_models_arrive_neither_skips_nor_repeats(
        self, models: LoggedModelStore, experiment: str
    ) -> None:
        """Models that sort before the place of a page do not shift it; those after it are found.

        Usual cause of failure: pages by offset.
        """
        old = [models.create_logged_model(experiment, f"m{number:02}").model_id for number in range(12)]
        seen: list[str] = []
        token, late = None, []
        for number in range(100):
            page = models.search_logged_models(
                [experiment], max_results=3, order_by=[{"field_name": "name"}], page_token=token
            )
            seen += _ids(page)
            token = page.token
            if token is None:
                break
            models.create_logged_model(experiment, f"a{number:02}")
            late.append(models.create_logged_model(experiment, f"z{number:02}").model_id)
        assert seen[:12] == old
        assert seen[12:] == late[: len(seen) - 12]
        assert len(seen) > 12

    @requires("logged_models")
    @pytest.mark.parametrize("token", GARBAGE_TOKENS)
    def test_search_models_with_garbage_token_is_refused(
        self, models: LoggedModelStore, experiment: str, token: str
    ) -> None:
        """Texts that are no tokens are errors of the caller.

        Usual cause of failure: the decoder's exception is passed on.
        """
        refuses(InvalidParameterValue, models.search_logged_models, [experiment], page_token=token)

    @requires("logged_models")
    def test_search_models_with_token_of_another_query_is_refused(
        self, models: LoggedModelStore, store: BackendStore, experiment: str, run: str
    ) -> None:
        """A token is bound to ids, filter, datasets and ordering; the page size may change.

        Usual cause of failure: tokens that are mere places.
        """
        create_models(models, experiment, run)
        other = store.create_experiment(unique("other"))
        ids, text, datasets, by_name = (
            [experiment, other],
            "status != 0",
            [{"dataset_name": "ds1"}],
            [{"field_name": "name"}],
        )
        token = models.search_logged_models(ids, text, datasets, 1, by_name).token
        assert token is not None
        assert len(models.search_logged_models(ids[::-1], text, datasets, 5, by_name, token)) == 2
        down = [{"field_name": "name", "ascending": False}]
        for query in (
            (ids[:1], text, datasets, 1, by_name),
            (ids, "status != 1", datasets, 1, by_name),
            (ids, text, [{"dataset_name": "ds1", "dataset_digest": "dg1"}], 1, by_name),
            (ids, text, (), 1, by_name),
            (ids, text, datasets, 1, down),
            (ids, text, datasets, 1, ()),
        ):
            refuses(InvalidParameterValue, models.search_logged_models, *query, token)
        runs = store.search_runs(ids, max_results=1)
        assert runs.token is None
        refuses(InvalidParameterValue, store.search_runs, ids, page_token=token)
