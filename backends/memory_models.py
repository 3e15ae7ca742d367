"""The logged models of `memory://`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from holdall.stores.entities import LoggedModel, LoggedModelMetric, LoggedModelStatus
from holdall.stores.points import latest_model_metrics, model_point_key
from holdall.stores.queries import LoggedModelQuery, select_logged_models
from holdall.stores.rules import check_model_params, model_not_found, tag_not_found

__all__ = ["ModelShelf"]

_PointKey = tuple[str, object]


@dataclass(slots=True)
class _ModelRecord:
    """What is kept of a model.

    Attributes:
        entity: All but its metrics; params and tags are never handed out or changed in place.
        points: Points of its metrics by what makes them the same point.
        deleted: Whether it is in the bin.
    """

    entity: LoggedModel
    points: dict[_PointKey, LoggedModelMetric] = field(default_factory=dict)
    deleted: bool = False

    def as_model(self) -> LoggedModel:
        """A copy that later writes do not change."""
        return replace(
            self.entity,
            params=dict(self.entity.params),
            tags=dict(self.entity.tags),
            metrics=latest_model_metrics(self.points.values()),
        )


class ModelShelf:
    """Models by id. Whoever uses it sees to it that threads take turns."""

    def __init__(self) -> None:
        self._models: dict[str, _ModelRecord] = {}

    def clear(self) -> None:
        """Forget everything."""
        self._models.clear()

    def add(self, model: LoggedModel) -> LoggedModel:
        """Keep a new model and return it."""
        record = self._models[model.model_id] = _ModelRecord(model)
        return record.as_model()

    def get(self, model_id: str) -> LoggedModel | None:
        """The model, or None if there is none or it is deleted."""
        record = self._models.get(model_id)
        return None if record is None or record.deleted else record.as_model()

    def require(self, model_id: str) -> None:
        """Check that a model is there.

        Raises:
            NotFound: There is none, or it is deleted.
        """
        self._known(model_id)

    def finalize(self, model_id: str, status: LoggedModelStatus, time: int) -> LoggedModel:
        """Set status and last update time."""
        record = self._known(model_id)
        record.entity = replace(record.entity, status=status, last_updated_timestamp=time)
        return record.as_model()

    def delete(self, model_id: str, time: int) -> None:
        """Mark a model deleted, if it is not already."""
        record = self._models.get(model_id)
        if record is None:
            raise model_not_found(model_id)
        if not record.deleted:
            record.deleted = True
            record.entity = replace(record.entity, last_updated_timestamp=time)

    def log_data(self, model_id: str, params: dict[str, str], tags: dict[str, str]) -> None:
        """Add params and set tags: all or nothing."""
        record = self._known(model_id)
        fresh = check_model_params(model_id, record.entity.params, params)
        record.entity = replace(
            record.entity, params={**record.entity.params, **fresh}, tags={**record.entity.tags, **tags}
        )

    def delete_tag(self, model_id: str, key: str) -> None:
        """Delete a tag that is there."""
        record = self._known(model_id)
        if key not in record.entity.tags:
            raise tag_not_found(key, f"logged model {model_id!r}")
        tags = {name: value for name, value in record.entity.tags.items() if name != key}
        record.entity = replace(record.entity, tags=tags)

    def log_metrics(self, model_id: str, metrics: Iterable[LoggedModelMetric]) -> None:
        """Add the points that are not there."""
        points = self._known(model_id).points
        for metric in metrics:
            points.setdefault((metric.key, model_point_key(metric)), metric)

    def search(self, query: LoggedModelQuery) -> list[LoggedModel]:
        """The models that a query finds."""
        models = [
            record.as_model()
            for record in self._models.values()
            if record.entity.experiment_id in query.experiment_ids and not record.deleted
        ]
        return select_logged_models(models, query)

    def _known(self, model_id: str) -> _ModelRecord:
        record = self._models.get(model_id)
        if record is None or record.deleted:
            raise model_not_found(model_id)
        return record
