"""Params and tags of runs."""

from __future__ import annotations

import pytest

from holdall.conformance_tests.base import BackendSuite
from holdall.conformance_tests.harness import BackendHarness
from holdall.conformance_tests.names import BAD_KEYS, CONFUSABLE_KEYS, HOSTILE_KEYS, HOSTILE_TEXTS
from holdall.conformance_tests.support import refuses, requires
from holdall.stores import BackendStore, InvalidParameterValue, NotFound, Param, RunTag

__all__ = ["ParamTests", "TagTests"]


class ParamTests(BackendSuite):
    """Params."""

    def test_log_param_with_same_value_again_is_accepted(self, store: BackendStore, run: str) -> None:
        """A param may be logged again with its value, alone or in a batch (mlflow#7046).

        Usual cause of failure: an insert that fails on the primary key.
        """
        for _ in range(2):
            store.log_param(run, Param("p", "1"))
            store.log_batch(run, params=[Param("p", "1"), Param("q", "")])
        assert store.get_run(run).data.params == {"p": "1", "q": ""}

    @pytest.mark.parametrize("value", ["2", "", "1 ", "01", "1.0"])
    def test_log_param_with_another_value_is_refused(self, store: BackendStore, run: str, value: str) -> None:
        """A param is constant; values compare as text.

        Usual cause of failure: an upsert, or a comparison that ignores blanks at the end.
        """
        store.log_param(run, Param("p", "1"))
        refuses(InvalidParameterValue, store.log_param, run, Param("p", value))
        refuses(InvalidParameterValue, store.log_batch, run, params=[Param("p", value)])
        assert store.get_run(run).data.params == {"p": "1"}

    def test_log_param_over_empty_value_is_refused(self, store: BackendStore, run: str) -> None:
        """The empty text is a value like any other.

        Usual cause of failure: a test for truth in place of one for None.
        """
        store.log_param(run, Param("p", ""))
        refuses(InvalidParameterValue, store.log_param, run, Param("p", "1"))
        assert store.get_run(run).data.params == {"p": ""}

    @pytest.mark.parametrize("value", HOSTILE_TEXTS)
    def test_log_param_with_unusual_value_keeps_it_exactly(
        self, store: BackendStore, experiment: str, run: str, value: str
    ) -> None:
        """Values come back as they were given, from the run and from a search.

        Usual cause of failure: newlines are converted, blanks trimmed, text decoded twice.
        """
        store.log_param(run, Param("p", value))
        assert store.get_run(run).data.params == {"p": value}
        [found] = store.search_runs([experiment])
        assert found.data.params == {"p": value}

    @pytest.mark.parametrize("character", ["x", "ü", "😀"])
    def test_log_param_at_length_limit_is_kept_whole(self, store: BackendStore, run: str, character: str) -> None:
        """6000 characters are kept, 6001 refused; nothing is cut short (mlflow#11208).

        Usual cause of failure: a limit in bytes, or a column that cuts.
        """
        store.log_param(run, Param("p", character * 6000))
        refuses(InvalidParameterValue, store.log_param, run, Param("q", character * 6001))
        refuses(InvalidParameterValue, store.log_batch, run, params=[Param("q", character * 6001)])
        assert store.get_run(run).data.params == {"p": character * 6000}

    @pytest.mark.parametrize("value", [None, 1, 0.5, b"x", "nul\0", "lone \ud800"])
    def test_log_param_with_no_text_is_refused(self, store: BackendStore, run: str, value: str) -> None:
        """Values are text that UTF-8 can express.

        Usual cause of failure: the public method was overridden without its checks.
        """
        refuses(InvalidParameterValue, store.log_param, run, Param("p", value))
        assert store.get_run(run).data.params == {}

    def test_log_param_with_unusual_keys_keeps_all(self, store: BackendStore, run: str) -> None:
        """All keys that the rules allow coexist.

        Usual cause of failure: keys are file names, or their column has a collation or is too short.
        """
        expected = {key: f"value {number}" for number, key in enumerate(HOSTILE_KEYS)}
        for key, value in expected.items():
            store.log_param(run, Param(key, value))
        assert store.get_run(run).data.params == expected

    @pytest.mark.parametrize(("one", "other"), CONFUSABLE_KEYS)
    def test_log_param_with_similar_keys_keeps_them_apart(
        self, store: BackendStore, run: str, one: str, other: str
    ) -> None:
        """Keys compare by code point, and `x` and `x/y` coexist.

        Usual cause of failure: a file where a folder is needed; a collation; Unicode normalization.
        """
        store.log_param(run, Param(one, "1"))
        store.log_param(run, Param(other, "2"))
        store.log_batch(run, params=[Param(one, "1"), Param(other, "2")])
        assert store.get_run(run).data.params == {one: "1", other: "2"}

    @pytest.mark.parametrize("key", BAD_KEYS)
    def test_log_param_with_bad_key_is_refused(self, store: BackendStore, run: str, key: str) -> None:
        """Keys that could be taken for other paths, or hold other characters, are refused.

        Usual cause of failure: the public method was overridden without its checks.
        """
        refuses(InvalidParameterValue, store.log_param, run, Param(key, "v"))
        refuses(InvalidParameterValue, store.log_batch, run, params=[Param("good", "v"), Param(key, "v")])
        assert store.get_run(run).data.params == {}

    @requires("raw.params", "raw.tags")
    def test_log_params_and_tags_seen_behind_the_store_are_exact(
        self, store: BackendStore, run: str, harness: BackendHarness
    ) -> None:
        """What a call has returned from is in the storage itself.

        Usual cause of failure: writes wait in a buffer.
        """
        values = {f"k{number}": text for number, text in enumerate(HOSTILE_TEXTS)}
        store.log_batch(run, params=[Param(*item) for item in values.items()])
        store.log_batch(run, tags=[RunTag(*item) for item in values.items()])
        assert harness.raw.params(run) == values
        assert {key: value for key, value in harness.raw.tags(run).items() if key != "mlflow.runName"} == values


class TagTests(BackendSuite):
    """Tags of runs."""

    def test_set_tag_overwrites(self, store: BackendStore, run: str) -> None:
        """Tags are overwritten freely, alone or in a batch.

        Usual cause of failure: an insert without its update.
        """
        for value in ("1", "2", "2", ""):
            store.set_tag(run, RunTag("t", value))
            assert store.get_run(run).data.tags["t"] == value
        store.log_batch(run, tags=[RunTag("t", "3"), RunTag("u", "4")])
        found = store.get_run(run).data.tags
        assert (found["t"], found["u"]) == ("3", "4")

    @pytest.mark.parametrize("value", HOSTILE_TEXTS)
    def test_set_tag_to_unusual_value_keeps_it_exactly(
        self, store: BackendStore, experiment: str, run: str, value: str
    ) -> None:
        """Values come back as they were given, from the run and from a search.

        Usual cause of failure: newlines are converted, blanks trimmed, text decoded twice.
        """
        store.set_tag(run, RunTag("t", value))
        assert store.get_run(run).data.tags["t"] == value
        [found] = store.search_runs([experiment])
        assert found.data.tags["t"] == value

    @pytest.mark.parametrize("character", ["x", "ü", "😀"])
    def test_set_tag_at_length_limit_is_kept_whole(self, store: BackendStore, run: str, character: str) -> None:
        """8000 characters are kept, 8001 refused; nothing is cut short.

        Usual cause of failure: a limit in bytes, or a column of 5000 characters.
        """
        store.set_tag(run, RunTag("t", character * 8000))
        refuses(InvalidParameterValue, store.set_tag, run, RunTag("t", character * 8001))
        refuses(InvalidParameterValue, store.log_batch, run, tags=[RunTag("t", character * 8001)])
        assert store.get_run(run).data.tags["t"] == character * 8000

    @pytest.mark.parametrize("value", [None, 1, b"x", "nul\0", "lone \udfff"])
    def test_set_tag_to_no_text_is_refused(self, store: BackendStore, run: str, value: str) -> None:
        """Values are text that UTF-8 can express.

        Usual cause of failure: the public method was overridden without its checks.
        """
        refuses(InvalidParameterValue, store.set_tag, run, RunTag("t", value))
        assert "t" not in store.get_run(run).data.tags

    def test_set_tag_with_unusual_keys_keeps_all(self, store: BackendStore, run: str) -> None:
        """All keys that the rules allow coexist.

        Usual cause of failure: keys are file names, or their column has a collation or is too short.
        """
        expected = {key: f"value {number}" for number, key in enumerate(HOSTILE_KEYS)}
        for key, value in expected.items():
            store.set_tag(run, RunTag(key, value))
        assert store.get_run(run).data.tags.items() >= expected.items()

    @pytest.mark.parametrize(("one", "other"), CONFUSABLE_KEYS)
    def test_set_tag_with_similar_keys_keeps_them_apart(
        self, store: BackendStore, run: str, one: str, other: str
    ) -> None:
        """Keys compare by code point, and `x` and `x/y` coexist.

        Usual cause of failure: a file where a folder is needed; a collation; Unicode normalization.
        """
        store.set_tag(run, RunTag(one, "1"))
        store.set_tag(run, RunTag(other, "2"))
        store.delete_tag(run, one)
        tags = store.get_run(run).data.tags
        assert (tags.get(one), tags.get(other)) == (None, "2")

    @pytest.mark.parametrize("key", BAD_KEYS)
    def test_set_tag_with_bad_key_is_refused(self, store: BackendStore, run: str, key: str) -> None:
        """Keys that could be taken for other paths, or hold other characters, are refused.

        Usual cause of failure: the public method was overridden without its checks.
        """
        before = store.get_run(run).data.tags
        refuses(InvalidParameterValue, store.set_tag, run, RunTag(key, "v"))
        refuses(InvalidParameterValue, store.delete_tag, run, key)
        assert store.get_run(run).data.tags == before

    def test_delete_tag_removes_it(self, store: BackendStore, run: str) -> None:
        """A deleted tag is gone and can be set again; a missing one is not found, also if its case differs.

        Usual cause of failure: deleting nothing counts as success.
        """
        store.log_batch(run, tags=[RunTag("t", "1"), RunTag("t/u", "2")])
        refuses(NotFound, store.delete_tag, run, "T")
        store.delete_tag(run, "t")
        refuses(NotFound, store.delete_tag, run, "t")
        assert store.get_run(run).data.tags.keys() & {"t", "t/u"} == {"t/u"}
        store.set_tag(run, RunTag("t", "3"))
        assert store.get_run(run).data.tags["t"] == "3"
