"""What MLflow and holdall are both told to write, by hand: every kind of thing that a store can hold."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tests.interop.steps import (
    INF,
    LARGEST,
    NAN,
    T0,
    Point,
    Search,
    Step,
    curve,
    dataset,
    end,
    experiment,
    log,
    run,
)

__all__ = ["EXTEND", "EXTEND_AGAIN", "REGISTER", "WRITE", "for_folder", "searches", "without_twins"]

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
    experiment("search", "search"),
    run("search", "a", "Alpha", 1000, "u_a", t="Foo", under="a_b", quote="it's"),
    log("a", ("acc", 0.1, 1, 0), ("acc", 0.9, 1, 1), params={"lr": "0.1", "opt": "Adam"}, tags={"my tag": "v"}),
    end("a", "FINISHED", 2000),
    run("search", "b", "beta", 2000, "u_b", t="foo", under="aXb"),
    log("b", ("acc", 0.8, 1, 0), params={"lr": "0.01", "opt": "adam"}),
    run("search", "c", "gamma", 3000, "u_c", t="bar"),
    log("c", ("acc", NAN, 1, 0), params={"lr": "10"}),
    end("c", "FAILED", 9000),
    run("search", "d", "Alpha", 3001, user="u_d"),
    log("d", ("acc", -INF, 1, 0)),
    end("d", "KILLED", 8000),
    run("search", "e", "eps", 4000, "u_e", t="foo "),
    log("e", ("acc", INF, 1, 0)),
    ("log_inputs", {"ref": "e", "datasets": [dataset("ds1", "dg1", "train")]}),
    end("e", "FINISHED", 7000),
    run("search", "f", "feta", 5000, "u_f", t=""),
    ("log_inputs", {"ref": "f", "datasets": [dataset("ds2", "dg2", "test"), dataset("DS1", "dg3")]}),
    end("f", "FINISHED", 6000),
]

WRITE: list[Step] = [
    experiment("vision", "vision", team="ml", note="two\nlines", größe="Ünïcode 😀", empty=""),
    experiment("Ünïcode 实验 / 😀 it's", "unicode"),
    experiment("first name", "renamed", kept="yes"),
    experiment("binned", "binned", why="old"),
    experiment("empty", "empty"),
    ("rename_experiment", {"name": "first name", "new_name": "second name"}),
    ("set_experiment_tag", {"name": "vision", "key": "team", "value": "vision team"}),
    run("Default", "default", "in the default experiment"),
    run("vision", "rich", "sweep 1 / Ünïcode 😀", user="ann"),
    log("rich", *curve("loss", 120)),
    log("rich", *_ODD_METRICS, *_TIES, params=_ODD_PARAMS, tags=_ODD_TAGS),
    ("log_metric", {"ref": "rich", "metric": ("single", 0.5, T0, 7)}),
    ("log_param", {"ref": "rich", "key": "single", "value": "one"}),
    ("set_tag", {"ref": "rich", "key": "single", "value": "before"}),
    ("set_tag", {"ref": "rich", "key": "single", "value": "after"}),
    ("set_tag", {"ref": "rich", "key": "to delete", "value": "x"}),
    ("delete_tag", {"ref": "rich", "key": "to delete"}),
    end("rich", "FINISHED"),
    run("vision", "child", "child", T0 + 1),
    ("nest", {"ref": "child", "parent": "rich"}),
    log("child", *curve("loss", 12, start=-4), params={"lr": "0.1"}),
    end("child", "FAILED", T0 + 30_000),
    run("vision", "grandchild", "grandchild", T0 + 2),
    ("nest", {"ref": "grandchild", "parent": "child"}),
    end("grandchild", "KILLED"),
    run("vision", "running", "still running", T0 + 3),
    log("running", *curve("loss", 3)),
    run("vision", "scheduled", "scheduled", T0 + 4),
    ("update_run", {"ref": "scheduled", "status": "SCHEDULED", "name": "renamed run"}),
    run("vision", "bare", "bare", T0 + 5),
    run("vision", "deleted", "deleted by hand", T0 + 6),
    log("deleted", ("loss", 0.5, T0, 0), params={"lr": "1"}, tags={"a": "b"}),
    end("deleted", "FINISHED"),
    ("delete_run", {"ref": "deleted"}),
    run("vision", "restored", "deleted and restored", T0 + 7),
    ("delete_run", {"ref": "restored"}),
    ("restore_run", {"ref": "restored"}),
    run("Ünïcode 实验 / 😀 it's", "data 1", "data 1"),
    run("Ünïcode 实验 / 😀 it's", "data 2", "data 2"),
    (
        "log_inputs",
        {
            "ref": "data 1",
            "datasets": [
                dataset("digits", "abc123", "train", schema='{"x": "double"}', profile='{"rows": 3}'),
                dataset("digits", "def456", "eval"),
                dataset("größe 😀", "0", source=""),
            ],
        },
    ),
    ("log_inputs", {"ref": "data 2", "datasets": [dataset("digits", "abc123", "test", schema="other")]}),
    ("log_inputs", {"ref": "data 1", "datasets": [dataset("digits", "def456", "ignored")]}),
    run("binned", "binned by hand", "binned by hand"),
    log("binned by hand", ("loss", 0.5, T0, 0)),
    ("delete_run", {"ref": "binned by hand"}),
    run("binned", "binned with it", "binned with it"),
    log("binned with it", ("loss", NAN, T0, 0)),
    ("delete_experiment", {"name": "binned"}),
    *_SEARCHED,
]
"""A rich store: experiments (deleted, renamed, empty), runs in every state, every kind of name and value allowed."""


def _extension(ref: str) -> list[Step]:
    """Steps that add to what `WRITE` left; `ref` makes the names their own."""
    return [
        experiment(f"new {ref}", f"new-{ref}", by=ref),
        ("set_experiment_tag", {"name": "vision", "key": "team", "value": ref}),
        ("set_experiment_tag", {"name": "vision", "key": f"more {ref}", "value": "Ü"}),
        ("rename_experiment", {"name": "empty", "new_name": f"not empty {ref}"}),
        ("rename_experiment", {"name": f"not empty {ref}", "new_name": "empty"}),
        run("vision", f"run {ref}", f"run {ref}", T0 + 100, user=ref),
        log(f"run {ref}", *curve("loss", 20), *_ODD_METRICS, *_TIES, params=_ODD_PARAMS, tags=_ODD_TAGS),
        ("nest", {"ref": f"run {ref}", "parent": "rich"}),
        (
            "log_inputs",
            {"ref": f"run {ref}", "datasets": [dataset("digits", "abc123", "train"), dataset(ref, "1", "new")]},
        ),
        end(f"run {ref}", "FINISHED"),
        log(
            "running", (f"metric {ref}", NAN, T0, 0), ("loss", 7.0, T0, 1000), ("loss", 8.0, T0, -5), params={ref: "p"}
        ),
        log("rich", ("loss", 0.5, T0 + 1, 119), ("nan", INF, T0, 2), params={"lr": "0.1"}, tags={"single": ref}),
        ("delete_tag", {"ref": f"run {ref}", "key": "a"}),
        ("log_metric", {"ref": "default", "metric": (f"metric {ref}", -INF, T0, -1)}),
        ("update_run", {"ref": "bare", "status": "FINISHED", "name": f"bare {ref}"}),
        ("delete_run", {"ref": "grandchild"}),
        ("restore_run", {"ref": "deleted"}),
        ("set_tag", {"ref": "deleted", "key": "by", "value": ref}),
        ("delete_run", {"ref": "deleted"}),
        ("log_inputs", {"ref": "data 2", "datasets": [dataset("digits", "def456", ref), dataset(ref, "2")]}),
        experiment(f"gone {ref}", f"gone-{ref}"),
        run(f"gone {ref}", f"gone {ref}", f"gone {ref}"),
        ("delete_experiment", {"name": f"gone {ref}"}),
    ]


EXTEND, EXTEND_AGAIN = _extension("one"), _extension("two")
"""Two additions to a store that `WRITE` filled, with overlaps."""

REGISTER: Step = ("register_models", {"ref": "rich"})
"""What MLflow alone can do: add models."""

_TWINS = frozenset({"Case", "Key"})
_NESTED = {"val/acc": "valid/acc", "optim/name": "optimizer/name", "a/b": "b/a"}


def for_folder(steps: Sequence[Step]) -> list[Step]:
    """The same steps within what MLflow can do in a folder.

    It makes a file of the key `a` and a folder of `a/b`, so that they exclude each other; and MLflow 2 looks up an
    experiment by a filter that an apostrophe in the name breaks.
    """
    return [(method, {name: _tamed(value) for name, value in arguments.items()}) for method, arguments in steps]


def _tamed(argument: object) -> object:
    if isinstance(argument, str):
        return argument.replace("it's", "its")
    if isinstance(argument, dict):
        return {_NESTED.get(key, key): value for key, value in argument.items()}
    if isinstance(argument, list) and argument and isinstance(argument[0], tuple):
        return [(_NESTED.get(key, key), *point) for key, *point in argument]
    return argument


def without_twins(steps: Sequence[Step]) -> list[Step]:
    """The same steps without keys that a collation of MySQL's takes for others, so that MLflow fails or mixes them."""
    return [(method, {name: _alone(value) for name, value in arguments.items()}) for method, arguments in steps]


def _alone(argument: object) -> object:
    if isinstance(argument, dict):
        return {key: value for key, value in argument.items() if key not in _TWINS}
    if isinstance(argument, list) and argument and isinstance(argument[0], tuple):
        return [point for point in argument if point[0] not in _TWINS]
    return argument


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

_SEARCHES_BY_3: list[Search] = [
    ("metrics.acc != 0.9", []),
    ("metrics.acc <= 0.9", []),
    ("metrics.acc = 0", []),
    ("metrics.acc != 0", []),
    ("datasets.name = 'ds1' AND metrics.acc > 0.5", []),
]
_NULL_SEARCHES: list[Search] = [
    ("params.opt IS NULL", []),
    ("params.opt IS NOT NULL AND tags.t IS NOT NULL", []),
]


def searches(program: str, *, folder: bool = False, server: bool = False) -> list[Search]:
    """Those in which `mlflow-VERSION` and holdall agree.

    MLflow 2 knows no IS NULL; in a database it takes NaN for 0 and fails on joins, in a folder it does not. On a server
    it takes a backslash in LIKE for an escape.
    """
    if server:
        return [search for search in searches(program) if "\\" not in search[0]]
    if program.startswith("mlflow-2."):
        return _SEARCHES + _SEARCHES_BY_3 if folder else _SEARCHES
    return _SEARCHES + _SEARCHES_BY_3 + _NULL_SEARCHES
