"""Endpoints of logged models (MLflow 3)."""

from __future__ import annotations

from typing import cast

from holdall.backends.http.codec import logged_model_json
from holdall.server.fields import BOOL, INT64, TEXT, Arguments, choice, many, message, optional, required
from holdall.server.messages import page_json
from holdall.server.routes import Access, Route
from holdall.server.service import Service
from holdall.stores.entities import LoggedModelStatus
from holdall.stores.logged_models import LoggedModelStore, as_logged_model_store

__all__ = ["ROUTES"]

_MODELS = "/mlflow/logged-models"
_MODEL = f"{_MODELS}/{{model_id}}"
_ID = required("model_id", TEXT)


def _store(service: Service) -> LoggedModelStore:
    return as_logged_model_store(service.store)


def create_model(service: Service, given: Arguments) -> object:
    """Create a model."""
    model = _store(service).create_logged_model(
        given.text("experiment_id"),
        given.maybe_text("name") or None,
        given.maybe_text("source_run_id") or None,
        _values(given, "tags"),
        _values(given, "params"),
        given.maybe_text("model_type"),
    )
    return {"model": logged_model_json(model)}


def get_model(service: Service, given: Arguments) -> object:
    """A model by its id."""
    return {"model": logged_model_json(_store(service).get_logged_model(given.text("model_id")))}


def finalize_model(service: Service, given: Arguments) -> object:
    """Set the status."""
    status = given.value("status", LoggedModelStatus) or LoggedModelStatus.UNSPECIFIED
    return {"model": logged_model_json(_store(service).finalize_logged_model(given.text("model_id"), status))}


def delete_model(service: Service, given: Arguments) -> object:
    """Mark a model deleted."""
    _store(service).delete_logged_model(given.text("model_id"))
    return {}


def search_models(service: Service, given: Arguments) -> object:
    """A page of models."""
    found = _store(service).search_logged_models(
        given.items("experiment_ids", str),
        given.text("filter"),
        [_present(dataset, "dataset_name", "dataset_digest") for dataset in given.items("datasets", Arguments)],
        given.integer("max_results", 100),
        [_ordering(clause) for clause in given.items("order_by", Arguments)],
        given.maybe_text("page_token"),
    )
    return page_json("models", list(map(logged_model_json, found)), found.token)


def set_tags(service: Service, given: Arguments) -> object:
    """Set tags."""
    _store(service).set_logged_model_tags(given.text("model_id"), _values(given, "tags"))
    return {}


def delete_tag(service: Service, given: Arguments) -> object:
    """Delete a tag."""
    _store(service).delete_logged_model_tag(given.text("model_id"), given.text("tag_key"))
    return {}


def log_params(service: Service, given: Arguments) -> object:
    """Add params."""
    _store(service).log_logged_model_params(given.text("model_id"), _values(given, "params"))
    return {}


def _values(given: Arguments, name: str) -> dict[str, str]:
    pairs = cast("list[tuple[str, str]]", given.items(name, tuple))
    return dict(pairs)


def _present(given: Arguments, *names: str) -> dict[str, object]:
    return {name: text for name in names if (text := given.maybe_text(name))}


def _ordering(clause: Arguments) -> dict[str, object]:
    return {"ascending": clause.flag("ascending", True)} | _present(
        clause, "field_name", "dataset_name", "dataset_digest"
    )


_PAIR = message(
    required("key", TEXT), optional("value", TEXT), make=lambda given: (given.text("key"), given.text("value"))
)
_DATASET = message(required("dataset_name", TEXT), optional("dataset_digest", TEXT), make=lambda given: given)
_ORDER_BY = message(
    required("field_name", TEXT),
    optional("ascending", BOOL),
    optional("dataset_name", TEXT),
    optional("dataset_digest", TEXT),
    make=lambda given: given,
)
_STATUS = choice(
    {
        "LOGGED_MODEL_STATUS_UNSPECIFIED": LoggedModelStatus.UNSPECIFIED,
        "LOGGED_MODEL_PENDING": LoggedModelStatus.PENDING,
        "LOGGED_MODEL_READY": LoggedModelStatus.READY,
        "LOGGED_MODEL_UPLOAD_FAILED": LoggedModelStatus.FAILED,
    },
    {int(status): status for status in LoggedModelStatus},
)

ROUTES = (
    Route(
        "POST",
        _MODELS,
        Access.WRITE,
        create_model,
        fields=(
            required("experiment_id", TEXT),
            optional("name", TEXT),
            optional("model_type", TEXT),
            optional("source_run_id", TEXT),
            optional("params", many(_PAIR)),
            optional("tags", many(_PAIR)),
        ),
        answers=("model",),
    ),
    Route(
        "POST",
        f"{_MODELS}/search",
        Access.READ,
        search_models,
        fields=(
            optional("experiment_ids", many(TEXT)),
            optional("filter", TEXT),
            optional("datasets", many(_DATASET)),
            optional("max_results", INT64),
            optional("order_by", many(_ORDER_BY)),
            optional("page_token", TEXT),
        ),
        slow=True,
        answers=("models", "next_page_token"),
    ),
    Route("GET", _MODEL, Access.READ, get_model, fields=(_ID,), answers=("model",)),
    Route("PATCH", _MODEL, Access.WRITE, finalize_model, fields=(_ID, required("status", _STATUS)), answers=("model",)),
    Route("DELETE", _MODEL, Access.WRITE, delete_model, fields=(_ID,)),
    Route(
        "PATCH",
        f"{_MODEL}/tags",
        Access.WRITE,
        set_tags,
        fields=(_ID, optional("tags", many(_PAIR))),
    ),
    Route(
        "DELETE", f"{_MODEL}/tags/{{tag_key:path}}", Access.WRITE, delete_tag, fields=(_ID, required("tag_key", TEXT))
    ),
    Route("POST", f"{_MODEL}/params", Access.WRITE, log_params, fields=(_ID, optional("params", many(_PAIR)))),
)
"""Below every prefix of the API."""
