"""The pytest plugin and the runner: options, runs by URI, the matrix, other people's tests left alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdall.conformance_tests import run_conformance
from holdall.conformance_tests.harness import place_uri
from holdall.conformance_tests.matrix import ConformanceReport, TestRecord
from holdall.conformance_tests.runner import run_pytest
from holdall.stores import InvalidParameterValue, open_backend_store

USAGE_ERROR = 4


def test_run_plugin_with_other_tests_leaves_them_alone(tmp_path: Path) -> None:
    file = tmp_path / "test_other.py"
    file.write_text("class TestOther:\n    def test_one(self):\n        assert True\n", encoding="utf-8")
    records, code, output = run_pytest([str(file), "--strict-markers", "-W", "error"])
    assert (records, code) == ([], 0)
    assert "conformance" not in output


def test_run_package_without_uri_says_what_is_missing() -> None:
    records, code, output = run_pytest(["--pyargs", "holdall.conformance_tests"])
    assert (records, code) == ([], USAGE_ERROR)
    assert "--backend-uri" in output


def test_run_conformance_without_uri_is_refused() -> None:
    with pytest.raises(InvalidParameterValue):
        run_conformance(None)


def test_run_conformance_on_memory_reports_sections_and_reasons() -> None:
    seen: list[TestRecord] = []
    report = run_conformance("memory://", keyword="reopen or log_inputs_again", on_record=seen.append)
    assert report.ok
    assert tuple(seen) == report.records
    rows = {row.name: (row.passed, row.failed, row.skipped, row.verdict) for row in report.sections()}
    assert rows == {"durability": (0, 0, 1, "skipped"), "inputs": (1, 0, 0, "passed")}
    assert {row.name: row.verdict for row in report.capabilities()} == {"datasets": "passed", "persistent": "skipped"}
    assert report.total().reasons == {"store lacks: persistent": 1}
    assert "store lacks: persistent" in report.render()
    assert report.to_dict()["ok"] is True


def test_run_conformance_with_placeholder_gives_each_test_a_place(tmp_path: Path) -> None:
    report = run_conformance(
        "sqlite:///{tmp}/a/b.sqlite".replace("/a", ""), "{tmp}/artifacts", keyword="open_new_store or read_only"
    )
    assert report.ok
    assert {record.suite for record in report.records} == {"TestBackendUri", "TestArtifactUri"}
    assert report.backend_uri == "sqlite:///{tmp}/b.sqlite"


def test_run_conformance_without_placeholder_shares_the_store(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/shared.sqlite"
    with open_backend_store(uri) as store:
        kept = store.create_run(store.create_experiment("mine")).info
    report = run_conformance(
        uri, keyword="default_experiment or page_experiments or (lifecycle and not nothing and not search_models)"
    )
    assert report.ok, report.output[-3000:]
    assert {record.reason for record in report.records if record.outcome == "skipped"} == {"store lacks: isolated"}
    with open_backend_store(uri) as store:
        assert store.get_run(kept.run_id).info == kept
        assert len(store.search_experiments()) > 10


def test_run_conformance_on_unknown_scheme_fails_every_test() -> None:
    report = run_conformance("nowhere://x", keyword="rename_experiment")
    assert not report.ok
    assert report.failures() == list(report.records) != []
    assert "known schemes" in report.failures()[0].reason


def test_run_conformance_that_selects_nothing_is_not_ok() -> None:
    report = run_conformance("memory://", keyword="no_such_test")
    assert (report.ok, report.records) == (False, ())


def test_show_report_of_uri_with_password_hides_it() -> None:
    report = run_conformance("nowhere://user:hunter2@host/x", keyword="no_such_test")
    assert report.backend_uri == "nowhere://user:***@host/x"
    assert "hunter2" not in repr(report)


def test_summarize_records_counts_each_outcome() -> None:
    outcomes = ["passed", "passed", "failed", "skipped", "excluded"]
    records = tuple(TestRecord(f"t{n}", "S", "runs", ("uri",), outcome, outcome) for n, outcome in enumerate(outcomes))
    row = ConformanceReport(None, None, records, 1).total()
    assert (row.passed, row.failed, row.skipped, row.excluded, row.verdict) == (2, 1, 1, 1, "failed")
    assert row.reasons == {"skipped": 1, "excluded": 1}


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("sqlite:///{tmp}/db", "sqlite:///PLACE/db"),
        ("sqlite://{tmp}/db", "sqlite:///PLACE/db"),
        ("file://{tmp}/x%20y", "file://PLACE%20q/x%20y"),
        ("mine://{tmp}/x?a=1", "mine://PLACE%20q/x?a=1"),
        ("{tmp}/x", "PLACE q/x"),
        ("./{tmp}/x", "PLACE q/x"),
        ("memory://", "memory://"),
    ],
)
def test_place_uri_in_folder_quotes_as_the_scheme_needs(tmp_path: Path, template: str, expected: str) -> None:
    folder = tmp_path / "a q" if "q" in expected else tmp_path
    text = expected.replace("PLACE q", str(folder)).replace("PLACE%20q", f"{tmp_path}/a%20q")
    assert place_uri(template, folder) == text.replace("PLACE", str(folder))


def test_place_uri_with_placeholder_in_the_middle_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidParameterValue):
        place_uri("sqlite:///data/{tmp}/db", tmp_path)
