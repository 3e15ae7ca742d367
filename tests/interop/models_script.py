"""MLflow 3 as a keeper of logged models: reads one request as JSON on stdin, obeys it, answers on stdout.

Run by an interpreter that has MLflow and not holdall. Request and answer:

    {"uri": …, "steps": [[method, arguments], ...]}
    {"models": {name: …}, "runs": {run id: …}}

Models are named by their names, which are unique here; the runs are in all experiments there are.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

from mlflow import MlflowClient  # pyright: ignore[reportMissingImports]
from mlflow.entities import LoggedModelInput, LoggedModelOutput, ViewType  # pyright: ignore[reportMissingImports]

JSON = dict[str, Any]


class Peer:
    """A store opened by MLflow, with one method for every step."""

    def __init__(self, uri: str) -> None:
        self.client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        self.ids: dict[str, str] = {model.name: model.model_id for model in self._all()}

    def create(
        self, name: str, experiment: str, run: str | None, tags: JSON, params: JSON, model_type: str | None
    ) -> None:
        model = self.client.create_logged_model(
            experiment, name, source_run_id=run, tags=tags, params=params, model_type=model_type
        )
        self.ids[name] = model.model_id

    def measure(self, name: str, run: str, key: str, point: list[Any], dataset: list[str] | None = None) -> None:
        value, timestamp, step = point
        on = {} if dataset is None else {"dataset_name": dataset[0], "dataset_digest": dataset[1]}
        self.client.log_metric(run, key, float(value), timestamp, step, model_id=self.ids[name], **on)

    def finalize(self, name: str, status: str) -> None:
        self.client.finalize_logged_model(self.ids[name], status)

    def tag(self, name: str, tags: JSON) -> None:
        self.client.set_logged_model_tags(self.ids[name], tags)

    def untag(self, name: str, key: str) -> None:
        self.client.delete_logged_model_tag(self.ids[name], key)

    def delete(self, name: str) -> None:
        self.client.delete_logged_model(self.ids[name])

    def link(self, name: str, run: str, step: int) -> None:
        self.client.log_inputs(run, models=[LoggedModelInput(self.ids[name])])
        self.client.log_outputs(run, models=[LoggedModelOutput(self.ids[name], step=step)])

    def snapshot(self) -> JSON:
        """Everything about models."""
        models = {model.name: _model(model) for model in self._all()}
        for name, found in models.items():
            assert found == _model(self.client.get_logged_model(self.ids[name])), "search and get disagree"
        runs = self.client.search_runs(self._experiments(), run_view_type=ViewType.ALL)
        return {"models": models, "runs": {run.info.run_id: self._run(run.info.run_id) for run in runs}}

    def _run(self, run_id: str) -> JSON:
        run = self.client.get_run(run_id)
        keys = sorted(run.data.metrics)
        return {
            "metrics": {key: repr(run.data.metrics[key]) for key in keys},
            "points": {key: len(self.client.get_metric_history(run_id, key)) for key in keys},
            "inputs": sorted(model.model_id for model in (run.inputs.model_inputs if run.inputs else [])),
            "outputs": sorted(
                [model.model_id, model.step] for model in (run.outputs.model_outputs if run.outputs else [])
            ),
        }

    def _experiments(self) -> list[str]:
        return [experiment.experiment_id for experiment in self.client.search_experiments()]

    def _all(self) -> list[Any]:
        return list(self.client.search_logged_models(self._experiments()))


def _model(model: Any) -> JSON:
    fields = ("model_id", "experiment_id", "artifact_location", "creation_timestamp", "last_updated_timestamp")
    points = [
        [m.key, m.dataset_name or "", m.dataset_digest or "", repr(float(m.value)), m.timestamp, m.step, m.run_id]
        for m in model.metrics or []
    ]
    return {field: getattr(model, field) for field in fields} | {
        "status": model.status.name,
        "model_type": model.model_type,
        "source_run_id": model.source_run_id,
        "status_message": model.status_message,
        "tags": model.tags,
        "params": model.params,
        "metrics": sorted(points),
    }


def main() -> None:
    """Answer the request on stdin."""
    request: JSON = json.load(sys.stdin)
    peer = Peer(request["uri"])
    for method, arguments in request["steps"]:
        step: Callable[..., None] = getattr(peer, method)
        step(**arguments)
    json.dump(peer.snapshot(), sys.stdout)


if __name__ == "__main__":
    main()
