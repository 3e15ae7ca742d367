"""Experiments: creation, names, ids, renaming and tags."""

from __future__ import annotations

import time

import pytest

from holdall.conformance_tests.base import BackendSuite
from holdall.conformance_tests.names import (
    BAD_KEYS,
    CONFUSABLE_NAMES,
    HOSTILE_KEYS,
    HOSTILE_TEXTS,
    MALFORMED_IDS,
)
from holdall.conformance_tests.support import refuses, requires, unique
from holdall.stores import (
    AlreadyExists,
    BackendStore,
    ExperimentTag,
    InvalidParameterValue,
    LifecycleStage,
    NotFound,
    ViewType,
)

__all__ = ["ExperimentTests"]

_UNKNOWN = "999999999999999999"


def _now() -> int:
    return time.time_ns() // 1_000_000


class ExperimentTests(BackendSuite):
    """Experiments."""

    def test_create_experiment_with_name_returns_it_as_given(self, store: BackendStore) -> None:
        """A new experiment is active, has no tags, and its times are milliseconds of now.

        Usual cause of failure: times in seconds, or in local time.
        """
        name, before = unique("new"), _now()
        experiment_id = store.create_experiment(name)
        found = store.get_experiment(experiment_id)
        assert isinstance(experiment_id, str)
        assert found.experiment_id == experiment_id
        assert (found.name, found.lifecycle_stage, found.tags) == (name, LifecycleStage.ACTIVE, {})
        assert found.creation_time is not None
        assert before <= found.creation_time <= _now()
        assert found.last_update_time == found.creation_time
        assert store.get_experiment_by_name(name) == found

    def test_create_experiment_with_tags_keeps_them(self, store: BackendStore) -> None:
        """Tags given at creation are there at once; of equal keys the last counts.

        Usual cause of failure: tags are written in a second step that is left out.
        """
        tags = [ExperimentTag("a", "1"), ExperimentTag("b", ""), ExperimentTag("a", "2")]
        experiment_id = store.create_experiment(unique("tagged"), tags=tags)
        assert store.get_experiment(experiment_id).tags == {"a": "2", "b": ""}

    def test_create_experiment_without_location_lies_below_artifact_root(self, store: BackendStore) -> None:
        """The default artifact location is `<artifact root>/<experiment id>`.

        Usual cause of failure: a location is put together by hand, not with `locate`.
        """
        experiment_id = store.create_experiment(unique("located"))
        expected = store.artifact_root.join(experiment_id).render(hide_password=False)
        assert store.get_experiment(experiment_id).artifact_location == expected

    def test_create_experiment_with_location_keeps_it(self, store: BackendStore) -> None:
        """An artifact location that is given is kept; runs keep their artifacts below it.

        Usual cause of failure: the location is overwritten with the default.
        """
        experiment_id = store.create_experiment(unique("located"), "s3://bucket/some/prefix")
        assert store.get_experiment(experiment_id).artifact_location == "s3://bucket/some/prefix"
        info = store.create_run(experiment_id).info
        assert info.artifact_uri == f"s3://bucket/some/prefix/{info.run_id}/artifacts"

    @pytest.mark.parametrize("location", ["s3://b/x#y", "runs:/abc/x", "file:///a/../b", "http://h/p;x=1", "x" * 2049])
    def test_create_experiment_with_bad_location_is_refused(self, store: BackendStore, location: str) -> None:
        """Fragments, `..`, path parameters and run URIs mean nothing in a location (CVE-2024-1594, CVE-2024-1593).

        Usual cause of failure: the public method was overridden without its checks.
        """
        refuses(InvalidParameterValue, store.create_experiment, unique("bad"), location)

    def test_create_experiment_with_taken_name_is_refused(self, store: BackendStore) -> None:
        """Names are unique among active and deleted experiments.

        Usual cause of failure: the check looks at active experiments only.
        """
        name = unique("taken")
        experiment_id = store.create_experiment(name)
        refuses(AlreadyExists, store.create_experiment, name)
        store.delete_experiment(experiment_id)
        refuses(AlreadyExists, store.create_experiment, name)
        found = store.get_experiment_by_name(name)
        assert found is not None
        assert found.experiment_id == experiment_id

    @pytest.mark.parametrize("text", HOSTILE_TEXTS)
    def test_create_experiment_with_unusual_name_keeps_it_exactly(self, store: BackendStore, text: str) -> None:
        """Any text without NUL is a name, and the experiment is found by it.

        Usual cause of failure: names are trimmed, decoded, normalized or used as file names.
        """
        name = text + unique("") + text
        experiment_id = store.create_experiment(name)
        assert store.get_experiment(experiment_id).name == name
        found = store.get_experiment_by_name(name)
        assert found is not None
        assert found.experiment_id == experiment_id

    @pytest.mark.parametrize(("one", "other"), CONFUSABLE_NAMES)
    def test_create_experiment_with_similar_name_is_another_one(
        self, store: BackendStore, one: str, other: str
    ) -> None:
        """Names compare by code point: case, blanks at the ends and Unicode forms count.

        Usual cause of failure: the name's column has a collation, or names are normalized.
        """
        salt = unique("")
        first = store.create_experiment(salt + one)
        assert store.get_experiment_by_name(salt + other) is None
        second = store.create_experiment(salt + other)
        assert first != second
        for experiment_id, name in ((first, salt + one), (second, salt + other)):
            found = store.get_experiment_by_name(name)
            assert found is not None
            assert (found.experiment_id, found.name) == (experiment_id, name)

    @pytest.mark.parametrize("character", ["x", "ü", "😀"])
    def test_create_experiment_at_length_limit_is_kept_whole(self, store: BackendStore, character: str) -> None:
        """500 characters are kept, 501 refused, and characters are counted, not bytes.

        Usual cause of failure: a column of 256 characters, or a limit in bytes.
        """
        name = unique("n")
        name += character * (500 - len(name))
        experiment_id = store.create_experiment(name)
        assert store.get_experiment(experiment_id).name == name
        refuses(InvalidParameterValue, store.create_experiment, name + character)
        assert store.get_experiment_by_name(name) is not None

    @pytest.mark.parametrize("name", ["", None, 5, b"bytes", "nul\0", "lone \ud800"])
    def test_create_experiment_with_no_name_is_refused(self, store: BackendStore, name: object) -> None:
        """A name is non-empty text that UTF-8 can express.

        Usual cause of failure: the public method was overridden without its checks.
        """
        refuses(InvalidParameterValue, store.create_experiment, name)

    @requires("isolated")
    def test_open_new_store_holds_the_default_experiment(self, store: BackendStore) -> None:
        """A new store has experiment 0, `Default`, and nothing else.

        Usual cause of failure: the default experiment is made on first use instead of on creation.
        """
        found = store.search_experiments(ViewType.ALL)
        assert [(experiment.experiment_id, experiment.name) for experiment in found] == [("0", "Default")]
        assert store.created

    def test_get_experiment_with_unknown_id_is_not_found(self, store: BackendStore) -> None:
        """A well-formed id that nobody has is missing, also one that is no number, or a long one (mlflow#8430).

        Usual cause of failure: ids are converted to 32-bit integers.
        """
        for experiment_id in (_UNKNOWN, "abc", "123456789012345678", "9" * 30, "01"):
            refuses(NotFound, store.get_experiment, experiment_id)
            refuses(NotFound, store.delete_experiment, experiment_id)
            refuses(NotFound, store.restore_experiment, experiment_id)
            refuses(NotFound, store.rename_experiment, experiment_id, "x")
            refuses(NotFound, store.set_experiment_tag, experiment_id, ExperimentTag("k", "v"))
            refuses(NotFound, store.delete_experiment_tag, experiment_id, "k")
            refuses(NotFound, store.create_run, experiment_id)

    @pytest.mark.parametrize("experiment_id", MALFORMED_IDS)
    def test_get_experiment_with_malformed_id_is_refused(self, store: BackendStore, experiment_id: str) -> None:
        """What cannot be an id is an error of the caller, not a missing experiment.

        Usual cause of failure: the public method was overridden without its checks.
        """
        refuses(InvalidParameterValue, store.get_experiment, experiment_id)
        refuses(InvalidParameterValue, store.delete_experiment, experiment_id)
        refuses(InvalidParameterValue, store.create_run, experiment_id)

    def test_get_experiment_by_missing_name_returns_none(self, store: BackendStore) -> None:
        """Asking for a name is how callers find out whether it exists, so absence is no error.

        Usual cause of failure: NotFound is raised, as the REST API does.
        """
        assert store.get_experiment_by_name(unique("missing")) is None

    def test_get_experiment_then_change_the_value_leaves_the_store_alone(self, store: BackendStore) -> None:
        """What a store hands out belongs to the caller.

        Usual cause of failure: a cache hands out its own dict.
        """
        experiment_id = store.create_experiment(unique("own"), tags=[ExperimentTag("a", "1")])
        store.get_experiment(experiment_id).tags["b"] = "2"
        assert store.get_experiment(experiment_id).tags == {"a": "1"}

    def test_rename_experiment_changes_name_only(self, store: BackendStore) -> None:
        """The old name is free afterwards; last_update_time moves on; its own name is accepted.

        Usual cause of failure: a lookup by name goes to a stale index.
        """
        old, new = unique("old"), unique("new")
        experiment_id = store.create_experiment(old, tags=[ExperimentTag("a", "1")])
        before = store.get_experiment(experiment_id)
        store.rename_experiment(experiment_id, new)
        store.rename_experiment(experiment_id, new)
        after = store.get_experiment(experiment_id)
        assert (after.name, after.tags, after.artifact_location) == (new, before.tags, before.artifact_location)
        assert after.creation_time == before.creation_time
        assert (after.last_update_time or 0) >= (before.last_update_time or 0)
        assert store.get_experiment_by_name(old) is None
        assert store.create_experiment(old) != experiment_id

    def test_rename_experiment_to_taken_name_is_refused(self, store: BackendStore) -> None:
        """The name of another experiment, active or deleted, stays its own.

        Usual cause of failure: the database's constraint error is passed on as it is.
        """
        one, other = unique("one"), unique("other")
        first, second = store.create_experiment(one), store.create_experiment(other)
        refuses(AlreadyExists, store.rename_experiment, first, other)
        store.delete_experiment(second)
        refuses(AlreadyExists, store.rename_experiment, first, other)
        assert store.get_experiment(first).name == one

    @pytest.mark.parametrize("name", ["", None, "x" * 501])
    def test_rename_experiment_to_bad_name_is_refused(self, store: BackendStore, name: str) -> None:
        """The rules for names hold for renaming too.

        Usual cause of failure: the public method was overridden without its checks.
        """
        experiment_id = store.create_experiment(unique("kept"))
        before = store.get_experiment(experiment_id)
        refuses(InvalidParameterValue, store.rename_experiment, experiment_id, name)
        assert store.get_experiment(experiment_id) == before

    def test_set_experiment_tag_overwrites(self, store: BackendStore, experiment: str) -> None:
        """Tags are overwritten freely, and setting one touches last_update_time.

        Usual cause of failure: an insert without its update.
        """
        before = store.get_experiment(experiment)
        for value in ("1", "2", "2", ""):
            store.set_experiment_tag(experiment, ExperimentTag("key", value))
            assert store.get_experiment(experiment).tags == {"key": value}
        assert (store.get_experiment(experiment).last_update_time or 0) >= (before.last_update_time or 0)

    @pytest.mark.parametrize("value", HOSTILE_TEXTS)
    def test_set_experiment_tag_to_unusual_value_keeps_it(
        self, store: BackendStore, experiment: str, value: str
    ) -> None:
        """Values come back as they were given.

        Usual cause of failure: newlines are converted, or blanks trimmed.
        """
        store.set_experiment_tag(experiment, ExperimentTag("key", value))
        assert store.get_experiment(experiment).tags == {"key": value}

    def test_set_experiment_tag_with_unusual_keys_keeps_all(self, store: BackendStore, experiment: str) -> None:
        """All keys that the rules allow coexist.

        Usual cause of failure: keys are file names, or their column has a collation.
        """
        expected = {key: f"value {number}" for number, key in enumerate(HOSTILE_KEYS)}
        for key, value in expected.items():
            store.set_experiment_tag(experiment, ExperimentTag(key, value))
        assert store.get_experiment(experiment).tags == expected

    @pytest.mark.parametrize("key", BAD_KEYS)
    def test_set_experiment_tag_with_bad_key_is_refused(self, store: BackendStore, experiment: str, key: str) -> None:
        """Keys that could be taken for other paths, or hold other characters, are refused.

        Usual cause of failure: the public method was overridden without its checks.
        """
        refuses(InvalidParameterValue, store.set_experiment_tag, experiment, ExperimentTag(key, "v"))
        assert store.get_experiment(experiment).tags == {}

    def test_set_experiment_tag_at_length_limit_is_kept_whole(self, store: BackendStore, experiment: str) -> None:
        """20000 characters are kept, 20001 refused; nothing is cut short.

        Usual cause of failure: a column of 5000 characters.
        """
        value = "ü" * 20000
        store.set_experiment_tag(experiment, ExperimentTag("key", value))
        refuses(InvalidParameterValue, store.set_experiment_tag, experiment, ExperimentTag("key", value + "x"))
        assert store.get_experiment(experiment).tags == {"key": value}

    def test_delete_experiment_tag_removes_it(self, store: BackendStore, experiment: str) -> None:
        """A deleted tag is gone, others stay; a missing one is not found, also if its case differs.

        Usual cause of failure: deleting nothing counts as success.
        """
        store.set_experiment_tag(experiment, ExperimentTag("key", "1"))
        store.set_experiment_tag(experiment, ExperimentTag("key/2", "2"))
        refuses(NotFound, store.delete_experiment_tag, experiment, "KEY")
        store.delete_experiment_tag(experiment, "key")
        refuses(NotFound, store.delete_experiment_tag, experiment, "key")
        assert store.get_experiment(experiment).tags == {"key/2": "2"}
