"""`HttpBackendStore`: the store that a tracking server keeps, over its REST API."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from time import sleep
from typing import NoReturn
from urllib.parse import quote

from holdall.backends.http.client import ApiClient, Query
from holdall.backends.http.codec import (
    dataset_input_json,
    experiment_id_of,
    experiment_of,
    logged_model_of,
    metric_json,
    metric_of,
    model_status_json,
    pairs_json,
    run_info_of,
    run_of,
)
from holdall.backends.http.pages import page_of, server_token
from holdall.backends.http.servers import ServerFacts, ask_server
from holdall.stores import validation
from holdall.stores.backend import BackendStore
from holdall.stores.capabilities import Capabilities
from holdall.stores.entities import (
    DatasetInput,
    Experiment,
    ExperimentTag,
    LoggedModel,
    LoggedModelStatus,
    Metric,
    PagedList,
    Param,
    Run,
    RunInfo,
    RunStatus,
    RunTag,
    ViewType,
)
from holdall.stores.errors import InvalidParameterValue, NotFound
from holdall.stores.logged_models import LoggedModelStore
from holdall.stores.paging import fingerprint
from holdall.stores.points import history_key
from holdall.stores.queries import ExperimentQuery, HistoryQuery, LoggedModelQuery, RunQuery
from holdall.stores.rules import (
    check_model_params,
    experiment_exists,
    experiment_not_found,
    require_active_run,
    run_not_found,
)
from holdall.stores.search import (
    parse_dataset_selectors,
    parse_experiment_filter,
    parse_experiment_order_by,
    parse_logged_model_filter,
    parse_logged_model_order_by,
    parse_run_filter,
    parse_run_order_by,
)
from holdall.stores.tracking_errors import BadRequest
from holdall.stores.uri import StoreURI

__all__ = ["HttpBackendStore"]

COLLISION_PAUSES = (0.02, 0.1, 0.5)
"""Seconds before each repetition of what MLflow's database has refused."""

_HISTORY_PAGE = 25_000
"""Points asked for at once; MLflow's servers give no more."""


class HttpBackendStore(BackendStore, LoggedModelStore):
    """Experiments, runs and logged models at a tracking server: holdall's, or MLflow's from 2.22 on.

    **Identity.** Everybody who opens the same server sees the same store. Opening sends nothing and creates nothing, so
    `create` makes no difference; a server that is not there shows at the first call. Credentials, time-outs and TLS are
    settled on opening, from the URI and MLflow's environment variables.

    **Threads and processes.** Any number of each. Connections are kept and shared between threads; a forked child makes
    its own.

    **Ordering, visibility, durability** are those of the store behind the server. What a call acknowledged is there
    even if the caller dies. What was interrupted is wholly there or not at all, on a server of holdall; MLflow's may
    keep part of a batch.

    **Failures.** What fails on its way, and what a busy server turns away, is repeated for as long as `patience` lasts.
    Creations of experiments, runs and models are repeated only if the server surely did nothing.

    **Not promised.** On MLflow's servers, what MLflow does otherwise: see the page on servers in the documentation.

    Args:
        uri: `http://` or `https://`, `[user:password@]host[:port][/prefix][?patience=SECONDS]`.
        artifact_root: Must be None: the server decides where artifacts go.
        read_only: Refuse every write, before anything is sent.
        create: Accepted and not needed.

    Raises:
        InvalidParameterValue: The URI or a setting is malformed, or an artifact root is given.
    """

    def __init__(
        self,
        uri: StoreURI,
        *,
        artifact_root: StoreURI | None = None,
        read_only: bool = False,
        create: bool = True,
    ) -> None:
        if artifact_root is not None:
            raise InvalidParameterValue(
                f"The server at {uri} decides where artifacts of new experiments go: leave artifact_root out, or give "
                "an experiment its own artifact_location."
            )
        super().__init__(uri, artifact_root=None, read_only=read_only)
        self._client = ApiClient(self.uri)

    @property
    def capabilities(self) -> Capabilities:
        return self._server.capabilities

    def describe(self) -> dict[str, str]:
        return {**super().describe(), "server": self._server.name, "artifact root": "as the server decides"}

    def _close(self) -> None:
        self._client.close()

    def _default_artifact_root(self) -> StoreURI:
        return StoreURI.parse("mlflow-artifacts:/")

    @cached_property
    def _server(self) -> ServerFacts:
        self._check_open()
        return ask_server(self._client)

    # Experiments

    def create_experiment(
        self, name: str, artifact_location: str | None = None, tags: Iterable[ExperimentTag] = ()
    ) -> str:
        self._check_writable()
        body: dict[str, object] = {"name": validation.validate_experiment_name(name)}
        if artifact_location is not None:
            body["artifact_location"] = validation.validate_artifact_location(artifact_location)
        checked = map(validation.validate_experiment_tag, validation.validate_items(tags, "tags"))
        body["tags"] = pairs_json({tag.key: tag.value for tag in checked})
        return experiment_id_of(self._client.post("experiments/create", body, repeatable=False))

    def _create_experiment(self, name: str, locate: Callable[[str], str], tags: dict[str, str], time: int) -> NoReturn:
        raise _asked_otherwise()

    def _get_experiment(self, experiment_id: str) -> Experiment | None:
        if not self._possible([experiment_id]):
            return None
        return self._find_experiment("experiments/get", "experiment_id", experiment_id)

    def _get_experiment_by_name(self, name: str) -> Experiment | None:
        return self._find_experiment("experiments/get-by-name", "experiment_name", name)

    def _find_experiment(self, endpoint: str, field: str, value: str) -> Experiment | None:
        try:
            answer = self._client.get(endpoint, {field: value})
        except NotFound:
            return None
        return experiment_of(answer.get("experiment"))

    def _possible(self, experiment_ids: Sequence[str]) -> list[str]:
        """Those that may exist: MLflow does not look for ids that are no numbers of 64 bits, it refuses them."""
        numbers = [experiment_id for experiment_id in experiment_ids if _is_number(experiment_id)]
        return numbers if len(numbers) == len(experiment_ids) or not self._server.is_holdall else list(experiment_ids)

    def _require_possible(self, experiment_id: str) -> None:
        if not self._possible([experiment_id]):
            raise experiment_not_found(experiment_id)

    def _rename_experiment(self, experiment_id: str, new_name: str, time: int) -> None:
        self._require_possible(experiment_id)
        try:
            self._client.post("experiments/update", {"experiment_id": experiment_id, "new_name": new_name})
        except BadRequest as error:  # MLflow does not look whether the name is taken
            raise experiment_exists(new_name, deleted=False) from error

    def _delete_experiment(self, experiment_id: str, time: int) -> None:
        self._require_possible(experiment_id)
        self._client.post("experiments/delete", {"experiment_id": experiment_id})

    def _restore_experiment(self, experiment_id: str, time: int) -> None:
        self._require_possible(experiment_id)
        self._client.post("experiments/restore", {"experiment_id": experiment_id})

    def _set_experiment_tag(self, experiment_id: str, tag: ExperimentTag, time: int) -> None:
        self._require_possible(experiment_id)
        body = {"experiment_id": experiment_id, "key": tag.key, "value": tag.value}
        self._client.post("experiments/set-experiment-tag", body)

    def _delete_experiment_tag(self, experiment_id: str, key: str, time: int) -> None:
        self._require_possible(experiment_id)
        self._client.post("experiments/delete-experiment-tag", {"experiment_id": experiment_id, "key": key})

    def search_experiments(
        self,
        view_type: ViewType = ViewType.ACTIVE_ONLY,
        max_results: int = 1000,
        filter_string: str | None = "",
        order_by: Sequence[str] | None = (),
        page_token: str | None = None,
    ) -> PagedList[Experiment]:
        self._check_open()
        body: dict[str, object] = {
            "view_type": validation.validate_view_type(view_type).name,
            "max_results": validation.validate_max_results(max_results, validation.MAX_SEARCH_RESULTS),
        }
        clauses, ordering = parse_experiment_filter(filter_string), parse_experiment_order_by(order_by or ())
        mark = fingerprint("experiments", body["view_type"], clauses, ordering)
        token = server_token(mark, page_token)
        body |= _given(filter=filter_string, order_by=list(order_by or ()), page_token=token)
        return page_of(self._client.post("experiments/search", body), "experiments", experiment_of, mark)

    def _search_experiments(self, query: ExperimentQuery) -> NoReturn:
        raise _asked_otherwise()

    # Runs

    def _create_run(self, run: Run) -> Run:
        info = run.info
        self._require_possible(info.experiment_id)
        body = {
            "experiment_id": info.experiment_id,
            "user_id": info.user_id,
            "start_time": info.start_time,
            "run_name": info.run_name,
            "tags": pairs_json(run.data.tags),
        }
        return run_of(self._client.post("runs/create", body, repeatable=False).get("run"))

    def _get_run(self, run_id: str) -> Run | None:
        try:
            answer = self._client.get("runs/get", {"run_id": run_id})
        except NotFound:
            return None
        return run_of(answer.get("run"))

    def _update_run_info(
        self, run_id: str, status: RunStatus | None, end_time: int | None, run_name: str | None
    ) -> RunInfo:
        changes = {"status": status, "end_time": end_time, "run_name": run_name}
        body = {"run_id": run_id} | {name: value for name, value in changes.items() if value is not None}
        return run_info_of(self._client.post("runs/update", body).get("run_info"))

    def _delete_run(self, run_id: str, time: int) -> None:
        self._client.post("runs/delete", {"run_id": run_id})

    def _restore_run(self, run_id: str) -> None:
        self._client.post("runs/restore", {"run_id": run_id})

    def search_runs(
        self,
        experiment_ids: Sequence[str],
        filter_string: str | None = "",
        run_view_type: ViewType = ViewType.ACTIVE_ONLY,
        max_results: int = 1000,
        order_by: Sequence[str] | None = (),
        page_token: str | None = None,
    ) -> PagedList[Run]:
        self._check_open()
        ids = validation.validate_experiment_ids(experiment_ids)
        body: dict[str, object] = {
            "experiment_ids": self._possible(ids),
            "run_view_type": validation.validate_view_type(run_view_type).name,
            "max_results": validation.validate_max_results(max_results, validation.MAX_SEARCH_RESULTS),
        }
        clauses, ordering = parse_run_filter(filter_string), parse_run_order_by(order_by or ())
        mark = fingerprint("runs", sorted(ids), body["run_view_type"], clauses, ordering)
        token = server_token(mark, page_token)
        body |= _given(filter=filter_string, order_by=list(order_by or ()), page_token=token)
        return page_of(self._client.post("runs/search", body) if body["experiment_ids"] else {}, "runs", run_of, mark)

    def _search_runs(self, query: RunQuery) -> NoReturn:
        raise _asked_otherwise()

    # The data of runs

    def _log_batch(self, run_id: str, metrics: Sequence[Metric], params: Sequence[Param], tags: dict[str, str]) -> None:
        body = {
            "run_id": run_id,
            "metrics": [metric_json(metric) for metric in metrics],
            "params": [{"key": param.key, "value": param.value} for param in params],
            "tags": pairs_json(tags),
        }
        self._log("runs/log-batch", body)

    def _log_metric(self, run_id: str, metric: Metric) -> None:
        self._log("runs/log-metric", {"run_id": run_id, **metric_json(metric)})

    def _log_param(self, run_id: str, param: Param) -> None:
        self._log("runs/log-parameter", {"run_id": run_id, "key": param.key, "value": param.value})

    def _log(self, endpoint: str, body: Mapping[str, object]) -> None:
        """Send what may be repeated: of two that log the same at once, MLflow's database refuses one."""
        for pause in COLLISION_PAUSES:
            try:
                self._client.post(endpoint, body)
                return
            except BadRequest:
                sleep(pause * random.uniform(0.5, 1))
        self._client.post(endpoint, body)

    def _set_tag(self, run_id: str, tag: RunTag) -> None:
        self._client.post("runs/set-tag", {"run_id": run_id, "key": tag.key, "value": tag.value})

    def _delete_tag(self, run_id: str, key: str) -> None:
        self._client.post("runs/delete-tag", {"run_id": run_id, "key": key})

    def _log_inputs(self, run_id: str, datasets: Sequence[DatasetInput]) -> None:
        self._client.post(
            "runs/log-inputs", {"run_id": run_id, "datasets": [dataset_input_json(item) for item in datasets]}
        )

    def get_metric_history(
        self, run_id: str, key: str, max_results: int | None = None, page_token: str | None = None
    ) -> PagedList[Metric]:
        self._check_open()
        validation.validate_run_id(run_id)
        validation.validate_key(key)
        limit = None if max_results is None else validation.validate_max_results(max_results, 2**31)
        points = self._ask_history(run_id, key, limit, page_token)
        if points is None:
            raise run_not_found(run_id)
        return points

    def _get_metric_history(self, query: HistoryQuery) -> list[Metric] | None:
        points = self._ask_history(query.run_id, query.key, None, None)
        if points is None or query.after is None:
            return points if points is None else points[: query.limit]
        after = query.after
        return [point for point in points if history_key(point) > after][: query.limit]

    def _ask_history(self, run_id: str, key: str, limit: int | None, token: str | None) -> PagedList[Metric] | None:
        """At most `limit` points from a page token on, and the next token; None if there is no such run."""
        mark, found = fingerprint("history", run_id, key), PagedList[Metric]((), token)
        while True:
            size = _HISTORY_PAGE if limit is None else min(limit - len(found), _HISTORY_PAGE)
            after = server_token(mark, found.token)
            query: Query = {"run_id": run_id, "metric_key": key, "max_results": size, "page_token": after}
            page = page_of(self._client.get("metrics/get-history", query), "metrics", metric_of, mark)
            found += page
            found.token = page.token if page else None
            if found.token is None or (limit is not None and len(found) >= limit):
                break
        # MLflow answers with no points for a run that does not exist.
        if not found and not self._server.is_holdall and self._get_run(run_id) is None:
            return None
        return found

    # Logged models

    def _create_logged_model(self, model: LoggedModel) -> LoggedModel:
        self._require_possible(model.experiment_id)
        body: dict[str, object] = {
            "experiment_id": model.experiment_id,
            "name": model.name,
            "params": pairs_json(model.params),
            "tags": pairs_json(model.tags),
        }
        details = {"model_type": model.model_type, "source_run_id": model.source_run_id}
        body |= {name: value for name, value in details.items() if value is not None}
        return self._model_of(self._client.post("logged-models", body, repeatable=False))

    def _get_logged_model(self, model_id: str) -> LoggedModel | None:
        try:
            answer = self._client.get(_model_endpoint(model_id))
        except NotFound:
            return None
        return self._model_of(answer)

    def _finalize_logged_model(self, model_id: str, status: LoggedModelStatus, time: int) -> LoggedModel:
        body = {"model_id": model_id, "status": model_status_json(status)}
        return self._model_of(self._client.call("PATCH", _model_endpoint(model_id), body=body))

    def _model_of(self, answer: Mapping[str, object]) -> LoggedModel:
        model = logged_model_of(answer.get("model"))
        # MLflow writes '' for no type.
        return replace(model, model_type=None) if model.model_type == "" and not self._server.is_holdall else model

    def _delete_logged_model(self, model_id: str, time: int) -> None:
        self._client.call("DELETE", _model_endpoint(model_id), body={"model_id": model_id})

    def _log_logged_model_data(self, model_id: str, params: dict[str, str], tags: dict[str, str]) -> None:
        if not params and not tags:
            self.get_logged_model(model_id)
        if params:
            self._add_model_params(model_id, params)
        if tags:
            body = {"model_id": model_id, "tags": pairs_json(tags)}
            self._client.call("PATCH", _model_endpoint(model_id, "tags"), body=body)

    def _add_model_params(self, model_id: str, params: dict[str, str]) -> None:
        endpoint = _model_endpoint(model_id, "params")
        try:
            self._client.post(endpoint, {"model_id": model_id, "params": pairs_json(params)})
        except BadRequest:  # MLflow takes no param again, not even with its value
            fresh = check_model_params(model_id, self.get_logged_model(model_id).params, params)
            if fresh:
                self._client.post(endpoint, {"model_id": model_id, "params": pairs_json(fresh)})

    def _delete_logged_model_tag(self, model_id: str, key: str) -> None:
        body = {"model_id": model_id, "tag_key": key}
        self._client.call("DELETE", _model_endpoint(model_id, "tags", key), body=body)

    def search_logged_models(
        self,
        experiment_ids: Sequence[str],
        filter_string: str | None = "",
        datasets: Sequence[Mapping[str, object]] | None = (),
        max_results: int = 100,
        order_by: Sequence[Mapping[str, object]] | None = (),
        page_token: str | None = None,
    ) -> PagedList[LoggedModel]:
        self._check_open()
        ids = validation.validate_experiment_ids(experiment_ids)
        body: dict[str, object] = {
            "experiment_ids": self._possible(ids),
            "max_results": validation.validate_max_results(max_results, validation.MAX_SEARCH_RESULTS),
        }
        clauses, ordering = parse_logged_model_filter(filter_string), parse_logged_model_order_by(order_by)
        mark = fingerprint("logged models", sorted(ids), clauses, parse_dataset_selectors(datasets), ordering)
        body |= _given(
            filter=filter_string,
            datasets=list(map(dict, datasets or ())),
            order_by=list(map(dict, order_by or ())),
            page_token=server_token(mark, page_token),
        )
        answer = self._client.post("logged-models/search", body) if body["experiment_ids"] else {}
        return page_of(answer, "models", lambda document: self._model_of({"model": document}), mark)

    def _search_logged_models(self, query: LoggedModelQuery) -> NoReturn:
        raise _asked_otherwise()

    def _log_model_metrics(
        self,
        model_id: str,
        run_id: str,
        metrics: Sequence[Metric],
        dataset_name: str | None,
        dataset_digest: str | None,
    ) -> None:
        if not metrics or not self._server.is_holdall:  # MLflow logs to the run before it looks for the model
            self.get_logged_model(model_id)
        if not metrics:
            self._require_active(run_id)
            return
        extra = {"model_id": model_id, **_given(dataset_name=dataset_name, dataset_digest=dataset_digest)}
        body = {"run_id": run_id, "metrics": [{**metric_json(metric), **extra} for metric in metrics]}
        self._client.post("runs/log-batch", body)

    def _link_models(self, run_id: str, inputs: Sequence[str], outputs: Mapping[str, int]) -> None:
        if not inputs and not outputs:
            self._require_active(run_id)
        if inputs:
            models = [{"model_id": model_id} for model_id in inputs]
            self._client.post("runs/log-inputs", {"run_id": run_id, "models": models})
        if outputs:
            self._add_outputs(run_id, outputs)

    def _add_outputs(self, run_id: str, outputs: Mapping[str, int]) -> None:
        try:
            self._client.post("runs/outputs", _outputs_body(run_id, outputs))
        except BadRequest:  # MLflow takes no output again
            linked = {output.model_id for output in self.get_run(run_id).outputs.model_outputs}
            fresh = {model_id: step for model_id, step in outputs.items() if model_id not in linked}
            if fresh:
                self._client.post("runs/outputs", _outputs_body(run_id, fresh))

    def _require_active(self, run_id: str) -> None:
        require_active_run(self.get_run(run_id).info.lifecycle_stage, run_id)


def _is_number(experiment_id: str) -> bool:
    """Whether an id is a number of 64 bits in its usual form: MLflow takes `007` for `7`."""
    return experiment_id.isdecimal() and str(int(experiment_id)) == experiment_id and int(experiment_id) < 2**63


def _model_endpoint(model_id: str, *below: str) -> str:
    return "/".join(["logged-models", *(quote(name, safe="") for name in (model_id, *below))])


def _outputs_body(run_id: str, outputs: Mapping[str, int]) -> dict[str, object]:
    return {"run_id": run_id, "models": [{"model_id": model_id, "step": step} for model_id, step in outputs.items()]}


def _given(**arguments: object) -> dict[str, object]:
    """The arguments that say something."""
    return {name: value for name, value in arguments.items() if value}


def _asked_otherwise() -> NotImplementedError:
    return NotImplementedError("the public method sends what it was given, without this hook")
