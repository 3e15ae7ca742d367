"""Searches of logged models: filters, orderings that come as mappings, and what they mean."""

import math
from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdall.stores.entities import LoggedModel, LoggedModelMetric, LoggedModelStatus
from holdall.stores.errors import InvalidParameterValue
from holdall.stores.queries import LoggedModelQuery, select_logged_models
from holdall.stores.search import (
    LOGGED_MODELS,
    Comparator,
    Comparison,
    DatasetSelector,
    EntityType,
    Identifier,
    OrderBy,
    logged_model_sort_key,
    matches_logged_model,
    parse_dataset_selectors,
    parse_logged_model_filter,
    parse_logged_model_order_by,
)

# A busy machine must not fail a property.
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

ATTRIBUTE, METRIC, PARAM, TAG, _ = EntityType

NEWEST = OrderBy(Identifier(ATTRIBUTE, "creation_timestamp"), ascending=False)
BY_ID = OrderBy(Identifier(ATTRIBUTE, "model_id"))


def clause(text: str) -> Comparison:
    (found,) = parse_logged_model_filter(text)
    return found


# Filters


@pytest.mark.parametrize(
    ("text", "entity", "key"),
    [
        *((f"{prefix}.acc > 1", METRIC, "acc") for prefix in ("metric", "metrics", "`metrics`")),
        ("metrics.`val loss/a` > 1", METRIC, "val loss/a"),
        *(
            (f"{prefix}creation_timestamp > 1", ATTRIBUTE, "creation_timestamp")
            for prefix in ("", "attribute.", "attributes.", "attr.", "run.")
        ),
        ("creation_time > 1", ATTRIBUTE, "creation_timestamp"),
        ("creation_timestamp_ms > 1", ATTRIBUTE, "creation_timestamp"),
        ("last_updated_timestamp > 1", ATTRIBUTE, "last_updated_timestamp"),
        ("last_updated_timestamp_ms > 1", ATTRIBUTE, "last_updated_timestamp"),
    ],
)
def test_parse_numeric_model_clause_in_any_spelling_is_canonical(text: str, entity: EntityType, key: str) -> None:
    assert clause(text) == Comparison(Identifier(entity, key), Comparator.GT, 1)


@pytest.mark.parametrize(
    ("identifier", "entity", "key"),
    [
        *((f"{prefix}.lr", PARAM, "lr") for prefix in ("parameter", "parameters", "param", "params")),
        *((f"{prefix}.lr", TAG, "lr") for prefix in ("tag", "tags")),
        *(
            (key, ATTRIBUTE, key)
            for key in (
                *("name", "model_id", "model_type", "source_run_id", "status"),
                *("experiment_id", "artifact_location", "status_message"),
            )
        ),
    ],
)
def test_parse_text_model_clause_takes_text_comparators(identifier: str, entity: EntityType, key: str) -> None:
    for comparator in (Comparator.EQ, Comparator.NE, Comparator.LIKE, Comparator.ILIKE):
        assert clause(f"{identifier} {comparator} 'x'") == Comparison(Identifier(entity, key), comparator, "x")
    for comparator in (Comparator.IN, Comparator.NOT_IN):
        assert clause(f"{identifier} {comparator} ('x', 'y')").value == ("x", "y")
    for text in (f"{identifier} > 'x'", f"{identifier} IS NULL", f"{identifier} IS NOT NULL"):
        with pytest.raises(InvalidParameterValue):
            parse_logged_model_filter(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("status = 'READY'", "READY"),
        ("status = 2", "READY"),
        ("status = '2'", "READY"),
        ("status != 3", "FAILED"),
        ("status = 0", "UNSPECIFIED"),
        ("attributes.status = 1", "PENDING"),
        ("status IN ('1', 'READY', '9')", ("PENDING", "READY", "9")),
        ('status NOT IN ("3")', ("FAILED",)),
        ("status = 4", "4"),
        ("status = -1", "-1"),
        ("status = 2.0", "2.0"),
        ("status = 'ready'", "ready"),
        ("status LIKE '2'", "2"),
        ("status LIKE 2", "2"),
        ("name = '2'", "2"),
    ],
)
def test_parse_model_status_by_number_becomes_its_name(text: str, value: object) -> None:
    assert clause(text).value == value


@pytest.mark.parametrize("text", ["name = 2", "model_type = 1", "status = READY", "status IN (1)", "params.a = 1"])
def test_parse_model_text_without_quotes_is_refused(text: str) -> None:
    with pytest.raises(InvalidParameterValue):
        parse_logged_model_filter(text)


# Orderings


@pytest.mark.parametrize(
    ("item", "order"),
    [
        ({"field_name": "metrics.acc"}, OrderBy(Identifier(METRIC, "acc"))),
        ({"field_name": "metrics.acc", "ascending": None}, OrderBy(Identifier(METRIC, "acc"))),
        ({"field_name": "metrics.acc", "ascending": False}, OrderBy(Identifier(METRIC, "acc"), ascending=False)),
        ({"field_name": "metric.val loss/a.b"}, OrderBy(Identifier(METRIC, "val loss/a.b"))),
        ({"field_name": "metrics.`a b`"}, OrderBy(Identifier(METRIC, "a b"))),
        (
            {"field_name": "metrics.acc", "dataset_name": "ds"},
            OrderBy(Identifier(METRIC, "acc", DatasetSelector("ds"))),
        ),
        (
            {"field_name": "metrics.acc", "dataset_name": "ds", "dataset_digest": "dg", "ascending": True},
            OrderBy(Identifier(METRIC, "acc", DatasetSelector("ds", "dg"))),
        ),
        ({"field_name": "name", "dataset_name": None}, OrderBy(Identifier(ATTRIBUTE, "name"))),
        ({"field_name": "attributes.status"}, OrderBy(Identifier(ATTRIBUTE, "status"))),
        (
            {"field_name": "last_updated_timestamp_ms"},
            OrderBy(Identifier(ATTRIBUTE, "last_updated_timestamp")),
        ),
    ],
)
def test_parse_model_order_appends_tie_breaks(item: Mapping[str, object], order: OrderBy) -> None:
    assert parse_logged_model_order_by([item]) == (order, NEWEST, BY_ID)


def test_parse_model_order_is_complete_and_lets_the_first_win() -> None:
    assert parse_logged_model_order_by(None) == parse_logged_model_order_by([]) == (NEWEST, BY_ID)
    assert LOGGED_MODELS.default_order[-1].identifier in LOGGED_MODELS.unique
    by_time = {"field_name": "creation_time"}
    assert parse_logged_model_order_by([by_time]) == (replace(NEWEST, ascending=True), BY_ID)
    assert parse_logged_model_order_by([{"field_name": "model_id"}, by_time]) == (BY_ID,)
    on_dataset = {"field_name": "metrics.a", "dataset_name": "ds"}
    anywhere = {"field_name": "metrics.a"}
    assert parse_logged_model_order_by([on_dataset, anywhere, {**on_dataset, "ascending": False}]) == (
        OrderBy(Identifier(METRIC, "a", DatasetSelector("ds"))),
        OrderBy(Identifier(METRIC, "a")),
        NEWEST,
        BY_ID,
    )


@pytest.mark.parametrize("items", ["name", {"field_name": "name"}, ["name"], [["name"]], 5, [{"field_name": "\ud800"}]])
def test_parse_model_order_that_is_no_list_of_mappings_is_refused(items: object) -> None:
    with pytest.raises(InvalidParameterValue):
        parse_logged_model_order_by(items)  # type: ignore[arg-type]


def test_parse_dataset_selectors_leaves_out_repetitions() -> None:
    plain, exact = {"dataset_name": "ds"}, {"dataset_name": "ds", "dataset_digest": "dg"}
    assert parse_dataset_selectors([plain, exact, {**plain, "dataset_digest": None}]) == (
        DatasetSelector("ds"),
        DatasetSelector("ds", "dg"),
    )
    assert parse_dataset_selectors(None) == parse_dataset_selectors([]) == ()


@unhurried
@given(
    st.lists(st.dictionaries(st.sampled_from(["field_name", "ascending", "dataset_name", "x"]), st.text() | st.none()))
)
def test_parse_arbitrary_mappings_gives_a_result_or_invalid_parameter_value(items: list[dict[str, object]]) -> None:
    for parse in (parse_logged_model_order_by, parse_dataset_selectors):
        try:
            parse(items)
        except InvalidParameterValue:
            continue


# Meaning


def measured(value: float, step: int = 0, name: str | None = None, digest: str | None = None) -> LoggedModelMetric:
    return LoggedModelMetric("acc", value, 1, step, "r" * 32, name, digest)


def make_model(number: int, *metrics: LoggedModelMetric) -> LoggedModel:
    return LoggedModel(f"m-{number:032x}", "0", f"n{number}", f"/models/{number}", number, number, metrics=metrics)


MODEL = replace(
    make_model(1, measured(0.5), measured(math.nan, 1, "ds1", "a"), measured(2.0, 3, "ds1", "b")),
    status=LoggedModelStatus.READY,
    params={"lr": "1"},
    tags={"t": ""},
)


@pytest.mark.parametrize(
    ("text", "datasets", "expected"),
    [
        ("", (), True),
        ("metrics.acc = 0.5 AND metrics.acc = 2", (), True),
        ("metrics.acc = 0", (), False),
        ("metrics.acc > 2", (), False),
        ("metrics.nope != 0", (), False),
        ("metrics.acc = 0.5", (DatasetSelector("ds1"),), False),
        ("metrics.acc = 2", (DatasetSelector("ds1"),), True),
        ("metrics.acc = 2", (DatasetSelector("ds1", "a"),), False),
        ("metrics.acc != 2", (DatasetSelector("ds1", "a"),), True),
        ("metrics.acc = 2", (DatasetSelector("ds1", "a"), DatasetSelector("ds1", "b")), True),
        ("", (DatasetSelector("ds2"),), False),
        ("status = 2 AND name = 'n1' AND tags.t = '' AND params.lr = '1'", (), True),
        ("status NOT IN ('2')", (), False),
        ("model_type != 'x'", (), False),
    ],
)
def test_match_model_against_filter_is_as_expected(
    text: str, datasets: tuple[DatasetSelector, ...], expected: bool
) -> None:
    assert matches_logged_model(MODEL, parse_logged_model_filter(text), datasets) is expected


@pytest.mark.parametrize(
    ("item", "place"),
    [
        ({"field_name": "metrics.acc"}, (0, 2.0)),
        ({"field_name": "metrics.acc", "dataset_name": "ds1", "dataset_digest": "a"}, (1, None)),
        ({"field_name": "metrics.acc", "dataset_name": "ds2"}, (2, None)),
        ({"field_name": "status"}, (0, "READY")),
        ({"field_name": "model_type"}, (2, None)),
        ({"field_name": "creation_time"}, (0, 1)),
    ],
)
def test_sort_key_of_model_has_the_place_of_each_order(item: Mapping[str, object], place: object) -> None:
    assert logged_model_sort_key(MODEL, parse_logged_model_order_by([item]))[0] == place


VALUES = st.none() | st.sampled_from([math.nan, math.inf, -math.inf, 0.0, 1.5, -1.5])


@unhurried
@given(st.lists(VALUES, max_size=8), st.booleans(), st.integers(1, 3))
def test_select_models_page_by_page_gives_the_whole(values: list[float | None], ascending: bool, size: int) -> None:
    models = [make_model(number, *([] if value is None else [measured(value)])) for number, value in enumerate(values)]
    ordering = parse_logged_model_order_by([{"field_name": "metrics.acc", "ascending": ascending}])
    query = LoggedModelQuery(("0",), (), (), ordering, 100)
    whole = select_logged_models(models, query)
    assert len(whole) == len(models)
    paged: list[LoggedModel] = []
    while page := select_logged_models(models[::-1], replace(query, limit=size)):
        paged += page
        query = replace(query, after=logged_model_sort_key(page[-1], ordering))
    assert list(map(repr, paged)) == list(map(repr, whole))
