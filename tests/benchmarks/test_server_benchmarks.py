"""The benchmark of stores on servers in small, without MLflow and without looking at a clock."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from holdall.conformance_tests.emulators import shared_server

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks import __main__ as program  # noqa: E402 - the folder is no installed package
from benchmarks import growth  # noqa: E402
from benchmarks.populate.server import PRODUCTS, STEPS, run_id  # noqa: E402
from benchmarks.report import INDEX, Report  # noqa: E402
from benchmarks.sides.base import Side  # noqa: E402
from benchmarks.suites import SUITES  # noqa: E402
from benchmarks.worker import measure  # noqa: E402
from benchmarks.workload import Scale  # noqa: E402

pytestmark = pytest.mark.extras

SMALL = Scale(runs=130, points=50)
BEST = sorted(range(SMALL.runs), key=lambda n: -((n * 611953 + (STEPS - 1) * 7919) % 1000003))


@pytest.fixture(params=PRODUCTS)
def side(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Side]:
    """The side of holdall with a database full of runs."""
    server = shared_server(request.param)
    database = server.create_database()
    side = SUITES[request.param].open_side("holdall", tmp_path, SMALL, "", server.uri(database))
    side.prepare()
    yield side
    side.close()
    server.drop_database(database)


def answer(side: Side, operation: str) -> object:
    """What a call of an operation answers."""
    return measure(side, SUITES["postgresql"].operations[operation], 1)["answer"]


def test_measure_searches_on_a_server_answers_what_the_data_says(side: Side) -> None:
    newest = sorted(range(SMALL.runs), reverse=True)
    with_param = [n for n in newest if n * 3 % 10 == 3]
    large = [n for n in BEST if n in with_param and (n * 611953 + (STEPS - 1) * 7919) % 1000003 / 1000003 > 0.25]
    assert answer(side, "best_runs") == [run_id(n) for n in BEST[:100]]
    assert answer(side, "reopen_best_runs") == [run_id(n) for n in BEST[:100]]
    assert answer(side, "top_runs") == [run_id(n) for n in large]
    assert answer(side, "first_page") == [run_id(n) for n in newest[:100]]
    assert answer(side, "by_param") == [run_id(n) for n in with_param]
    assert answer(side, "scan") == [13, 65, 65, 65]
    assert cast(list[object], answer(side, "history"))[0] == 50


def test_measure_writes_on_a_server_counts_what_was_logged(side: Side) -> None:
    for operation in ("log_metric", "log_param", "set_tag", "log_metrics", "log_labels", "create_run"):
        measure(side, SUITES["postgresql"].operations[operation], 2)
    # Every run has its name as a tag.
    assert side.count_rows() == [8, 2002, 11, 202, 8 + 2 + 200]


@pytest.mark.parametrize("product", PRODUCTS)
def test_run_program_on_a_server_writes_its_settings_and_the_plan(product: str, tmp_path: Path) -> None:
    json_file = tmp_path / "out.json"
    arguments = ["--store", product, "--sides", "holdall", "--runs", "20", "--points", "5", "--rounds", "1"]
    outputs = ["--only", "best_runs", "--json", str(json_file), "--work-dir", str(tmp_path / "work")]
    assert program.main([*arguments, *outputs]) == 0
    found = json.loads(json_file.read_text(encoding="utf-8"))
    assert [item["name"] for item in found["operations"]] == ["best_runs"]
    setting = {"postgresql": "synchronous_commit=on", "mariadb": "innodb_flush_log_at_trx_commit=1"}[product]
    assert setting in found["versions"]["server"]
    assert "20 runs of 50 points" in found["conditions"]
    assert all("ORDER BY" in plan and "latest_metrics" in plan for plan in found["plans"]["holdall"])
    assert found["plans"]["holdall"] != []
    assert list((tmp_path / "work").iterdir()) == []


@pytest.mark.parametrize("latency", ["0", "0.5"])
def test_run_growth_writes_a_table_and_a_plot(latency: str, tmp_path: Path) -> None:
    outputs = ["--output", str(tmp_path), "--work-dir", str(tmp_path / "work")]
    arguments = ["--sides", "holdall", "--sizes", "12,24", "--rounds", "1", "--latency", latency]
    assert growth.main([*arguments, *outputs]) == 0
    table = (tmp_path / "growth-postgresql.md").read_text(encoding="utf-8").splitlines()
    assert table[0] == "| operation | store | 12 runs | 24 runs |"
    assert [line.split("|")[1].strip() for line in table[2:7]] == [
        SUITES["postgresql"].operations[name].title for name in growth.OPERATIONS
    ]
    assert "<svg" in (tmp_path / "growth-postgresql.svg").read_text(encoding="utf-8")


def test_run_program_with_latency_to_files_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        program.main(["--latency", "5"])
    assert "--latency is for stores on servers, not for sqlite" in capsys.readouterr().err


@pytest.mark.parametrize(("plan", "missed"), [("Seq Scan on latest_metrics", 1), (f"Index Scan using {INDEX}", 0)])
def test_report_on_a_plan_without_the_index_lists_a_broken_promise(plan: str, missed: int) -> None:
    report = Report([], {}, "", raw=False, plans={"holdall": [plan]})
    assert len(report.missed) == missed
    assert plan in report.plan_lines()
