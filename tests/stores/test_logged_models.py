"""Logged models and the wrappers, and stores that keep none."""

from __future__ import annotations

from dataclasses import replace

import pytest

from holdall.backends.memory import MemoryBackendStore
from holdall.stores import (
    Capabilities,
    LoggedModelMetric,
    LoggedModelOutput,
    Metric,
    ReadOnly,
    StoreURI,
    TemporarilyUnavailable,
    Unsupported,
    as_logged_model_store,
    open_backend_store,
)
from holdall.stores.points import latest_model_metrics
from holdall.stores.rules import model_artifact_location
from holdall.stores.wrappers import FaultyBackendStore, ReadOnlyBackendStore, WrapperBackendStore

MODEL_ID = "m-" + "0" * 32


class _WithoutModels(MemoryBackendStore):
    @property
    def capabilities(self) -> Capabilities:
        return replace(super().capabilities, logged_models=False)


def test_ask_store_without_models_for_them_is_unsupported() -> None:
    with WrapperBackendStore(_WithoutModels(StoreURI.parse("memory://"))) as store:
        for each in (store, store.inner):
            with pytest.raises(Unsupported):
                as_logged_model_store(each)
        with pytest.raises(Unsupported):
            store.create_logged_model("0")


def test_read_models_through_read_only_wrapper_shows_them() -> None:
    inner = open_backend_store("memory://")
    model = as_logged_model_store(inner).create_logged_model("0")
    with ReadOnlyBackendStore(inner) as store:
        models = as_logged_model_store(store)
        assert models.get_logged_model(model.model_id) == model
        assert models.search_logged_models(["0"]) == [model]
        with pytest.raises(ReadOnly):
            models.delete_logged_model(model.model_id)


def test_disturb_model_operations_through_wrapper_names_each() -> None:
    inner = open_backend_store("memory://")
    run = inner.create_run("0").info.run_id
    model = as_logged_model_store(inner).create_logged_model("0").model_id
    seen: list[str] = []

    def plan(operation: str, number: int) -> Exception | None:
        seen.append(operation)
        return TemporarilyUnavailable("planned") if operation == "log_model_metrics" else None

    with FaultyBackendStore(inner, before=plan) as store:
        store.create_logged_model("0")
        store.finalize_logged_model(model, "READY")
        store.log_logged_model_params(model, {"p": "1"})
        store.set_logged_model_tags(model, {"t": "1"})
        store.delete_logged_model_tag(model, "t")
        store.log_outputs(run, [LoggedModelOutput(model)])
        with pytest.raises(TemporarilyUnavailable):
            store.log_model_metrics(model, run, [Metric("m", 1.0, 1)])
        assert store.get_logged_model(model).metrics == ()
        store.delete_logged_model(model)
        assert len(store.search_logged_models(["0"])) == 1
    assert seen == [
        "create_logged_model",
        "finalize_logged_model",
        "log_logged_model_data",
        "log_logged_model_data",
        "delete_logged_model_tag",
        "link_models",
        "log_model_metrics",
        "get_logged_model",
        "delete_logged_model",
        "search_logged_models",
    ]


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("/a b/0", f"/a b/0/models/{MODEL_ID}/artifacts"),
        ("s3://bucket/x%20y/", f"s3://bucket/x%20y/models/{MODEL_ID}/artifacts"),
        ("s3://bucket?a=1", f"s3://bucket/models/{MODEL_ID}/artifacts?a=1"),
        ("sftp://user:secret@host/x", f"sftp://user:secret@host/x/models/{MODEL_ID}/artifacts"),
    ],
)
def test_locate_model_artifacts_stands_below_the_experiment(location: str, expected: str) -> None:
    assert model_artifact_location(location, MODEL_ID) == expected


def test_choose_latest_model_metrics_does_not_depend_on_their_order() -> None:
    points = [
        LoggedModelMetric("b", 1.0, 1, 1, "run1"),
        LoggedModelMetric("b", 1.0, 1, 1, "run2"),
        LoggedModelMetric("b", 9.0, 9, 0, "run3"),
        LoggedModelMetric("b", 0.0, 1, 0, "run1", "ds", "2"),
        LoggedModelMetric("b", 0.0, 1, 0, "run1", "ds", "1"),
        LoggedModelMetric("a", 0.0, 1, 0, "run1", "ds", "1"),
    ]
    expected = (points[5], points[1], points[4], points[3])
    assert latest_model_metrics(points) == latest_model_metrics(points[::-1]) == expected
