"""What MLflow and holdall are both told to write: lists of steps, so that one description serves every writer.

A step is the name of a method of a writer and its arguments, plain enough for JSON. Experiments are named by their
current name; a run by its tag `ref`, since ids are the writer's own.
"""

from __future__ import annotations

import math
import sys

__all__ = ["EXTEND", "EXTEND_AGAIN", "ROOT", "WRITE", "Point", "Search", "Step", "searches"]

Step = tuple[str, dict[str, object]]
Point = tuple[str, float, int, int]
"""Key, value, timestamp, step."""
Search = tuple[str, list[str]]
"""Filter and order, for runs of the experiment `search`."""

ROOT = "/srv/artifacts"
T0 = 1_700_000_000_000
NAN, INF = math.nan, math.inf
LARGEST = sys.float_info.max


def _run(experiment: str, ref: str, name: str, start: int = T0, user: str | None = None, **tags: str) -> Step:
    named = tags if user is None else tags | {"mlflow.user": user}
    arguments = {"experiment": experiment, "ref": ref, "name": name, "start_time": start, "tags": named}
    return "create_run", arguments


def _log(ref: str, *points: Point, params: dict[str, str] | None = None, tags: dict[str, str] | None = None) -> Step:
    return "log_batch", {"ref": ref, "metrics": list(points), "params": params or {}, "tags": tags or {}}


def _end(ref: str, status: str, end_time: int = T0 + 60_000) -> Step:
    return "end_run", {"ref": ref, "status": status, "end_time": end_time}


def _experiment(name: str, location: str, **tags: str) -> Step:
    return "create_experiment", {"name": name, "artifact_location": f"{ROOT}/{location}", "tags": tags}


def _dataset(name: str, digest: str, context: str | None = None, **details: str) -> dict[str, object]:
    tags = {} if context is None else {"mlflow.data.context": context}
    source = {"source_type": "local", "source": '{"uri": "/data"}'}
    return {"name": name, "digest": digest, "tags": tags, **source, **details}


def _curve(key: str, count: int, start: int = 0) -> list[Point]:
    """A falling loss; every third step has the timestamp of the one before."""
    return [(key, 1 / (7 + step), T0 + 1000 * (step - (step % 3 == 2)), step) for step in range(start, start + count)]


_ODD_METRICS: list[Point] = [
    ("nan", 1.0, T0, 0),
    ("nan", NAN, T0, 1),
    ("was nan", NAN, T0, 0),
    ("was nan", 0.25, T0, 1),
    ("inf", INF, T0, 0),
    ("-inf", -INF, T0, 0),
    ("mixed", INF, T0, 0),
    ("mixed", -INF, T0, 1),
    ("mixed", NAN, T0, 2),
    ("mixed", 3.5, T0, 3),
    ("negative steps", 1.0, T0 + 9, -3),
    ("negative steps", 2.0, T0, -(2**63)),
    ("negative steps", 3.0, T0, -1),
    ("great", 1.0, 2**53 + 1, 2**63 - 1),
    ("great", 2.0, 2**63 - 1, 2**53 + 1),
    ("sum", 0.1 + 0.2, 0, 0),
    ("denormal", 5e-324, T0, 0),
    ("nearly greatest", math.nextafter(LARGEST, 0), T0, 0),
    ("whole", 2.0**53, T0, 0),
    ("val/acc", 0.5, T0, 0),
    ("val", 0.75, T0, 0),
    ("größe", 1.5, T0, 0),
    ("精度 :-.x", 2.5, T0, 0),
    ("Case", 1.0, T0, 0),
    ("case", 2.0, T0, 0),
]
_TIES: list[Point] = [
    ("tie value", 1.0, T0, 5),
    ("tie value", 3.0, T0, 5),
    ("tie value", 2.0, T0, 5),
    ("tie time", 9.0, T0, 5),
    ("tie time", 1.0, T0 + 1, 5),
    ("tie step", 9.0, T0 + 1, 4),
    ("tie step", 1.0, T0, 5),
    ("nan over -1", -1.0, T0, 0),
    ("nan over -1", NAN, T0, 0),
    ("1 over nan", 1.0, T0, 0),
    ("1 over nan", NAN, T0, 0),
    ("twice", 1.0, T0, 0),
    ("twice", 1.0, T0, 0),
]
_ODD_PARAMS = {
    "lr": "0.1",
    "optim": "Adam",
    "optim/name": "adamw",
    "empty": "",
    "lines": "first\nsecond\r\n\tthird\n",
    "spaces": "  both ends  ",
    "quotes": 'it\'s "so" `it` is',
    "percent": "%20 100% a_b \\ end",
    "größe": "Ünïcode 实验 😀",
    "decomposed": "e\u0301",
    "composed": "\u00e9",
    "long": "x" * 6000,
    "Key": "K",
    "key": "k",
    "with space": "1",
    "k:colon-dash.dot": "2",
    "json": '{"a": [1, null]}',
}
_ODD_TAGS = {
    "mlflow.note.content": "# Note\n\n* one\n* two\n",
    "mlflow.source.name": "train.py",
    "mlflow.source.type": "LOCAL",
    "empty": "",
    "long": "ü" * 5000,
    "a": "1",
    "a/b": "2",
    "emoji 2": "😀" * 10,
}

_SEARCHED: list[Step] = [
    _experiment("search", "search"),
    _run("search", "a", "Alpha", 1000, "u_a", t="Foo", under="a_b", quote="it's"),
    _log("a", ("acc", 0.1, 1, 0), ("acc", 0.9, 1, 1), params={"lr": "0.1", "opt": "Adam"}, tags={"my tag": "v"}),
    _end("a", "FINISHED", 2000),
    _run("search", "b", "beta", 2000, "u_b", t="foo", under="aXb"),
    _log("b", ("acc", 0.8, 1, 0), params={"lr": "0.01", "opt": "adam"}),
    _run("search", "c", "gamma", 3000, "u_c", t="bar"),
    _log("c", ("acc", NAN, 1, 0), params={"lr": "10"}),
    _end("c", "FAILED", 9000),
    _run("search", "d", "Alpha", 3001, user="u_d"),
    _log("d", ("acc", -INF, 1, 0)),
    _end("d", "KILLED", 8000),
    _run("search", "e", "eps", 4000, "u_e", t="foo "),
    _log("e", ("acc", INF, 1, 0)),
    ("log_inputs", {"ref": "e", "datasets": [_dataset("ds1", "dg1", "train")]}),
    _end("e", "FINISHED", 7000),
    _run("search", "f", "feta", 5000, "u_f", t=""),
    ("log_inputs", {"ref": "f", "datasets": [_dataset("ds2", "dg2", "test"), _dataset("DS1", "dg3")]}),
    _end("f", "FINISHED", 6000),
]

WRITE: list[Step] = [
    _experiment("vision", "vision", team="ml", note="two\nlines", größe="Ünïcode 😀", empty=""),
    _experiment("Ünïcode 实验 / 😀 it's", "unicode"),
    _experiment("first name", "renamed", kept="yes"),
    _experiment("binned", "binned", why="old"),
    _experiment("empty", "empty"),
    ("rename_experiment", {"name": "first name", "new_name": "second name"}),
    ("set_experiment_tag", {"name": "vision", "key": "team", "value": "vision team"}),
    _run("Default", "default", "in the default experiment"),
    _run("vision", "rich", "sweep 1 / Ünïcode 😀", user="ann"),
    _log("rich", *_curve("loss", 120)),
    _log("rich", *_ODD_METRICS, *_TIES, params=_ODD_PARAMS, tags=_ODD_TAGS),
    ("log_metric", {"ref": "rich", "metric": ("single", 0.5, T0, 7)}),
    ("log_param", {"ref": "rich", "key": "single", "value": "one"}),
    ("set_tag", {"ref": "rich", "key": "single", "value": "before"}),
    ("set_tag", {"ref": "rich", "key": "single", "value": "after"}),
    ("set_tag", {"ref": "rich", "key": "to delete", "value": "x"}),
    ("delete_tag", {"ref": "rich", "key": "to delete"}),
    _end("rich", "FINISHED"),
    _run("vision", "child", "child", T0 + 1),
    ("nest", {"ref": "child", "parent": "rich"}),
    _log("child", *_curve("loss", 12, start=-4), params={"lr": "0.1"}),
    _end("child", "FAILED", T0 + 30_000),
    _run("vision", "grandchild", "grandchild", T0 + 2),
    ("nest", {"ref": "grandchild", "parent": "child"}),
    _end("grandchild", "KILLED"),
    _run("vision", "running", "still running", T0 + 3),
    _log("running", *_curve("loss", 3)),
    _run("vision", "scheduled", "scheduled", T0 + 4),
    ("update_run", {"ref": "scheduled", "status": "SCHEDULED", "name": "renamed run"}),
    _run("vision", "bare", "bare", T0 + 5),
    _run("vision", "deleted", "deleted by hand", T0 + 6),
    _log("deleted", ("loss", 0.5, T0, 0), params={"lr": "1"}, tags={"a": "b"}),
    _end("deleted", "FINISHED"),
    ("delete_run", {"ref": "deleted"}),
    _run("vision", "restored", "deleted and restored", T0 + 7),
    ("delete_run", {"ref": "restored"}),
    ("restore_run", {"ref": "restored"}),
    _run("Ünïcode 实验 / 😀 it's", "data 1", "data 1"),
    _run("Ünïcode 实验 / 😀 it's", "data 2", "data 2"),
    (
        "log_inputs",
        {
            "ref": "data 1",
            "datasets": [
                _dataset("digits", "abc123", "train", schema='{"x": "double"}', profile='{"rows": 3}'),
                _dataset("digits", "def456", "eval"),
                _dataset("größe 😀", "0", source=""),
            ],
        },
    ),
    ("log_inputs", {"ref": "data 2", "datasets": [_dataset("digits", "abc123", "test", schema="other")]}),
    ("log_inputs", {"ref": "data 1", "datasets": [_dataset("digits", "def456", "ignored")]}),
    _run("binned", "binned by hand", "binned by hand"),
    _log("binned by hand", ("loss", 0.5, T0, 0)),
    ("delete_run", {"ref": "binned by hand"}),
    _run("binned", "binned with it", "binned with it"),
    _log("binned with it", ("loss", NAN, T0, 0)),
    ("delete_experiment", {"name": "binned"}),
    *_SEARCHED,
]
"""A rich store: experiments (deleted, renamed, empty), runs in every state, every kind of name and value allowed."""


def _extension(ref: str) -> list[Step]:
    """Steps that add to what `WRITE` left; `ref` makes the names their own."""
    return [
        _experiment(f"new {ref}", f"new-{ref}", by=ref),
        ("set_experiment_tag", {"name": "vision", "key": "team", "value": ref}),
        ("set_experiment_tag", {"name": "vision", "key": f"more {ref}", "value": "Ü"}),
        ("rename_experiment", {"name": "empty", "new_name": f"not empty {ref}"}),
        ("rename_experiment", {"name": f"not empty {ref}", "new_name": "empty"}),
        _run("vision", f"run {ref}", f"run {ref}", T0 + 100, user=ref),
        _log(f"run {ref}", *_curve("loss", 20), *_ODD_METRICS, *_TIES, params=_ODD_PARAMS, tags=_ODD_TAGS),
        ("nest", {"ref": f"run {ref}", "parent": "rich"}),
        (
            "log_inputs",
            {"ref": f"run {ref}", "datasets": [_dataset("digits", "abc123", "train"), _dataset(ref, "1", "new")]},
        ),
        _end(f"run {ref}", "FINISHED"),
        _log(
            "running", (f"metric {ref}", NAN, T0, 0), ("loss", 7.0, T0, 1000), ("loss", 8.0, T0, -5), params={ref: "p"}
        ),
        _log("rich", ("loss", 0.5, T0 + 1, 119), ("nan", INF, T0, 2), params={"lr": "0.1"}, tags={"single": ref}),
        ("delete_tag", {"ref": f"run {ref}", "key": "a"}),
        ("log_metric", {"ref": "default", "metric": (f"metric {ref}", -INF, T0, -1)}),
        ("update_run", {"ref": "bare", "status": "FINISHED", "name": f"bare {ref}"}),
        ("delete_run", {"ref": "grandchild"}),
        ("restore_run", {"ref": "deleted"}),
        ("set_tag", {"ref": "deleted", "key": "by", "value": ref}),
        ("delete_run", {"ref": "deleted"}),
        ("log_inputs", {"ref": "data 2", "datasets": [_dataset("digits", "def456", ref), _dataset(ref, "2")]}),
        _experiment(f"gone {ref}", f"gone-{ref}"),
        _run(f"gone {ref}", f"gone {ref}", f"gone {ref}"),
        ("delete_experiment", {"name": f"gone {ref}"}),
    ]


EXTEND, EXTEND_AGAIN = _extension("one"), _extension("two")
"""Two additions to a store that `WRITE` filled, with overlaps."""

_SEARCHES: list[Search] = [
    ("", []),
    ("metrics.acc > 0.85", []),
    ("metric.acc>0.5 and metrics.acc < .85", []),
    ("metrics.nope != 0", []),
    ('params.lr = "0.1"', []),
    ("parameters.lr != '0.1'", []),
    ("params.lr LIKE '0.%'", []),
    ("params.opt LIKE 'A%'", []),
    ("params.opt ilike 'aDAM'", []),
    ("tags.t != 'Foo'", []),
    ("tags.t = ''", []),
    ("tags.t = 'foo '", []),
    ("tags.t LIKE '%'", []),
    ('tags."my tag" = "v"', []),
    ("tags.under LIKE 'a_b'", []),
    ("tags.under LIKE 'a\\_b'", []),
    ('tags.quote = "it\'s"', []),
    ("tags.quote = 'it''s'", []),
    ("tags.mlflow.runName = 'beta'", []),
    ("status = 'FINISHED'", []),
    ("run.status != 'FINISHED'", []),
    ("attr.status ILIKE 'f%'", []),
    ("status = 'finished'", []),
    ("run_name = 'Alpha'", []),
    ("attributes.`Run name` ILIKE 'alp%'", []),
    ("start_time >= 3000 AND start_time < 5000", []),
    ("Created > 2500", []),
    ("end_time != 7000", []),
    ("user_id = 'u_a'", []),
    ("datasets.name ILIKE 'ds1'", []),
    ("datasets.name != 'ds1'", []),
    ("dataset.context IN ('train', 'test')", []),
    ("datasets.context != 'train'", []),
    ("datasets.name = 'ds2' AND datasets.digest = 'dg3'", []),
    ("", ["metrics.acc"]),
    ("", ["metrics.acc DESC"]),
    ("", ["params.lr"]),
    ("", ["params.lr DESC"]),
    ("", ["end_time DESC"]),
    ("", ["status", "metrics.acc DESC"]),
    ("", ["tags.t"]),
    ("", ["metrics.nope DESC"]),
    ("metrics.acc > 0.1 AND params.opt ILIKE 'adam'", ["attributes.start_time ASC"]),
]

_SEARCHES_3: list[Search] = [
    ("metrics.acc != 0.9", []),
    ("metrics.acc <= 0.9", []),
    ("metrics.acc = 0", []),
    ("metrics.acc != 0", []),
    ("params.opt IS NULL", []),
    ("params.opt IS NOT NULL AND tags.t IS NOT NULL", []),
    ("datasets.name = 'ds1' AND metrics.acc > 0.5", []),
]


def searches(program: str) -> list[Search]:
    """Those in which `mlflow-VERSION` and holdall agree; MLflow 2 takes NaN for 0, knows no IS NULL, fails on joins."""
    return _SEARCHES if program.startswith("mlflow-2.") else _SEARCHES + _SEARCHES_3
