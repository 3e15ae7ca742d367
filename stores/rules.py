"""Errors and decisions that every backend shares, so that they read and rule alike."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from urllib.parse import quote

from holdall.stores.entities import Experiment, LifecycleStage, Param
from holdall.stores.errors import AlreadyExists, InvalidParameterValue, NotFound
from holdall.stores.uri import StoreURI

__all__ = [
    "check_model_params",
    "check_params",
    "experiment_exists",
    "experiment_not_found",
    "indistinct",
    "model_artifact_location",
    "model_not_found",
    "require_active_experiment",
    "require_active_run",
    "require_experiment",
    "run_artifact_uri",
    "run_not_found",
    "tag_not_found",
]


def experiment_not_found(experiment_id: str) -> NotFound:
    """No experiment has this id."""
    return NotFound(f"No experiment with id {experiment_id!r} exists.")


def experiment_exists(name: str, *, deleted: bool) -> AlreadyExists:
    """The name is taken."""
    if deleted:
        return AlreadyExists(
            f"Experiment {name!r} already exists in deleted state; restore it, or choose another name."
        )
    return AlreadyExists(f"Experiment {name!r} already exists.")


def run_not_found(run_id: str) -> NotFound:
    """No run has this id."""
    return NotFound(f"Run {run_id!r} not found.")


def model_not_found(model_id: str) -> NotFound:
    """No logged model has this id, or it is deleted."""
    return NotFound(f"Logged model {model_id!r} not found.")


def tag_not_found(key: str, owner: str) -> NotFound:
    """A tag to delete is not there; `owner` is for example `run 'abc'`."""
    return NotFound(f"No tag with name {key!r} in {owner}.")


def indistinct(what: str, key: str) -> InvalidParameterValue:
    """The store cannot keep a name beside another of the run's `what`."""
    return InvalidParameterValue(
        f"This store does not tell {key!r} from another of the run's {what}, which differs in letter case, accents or "
        "trailing blanks only; choose another name. Nothing was written."
    )


def require_experiment(experiment: Experiment | None, experiment_id: str, stage: LifecycleStage) -> Experiment:
    """The experiment, if it exists in this lifecycle stage.

    Raises:
        NotFound: It does not exist, or is in the other stage.
    """
    if experiment is None:
        raise experiment_not_found(experiment_id)
    if experiment.lifecycle_stage != stage:
        raise NotFound(f"No {stage} experiment with id {experiment_id!r} exists: it is {experiment.lifecycle_stage}.")
    return experiment


def require_active_experiment(experiment: Experiment | None, experiment_id: str) -> Experiment:
    """The experiment, if it may be changed.

    Raises:
        NotFound: It does not exist.
        InvalidParameterValue: It is deleted.
    """
    if experiment is None:
        raise experiment_not_found(experiment_id)
    if experiment.lifecycle_stage != LifecycleStage.ACTIVE:
        raise InvalidParameterValue(
            f"The experiment {experiment_id!r} must be in the 'active' state, but is deleted; restore it first."
        )
    return experiment


def require_active_run(stage: str | None, run_id: str) -> None:
    """Check that a run may be changed.

    Args:
        stage: The run's lifecycle stage, or None when there is no such run.
        run_id: For the message.

    Raises:
        NotFound: There is no such run.
        InvalidParameterValue: The run is deleted.
    """
    if stage is None:
        raise run_not_found(run_id)
    if stage != LifecycleStage.ACTIVE:
        raise InvalidParameterValue(
            f"The run {run_id!r} must be in the 'active' state, but is deleted; restore it first."
        )


def check_params(run_id: str, known: dict[str, str], params: Iterable[Param]) -> list[Param]:
    """The params that are new; the others must have the value they were logged with.

    Raises:
        InvalidParameterValue: A param would change.
    """
    fresh = []
    for param in params:
        value = known.get(param.key)
        if value is None:
            fresh.append(param)
        elif value != param.value:
            raise _param_changed(f"run {run_id!r}", param.key, value, param.value)
    return fresh


def check_model_params(model_id: str, known: Mapping[str, str], params: Mapping[str, str]) -> dict[str, str]:
    """The params of a logged model that are new; the others must have the value they were logged with.

    Raises:
        InvalidParameterValue: A param would change.
    """
    for key, value in params.items():
        if known.get(key, value) != value:
            raise _param_changed(f"logged model {model_id!r}", key, known[key], value)
    return {key: value for key, value in params.items() if key not in known}


def _param_changed(owner: str, key: str, value: str, attempted: str) -> InvalidParameterValue:
    return InvalidParameterValue(
        f"Changing param values is not allowed: {key!r} of {owner} was logged with value {_excerpt(value)!r}, "
        f"attempted new value {_excerpt(attempted)!r}. Nothing was written."
    )


def _excerpt(text: str) -> str:
    return text if len(text) <= 200 else text[:200] + "…"


def model_artifact_location(experiment_location: str, model_id: str) -> str:
    """Where a logged model keeps its artifacts: `<experiment location>/models/<model id>/artifacts`."""
    location = StoreURI.parse(experiment_location).join("models", model_id, "artifacts")
    return location.render(hide_password=False)


def run_artifact_uri(experiment_location: str, run_id: str) -> str:
    """Where a run keeps its artifacts: `<experiment location>/<run id>/artifacts`."""
    before, after = _around_run_id(experiment_location)
    return f"{before}{quote(run_id, safe='')}{after}" if not run_id.isascii() else f"{before}{run_id}{after}"


@lru_cache(maxsize=256)
def _around_run_id(location: str) -> tuple[str, str]:
    """What comes before and after the run id: a location is parsed once, not for every run."""
    stand_in = "run"
    rendered = StoreURI.parse(location).join(stand_in, "artifacts").render(hide_password=False)
    before, _, after = rendered.rpartition(f"/{stand_in}/artifacts")
    return f"{before}/", f"/artifacts{after}"
