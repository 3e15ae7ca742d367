"""Processes that press hard on one store, and what became of it: used by the tests, and by hand.

    HOLDALL_STRESS=full python tests/backends/stress.py sqlite|file|postgresql|mariadb cold_start|crash|load
    HOLDALL_STRESS=full python tests/backends/stress.py postgresql|mariadb deadlock|restart|server_crash

prints the figures. `full` is the scale at which releases are accepted; the default, `ci`, takes seconds.

A scenario starts workers, which are this file run again as processes of their own. A worker says `ready`, waits for
`go`, so that all begin at the same moment, and reports on its standard output.
"""

from __future__ import annotations

import itertools
import json
import logging
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

if __name__ == "__main__":  # a worker, or by hand: what the tests share is found from the top of the project
    sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.backends.places import KINDS, Place, ServerPlace

from holdall.conformance_tests.emulators import new_server
from holdall.stores import BackendStore, Metric, Param, Run, RunTag, ViewType, open_backend_store
from holdall.stores.errors import AlreadyExists, TemporarilyUnavailable

__all__ = ["Outcome", "Scale", "cold_start", "crash", "deadlock", "load", "restart", "scale"]

EXPERIMENT = "contended"
PROCESSES, THREADS, OPENERS = 4, 8, 8
BATCH = 50
CRASHES_PER_STORE = 20


@dataclass(frozen=True, slots=True)
class Scale:
    """How hard to press.

    Attributes:
        cold_starts: New stores, each opened by 8 processes at once.
        kills: Writers killed.
        rounds: Rounds of calls of each of 4 × 8 threads, by kind of place: a round leaves a file for each of its
            params and tags in a folder, and readers read them all.
        shufflers: Processes that log the same keys in different orders.
        shuffling: Seconds for which they do.
        restarts: How often a server is stopped under load.
    """

    cold_starts: int
    kills: int
    rounds: dict[str, int]
    shufflers: int
    shuffling: float
    restarts: int


_SCALES = {
    "ci": Scale(
        cold_starts=2,
        kills=6,
        rounds={"sqlite": 3, "file": 1, "postgresql": 1, "mariadb": 1},
        shufflers=4,
        shuffling=2,
        restarts=1,
    ),
    "full": Scale(
        cold_starts=50,
        kills=200,
        rounds={"sqlite": 60, "file": 8, "postgresql": 20, "mariadb": 20},
        shufflers=16,
        shuffling=60,
        restarts=6,
    ),
}


def scale() -> Scale:
    """The scale that `HOLDALL_STRESS` asks for."""
    return _SCALES[os.environ.get("HOLDALL_STRESS", "ci")]


@dataclass(slots=True)
class Outcome:
    """What a scenario found.

    Attributes:
        figures: Counts and times, by what they are.
        problems: What should not have happened; empty when all is well.
    """

    figures: dict[str, float] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def count(self, what: str, number: float = 1) -> None:
        """Add to a figure."""
        self.figures[what] = self.figures.get(what, 0) + number

    def slowest(self, what: str, seconds: float) -> None:
        """Keep the greatest of the times."""
        self.figures[what] = max(self.figures.get(what, 0), round(seconds, 3))

    def expect(self, condition: bool, problem: str) -> None:
        """Note a problem unless the condition holds."""
        if not condition:
            self.problems.append(problem)

    def expect_whole(self, place: Place, when: str) -> None:
        """Note a problem unless the storage is whole."""
        found = place.integrity()
        self.expect(found == "ok", f"{when}: {found}")


# Cold start: N processes open a store that is not there, and create the same experiment


def cold_start(kind: type[Place], folder: Path, trials: int) -> Outcome:
    """8 processes open the same new store and create the same experiment; each then logs a run of its own."""
    outcome = Outcome()
    for trial in range(trials):
        place = kind(folder / f"cold-{trial}")
        answers = _together([_start("open", place) for _ in range(OPENERS)], outcome)
        outcome.count("processes", OPENERS)
        outcome.count("succeeded", len(answers))
        told = [json.loads(answer) for answer in answers]
        outcome.expect(sum(item["created_store"] for item in told) == 1, f"trial {trial}: stores created: {told}")
        outcome.expect(
            sum(item["created_experiment"] for item in told) == 1, f"trial {trial}: experiments created: {told}"
        )
        with place.open() as store:
            names = sorted(experiment.name for experiment in store.search_experiments(ViewType.ALL))
            outcome.expect(names == ["Default", EXPERIMENT], f"trial {trial}: experiments {names}")
            runs = store.search_runs([item["experiment_id"] for item in told])
            outcome.expect(
                {run.info.run_id for run in runs} == {item["run_id"] for item in told}, f"trial {trial}: runs differ"
            )
            outcome.expect(
                {run.info.experiment_id for run in runs} == {_experiment_id(store)}, f"trial {trial}: ids differ"
            )
        outcome.expect_whole(place, f"trial {trial}")
    return outcome


def _work_open(uri: str) -> None:
    with open_backend_store(uri) as store:
        try:
            experiment_id, created = store.create_experiment(EXPERIMENT), True
        except AlreadyExists:
            experiment_id, created = _experiment_id(store), False
        run_id = store.create_run(experiment_id).info.run_id
        store.log_metric(run_id, Metric("m", 1.0, 1))
    answer = {
        "created_store": store.created,
        "created_experiment": created,
        "experiment_id": experiment_id,
        "run_id": run_id,
    }
    _say(json.dumps(answer))


# Crash: a writer is killed at some moment


def crash(kind: type[Place], folder: Path, kills: int, seed: int = 0) -> Outcome:
    """Kill a writer again and again; look for what it was told is written, and for halves of batches."""
    outcome = Outcome()
    moments = random.Random(seed)
    with kind(folder / "first").open() as store:  # loads what is needed, so that it does not count below
        store.search_runs(["0"])
    for kill in range(kills):
        place = kind(folder / f"crash-{kill // CRASHES_PER_STORE}")
        run_id, calls = _killed_writer(place, moments.uniform(0, 0.25))
        outcome.count("kills")
        outcome.count("acknowledged calls", calls)
        for read_only in (True, False):  # before anything is recovered, and after
            begun = time.perf_counter()
            with place.open(read_only=read_only) as store:
                run = store.get_run(run_id)
                outcome.slowest("slowest opening and first read (s)", time.perf_counter() - begun)
                _check_calls(store, run, calls, outcome, f"kill {kill}")
                if not read_only:
                    begun = time.perf_counter()
                    store.set_tag(run_id, RunTag("after", "the kill"))
                    outcome.slowest("slowest first write (s)", time.perf_counter() - begun)
                    _check_calls(store, store.get_run(run_id), calls, outcome, f"kill {kill}, after a write")
        outcome.expect_whole(place, f"kill {kill}")
    return outcome


def _killed_writer(place: Place, seconds: float) -> tuple[str, int]:
    """Start a writer, kill it after it has written for so long; its run, and how many calls returned to it."""
    writer = _start("write", place)
    with writer:
        _release([writer])
        assert writer.stdout is not None
        run_id = writer.stdout.readline().strip()
        try:
            writer.wait(seconds)
        except subprocess.TimeoutExpired:
            writer.kill()
        else:
            assert writer.stderr is not None
            raise AssertionError(f"the writer ended by itself: {writer.stderr.read()}")
        return run_id, writer.stdout.read().count("\n")


def _work_write(uri: str) -> None:
    with open_backend_store(uri) as store:
        run_id = store.create_run("0").info.run_id
        _say(run_id)
        for number in itertools.count():
            _CALLS[number % len(_CALLS)](store, run_id, number)
            _say(str(number))


def _call_metric(store: BackendStore, run_id: str, number: int) -> None:
    store.log_metric(run_id, Metric("single", number / 7, 1, number))


def _call_param(store: BackendStore, run_id: str, number: int) -> None:
    store.log_param(run_id, Param(f"param {number}", str(number)))


def _call_tag(store: BackendStore, run_id: str, number: int) -> None:
    store.set_tag(run_id, RunTag(f"tag {number}", str(number)))


def _call_batch(store: BackendStore, run_id: str, number: int) -> None:
    store.log_batch(run_id, *_batch(number))


def _call_run(store: BackendStore, run_id: str, number: int) -> None:
    store.create_run("0", tags=[RunTag("parent", run_id), RunTag("call", str(number))])


_CALLS: Sequence[Callable[[BackendStore, str, int], None]] = (
    _call_metric,
    _call_param,
    _call_tag,
    _call_batch,
    _call_run,
)


def _batch(number: int) -> tuple[list[Metric], list[Param], list[RunTag]]:
    """A batch that tells which one it is; its tags and params have the same keys."""
    names = [f"batch/{number}/{index}" for index in range(10)]
    points = [Metric("batch", number / 7, 1, number * BATCH + index) for index in range(BATCH)]
    return points, [Param(name, str(number)) for name in names], [RunTag(name, str(number)) for name in names]


def _check_calls(store: BackendStore, run: Run, calls: int, outcome: Outcome, when: str) -> None:
    """Calls 0 … `calls` − 1 must have left everything, the next one everything or nothing, later ones nothing."""
    run_id, data = run.info.run_id, run.data
    children = store.search_runs([run.info.experiment_id], f"tags.parent = '{run_id}'", max_results=50000)
    points = {(point.step, point.value) for point in store.get_metric_history(run_id, "batch")}
    seen: list[set[int]] = [
        {point.step for point in store.get_metric_history(run_id, "single") if point.value == point.step / 7},
        {int(key[6:]) for key, value in data.params.items() if key == f"param {value}"},
        {int(key[4:]) for key, value in data.tags.items() if key == f"tag {value}"},
        {step // BATCH for step, _ in points},
        {int(child.data.tags["call"]) for child in children},
    ]
    for remainder, numbers in enumerate(seen):
        acknowledged = set(range(remainder, calls, len(_CALLS)))
        outcome.expect(acknowledged <= numbers, f"{when}: lost {sorted(acknowledged - numbers)}")
        outcome.expect(numbers - acknowledged <= {calls}, f"{when}: too many {sorted(numbers - acknowledged)}")
        outcome.count("written, not acknowledged", len(numbers - acknowledged) / 3)
    for number in seen[3]:
        metrics, params, tags = _batch(number)
        whole = points.issuperset((metric.step, metric.value) for metric in metrics)
        whole = whole and all(data.params.get(item.key) == item.value for item in params)
        outcome.expect(
            whole and all(data.tags.get(item.key) == item.value for item in tags), f"{when}: part of batch {number}"
        )
    keys = [key for key in (*data.params, *data.tags) if key.startswith("batch/")]
    outcome.expect(len(keys) == 20 * len(seen[3]), f"{when}: params or tags of a batch without its metrics")
    outcome.expect(len(points) == BATCH * len(seen[3]), f"{when}: part of a batch")


# Load: processes × threads write to one run and to many, while others read


def load(kind: type[Place], folder: Path, rounds: int) -> Outcome:
    """4 processes × 8 threads log to one run and each to runs of its own; two more processes read all the time."""
    outcome = Outcome()
    place = kind(folder / "load")
    with place.open() as store:
        experiment_id = store.create_experiment(EXPERIMENT)
        run_id = store.create_run(experiment_id, tags=[RunTag("shared", "yes")]).info.run_id
        readers = [_start("read", place, run_id) for _ in range(2)]
        _release(readers)
        begun = time.perf_counter()
        writers = [_start("load", place, run_id, process, rounds) for process in range(PROCESSES)]
        written = _together(writers, outcome)
        outcome.figures["seconds"] = round(time.perf_counter() - begun, 2)
        outcome.figures["write calls"] = sum(map(int, written))
        outcome.figures["reads meanwhile"] = sum(map(int, _collect(readers, outcome)))
        _check_load(store, run_id, PROCESSES * THREADS * rounds, outcome)
    outcome.expect_whole(place, "at the end")
    return outcome


def _work_load(uri: str, run_id: str, process: str, rounds: str) -> None:
    calls = 6 * int(rounds)

    def thread(store: BackendStore, experiment_id: str, index: int) -> int:
        for turn in range(int(rounds)):
            number = ((int(process) * THREADS) + index) * int(rounds) + turn
            store.log_metric(run_id, Metric("single", number / 7, 1, number))
            store.log_batch(run_id, *_batch(number))
            store.log_param(run_id, Param("same", "for all"))
            store.set_tag(run_id, RunTag("last", str(number)))
            own = store.create_run(experiment_id, tags=[RunTag("number", str(number))]).info.run_id
            store.log_batch(own, *_batch(number))
        return calls

    with open_backend_store(uri) as store, ThreadPoolExecutor(THREADS) as pool:
        experiment_id = _experiment_id(store)
        _say(str(sum(pool.map(lambda index: thread(store, experiment_id, index), range(THREADS)))))


def _work_read(uri: str, run_id: str) -> None:
    """Read until standard input ends; each view must be whole, and none may be older than the one before."""
    ended = _end_of_input()
    reads, before = 0, (0, 0, 0)
    with open_backend_store(uri) as store:
        experiment_id = _experiment_id(store)
        while not ended.is_set():
            data = store.get_run(run_id).data
            params = {key for key in data.params if key.startswith("batch/")}
            if params != {key for key in data.tags if key.startswith("batch/")}:
                raise AssertionError("half of a batch was seen by get_run")
            points = len(store.get_metric_history(run_id, "batch"))
            if points % BATCH:
                raise AssertionError("half of a batch was seen by get_metric_history")
            found = store.search_runs([experiment_id], "metrics.batch >= 0 AND tags.number != ''", max_results=50000)
            now = (len(params), points, len(found))
            if any(new < old for new, old in zip(now, before, strict=True)) or points < len(params) * BATCH // 10:
                raise AssertionError(f"an older view was seen: {now} after {before}")
            reads, before = reads + 3, now
    _say(str(reads))


def _check_load(store: BackendStore, run_id: str, total: int, outcome: Outcome) -> None:
    run = store.get_run(run_id)
    every = range(total)
    _expect_points(store, run_id, "single", [Metric("single", number / 7, 1, number) for number in every], outcome)
    batches = [_batch(number) for number in every]
    _expect_points(store, run_id, "batch", [point for points, _, _ in batches for point in points], outcome)
    params = {param.key: param.value for _, items, _ in batches for param in items} | {"same": "for all"}
    outcome.expect(run.data.params == params, "params of the shared run differ")
    tags = {tag.key: tag.value for _, _, items in batches for tag in items}
    found = {key: value for key, value in run.data.tags.items() if key.startswith("batch/")}
    outcome.expect(found == tags, "tags of the shared run differ")
    outcome.expect(
        run.data.metrics == {"single": (total - 1) / 7, "batch": (total - 1) / 7}, f"latest: {run.data.metrics}"
    )
    own = store.search_runs([run.info.experiment_id], "tags.number != ''", max_results=50000)
    outcome.expect(sorted(int(item.data.tags["number"]) for item in own) == list(every), "runs are missing or double")
    for item in own:
        points, inputs, labels = _batch(int(item.data.tags["number"]))
        _expect_points(store, item.info.run_id, "batch", points, outcome)
        outcome.expect(item.data.params == {param.key: param.value for param in inputs}, "params of a run differ")
        outcome.expect(all(item.data.tags[tag.key] == tag.value for tag in labels), "tags of a run differ")
    outcome.figures["points"] = total * (1 + 2 * BATCH)


def _expect_points(store: BackendStore, run_id: str, key: str, points: list[Metric], outcome: Outcome) -> None:
    history = store.get_metric_history(run_id, key)
    outcome.expect(list(history) == points, f"{key} of {run_id}: {len(history)} points, expected {len(points)}")


# Deadlock: processes log the same keys in different orders


def deadlock(kind: type[Place], folder: Path, processes: int, seconds: float) -> Outcome:
    """Processes log batches of the same 600 metrics, and tags and params, in random orders to the same three runs."""
    outcome = Outcome()
    place = kind(folder / "deadlock")
    with place.open() as store:
        experiment_id = store.create_experiment(EXPERIMENT)
        runs = [store.create_run(experiment_id).info.run_id for _ in range(3)]
        shufflers = [_start("shuffle", place, process, seconds, *runs) for process in range(processes)]
        answers = [json.loads(answer) for answer in _together(shufflers, outcome)]
        outcome.count("calls", sum(len(steps) for answer in answers for steps in answer["steps"].values()))
        outcome.slowest("slowest call (s)", max((answer["slowest"] for answer in answers), default=0))
        for run_id in runs:
            steps = sorted(step for answer in answers for step in answer["steps"].get(run_id, []))
            data = store.get_run(run_id).data
            for key in SHUFFLED if len(steps) < 100 else SHUFFLED[:: len(SHUFFLED) // 20]:
                _expect_points(store, run_id, key, [Metric(key, step / 7, 1, step) for step in steps], outcome)
            latest = dict.fromkeys(SHUFFLED, steps[-1] / 7) if steps else {}
            outcome.expect(data.metrics == latest, f"latest values of {run_id} differ")
            outcome.expect(data.params.keys() == set(SHUFFLED[:20] if steps else ()), f"params of {run_id} differ")
            outcome.expect(
                len({data.tags.get(key) for key in SHUFFLED[:20]}) == 1, f"tags of {run_id} are of different batches"
            )
            outcome.count("points", len(steps) * len(SHUFFLED))
    outcome.expect_whole(place, "at the end")
    return outcome


SHUFFLED = [f"key {number}" for number in range(600)]


def _work_shuffle(uri: str, process: str, seconds: str, *runs: str) -> None:
    order = random.Random(process)
    steps: dict[str, list[int]] = {}
    slowest = 0.0
    with open_backend_store(uri) as store:
        ending = time.monotonic() + float(seconds)
        for turn in itertools.count():
            begun = time.monotonic()
            if begun > ending:
                break
            run_id, step = order.choice(runs), int(process) + 1000 * turn
            keys, few = order.sample(SHUFFLED, len(SHUFFLED)), order.sample(SHUFFLED[:20], 20)
            metrics = [Metric(key, step / 7, 1, step) for key in keys]
            store.log_batch(run_id, metrics, [Param(key, key) for key in few], [RunTag(key, str(step)) for key in few])
            steps.setdefault(run_id, []).append(step)
            slowest = max(slowest, time.monotonic() - begun)
    _say(json.dumps({"steps": steps, "slowest": slowest}))


# Restart: a server is stopped and started under load


def restart(kind: type[ServerPlace], folder: Path, restarts: int, *, kill: bool) -> Outcome:
    """4 processes log while their server is stopped, or killed, and started again.

    Calls may take long, or fail with `TemporarilyUnavailable` and are made again; whatever returned must be there.
    """
    outcome = Outcome()
    server = new_server(kind.scheme, *_DURABLE[kind.scheme])
    server.start()
    try:
        place = kind(folder / "restart", server)
        place.open().close()
        workers = [_start("persist", place) for _ in range(PROCESSES)]
        _release(workers)
        listeners = [_Listener(worker) for worker in workers]
        for _ in range(restarts):
            for listener in listeners:
                listener.wait_for_more(20)
            (server.kill if kill else server.stop)()
            server.start()
            outcome.count("restarts")
        answers = [json.loads(last) for listener in listeners if (last := listener.finish(outcome))]
        with place.open() as store:
            for answer in answers:
                run_id, calls = answer["run_id"], answer["calls"]
                outcome.count("calls", calls)
                outcome.count("told to try again", answer["refused"])
                outcome.slowest("longest pause (s)", answer["slowest"])
                _check_calls(store, store.get_run(run_id), calls, outcome, f"run {run_id}")
        outcome.expect_whole(place, "at the end")
    finally:
        server.remove()
    return outcome


_DURABLE = {
    "postgresql": ("--fsync=on", "--full_page_writes=on"),
    "mariadb": ("--innodb-flush-log-at-trx-commit=1", "--innodb-doublewrite=ON", "--innodb-flush-method=fsync"),
}


class _Listener:
    """Hears what a worker says when it says it."""

    def __init__(self, worker: subprocess.Popen[str]) -> None:
        self._worker = worker
        self._said: list[str] = []
        self._news = threading.Condition()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        assert self._worker.stdout is not None
        while line := self._worker.stdout.readline():
            with self._news:
                self._said.append(line)
                self._news.notify_all()
        with self._news:
            self._news.notify_all()

    def wait_for_more(self, lines: int) -> None:
        """Wait until the worker has said so many more lines, or its end."""
        with self._news:
            target = len(self._said) + lines
            self._news.wait_for(lambda: len(self._said) >= target or self._worker.poll() is not None, timeout=300)

    def finish(self, outcome: Outcome) -> str | None:
        """Let the worker come to its end; its last line, or None if it failed."""
        assert self._worker.stdin is not None
        assert self._worker.stderr is not None
        self._worker.stdin.close()
        self._thread.join()
        complaints = self._worker.stderr.read()
        with self._worker:
            pass
        if self._worker.returncode == 0 and not complaints:
            return self._said[-1]
        outcome.problems.append(f"a worker failed ({self._worker.returncode}): {complaints}")
        return None


def _work_persist(uri: str) -> None:
    """Make calls until standard input ends, each until it returns."""
    logging.getLogger("psycopg").setLevel(logging.ERROR)  # it warns of each connection that breaks
    ended = _end_of_input()
    refused, slowest = 0, 0.0
    with open_backend_store(uri) as store:
        run_id = store.create_run("0").info.run_id
        number = 0
        while not ended.is_set():
            begun = time.monotonic()
            try:
                _CALLS[number % len(_CALLS)](store, run_id, number)
            except TemporarilyUnavailable:
                refused += 1
                continue
            slowest = max(slowest, time.monotonic() - begun)
            _say(str(number))
            number += 1
    _say(json.dumps({"run_id": run_id, "calls": number, "refused": refused, "slowest": slowest}))


# Workers


def _end_of_input() -> threading.Event:
    """What is set when standard input ends."""
    ended = threading.Event()

    def wait_for_end() -> None:
        sys.stdin.read()
        ended.set()

    threading.Thread(target=wait_for_end, daemon=True).start()
    return ended


def _experiment_id(store: BackendStore) -> str:
    experiment = store.get_experiment_by_name(EXPERIMENT)
    if experiment is None:
        raise AssertionError("the experiment is not there")
    return experiment.experiment_id


def _say(text: str) -> None:
    """Tell the parent, at once and whole."""
    os.write(1, text.encode() + b"\n")


def _start(work: str, place: Place, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, __file__, "worker", work, place.uri, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _release(workers: Sequence[subprocess.Popen[str]]) -> None:
    """Wait until all have imported what they need, then let all begin."""
    for worker in workers:
        assert worker.stdout is not None
        worker.stdout.readline()
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()


def _together(workers: Sequence[subprocess.Popen[str]], outcome: Outcome) -> list[str]:
    """Let the workers run to their end; what those said that succeeded."""
    _release(workers)
    return _collect(workers, outcome)


def _collect(workers: Sequence[subprocess.Popen[str]], outcome: Outcome) -> list[str]:
    answers = []
    for worker in workers:
        out, complaints = worker.communicate()
        if worker.returncode == 0 and not complaints:
            answers.append(out)
        else:
            outcome.problems.append(f"a worker failed ({worker.returncode}): {complaints}")
    return answers


def _server_kind(kind: type[Place]) -> type[ServerPlace]:
    assert issubclass(kind, ServerPlace), "this scenario needs a server"
    return kind


def _main() -> None:
    mode, *arguments = sys.argv[1:]
    if mode == "worker":
        work, *rest = arguments
        workers: dict[str, Callable[..., None]] = {
            "open": _work_open,
            "write": _work_write,
            "load": _work_load,
            "read": _work_read,
            "shuffle": _work_shuffle,
            "persist": _work_persist,
        }
        _say("ready")
        sys.stdin.readline()
        workers[work](*rest)
        return
    (scenario,), kind, amounts = arguments, KINDS[mode], scale()
    with tempfile.TemporaryDirectory() as folder:
        outcome = {
            "deadlock": lambda: deadlock(kind, Path(folder), amounts.shufflers, amounts.shuffling),
            "restart": lambda: restart(_server_kind(kind), Path(folder), amounts.restarts, kill=False),
            "server_crash": lambda: restart(_server_kind(kind), Path(folder), amounts.restarts, kill=True),
            "cold_start": lambda: cold_start(kind, Path(folder), amounts.cold_starts),
            "crash": lambda: crash(kind, Path(folder), amounts.kills),
            "load": lambda: load(kind, Path(folder), amounts.rounds[mode]),
        }[scenario]()
    for what, number in outcome.figures.items():
        print(f"{what}: {number:g}")  # noqa: T201
    print("\n".join(outcome.problems) or "no problems")  # noqa: T201
    sys.exit(bool(outcome.problems))


if __name__ == "__main__":
    _main()
