"""Other processes for the suite: each opens the store by its URI and does one job.

    python -m holdall.conformance_tests.workers JOB URI ARTIFACT_ROOT [ARGUMENT …]

`ARTIFACT_ROOT` may be empty. A job waits for a line on standard input before it starts, so that several can start at
once, and prints what it has done, a line each, flushed at once.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence

from holdall.conformance_tests.harness import BackendHarness
from holdall.stores import AlreadyExists, BackendStore, Metric, Param, open_backend_store

__all__ = ["Worker", "main", "run_together"]

_BATCH = 20
"""Metrics in each batch of the job `log`."""

_TIMEOUT = 120.0
"""Seconds after which a job counts as hanging."""


class Worker:
    """A job in another process.

    Args:
        harness: The place of the store; its `uri` must not be None.
        job: Name of a job of this module.
        arguments: What the job is given.
    """

    def __init__(self, harness: BackendHarness, job: str, *arguments: str) -> None:
        assert harness.uri is not None
        code = f"import sys; sys.path[:] = {sys.path!r}; from holdall.conformance_tests.workers import main; main()"
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, job, harness.uri, harness.artifact_root or "", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
        assert self.read_line() == "ready", self._stop()

    def start(self) -> None:
        """Let the job begin."""
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()

    def read_line(self) -> str:
        """The next line that the job prints; '' at its end."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().rstrip("\n")

    def finish(self) -> list[str]:
        """Wait for the end and return the lines not read yet; the job must have succeeded."""
        output, errors = self.process.communicate(timeout=_TIMEOUT)
        assert self.process.returncode == 0, errors
        return output.splitlines()

    def kill(self) -> list[str]:
        """End the process as `kill -9` does and return the lines not read yet."""
        assert self.process.stdout is not None
        self.process.kill()
        output = self.process.stdout.read()  # not by communicate(), which passes over what readline() has buffered
        self.process.communicate(timeout=_TIMEOUT)
        return output.splitlines()

    def _stop(self) -> str:
        self.process.kill()
        return self.process.communicate(timeout=_TIMEOUT)[1]


def run_together(workers: Sequence[Worker]) -> list[list[str]]:
    """Start jobs at the same moment; the lines of each, when all have succeeded."""
    for worker in workers:
        worker.start()
    return [worker.finish() for worker in workers]


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - standard output is the protocol


def _create_same(open_store: Callable[[], BackendStore], name: str) -> None:
    """Open the store for the first time and get or create an experiment: prints its id."""
    with open_store() as store:
        try:
            _say(store.create_experiment(name))
        except AlreadyExists:
            found = store.get_experiment_by_name(name)
            assert found is not None
            _say(found.experiment_id)


def _log_shared(open_store: Callable[[], BackendStore], run_id: str, worker: str, rounds: str) -> None:
    """Log batches over the same keys as other workers, in an order of its own, and points of its own."""
    keys = [f"k{number}" for number in range(600)]
    if int(worker) % 2:
        keys.reverse()
    with open_store() as store:
        for step in range(int(rounds)):
            store.log_batch(run_id, [Metric(key, float(worker), int(worker), step) for key in keys])
            store.log_batch(run_id, params=[Param(key, "same") for key in keys if len(key) < 4])
            store.log_metric(run_id, Metric("single", float(worker), int(worker), step))
    _say("done")


def _log_for_ever(open_store: Callable[[], BackendStore], run_id: str) -> None:
    """Log single points and batches until killed; prints `single N` or `batch N` when a call has returned."""
    with open_store() as store:
        for step in range(1_000_000):
            store.log_metric(run_id, Metric("single", 1.0, 1, step))
            _say(f"single {step}")
            store.log_batch(run_id, [Metric(f"batch{number}", 1.0, 1, step) for number in range(_BATCH)])
            _say(f"batch {step}")


_JOBS: dict[str, Callable[..., None]] = {
    "create-same": _create_same,
    "log-shared": _log_shared,
    "log-for-ever": _log_for_ever,
}


def main() -> None:
    """Do the job that the command line names."""
    job, uri, artifact_root, *arguments = sys.argv[1:]
    _say("ready")
    sys.stdin.readline()
    _JOBS[job](lambda: open_backend_store(uri, artifact_root=artifact_root or None), *arguments)


if __name__ == "__main__":
    main()
