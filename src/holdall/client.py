"""`Client`: every call with explicit ids, no active run, no current experiment."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Self

from holdall.artifact_logging import ArtifactLogging
from holdall.batches import log_all
from holdall.configuration import CONFIGURATION
from holdall.connections import Connection
from holdall.defaults import Target
from holdall.stores.backend import BackendStore
from holdall.stores.entities import (
    DatasetInput,
    Experiment,
    ExperimentTag,
    Metric,
    PagedList,
    Param,
    Run,
    RunStatus,
    RunTag,
    ViewType,
)
from holdall.stores.names import PARENT_RUN_TAG
from holdall.stores.uri import StoreURI
from holdall.values import MetricValue, StepValue, TimeValue, as_double, as_step, as_tags, as_timestamp, now

__all__ = ["Client"]


class Client(ArtifactLogging):
    """Experiments, runs and artifacts of one tracking store.

    A client means the store it was made for, whatever `set_tracking_uri` is told later. It may be shared between
    threads and is a context manager; one that is never closed gives its connections back when it is forgotten or at
    exit.

    Args:
        tracking_uri: Store to open for this client alone. None means the store that is configured at this moment; if
            the other arguments are left out too, it is shared with the fluent calls and not closed by `close`.
        artifact_root: Under which new experiments keep artifacts; by default the store's own choice.
        read_only: Refuse writes, and write nothing on opening.

    Raises:
        HoldallError: The store cannot be opened.
    """

    def __init__(
        self,
        tracking_uri: str | os.PathLike[str] | StoreURI | None = None,
        *,
        artifact_root: str | os.PathLike[str] | StoreURI | None = None,
        read_only: bool = False,
    ) -> None:
        self._owns_connection = tracking_uri is not None or artifact_root is not None or read_only
        super().__init__(
            _connect(tracking_uri, artifact_root, read_only) if self._owns_connection else CONFIGURATION.connection()
        )

    @classmethod
    def over(cls, connection: Connection) -> Self:
        """A client of stores that are open already; `close` leaves them alone."""
        client = cls.__new__(cls)
        ArtifactLogging.__init__(client, connection)
        client._owns_connection = False
        return client

    @property
    def store(self) -> BackendStore:
        """The open backend store."""
        return self._connection.store

    @property
    def target(self) -> Target:
        """What was opened."""
        return self._connection.target

    @property
    def tracking_uri(self) -> str:
        """The store's URI with everything needed to open it again, a password included."""
        return self.target.uri.render(hide_password=False)

    def close(self) -> None:
        """Close the stores, if they were opened for this client alone; closing again does nothing."""
        if self._owns_connection:
            self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Client of {self.target.uri}>"

    # Experiments

    def create_experiment(
        self, name: str, artifact_location: str | None = None, tags: Mapping[str, object] | None = None
    ) -> str:
        """Create an experiment and return its id.

        Args:
            name: Any non-empty text of at most 500 characters.
            artifact_location: URI or path for its artifacts; by default below the store's artifact root.
            tags: Its first tags; values become text.

        Raises:
            AlreadyExists: An active or deleted experiment has the name.
            InvalidParameterValue: An argument breaks the rules.
        """
        return self.store.create_experiment(
            name, artifact_location, [ExperimentTag(t.key, t.value) for t in as_tags(tags)]
        )

    def get_experiment(self, experiment_id: str) -> Experiment:
        """The experiment with this id, active or deleted.

        Raises:
            NotFound: There is none.
        """
        return self.store.get_experiment(experiment_id)

    def get_experiment_by_name(self, name: str) -> Experiment | None:
        """The experiment of this name, active or deleted, or None."""
        return self.store.get_experiment_by_name(name)

    def search_experiments(
        self,
        view_type: ViewType = ViewType.ACTIVE_ONLY,
        max_results: int = 1000,
        filter_string: str | None = None,
        order_by: Sequence[str] | None = None,
        page_token: str | None = None,
    ) -> PagedList[Experiment]:
        """A page of the experiments that a filter finds; see `BackendStore.search_experiments`."""
        return self.store.search_experiments(view_type, max_results, filter_string, order_by, page_token)

    def rename_experiment(self, experiment_id: str, new_name: str) -> None:
        """Give an active experiment another name.

        Raises:
            AlreadyExists: Another experiment has the name.
            NotFound: There is no such experiment.
        """
        self.store.rename_experiment(experiment_id, new_name)

    def delete_experiment(self, experiment_id: str) -> None:
        """Mark an active experiment and its runs as deleted.

        Raises:
            NotFound: There is no active experiment with this id.
        """
        self.store.delete_experiment(experiment_id)

    def restore_experiment(self, experiment_id: str) -> None:
        """Undo `delete_experiment`.

        Raises:
            NotFound: There is no deleted experiment with this id.
        """
        self.store.restore_experiment(experiment_id)

    def set_experiment_tag(self, experiment_id: str, key: str, value: object) -> None:
        """Set a tag of an experiment; the value becomes text.

        Raises:
            NotFound: There is no such experiment.
        """
        self.store.set_experiment_tag(experiment_id, ExperimentTag(key, str(value)))

    def delete_experiment_tag(self, experiment_id: str, key: str) -> None:
        """Delete a tag of an experiment.

        Raises:
            NotFound: There is no such experiment or tag.
        """
        self.store.delete_experiment_tag(experiment_id, key)

    # Runs

    def create_run(
        self,
        experiment_id: str,
        start_time: int | None = None,
        tags: Mapping[str, object] | None = None,
        run_name: str | None = None,
    ) -> Run:
        """Create a run with status RUNNING, without the system tags of `holdall.start_run`.

        Args:
            experiment_id: An active experiment.
            start_time: Milliseconds; None and 0 mean now.
            tags: First tags; values become text. `mlflow.user` also says whose run it is.
            run_name: Its name, by default the tag `mlflow.runName`, else a random one.

        Raises:
            NotFound: There is no such experiment.
            InvalidParameterValue: It is deleted, or an argument breaks the rules.
        """
        return self.store.create_run(experiment_id, None, start_time or None, as_tags(tags), run_name)

    def get_run(self, run_id: str) -> Run:
        """The run with this id, active or deleted.

        Raises:
            NotFound: There is none.
        """
        return self.store.get_run(run_id)

    def get_parent_run(self, run_id: str) -> Run | None:
        """The run that the tag `mlflow.parentRunId` names, or None.

        Raises:
            NotFound: There is no such run, or its parent is gone.
        """
        parent_id = self.store.get_run(run_id).data.tags.get(PARENT_RUN_TAG)
        return None if parent_id is None else self.store.get_run(parent_id)

    def update_run(self, run_id: str, status: str | None = None, name: str | None = None) -> None:
        """Change the status or the name of an active run.

        Raises:
            NotFound: There is no such run.
            InvalidParameterValue: It is deleted, or an argument breaks the rules.
        """
        self.store.update_run_info(run_id, status, None, name)

    def set_terminated(self, run_id: str, status: str | None = None, end_time: int | None = None) -> None:
        """End a run.

        Args:
            run_id: The run.
            status: By default FINISHED.
            end_time: Milliseconds, by default now.

        Raises:
            NotFound: There is no such run.
            InvalidParameterValue: It is deleted, or an argument breaks the rules.
        """
        self.store.update_run_info(
            run_id, RunStatus.FINISHED if status is None else status, now() if end_time is None else end_time
        )

    def delete_run(self, run_id: str) -> None:
        """Mark a run as deleted.

        Raises:
            NotFound: There is no such run.
        """
        self.store.delete_run(run_id)

    def restore_run(self, run_id: str) -> None:
        """Undo `delete_run`.

        Raises:
            NotFound: There is no such run.
        """
        self.store.restore_run(run_id)

    def search_runs(
        self,
        experiment_ids: Sequence[str],
        filter_string: str | None = "",
        run_view_type: ViewType = ViewType.ACTIVE_ONLY,
        max_results: int = 1000,
        order_by: Sequence[str] | None = None,
        page_token: str | None = None,
    ) -> PagedList[Run]:
        """A page of the runs that a filter finds; see `BackendStore.search_runs`."""
        return self.store.search_runs(experiment_ids, filter_string, run_view_type, max_results, order_by, page_token)

    def get_metric_history(self, run_id: str, key: str) -> list[Metric]:
        """All points of a metric by timestamp, step, value; none for a metric that was never logged.

        Raises:
            NotFound: There is no such run.
        """
        return self.store.get_metric_history(run_id, key)

    # The data of runs

    def log_metric(
        self,
        run_id: str,
        key: str,
        value: MetricValue,
        timestamp: TimeValue | None = None,
        step: StepValue | None = None,
    ) -> None:
        """Log one point of a metric.

        Args:
            run_id: The run.
            key: Name of the metric.
            value: A number of any kind, numeric text, or an array or tensor of one element.
            timestamp: Milliseconds since the epoch, by default now.
            step: Whole number, by default 0.

        Raises:
            NotFound: There is no such run.
            InvalidParameterValue: It is deleted, or an argument breaks the rules.
        """
        time = now() if timestamp is None else as_timestamp(timestamp, key)
        self.store.log_metric(run_id, Metric(key, as_double(value, key), time, as_step(step, key)))

    def log_param(self, run_id: str, key: str, value: object) -> None:
        """Log a param; the value becomes text, and the text it has already is accepted.

        Raises:
            NotFound: There is no such run.
            InvalidParameterValue: It has another value, the run is deleted, or an argument breaks the rules.
        """
        self.store.log_param(run_id, Param(key, str(value)))

    def set_tag(self, run_id: str, key: str, value: object) -> None:
        """Set a tag; the value becomes text.

        Raises:
            NotFound: There is no such run.
            InvalidParameterValue: It is deleted, or an argument breaks the rules.
        """
        self.store.set_tag(run_id, RunTag(key, str(value)))

    def delete_tag(self, run_id: str, key: str) -> None:
        """Delete a tag.

        Raises:
            NotFound: There is no such run or tag.
            InvalidParameterValue: The run is deleted.
        """
        self.store.delete_tag(run_id, key)

    def log_batch(
        self,
        run_id: str,
        metrics: Iterable[Metric] = (),
        params: Iterable[Param] = (),
        tags: Iterable[RunTag] = (),
    ) -> None:
        """Log any number of metrics, params and tags; up to 1000 in all (100 params, 100 tags) are written as one.

        More are checked as a whole first, so that an entity that breaks a rule keeps all of them from being written.

        Raises:
            NotFound: There is no such run.
            InvalidParameterValue: A param would change, the run is deleted, or an entity breaks the rules.
        """
        log_all(self.store, run_id, metrics, params, tags)

    def log_inputs(self, run_id: str, datasets: Iterable[DatasetInput]) -> None:
        """Record which datasets a run used.

        Raises:
            NotFound: There is no such run.
            InvalidParameterValue: It is deleted, or a dataset breaks the rules.
        """
        self.store.log_inputs(run_id, datasets)


def _connect(
    tracking_uri: str | os.PathLike[str] | StoreURI | None,
    artifact_root: str | os.PathLike[str] | StoreURI | None,
    read_only: bool,
) -> Connection:
    target = CONFIGURATION.target() if tracking_uri is None else Target(StoreURI.parse(tracking_uri).absolute())
    if artifact_root is not None:
        target = Target(target.uri, StoreURI.parse(artifact_root).absolute())
    return Connection(target, read_only=read_only)
