import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdall.stores.errors import InvalidParameterValue
from holdall.stores.search import (
    RUNS,
    EntityType,
    Identifier,
    OrderBy,
    parse_experiment_order_by,
    parse_order_by,
    parse_run_order_by,
)

# A busy machine must not fail a property.
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

ATTRIBUTE, METRIC, PARAM, TAG, _ = EntityType

NEWEST = OrderBy(Identifier(ATTRIBUTE, "start_time"), ascending=False)
BY_ID = OrderBy(Identifier(ATTRIBUTE, "run_id"))


@pytest.mark.parametrize(
    ("clause", "order"),
    [
        ("metrics.acc", OrderBy(Identifier(METRIC, "acc"))),
        ("metrics.acc ASC", OrderBy(Identifier(METRIC, "acc"))),
        ("metrics.acc desc", OrderBy(Identifier(METRIC, "acc"), ascending=False)),
        ("metrics.acc \t\nDesc", OrderBy(Identifier(METRIC, "acc"), ascending=False)),
        ("metrics.`a b` DESC", OrderBy(Identifier(METRIC, "a b"), ascending=False)),
        ("metrics.`a b`DESC", OrderBy(Identifier(METRIC, "a b"), ascending=False)),
        ("metrics.'a b' DESC", OrderBy(Identifier(METRIC, "a b"), ascending=False)),
        ('metrics."a b"', OrderBy(Identifier(METRIC, "a b"))),
        ('metrics.`a"b` DESC', OrderBy(Identifier(METRIC, 'a"b'), ascending=False)),
        ("metrics.`a'b\\` DESC", OrderBy(Identifier(METRIC, "a'b\\"), ascending=False)),
        ("metrics.desc DESC", OrderBy(Identifier(METRIC, "desc"), ascending=False)),
        ("metrics.order", OrderBy(Identifier(METRIC, "order"))),
        ("params.lr", OrderBy(Identifier(PARAM, "lr"))),
        ("tags.a.b DESC", OrderBy(Identifier(TAG, "a.b"), ascending=False)),
        ("`tags`.`a`", OrderBy(Identifier(TAG, "a"))),
        ("status", OrderBy(Identifier(ATTRIBUTE, "status"))),
        ("attributes.run_name", OrderBy(Identifier(ATTRIBUTE, "run_name"))),
        ("attr.user_id", OrderBy(Identifier(ATTRIBUTE, "user_id"))),
        ("`artifact_uri`", OrderBy(Identifier(ATTRIBUTE, "artifact_uri"))),
        ('"end_time" DESC', OrderBy(Identifier(ATTRIBUTE, "end_time"), ascending=False)),
    ],
)
def test_parse_run_order_appends_tie_breaks(clause: str, order: OrderBy) -> None:
    assert parse_run_order_by([clause]) == (order, NEWEST, BY_ID)


@pytest.mark.parametrize(
    "clause",
    [
        *("", " ", " metrics.a", "metrics.a ", "metrics.a DESC ", "metrics.a\n", "metrics.a;", "metrics.a DESC;"),
        *("metrics.a, params.b", "metrics.a DESC, params.b", "metrics.a DOWN", "metrics.a DESCENDING"),
        *(
            "metrics.a DESC ASC",
            "metrics.a NULLS FIRST",
            "metrics.a DESC NULLS LAST",
            "ABS(metrics.a)",
            "(metrics.a)",
            "-metrics.a",
        ),
        *(
            "metrics.a=1",
            "metrics.a-b",
            "metrics.a/b",
            "metrics.5",
            "metrics.in",
            "metrics.case",
            "metrics.``a``",
            "metrics.`a",
            "1",
        ),
        *("`metrics.a`", "METRICS.a", "foo", "foo.bar", "desc", "name", "experiment_id", "'start_time'"),
        *(
            "metrics.a 'DESC'",
            "`Run name`",
            "`Run Name`",
            "attributes.`run name`",
            "Run name",
            "datasets.name",
            "dataset.digest DESC",
        ),
        *("metrics.a -- c", "metrics.`\ud800`"),
    ],
)
def test_parse_run_order_malformed_is_refused(clause: str) -> None:
    with pytest.raises(InvalidParameterValue):
        parse_run_order_by(["status", clause])


@pytest.mark.parametrize("clauses", [None, (), []])
def test_parse_order_without_clauses_is_the_default(clauses: list[str] | None) -> None:
    assert parse_run_order_by(clauses) == (NEWEST, BY_ID)
    assert parse_experiment_order_by(clauses) == (
        OrderBy(Identifier(ATTRIBUTE, "creation_time"), ascending=False),
        OrderBy(Identifier(ATTRIBUTE, "experiment_id")),
    )


def test_parse_run_order_with_start_time_breaks_ties_by_id_only() -> None:
    assert parse_run_order_by(["created"]) == (OrderBy(Identifier(ATTRIBUTE, "start_time")), BY_ID)


def test_parse_run_order_with_run_id_ends_there() -> None:
    by_id = OrderBy(Identifier(ATTRIBUTE, "run_id"), ascending=False)
    assert parse_run_order_by(["run_id DESC"]) == (by_id,)
    assert parse_run_order_by(["run_id DESC", "metrics.acc"]) == (by_id,)
    with pytest.raises(InvalidParameterValue):
        parse_run_order_by(["run_id", "foo"])


def test_parse_order_with_duplicates_lets_the_first_win() -> None:
    assert parse_run_order_by(["metrics.a DESC", "Created", "`metrics`.`a`", "start_time DESC"]) == (
        OrderBy(Identifier(METRIC, "a"), ascending=False),
        OrderBy(Identifier(ATTRIBUTE, "start_time")),
        BY_ID,
    )


@pytest.mark.parametrize("key", ["name", "creation_time", "last_update_time"])
def test_parse_experiment_order_appends_id_descending(key: str) -> None:
    by_id = OrderBy(Identifier(ATTRIBUTE, "experiment_id"), ascending=False)
    for spelling in (key, f"attribute.{key}", f"attributes.`{key}`"):
        assert parse_experiment_order_by([spelling]) == (OrderBy(Identifier(ATTRIBUTE, key)), by_id)
    assert parse_experiment_order_by(["experiment_id", key]) == (OrderBy(Identifier(ATTRIBUTE, "experiment_id")),)


@pytest.mark.parametrize("clause", ["tags.a", "metrics.a", "foo", "lifecycle_stage", " name", "name ", "NAME"])
def test_parse_experiment_order_malformed_is_refused(clause: str) -> None:
    with pytest.raises(InvalidParameterValue):
        parse_experiment_order_by([clause])


@pytest.mark.parametrize("clauses", ["status", "", [5], [["status"]], [None]])
def test_parse_order_that_is_no_list_of_texts_is_refused(clauses: object) -> None:
    with pytest.raises(InvalidParameterValue):
        parse_run_order_by(clauses)  # type: ignore[arg-type]


@unhurried
@given(st.text(st.characters(exclude_characters="`", exclude_categories=["Cs"])))
def test_parse_order_by_key_in_backticks_round_trips(key: str) -> None:
    assert parse_run_order_by([f"tags.`{key}` DESC"])[0] == OrderBy(Identifier(TAG, key), ascending=False)


PIECES = st.sampled_from(
    ["metrics.", "tags.", "run_id", "name", "a", "`a b`", "`", '"', "'", "\\", ".", "DESC", " asc", ",", ";"]
)


@unhurried
@given(st.text() | st.lists(PIECES).map("".join) | st.lists(PIECES).map(" ".join))
def test_parse_arbitrary_order_gives_a_result_or_invalid_parameter_value(text: str) -> None:
    for parse in (parse_run_order_by, parse_experiment_order_by):
        try:
            ordering = parse([text])
        except InvalidParameterValue:
            continue
        assert all(isinstance(order, OrderBy) for order in ordering)


def test_parse_table_of_runs_has_a_complete_default_order() -> None:
    assert parse_order_by((), RUNS)[-1].identifier in RUNS.unique
