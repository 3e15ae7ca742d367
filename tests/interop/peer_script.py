"""MLflow as a black box: reads one request as JSON on stdin, obeys it through MLflow's client, answers on stdout.

Run by an interpreter that has MLflow and not holdall. Request and answer:

    {"uri": …, "root": path, "steps": [[method, arguments], ...], "searches": [[filter, order_by], ...]}
    {"snapshot": everything in the store, "found": [[ref, ...], ...]}

The URI is that of a database, or the path of a folder; a missing store is created with artifacts under `root`. The
steps are those of `steps.py`.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from typing import Any

from mlflow import MlflowClient  # pyright: ignore[reportMissingImports]
from mlflow.entities import (  # pyright: ignore[reportMissingImports]
    Dataset,
    DatasetInput,
    InputTag,
    Metric,
    Param,
    RunTag,
    ViewType,
)
from mlflow.store.tracking.file_store import FileStore  # pyright: ignore[reportMissingImports]
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore  # pyright: ignore[reportMissingImports]

JSON = dict[str, Any]


class Peer:
    """A store opened by MLflow, with one method for every step."""

    def __init__(self, uri: str, root: str) -> None:
        opened = SqlAlchemyStore if "://" in uri else FileStore
        self.on_server = "://" in uri and not uri.startswith("sqlite:")
        opened(uri, root)  # creates the default experiment under `root`, not under the working directory
        self.client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        self.run_ids: dict[str, str] = {run.data.tags["ref"]: run.info.run_id for run in self._all_runs()}

    # Writing

    def create_experiment(self, name: str, artifact_location: str | None, tags: dict[str, str]) -> None:
        self.client.create_experiment(name, artifact_location=artifact_location, tags=tags)

    def rename_experiment(self, name: str, new_name: str) -> None:
        self.client.rename_experiment(self._experiment(name), new_name)

    def set_experiment_tag(self, name: str, key: str, value: str) -> None:
        self.client.set_experiment_tag(self._experiment(name), key, value)

    def delete_experiment(self, name: str) -> None:
        self.client.delete_experiment(self._experiment(name))

    def restore_experiment(self, name: str) -> None:
        self.client.restore_experiment(self._experiment(name))

    def create_run(self, experiment: str, ref: str, name: str, start_time: int, tags: dict[str, str]) -> None:
        tags = {"ref": ref} | tags
        run = self.client.create_run(self._experiment(experiment), start_time=start_time, tags=tags, run_name=name)
        self.run_ids[ref] = run.info.run_id

    def nest(self, ref: str, parent: str) -> None:
        self.client.set_tag(self._run(ref), "mlflow.parentRunId", self._run(parent))

    def update_run(self, ref: str, status: str, name: str) -> None:
        self.client.update_run(self._run(ref), status=status, name=name)

    def end_run(self, ref: str, status: str, end_time: int) -> None:
        self.client.set_terminated(self._run(ref), status=status, end_time=end_time)

    def delete_run(self, ref: str) -> None:
        self.client.delete_run(self._run(ref))

    def restore_run(self, ref: str) -> None:
        self.client.restore_run(self._run(ref))

    def log_batch(
        self, ref: str, metrics: list[tuple[str, float, int, int]], params: dict[str, str], tags: dict[str, str]
    ) -> None:
        self.client.log_batch(
            self._run(ref),
            metrics=[Metric(*point) for point in metrics],
            params=[Param(*item) for item in params.items()],
            tags=[RunTag(*item) for item in tags.items()],
        )

    def log_metric(self, ref: str, metric: tuple[str, float, int, int]) -> None:
        key, value, timestamp, step = metric
        self.client.log_metric(self._run(ref), key, value, timestamp, step)

    def log_param(self, ref: str, key: str, value: str) -> None:
        self.client.log_param(self._run(ref), key, value)

    def set_tag(self, ref: str, key: str, value: str) -> None:
        self.client.set_tag(self._run(ref), key, value)

    def delete_tag(self, ref: str, key: str) -> None:
        self.client.delete_tag(self._run(ref), key)

    def log_inputs(self, ref: str, datasets: list[JSON]) -> None:
        inputs = []
        for dataset in datasets:
            tags = [InputTag(*item) for item in dataset.pop("tags").items()]
            inputs.append(DatasetInput(Dataset(**dataset), tags))
        self.client.log_inputs(self._run(ref), datasets=inputs)

    def log_text(self, ref: str, text: str, path: str) -> None:
        self.client.log_text(self._run(ref), text, path)

    def register_models(self, ref: str) -> None:
        """Registry entries, and with MLflow 3 a logged model: what holdall must leave alone in an MLflow store."""
        run_id = self._run(ref)
        self.client.create_registered_model("classifier", tags={"a": "1"}, description="two\nlines")
        for number in ("1", "2", "3"):
            self.client.create_model_version("classifier", f"/srv/models/{number}", run_id=run_id, tags={"n": number})
        self.client.set_registered_model_alias("classifier", "champion", "2")
        self.client.delete_model_version("classifier", "3")
        if hasattr(self.client, "create_logged_model"):
            experiment_id = self.client.get_run(run_id).info.experiment_id
            model = self.client.create_logged_model(
                experiment_id, "net", source_run_id=run_id, tags={"t": "1"}, params={"lr": "0.1"}
            )
            self.client.log_metric(run_id, "of the model", 0.5, 1, 0, model_id=model.model_id)
            data = {"dataset_name": "digits", "dataset_digest": "abc123"}
            # At step 0, since that is what MLflow 3.17 reads back from a folder, whatever the step was.
            self.client.log_metric(run_id, "of the model", 0.75, 2, 0, model_id=model.model_id, **data)
            self.client.finalize_logged_model(model.model_id, "READY")
            self._link_model(run_id, model.model_id)

    def _link_model(self, run_id: str, model_id: str) -> None:
        from mlflow.entities import LoggedModelInput, LoggedModelOutput  # pyright: ignore[reportMissingImports]

        self.client.log_inputs(run_id, models=[LoggedModelInput(model_id)])
        self.client.log_outputs(run_id, models=[LoggedModelOutput(model_id, step=3)])

    # Reading

    def snapshot(self) -> JSON:
        experiments = self.client.search_experiments(view_type=ViewType.ALL)
        return {
            "experiments": {experiment.experiment_id: _experiment(experiment) for experiment in experiments},
            "runs": {run.info.run_id: self._run_snapshot(run) for run in self._all_runs()},
        }

    def search(self, filter_string: str, order_by: list[str]) -> list[str]:
        found = self.client.search_runs([self._experiment("search")], filter_string, order_by=order_by)
        return [run.data.tags["ref"] for run in found]

    def _run_snapshot(self, found: Any) -> JSON:
        run = self.client.get_run(found.info.run_id)
        for mine, other in ((run.data.params, found.data.params), (run.data.tags, found.data.tags)):
            assert mine == other, "search and get disagree"
        info = run.info
        history = {key: self._history(info.run_id, key) for key in run.data.metrics}
        return {
            "experiment_id": info.experiment_id,
            "run_name": info.run_name,
            "user_id": info.user_id,
            "status": info.status,
            "start_time": info.start_time,
            "end_time": info.end_time,
            "lifecycle_stage": info.lifecycle_stage,
            "artifact_uri": info.artifact_uri,
            "params": run.data.params,
            "tags": run.data.tags,
            "metrics": {key: _number(value) for key, value in run.data.metrics.items()},
            "history": {
                key: [f"{point.timestamp} {point.step} {_number(point.value)}" for point in points]
                for key, points in history.items()
            },
            "datasets": sorted(
                ([_dataset(item) for item in run.inputs.dataset_inputs] if run.inputs else []),
                key=lambda item: (item["name"], item["digest"]),
            ),
        }

    def _history(self, run_id: str, key: str) -> list[Any]:
        points = list(self.client.get_metric_history(run_id, key))
        # MLflow 2.22 leaves the order to the database, which is that of the table's key in SQLite alone.
        return sorted(points, key=_moment) if self.on_server else points

    def _all_runs(self) -> list[Any]:
        ids = [experiment.experiment_id for experiment in self.client.search_experiments(view_type=ViewType.ALL)]
        runs = self.client.search_runs(ids, run_view_type=ViewType.ALL, max_results=1000)
        assert len(runs) < 1000, "the workload must fit into one page"
        return list(runs)

    def _experiment(self, name: str) -> str:
        return str(self.client.get_experiment_by_name(name).experiment_id)

    def _run(self, ref: str) -> str:
        return self.run_ids[ref]


def _experiment(experiment: Any) -> JSON:
    fields = ("name", "artifact_location", "lifecycle_stage", "creation_time", "last_update_time", "tags")
    return {field: getattr(experiment, field) for field in fields}


def _dataset(item: Any) -> JSON:
    fields = ("name", "digest", "source_type", "source", "schema", "profile")
    return {field: getattr(item.dataset, field) for field in fields} | {
        "tags": {tag.key: tag.value for tag in item.tags}
    }


def _moment(point: Any) -> tuple[int, int, float]:
    return point.timestamp, point.step, 0 if math.isnan(point.value) else point.value


def _number(value: float) -> str:
    """The number as text; an infinity as a database has it, so that every store reports the same."""
    return repr(math.copysign(sys.float_info.max, value) if math.isinf(value) else float(value))


def main() -> None:
    """Answer the request on stdin."""
    request: JSON = json.load(sys.stdin)
    peer = Peer(request["uri"], request["root"])
    for method, arguments in request["steps"]:
        step: Callable[..., None] = getattr(peer, method)
        step(**arguments)
    found = [peer.search(filter_string, order_by) for filter_string, order_by in request["searches"]]
    json.dump({"snapshot": peer.snapshot(), "found": found}, sys.stdout)


if __name__ == "__main__":
    main()
