"""`holdall info`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Annotated

import typer

from holdall.cli.codec import run_json
from holdall.cli.options import JsonOption
from holdall.cli.output import console, print_facts, print_json, say, shown
from holdall.cli.paging import every
from holdall.cli.run_tables import print_runs
from holdall.cli.stores import all_experiments, open_for_reading
from holdall.stores import open_artifact_store
from holdall.stores.backend import BackendStore
from holdall.stores.entities import Experiment, Run, RunStatus, ViewType
from holdall.stores.errors import HoldallError

__all__ = ["info"]

LAST_RUNS = 5
STALE_HOURS = 24
"""After so long without an end a run has probably died."""


@dataclass(slots=True)
class Census:
    """What is in a store.

    Attributes:
        counts: How many of what, by name.
        last_runs: The latest active runs.
        problems: What is worth a look, in words.
    """

    counts: dict[str, int]
    last_runs: list[Run]
    problems: list[str] = field(default_factory=list)


def info(
    uri: Annotated[str | None, typer.Argument(metavar="[URI]", help="Backend store. Default: as for --store.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Say which store this is, what it can do and what is in it, without writing anything."""
    with open_for_reading(uri) as store:
        with console(stderr=True).status("reading"):
            census = take_census(store)
        if as_json:
            _print_json(store, census)
        else:
            _print(store, census)


def take_census(store: BackendStore) -> Census:
    """Count and check what is in a store."""
    experiments = all_experiments(store, ViewType.ALL)
    ids = [experiment.experiment_id for experiment in experiments]
    deleted = sum(experiment.lifecycle_stage != "active" for experiment in experiments)
    counts = {"experiments": len(experiments) - deleted, "deleted experiments": deleted, "runs": 0, "deleted runs": 0}
    stale: list[Run] = []
    for run in _runs(store, ids):
        active = run.info.lifecycle_stage == "active"
        counts["runs" if active else "deleted runs"] += 1
        if active and _is_stale(run):
            stale.append(run)
    last_runs = list(store.search_runs(ids, max_results=LAST_RUNS))
    problems = [str(problem) for problem in store.find_problems()]
    return Census(counts, last_runs, [*problems, *_stale_problem(stale), *_artifact_problems(experiments)])


def _runs(store: BackendStore, ids: list[str]) -> Iterator[Run]:
    return every(lambda limit, token: store.search_runs(ids, "", ViewType.ALL, limit, (), token))


def _is_stale(run: Run) -> bool:
    if run.info.status != RunStatus.RUNNING or run.info.start_time is None:
        return False
    return time.time() - run.info.start_time / 1000 > STALE_HOURS * 3600


def _stale_problem(runs: list[Run]) -> list[str]:
    if not runs:
        return []
    names = ", ".join(run.info.run_id for run in runs[:3]) + (" …" if len(runs) > 3 else "")
    return [f"{len(runs)} runs say RUNNING for more than {STALE_HOURS} hours; they have probably died: {names}"]


def _artifact_problems(experiments: list[Experiment]) -> list[str]:
    """Active experiments whose artifacts cannot be reached by their location."""
    problems = []
    for experiment in experiments:
        if experiment.lifecycle_stage != "active":
            continue
        try:
            open_artifact_store(experiment.artifact_location, read_only=True).close()
        except HoldallError as error:
            problems.append(f"artifacts of experiment {experiment.name!r} cannot be opened: {error.message}")
    return problems


def _print(store: BackendStore, census: Census) -> None:
    print_facts("Store", store.describe())
    print_facts("Holds", {name: f"{count:,}" for name, count in census.counts.items()})
    flags = asdict(store.capabilities)
    words = {True: "yes", False: "no"}
    print_facts(
        "Can do", {name: words[value] if isinstance(value, bool) else str(value) for name, value in flags.items()}
    )
    if census.last_runs:
        say("Last runs", style="bold")
        print_runs(census.last_runs, [])
    say("Problems" if census.problems else "No problems found", style="bold")
    for problem in census.problems:
        say(f"  {shown(problem)}")


def _print_json(store: BackendStore, census: Census) -> None:
    print_json(
        {
            "store": store.describe(),
            "counts": census.counts,
            "capabilities": asdict(store.capabilities),
            "last_runs": list(map(run_json, census.last_runs)),
            "problems": census.problems,
        }
    )
