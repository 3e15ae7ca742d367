"""Endpoints of runs, and of what they log."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import cast

from holdall.backends.http.codec import metric_json, run_info_json, run_json
from holdall.server.fields import INT64, TEXT, Arguments, many, optional, required
from holdall.server.messages import page_json
from holdall.server.messages_of_runs import (
    DATASET_INPUT,
    METRIC,
    METRIC_FIELDS,
    MODEL_INPUT,
    MODEL_OUTPUT,
    PARAM,
    RUN_STATUS,
    RUN_TAG,
    VIEW_TYPE,
    Measurement,
    measurement,
)
from holdall.server.routes import Access, Route
from holdall.server.service import Service
from holdall.stores.entities import (
    DatasetInput,
    LoggedModelInput,
    LoggedModelOutput,
    Metric,
    Param,
    RunStatus,
    RunTag,
    ViewType,
)
from holdall.stores.errors import InvalidParameterValue
from holdall.stores.logged_model_validation import validate_metric_dataset, validate_model_inputs
from holdall.stores.logged_models import as_logged_model_store
from holdall.stores.validation import MAX_RUN_TAG_LENGTH, check_batch_limits, validate_metrics

__all__ = ["ROUTES", "RUN_ID"]

_RUNS = "/mlflow/runs"
RUN_ID = required("run_id", TEXT, alias="run_uuid")

MODEL_HISTORY_TAG = "mlflow.log-model.history"


def create_run(service: Service, given: Arguments) -> object:
    """Start a run."""
    run = service.store.create_run(
        given.text("experiment_id"),
        given.maybe_text("user_id"),
        given.maybe_integer("start_time"),
        given.items("tags", RunTag),
        given.maybe_text("run_name"),
    )
    return {"run": run_json(run)}


def get_run(service: Service, given: Arguments) -> object:
    """A run by its id."""
    return {"run": run_json(service.store.get_run(given.text("run_id")))}


def update_run(service: Service, given: Arguments) -> object:
    """Change status, end time or name."""
    status = given.value("status", RunStatus)
    info = service.store.update_run_info(
        given.text("run_id"), status, given.maybe_integer("end_time"), given.maybe_text("run_name")
    )
    return {"run_info": run_info_json(info)}


def delete_run(service: Service, given: Arguments) -> object:
    """Mark a run deleted."""
    service.store.delete_run(given.text("run_id"))
    return {}


def restore_run(service: Service, given: Arguments) -> object:
    """Undo that."""
    service.store.restore_run(given.text("run_id"))
    return {}


def search_runs(service: Service, given: Arguments) -> object:
    """A page of runs."""
    found = service.store.search_runs(
        given.items("experiment_ids", str),
        given.text("filter"),
        given.value("run_view_type", ViewType) or ViewType.ACTIVE_ONLY,
        given.integer("max_results", 1000),
        given.items("order_by", str),
        given.maybe_text("page_token"),
    )
    return page_json("runs", list(map(run_json, found)), found.token)


def log_metric(service: Service, given: Arguments) -> object:
    """Log a point."""
    point = measurement(given)
    if isinstance(point, Metric):
        service.store.log_metric(given.text("run_id"), point)
    else:
        _log_measurements(service, given.text("run_id"), [point])
    return {}


def log_param(service: Service, given: Arguments) -> object:
    """Log a param."""
    service.store.log_param(given.text("run_id"), Param(given.text("key"), given.text("value")))
    return {}


def set_tag(service: Service, given: Arguments) -> object:
    """Set a tag."""
    service.store.set_tag(given.text("run_id"), RunTag(given.text("key"), given.text("value")))
    return {}


def delete_tag(service: Service, given: Arguments) -> object:
    """Delete a tag."""
    service.store.delete_tag(given.text("run_id"), given.text("key"))
    return {}


def log_batch(service: Service, given: Arguments) -> object:
    """Log metrics, params and tags: all of them, or none; points of models after those of the run alone."""
    points = cast("list[Metric | Measurement]", given.items("metrics", object))
    run_id, params, tags = given.text("run_id"), given.items("params", Param), given.items("tags", RunTag)
    measured = [point for point in points if isinstance(point, Measurement)]
    if measured:
        _check_measurements(service, points, measured, params, tags)
    service.store.log_batch(run_id, [point for point in points if isinstance(point, Metric)], params, tags)
    if measured:
        _log_measurements(service, run_id, measured)
    return {}


def _check_measurements(
    service: Service,
    points: list[Metric | Measurement],
    measured: list[Measurement],
    params: list[Param],
    tags: list[RunTag],
) -> None:
    """Refuse what the store would refuse later, when the rest of the batch is written already."""
    store = as_logged_model_store(service.store)
    check_batch_limits(points, params, tags)
    validate_metrics([point.metric if isinstance(point, Measurement) else point for point in points])
    for name, digest in {(item.dataset_name, item.dataset_digest) for item in measured}:
        validate_metric_dataset(name, digest)
    for model_id in {item.model_id for item in measured}:
        store.get_logged_model(model_id)


def _log_measurements(service: Service, run_id: str, measurements: list[Measurement]) -> None:
    store = as_logged_model_store(service.store)
    grouped: defaultdict[tuple[str, str | None, str | None], list[Metric]] = defaultdict(list)
    for item in measurements:
        grouped[item.model_id, item.dataset_name, item.dataset_digest].append(item.metric)
    for (model_id, name, digest), metrics in grouped.items():
        store.log_model_metrics(model_id, run_id, metrics, name, digest)


def log_inputs(service: Service, given: Arguments) -> object:
    """Record datasets and models that a run used."""
    run_id, models = given.text("run_id"), given.items("models", LoggedModelInput)
    store = as_logged_model_store(service.store) if models else None
    validate_model_inputs(models)
    service.store.log_inputs(run_id, given.items("datasets", DatasetInput))
    if store is not None:
        store.log_model_inputs(run_id, models)
    return {}


def log_outputs(service: Service, given: Arguments) -> object:
    """Record models that a run made."""
    as_logged_model_store(service.store).log_outputs(given.text("run_id"), given.items("models", LoggedModelOutput))
    return {}


def log_model(service: Service, given: Arguments) -> object:
    """Note a model of MLflow 2 in a tag of its run; of a history that is too long, the oldest go."""
    run_id, model = given.text("run_id"), _parsed(given.text("model_json"))
    if not isinstance(model, dict):
        raise InvalidParameterValue("Invalid value for parameter 'model_json': it must be the JSON text of an object.")
    history = _parsed(service.store.get_run(run_id).data.tags.get(MODEL_HISTORY_TAG, ""))
    entries = [*history, model] if isinstance(history, list) else [model]
    while len(text := json.dumps(entries)) > MAX_RUN_TAG_LENGTH and len(entries) > 1:
        entries = entries[1:]
    service.store.set_tag(run_id, RunTag(MODEL_HISTORY_TAG, text))
    return {}


def _parsed(text: str) -> object:
    """What a text of JSON holds; None if it is none."""
    try:
        return cast(object, json.loads(text))
    except (ValueError, RecursionError):
        return None


def get_metric_history(service: Service, given: Arguments) -> object:
    """The points of a metric: all, or a page."""
    points = service.store.get_metric_history(
        given.text("run_id"),
        given.text("metric_key"),
        given.maybe_integer("max_results"),
        given.maybe_text("page_token"),
    )
    return page_json("metrics", list(map(metric_json, points)), points.token)


_TAG = (RUN_ID, required("key", TEXT), optional("value", TEXT))

ROUTES = (
    Route(
        "POST",
        f"{_RUNS}/create",
        Access.WRITE,
        create_run,
        fields=(
            required("experiment_id", TEXT),
            optional("user_id", TEXT),
            optional("run_name", TEXT),
            optional("start_time", INT64),
            optional("tags", many(RUN_TAG)),
        ),
        answers=("run",),
    ),
    Route("GET", f"{_RUNS}/get", Access.READ, get_run, fields=(RUN_ID,), answers=("run",)),
    Route(
        "POST",
        f"{_RUNS}/update",
        Access.WRITE,
        update_run,
        fields=(RUN_ID, optional("status", RUN_STATUS), optional("end_time", INT64), optional("run_name", TEXT)),
        answers=("run_info",),
    ),
    Route("POST", f"{_RUNS}/delete", Access.WRITE, delete_run, fields=(RUN_ID,)),
    Route("POST", f"{_RUNS}/restore", Access.WRITE, restore_run, fields=(RUN_ID,)),
    Route(
        "POST",
        f"{_RUNS}/search",
        Access.READ,
        search_runs,
        fields=(
            optional("experiment_ids", many(TEXT)),
            optional("filter", TEXT),
            optional("run_view_type", VIEW_TYPE),
            optional("max_results", INT64),
            optional("order_by", many(TEXT)),
            optional("page_token", TEXT),
        ),
        slow=True,
        answers=("runs", "next_page_token"),
    ),
    Route("POST", f"{_RUNS}/log-metric", Access.WRITE, log_metric, fields=(RUN_ID, *METRIC_FIELDS)),
    Route("POST", f"{_RUNS}/log-parameter", Access.WRITE, log_param, fields=_TAG),
    Route("POST", f"{_RUNS}/set-tag", Access.WRITE, set_tag, fields=_TAG),
    Route("POST", f"{_RUNS}/delete-tag", Access.WRITE, delete_tag, fields=_TAG[:2]),
    Route(
        "POST",
        f"{_RUNS}/log-batch",
        Access.WRITE,
        log_batch,
        fields=(
            RUN_ID,
            optional("metrics", many(METRIC)),
            optional("params", many(PARAM)),
            optional("tags", many(RUN_TAG)),
        ),
    ),
    Route(
        "POST",
        f"{_RUNS}/log-inputs",
        Access.WRITE,
        log_inputs,
        fields=(RUN_ID, optional("datasets", many(DATASET_INPUT)), optional("models", many(MODEL_INPUT))),
    ),
    Route(
        "POST",
        f"{_RUNS}/outputs",
        Access.WRITE,
        log_outputs,
        fields=(RUN_ID, optional("models", many(MODEL_OUTPUT))),
    ),
    Route(
        "POST",
        f"{_RUNS}/log-model",
        Access.WRITE,
        log_model,
        fields=(RUN_ID, required("model_json", TEXT)),
    ),
    Route(
        "GET",
        "/mlflow/metrics/get-history",
        Access.READ,
        get_metric_history,
        fields=(RUN_ID, required("metric_key", TEXT), optional("max_results", INT64), optional("page_token", TEXT)),
        slow=True,
        answers=("metrics", "next_page_token"),
    ),
)
"""Below every prefix of the API."""
