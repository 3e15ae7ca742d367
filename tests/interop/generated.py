"""A bigger piece of work, generated: many runs with texts and numbers that file formats like to spoil.

Everything follows from fixed seeds, so every writer is told the same. Keys and names keep within what MLflow can do in
a folder (`workload.for_folder`).
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from tests.interop.steps import INF, LARGEST, NAN, T0, Point, Step, dataset, end, experiment, log, run

__all__ = ["EXPERIMENTS", "GONE", "PER_EXPERIMENT", "extend", "write"]

PER_EXPERIMENT = 50
EXPERIMENTS = ("survey", "Übersicht 实验 😀", "a/b: third # plain")
GONE = "deleted with its runs"

_NAMES = ("2024-01-01", "on", "# no comment", " padded ", "no: yes", "007", "1e10", "~", "- dash", "two\nlines")
"""Names of experiments without runs, each of which YAML reads as something else when it is not quoted."""

_TEXTS = (
    "",
    " ",
    "plain",
    "first\nsecond\n",
    "\r\n\tmixed\r ends\r\n",
    "Ünïcode 实验 😀",
    "e\u0301 \u00e9",
    "trailing  ",
    "\n",
    "'single' \"double\" `back`",
    "%20 \\ \\n 100%",
    "---\n- yaml: [1, {a: b}]\n...\n",
    "null",
    "~",
    '{"a": [1, null], "ü": "😀"}',
    "\u2028 separators \u2029 \x85",
    "\ufeffmark",
    "\x01 control \x7f",
    "word " * 300,
)
_RUN_NAMES = (
    "run",
    "Ünïcode 实验 😀",
    "yes",
    "0x1F",
    "12:30:00",
    "2024-01-01 10:00:00",
    "1_000",
    "1e3",
    ".inf",
    "=",
    "<<",
    "- a",
    "? a",
    "key: value",
    "text # not a comment",
    " padded ",
    "*alias &anchor !tag",
    "{flow}",
    "[flow]",
    "a%b",
    "@at `back` it's",
    '"quoted"',
    "two\nlines\n",
    "tab\tinside",
    "\u2028 \x85 \ufeff",
    "a long name " * 20,
    "null",
    "|",
    ">",
)
_USERS = ("ann", "true", "0o17", "1.5", "Jörg 😀", "null", "off", "12345678901234567890")
_DIGESTS = ("12345678", "1e10", "0123", "1.5", "deadbeef", "123e4567", "null", "2024-01-01", "0x12", "_1")
_VALUES = (NAN, INF, -INF, -0.0, 5e-324, -LARGEST / 2, 0.1 + 0.2, 1e22, 1e-7, 123456789.125, 2.0**53)
_METRICS = ("loss", "val/acc", "deep/er/key", "größe", "step time", "a:b-c.d", "Loss", "精度")
_PARAMS = ("lr", "optim/name", "optim/args/beta 1", "größe", "k:colon-dash.dot", "Lr", "json")
_TAGS = ("note", "team/name", "a/b/c", "größe", "mlflow.note.content", "with space", "Note")
_STATUSES = ("FINISHED", "FAILED", "KILLED", "RUNNING", "SCHEDULED")


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a run is: the number of its experiment, counting the deleted one, and its own."""

    experiment: int
    number: int

    @property
    def ref(self) -> str:
        return f"{self.experiment}-{self.number}"

    @property
    def name(self) -> str:
        return (*EXPERIMENTS, GONE)[self.experiment]

    @property
    def deleted(self) -> bool:
        return self.number % 7 == 3

    @property
    def restored(self) -> bool:
        return self.number % 11 == 5


def write() -> list[Step]:
    """Three experiments of `PER_EXPERIMENT` runs, another that is deleted with some, and some without runs."""
    steps = [experiment(name, None if index else f"place {index}") for index, name in enumerate(_NAMES)]
    for index, name in enumerate(EXPERIMENTS):
        tags = dict(zip(_TAGS, Random(index).sample(_TEXTS, len(_TAGS)), strict=True))
        steps.append(experiment(name, None if index == 1 else f"{index} Ünïcode", **tags))
        steps += [step for number in range(PER_EXPERIMENT) for step in _run_steps(_Place(index, number))]
    steps.append(experiment(GONE, "gone", why="two\nlines"))
    steps += [step for number in range(10) for step in _run_steps(_Place(len(EXPERIMENTS), number))]
    steps.append(("delete_experiment", {"name": GONE}))
    return steps


def extend(turn: int) -> list[Step]:
    """Add to every experiment, in turn 1, 2, …; a turn deletes one and restores the one of the turn before."""
    steps: list[Step] = [
        ("restore_experiment", {"name": GONE if turn == 1 else _victim(turn - 1)}),
        experiment(f"of turn {turn}", None, turn=str(turn)),
    ]
    for index, name in enumerate(EXPERIMENTS):
        steps.append(("set_experiment_tag", {"name": name, "key": f"turn/{turn}", "value": _TEXTS[turn]}))
        steps.append(("set_experiment_tag", {"name": name, "key": "note", "value": _TEXTS[-turn]}))
        steps += [step for number in range(0, 50, 4) for step in _addition(_Place(index, number), turn)]
        steps += [step for number in range(5) for step in _run_steps(_Place(index, 1000 * turn + number))]
    steps.append(("rename_experiment", {"name": _NAMES[turn], "new_name": f"{_NAMES[turn]} {turn}"}))
    steps.append(("delete_experiment", {"name": _victim(turn)}))
    return steps


def _victim(turn: int) -> str:
    return EXPERIMENTS[turn % len(EXPERIMENTS)]


def _run_steps(place: _Place) -> list[Step]:
    random = Random(place.ref)
    start = T0 + place.number * 1000
    user = random.choice(_USERS) if place.number % 3 else None
    steps = [
        run(place.name, place.ref, random.choice(_RUN_NAMES), start, user),
        log(place.ref, *_points(random), params=_texts(random, _PARAMS, 4), tags=_texts(random, _TAGS, 4)),
    ]
    if place.number % 5:
        parent = _Place(place.experiment, place.number - place.number % 5)
        steps.append(("nest", {"ref": place.ref, "parent": parent.ref}))
    if place.number % 4 == 0:
        steps.append(("log_inputs", {"ref": place.ref, "datasets": _datasets(random)}))
    if place.number % 6:
        steps.append(end(place.ref, random.choice(_STATUSES), start + random.randrange(10**7)))
    if place.deleted or place.restored:
        steps.append(("delete_run", {"ref": place.ref}))
    if place.restored:
        steps.append(("restore_run", {"ref": place.ref}))
    return steps


def _addition(place: _Place, turn: int) -> list[Step]:
    """What a turn does to a run that the first writer wrote."""
    if place.deleted and not place.restored:
        return [("restore_run", {"ref": place.ref})] if turn % 2 else [("delete_run", {"ref": place.ref})]
    random = Random(f"{place.ref} {turn}")
    again = _points(Random(place.ref))[:10]  # logged before: every point counts once
    tags = _texts(random, _TAGS, 2) | {f"turn {turn}": random.choice(_TEXTS), "fleeting": "x"}
    return [
        log(place.ref, *again, *_points(random), params={f"turn/{turn}": random.choice(_TEXTS)}, tags=tags),
        ("delete_tag", {"ref": place.ref, "key": "fleeting"}),
        ("log_metric", {"ref": place.ref, "metric": (f"turn/{turn}", random.choice(_VALUES), T0, -turn)}),
        ("log_inputs", {"ref": place.ref, "datasets": _datasets(random)}),
        ("update_run", {"ref": place.ref, "status": random.choice(_STATUSES), "name": random.choice(_RUN_NAMES)}),
    ]


def _points(random: Random) -> list[Point]:
    """Up to ten points of some metrics: out of order, with negative steps, repeated, odd values among them."""
    points: list[Point] = []
    for key in random.sample(_METRICS, 5):
        for step in random.sample(range(-20, 100), random.randint(1, 10)):
            value = random.choice(_VALUES) if random.random() < 0.3 else random.gauss(0, 10 ** random.randint(-9, 9))
            points.append((key, value, T0 + random.randrange(10), step))
    return [*points, *random.sample(points, 2)]


def _texts(random: Random, keys: tuple[str, ...], count: int) -> dict[str, str]:
    return {key: random.choice(_TEXTS) for key in random.sample(keys, count)}


def _datasets(random: Random) -> list[dict[str, object]]:
    """Some of the datasets of an experiment; details of one that is known already count for nothing."""
    return [
        dataset(name, digest, random.choice((None, "train", *_TEXTS[:8])), schema=random.choice(_TEXTS), profile="{}")
        for name, digest in zip(
            random.sample(("digits", "größe 😀", "", "007"), 3), random.sample(_DIGESTS, 3), strict=True
        )
    ]
