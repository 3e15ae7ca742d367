"""Opening what a command names: a store for reading, an experiment."""

from __future__ import annotations

from holdall.pages import collect
from holdall.stores import open_backend_store
from holdall.stores.backend import BackendStore
from holdall.stores.entities import Experiment, ViewType
from holdall.stores.errors import InvalidParameterValue, NotFound

__all__ = ["all_experiments", "find_experiment", "open_for_reading"]


def open_for_reading(uri: str | None) -> BackendStore:
    """Open a store, by default the one that the fluent calls use, so that nothing is written and nothing created."""
    if uri is not None:
        return open_backend_store(uri, read_only=True)
    from holdall.configuration import CONFIGURATION

    target = CONFIGURATION.target()
    try:
        return open_backend_store(target.uri, read_only=True)
    except NotFound as error:
        raise NotFound(f"{error.message} Name a store with --store or MLFLOW_TRACKING_URI.") from error


def find_experiment(store: BackendStore, text: str) -> Experiment:
    """The experiment of this name, else the one with this id.

    Raises:
        NotFound: There is neither.
    """
    named = store.get_experiment_by_name(text)
    if named is not None:
        return named
    try:
        return store.get_experiment(text)
    except (NotFound, InvalidParameterValue):
        raise NotFound(
            f"There is no experiment with the name or id {text!r} in {store.uri}; list them: holdall experiments list"
        ) from None


def all_experiments(store: BackendStore, view: ViewType) -> list[Experiment]:
    """Every experiment in view."""
    return collect(lambda limit, token: store.search_experiments(view, max_results=limit, page_token=token), None)
