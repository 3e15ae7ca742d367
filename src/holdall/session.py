"""The state behind the fluent calls: configuration, current experiment, active runs."""

from __future__ import annotations

import logging
from threading import RLock

from holdall import environment
from holdall.client import Client
from holdall.configuration import CONFIGURATION, TrackingConfiguration
from holdall.defaults import Target
from holdall.run_stack import OpenRuns
from holdall.stores.entities import Experiment, LifecycleStage
from holdall.stores.errors import AlreadyExists, InvalidParameterValue, NotFound
from holdall.stores.names import DEFAULT_EXPERIMENT_ID

__all__ = ["SESSION", "Session"]

logger = logging.getLogger("holdall")


class Session:
    """What the fluent calls remember between calls, safe to share between threads.

    Args:
        configuration: Says which store they use.

    Attributes:
        configuration: As given.
        runs: The active runs.
    """

    def __init__(self, configuration: TrackingConfiguration) -> None:
        self.configuration = configuration
        self.runs = OpenRuns()
        self._lock = RLock()
        self._chosen: tuple[Target, Experiment] | None = None

    def client(self) -> Client:
        """A client of the configured store."""
        return Client.over(self.configuration.connection())

    def choose_experiment(self, name: str | None, experiment_id: str | None) -> Experiment:
        """Make an experiment the current one of this process, by its name (created if missing) or its id.

        Raises:
            InvalidParameterValue: Both or neither are given, or the experiment is deleted.
            NotFound: There is no experiment with the id.
        """
        if (name is None) == (experiment_id is None):
            raise InvalidParameterValue("set_experiment needs either experiment_name or experiment_id.")
        client = self.client()
        if name is not None:
            experiment = _ensure_experiment(client, name)
        else:
            experiment = _usable(client.get_experiment(experiment_id or ""))
        with self._lock:
            self._chosen = client.target, experiment
        return experiment

    def chosen_experiment_id(self, client: Client) -> str | None:
        """Id, in the client's store, of the experiment that `set_experiment` chose; None if it chose none.

        If another store has been configured since, the experiment of the same name there is meant, and created if
        missing: an id of one store means nothing in another.
        """
        with self._lock:
            if self._chosen is None:
                return None
            target, experiment = self._chosen
            if target != client.target:
                experiment = _ensure_experiment(client, experiment.name)
                self._chosen = client.target, experiment
            return experiment.experiment_id

    def experiment_id(self, client: Client) -> str:
        """Id of the current experiment: as chosen, else by the environment, else `0`.

        Raises:
            InvalidParameterValue: The environment names an experiment that does not exist, is deleted, or two
                different ones.
        """
        return self.chosen_experiment_id(client) or _experiment_id_by_environment(client) or DEFAULT_EXPERIMENT_ID

    def close(self) -> None:
        """End all runs, close all connections, forget everything."""
        self.runs.end_all()
        with self._lock:
            self.runs = OpenRuns()
            self._chosen = None
        self.configuration.close()


def _ensure_experiment(client: Client, name: str) -> Experiment:
    """The active experiment of this name, created if missing; several processes may do so at once."""
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        try:
            experiment_id = client.create_experiment(name)
            logger.info("Experiment %r did not exist and was created with id %s", name, experiment_id)
            return client.get_experiment(experiment_id)
        except AlreadyExists:
            experiment = client.get_experiment_by_name(name)
            if experiment is None:
                raise
    return _usable(experiment)


def _usable(experiment: Experiment) -> Experiment:
    if experiment.lifecycle_stage != LifecycleStage.ACTIVE:
        raise InvalidParameterValue(
            f"The experiment {experiment.name!r} is deleted; restore it with "
            f"holdall.restore_experiment({experiment.experiment_id!r}), or choose another one."
        )
    return experiment


def _experiment_id_by_environment(client: Client) -> str | None:
    name, experiment_id = environment.experiment_name(), environment.experiment_id()
    if experiment_id is None:
        return None if name is None else _ensure_experiment(client, name).experiment_id
    try:
        experiment = client.get_experiment(experiment_id)
    except NotFound as error:
        raise InvalidParameterValue(
            f"MLFLOW_EXPERIMENT_ID names no experiment of {client.target.uri}: {error}"
        ) from error
    if name is not None and name != experiment.name:
        raise InvalidParameterValue(
            f"MLFLOW_EXPERIMENT_ID {experiment_id!r} is the experiment {experiment.name!r}, "
            f"but MLFLOW_EXPERIMENT_NAME is {name!r}; set one of them, or matching ones."
        )
    return experiment.experiment_id


SESSION = Session(CONFIGURATION)
"""The session of this process."""
