"""Endpoints of experiments."""

from __future__ import annotations

from holdall.backends.http.codec import experiment_json
from holdall.server.fields import INT64, TEXT, Arguments, many, optional, required
from holdall.server.locations import require_allowed_location
from holdall.server.messages import page_json
from holdall.server.messages_of_runs import EXPERIMENT_TAG, VIEW_TYPE
from holdall.server.routes import Access, Route
from holdall.server.service import Service
from holdall.stores.entities import ExperimentTag, ViewType
from holdall.stores.errors import NotFound

__all__ = ["ROUTES"]

_EXPERIMENTS = "/mlflow/experiments"
_ID = required("experiment_id", TEXT)

LARGEST_SUMMARY = 1000
"""Datasets of experiments that are listed at most."""


def create_experiment(service: Service, given: Arguments) -> object:
    """Create an experiment where the server allows its artifacts to be."""
    location = given.text("artifact_location") or None
    if location is not None:
        require_allowed_location(service.options, location)
    tags = given.items("tags", ExperimentTag)
    return {"experiment_id": service.store.create_experiment(given.text("name"), location, tags)}


def get_experiment(service: Service, given: Arguments) -> object:
    """An experiment by its id."""
    return {"experiment": experiment_json(service.store.get_experiment(given.text("experiment_id")))}


def get_experiment_by_name(service: Service, given: Arguments) -> object:
    """An experiment by its name."""
    name = given.text("experiment_name")
    found = service.store.get_experiment_by_name(name)
    if found is None:
        raise NotFound(f"Could not find experiment with name {name!r}.")
    return {"experiment": experiment_json(found)}


def search_experiments(service: Service, given: Arguments) -> object:
    """A page of experiments."""
    found = service.store.search_experiments(
        given.value("view_type", ViewType) or ViewType.ACTIVE_ONLY,
        given.integer("max_results", 1000),
        given.text("filter"),
        given.items("order_by", str),
        given.maybe_text("page_token"),
    )
    return page_json("experiments", list(map(experiment_json, found)), found.token)


def delete_experiment(service: Service, given: Arguments) -> object:
    """Mark an experiment deleted."""
    service.store.delete_experiment(given.text("experiment_id"))
    return {}


def restore_experiment(service: Service, given: Arguments) -> object:
    """Undo that."""
    service.store.restore_experiment(given.text("experiment_id"))
    return {}


def update_experiment(service: Service, given: Arguments) -> object:
    """Rename an experiment."""
    service.store.rename_experiment(given.text("experiment_id"), given.text("new_name"))
    return {}


def set_experiment_tag(service: Service, given: Arguments) -> object:
    """Set a tag."""
    service.store.set_experiment_tag(given.text("experiment_id"), ExperimentTag(given.text("key"), given.text("value")))
    return {}


def delete_experiment_tag(service: Service, given: Arguments) -> object:
    """Delete a tag."""
    service.store.delete_experiment_tag(given.text("experiment_id"), given.text("key"))
    return {}


def search_datasets(service: Service, given: Arguments) -> object:
    """Which datasets the runs of some experiments used: each (experiment, name, digest, context) once."""
    found: dict[tuple[str, str, str, str | None], None] = {}
    for experiment_id in given.items("experiment_ids", str):
        token: str | None = None
        while len(found) < LARGEST_SUMMARY:
            runs = service.store.search_runs([experiment_id], run_view_type=ViewType.ACTIVE_ONLY, page_token=token)
            for run in runs:
                for used in run.inputs.dataset_inputs:
                    context = next((tag.value for tag in used.tags if tag.key == "mlflow.data.context"), None)
                    found[experiment_id, used.dataset.name, used.dataset.digest, context] = None
            token = runs.token
            if token is None:
                break
    summaries = [_summary(*summary) for summary in list(found)[:LARGEST_SUMMARY]]
    return {"dataset_summaries": summaries} if summaries else {}


def _summary(experiment_id: str, name: str, digest: str, context: str | None) -> dict[str, str]:
    summary = {"experiment_id": experiment_id, "name": name, "digest": digest}
    return summary if context is None else summary | {"context": context}


_SEARCH = (
    optional("max_results", INT64),
    optional("page_token", TEXT),
    optional("filter", TEXT),
    optional("order_by", many(TEXT)),
    optional("view_type", VIEW_TYPE),
)

ROUTES = (
    Route(
        "POST",
        f"{_EXPERIMENTS}/create",
        Access.WRITE,
        create_experiment,
        fields=(required("name", TEXT), optional("artifact_location", TEXT), optional("tags", many(EXPERIMENT_TAG))),
        answers=("experiment_id",),
    ),
    Route("GET", f"{_EXPERIMENTS}/get", Access.READ, get_experiment, fields=(_ID,), answers=("experiment",)),
    Route(
        "GET",
        f"{_EXPERIMENTS}/get-by-name",
        Access.READ,
        get_experiment_by_name,
        fields=(required("experiment_name", TEXT),),
        answers=("experiment",),
    ),
    Route(
        "POST",
        f"{_EXPERIMENTS}/search",
        Access.READ,
        search_experiments,
        fields=_SEARCH,
        slow=True,
        answers=("experiments", "next_page_token"),
    ),
    Route(
        "GET",
        f"{_EXPERIMENTS}/search",
        Access.READ,
        search_experiments,
        fields=_SEARCH,
        slow=True,
        answers=("experiments", "next_page_token"),
    ),
    Route("POST", f"{_EXPERIMENTS}/delete", Access.WRITE, delete_experiment, fields=(_ID,), slow=True),
    Route("POST", f"{_EXPERIMENTS}/restore", Access.WRITE, restore_experiment, fields=(_ID,), slow=True),
    Route(
        "POST",
        f"{_EXPERIMENTS}/update",
        Access.WRITE,
        update_experiment,
        fields=(_ID, required("new_name", TEXT)),
    ),
    Route(
        "POST",
        f"{_EXPERIMENTS}/set-experiment-tag",
        Access.WRITE,
        set_experiment_tag,
        fields=(_ID, required("key", TEXT), optional("value", TEXT)),
    ),
    Route(
        "POST",
        f"{_EXPERIMENTS}/delete-experiment-tag",
        Access.WRITE,
        delete_experiment_tag,
        fields=(_ID, required("key", TEXT)),
    ),
    Route(
        "POST",
        f"{_EXPERIMENTS}/search-datasets",
        Access.READ,
        search_datasets,
        fields=(required("experiment_ids", many(TEXT)),),
        slow=True,
        answers=("dataset_summaries",),
    ),
)
"""Below every prefix of the API."""
