"""`LoggedModelStore`: an optional ability of backend stores, models as entities of their own (MLflow 3)."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import cast

from holdall.stores import logged_model_validation as checks
from holdall.stores import validation
from holdall.stores.backend import BackendStore
from holdall.stores.base import Store
from holdall.stores.clock import now_ms
from holdall.stores.entities import (
    LoggedModel,
    LoggedModelInput,
    LoggedModelOutput,
    LoggedModelStatus,
    Metric,
    PagedList,
)
from holdall.stores.errors import Unsupported
from holdall.stores.names import new_model_id, new_run_name
from holdall.stores.paging import decode_token, fingerprint, make_page
from holdall.stores.queries import LoggedModelQuery
from holdall.stores.rules import model_not_found
from holdall.stores.search import (
    logged_model_sort_key,
    parse_dataset_selectors,
    parse_logged_model_filter,
    parse_logged_model_order_by,
)

__all__ = ["LoggedModelStore", "as_logged_model_store"]


class LoggedModelStore(Store):
    """Models that runs produced, with params, tags and metrics of their own.

    A backend that keeps them inherits from `BackendStore` and from this class, and sets `Capabilities.logged_models`;
    `as_logged_model_store` gives a store as one of these. As in `BackendStore`, users call the public methods, which
    validate, parse and page, and a backend implements the hooks, whose names begin with an underscore. A hook gets
    valid arguments only, never checks `read_only`, and raises the errors of `holdall.stores.rules`.

    **Models and experiments.** A model is made in an active experiment. Deleting that leaves the model as it is: it can
    be read, found and changed.

    **Deleted models** are gone for every method but `delete_logged_model`: `NotFound`. What their runs logged, links
    included, stays.

    **Metrics** of a model are points as those of a run, and besides belong to a run and, if that was said, to a dataset
    (name and digest). The same point again changes nothing. A model shows the latest point of each key on each dataset:
    that of the greatest (step, timestamp, value), whatever run measured it.

    **Links** between runs and models are not checked: the model need not exist.

    **Threads, processes, visibility, durability** are as for the store itself, with one exception: if the process dies
    in the middle of `log_model_metrics`, the run may have the metrics and the model not yet. Every method but
    `create_logged_model` may be repeated after an error without harm.
    """

    # What users call: models

    def create_logged_model(
        self,
        experiment_id: str,
        name: str | None = None,
        source_run_id: str | None = None,
        tags: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
        model_type: str | None = None,
    ) -> LoggedModel:
        """Create a model in an active experiment.

        Args:
            experiment_id: The experiment.
            name: At most 500 characters without `/ : . % " '`, by default a random one. It need not be unique.
            source_run_id: The run that made it; not checked to exist.
            tags: Values of at most 16383 characters by key.
            params: Values of at most 16383 characters by key.
            model_type: Free text of at most 500 characters.

        Returns:
            The model, with status PENDING, a new id, and `<experiment location>/models/<id>/artifacts` for its files.

        Raises:
            InvalidParameterValue: The experiment is deleted, or an argument breaks the rules.
            NotFound: There is no such experiment.
        """
        self._check_writable()
        now = now_ms()
        model = LoggedModel(
            model_id=new_model_id(),
            experiment_id=validation.validate_experiment_id(experiment_id),
            name=new_run_name() if name is None else checks.validate_model_name(name),
            artifact_location="",
            creation_timestamp=now,
            last_updated_timestamp=now,
            model_type=None if model_type is None else validation.validate_text(model_type, "model_type", 500),
            source_run_id=None if source_run_id is None else validation.validate_run_id(source_run_id),
            params=checks.validate_model_values(params, "params"),
            tags=checks.validate_model_values(tags, "tags"),
        )
        return self._create_logged_model(model)

    def get_logged_model(self, model_id: str) -> LoggedModel:
        """The model with this id, with its latest metrics.

        Raises:
            NotFound: There is none, or it is deleted.
        """
        self._check_open()
        model = self._get_logged_model(checks.validate_model_id(model_id))
        if model is None:
            raise model_not_found(model_id)
        return model

    def finalize_logged_model(self, model_id: str, status: LoggedModelStatus | str) -> LoggedModel:
        """Set the status, from any to any; this is the change that `last_updated_timestamp` tells of.

        Args:
            model_id: The model.
            status: By itself or by its name, such as `READY`.

        Raises:
            InvalidParameterValue: There is no such status.
            NotFound: There is no such model.
        """
        self._check_writable()
        checks.validate_model_id(model_id)
        return self._finalize_logged_model(model_id, checks.validate_model_status(status), now_ms())

    def delete_logged_model(self, model_id: str) -> None:
        """Mark the model deleted; a deleted one stays as it is. The metrics and links of its runs stay.

        Raises:
            NotFound: There never was such a model.
        """
        self._check_writable()
        self._delete_logged_model(checks.validate_model_id(model_id), now_ms())

    def log_logged_model_params(self, model_id: str, params: Mapping[str, str]) -> None:
        """Add params: all of them or none; the value that a param has already is accepted.

        Raises:
            InvalidParameterValue: A param would change, or a key or value breaks the rules.
            NotFound: There is no such model.
        """
        self._check_writable()
        checks.validate_model_id(model_id)
        self._log_logged_model_data(model_id, checks.validate_model_values(params, "params"), {})

    def set_logged_model_tags(self, model_id: str, tags: Mapping[str, str]) -> None:
        """Set tags, overwriting them.

        Raises:
            InvalidParameterValue: A key or value breaks the rules.
            NotFound: There is no such model.
        """
        self._check_writable()
        checks.validate_model_id(model_id)
        self._log_logged_model_data(model_id, {}, checks.validate_model_values(tags, "tags"))

    def delete_logged_model_tag(self, model_id: str, key: str) -> None:
        """Delete a tag.

        Raises:
            NotFound: There is no such model or tag.
        """
        self._check_writable()
        self._delete_logged_model_tag(checks.validate_model_id(model_id), validation.validate_key(key))

    def search_logged_models(
        self,
        experiment_ids: Sequence[str],
        filter_string: str | None = "",
        datasets: Sequence[Mapping[str, object]] | None = (),
        max_results: int = 100,
        order_by: Sequence[Mapping[str, object]] | None = (),
        page_token: str | None = None,
    ) -> PagedList[LoggedModel]:
        """A page of the models that a filter finds; those of deleted experiments too.

        Args:
            experiment_ids: Where to look; unknown ids hold nothing.
            filter_string: In the filter language; empty finds all. A clause on a metric holds if the latest value on
                any dataset satisfies it.
            datasets: `{"dataset_name": …, "dataset_digest": …}`, the digest optional: clauses on metrics see values on
                these datasets only, and models without any are not found. Empty for no such condition.
            max_results: Page size, 1 … 50000.
            order_by: `{"field_name": …, "ascending": True, "dataset_name": None, "dataset_digest": None}`: an attribute
                or `metrics.<key>`, of the latest value on any dataset or on the one named. Missing values and NaN come
                last either way. By default the newest first.
            page_token: `token` of the page before.

        Raises:
            InvalidParameterValue: An argument is malformed, or the token belongs to another query.
        """
        self._check_open()
        ids = validation.validate_experiment_ids(experiment_ids)
        limit = validation.validate_max_results(max_results, validation.MAX_SEARCH_RESULTS)
        clauses, ordering = parse_logged_model_filter(filter_string), parse_logged_model_order_by(order_by)
        selectors = parse_dataset_selectors(datasets)
        mark = fingerprint("logged models", sorted(ids), clauses, selectors, ordering)
        after = decode_token(mark, page_token, len(ordering))
        query = LoggedModelQuery(ids, clauses, selectors, ordering, limit + 1, after)
        found = self._search_logged_models(query) if ids else []
        return make_page(found, limit, mark, lambda model: logged_model_sort_key(model, ordering))

    # What users call: runs and models

    def log_model_metrics(
        self,
        model_id: str,
        run_id: str,
        metrics: Iterable[Metric],
        dataset_name: str | None = None,
        dataset_digest: str | None = None,
    ) -> None:
        """Log metric points of an active run that are points of a model too.

        Args:
            model_id: The model.
            run_id: The run that measured them.
            metrics: At most 1000.
            dataset_name: What they were measured on, at most 500 characters; None if that is not said.
            dataset_digest: Its digest, at most 36 characters; given together with the name or not at all.

        Raises:
            InvalidParameterValue: The run is deleted, or a point or the dataset breaks the rules; nothing was written.
            NotFound: There is no such run or model; nothing was written.
        """
        self._check_writable()
        checks.validate_model_id(model_id)
        validation.validate_run_id(run_id)
        listed = list(validation.validate_items(metrics, "metrics"))
        validation.check_batch_limits(listed, (), ())
        points = validation.validate_metrics(listed)
        dataset = checks.validate_metric_dataset(dataset_name, dataset_digest)
        self._log_model_metrics(model_id, run_id, points, *dataset)

    def log_model_inputs(self, run_id: str, models: Iterable[LoggedModelInput]) -> None:
        """Record which models an active run used, for `Run.inputs`; the same model again changes nothing.

        Raises:
            InvalidParameterValue: The run is deleted, or an id is malformed.
            NotFound: There is no such run.
        """
        self._check_writable()
        self._link_models(validation.validate_run_id(run_id), checks.validate_model_inputs(models), {})

    def log_outputs(self, run_id: str, models: Iterable[LoggedModelOutput]) -> None:
        """Record which models an active run made, for `Run.outputs`; the same model again keeps its first step.

        Raises:
            InvalidParameterValue: The run is deleted, or an id or a step is malformed.
            NotFound: There is no such run.
        """
        self._check_writable()
        self._link_models(validation.validate_run_id(run_id), [], checks.validate_model_outputs(models))

    # What a backend implements

    @abstractmethod
    def _create_logged_model(self, model: LoggedModel) -> LoggedModel:
        """Insert a model in an active experiment; check with `require_active_experiment`.

        Returns:
            The model with its artifact location, made by `model_artifact_location`.
        """

    @abstractmethod
    def _get_logged_model(self, model_id: str) -> LoggedModel | None:
        """The model with the metrics that `latest_model_metrics` selects; None if there is none or it is deleted."""

    @abstractmethod
    def _finalize_logged_model(self, model_id: str, status: LoggedModelStatus, time: int) -> LoggedModel:
        """Set status and last update time, and return the model as it is now; or raise `model_not_found`."""

    @abstractmethod
    def _delete_logged_model(self, model_id: str, time: int) -> None:
        """Mark the model deleted, with its last update time, if it is not already; or raise `model_not_found`."""

    @abstractmethod
    def _log_logged_model_data(self, model_id: str, params: dict[str, str], tags: dict[str, str]) -> None:
        """Write all or nothing, which may be empty; `check_model_params` decides about params."""

    @abstractmethod
    def _delete_logged_model_tag(self, model_id: str, key: str) -> None:
        """Delete the tag, or raise `model_not_found` or `tag_not_found`."""

    @abstractmethod
    def _search_logged_models(self, query: LoggedModelQuery) -> list[LoggedModel]:
        """At most `query.limit` models in order, beginning after `query.after`, whole as `_get_logged_model` gives.

        `select_logged_models` does it for stores that look at every model.
        """

    @abstractmethod
    def _log_model_metrics(
        self,
        model_id: str,
        run_id: str,
        metrics: Sequence[Metric],
        dataset_name: str | None,
        dataset_digest: str | None,
    ) -> None:
        """Write points to an active run, as `_log_batch` does, and to the model.

        Before anything is written the model must be there, and the run be active by `require_active_run`. Points of the
        model with equal `model_point_key` are one.
        """

    @abstractmethod
    def _link_models(self, run_id: str, inputs: Sequence[str], outputs: Mapping[str, int]) -> None:
        """Link models to an active run, checked by `require_active_run`, even if there is nothing to link.

        Args:
            run_id: The run.
            inputs: Ids of models that it used; those that are linked as inputs already stay as they are.
            outputs: Steps by the ids of models that it made; those that are linked as outputs already keep their step.
        """


def as_logged_model_store(store: BackendStore) -> LoggedModelStore:
    """A backend store as the `LoggedModelStore` that it says it is.

    Raises:
        Unsupported: Its capabilities lack `logged_models`.
    """
    if not store.capabilities.logged_models:
        raise Unsupported(f"The store {store.uri} keeps no logged models.")
    return cast(LoggedModelStore, store)
