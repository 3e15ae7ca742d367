import dataclasses
import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdall.stores.entities import Dataset, DatasetInput, Experiment, InputTag, Run, RunData, RunInfo, RunInputs
from holdall.stores.search import (
    Ordering,
    SortKey,
    compare_keys,
    experiment_sort_key,
    is_after,
    matches_experiment,
    matches_run,
    parse_experiment_filter,
    parse_experiment_order_by,
    parse_run_filter,
    parse_run_order_by,
    run_sort_key,
    sorting_key,
)

# A busy machine must not fail a property.
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def run_id(letter: str) -> str:
    return letter * 32


def used(name: str, digest: str, context: str | None = None) -> DatasetInput:
    tags = () if context is None else (InputTag("other", "x"), InputTag("mlflow.data.context", context))
    return DatasetInput(Dataset(name, digest, "code", "{}"), tags)


def make_run(
    letter: str,
    name: str,
    start: int | None,
    status: str,
    end: int | None,
    params: dict[str, str] | None = None,
    acc: float | None = None,
    tags: dict[str, str] | None = None,
    inputs: tuple[DatasetInput, ...] = (),
) -> Run:
    return Run(
        RunInfo(run_id(letter), "0", name, f"u_{letter}", status, start, end, "active", f"/artifacts/{letter}"),
        RunData({} if acc is None else {"acc": acc}, params or {}, {"mlflow.runName": name} | (tags or {})),
        RunInputs(inputs),
    )


A = make_run(
    *("a", "Alpha", 1000, "FINISHED", 2000, {"lr": "0.1", "opt": "Adam"}, 0.9),
    tags={"t": "Foo", "my tag": "v", "under": "a_b", "quote": "it's"},
)
B = make_run("b", "beta", 2000, "RUNNING", None, {"lr": "0.01", "opt": "adam"}, 0.8, {"t": "foo", "under": "aXb"})
C = make_run("c", "gamma", 3000, "FAILED", 9000, {"lr": "10"}, math.nan, {"t": "bar"})
D = make_run("d", "Alpha", 3000, "KILLED", 8000, acc=-math.inf)
E = make_run("e", "eps", 4000, "FINISHED", 7000, {}, math.inf, {"t": "foo "}, (used("ds1", "dg1", "train"),))
F = make_run("f", "feta", 5000, "FINISHED", 6000, {}, None, {"t": ""}, (used("ds2", "dg2", "test"), used("DS1", "dg3")))
RUNS = [A, B, C, D, E, F]


def letters(runs: list[Run]) -> str:
    return "".join(run.info.run_id[0] for run in runs)


def found(text: str) -> str:
    clauses = parse_run_filter(text)
    return letters([run for run in RUNS if matches_run(run, clauses)])


def ordered(*clauses: str, runs: list[Run] = RUNS) -> str:
    ordering = parse_run_order_by(clauses)
    key = sorting_key(ordering)
    return letters(sorted(runs, key=lambda run: key(run_sort_key(run, ordering))))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("metrics.acc > 0.85", "ae"),
        ("metric.acc>0.5 and metrics.acc < .85", "b"),
        ("metrics.acc != 0.9", "bcde"),
        ("metrics.acc <= 0.9", "abd"),
        ("metrics.acc = 0", ""),
        ("metrics.acc != 0", "abcde"),
        ("metrics.nope != 0", ""),
        ('params.lr = "0.1"', "a"),
        ("parameters.lr != '0.1'", "bc"),
        ("params.lr LIKE '0.%'", "ab"),
        ("params.opt LIKE 'A%'", "a"),
        ("params.opt ilike 'aDAM'", "ab"),
        ("params.opt IS NULL", "cdef"),
        ("params.opt IS NOT NULL", "ab"),
        ("tags.t != 'Foo'", "bcef"),
        ("tags.t = ''", "f"),
        ("tags.t = 'foo '", "e"),
        ("tags.t LIKE '%'", "abcef"),
        ("tags.t IS NULL", "d"),
        ('tags."my tag" = "v"', "a"),
        ("tags.under LIKE 'a_b'", "ab"),
        (r"tags.under LIKE 'a\_b'", ""),
        ("status = 'FINISHED'", "aef"),
        ("run.status != 'FINISHED'", "bcd"),
        ("attr.status ILIKE 'f%'", "acef"),
        ("status = 'finished'", ""),
        ("run_name = 'Alpha'", "ad"),
        ("attributes.`Run name` ILIKE 'alp%'", "ad"),
        ("start_time >= 3000 AND start_time < 5000", "cde"),
        ("Created > 2500", "cdef"),
        ("end_time != 7000", "acdf"),
        (f"run_id IN ('{run_id('a')}','{run_id('b')}')", "ab"),
        (f"attributes.run_id NOT IN ('{run_id('a')}')", "bcdef"),
        ("user_id = 'u_a'", "a"),
        ("artifact_uri LIKE '%/b'", "b"),
        ("datasets.name ILIKE 'ds1'", "ef"),
        ("datasets.name != 'ds1'", "f"),
        ("dataset.context IN ('train','test')", "ef"),
        ("datasets.context != 'train'", "f"),
        ("datasets.context NOT IN ('train')", "f"),
        ("datasets.name = 'ds2' AND datasets.digest = 'dg3'", "f"),
        ('tags.quote = "it\'s"', "a"),
        ("tags.quote = 'it''s'", ""),
        ("tags.mlflow.runName = 'beta'", "b"),
        # beyond the tested examples of the reference
        ("", "abcdef"),
        ("metrics.acc = 1e400", "e"),
        ("metrics.acc = 1.7976931348623157e308", ""),
        ("metrics.acc < 1.7976931348623157e308", "abd"),
        ("metrics.acc > -1e400", "abe"),
        ("metrics.acc >= 0 metrics.acc != 0.8", "ae"),
        ("start_time > 2999.5", "cdef"),
        ("start_time = 3000.0", "cd"),
        ("start_time = 3000.5", ""),
        ("start_time < 99999999999999999999", "abcdef"),
        ("start_time != 99999999999999999999", "abcdef"),
        ("start_time > 99999999999999999999", ""),
        ("start_time > -1e400", "abcdef"),
        ("metrics.`` = 0", ""),
    ],
)
def test_match_run_against_filter_finds_the_expected(text: str, expected: str) -> None:
    assert found(text) == expected


@pytest.mark.parametrize(
    ("clauses", "expected"),
    [
        ((), "fecdba"),
        (("metrics.acc",), "dbaecf"),
        (("metrics.acc DESC",), "eabdcf"),
        (("params.lr",), "bacfed"),
        (("params.lr DESC",), "cabfed"),
        (("end_time",), "afedcb"),
        (("end_time DESC",), "cdefab"),
        (("status", "metrics.acc DESC"), "ceafdb"),
        (("tags.t",), "facbed"),
        (("tags.t DESC",), "ebcafd"),
        (("metrics.nope DESC",), "fecdba"),
        (("run_name", "run_id DESC"), "dabefc"),
        (("start_time",), "abcdef"),
        (("run_id DESC",), "fedcba"),
    ],
)
def test_sort_runs_by_order_gives_the_expected(clauses: tuple[str, ...], expected: str) -> None:
    assert ordered(*clauses) == expected
    assert ordered(*clauses, runs=RUNS[::-1]) == expected


def test_match_run_without_start_time_is_missing_and_sorts_last() -> None:
    run = make_run("g", "g", None, "RUNNING", None)
    for text in ("start_time > 0", "start_time != 5", "end_time < 1e400"):
        assert not matches_run(run, parse_run_filter(text))
    assert ordered("start_time", runs=[run, A]) == ordered("start_time DESC", runs=[run, A]) == "ag"


def test_match_text_compares_by_code_point() -> None:
    composed, decomposed = "\u00e9", "e\u0301"
    run = make_run("g", composed, 1, "RUNNING", 2)
    assert matches_run(run, parse_run_filter(f"run_name = '{composed}'"))
    assert not matches_run(run, parse_run_filter(f"run_name = '{decomposed}'"))


def test_sort_text_orders_by_code_point() -> None:
    names = ["", "Adam", "Zed", "adam", "zed", "é", "日", "😀"]
    runs = [make_run(letter, name, 1, "RUNNING", 2) for letter, name in zip("stuvwxyz", names, strict=True)]
    assert ordered("run_name", runs=runs[::-1]) == "stuvwxyz"
    assert ordered("run_name DESC", runs=runs) == "zyxwvuts"


# Experiments


def make_experiment(experiment_id: str, name: str, created: int | None = 0, **tags: str) -> Experiment:
    return Experiment(experiment_id, name, f"/artifacts/{experiment_id}", "active", tags, created, created)


EXPERIMENTS = [
    make_experiment("2", "Two", 20, a="x"),
    make_experiment("10", "ten", 10, a=""),
    make_experiment("abc", "ABC", 20),
    make_experiment("9", "Straße", None),
]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ["2", "10", "abc", "9"]),
        ("name = 'Two'", ["2"]),
        ("attribute.name like 'T%'", ["2"]),
        ("name ILIKE 'T%'", ["2", "10"]),
        ("name ILIKE 'STRASSE'", ["9"]),
        ("experiment_id = '2'", ["2"]),
        ("experiment_id = '02'", []),
        ("experiment_id IN ('2', \"abc\", 'nope')", ["2", "abc"]),
        ("experiment_id NOT IN ('2')", ["10", "abc", "9"]),
        ("experiment_id LIKE '1%'", ["10"]),
        ("creation_time > 10.5", ["2", "abc"]),
        ("creation_time != 5", ["2", "10", "abc"]),
        ("last_update_time <= 10", ["10"]),
        ("tags.a != 'x'", ["10"]),
        ("tags.a IS NULL", ["abc", "9"]),
        ("tags.a IS NOT NULL AND name = 'ten'", ["10"]),
    ],
)
def test_match_experiment_against_filter_finds_the_expected(text: str, expected: list[str]) -> None:
    clauses = parse_experiment_filter(text)
    assert [each.experiment_id for each in EXPERIMENTS if matches_experiment(each, clauses)] == expected


@pytest.mark.parametrize(
    ("clauses", "expected"),
    [
        ((), ["2", "abc", "10", "9"]),
        (("experiment_id",), ["2", "9", "10", "abc"]),
        (("experiment_id DESC",), ["10", "9", "2", "abc"]),
        (("name",), ["abc", "9", "2", "10"]),
        (("name DESC",), ["10", "2", "9", "abc"]),
        (("creation_time",), ["10", "2", "abc", "9"]),
        (("last_update_time DESC",), ["2", "abc", "10", "9"]),
    ],
)
def test_sort_experiments_by_order_gives_the_expected(clauses: tuple[str, ...], expected: list[str]) -> None:
    ordering = parse_experiment_order_by(clauses)
    key = sorting_key(ordering)
    result = sorted(EXPERIMENTS, key=lambda each: key(experiment_sort_key(each, ordering)))
    assert [each.experiment_id for each in result] == expected


@pytest.mark.parametrize(
    ("experiment_id", "place"),
    [
        ("0", (0, 0)),
        ("10", (0, 10)),
        ("9223372036854775807", (0, 2**63 - 1)),
        ("007", (1, "007")),
        ("٣", (1, "٣")),
        ("-1", (1, "-1")),
        ("", (1, "")),
        ("9" * 5000, (1, "9" * 5000)),
    ],
)
def test_sort_experiment_id_written_as_plain_number_sorts_as_one(experiment_id: str, place: tuple[int, object]) -> None:
    experiment = make_experiment(experiment_id, "x")
    assert experiment_sort_key(experiment, parse_experiment_order_by(["experiment_id"])) == (place,)


# Sort keys


def test_sort_key_of_run_has_a_place_for_each_order() -> None:
    ordering = parse_run_order_by(["metrics.acc", "end_time DESC", "tags.t"])
    assert run_sort_key(C, ordering) == ((1, None), (0, 9000), (0, "bar"), (0, 3000), (0, run_id("c")))
    assert run_sort_key(B, ordering) == ((0, 0.8), (2, None), (0, "foo"), (0, 2000), (0, run_id("b")))


ORDERINGS = st.lists(
    st.tuples(
        st.sampled_from(["metrics.acc", "params.lr", "tags.t", "start_time", "end_time", "run_name", "status"]),
        st.sampled_from(["", " DESC"]),
    ).map("".join),
    max_size=4,
).map(parse_run_order_by)
TEXTS = st.text("aAé😀", max_size=2)
TIMES = st.none() | st.integers(0, 3)
RUN_LISTS = st.lists(
    st.builds(
        make_run,
        letter=st.just("x"),
        name=TEXTS,
        start=TIMES,
        status=st.sampled_from(["RUNNING", "FINISHED"]),
        end=TIMES,
        params=st.dictionaries(st.just("lr"), TEXTS),
        acc=st.none() | st.sampled_from([math.nan, math.inf, -math.inf, 0.0, -0.0, 1.5, -1.5]),
        tags=st.dictionaries(st.just("t"), TEXTS),
    ),
    max_size=8,
).map(
    lambda runs: [
        dataclasses.replace(run, info=dataclasses.replace(run.info, run_id=f"{number:032x}"))
        for number, run in enumerate(runs)
    ]
)


@unhurried
@given(RUN_LISTS, ORDERINGS)
def test_sort_any_runs_is_a_total_order_that_pages_agree_with(runs: list[Run], ordering: Ordering) -> None:
    keys: list[SortKey] = [run_sort_key(run, ordering) for run in runs]
    in_order = sorted(keys, key=sorting_key(ordering))
    for i, left in enumerate(in_order):
        for j, right in enumerate(in_order):
            assert compare_keys(left, right, ordering) == (i > j) - (i < j)
            assert is_after(left, right, ordering) == (i > j)


@unhurried
@given(RUN_LISTS, ORDERINGS)
def test_sort_any_runs_puts_missing_and_nan_last_in_both_directions(runs: list[Run], ordering: Ordering) -> None:
    in_order = sorted((run_sort_key(run, ordering) for run in runs), key=sorting_key(ordering))
    groups = [key[0][0] for key in in_order]
    assert groups == sorted(groups)


def test_sort_equal_keys_compare_equal() -> None:
    ordering = parse_run_order_by(["tags.t DESC", "metrics.acc DESC"])
    key = run_sort_key(A, ordering)
    assert compare_keys(key, run_sort_key(A, ordering), ordering) == 0
    assert not is_after(key, key, ordering)
