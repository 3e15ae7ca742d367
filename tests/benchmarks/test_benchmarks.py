"""The benchmark's harness in small, without MLflow and without looking at a clock."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks import __main__ as program  # noqa: E402 - the folder is no installed package
from benchmarks.measure import Result, compare  # noqa: E402
from benchmarks.operations import OPERATIONS  # noqa: E402
from benchmarks.peer import BenchmarkError, Measurement, Peer  # noqa: E402
from benchmarks.report import Report  # noqa: E402
from benchmarks.sides import open_side  # noqa: E402
from benchmarks.worker import measure, serve  # noqa: E402
from benchmarks.workload import TOP, Scale, points, stored_runs  # noqa: E402

SMALL = Scale(runs=60, points=50)


def test_measure_every_operation_on_both_sides_gets_equal_answers(tmp_path: Path) -> None:
    sides = [open_side(name, tmp_path / name, SMALL, "NORMAL") for name in ("holdall", "raw")]
    for side in sides:
        side.prepare()
    for operation in OPERATIONS:
        own, raw = ({**measure(side, operation, 2), "seconds": None} for side in sides)
        assert own == raw, operation
    for side in sides:
        side.close()


def test_measure_top_runs_answers_what_the_data_says(tmp_path: Path) -> None:
    side = open_side("holdall", tmp_path, SMALL, "NORMAL")
    side.prepare()
    found = [
        run for run in stored_runs(SMALL.runs) if dict(run.metrics)["m0"] > 0.25 and dict(run.params)["p0"] == "v3"
    ]
    best = sorted(found, key=lambda run: -dict(run.metrics)["m0"])[: TOP.limit]
    assert best
    assert measure(side, "top_runs", 1)["answer"] == [run.run_id for run in best]
    assert measure(side, "history", 1)["answer"] == [
        50,
        *([p.key, p.value, p.timestamp, p.step] for p in (points(50)[0], points(50)[-1])),
    ]
    side.close()


def test_serve_requests_as_json_lines_answers_each(tmp_path: Path) -> None:
    replies = io.StringIO()
    requests = io.StringIO('{"operation": "log_param", "calls": 3}\n{"operation": "create_run", "calls": 1}\n')
    serve(open_side("raw", tmp_path, SMALL, "FULL"), requests, replies)
    ready, params, runs = map(json.loads, replies.getvalue().splitlines())
    assert "synchronous=FULL" in ready["version"]
    assert params["rows"] == [1, 0, 0, 3, 1]
    assert runs["rows"] == [2, 0, 0, 3, 2]


def test_run_program_writes_json_and_markdown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    json_file, markdown_file = tmp_path / "out.json", tmp_path / "out.md"
    arguments = ["--sides", "holdall,raw", "--only", "set_tag", "--only", "get_run", "--runs", "20", "--points", "5"]
    outputs = ["--json", str(json_file), "--markdown", str(markdown_file), "--work-dir", str(tmp_path / "work")]
    assert program.main([*arguments, "--rounds", "2", *outputs]) == 0
    found = json.loads(json_file.read_text(encoding="utf-8"))
    assert [item["name"] for item in found["operations"]] == ["set_tag", "get_run"]
    assert len(found["operations"][0]["seconds"]["raw"]) == 2
    assert markdown_file.read_text(encoding="utf-8").count("\n| ") == 3
    assert "get_run" in capsys.readouterr().out
    assert list((tmp_path / "work").iterdir()) == []


def test_run_program_with_failing_interpreter_exits_with_its_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--sides", "mlflow", "--mlflow-python", str(tmp_path / "no-python"), "--work-dir", str(tmp_path)]
    assert program.main(words) == 2
    assert "no-python" in capsys.readouterr().err


class Puppet(Peer):
    """A side that answers what it was told, in a time that it was told."""

    def __init__(self, name: str, seconds: float, answer: str) -> None:
        self.name, self.version = name, name
        self._measurement = Measurement(seconds, answer, [])

    def run(self, operation: str, calls: int) -> Measurement:
        return self._measurement


def measured(**seconds: float) -> Result:
    """A result of `log_metric` with these times."""
    peers = [Puppet(name, value, "same") for name, value in seconds.items()]
    return compare(peers, OPERATIONS["log_metric"], 3, lambda title: None)


def test_compare_sides_that_disagree_stops() -> None:
    peers = [Puppet("holdall", 1.0, "one"), Puppet("mlflow", 1.0, "two")]
    with pytest.raises(BenchmarkError, match="different answers"):
        compare(peers, OPERATIONS["get_run"], 1, lambda title: None)


@pytest.mark.parametrize(("mlflow", "raw", "missed"), [(26.0, 0.5, 0), (24.0, 0.5, 1), (26.0, 0.3, 1), (24.0, 0.3, 2)])
def test_report_on_promises_lists_those_that_were_missed(mlflow: float, raw: float, missed: int) -> None:
    report = Report([measured(holdall=1.0, mlflow=mlflow, raw=raw)], {}, "")
    assert len(report.missed) == missed
    row = report.markdown().splitlines()[2]
    assert row.endswith("| yes |" if missed == 0 else "| no |")


def test_report_without_peers_promises_nothing() -> None:
    report = Report([measured(holdall=1.0)], {}, "")
    assert report.missed == []
    assert "| – |" in report.markdown()
