"""The benchmark's harness in small, without MLflow and without looking at a clock."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks import __main__ as program  # noqa: E402 - the folder is no installed package
from benchmarks import memory  # noqa: E402
from benchmarks.measure import Result, compare  # noqa: E402
from benchmarks.peer import BenchmarkError, Measurement, Peer  # noqa: E402
from benchmarks.populate import mlruns  # noqa: E402
from benchmarks.report import Report  # noqa: E402
from benchmarks.sides.base import Side  # noqa: E402
from benchmarks.suites import SUITES  # noqa: E402
from benchmarks.worker import Reply, measure, serve  # noqa: E402
from benchmarks.workload import HISTORY_RUN, TOP, Scale, StoredRun, leading_run, points, stored_runs  # noqa: E402

SMALL = Scale(runs=60, points=50)
SQLITE, FILE = SUITES["sqlite"], SUITES["file"]


@contextmanager
def prepared(store: str, name: str, folder: Path) -> Iterator[Side]:
    """A side that is ready to be measured."""
    side = SUITES[store].open_side(name, folder, SMALL, "NORMAL")
    side.prepare()
    try:
        yield side
    finally:
        side.close()


def once(store: str, side: Side, operation: str, calls: int = 1) -> Reply:
    """What a round came to, whatever time it took."""
    return {**measure(side, SUITES[store].operations[operation], calls), "seconds": None}


def best_runs(count: int = SMALL.runs) -> list[StoredRun]:
    """What a search for `TOP` must find."""
    found = [run for run in stored_runs(count) if dict(run.metrics)["m0"] > 0.25 and dict(run.params)["p0"] == "v3"]
    return sorted(found, key=lambda run: -dict(run.metrics)["m0"])[: TOP.limit]


def test_measure_every_operation_on_both_sqlite_sides_gets_equal_answers(tmp_path: Path) -> None:
    with prepared("sqlite", "holdall", tmp_path / "own") as own, prepared("sqlite", "raw", tmp_path / "raw") as raw:
        for operation in SQLITE.operations:
            assert once("sqlite", own, operation, 2) == once("sqlite", raw, operation, 2), operation


def test_measure_shared_operations_on_files_and_on_sqlite_gets_equal_answers(tmp_path: Path) -> None:
    with (
        prepared("sqlite", "holdall", tmp_path / "sql") as sql,
        prepared("file", "holdall", tmp_path / "files") as files,
    ):
        for operation in SQLITE.operations:
            expected, found = once("sqlite", sql, operation, 2), once("file", files, operation, 2)
            assert found["answer"] == expected["answer"], operation
            runs, metrics, _, params, tags = cast(list[int], expected["rows"])
            assert found["rows"] == [runs, metrics, params, tags], operation


@pytest.mark.parametrize("store", ["sqlite", "file"])
def test_measure_top_runs_answers_what_the_data_says(store: str, tmp_path: Path) -> None:
    best = [run.run_id for run in best_runs()]
    assert best
    with prepared(store, "holdall", tmp_path) as side:
        assert once(store, side, "top_runs")["answer"] == best
        assert once(store, side, "history")["answer"] == [
            50,
            *([p.key, p.value, p.timestamp, p.step] for p in (points(50)[0], points(50)[-1])),
        ]


def test_measure_searches_of_files_in_every_state_answers_what_the_data_says(tmp_path: Path) -> None:
    best = [run.run_id for run in best_runs()]
    everything = [60, 300, 300, 300]
    with prepared("file", "holdall", tmp_path) as side:
        answers = {
            operation: once("file", side, operation)["answer"]
            for operation in ("first_top_runs", "reopen_top_runs", "first_scan", "scan", "scan_pages")
        }
    assert answers == {
        "first_top_runs": best,
        "reopen_top_runs": best,
        "first_scan": everything,
        "scan": everything,
        "scan_pages": everything,
    }


@pytest.mark.parametrize("operation", ["top_runs_after_write", "top_runs_after_set_tag"])
def test_measure_search_after_a_change_answers_the_change(operation: str, tmp_path: Path) -> None:
    leader, *others = (run.run_id for run in best_runs())
    assert leader == leading_run(SMALL.runs).run_id
    with prepared("file", "holdall", tmp_path) as side:
        once("file", side, "top_runs")
        first, second = (cast(list[list[str]], once("file", side, operation)["answer"]) for _ in range(2))
    assert [run_id for run_id, _ in second] == [leader, *others]
    assert first[0][1] != second[0][1]
    assert first[0][1].split()[0] == operation.split("_")[3]
    assert [tag for _, tag in second[1:]] == [None] * len(others)


def test_measure_several_calls_of_what_has_one_call_a_round_is_refused(tmp_path: Path) -> None:
    with prepared("file", "holdall", tmp_path) as side, pytest.raises(ValueError, match="one call"):
        once("file", side, "first_scan", 2)


def test_populate_folder_writes_the_layout_of_mlflow(tmp_path: Path) -> None:
    root = tmp_path / "mlruns"
    mlruns.create_root(root)
    mlruns.insert_experiment(root)
    mlruns.populate(root, SMALL)
    assert sorted(entry.name for entry in root.iterdir()) == [".trash", "0", "1"]
    assert mlruns.count_rows(root) == [61, 350, 300, 301]
    run = stored_runs(1)[0]
    folder = root / "1" / run.run_id
    assert sorted(entry.name for entry in folder.iterdir()) == ["artifacts", "meta.yaml", "metrics", "params", "tags"]
    assert (folder / "metrics" / "m0").read_text(encoding="utf-8") == f"{run.start_time} {run.metrics[0][1]!r} 0\n"
    assert (folder / "tags" / "mlflow.runName").read_text(encoding="utf-8") == run.name
    meta = (folder / "meta.yaml").read_text(encoding="utf-8").splitlines()
    assert meta == sorted(meta)
    assert {"deleted_time: null", "experiment_id: '1'", "source_name: ''", "status: 3", "tags: []"} <= {*meta}
    assert "lifecycle_stage: deleted" in (root / "1" / HISTORY_RUN / "meta.yaml").read_text(encoding="utf-8")


def test_serve_requests_as_json_lines_answers_each(tmp_path: Path) -> None:
    replies = io.StringIO()
    requests = io.StringIO('{"operation": "log_param", "calls": 3}\n{"operation": "create_run", "calls": 1}\n')
    serve(SQLITE, SQLITE.open_side("raw", tmp_path, SMALL, "FULL"), requests, replies)
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


def test_run_program_on_files_measures_what_is_measured_by_default(tmp_path: Path) -> None:
    json_file, markdown_file = tmp_path / "out.json", tmp_path / "out.md"
    arguments = ["--store", "file", "--sides", "holdall", "--runs", "20", "--points", "5", "--rounds", "1"]
    outputs = ["--json", str(json_file), "--markdown", str(markdown_file), "--work-dir", str(tmp_path / "work")]
    assert program.main([*arguments, *outputs]) == 0
    found = json.loads(json_file.read_text(encoding="utf-8"))
    assert [item["name"] for item in found["operations"]] == [name for name in FILE.operations if name != "scan_pages"]
    heading = markdown_file.read_text(encoding="utf-8").splitlines()[0]
    assert heading == "| operation | holdall | MLflow | × MLflow | promised | kept |"


@pytest.mark.parametrize(
    ("arguments", "unknown"),
    [
        (["--store", "file", "--sides", "holdall,raw"], "unknown side 'raw'; known: holdall, mlflow"),
        (["--only", "first_scan"], "unknown operation 'first_scan'; known: log_metric, "),
    ],
)
def test_run_program_with_what_the_store_lacks_says_what_it_has(
    arguments: list[str], unknown: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        program.main(arguments)
    assert unknown in capsys.readouterr().err


def test_run_memory_program_writes_the_peak_of_every_step(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    json_file = tmp_path / "out.json"
    outputs = ["--json", str(json_file), "--work-dir", str(tmp_path / "work")]
    assert memory.main(["--runs", "30", "--check", *outputs]) == 0
    found = json.loads(json_file.read_text(encoding="utf-8"))
    best = len(best_runs(30))
    assert [step["runs"] for step in found["steps"]] == [0, best, best, 30] * 2
    assert 0 < found["peak"] == max(step["peak"] for step in found["steps"]) < memory.LIMIT
    assert "in a new process" in capsys.readouterr().out
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
    return compare(peers, SQLITE.operations["log_metric"], 3, lambda title: None)


def test_compare_sides_that_disagree_stops() -> None:
    peers = [Puppet("holdall", 1.0, "one"), Puppet("mlflow", 1.0, "two")]
    with pytest.raises(BenchmarkError, match="different answers"):
        compare(peers, SQLITE.operations["get_run"], 1, lambda title: None)


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


def test_report_without_a_raw_driver_leaves_its_columns_out() -> None:
    report = Report([measured(holdall=1.0, mlflow=26.0)], {}, "", raw=False)
    assert report.markdown().splitlines()[:3] == [
        "| operation | holdall | MLflow | × MLflow | promised | kept |",
        "| --- | ---: | ---: | ---: | ---: | --- |",
        "| log_metric | 1.00 s | 26.00 s | 26.0× | ≥ 25× | yes |",
    ]
    assert [column.justify for column in report.table().columns] == ["left", *["right"] * 4, "left"]
