"""`LoggedModelStore`: an optional ability of backend stores, models as entities of their own (MLflow 3)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

from holdall.stores.entities import LoggedModel, LoggedModelStatus, PagedList

__all__ = ["LoggedModelStore"]


class LoggedModelStore(ABC):
    """Models that runs produced, with params, tags and metrics of their own.

    A `BackendStore` that keeps them implements this ABC too and sets `Capabilities.logged_models`. Threads, processes,
    visibility and durability are as for the store itself. Names need not be unique; ids are `m-` and 32 hexadecimal
    digits.
    """

    @abstractmethod
    def create_logged_model(
        self,
        experiment_id: str,
        name: str | None = None,
        source_run_id: str | None = None,
        tags: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
        model_type: str | None = None,
    ) -> LoggedModel:
        """Create a model with status PENDING in an active experiment.

        Args:
            experiment_id: The experiment.
            name: Without `/ : . % " '`; by default a random one.
            source_run_id: The run that made it; not checked to exist.
            tags: Values by key.
            params: Values by key.
            model_type: Free text.
        """

    @abstractmethod
    def get_logged_model(self, model_id: str) -> LoggedModel:
        """The model with this id; a deleted one is `NotFound`."""

    @abstractmethod
    def finalize_logged_model(self, model_id: str, status: LoggedModelStatus) -> LoggedModel:
        """Set the status."""

    @abstractmethod
    def delete_logged_model(self, model_id: str) -> None:
        """Mark the model deleted; the metrics and links of its runs stay."""

    @abstractmethod
    def log_logged_model_params(self, model_id: str, params: Mapping[str, str]) -> None:
        """Add params, constant once logged."""

    @abstractmethod
    def set_logged_model_tags(self, model_id: str, tags: Mapping[str, str]) -> None:
        """Set tags, overwriting them."""

    @abstractmethod
    def delete_logged_model_tag(self, model_id: str, key: str) -> None:
        """Delete a tag; a missing one is `NotFound`."""

    @abstractmethod
    def log_outputs(self, run_id: str, models: Mapping[str, int]) -> None:
        """Link models, by id, as outputs of a run at a step."""

    @abstractmethod
    def search_logged_models(
        self,
        experiment_ids: Sequence[str],
        filter_string: str | None = "",
        max_results: int = 100,
        order_by: Sequence[Mapping[str, object]] | None = (),
        page_token: str | None = None,
    ) -> PagedList[LoggedModel]:
        """A page of the models that a filter finds, the newest first unless ordered otherwise."""
