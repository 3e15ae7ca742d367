"""The guard: nobody weakens a suite in silence."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["GUARD_TEST", "check_exclusions", "find_weakenings"]

GUARD_TEST = "test_subclass_suite_without_reason_changes_no_test"
"""Name of the test that applies the guard; the pytest plugin applies it once more, in case this one is overridden."""

_PACKAGE = "holdall.conformance_tests."
_BLANKET_MARKS = frozenset({"skip", "skipif", "xfail"})


def find_weakenings(suite: type) -> list[str]:
    """How a suite's subclass changes tests without saying why.

    Args:
        suite: A class that inherits tests from this package.

    Returns:
        One sentence for each test that is overridden or removed without `xfail(reason=…, strict=True)`, and for each
        mark that switches off a whole class.
    """
    shipped = {name for base in suite.__mro__ if _is_shipped(base) for name in vars(base) if name.startswith("test_")}
    found = []
    for base in suite.__mro__:
        if _is_shipped(base) or base is object:
            continue
        changed = shipped & vars(base).keys()
        found += [
            f"{base.__qualname__}.{name} replaces a test of the suite without xfail(reason=…, strict=True)"
            for name in sorted(changed)
            if not _is_explained(vars(base)[name])
        ]
        blanket = _mark_names(vars(base).get("pytestmark", ())) & _BLANKET_MARKS
        found += [f"{base.__qualname__} is marked {mark} as a whole" for mark in sorted(blanket)]
    return found


def check_exclusions(suite: type) -> list[str]:
    """What is wrong with a suite's declared exclusions: no reason, or no such test."""
    found = []
    for name, reason in getattr(suite, "exclusions", {}).items():
        if not (isinstance(reason, str) and reason.strip()):
            found.append(f"the exclusion of {name} gives no reason")
        if not callable(getattr(suite, name.partition("[")[0], None)):
            found.append(f"the exclusion of {name} names no test")
    return found


def _is_shipped(kind: type) -> bool:
    """Whether a class belongs to the suite itself; concrete runs by URI count as users of it."""
    return kind.__module__.startswith(_PACKAGE) and not kind.__module__.endswith(".test_uri")


def _is_explained(test: object) -> bool:
    return any(
        mark.name == "xfail" and mark.kwargs.get("reason") and mark.kwargs.get("strict") is True
        for mark in getattr(test, "pytestmark", ())
    )


def _mark_names(marks: object) -> set[str]:
    listed = marks if isinstance(marks, Iterable) else [marks]
    return {getattr(mark, "name", "") for mark in listed}
