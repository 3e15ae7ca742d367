"""`jsonl://`: experiments and runs in a journal of JSON lines."""

from __future__ import annotations

import time as clock
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import RLock
from typing import Any

from holdall.backends.memory import MemoryBackendStore
from holdall.stores import (
    BackendStore,
    Capabilities,
    DatasetInput,
    Experiment,
    ExperimentTag,
    InternalError,
    InvalidParameterValue,
    Metric,
    NotFound,
    Param,
    Run,
    RunInfo,
    RunStatus,
    StoreURI,
)
from holdall.stores.queries import ExperimentQuery, HistoryQuery, RunQuery
from holdall_example import codec
from holdall_example.journal import Event, Journal

__all__ = ["JsonlBackendStore"]

FORMAT = 1
"""Written into the first line; a journal of another format is refused."""


class JsonlBackendStore(BackendStore):
    """Experiments and runs in one file of JSON lines, which is read into memory on opening.

    Every change is one line. Questions are answered from memory, after reading the lines that were added meanwhile.

    **Threads and processes.** Any number of either. Writers take turns by a lock on the file (`flock`), so the folder
    must be on a file system where that works for all of them.

    **Ordering and visibility.** Changes take effect in the order of their lines; a call sees all lines written before.

    **Durability.** What a call wrote survives the death of the process: the operating system has the line. One that was
    cut short by a death counts as not written. A power failure may take the last lines with it.

    **Not promised.** Size and speed: everything is held in memory, opening reads the whole journal, and the journal
    keeps what was overwritten.

    Args:
        uri: `jsonl:///folder`.
        artifact_root: Under which new experiments keep artifacts; by default `artifacts` in the folder.
        read_only: Refuse every write.
        create: Create the folder and the journal if there is none.

    Raises:
        InvalidParameterValue: The URI has a host or options, or the journal is none.
        NotFound: There is no journal, and none was to be created.
    """

    def __init__(
        self, uri: StoreURI, *, artifact_root: StoreURI | None = None, read_only: bool = False, create: bool = True
    ) -> None:
        uri.options()
        if uri.host or uri.path in ("", "/"):
            raise InvalidParameterValue(f"Invalid store URI {uri}: write jsonl:///folder.")
        self._folder = Path(uri.path)
        super().__init__(uri, artifact_root=artifact_root, read_only=read_only)
        file = self._folder / "journal.jsonl"
        if create and not read_only:
            self._folder.mkdir(parents=True, exist_ok=True)
        elif not file.is_file():
            raise NotFound(f"There is no journal at {uri}; open it with create=True to make one.")
        self._lock = RLock()
        self._journal = Journal(file, read_only=read_only)
        self._model: MemoryBackendStore | None = None
        self._begin()

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities()

    def _default_artifact_root(self) -> StoreURI:
        return StoreURI.parse(self._folder / "artifacts")

    def _close(self) -> None:
        with self._lock:
            self._journal.close()

    def _begin(self) -> None:
        """Read the journal, and begin it if it is empty and may be written."""
        self._catch_up()
        if self._model is None and not self.read_only:
            with self._journal.exclusive():
                self._catch_up()
                if self._model is None:
                    location = self.artifact_root.join("0").render(hide_password=False)
                    self._do({"do": "begin", "format": FORMAT, "time": _now(), "location": location})
                    self.created = True
        if self._model is None:
            raise NotFound(f"The journal at {self.uri} is empty: whoever creates it has not finished.")

    def _catch_up(self) -> None:
        """Apply the lines that have been added since the last time."""
        try:
            for event in self._journal.read_new():
                self._apply(event)
        except (ValueError, KeyError, TypeError) as error:
            raise InvalidParameterValue(f"The journal at {self.uri} holds a line that is no event of ours.") from error

    @contextmanager
    def _reading(self) -> Iterator[MemoryBackendStore]:
        with self._lock:
            self._catch_up()
            assert self._model is not None
            yield self._model

    def _change(self, what: str, **arguments: object) -> Any:
        """Do something to the model and, if the model takes it, write it down; the model's answer."""
        with self._lock, self._journal.exclusive():
            self._catch_up()
            return self._do({"do": what, **arguments})

    def _do(self, event: Event) -> Any:
        answer = self._apply(event)
        try:
            self._journal.append(event)
        except BaseException as error:
            self.close()  # the model is ahead of the journal now
            if isinstance(error, OSError):
                raise InternalError(f"The journal at {self.uri} cannot be written; the store was closed.") from error
            raise
        return answer

    def _apply(self, event: Mapping[str, Any]) -> Any:
        """Do to the model what an event says; raises what the model raises, and has changed nothing then."""
        arguments = {key: value for key, value in event.items() if key != "do"}
        if event["do"] == "begin":
            self._model = codec.begin(arguments)
            return None
        assert self._model is not None
        return codec.ACTIONS[event["do"]](self._model, **arguments)

    # Experiments

    def _create_experiment(self, name: str, locate: Callable[[str], str], tags: dict[str, str], time: int) -> str:
        with self._lock, self._journal.exclusive():
            self._catch_up()
            assert self._model is not None
            location = locate(self._model.next_experiment_id())
            event: Event = {"do": "create_experiment", "name": name, "location": location, "tags": tags, "time": time}
            return str(self._do(event))

    def _get_experiment(self, experiment_id: str) -> Experiment | None:
        with self._reading() as model:
            return model._get_experiment(experiment_id)

    def _get_experiment_by_name(self, name: str) -> Experiment | None:
        with self._reading() as model:
            return model._get_experiment_by_name(name)

    def _rename_experiment(self, experiment_id: str, new_name: str, time: int) -> None:
        self._change("rename_experiment", experiment_id=experiment_id, new_name=new_name, time=time)

    def _delete_experiment(self, experiment_id: str, time: int) -> None:
        self._change("delete_experiment", experiment_id=experiment_id, time=time)

    def _restore_experiment(self, experiment_id: str, time: int) -> None:
        self._change("restore_experiment", experiment_id=experiment_id, time=time)

    def _set_experiment_tag(self, experiment_id: str, tag: ExperimentTag, time: int) -> None:
        self._change("set_experiment_tag", experiment_id=experiment_id, key=tag.key, value=tag.value, time=time)

    def _delete_experiment_tag(self, experiment_id: str, key: str, time: int) -> None:
        self._change("delete_experiment_tag", experiment_id=experiment_id, key=key, time=time)

    def _search_experiments(self, query: ExperimentQuery) -> list[Experiment]:
        with self._reading() as model:
            return model._search_experiments(query)

    # Runs

    def _create_run(self, run: Run) -> Run:
        created: Run = self._change("create_run", **codec.encode_run(run))
        return created

    def _get_run(self, run_id: str) -> Run | None:
        with self._reading() as model:
            return model._get_run(run_id)

    def _update_run_info(
        self, run_id: str, status: RunStatus | None, end_time: int | None, run_name: str | None
    ) -> RunInfo:
        info: RunInfo = self._change(
            "update_run_info", run_id=run_id, status=status, end_time=end_time, run_name=run_name
        )
        return info

    def _delete_run(self, run_id: str, time: int) -> None:
        self._change("delete_run", run_id=run_id, time=time)

    def _restore_run(self, run_id: str) -> None:
        self._change("restore_run", run_id=run_id)

    def _log_batch(self, run_id: str, metrics: Sequence[Metric], params: Sequence[Param], tags: dict[str, str]) -> None:
        self._change("log_batch", run_id=run_id, **codec.encode_batch(metrics, params), tags=tags)

    def _delete_tag(self, run_id: str, key: str) -> None:
        self._change("delete_tag", run_id=run_id, key=key)

    def _log_inputs(self, run_id: str, datasets: Sequence[DatasetInput]) -> None:
        self._change("log_inputs", run_id=run_id, datasets=codec.encode_inputs(datasets))

    def _get_metric_history(self, query: HistoryQuery) -> list[Metric] | None:
        with self._reading() as model:
            return model._get_metric_history(query)

    def _search_runs(self, query: RunQuery) -> list[Run]:
        with self._reading() as model:
            return model._search_runs(query)


def _now() -> int:
    return clock.time_ns() // 1_000_000
