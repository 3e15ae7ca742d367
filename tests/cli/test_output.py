"""How values are shown."""

from __future__ import annotations

import pytest

from holdall.cli.output import shown, shown_duration, shown_number, shown_size, shown_time


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [(0, 1500, "1.5 s"), (0, 61_000, "1 min 01 s"), (0, 7_260_000, "2 h 01 min"), (None, 5, ""), (5, None, "")],
)
def test_show_duration_of_any_length_uses_fitting_unit(start: int | None, end: int | None, expected: str) -> None:
    assert shown_duration(start, end) == expected


@pytest.mark.parametrize(
    ("size", "expected"), [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (5 * 2**40, "5.0 TiB"), (None, "")]
)
def test_show_size_of_any_magnitude_uses_fitting_unit(size: int | None, expected: str) -> None:
    assert shown_size(size) == expected


@pytest.mark.parametrize(("milliseconds", "expected"), [(0, "1970-01-01 00:00:00"), (2**62, f"{2**62} ms"), (None, "")])
def test_show_time_in_and_beyond_the_calendar_gives_text(milliseconds: int | None, expected: str) -> None:
    assert shown_time(milliseconds) == expected


def test_show_text_with_control_characters_spells_them_out() -> None:
    assert shown("a\tb\x1b[0m\x9bก") == "a\\tb\\x1b[0m\\x9bก"


def test_show_number_of_missing_metric_is_empty() -> None:
    assert (shown_number(None), shown_number(1 / 3)) == ("", "0.333333")
