"""The experiment that the demo logs to."""

from __future__ import annotations

from itertools import count

import holdall
from holdall.stores.entities import Experiment
from holdall.stores.uri import StoreURI

__all__ = ["EXPERIMENT", "select_experiment"]

EXPERIMENT = "holdall-digits-classification"
"""Named as project-data-task."""


def select_experiment(artifacts: str | None) -> Experiment:
    """Find or create the experiment and make it the current one.

    An experiment keeps its artifacts in one place for ever. If the one that is there keeps them elsewhere than asked
    for, or is deleted, the next free name is taken: `…-2`, `…-3`.

    Args:
        artifacts: URI or path under which its runs keep artifacts; None for the store's own choice.

    Raises:
        InvalidParameterValue: `artifacts` is malformed.
    """
    root = None if artifacts is None else StoreURI.parse(artifacts).absolute()
    for number in count(1):
        name = EXPERIMENT if number == 1 else f"{EXPERIMENT}-{number}"
        location = None if root is None else root.join(name).render(hide_password=False)
        found = holdall.get_experiment_by_name(name)
        if found is None:
            holdall.create_experiment(name, artifact_location=location)
        elif found.lifecycle_stage != "active" or (location is not None and found.artifact_location != location):
            continue
        return holdall.set_experiment(name)
    raise AssertionError("unreachable")
