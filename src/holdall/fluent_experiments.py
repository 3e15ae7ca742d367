"""Fluent calls about experiments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from holdall.pages import collect
from holdall.session import SESSION
from holdall.stores.entities import Experiment, ExperimentTag, ViewType
from holdall.stores.validation import validate_experiment_tag
from holdall.values import as_tags

__all__ = [
    "create_experiment",
    "delete_experiment",
    "delete_experiment_tag",
    "get_experiment",
    "get_experiment_by_name",
    "restore_experiment",
    "search_experiments",
    "set_experiment",
    "set_experiment_tag",
    "set_experiment_tags",
]


def set_experiment(experiment_name: str | None = None, experiment_id: str | None = None) -> Experiment:
    """Make an experiment the current one, in which `start_run` begins runs, for all threads of this process.

    Args:
        experiment_name: Its name; it is created if missing.
        experiment_id: Its id, instead of the name.

    Raises:
        InvalidParameterValue: Both or neither are given, the experiment is deleted, or the name is not allowed.
        NotFound: There is no experiment with the id.
    """
    return SESSION.choose_experiment(experiment_name, experiment_id)


def create_experiment(name: str, artifact_location: str | None = None, tags: Mapping[str, object] | None = None) -> str:
    """Create an experiment and return its id; the current experiment stays what it is.

    Args:
        name: Any non-empty text of at most 500 characters.
        artifact_location: URI or path for its artifacts; by default below the store's artifact root.
        tags: Its first tags; values become text.

    Raises:
        AlreadyExists: An active or deleted experiment has the name.
        InvalidParameterValue: An argument breaks the rules.
    """
    return SESSION.client().create_experiment(name, artifact_location, tags)


def get_experiment(experiment_id: str) -> Experiment:
    """The experiment with this id, active or deleted.

    Raises:
        NotFound: There is none.
    """
    return SESSION.client().get_experiment(experiment_id)


def get_experiment_by_name(name: str) -> Experiment | None:
    """The experiment of this name, active or deleted, or None."""
    return SESSION.client().get_experiment_by_name(name)


def search_experiments(
    view_type: ViewType = ViewType.ACTIVE_ONLY,
    max_results: int | None = None,
    filter_string: str | None = None,
    order_by: Sequence[str] | None = None,
) -> list[Experiment]:
    """All experiments that a filter finds, the newest first if no order is given.

    Args:
        view_type: Lifecycle stages to look at.
        max_results: Most experiments wanted; None for all.
        filter_string: In the filter language.
        order_by: Clauses such as `name ASC`.

    Raises:
        InvalidParameterValue: An argument is malformed.
    """
    client = SESSION.client()
    return collect(
        lambda size, token: client.search_experiments(view_type, size, filter_string, order_by, token), max_results
    )


def delete_experiment(experiment_id: str) -> None:
    """Mark an active experiment and its runs as deleted.

    Raises:
        NotFound: There is no active experiment with this id.
    """
    SESSION.client().delete_experiment(experiment_id)


def restore_experiment(experiment_id: str) -> None:
    """Undo `delete_experiment`.

    Raises:
        NotFound: There is no deleted experiment with this id.
    """
    SESSION.client().restore_experiment(experiment_id)


def set_experiment_tag(key: str, value: object) -> None:
    """Set a tag of the current experiment; the value becomes text.

    Raises:
        InvalidParameterValue: The tag breaks the rules.
    """
    set_experiment_tags({key: value})


def set_experiment_tags(tags: Mapping[str, object]) -> None:
    """Set tags of the current experiment; values become text.

    Raises:
        InvalidParameterValue: A tag breaks the rules; then none is set.
    """
    checked = [validate_experiment_tag(ExperimentTag(tag.key, tag.value)) for tag in as_tags(tags)]
    client = SESSION.client()
    experiment_id = SESSION.experiment_id(client)
    for tag in checked:
        client.set_experiment_tag(experiment_id, tag.key, tag.value)


def delete_experiment_tag(key: str) -> None:
    """Delete a tag of the current experiment.

    Raises:
        NotFound: It has no such tag.
    """
    client = SESSION.client()
    client.delete_experiment_tag(SESSION.experiment_id(client), key)
