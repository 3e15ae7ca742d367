"""Logged models: what is kept of them."""

from __future__ import annotations

import re
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from holdall.conformance_tests.logged_model_base import MISSING, MODEL_WRITES, READS, WRITES, LoggedModelSuite
from holdall.conformance_tests.names import BAD_KEYS, CONFUSABLE_KEYS, HOSTILE_KEYS, HOSTILE_TEXTS, MALFORMED_IDS
from holdall.conformance_tests.support import refuses, requires, unique
from holdall.stores import (
    BackendStore,
    InvalidParameterValue,
    LoggedModel,
    LoggedModelInput,
    LoggedModelOutput,
    LoggedModelStatus,
    LoggedModelStore,
    Metric,
    NotFound,
)

__all__ = ["LoggedModelTests"]


class LoggedModelTests(LoggedModelSuite):
    """Logged models."""

    @requires("logged_models")
    def test_create_model_with_everything_keeps_it(
        self, models: LoggedModelStore, store: BackendStore, experiment: str, run: str
    ) -> None:
        """A model comes back as it was made, PENDING, with a new id and a place of its own for its files.

        Usual cause of failure: times in seconds, or an id without `m-`.
        """
        before = time.time_ns() // 1_000_000
        created = models.create_logged_model(experiment, "My model", run, {"t": "1"}, {"p": "2"}, "sklearn")
        after = time.time_ns() // 1_000_000
        location = store.get_experiment(experiment).artifact_location
        assert re.fullmatch("m-[0-9a-f]{32}", created.model_id)
        assert before <= created.creation_timestamp == created.last_updated_timestamp <= after
        assert created == LoggedModel(
            created.model_id,
            experiment,
            "My model",
            f"{location}/models/{created.model_id}/artifacts",
            created.creation_timestamp,
            created.creation_timestamp,
            LoggedModelStatus.PENDING,
            "sklearn",
            run,
            None,
            {"p": "2"},
            {"t": "1"},
        )
        assert models.get_logged_model(created.model_id) == created

    @requires("logged_models")
    def test_create_model_with_nothing_makes_up_a_name(self, models: LoggedModelStore, experiment: str) -> None:
        """All but the experiment may be left out; what was not given is None.

        Usual cause of failure: None becomes the empty text.
        """
        created = models.create_logged_model(experiment)
        assert created.name
        assert (created.model_type, created.source_run_id, created.status_message) == (None, None, None)
        assert (created.params, created.tags, created.metrics) == ({}, {}, ())
        assert models.get_logged_model(created.model_id) == created

    @requires("logged_models")
    def test_create_model_in_experiment_with_location_keeps_files_there(
        self, models: LoggedModelStore, store: BackendStore
    ) -> None:
        """The place is below the experiment's, whatever its scheme, query included.

        Usual cause of failure: URIs are joined as texts.
        """
        experiment = store.create_experiment(unique("located"), "s3://bucket/a%20b?region=x")
        created = models.create_logged_model(experiment)
        assert created.artifact_location == f"s3://bucket/a%20b/models/{created.model_id}/artifacts?region=x"

    @requires("logged_models")
    def test_create_models_with_one_name_makes_several(self, models: LoggedModelStore, experiment: str) -> None:
        """Names need not be unique, the source run need not exist.

        Usual cause of failure: a key on the name.
        """
        created = [models.create_logged_model(experiment, "same", "d" * 32) for _ in range(3)]
        assert len({model.model_id for model in created}) == 3
        found = models.search_logged_models([experiment], "name = 'same'")
        assert {model.model_id for model in found} == {model.model_id for model in created}

    @requires("logged_models")
    @pytest.mark.parametrize("text", [text for text in HOSTILE_TEXTS if not set("/:.%\"'") & set(text)])
    def test_create_model_with_unusual_texts_keeps_them(
        self, models: LoggedModelStore, experiment: str, text: str
    ) -> None:
        """Name and type come back as they were given.

        Usual cause of failure: blanks are trimmed, or a YAML file is written without quotes.
        """
        created = models.create_logged_model(experiment, text, model_type=text)
        found = models.get_logged_model(created.model_id)
        assert (found.name, found.model_type) == (text, text)

    @requires("logged_models")
    @pytest.mark.parametrize(
        "name", ["", "a/b", "a:b", "a.b", "a%b", 'a"b', "a'b", "ü" * 501, "nul\0", "lone \ud800", 1]
    )
    def test_create_model_with_bad_name_is_refused(self, models: LoggedModelStore, experiment: str, name: str) -> None:
        """A name is text that can stand in a path.

        Usual cause of failure: the public method was overridden without its checks.
        """
        refuses(InvalidParameterValue, models.create_logged_model, experiment, name)
        assert models.search_logged_models([experiment]) == []

    @requires("logged_models")
    def test_create_model_in_missing_or_deleted_experiment_is_refused(
        self, models: LoggedModelStore, store: BackendStore, experiment: str
    ) -> None:
        """A missing experiment is not found, a deleted one takes no new models.

        Usual cause of failure: the experiment's stage is not looked at.
        """
        refuses(NotFound, models.create_logged_model, "999999999999999999")
        refuses(InvalidParameterValue, models.create_logged_model, "../x")
        store.delete_experiment(experiment)
        refuses(InvalidParameterValue, models.create_logged_model, experiment)
        assert models.search_logged_models([experiment]) == []

    @requires("logged_models")
    def test_log_model_params_and_tags_with_unusual_texts_keeps_them(
        self, models: LoggedModelStore, experiment: str, model: str
    ) -> None:
        """Values come back exactly, whether given at creation or later, from the model and from a search.

        Usual cause of failure: newlines are converted, blanks trimmed, text decoded twice.
        """
        values = {f"k{number}": text for number, text in enumerate(("", *HOSTILE_TEXTS))}
        created = models.create_logged_model(experiment, tags=values, params=values)
        models.log_logged_model_params(model, values)
        models.set_logged_model_tags(model, values)
        for found in (created, *map(models.get_logged_model, (created.model_id, model))):
            assert (found.params, found.tags) == (values, values)
        assert all(found.params == found.tags == values for found in models.search_logged_models([experiment]))

    @requires("logged_models")
    def test_log_model_params_and_tags_with_unusual_keys_keeps_all(self, models: LoggedModelStore, model: str) -> None:
        """All keys that the rules allow coexist.

        Usual cause of failure: keys are file names, or their column has a collation or is too short.
        """
        values = {key: f"value {number}" for number, key in enumerate(HOSTILE_KEYS)}
        models.log_logged_model_params(model, values)
        models.set_logged_model_tags(model, values)
        found = models.get_logged_model(model)
        assert (found.params, found.tags) == (values, values)

    @requires("logged_models")
    @pytest.mark.parametrize(("one", "other"), CONFUSABLE_KEYS)
    def test_log_model_params_and_tags_with_similar_keys_keeps_them_apart(
        self, models: LoggedModelStore, run: str, model: str, one: str, other: str
    ) -> None:
        """Keys compare by code point, and `x` and `x/y` coexist; so it is for metrics.

        Usual cause of failure: a file where a folder is needed; a collation; Unicode normalization.
        """
        models.log_logged_model_params(model, {one: "1", other: "2"})
        models.set_logged_model_tags(model, {one: "1", other: "2"})
        models.delete_logged_model_tag(model, one)
        models.log_model_metrics(model, run, [Metric(one, 1.0, 1), Metric(other, 2.0, 1)])
        found = models.get_logged_model(model)
        assert (found.params, found.tags) == ({one: "1", other: "2"}, {other: "2"})
        assert {metric.key: metric.value for metric in found.metrics} == {one: 1.0, other: 2.0}

    @requires("logged_models")
    @pytest.mark.parametrize("key", BAD_KEYS)
    def test_log_model_params_and_tags_with_bad_key_is_refused(
        self, models: LoggedModelStore, experiment: str, model: str, key: str
    ) -> None:
        """Keys that could be taken for other paths, or hold other characters, are refused.

        Usual cause of failure: the public method was overridden without its checks.
        """
        for call in (models.log_logged_model_params, models.set_logged_model_tags):
            refuses(InvalidParameterValue, call, model, {"good": "v", key: "v"})
        refuses(InvalidParameterValue, models.delete_logged_model_tag, model, key)
        refuses(InvalidParameterValue, models.create_logged_model, experiment, params={key: "v"})
        refuses(InvalidParameterValue, models.create_logged_model, experiment, tags={key: "v"})
        found = models.get_logged_model(model)
        assert (found.params, found.tags) == ({}, {})

    @requires("logged_models")
    @pytest.mark.parametrize("value", [None, 1, 0.5, b"x", "nul\0", "lone \ud800", "ü" * 16384])
    def test_log_model_params_and_tags_with_bad_value_is_refused(
        self, models: LoggedModelStore, experiment: str, model: str, value: str
    ) -> None:
        """Values are text that UTF-8 can express, of at most 16383 characters.

        Usual cause of failure: the public method was overridden without its checks.
        """
        for call in (models.log_logged_model_params, models.set_logged_model_tags):
            refuses(InvalidParameterValue, call, model, {"k": value})
            refuses(InvalidParameterValue, call, model, [("k", "v")])
        refuses(InvalidParameterValue, models.create_logged_model, experiment, params={"k": value})
        found = models.get_logged_model(model)
        assert (found.params, found.tags) == ({}, {})

    @requires("logged_models")
    def test_log_model_params_and_tags_at_length_limit_is_kept_whole(
        self, models: LoggedModelStore, model: str
    ) -> None:
        """16383 characters are kept, in any script.

        Usual cause of failure: a limit in bytes, or a column that cuts.
        """
        values = {f"k{number}": character * 16383 for number, character in enumerate("xü😀")}
        models.log_logged_model_params(model, values)
        models.set_logged_model_tags(model, values)
        found = models.get_logged_model(model)
        assert (found.params, found.tags) == (values, values)

    @requires("logged_models")
    def test_log_model_param_with_another_value_writes_nothing(
        self, models: LoggedModelStore, experiment: str, model: str
    ) -> None:
        """Params are constant: the same value again is accepted, another refuses all that came with it.

        Usual cause of failure: an upsert, or params that are written one by one.
        """
        models.log_logged_model_params(model, {"p": "1", "empty": ""})
        models.log_logged_model_params(model, {"p": "1", "q": "2"})
        for changed in ({"a": "1", "p": "2", "z": "1"}, {"a": "1", "empty": "x"}, {"p": "1 "}, {"p": ""}):
            refuses(InvalidParameterValue, models.log_logged_model_params, model, changed)
        assert models.get_logged_model(model).params == {"p": "1", "q": "2", "empty": ""}
        created = models.create_logged_model(experiment, params={"p": "1"}).model_id
        refuses(InvalidParameterValue, models.log_logged_model_params, created, {"p": "2"})
        assert models.get_logged_model(created).params == {"p": "1"}

    @requires("logged_models")
    def test_set_and_delete_model_tags_follows_the_last_write(self, models: LoggedModelStore, model: str) -> None:
        """Tags are overwritten freely; a deleted one is gone; a missing one is not found.

        Usual cause of failure: deleting nothing counts as success.
        """
        models.set_logged_model_tags(model, {"t": "1", "u": "1"})
        models.set_logged_model_tags(model, {"t": "2"})
        models.set_logged_model_tags(model, {})
        assert models.get_logged_model(model).tags == {"t": "2", "u": "1"}
        refuses(NotFound, models.delete_logged_model_tag, model, "T")
        models.delete_logged_model_tag(model, "t")
        refuses(NotFound, models.delete_logged_model_tag, model, "t")
        assert models.get_logged_model(model).tags == {"u": "1"}
        models.set_logged_model_tags(model, {"t": "3"})
        assert models.get_logged_model(model).tags == {"t": "3", "u": "1"}

    @requires("logged_models")
    def test_finalize_model_moves_from_any_status_to_any(self, models: LoggedModelStore, model: str) -> None:
        """Statuses follow each other freely, given as they are or by name; the time of the change is kept.

        Usual cause of failure: the other fields are lost when the model is written anew.
        """
        models.set_logged_model_tags(model, {"t": "1"})
        models.log_logged_model_params(model, {"p": "1"})
        before = models.get_logged_model(model)
        for status in (*LoggedModelStatus, *reversed(LoggedModelStatus)):
            for given in (status, status.name):
                changed = models.finalize_logged_model(model, given)
                assert changed.status is status
                assert changed.last_updated_timestamp >= before.last_updated_timestamp
                assert (changed.name, changed.tags, changed.params) == (before.name, before.tags, before.params)
                assert changed.creation_timestamp == before.creation_timestamp
                assert models.get_logged_model(model) == changed

    @requires("logged_models")
    @pytest.mark.parametrize("status", ["", "ready", "DONE", 4, -1, True, None, 1.0])
    def test_finalize_model_with_unknown_status_is_refused(
        self, models: LoggedModelStore, model: str, status: str
    ) -> None:
        """What is no status is an error of the caller.

        Usual cause of failure: the public method was overridden without its checks.
        """
        before = models.get_logged_model(model)
        refuses(InvalidParameterValue, models.finalize_logged_model, model, status)
        assert models.get_logged_model(model) == before

    @requires("logged_models")
    def test_delete_model_hides_it_from_every_method(
        self, models: LoggedModelStore, store: BackendStore, experiment: str, run: str, model: str
    ) -> None:
        """A deleted model is not found; deleting it again is accepted. What its run logged stays, links included.

        Usual cause of failure: the stage is looked at when reading only.
        """
        other = models.create_logged_model(experiment, "other").model_id
        models.log_model_metrics(model, run, [Metric("m", 1.0, 1)])
        models.log_outputs(run, [LoggedModelOutput(model, 1)])
        models.log_model_inputs(run, [LoggedModelInput(model)])
        before = store.get_run(run)
        models.delete_logged_model(model)
        models.delete_logged_model(model)
        refuses(NotFound, models.get_logged_model, model)
        for write in MODEL_WRITES.values():
            refuses(NotFound, write, models, experiment, run, model)
        assert [found.model_id for found in models.search_logged_models([experiment])] == [other]
        assert store.get_run(run) == before

    @requires("logged_models")
    def test_use_missing_model_is_not_found(self, models: LoggedModelStore, experiment: str, run: str) -> None:
        """A model that is not there is not found, whatever is asked of it.

        Usual cause of failure: an update that changes no row counts as success.
        """
        for call in (*MODEL_WRITES.values(), READS["get_logged_model"], WRITES["delete_logged_model"]):
            refuses(NotFound, call, models, experiment, run, MISSING)

    @requires("logged_models")
    @pytest.mark.parametrize("model_id", [*MALFORMED_IDS, "m-" + "0" * 35])
    def test_use_malformed_model_id_is_refused(
        self, models: LoggedModelStore, store: BackendStore, experiment: str, run: str, model_id: str
    ) -> None:
        """What cannot be an id is an error of the caller.

        Usual cause of failure: ids become paths unchecked.
        """
        for call in (*MODEL_WRITES.values(), READS["get_logged_model"], WRITES["delete_logged_model"]):
            refuses(InvalidParameterValue, call, models, experiment, run, model_id)
        refuses(InvalidParameterValue, models.log_model_inputs, run, [LoggedModelInput(model_id)])
        refuses(InvalidParameterValue, models.log_outputs, run, [LoggedModelOutput(model_id)])
        found = store.get_run(run)
        assert (found.inputs.model_inputs, found.outputs.model_outputs) == ((), ())

    @requires("logged_models")
    def test_delete_and_restore_experiment_leaves_models_alone(
        self, models: LoggedModelStore, store: BackendStore, experiment: str, model: str
    ) -> None:
        """Models of a deleted experiment are read, found and changed as before.

        Usual cause of failure: the search looks in active experiments only.
        """
        before = models.get_logged_model(model)
        store.delete_experiment(experiment)
        assert models.get_logged_model(model) == before
        assert models.search_logged_models([experiment]) == [before]
        changed = models.finalize_logged_model(model, "READY")
        store.restore_experiment(experiment)
        assert models.search_logged_models([experiment]) == [changed]

    @requires("logged_models")
    def test_log_model_data_from_threads_loses_nothing(self, models: LoggedModelStore, run: str, model: str) -> None:
        """Any number of threads may write to one model.

        Usual cause of failure: a file that is read, changed and written back without a lock.
        """

        def write(number: int) -> None:
            models.log_logged_model_params(model, {f"p{number}": str(number)})
            models.set_logged_model_tags(model, {f"t{number}": str(number)})
            models.log_model_metrics(model, run, [Metric(f"m{number % 4}", float(number), number, number)])
            models.finalize_logged_model(model, "READY")

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(write, range(24)))
        found = models.get_logged_model(model)
        assert found.params == {f"p{number}": str(number) for number in range(24)}
        assert found.tags == {f"t{number}": str(number) for number in range(24)}
        assert {metric.key: metric.value for metric in found.metrics} == {f"m{key}": 20.0 + key for key in range(4)}
        assert found.status is LoggedModelStatus.READY
