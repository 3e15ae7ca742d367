"""Entities survive the way through JSON, and look there as MLflow's REST API has them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdall.backends.http import codec
from holdall.conformance_tests.support import bits
from holdall.stores import InternalError
from holdall.stores.entities import (
    Dataset,
    DatasetInput,
    Experiment,
    FileInfo,
    InputTag,
    LifecycleStage,
    LoggedModel,
    LoggedModelInput,
    LoggedModelMetric,
    LoggedModelOutput,
    LoggedModelStatus,
    Metric,
    Run,
    RunData,
    RunInfo,
    RunInputs,
    RunOutputs,
    RunStatus,
)
from holdall.stores.points import latest_model_metrics

LARGEST = 1.7976931348623157e308

TEXTS = st.text(st.characters(codec="utf-8"), max_size=12)
IDS = st.text("0123456789abcdef", min_size=1, max_size=8)
TIMES = st.integers(0, 2**63 - 1)
STEPS = st.integers(-(2**63), 2**63 - 1)
VALUES = st.floats().filter(lambda value: abs(value) != LARGEST)
PAIRS = st.dictionaries(TEXTS, TEXTS, max_size=3)
STAGES = st.sampled_from([stage.value for stage in LifecycleStage])

METRICS = st.builds(Metric, TEXTS, VALUES, TIMES, STEPS)
EXPERIMENTS = st.builds(Experiment, IDS, TEXTS, TEXTS, STAGES, PAIRS, st.none() | TIMES, st.none() | TIMES)
INFOS = st.builds(
    RunInfo,
    IDS,
    IDS,
    TEXTS,
    TEXTS,
    st.sampled_from([status.value for status in RunStatus]),
    st.none() | TIMES,
    st.none() | TIMES,
    STAGES,
    TEXTS,
)
DATASETS = st.builds(
    DatasetInput,
    st.builds(Dataset, TEXTS, TEXTS, TEXTS, TEXTS, st.none() | TEXTS, st.none() | TEXTS),
    PAIRS.map(lambda pairs: tuple(InputTag(*pair) for pair in pairs.items())),
)


def _data(metrics: dict[str, tuple[float, int, int]], params: dict[str, str], tags: dict[str, str]) -> RunData:
    values = {key: value for key, (value, _, _) in metrics.items()}
    return RunData(values, params, tags, {key: (timestamp, step) for key, (_, timestamp, step) in metrics.items()})


RUNS = st.builds(
    Run,
    INFOS,
    st.builds(_data, st.dictionaries(TEXTS, st.tuples(VALUES, TIMES, STEPS), max_size=3), PAIRS, PAIRS),
    st.builds(
        RunInputs,
        st.lists(DATASETS, max_size=2).map(tuple),
        st.lists(st.builds(LoggedModelInput, IDS), max_size=2).map(tuple),
    ),
    st.builds(RunOutputs, st.lists(st.builds(LoggedModelOutput, IDS, STEPS), max_size=2).map(tuple)),
)
NAMED = st.none() | st.text("abc", min_size=1, max_size=2)
MODELS = st.builds(
    LoggedModel,
    IDS,
    IDS,
    TEXTS,
    TEXTS,
    TIMES,
    TIMES,
    st.sampled_from(LoggedModelStatus),
    st.none() | TEXTS,
    st.none() | IDS,
    st.none() | TEXTS,
    PAIRS,
    PAIRS,
    st.lists(st.builds(LoggedModelMetric, TEXTS, VALUES, TIMES, STEPS, IDS, NAMED, NAMED), max_size=4).map(
        latest_model_metrics
    ),
)
FILES = st.builds(FileInfo, TEXTS, st.just(False), st.integers(0, 2**62)) | st.builds(FileInfo, TEXTS, st.just(True))


def through_json(document: object) -> object:
    """A document as the other side gets it; JSON's own grammar only."""
    return json.loads(json.dumps(document, allow_nan=False))


def exact(entity: object) -> str:
    """An entity as text that tells all doubles apart; all NaNs are one."""
    return repr(entity)


@given(EXPERIMENTS)
def test_decode_encoded_experiment_gives_it_back(experiment: Experiment) -> None:
    assert codec.experiment_of(through_json(codec.experiment_json(experiment))) == experiment


@given(RUNS)
def test_decode_encoded_run_gives_it_back(run: Run) -> None:
    assert exact(codec.run_of(through_json(codec.run_json(run)))) == exact(run)


@given(RUNS)
def test_decode_encoded_run_gives_the_points_of_its_metrics_back(run: Run) -> None:
    assert codec.run_of(through_json(codec.run_json(run))).data.metric_points == run.data.metric_points


@given(INFOS)
def test_decode_encoded_run_info_gives_it_back(info: RunInfo) -> None:
    assert codec.run_info_of(through_json(codec.run_info_json(info))) == info


@given(METRICS)
def test_decode_encoded_metric_gives_it_back_to_the_bit(metric: Metric) -> None:
    decoded = codec.metric_of(through_json(codec.metric_json(metric)))
    assert (decoded.key, bits(decoded.value), decoded.timestamp, decoded.step) == (
        metric.key,
        bits(metric.value),
        metric.timestamp,
        metric.step,
    )


@given(DATASETS)
def test_decode_encoded_dataset_gives_it_back(item: DatasetInput) -> None:
    assert codec.dataset_input_of(through_json(codec.dataset_input_json(item))) == item


@given(MODELS)
def test_decode_encoded_logged_model_gives_it_back(model: LoggedModel) -> None:
    assert exact(codec.logged_model_of(through_json(codec.logged_model_json(model)))) == exact(model)


@given(FILES)
def test_decode_encoded_file_gives_it_back(file: FileInfo) -> None:
    assert codec.file_of(through_json(codec.file_json(file))) == file


def test_encode_running_run_leaves_out_what_is_not_set() -> None:
    info = RunInfo("r", "1", "", "", "RUNNING", 0, None, "active", "mlflow-artifacts:/1/r/artifacts")
    assert codec.run_json(Run(info)) == {
        "info": {
            "run_id": "r",
            "run_uuid": "r",
            "experiment_id": "1",
            "run_name": "",
            "user_id": "",
            "status": "RUNNING",
            "start_time": 0,
            "artifact_uri": "mlflow-artifacts:/1/r/artifacts",
            "lifecycle_stage": "active",
        },
        "data": {},
        "inputs": {},
        "outputs": {},
    }


def test_encode_run_with_everything_has_the_fields_of_the_api() -> None:
    info = RunInfo("r", "1", "name", "me", "FINISHED", 1, 2, "deleted", "uri")
    dataset = DatasetInput(Dataset("d", "1a", "local", "{}", profile="p"), (InputTag("mlflow.data.context", "train"),))
    run = Run(
        info,
        RunData({"m": math.nan}, {"p": "v"}, {"t": ""}, {"m": (3, -4)}),
        RunInputs((dataset,), (LoggedModelInput("m-1"),)),
        RunOutputs((LoggedModelOutput("m-2", 0),)),
    )
    document = codec.run_json(run)
    assert document["data"] == {
        "metrics": [{"key": "m", "value": "NaN", "timestamp": 3, "step": -4}],
        "params": [{"key": "p", "value": "v"}],
        "tags": [{"key": "t", "value": ""}],
    }
    assert document["inputs"] == {
        "dataset_inputs": [
            {
                "tags": [{"key": "mlflow.data.context", "value": "train"}],
                "dataset": {"name": "d", "digest": "1a", "source_type": "local", "source": "{}", "profile": "p"},
            }
        ],
        "model_inputs": [{"model_id": "m-1"}],
    }
    assert document["outputs"] == {"model_outputs": [{"model_id": "m-2", "step": 0}]}
    assert isinstance(document["info"], dict)
    assert document["info"]["end_time"] == 2


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (math.nan, '"NaN"'),
        (math.inf, '"Infinity"'),
        (-math.inf, '"-Infinity"'),
        (-0.0, "-0.0"),
        (5e-324, "5e-324"),
        (1.7976931348623155e308, "1.7976931348623155e+308"),
        (1.0, "1.0"),
    ],
)
def test_encode_double_writes_what_json_allows(value: float, text: str) -> None:
    assert json.dumps(codec.double_json(value), allow_nan=False) == text


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ('"NaN"', math.nan),
        ("NaN", math.nan),
        ('"nan"', math.nan),
        ('"Infinity"', math.inf),
        ("-Infinity", -math.inf),
        ('"-inf"', -math.inf),
        ("1.7976931348623157e+308", math.inf),
        ("-1.7976931348623157e+308", -math.inf),
        ('"1.7976931348623157e308"', math.inf),
        ("1.7976931348623155e+308", 1.7976931348623155e308),
        ("3", 3.0),
        ('"0.5"', 0.5),
        ("-0.0", -0.0),
    ],
)
def test_decode_double_takes_every_spelling_of_servers(written: str, value: float) -> None:
    message = json.loads('{"key": "k", "value": %s}' % written)  # noqa: UP031 - braces
    decoded = codec.metric_of(message)
    assert bits(decoded.value) == bits(value)
    assert isinstance(decoded.value, float)


def test_decode_run_of_older_server_fills_in_what_it_leaves_out() -> None:
    info = {"run_uuid": "r", "experiment_id": "1", "status": "RUNNING", "start_time": "12", "end_time": None}
    run = codec.run_of({"info": info, "inputs": None})
    assert run == Run(RunInfo("r", "1", "", "", "RUNNING", 12, None, "active", ""))


def test_decode_experiment_without_times_and_tags_takes_it() -> None:
    document = {"experiment_id": "0", "name": "Default", "artifact_location": "a", "unknown": {"x": 1}}
    assert codec.experiment_of(document) == Experiment("0", "Default", "a")


def test_encode_experiment_names_its_workspace() -> None:
    document = codec.experiment_json(Experiment("0", "Default", "a", tags={"k": "v"}, creation_time=1))
    assert document == {
        "experiment_id": "0",
        "name": "Default",
        "artifact_location": "a",
        "lifecycle_stage": "active",
        "creation_time": 1,
        "tags": [{"key": "k", "value": "v"}],
        "workspace": "default",
    }


def test_encode_files_gives_no_size_to_folders_and_empty_files() -> None:
    files = [FileInfo("d", True), FileInfo("empty", False, 0), FileInfo("f", False, 3)]
    assert [codec.file_json(file) for file in files] == [
        {"path": "d", "is_dir": True},
        {"path": "empty", "is_dir": False},
        {"path": "f", "is_dir": False, "file_size": 3},
    ]


def test_encode_failed_model_uses_the_name_of_the_api() -> None:
    document = codec.logged_model_json(LoggedModel("m-1", "1", "n", "a", 1, 2, LoggedModelStatus.FAILED))
    assert document == {
        "info": {
            "model_id": "m-1",
            "experiment_id": "1",
            "name": "n",
            "artifact_uri": "a",
            "creation_timestamp_ms": 1,
            "last_updated_timestamp_ms": 2,
            "status": "LOGGED_MODEL_UPLOAD_FAILED",
        },
        "data": {},
    }


INFO: dict[str, object] = {"run_id": "r", "experiment_id": "1", "status": "RUNNING"}
MODEL: dict[str, object] = {"model_id": "m", "experiment_id": "1", "name": "n"}


WRONG: dict[Callable[[object], object], list[object]] = {
    codec.experiment_of: [
        None,
        [],
        "x",
        1,
        {},
        {"experiment_id": 5, "name": "n"},
        {"experiment_id": "1", "name": "n", "tags": {}},
        {"experiment_id": "1", "name": "n", "tags": ["t"]},
        {"experiment_id": "1", "name": "n", "creation_time": 1.5},
    ],
    codec.experiment_id_of: [{}, {"experiment_id": None}],
    codec.run_of: [
        None,
        {},
        {"info": []},
        {"info": {"run_id": "r"}},
        {"info": {**INFO, "start_time": "soon"}},
        {"info": INFO, "data": []},
        {"info": INFO, "data": {"metrics": [1]}},
        {"info": INFO, "data": {"metrics": {}}},
        {"info": INFO, "inputs": {"dataset_inputs": [{}]}},
        {"info": INFO, "outputs": {"model_outputs": [{"step": 1}]}},
    ],
    codec.run_info_of: [{**INFO, "status": 3}],
    codec.metric_of: [
        {"key": "k", "value": None},
        {"key": "k", "value": True},
        {"key": "k", "value": "x"},
        {"key": "k", "value": []},
        {"key": "k", "value": 10**400},
        {"key": "k", "value": 1.0, "timestamp": True},
        {"value": 1.0},
    ],
    codec.file_of: [{"is_dir": True}, {"path": "a", "file_size": "x"}],
    codec.dataset_input_of: [{"dataset": {"name": "d"}}],
    codec.logged_model_of: [
        {},
        {"info": {}},
        {"info": {**MODEL, "status": "DONE"}},
        {"info": MODEL, "data": ""},
        {"info": MODEL, "data": {"metrics": [{"key": "k"}]}},
    ],
}


@pytest.mark.parametrize(
    ("decode", "document"), [(decode, document) for decode, documents in WRONG.items() for document in documents]
)
def test_decode_what_is_no_entity_is_an_internal_error(decode: Callable[[object], object], document: object) -> None:
    with pytest.raises(InternalError, match="The server answers with something that is no "):
        decode(document)


def test_decode_something_huge_keeps_the_message_short() -> None:
    with pytest.raises(InternalError) as caught:
        codec.run_of("x" * 1_000_000)
    assert len(caught.value.message) < 200
