"""Datasets that runs read."""

from __future__ import annotations

import pytest

from holdall.conformance_tests.base import BackendSuite
from holdall.conformance_tests.names import HOSTILE_TEXTS
from holdall.conformance_tests.support import refuses, requires
from holdall.stores import BackendStore, Dataset, DatasetInput, InputTag, InvalidParameterValue, NotFound

__all__ = ["InputTests"]

TRAIN = (InputTag("mlflow.data.context", "train"),)
DIGITS = DatasetInput(Dataset("digits", "abc123", "code", '{"tags": {}}', '{"s": 1}', '{"rows": 1797}'), TRAIN)
IRIS = DatasetInput(Dataset("iris", "def456", "local", "/data/iris.csv"))


def _inputs(store: BackendStore, run_id: str) -> set[DatasetInput]:
    found = store.get_run(run_id).inputs.dataset_inputs
    assert len(set(found)) == len(found), "an input appears twice"
    return set(found)


class InputTests(BackendSuite):
    """Inputs."""

    @requires("datasets")
    def test_log_inputs_keeps_datasets_and_tags(self, store: BackendStore, experiment: str, run: str) -> None:
        """Datasets come back as they were given, with the tags of their use, from the run and from a search.

        Usual cause of failure: None becomes the empty text.
        """
        store.log_inputs(run, [DIGITS, IRIS])
        assert _inputs(store, run) == {DIGITS, IRIS}
        [found] = store.search_runs([experiment])
        assert set(found.inputs.dataset_inputs) == {DIGITS, IRIS}

    @requires("datasets")
    def test_log_inputs_again_changes_nothing(self, store: BackendStore, run: str) -> None:
        """The same dataset again for the same run is a repetition, whatever its tags.

        Usual cause of failure: a second link, or tags that are added.
        """
        store.log_inputs(run, [DIGITS])
        store.log_inputs(run, [DIGITS, IRIS, IRIS])
        store.log_inputs(run, [DatasetInput(DIGITS.dataset, (InputTag("mlflow.data.context", "test"),))])
        assert _inputs(store, run) == {DIGITS, IRIS}

    @requires("datasets")
    def test_log_inputs_with_known_name_and_digest_keeps_the_first(
        self, store: BackendStore, experiment: str, run: str
    ) -> None:
        """In an experiment a dataset is known by (name, digest); the first one written stays. Tags are each run's own.

        Usual cause of failure: the later description overwrites what other runs refer to.
        """
        changed = DatasetInput(Dataset("digits", "abc123", "s3", "s3://elsewhere"), (InputTag("k", "v"),))
        other_run = store.create_run(experiment).info.run_id
        store.log_inputs(run, [DIGITS])
        store.log_inputs(other_run, [changed])
        assert _inputs(store, run) == {DIGITS}
        assert _inputs(store, other_run) == {DatasetInput(DIGITS.dataset, changed.tags)}

    @requires("datasets")
    def test_log_inputs_in_another_experiment_is_independent(self, store: BackendStore, run: str) -> None:
        """Experiments do not share datasets; another digest or name is another dataset.

        Usual cause of failure: a key without the experiment.
        """
        elsewhere = store.create_run(store.create_experiment(f"inputs-{run}")).info.run_id
        moved = DatasetInput(Dataset("digits", "abc123", "s3", "s3://elsewhere"))
        newer = DatasetInput(Dataset("digits", "abc124", "code", "2"))
        store.log_inputs(run, [DIGITS, newer])
        store.log_inputs(elsewhere, [moved])
        assert _inputs(store, run) == {DIGITS, newer}
        assert _inputs(store, elsewhere) == {moved}

    @requires("datasets", "exact_names")
    def test_log_inputs_with_similar_names_and_digests_keeps_them_apart(self, store: BackendStore, run: str) -> None:
        """Names and digests compare by code point.

        Usual cause of failure: a collation.
        """
        similar = {
            DIGITS,
            DatasetInput(Dataset("digits", "ABC123", "code", "2")),
            DatasetInput(Dataset("Digits", "abc123", "code", "3")),
        }
        store.log_inputs(run, sorted(similar, key=lambda item: item.dataset.source))
        assert _inputs(store, run) == similar

    @requires("datasets")
    @pytest.mark.parametrize("text", HOSTILE_TEXTS)
    def test_log_inputs_with_unusual_texts_keeps_them(self, store: BackendStore, run: str, text: str) -> None:
        """Every field comes back as it was given.

        Usual cause of failure: newlines are converted, blanks trimmed.
        """
        item = DatasetInput(Dataset(text, text[:36], text[:36], text, text, text), (InputTag(text, text),))
        store.log_inputs(run, [item])
        assert _inputs(store, run) == {item}

    @requires("datasets")
    def test_log_inputs_at_length_limits_is_kept_whole(self, store: BackendStore, run: str) -> None:
        """Each field holds what its limit says.

        Usual cause of failure: columns that cut.
        """
        item = DatasetInput(
            Dataset("ü" * 500, "d" * 36, "t" * 36, "ü" * 65535, "s" * 1048575, "p" * 100000),
            (InputTag("k" * 255, "ü" * 500),),
        )
        store.log_inputs(run, [item])
        assert _inputs(store, run) == {item}

    @requires("datasets")
    @pytest.mark.parametrize(
        "bad",
        [
            DatasetInput(Dataset("n" * 501, "d", "t", "s")),
            DatasetInput(Dataset("n", "d" * 37, "t", "s")),
            DatasetInput(Dataset("n", "d", "t" * 37, "s")),
            DatasetInput(Dataset("n", "d", "t", "s" * 65536)),
            DatasetInput(Dataset("n", "d", "t", "s", "x" * 1048576)),
            DatasetInput(Dataset("n", "d", "t", "s"), (InputTag("k" * 256, "v"),)),
            DatasetInput(Dataset("n", "d", "t", "s"), (InputTag("k", "v" * 501),)),
        ],
        ids=["name", "digest", "source-type", "source", "schema", "tag-key", "tag-value"],
    )
    def test_log_inputs_over_length_limit_writes_nothing(
        self, store: BackendStore, run: str, bad: DatasetInput
    ) -> None:
        """What is too long is refused with all that came with it.

        Usual cause of failure: the public method was overridden without its checks.
        """
        refuses(InvalidParameterValue, store.log_inputs, run, [DIGITS, bad])
        assert _inputs(store, run) == set()

    @requires("datasets")
    def test_log_inputs_to_missing_or_deleted_run_is_refused(self, store: BackendStore, run: str) -> None:
        """A missing run is not found; a deleted one takes no inputs.

        Usual cause of failure: the run is not looked at.
        """
        refuses(NotFound, store.log_inputs, "d" * 32, [DIGITS])
        store.delete_run(run)
        refuses(InvalidParameterValue, store.log_inputs, run, [DIGITS])
        assert _inputs(store, run) == set()
