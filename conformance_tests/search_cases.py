"""The meaning of the search language, as data: six runs, filters and orderings, and what they find."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from holdall.stores import (
    BackendStore,
    Dataset,
    DatasetInput,
    InputTag,
    Metric,
    Param,
    RunStatus,
    RunTag,
)

__all__ = ["BAD_FILTERS", "BAD_ORDERINGS", "FILTERS", "LIKE_CASES", "ORDERINGS", "create_runs"]


@dataclass(frozen=True)
class _Example:
    name: str
    start_time: int
    status: RunStatus
    end_time: int | None = None
    params: dict[str, str] = field(default_factory=dict)
    accuracy: float | None = None
    tags: dict[str, str] = field(default_factory=dict)
    datasets: tuple[DatasetInput, ...] = ()


def _used(name: str, digest: str, context: str | None) -> DatasetInput:
    tags = () if context is None else (InputTag("mlflow.data.context", context),)
    return DatasetInput(Dataset(name, digest, "local", "nowhere"), tags)


_EXAMPLES = {
    "a": _Example(
        "Alpha",
        1000,
        RunStatus.FINISHED,
        2000,
        {"lr": "0.1", "opt": "Adam"},
        0.9,
        {"t": "Foo", "my tag": "v", "under": "a_b", "quote": "it's"},
    ),
    "b": _Example(
        "beta", 2000, RunStatus.RUNNING, None, {"lr": "0.01", "opt": "adam"}, 0.8, {"t": "foo", "under": "aXb"}
    ),
    "c": _Example("gamma", 3000, RunStatus.FAILED, 9000, {"lr": "10"}, math.nan, {"t": "bar"}),
    "d": _Example("Alpha", 3000, RunStatus.KILLED, 8000, {}, -math.inf),
    "e": _Example("eps", 4000, RunStatus.FINISHED, 7000, {}, math.inf, {"t": "foo "}, (_used("ds1", "dg1", "train"),)),
    "f": _Example(
        "feta",
        5000,
        RunStatus.FINISHED,
        6000,
        {},
        None,
        {"t": ""},
        (_used("ds2", "dg2", "test"), _used("DS1", "dg3", None)),
    ),
}


def create_runs(store: BackendStore, experiment_id: str) -> dict[str, str]:
    """Create the six runs and return their ids by letter."""
    ids = {}
    for letter, example in _EXAMPLES.items():
        tags = [RunTag(*item) for item in example.tags.items()]
        run = store.create_run(experiment_id, f"u_{letter}", example.start_time, tags, example.name)
        ids[letter] = run.info.run_id
        points = [] if example.accuracy is None else [Metric("acc", 0.5, 1, 0), Metric("acc", example.accuracy, 2, 1)]
        store.log_batch(run.info.run_id, points, [Param(*item) for item in example.params.items()])
        if example.datasets and store.capabilities.datasets:
            store.log_inputs(run.info.run_id, example.datasets)
        store.update_run_info(run.info.run_id, example.status, example.end_time)
    return ids


FILTERS = {
    "": "abcdef",
    "metrics.acc > 0.85": "ae",
    "metric.acc>0.5 and metrics.acc < .85": "b",
    "metrics.acc != 0.9": "bcde",
    "metrics.acc <= 0.9": "abd",
    "metrics.acc >= 0.9": "ae",
    "metrics.acc = 0.8": "b",
    "metrics.acc = 0": "",
    "metrics.acc != 0": "abcde",
    "metrics.acc > -1e400": "abe",
    "metrics.acc = 1e400": "e",
    "metrics.acc < 1.7976931348623157e308": "abd",
    "metrics.nope != 0": "",
    "metrics.acc = 0.5": "",
    'params.lr = "0.1"': "a",
    "parameters.lr != '0.1'": "bc",
    "params.lr LIKE '0.%'": "ab",
    "params.opt LIKE 'A%'": "a",
    "params.opt ilike 'aDAM'": "ab",
    "params.opt IS NULL": "cdef",
    "params.opt is not null": "ab",
    "params.OPT = 'Adam'": "",
    "tags.t IS NULL": "d",
    "tags.t != 'Foo'": "bcef",
    "tags.t = ''": "f",
    "tags.t = 'foo '": "e",
    "tags.t = 'foo'": "b",
    "tags.t LIKE '%'": "abcef",
    'tags."my tag" = "v"': "a",
    "tags.`my tag` = 'v'": "a",
    "tags.under LIKE 'a_b'": "ab",
    "tags.under LIKE 'a\\_b'": "",
    'tags.quote = "it\'s"': "a",
    "tags.quote = 'it''s'": "",
    "tags.mlflow.runName = 'beta'": "b",
    "status = 'FINISHED'": "aef",
    "run.status != 'FINISHED'": "bcd",
    "attr.status ILIKE 'f%'": "acef",
    "status = 'finished'": "",
    "run_name = 'Alpha'": "ad",
    "attributes.`Run name` ILIKE 'alp%'": "ad",
    "start_time >= 3000 AND start_time < 5000": "cde",
    "Created > 2500": "cdef",
    "start_time > 2999.5": "cdef",
    "start_time > 10000000000000000000": "",
    "end_time != 7000": "acdf",
    "end_time > 0": "acdef",
    "run_id IN ('<a>', '<b>')": "ab",
    "attributes.run_id NOT IN ('<a>')": "bcdef",
    "run_id = '<c>'": "c",
    "user_id = 'u_a'": "a",
    "user_id LIKE 'u__'": "abcdef",
    "metrics.acc > 0.5 AND params.lr = '0.1' AND tags.t = 'Foo' AND status = 'FINISHED'": "a",
    "metrics.acc > 0.5 AND metrics.acc < 0.5": "",
    "tags.t != 'Foo' AND tags.t != 'bar'": "bef",
    'tags.t = "x\' OR 1=1 --"': "",
    "datasets.name ILIKE 'ds1'": "ef",
    "datasets.name != 'ds1'": "f",
    "dataset.context IN ('train', 'test')": "ef",
    "datasets.context != 'train'": "f",
    "datasets.name = 'ds2' AND datasets.digest = 'dg3'": "f",
    "datasets.name = 'ds1' AND metrics.acc > 0 AND tags.t = 'foo '": "e",
}
"""Filter → letters of the runs that it finds; `<a>` stands for a run's id. No store may differ (MLflow's do)."""

ORDERINGS = {
    (): "fe*ba",
    ("metrics.acc",): "dbaecf",
    ("metrics.acc DESC",): "eabdcf",
    ("params.lr",): "bacfed",
    ("params.lr DESC",): "cabfed",
    ("end_time DESC",): "cdefab",
    ("end_time",): "afedcb",
    ("status", "metrics.acc DESC"): "ceafdb",
    ("tags.t",): "facbed",
    ("metrics.nope DESC",): "fe*ba",
    ("start_time ASC",): "ab*ef",
    ("attributes.start_time asc", "metrics.acc"): "abdcef",
    ("run_name", "user_id DESC"): "dabefc",
    ("metrics.acc DESC", "metrics.acc ASC"): "eabdcf",
}
"""Ordering → letters in order; `*` stands for c and d by their ids."""

LIKE_CASES = (
    ("Ünïcode", "Ün%", "LIKE", True),
    ("Ünïcode", "ün%", "LIKE", False),
    ("Ünïcode", "üN%", "ILIKE", True),
    ("Ünïcode", "uni%", "ILIKE", False),
    ("Ünïcode", "_nïcode", "LIKE", True),
    ("😀", "_", "LIKE", True),
    ("😀", "__", "LIKE", False),
    ("one\ntwo", "one%two", "LIKE", True),
    ("one\ntwo", "one_two", "LIKE", True),
    ("one\ntwo", "one", "LIKE", False),
    ("a.b", "a.b", "LIKE", True),
    ("aXb", "a.b", "LIKE", False),
    ("f(x)", "f(%", "LIKE", True),
    ("[a-z]*+?", "[a-z]*+?", "ILIKE", True),
    ("b", "[a-z]", "LIKE", False),
    ("a\\b", "a\\b", "LIKE", True),
    ("a\\b", "a\\%", "LIKE", True),
    ("100%", "100\\%", "LIKE", False),
    ("", "%", "LIKE", True),
    ("", "", "LIKE", True),
    ("x", "", "LIKE", False),
    ("ends ", "ends", "LIKE", False),
    ("МОСКВА", "москва", "ILIKE", True),
    ("Straße", "STRASSE", "ILIKE", True),
    ("Straße", "STRA_E", "ILIKE", True),
    ("Straße", "STRASSE", "LIKE", False),
)
"""(value, pattern, operator, whether it matches)."""

BAD_FILTERS = (
    " ;",
    "metrics.a > 1 OR metrics.b > 2",
    "NOT metrics.a > 1",
    "(metrics.a > 1)",
    "metrics.a",
    "metrics.a >",
    "> 1",
    "0.5 < metrics.a",
    "metrics.a == 1",
    "metrics.a <> 1",
    "metrics.a = '1'",
    "metrics.a > abc",
    "metrics.a LIKE '1'",
    "metrics.a IN ('1')",
    "metrics.a IS NULL",
    "metrics.a/b = 2",
    "foo.bar = 'x'",
    "foo = 'x'",
    "METRICS.a > 1",
    "STATUS = 'x'",
    "status = FINISHED",
    "status > 'x'",
    "status IN ('x')",
    "params.a = 0.1",
    "params.a > '1'",
    "params.a = word",
    "params.a = 'open",
    "start_time = '3000'",
    "start_time LIKE '3%'",
    "run_id IN ()",
    "run_id IN (1)",
    "run_id IN (abc)",
    "datasets.source = 'x'",
    "experiment_id = '1'",
    "lifecycle_stage = 'active'",
    "tags.t = 'a'; tags.u = 'b'",
    "tags.t = 'a' -- comment",
    "tags.t NOT LIKE 'a'",
    "metrics.a BETWEEN 1 AND 2",
)
"""What is no filter for runs."""

BAD_ORDERINGS = (
    "",
    " ",
    "foo",
    "metrics.a DOWN",
    "metrics.a DESC, params.b",
    "metrics.a-b",
    "datasets.name",
    "metrics",
    "metrics.a ASC DESC",
    "1",
    "(start_time)",
    "start_time; DROP TABLE runs",
    "start_time NULLS FIRST",
)
"""What is no clause of an ordering for runs."""
