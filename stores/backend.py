"""`BackendStore`: the contract of a store of experiments and runs."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext

from holdall.stores import validation
from holdall.stores.base import Store
from holdall.stores.capabilities import Capabilities
from holdall.stores.clock import now_ms
from holdall.stores.entities import (
    DatasetInput,
    Experiment,
    ExperimentTag,
    LifecycleStage,
    Metric,
    PagedList,
    Param,
    Run,
    RunData,
    RunInfo,
    RunStatus,
    RunTag,
    ViewType,
)
from holdall.stores.errors import InvalidParameterValue
from holdall.stores.names import RUN_NAME_TAG, USER_TAG, new_run_id, new_run_name
from holdall.stores.paging import decode_token, fingerprint, make_page
from holdall.stores.points import evenly_spaced, history_key
from holdall.stores.problems import Problem
from holdall.stores.queries import ExperimentQuery, HistoryQuery, RunQuery
from holdall.stores.rules import experiment_not_found, run_not_found
from holdall.stores.search import (
    experiment_sort_key,
    parse_experiment_filter,
    parse_experiment_order_by,
    parse_run_filter,
    parse_run_order_by,
    run_sort_key,
)
from holdall.stores.uri import StoreURI

__all__ = ["BackendStore"]


class BackendStore(Store):
    """Experiments, runs, params, metrics, tags, inputs, and the search over them.

    **Three surfaces.** Users call the public methods. They validate, parse and page here, once for all stores, and then
    call the hooks: the methods whose names begin with an underscore, which are all that a backend implements. Hooks
    marked as derived work as they are and may be overridden for speed. A hook gets valid arguments only, never checks
    `read_only`, and raises the errors of `holdall.stores.rules`.

    **Threads and processes.** A store may be shared between threads. Where `capabilities.multi_process` is set, any
    number of processes may use the same storage at once, and may open it for the first time at once.

    **Visibility.** A call sees everything that calls finished before it have written, in whatever thread, and in
    whatever process where `multi_process` is set. Each read is a consistent view of one moment. Pages of one search are
    different moments, but a row that stays where it is in the ordering is neither skipped nor repeated.

    **Durability.** Where `capabilities.crash_safe` is set, what a call wrote survives the death of the process once the
    call has returned; a call that was interrupted is wholly there or not at all. What survives a power failure is said
    by each store.

    **Repeating.** Every method but `create_run` may be repeated after an error without harm: metric points are a set,
    params keep their value, tags and states are overwritten with what they are.

    **Not promised.** Isolation between the pages of a search, order between threads, deletion for good.

    Args:
        uri: What was opened, parsed.
        artifact_root: Under which new experiments keep artifacts; None for the store's own choice.
        read_only: Refuse every write with `ReadOnly`, and write nothing on opening.

    Attributes:
        uri: What was opened.
        artifact_root: Parent of the default artifact locations, absolute.
        read_only: Whether writes are refused.
        created: Whether opening it created the store.
    """

    def __init__(self, uri: StoreURI, *, artifact_root: StoreURI | None = None, read_only: bool = False) -> None:
        super().__init__(uri, read_only=read_only)
        self.artifact_root = (artifact_root or self._default_artifact_root()).absolute()
        self.created = False

    def group_calls(self) -> AbstractContextManager[None]:
        """Let the calls of this thread in the block become durable together at its end, where that is quicker.

        Each is still done wholly or not at all, and sees what those before it have done. Nobody is to be told that one
        is done before the block has ended; if it ends with an error, none is.
        """
        return nullcontext()

    def describe(self) -> dict[str, str]:
        """Facts about the opened store for people, as `holdall info` shows them: name → text. Derived; extend it."""
        return {
            **super().describe(),
            "artifact root": str(self.artifact_root),
            "created": "now" if self.created else "before",
        }

    def find_problems(self) -> list[Problem]:
        """Look through everything for items that are wrong; nothing is changed.

        Reading passes over such items, with a warning in the log. What is found here is all of them, by path.
        """
        self._check_open()
        return self._find_problems()

    # What users call: experiments

    def create_experiment(
        self, name: str, artifact_location: str | None = None, tags: Iterable[ExperimentTag] = ()
    ) -> str:
        """Create an experiment and return its id.

        Args:
            name: Any non-empty text of at most 500 characters, unique among active and deleted experiments.
            artifact_location: URI or path for its artifacts; by default `<artifact root>/<id>`. A relative path is made
                absolute.
            tags: Its first tags.

        Raises:
            AlreadyExists: The name is taken. Of N concurrent creations one succeeds.
            InvalidParameterValue: A name, tag or location breaks the rules.
        """
        self._check_writable()
        validation.validate_experiment_name(name)
        location = None if artifact_location is None else validation.validate_artifact_location(artifact_location)
        labels = validation.validate_items(tags, "tags")
        checked = {tag.key: tag.value for tag in map(validation.validate_experiment_tag, labels)}

        def locate(experiment_id: str) -> str:
            return location or self.artifact_root.join(experiment_id).render(hide_password=False)

        return self._create_experiment(name, locate, checked, now_ms())

    def get_experiment(self, experiment_id: str) -> Experiment:
        """The experiment with this id, active or deleted.

        Raises:
            NotFound: There is none.
        """
        self._check_open()
        experiment = self._get_experiment(validation.validate_experiment_id(experiment_id))
        if experiment is None:
            raise experiment_not_found(experiment_id)
        return experiment

    def get_experiment_by_name(self, name: str) -> Experiment | None:
        """The experiment of this name, active or deleted, or None."""
        self._check_open()
        return self._get_experiment_by_name(validation.validate_experiment_name(name))

    def rename_experiment(self, experiment_id: str, new_name: str) -> None:
        """Give an active experiment another name; its own name is accepted.

        Raises:
            AlreadyExists: Another experiment has the name.
            InvalidParameterValue: The experiment is deleted, or the name breaks the rules.
            NotFound: There is no such experiment.
        """
        self._check_writable()
        validation.validate_experiment_id(experiment_id)
        self._rename_experiment(experiment_id, validation.validate_experiment_name(new_name), now_ms())

    def delete_experiment(self, experiment_id: str) -> None:
        """Mark an active experiment and its active runs as deleted. Its name stays taken.

        Raises:
            NotFound: There is no active experiment with this id.
        """
        self._check_writable()
        self._delete_experiment(validation.validate_experiment_id(experiment_id), now_ms())

    def restore_experiment(self, experiment_id: str) -> None:
        """Undo `delete_experiment`: runs that were deleted by hand before it stay deleted.

        Raises:
            NotFound: There is no deleted experiment with this id.
        """
        self._check_writable()
        self._restore_experiment(validation.validate_experiment_id(experiment_id), now_ms())

    def set_experiment_tag(self, experiment_id: str, tag: ExperimentTag) -> None:
        """Set a tag of an active experiment, overwriting it.

        Raises:
            InvalidParameterValue: The experiment is deleted, or key or value break the rules.
            NotFound: There is no such experiment.
        """
        self._check_writable()
        validation.validate_experiment_id(experiment_id)
        self._set_experiment_tag(experiment_id, validation.validate_experiment_tag(tag), now_ms())

    def delete_experiment_tag(self, experiment_id: str, key: str) -> None:
        """Delete a tag of an active experiment.

        Raises:
            InvalidParameterValue: The experiment is deleted.
            NotFound: There is no such experiment or tag.
        """
        self._check_writable()
        validation.validate_experiment_id(experiment_id)
        self._delete_experiment_tag(experiment_id, validation.validate_key(key), now_ms())

    def search_experiments(
        self,
        view_type: ViewType = ViewType.ACTIVE_ONLY,
        max_results: int = 1000,
        filter_string: str | None = "",
        order_by: Sequence[str] | None = (),
        page_token: str | None = None,
    ) -> PagedList[Experiment]:
        """A page of the experiments that a filter finds.

        Args:
            view_type: Lifecycle stages to look at.
            max_results: Page size, 1 … 50000.
            filter_string: In the filter language; empty finds all.
            order_by: Clauses such as `name ASC`; by default the newest first.
            page_token: `token` of the page before.

        Raises:
            InvalidParameterValue: An argument is malformed, or the token belongs to another query.
        """
        self._check_open()
        view = validation.validate_view_type(view_type)
        limit = validation.validate_max_results(max_results, validation.MAX_SEARCH_RESULTS)
        clauses, ordering = parse_experiment_filter(filter_string), parse_experiment_order_by(order_by or ())
        mark = fingerprint("experiments", view, clauses, ordering)
        after = decode_token(mark, page_token, len(ordering))
        found = self._search_experiments(ExperimentQuery(clauses, ordering, view, limit + 1, after))
        return make_page(found, limit, mark, lambda experiment: experiment_sort_key(experiment, ordering))

    # What users call: runs

    def create_run(
        self,
        experiment_id: str,
        user_id: str | None = None,
        start_time: int | None = None,
        tags: Iterable[RunTag] = (),
        run_name: str | None = None,
    ) -> Run:
        """Start a run in an active experiment.

        Args:
            experiment_id: The experiment.
            user_id: Who; by default the tag `mlflow.user`, else `unknown`.
            start_time: Milliseconds; by default now.
            tags: Its first tags.
            run_name: Its name; by default the tag `mlflow.runName`, else a random one. Name and tag are kept equal.

        Returns:
            The run, with status RUNNING and a new id.

        Raises:
            InvalidParameterValue: The experiment is deleted, name and name tag differ, or an argument breaks the rules.
            NotFound: There is no such experiment.
        """
        self._check_writable()
        validation.validate_experiment_id(experiment_id)
        checked = validation.validate_run_tags(tags)
        name = _initial_run_name(run_name, checked)
        checked[RUN_NAME_TAG] = name
        user = checked.get(USER_TAG, "unknown") if user_id is None else user_id
        info = RunInfo(
            run_id=new_run_id(),
            experiment_id=experiment_id,
            run_name=name,
            user_id=validation.validate_text(user, "user_id", validation.MAX_USER_LENGTH),
            status=RunStatus.RUNNING.value,
            start_time=now_ms() if start_time is None else validation.validate_timestamp(start_time, "start_time"),
            end_time=None,
            lifecycle_stage=LifecycleStage.ACTIVE.value,
            artifact_uri="",
        )
        return self._create_run(Run(info, RunData(tags=checked)))

    def get_run(self, run_id: str) -> Run:
        """The run with this id, active or deleted, with the latest value of each metric.

        Raises:
            NotFound: There is none.
        """
        self._check_open()
        run = self._get_run(validation.validate_run_id(run_id))
        if run is None:
            raise run_not_found(run_id)
        return run

    def update_run_info(
        self, run_id: str, status: str | None = None, end_time: int | None = None, run_name: str | None = None
    ) -> RunInfo:
        """Change status, end time or name of an active run; None leaves a field alone, so does an empty name.

        Raises:
            InvalidParameterValue: The run is deleted, or an argument breaks the rules.
            NotFound: There is no such run.
        """
        self._check_writable()
        return self._update_run_info(
            validation.validate_run_id(run_id),
            None if status is None else validation.validate_run_status(status),
            None if end_time is None else validation.validate_timestamp(end_time, "end_time"),
            (None if run_name is None else validation.validate_run_name(run_name)) or None,
        )

    def delete_run(self, run_id: str) -> None:
        """Mark a run as deleted; a deleted one stays as it is.

        Raises:
            NotFound: There is no such run.
        """
        self._check_writable()
        self._delete_run(validation.validate_run_id(run_id), now_ms())

    def restore_run(self, run_id: str) -> None:
        """Undo `delete_run`; an active run stays as it is.

        Raises:
            NotFound: There is no such run.
        """
        self._check_writable()
        self._restore_run(validation.validate_run_id(run_id))

    def search_runs(
        self,
        experiment_ids: Sequence[str],
        filter_string: str | None = "",
        run_view_type: ViewType = ViewType.ACTIVE_ONLY,
        max_results: int = 1000,
        order_by: Sequence[str] | None = (),
        page_token: str | None = None,
    ) -> PagedList[Run]:
        """A page of the runs that a filter finds.

        Args:
            experiment_ids: Where to look; unknown ids hold nothing.
            filter_string: In the filter language; empty finds all.
            run_view_type: Lifecycle stages to look at.
            max_results: Page size, 1 … 50000.
            order_by: Clauses such as `metrics.loss ASC`; missing values and NaN come last either way. By default the
                latest start first.
            page_token: `token` of the page before.

        Raises:
            InvalidParameterValue: An argument is malformed, or the token belongs to another query.
        """
        self._check_open()
        ids = validation.validate_experiment_ids(experiment_ids)
        view = validation.validate_view_type(run_view_type)
        limit = validation.validate_max_results(max_results, validation.MAX_SEARCH_RESULTS)
        clauses, ordering = parse_run_filter(filter_string), parse_run_order_by(order_by or ())
        mark = fingerprint("runs", sorted(ids), view, clauses, ordering)
        after = decode_token(mark, page_token, len(ordering))
        found = self._search_runs(RunQuery(ids, clauses, ordering, view, limit + 1, after)) if ids else []
        return make_page(found, limit, mark, lambda run: run_sort_key(run, ordering))

    # What users call: the data of runs

    def log_metric(self, run_id: str, metric: Metric) -> None:
        """Log one metric point; a point that is there already changes nothing.

        Raises:
            InvalidParameterValue: The run is deleted, or the point breaks the rules.
            NotFound: There is no such run.
        """
        self._check_writable()
        if not isinstance(metric, Metric):
            raise InvalidParameterValue(f"metric must be a Metric, got {type(metric).__name__}.")
        self._log_metric(validation.validate_run_id(run_id), validation.validate_metric(metric))

    def log_param(self, run_id: str, param: Param) -> None:
        """Log a param; the value that it has already is accepted.

        Raises:
            InvalidParameterValue: It has another value, the run is deleted, or key or value break the rules.
            NotFound: There is no such run.
        """
        self._check_writable()
        if not isinstance(param, Param):
            raise InvalidParameterValue(f"param must be a Param, got {type(param).__name__}.")
        self._log_param(validation.validate_run_id(run_id), validation.validate_param(param))

    def set_tag(self, run_id: str, tag: RunTag) -> None:
        """Set a tag, overwriting it; `mlflow.runName` renames the run.

        Raises:
            InvalidParameterValue: The run is deleted, or key or value break the rules.
            NotFound: There is no such run.
        """
        self._check_writable()
        if not isinstance(tag, RunTag):
            raise InvalidParameterValue(f"tag must be a RunTag, got {type(tag).__name__}.")
        validation.validate_run_tag(tag)
        if tag.key == RUN_NAME_TAG:
            validation.validate_run_name(tag.value)
        self._set_tag(validation.validate_run_id(run_id), tag)

    def delete_tag(self, run_id: str, key: str) -> None:
        """Delete a tag; deleting `mlflow.runName` leaves the name.

        Raises:
            InvalidParameterValue: The run is deleted.
            NotFound: There is no such run or tag.
        """
        self._check_writable()
        self._delete_tag(validation.validate_run_id(run_id), validation.validate_key(key))

    def log_batch(
        self, run_id: str, metrics: Iterable[Metric] = (), params: Iterable[Param] = (), tags: Iterable[RunTag] = ()
    ) -> None:
        """Log metrics, params and tags at once: all of them or none.

        Args:
            run_id: The run.
            metrics: At most 1000.
            params: At most 100, with different keys.
            tags: At most 100; of equal keys the last counts. At most 1000 entities in all.

        Raises:
            InvalidParameterValue: A param would change, the run is deleted, a limit is passed, or an entity breaks the
                rules; nothing was written.
            NotFound: There is no such run.
        """
        self._check_writable()
        validation.validate_run_id(run_id)
        metrics = list(validation.validate_items(metrics, "metrics"))
        params = list(validation.validate_items(params, "params"))
        tags = list(validation.validate_items(tags, "tags"))
        validation.check_batch_limits(metrics, params, tags)
        points, inputs, labels = (
            validation.validate_metrics(metrics),
            validation.validate_params(params),
            validation.validate_run_tags(tags),
        )
        if RUN_NAME_TAG in labels:
            validation.validate_run_name(labels[RUN_NAME_TAG])
        if points or inputs or labels:
            self._log_batch(run_id, points, inputs, labels)
        else:
            self.get_run(run_id)

    def log_inputs(self, run_id: str, datasets: Iterable[DatasetInput]) -> None:
        """Record which datasets a run used.

        A dataset is unique in an experiment by (name, digest); the first one written stays. The same dataset again for
        the same run changes nothing, tags included.

        Raises:
            InvalidParameterValue: The run is deleted, or a dataset breaks the limits.
            NotFound: There is no such run.
        """
        self._check_writable()
        validation.validate_run_id(run_id)
        checked = [
            validation.validate_dataset_input(item, f"datasets[{index}]")
            for index, item in enumerate(validation.validate_items(datasets, "datasets"))
        ]
        if checked:
            self._log_inputs(run_id, checked)
        else:
            self.get_run(run_id)

    def get_metric_history(
        self, run_id: str, key: str, max_results: int | None = None, page_token: str | None = None
    ) -> PagedList[Metric]:
        """All points of a metric, by timestamp, step, value; none for a metric that was never logged.

        Args:
            run_id: The run, active or deleted.
            key: The metric.
            max_results: Page size; None for all points at once.
            page_token: `token` of the page before.

        Raises:
            InvalidParameterValue: An argument is malformed.
            NotFound: There is no such run.
        """
        self._check_open()
        validation.validate_run_id(run_id)
        validation.validate_key(key)
        limit = None if max_results is None else validation.validate_max_results(max_results, 2**31)
        mark = fingerprint("history", run_id, key)
        after = decode_token(mark, page_token, 4)
        points = self._get_metric_history(HistoryQuery(run_id, key, None if limit is None else limit + 1, after))
        if points is None:
            raise run_not_found(run_id)
        return make_page(points, limit, mark, history_key)

    def sample_metric_history(self, run_id: str, key: str, max_points: int) -> list[Metric]:
        """Points spread evenly over a metric's history, for a curve: in its order, the first and the last among them.

        Args:
            run_id: The run, active or deleted.
            key: The metric.
            max_points: How many to return, at least 1; all if there are no more. A single one is the last.

        Raises:
            InvalidParameterValue: An argument is malformed.
            NotFound: There is no such run.
        """
        self._check_open()
        validation.validate_run_id(run_id)
        validation.validate_key(key)
        points = self._sample_metric_history(run_id, key, validation.validate_max_results(max_points, 2**31))
        if points is None:
            raise run_not_found(run_id)
        return points

    # What a backend implements

    @property
    @abstractmethod
    def capabilities(self) -> Capabilities:
        """What this store can do; constant while it is open."""

    @abstractmethod
    def _create_experiment(self, name: str, locate: Callable[[str], str], tags: dict[str, str], time: int) -> str:
        """Insert an active experiment and return its new id.

        Args:
            name: Raise `experiment_exists` if it is taken, also under concurrency.
            locate: Gives the artifact location for the id that was chosen.
            tags: Values by key.
            time: Creation and last update time.
        """

    @abstractmethod
    def _get_experiment(self, experiment_id: str) -> Experiment | None:
        """The experiment in whatever stage, or None."""

    @abstractmethod
    def _get_experiment_by_name(self, name: str) -> Experiment | None:
        """The experiment in whatever stage, or None; names compare by code point."""

    @abstractmethod
    def _rename_experiment(self, experiment_id: str, new_name: str, time: int) -> None:
        """Rename; check with `require_active_experiment`, and raise `experiment_exists`."""

    @abstractmethod
    def _delete_experiment(self, experiment_id: str, time: int) -> None:
        """Mark the experiment and its active runs deleted, in a way that `_restore_experiment` can undo exactly."""

    @abstractmethod
    def _restore_experiment(self, experiment_id: str, time: int) -> None:
        """Undo `_delete_experiment`."""

    @abstractmethod
    def _set_experiment_tag(self, experiment_id: str, tag: ExperimentTag, time: int) -> None:
        """Set the tag and the last update time of an active experiment."""

    @abstractmethod
    def _delete_experiment_tag(self, experiment_id: str, key: str, time: int) -> None:
        """Delete the tag, or raise `tag_not_found`; set the last update time."""

    @abstractmethod
    def _search_experiments(self, query: ExperimentQuery) -> list[Experiment]:
        """At most `query.limit` experiments in order, beginning after `query.after`."""

    @abstractmethod
    def _create_run(self, run: Run) -> Run:
        """Insert a run in an active experiment and return it with its artifact URI, made by `run_artifact_uri`."""

    @abstractmethod
    def _get_run(self, run_id: str) -> Run | None:
        """The run in whatever stage, or None."""

    @abstractmethod
    def _update_run_info(
        self, run_id: str, status: RunStatus | None, end_time: int | None, run_name: str | None
    ) -> RunInfo:
        """Set what is not None, the tag `mlflow.runName` with the name; check with `require_active_run`."""

    @abstractmethod
    def _delete_run(self, run_id: str, time: int) -> None:
        """Mark the run deleted, if it is not already."""

    @abstractmethod
    def _restore_run(self, run_id: str) -> None:
        """Mark the run active, if it is not already."""

    @abstractmethod
    def _log_batch(self, run_id: str, metrics: Sequence[Metric], params: Sequence[Param], tags: dict[str, str]) -> None:
        """Write all or nothing to an active run; `check_params` decides about params, `mlflow.runName` sets the name.

        Metrics may hold a point twice, and points that are there already: both are no-ops.
        """

    @abstractmethod
    def _delete_tag(self, run_id: str, key: str) -> None:
        """Delete the tag of an active run, or raise `tag_not_found`."""

    @abstractmethod
    def _log_inputs(self, run_id: str, datasets: Sequence[DatasetInput]) -> None:
        """Link datasets to an active run: all or nothing."""

    @abstractmethod
    def _get_metric_history(self, query: HistoryQuery) -> list[Metric] | None:
        """At most `query.limit` points by `history_key`, from `query.after` on; None if there is no such run."""

    @abstractmethod
    def _search_runs(self, query: RunQuery) -> list[Run]:
        """At most `query.limit` runs in order, beginning after `query.after`."""

    # Derived: right as they are; override them for speed

    def _sample_metric_history(self, run_id: str, key: str, max_points: int) -> list[Metric] | None:
        """Derived from the whole history: `evenly_spaced` points of it; None if there is no such run."""
        points = self._get_metric_history(HistoryQuery(run_id, key))
        return None if points is None else evenly_spaced(points, max_points)

    def _log_metric(self, run_id: str, metric: Metric) -> None:
        """Derived from `_log_batch`."""
        self._log_batch(run_id, [metric], [], {})

    def _log_param(self, run_id: str, param: Param) -> None:
        """Derived from `_log_batch`."""
        self._log_batch(run_id, [], [param], {})

    def _set_tag(self, run_id: str, tag: RunTag) -> None:
        """Derived from `_log_batch`."""
        self._log_batch(run_id, [], [], {tag.key: tag.value})

    def _find_problems(self) -> list[Problem]:
        """Everything that is wrong in the storage, by path. Derived: nothing, for storage that keeps order itself."""
        return []

    def _default_artifact_root(self) -> StoreURI:
        """Where artifacts go when nobody says: `mlartifacts` in the working directory."""
        return StoreURI.parse("mlartifacts")


def _initial_run_name(run_name: str | None, tags: dict[str, str]) -> str:
    tagged = tags.get(RUN_NAME_TAG)
    if run_name and tagged and run_name != tagged:
        raise InvalidParameterValue(
            f"run_name is {run_name!r}, but the tag {RUN_NAME_TAG!r} is {tagged!r}; give one of them, or equal ones."
        )
    return validation.validate_run_name(run_name or tagged or new_run_name())
