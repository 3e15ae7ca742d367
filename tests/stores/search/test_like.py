import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdall.stores.search.like import ilike, like

# A busy machine must not fail a property.
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.parametrize(
    ("pattern", "value"),
    [
        ("abc", "abc"),
        ("", ""),
        ("%", ""),
        ("%", "anything\nat all"),
        ("%%", ""),
        ("a%", "a"),
        ("a%", "ab"),
        ("%c", "abc"),
        ("%b%", "abc"),
        ("a%b%c", "a-b-b-c"),
        ("%ab%ab", "abab"),
        ("a_c", "aXc"),
        ("a_c", "aÜc"),
        ("a_c", "a😀c"),
        ("a_c", "a\nc"),
        ("a%c", "a\n\nc"),
        ("_%_", "ab"),
        ("%_b%", "xab"),
        (r"a\_b", r"a\Xb"),
        (r"a\%", "a\\"),
        ("\\", "\\"),
        ("f(%", "f(x)"),
        ("a.b", "a.b"),
        ("[a*", "[a*"),
        ("_+", "a+"),
        ("foo ", "foo "),
    ],
)
def test_like_matching_value_is_true(pattern: str, value: str) -> None:
    assert like(pattern, value)
    assert ilike(pattern, value)


@pytest.mark.parametrize(
    ("pattern", "value"),
    [
        ("abc", "abcd"),
        ("abc", "abc\n"),
        ("", "a"),
        ("_", ""),
        ("_", "ab"),
        ("_", "e\u0301"),
        ("a%b", "ab\n"),
        ("aba%aba", "aba"),
        ("aba%aba", "ababa"),
        ("%ab%ab", "ab"),
        ("a_%_c", "a-c"),
        (r"a\_b", "a_b"),
        (r"a\%", "a%"),
        (r"\\", "\\"),
        ("a.b", "aXb"),
        ("foo", "foo "),
        ("foo ", "foo"),
        ("uni", "üni"),
        ("\u00e9", "e\u0301"),
    ],
)
def test_like_other_value_is_false(pattern: str, value: str) -> None:
    assert not like(pattern, value)
    assert not ilike(pattern, value)


@pytest.mark.parametrize(
    ("pattern", "value"),
    [
        ("adam", "ADAM"),
        ("ün%", "ÜNÏ"),
        ("_n_", "ÜNÏ"),
        ("ΣΊΣΥΦΟΣ", "σίσυφος"),
        ("straße", "STRASSE"),
        ("STRASSE", "Straße"),
        ("STRA_E", "straße"),
        ("_", "ß"),
        ("_", "İ"),
        ("stra_e ẞ", "STRAẞE ß"),
        ("_TRASSE", "strasse"),
    ],
)
def test_ilike_value_differing_in_case_is_true_and_like_is_false(pattern: str, value: str) -> None:
    assert ilike(pattern, value)
    assert like(pattern, value) == (pattern == "_")


@pytest.mark.parametrize(("pattern", "value"), [("__", "ß"), ("STRASS_", "straße"), ("i", "ı"), ("uni", "ÜNI")])
def test_ilike_value_differing_in_more_than_case_is_false(pattern: str, value: str) -> None:
    assert not ilike(pattern, value)


def test_like_many_wildcards_on_long_value_ends() -> None:
    assert not like("%a" * 30 + "b", "a" * 20_000)
    assert not like("%_a" * 10 + "%b_", "a" * 5_000)
    assert like("%a" * 30, "a" * 20_000)


def _matches(pattern: str, value: str) -> bool:
    """The definition, as slow as it is plain."""
    if not pattern:
        return not value
    if pattern[0] == "%":
        return any(_matches(pattern[1:], value[start:]) for start in range(len(value) + 1))
    return bool(value) and pattern[0] in {"_", value[0]} and _matches(pattern[1:], value[1:])


@unhurried
@given(st.text("ab%_\n\\.", max_size=6), st.text("ab_%\n\\.", max_size=8))
def test_like_any_pattern_agrees_with_definition(pattern: str, value: str) -> None:
    assert like(pattern, value) == _matches(pattern, value)


@unhurried
@given(st.text("aAßsS%_İi", max_size=6), st.text("aAßsSİi", max_size=8))
def test_ilike_any_pattern_finds_what_like_finds(pattern: str, value: str) -> None:
    assert ilike(pattern, value) or not like(pattern, value)


@unhurried
@given(st.text(), st.text())
def test_ilike_text_without_wildcards_compares_case_folded(pattern: str, value: str) -> None:
    literal = pattern.replace("%", "").replace("_", "")
    assert ilike(literal, value) == (literal.casefold() == value.casefold())
    assert ilike(literal, literal.swapcase()) == (literal.casefold() == literal.swapcase().casefold())
