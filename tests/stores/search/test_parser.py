import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdall.stores.errors import InvalidParameterValue
from holdall.stores.search import (
    Column,
    Comparator,
    Comparison,
    Entity,
    EntityType,
    Identifier,
    OrderBy,
    SearchKind,
    ValueType,
    parse_experiment_filter,
    parse_filter,
    parse_order_by,
    parse_run_filter,
)

# A busy machine must not fail a property.
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

ATTRIBUTE, METRIC, PARAM, TAG, DATASET = EntityType


def run_clause(text: str) -> Comparison:
    (clause,) = parse_run_filter(text)
    return clause


def keys(text: str) -> list[str]:
    return [clause.identifier.key for clause in parse_run_filter(text)]


# Filters: identifiers


@pytest.mark.parametrize(
    ("spelling", "entity", "key"),
    [
        *((f"{prefix}.acc", METRIC, "acc") for prefix in ("metric", "metrics", "`metrics`")),
        ("metrics.`acc`", METRIC, "acc"),
        ("metrics.'acc'", METRIC, "acc"),
        ('metrics."acc"', METRIC, "acc"),
        ("metrics.'`acc`'", METRIC, "acc"),
        ("metrics.`'acc'`", METRIC, "'acc'"),
        ("metrics.'`'", METRIC, "`"),
        ("metrics.`val loss/a-b:c@5`", METRIC, "val loss/a-b:c@5"),
        ("metrics.``", METRIC, ""),
        ("metrics.", METRIC, ""),
        ("metrics.a.b", METRIC, "a.b"),
        ("metrics.`a.b`", METRIC, "a.b"),
        ("metrics..hid", METRIC, ".hid"),
        ("metrics.1a", METRIC, "1a"),
        ("metrics.5_", METRIC, "5_"),
        ("metrics.`5`", METRIC, "5"),
        ("metrics.été", METRIC, "été"),
        ("metrics.日本", METRIC, "日本"),
        ("metrics.order", METRIC, "order"),
        ("metrics.like", METRIC, "like"),
        ("metrics.is", METRIC, "is"),
        ("metrics.not", METRIC, "not"),
        ("metrics.null", METRIC, "null"),
        ("metrics.and", METRIC, "and"),
        ("metrics.type", METRIC, "type"),
        ("metrics.in_case", METRIC, "in_case"),
        ("metrics.`in`", METRIC, "in"),
        ("metrics.`case`", METRIC, "case"),
        *((f"{prefix}.start_time", ATTRIBUTE, "start_time") for prefix in ("attribute", "attributes", "attr", "run")),
        ("start_time", ATTRIBUTE, "start_time"),
        ("`start_time`", ATTRIBUTE, "start_time"),
        ('"start_time"', ATTRIBUTE, "start_time"),
        ("attributes.'start_time'", ATTRIBUTE, "start_time"),
        ("created", ATTRIBUTE, "start_time"),
        ("attributes.Created", ATTRIBUTE, "start_time"),
        ("end_time", ATTRIBUTE, "end_time"),
    ],
)
def test_parse_numeric_identifier_in_any_spelling_is_canonical(spelling: str, entity: EntityType, key: str) -> None:
    assert run_clause(f"{spelling} > 1") == Comparison(Identifier(entity, key), Comparator.GT, 1)


@pytest.mark.parametrize(
    ("spelling", "entity", "key"),
    [
        *((f"{prefix}.lr", PARAM, "lr") for prefix in ("parameter", "parameters", "param", "params")),
        *((f"{prefix}.lr", TAG, "lr") for prefix in ("tag", "tags")),
        ("tags.mlflow.runName", TAG, "mlflow.runName"),
        ("run_id", ATTRIBUTE, "run_id"),
        ("run_name", ATTRIBUTE, "run_name"),
        ("`run name`", ATTRIBUTE, "run_name"),
        ('"Run name"', ATTRIBUTE, "run_name"),
        ("attributes.`Run Name`", ATTRIBUTE, "run_name"),
        ("status", ATTRIBUTE, "status"),
        ("user_id", ATTRIBUTE, "user_id"),
        ("run.artifact_uri", ATTRIBUTE, "artifact_uri"),
        ("dataset.name", DATASET, "name"),
        ("datasets.`digest`", DATASET, "digest"),
        ("datasets.context", DATASET, "context"),
    ],
)
def test_parse_text_identifier_in_any_spelling_is_canonical(spelling: str, entity: EntityType, key: str) -> None:
    assert run_clause(f"{spelling} LIKE 'x'") == Comparison(Identifier(entity, key), Comparator.LIKE, "x")


@pytest.mark.parametrize(
    "identifier",
    [
        "metrics.5",
        "metrics.a.5",
        "metrics.5.a",
        "metrics.in",
        "metrics.IN",
        "metrics.a.case",
        "metrics.a b",
        "metrics.a/b",
        "metrics.a-b",
        "metrics.a:b",
        "metrics.a@5",
        "metrics.`a",
        "metrics.a`",
        "metrics.``a``",
        "metrics .a",
        "metrics. a",
        "`metrics.acc`",
        '"metrics".acc',
        "'metrics'.acc",
        "``.acc",
        ".acc",
        "METRICS.acc",
        "foo.bar",
        "attributes.`'start_time'`",
        "'start_time'",
        "attributes.",
        "START_TIME",
        "CREATED",
        "`Created `",
        "duration",
        "datasets.name",
        "0.5",
        "",
    ],
)
def test_parse_numeric_identifier_unknown_or_malformed_is_refused(identifier: str) -> None:
    with pytest.raises(InvalidParameterValue):
        parse_run_filter(f"{identifier} > 1")


@pytest.mark.parametrize(
    "key",
    [
        "experiment_id",
        "lifecycle_stage",
        "name",
        "run_uuid",
        "foo",
        "STATUS",
        "'Run name'",
        "`run Name`",
        "run name",
        "datasets.source",
        "datasets.Name",
        "datasets.",
        "dataset",
    ],
)
def test_parse_text_identifier_unknown_is_refused(key: str) -> None:
    with pytest.raises(InvalidParameterValue):
        parse_run_filter(f"{key} = 'x'")


def test_parse_unknown_key_names_it_and_the_valid_ones() -> None:
    with pytest.raises(InvalidParameterValue, match=r"'foo'.*run_id.*end_time"):
        parse_run_filter("foo = 'x'")
    with pytest.raises(InvalidParameterValue, match=r"'foo'.*metrics.*datasets"):
        parse_run_filter("foo.bar = 'x'")
    with pytest.raises(InvalidParameterValue, match=r">.*'status'.*=, !=, LIKE, ILIKE"):
        parse_run_filter("status > 'x'")


def test_parse_long_filter_shortens_it_in_the_message() -> None:
    for text in ("foo = '" + "x" * 100_000, "x" * 100_000 + " = 'y'", "status = " + "x" * 100_000):
        with pytest.raises(InvalidParameterValue) as caught:
            parse_run_filter(text)
        assert len(str(caught.value)) < 1_200


# Filters: comparators

NUMERIC = ["=", "!=", ">", ">=", "<", "<="]
LISTED = ["IN", "NOT IN"]
NULLS = ["IS NULL", "IS NOT NULL"]
COLUMNS = [
    ("metrics.a", NUMERIC),
    ("start_time", NUMERIC),
    ("end_time", NUMERIC),
    ("params.a", ["=", "!=", "LIKE", "ILIKE", *NULLS]),
    ("tags.a", ["=", "!=", "LIKE", "ILIKE", *NULLS]),
    ("run_id", ["=", "!=", "LIKE", "ILIKE", *LISTED]),
    ("run_name", ["=", "!=", "LIKE", "ILIKE"]),
    ("`Run name`", ["=", "!=", "LIKE", "ILIKE"]),
    ("status", ["=", "!=", "LIKE", "ILIKE"]),
    ("user_id", ["=", "!=", "LIKE", "ILIKE"]),
    ("artifact_uri", ["=", "!=", "LIKE", "ILIKE"]),
    ("datasets.name", ["=", "!=", "LIKE", "ILIKE", *LISTED]),
    ("datasets.digest", ["=", "!=", "LIKE", "ILIKE", *LISTED]),
    ("datasets.context", ["=", "!=", "LIKE", "ILIKE", *LISTED]),
]
EXPERIMENT_COLUMNS = [
    ("name", ["=", "!=", "LIKE", "ILIKE"]),
    ("attribute.name", ["=", "!=", "LIKE", "ILIKE"]),
    ("attributes.`name`", ["=", "!=", "LIKE", "ILIKE"]),
    ("experiment_id", ["=", "!=", "LIKE", "ILIKE", *LISTED]),
    ("creation_time", NUMERIC),
    ("last_update_time", NUMERIC),
    ("tag.a", ["=", "!=", "LIKE", "ILIKE", *NULLS]),
    ("tags.`a`", ["=", "!=", "LIKE", "ILIKE", *NULLS]),
]


def operand(comparator: str, *, numeric: bool) -> str:
    if comparator in LISTED:
        return "('x')"
    return "" if comparator in NULLS else "1" if numeric else "'x'"


@pytest.mark.parametrize("comparator", Comparator)
@pytest.mark.parametrize(("column", "valid"), COLUMNS)
def test_parse_comparator_of_runs_is_accepted_where_it_applies(
    column: str, valid: list[str], comparator: Comparator
) -> None:
    text = f"{column} {comparator} {operand(comparator, numeric=valid is NUMERIC)}"
    if comparator in valid:
        assert run_clause(text).comparator is comparator
        assert run_clause(text.replace(comparator, comparator.lower())).comparator is comparator
    else:
        with pytest.raises(InvalidParameterValue, match="valid comparators are"):
            parse_run_filter(text)


@pytest.mark.parametrize("comparator", Comparator)
@pytest.mark.parametrize(("column", "valid"), EXPERIMENT_COLUMNS)
def test_parse_comparator_of_experiments_is_accepted_where_it_applies(
    column: str, valid: list[str], comparator: Comparator
) -> None:
    text = f"{column} {comparator} {operand(comparator, numeric=valid is NUMERIC)}"
    if comparator in valid:
        (clause,) = parse_experiment_filter(text)
        assert clause.comparator is comparator
        assert parse_experiment_filter(text.replace(comparator, comparator.title())) == (clause,)
    else:
        with pytest.raises(InvalidParameterValue, match="valid comparators are"):
            parse_experiment_filter(text)


@pytest.mark.parametrize(
    "text",
    [
        "metrics.acc > 1",
        "params.a = 'x'",
        "lifecycle_stage = 'active'",
        "artifact_location = 'x'",
        "last_updated_time > 1",
        "NAME = 'x'",
        "attr.name = 'x'",
        "run.name = 'x'",
        "`tags.a` = 'x'",
        "'name' = 'x'",
        "name = x",
        "name = 5",
        "experiment_id = 1",
        "experiment_id IN (1)",
        "creation_time > '1'",
        "name = 'x';",
        " ",
    ],
)
def test_parse_experiment_filter_malformed_is_refused(text: str) -> None:
    with pytest.raises(InvalidParameterValue):
        parse_experiment_filter(text)


@pytest.mark.parametrize(
    "clause",
    [
        "params.a == 'x'",
        "params.a <> 'x'",
        "params.a ! = 'x'",
        "params.a && 'x'",
        "params.a NOT LIKE 'x'",
        "params.a BETWEEN 'x' AND 'y'",
        "params.a REGEXP 'x'",
        "metrics.a > = 1",
        "metrics.a => 1",
        "metrics.a ~ 1",
        "params.a IS 'x'",
        "params.a IS",
        "params.a IS NOT",
        "params.a IS NOT  NULL",
        "params.a ISNULL",
        "params.aIS NULL",
        "params.a",
        "params.a =",
        "= 'x'",
        "'x' = params.a",
        "0.5 < metrics.a",
    ],
)
def test_parse_comparator_unknown_or_misplaced_is_refused(clause: str) -> None:
    with pytest.raises(InvalidParameterValue):
        parse_run_filter(clause)


# Filters: values


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1.0),
        ("1.", 1.0),
        ("1.0", 1.0),
        (".5", 0.5),
        ("-.5", -0.5),
        ("-0", 0.0),
        ("00.5", 0.5),
        ("1e-7", 1e-7),
        ("1E-7", 1e-7),
        ("-1e3", -1000.0),
        ("1.5e3", 1500.0),
        ("1e400", math.inf),
        ("-1e400", -math.inf),
        ("١", 1.0),
        ("9" * 5000, math.inf),
    ],
)
def test_parse_number_for_metric_is_float(text: str, value: float) -> None:
    clause = run_clause(f"metrics.a>{text}")
    assert clause.value == value
    assert isinstance(clause.value, float)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2000", 2000),
        ("-5", -5),
        ("9223372036854775807", 2**63 - 1),
        ("-9223372036854775808", -(2**63)),
        ("2.5", 2.5),
        ("1.0", 1.0),
        ("1e3", 1000.0),
        ("1e400", math.inf),
        ("9223372036854775808", 2.0**63),
        ("99999999999999999999", 1e20),
        ("-99999999999999999999", -1e20),
        ("9" * 5000, math.inf),
    ],
)
def test_parse_number_for_time_is_int64_or_float(text: str, value: float) -> None:
    clause = run_clause(f"start_time < {text}")
    assert clause.value == value
    assert type(clause.value) is type(value)


@pytest.mark.parametrize(
    "value",
    [
        *("+1", "- 1", "--1", "1e+5", "1_000", "1,000", "0x1", "inf", "nan", "'0.9'", '"1"', "abc", "1.e5", ".5e3"),
        *("1e", ".", "-", "²", "NULL", "TRUE", "1 + 1", "1 1", "(1)", "metrics.b", ""),
    ],
)
def test_parse_number_malformed_is_refused(value: str) -> None:
    with pytest.raises(InvalidParameterValue):
        parse_run_filter(f"metrics.a > {value}")
    with pytest.raises(InvalidParameterValue):
        parse_run_filter(f"start_time > {value}")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("'x'", "x"),
        ('"x"', "x"),
        ("''", ""),
        ("'it''s'", "it''s"),
        (r"'it\'s'", r"it\'s"),
        (r"'a\'", "a\\"),
        ('"it\'s"', "it's"),
        ("'say \"x\"'", 'say "x"'),
        ('"a""b"', 'a""b'),
        (r"'C:\new\%'", r"C:\new\%"),
        ("'two\nlines'", "two\nlines"),
        ("'`x`'", "`x`"),
        ("' x '", " x "),
    ],
)
def test_parse_text_value_keeps_all_between_the_quotes(text: str, value: str) -> None:
    assert run_clause(f"tags.a = {text}").value == value


@pytest.mark.parametrize(
    "value", ["x", "`x`", "'x", 'x"', "´x´", "0.1", "NULL", "('x')", "N'x'", "'x'::int", "$$x$$", "'x' 'y'", "params.b"]
)
def test_parse_text_value_without_proper_quotes_is_refused(value: str) -> None:
    for column in ("params.a", "tags.a", "run_id", "status", "datasets.name"):
        with pytest.raises(InvalidParameterValue):
            parse_run_filter(f"{column} = {value}")


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("('x')", ("x",)),
        ("('x',)", ("x",)),
        ("('x','y')", ("x", "y")),
        ("('x','y',)", ("x", "y")),
        ("( 'x'\n,\t\"y\" )", ("x", "y")),
        ("('x' 'y', 'z')", ("xy", "z")),
        ("('it''s')", ("its",)),
        (r"('it\'s')", ("it's",)),
        (r"('a\nb\\\t\x41\u00e9\U0001F600\101\N{BULLET}')", ("a\nb\\\tA\u00e9😀A•",)),
        (r"('a\qb')", (r"a\qb",)),
        ("('a\\\nb')", ("ab",)),
        (r"(u'x', r'a\nb')", ("x", r"a\nb")),
        ("('''x''')", ("x",)),
        ("(('x'))", ("x",)),
        ("(('x', 'y'))", ("x", "y")),
        ("(('x'), 'y')", ("x", "y")),
        ("('')", ("",)),
        ("('),(')", ("),(",)),
    ],
)
def test_parse_list_reads_python_literals(text: str, values: tuple[str, ...]) -> None:
    for column in ("run_id", "datasets.name"):
        assert run_clause(f"{column} IN{text}").value == values
        assert run_clause(f"{column} NOT\nIN {text}").value == values


@pytest.mark.parametrize(
    "text",
    [
        "()",
        "(,)",
        "(,'x')",
        "('x',,'y')",
        "(1)",
        "('x', 1)",
        "(abc)",
        "(NULL)",
        "(`x`)",
        "(b'x')",
        "(f'x')",
        "(('x', 'y'), 'z')",
        "(('x',),)",
        "['x']",
        "'x'",
        "x",
        "('x'",
        "('x'))",
        "('x)",
        "('x';'y')",
        "('x' + 'y')",
        "('x' /* c */)",
        "('a\nb')",
        r"('\x4')",
        r"('\u12')",
        r"('\ud800')",
        r"('\U00110000')",
        r"('\N{NO SUCH CHARACTER}')",
        "(" * 10_000 + "'x'" + ")" * 10_000,
        "",
    ],
)
def test_parse_list_malformed_is_refused(text: str) -> None:
    with pytest.raises(InvalidParameterValue):
        parse_run_filter(f"run_id IN {text}")


# Filters: as a whole


@pytest.mark.parametrize("text", [None, "", "AND", " and AND "])
def test_parse_filter_without_clauses_is_empty(text: str | None) -> None:
    assert parse_run_filter(text) == ()
    assert parse_experiment_filter(text) == ()


@pytest.mark.parametrize("text", [" ", "\t", "\n", ";", "-- c", "/* c */"])
def test_parse_filter_of_blanks_or_comments_is_refused(text: str) -> None:
    with pytest.raises(InvalidParameterValue):
        parse_run_filter(text)


@pytest.mark.parametrize(
    "text",
    [
        "params.a = 'x' AND params.b = 'y'",
        "params.a = 'x' and params.b = 'y'",
        "params.a='x'AND params.b='y'",
        "params.a LIKE'x'And`params`.b='y'",
        "params.a = 'x' params.b = 'y'",
        "params.a='x'params.b='y'",
        "AND params.a = 'x' AND AND params.b = 'y' AND",
        " \n params.a\t=\n'x'\r\nAND params.b = 'y' ",
        "params.a = 'x'\xa0AND params.b = 'y'",
        "params.a IS NULL params.b IS NOT NULL",
    ],
)
def test_parse_clauses_however_joined_are_all_there(text: str) -> None:
    assert keys(text) == ["a", "b"]


def test_parse_word_after_number_needs_a_blank_unless_exponent() -> None:
    assert keys("metrics.a > 1e5AND metrics.b > 0") == ["a", "b"]
    for number in ("0", "1.", ".5"):
        with pytest.raises(InvalidParameterValue):
            parse_run_filter(f"metrics.a > {number}AND metrics.b > 0")


@pytest.mark.parametrize(
    "text",
    [
        "params.a = 'x' OR params.a = 'y'",
        "NOT params.a = 'x'",
        "(params.a = 'x')",
        "params.a = 'x' AND (params.b = 'y')",
        "params.a = 'x', params.b = 'y'",
        "params.a = 'x';",
        "params.a = 'x'; params.b = 'y'",
        "params.a = 'x' -- c",
        "/* c */ params.a = 'x'",
        "params.a /* c */ = 'x'",
        "params.a = 'x' # c",
        "params.a = 'x' params.b",
        r"params.a = 'x\' AND params.b = 'y'",
        "\ufeffparams.a = 'x'",
        "params.a = '\ud800'",
        "params.`\udfff` = 'x'",
    ],
)
def test_parse_filter_of_another_language_is_refused(text: str) -> None:
    with pytest.raises(InvalidParameterValue):
        parse_run_filter(text)


@pytest.mark.parametrize("text", [5, ["status = 'x'"], b"status = 'x'"])
def test_parse_filter_that_is_no_text_is_refused(text: object) -> None:
    with pytest.raises(InvalidParameterValue):
        parse_run_filter(text)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("start", "repeated", "end"),
    [
        ("metrics.a > ", "1", "x"),
        ("metrics.", "1.", "`"),
        ("metrics.", "`", ""),
        ("metrics.a", " ", "x"),
        ("metrics.a NOT", " ", "x"),
        ("metrics.a > 1", " ", ";"),
        ("", " AND", ";"),
        ("tags.a = '", "\\'", "x"),
        ("tags.a = '", "''", "x"),
        ("run_id IN ('a'", " ", ";"),
        ("run_id IN ('a',", " ", ";"),
        ("run_id IN ('", "\\", ""),
        ("run_id IN ", "(", ""),
    ],
)
def test_parse_long_malformed_filter_is_refused_in_linear_time(start: str, repeated: str, end: str) -> None:
    with pytest.raises(InvalidParameterValue):
        parse_run_filter(start + repeated * 200_000 + end)


FRAGMENTS = st.sampled_from(
    """metrics. params. tags. datasets. run. a name run_id start_time `a b` "a" 'x' ` " ' \\ = != > LIKE NOT IN IS NULL
    AND OR ( ) ('x','y') , ; . 1 -1 1e5 1e400 -- /* DESC 日本 \ud800""".split(" ")
)
ARBITRARY = st.text() | st.lists(FRAGMENTS).map("".join) | st.lists(FRAGMENTS).map(" ".join)


@unhurried
@given(ARBITRARY)
def test_parse_arbitrary_text_gives_a_result_or_invalid_parameter_value(text: str) -> None:
    for parse in (parse_run_filter, parse_experiment_filter):
        try:
            clauses = parse(text)
        except InvalidParameterValue:
            continue
        assert all(isinstance(clause, Comparison) for clause in clauses)


BACKTICKABLE = st.text(st.characters(exclude_characters="`", exclude_categories=["Cs"]))


@unhurried
@given(BACKTICKABLE)
def test_parse_key_in_backticks_round_trips(key: str) -> None:
    assert run_clause(f"metrics.`{key}` = 1").identifier == Identifier(METRIC, key)


@unhurried
@given(st.text(st.characters(exclude_characters="'", exclude_categories=["Cs"])))
def test_parse_value_in_single_quotes_round_trips(value: str) -> None:
    assert run_clause(f"params.a = '{value}'").value == value


@unhurried
@given(st.lists(st.text(), min_size=1).map(tuple))
def test_parse_list_written_by_python_round_trips(values: tuple[str, ...]) -> None:
    assert run_clause(f"run_id IN {values!r}").value == values


# Tables


def test_parse_with_another_table_speaks_its_dialect() -> None:
    name, version = Identifier(ATTRIBUTE, "name"), Identifier(ATTRIBUTE, "version")
    equality = frozenset({Comparator.EQ})
    tie_break = (OrderBy(name), OrderBy(version, ascending=False))
    versions = SearchKind(
        name="model versions",
        entities={
            "": Entity(
                ATTRIBUTE,
                {
                    "name": Column(ValueType.TEXT, equality),
                    "version_number": Column(ValueType.INTEGER, equality, key="version", quotable=True),
                    "timestamp": Column(ValueType.INTEGER, frozenset()),
                },
            )
        },
        default_order=tie_break,
        tie_break=tie_break,
        unique=frozenset({name, version}),
    )
    assert parse_filter("version_number = '2' AND version_number = 3", versions) == (
        Comparison(version, Comparator.EQ, 2),
        Comparison(version, Comparator.EQ, 3),
    )
    assert parse_order_by(["version_number", "timestamp"], versions) == (
        OrderBy(version),
        OrderBy(Identifier(ATTRIBUTE, "timestamp")),
        OrderBy(name),
    )
    for text in ("version_number = '2x'", "version_number = ''", "timestamp = 1", "tags.a = 'x'"):
        with pytest.raises(InvalidParameterValue):
            parse_filter(text, versions)
