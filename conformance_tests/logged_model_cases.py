"""The meaning of searches of logged models, as data: six models, filters and orderings, and what they find."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from holdall.stores import LoggedModelStatus, LoggedModelStore, Metric

__all__ = ["BAD_DATASETS", "BAD_FILTERS", "BAD_ORDERINGS", "DATASETS", "FILTERS", "ORDERINGS", "create_models"]

Item = Mapping[str, object]


@dataclass(frozen=True)
class _Example:
    name: str
    status: LoggedModelStatus
    model_type: str | None = None
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    metrics: tuple[tuple[Metric, str | None, str | None], ...] = ()
    has_source: bool = False


def _acc(
    value: float, name: str | None = None, digest: str | None = None, step: int = 1
) -> tuple[Metric, str | None, str | None]:
    return Metric("acc", value, 2, step), name, digest


_STALE = _acc(-5.0, step=0)

_EXAMPLES = {
    "a": _Example(
        "Alpha",
        LoggedModelStatus.READY,
        "sklearn",
        {"lr": "0.1", "opt": "Adam"},
        {"t": "Foo"},
        (_STALE, _acc(0.9)),
        has_source=True,
    ),
    "b": _Example(
        "beta",
        LoggedModelStatus.PENDING,
        "xgboost",
        {"lr": "0.01", "opt": "adam"},
        {"t": "foo"},
        (_acc(0.8, "ds1", "dg1"),),
        has_source=True,
    ),
    "c": _Example("gamma", LoggedModelStatus.FAILED, None, {"lr": "10"}, {"t": "bar"}, (_acc(math.nan),)),
    "d": _Example(
        "Alpha",
        LoggedModelStatus.READY,
        "sklearn",
        metrics=(_acc(0.95, "ds2", "dg1", 2), _acc(-math.inf, "ds1", "dg2")),
    ),
    "e": _Example("eps", LoggedModelStatus.UNSPECIFIED, "torch", {}, {"t": "foo "}, (_acc(math.inf, "ds2", "dg1"),)),
    "f": _Example("feta", LoggedModelStatus.READY, "", {}, {"t": ""}, ((Metric("loss", 0.5, 1), "ds1", "dg1"),)),
}


def create_models(models: LoggedModelStore, experiment_id: str, run_id: str) -> dict[str, str]:
    """Create the six models, measured by a run, and return their ids by letter."""
    ids = {}
    for letter, example in _EXAMPLES.items():
        source = run_id if example.has_source else None
        model = models.create_logged_model(
            experiment_id, example.name, source, example.tags, example.params, example.model_type
        )
        ids[letter] = model.model_id
        for metric, name, digest in example.metrics:
            models.log_model_metrics(model.model_id, run_id, [metric], name, digest)
        models.finalize_logged_model(model.model_id, example.status)
    return ids


FILTERS = {
    "": "abcdef",
    "metrics.acc > 0.85": "ade",
    "metric.acc>0.5 and metrics.acc < .85": "bd",
    "metrics.acc < 0": "d",
    "metrics.acc > 0.9 AND metrics.acc < 0": "d",
    "metrics.acc != 0.9": "bcde",
    "metrics.acc != 0": "abcde",
    "metrics.acc = 0": "",
    "metrics.acc = -5": "",
    "metrics.acc = 1e400": "e",
    "metrics.nope != 0": "",
    "metrics.loss <= 0.5": "f",
    "params.lr = '0.1'": "a",
    'parameters.lr != "0.1"': "bc",
    "params.opt LIKE 'A%'": "a",
    "params.opt ilike 'aDAM'": "ab",
    "params.lr IN ('0.1', '10')": "ac",
    "params.lr NOT IN ('0.1')": "bc",
    "tags.t = ''": "f",
    "tags.t = 'foo '": "e",
    "tags.t LIKE 'foo%'": "be",
    "tags.t NOT IN ('Foo')": "bcef",
    "tag.`t` != 'Foo'": "bcef",
    "tags.nope != 'x'": "",
    "name = 'Alpha'": "ad",
    "name = 'alpha'": "",
    "attributes.name ILIKE 'alp%'": "ad",
    "name IN ('beta', 'eps')": "be",
    "name NOT IN ('Alpha')": "bcef",
    "model_type = 'sklearn'": "ad",
    "model_type != 'sklearn'": "bef",
    "model_type LIKE '%'": "abdef",
    "status = 'READY'": "adf",
    "status = 2": "adf",
    "status = '2'": "adf",
    "status != 2": "bce",
    "status IN ('READY', '3')": "acdf",
    "status NOT IN ('READY', 'PENDING')": "ce",
    "status LIKE 'F%'": "c",
    "status LIKE '2'": "",
    "status ILIKE 'ready'": "adf",
    "status = 'ready'": "",
    "status = 7": "",
    "status = 0": "e",
    "model_id = '<a>'": "a",
    "model_id IN ('<a>', '<b>', 'm-x')": "ab",
    "source_run_id = '<run>'": "ab",
    "source_run_id != '<run>'": "",
    "experiment_id = '<experiment>'": "abcdef",
    "artifact_location LIKE '%/<c>/artifacts'": "c",
    "status_message LIKE '%'": "",
    "creation_timestamp > 0 AND creation_time < 1e400": "abcdef",
    "last_updated_timestamp <= 0.5": "",
    "metrics.acc > 0.5 AND params.lr = '0.1' AND tags.t = 'Foo' AND status = 'READY' AND name = 'Alpha'": "a",
    'tags.t = "x\' OR 1=1 --"': "",
}
"""Filter → letters of the models that it finds; `<a>` stands for a model's id. No store may differ (MLflow's do)."""

_DS1, _DS2 = {"dataset_name": "ds1"}, {"dataset_name": "ds2", "dataset_digest": None}
_DS1_DG1 = {"dataset_name": "ds1", "dataset_digest": "dg1"}

DATASETS: tuple[tuple[str, tuple[Item, ...], str], ...] = (
    ("", (_DS1,), "bdf"),
    ("", (_DS1_DG1,), "bf"),
    ("", (_DS1_DG1, _DS2), "bdef"),
    ("", (_DS1, _DS1), "bdf"),
    ("", ({"dataset_name": "DS1"},), ""),
    ("", ({"dataset_name": "ds1", "dataset_digest": "dg3"},), ""),
    ("metrics.acc != 0", (_DS1,), "bd"),
    ("metrics.acc > 0", (_DS1,), "b"),
    ("metrics.acc > 0", (_DS1, _DS2), "bde"),
    ("metrics.acc > 0 AND metrics.loss > 0", (_DS1,), ""),
    ("name = 'Alpha'", (_DS2,), "d"),
)
"""(filter, datasets, letters of the models that they find together)."""

_BY_ACC: Item = {"field_name": "metrics.acc"}
_BY_ACC_DOWN: Item = {"field_name": "metrics.acc", "ascending": False}
_BY_NAME: Item = {"field_name": "name"}

ORDERINGS: tuple[tuple[tuple[Item, ...], str], ...] = (
    ((_BY_ACC,), "badecf"),
    ((_BY_ACC_DOWN,), "edabcf"),
    (({"field_name": "metrics.acc", "ascending": True, "dataset_name": None, "dataset_digest": None},), "badecf"),
    (({**_BY_ACC, "dataset_name": "ds1"}, _BY_NAME), "dbaefc"),
    (({**_BY_ACC_DOWN, "dataset_name": "ds1"}, _BY_NAME), "bdaefc"),
    (({**_BY_ACC, "dataset_name": "ds1", "dataset_digest": "dg1"}, _BY_NAME, _BY_ACC), "badefc"),
    (({**_BY_ACC_DOWN, "dataset_name": "ds2"}, {**_BY_ACC, "dataset_name": "ds1"}, _BY_NAME), "edbafc"),
    ((_BY_NAME, _BY_ACC), "adbefc"),
    (({"field_name": "name", "ascending": False}, _BY_ACC_DOWN), "cfebda"),
    (({"field_name": "attributes.status"}, _BY_ACC), "cbadfe"),
    (({"field_name": "model_type"}, _BY_ACC), "fadebc"),
    (({"field_name": "model_type", "ascending": False}, _BY_ACC), "beadfc"),
    ((_BY_ACC_DOWN, _BY_ACC), "edabcf"),
    (({"field_name": "metrics.nope"}, _BY_NAME, _BY_ACC), "adbefc"),
)
"""(ordering, letters in order): missing values come last either way, NaN before them; a status sorts as its name."""

BAD_FILTERS = (
    " ",
    "metrics.a",
    "metrics.a = '1'",
    "metrics.a LIKE '1'",
    "metrics.a IS NULL",
    "metrics.a > 1 OR metrics.a < 0",
    "params.lr = 0.1",
    "params.lr IS NULL",
    "params.lr > '1'",
    "tags.t IS NOT NULL",
    "status > 1",
    "status = READY",
    "name = word",
    "name = 5",
    "creation_timestamp = '1'",
    "creation_timestamp LIKE '1%'",
    "lifecycle_stage = 'active'",
    "run_id = 'x'",
    "foo = 'x'",
    "foo.bar = 'x'",
    "datasets.name = 'x'",
    "model_id IN ()",
)
"""What is no filter for logged models."""

BAD_ORDERINGS: tuple[object, ...] = (
    {},
    {"field_name": ""},
    {"field_name": None},
    {"field_name": 1},
    {"field_name": "foo"},
    {"field_name": "metrics"},
    {"field_name": "params.lr"},
    {"field_name": "tags.t"},
    {"field_name": "name DESC"},
    {"field_name": "name", "ascending": "no"},
    {"field_name": "name", "ascending": 0},
    {"field_name": "name", "dataset_name": "ds1"},
    {"field_name": "metrics.acc", "dataset_digest": "dg1"},
    {"field_name": "metrics.acc", "dataset_name": 1},
    {"field_name": "metrics.acc", "order": "DESC"},
    "metrics.acc DESC",
    None,
)
"""What is no clause of an ordering for logged models."""

BAD_DATASETS: tuple[object, ...] = (
    {},
    {"dataset_digest": "dg1"},
    {"dataset_name": None},
    {"dataset_name": 1},
    {"dataset_name": "ds1", "dataset_digest": 1},
    {"name": "ds1"},
    {"dataset_name": "lone \ud800"},
    "ds1",
    None,
)
"""What selects no datasets."""
