"""`holdall experiments` and `holdall runs`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from holdall.stores import ExperimentTag, Metric, open_backend_store

Command = Any


def test_list_experiments_as_json_gives_all_fields(holdall_command: Command, run_ids: list[str], store: str) -> None:
    with open_backend_store(store) as opened:
        opened.set_experiment_tag("1", ExperimentTag("owner", "ada"))
    found = holdall_command("experiments", "list", "--store", store, "--json").json
    assert [item["name"] for item in found["experiments"]] == ["digits", "Default"]
    assert found["experiments"][0]["tags"] == {"owner": "ada"}
    assert found["next_page_token"] is None


def test_list_experiments_with_view_and_filter_finds_deleted_one(
    holdall_command: Command, run_ids: list[str], store: str
) -> None:
    with open_backend_store(store) as opened:
        opened.delete_experiment("1")
    listed = holdall_command("experiments", "list", "--store", store, "--json").json
    assert [item["name"] for item in listed["experiments"]] == ["Default"]
    deleted = holdall_command(
        "experiments", "list", "--store", store, "--view", "deleted", "--filter", "name LIKE 'd%'"
    )
    assert "digits" in deleted.out
    assert "deleted" in deleted.out


def test_list_runs_in_plain_output_prints_one_unbroken_line_each(
    holdall_command: Command, run_ids: list[str], store: str
) -> None:
    lines = holdall_command("runs", "list", "--store", store).out.splitlines()
    assert len(lines) == 4
    assert lines[0].split()[:2] == ["run", "id"]
    assert [line.split()[:2] for line in lines[1:]] == [[run_ids[n], f"run-{n}"] for n in (2, 1, 0)]
    assert all(line == line.rstrip() for line in lines)


def test_search_runs_with_filter_and_order_finds_in_that_order(
    holdall_command: Command, run_ids: list[str], store: str
) -> None:
    found = holdall_command(
        *("runs", "search", "metrics.accuracy > 0.75 AND tags.team = 'blue'"),
        *("--store", store, "--order-by", "metrics.accuracy DESC", "--experiment", "digits", "--json"),
    ).json
    assert [run["run_name"] for run in found["runs"]] == ["run-0", "run-1"]
    assert found["runs"][0]["params"] == {"lr": "0"}
    assert found["runs"][0]["metrics"] == {"accuracy": pytest.approx(0.89)}


def test_search_runs_page_by_page_gives_each_run_once(holdall_command: Command, run_ids: list[str], store: str) -> None:
    first = holdall_command("runs", "list", "--store", store, "--limit", "2", "--json").json
    token = first["next_page_token"]
    rest = holdall_command("runs", "list", "--store", store, "--limit", "2", "--page-token", token, "--json").json
    assert [run["run_id"] for run in first["runs"] + rest["runs"]] == run_ids[::-1]
    assert rest["next_page_token"] is None


def test_list_runs_with_more_to_come_says_so_on_standard_error(
    holdall_command: Command, run_ids: list[str], store: str
) -> None:
    outcome = holdall_command("runs", "list", "--store", store, "--limit", "1")
    assert len(outcome.out.splitlines()) == 2
    assert "--page-token" in outcome.err


def test_list_runs_with_limit_zero_reads_beyond_one_page(
    holdall_command: Command, store: str, monkeypatch: pytest.MonkeyPatch, run_ids: list[str]
) -> None:
    monkeypatch.setattr("holdall.cli.paging.PAGE", 2)
    found = holdall_command("runs", "list", "--store", store, "--limit", "0", "--json").json
    assert [run["run_id"] for run in found["runs"]] == run_ids[::-1]


def test_list_runs_with_columns_shows_these_only(holdall_command: Command, run_ids: list[str], store: str) -> None:
    words = ("runs", "list", "--store", store, "--column", "tags.team", "-c", "metric.accuracy")
    heading, *rows = holdall_command(*words).out.splitlines()
    assert heading.endswith("tags.team  metrics.accuracy")
    assert all(row.split()[-2] == "blue" for row in rows)


def test_list_runs_with_malformed_column_exits_as_usage_error(
    holdall_command: Command, run_ids: list[str], store: str
) -> None:
    assert "metrics.KEY" in holdall_command("runs", "list", "--store", store, "-c", "accuracy", code=2).err


def test_show_run_prints_params_metrics_and_tags(holdall_command: Command, run_ids: list[str], store: str) -> None:
    out = holdall_command("runs", "show", run_ids[0], "--store", store).out
    for expected in ("run-0", "lr", "accuracy", "(step 1)", "team", "blue", "RUNNING"):
        assert expected in out


def test_show_run_with_nonfinite_metrics_writes_strict_json(
    holdall_command: Command, run_ids: list[str], store: str
) -> None:
    values = {"a": math.nan, "b": math.inf, "c": -math.inf, "d": 1e-320}
    with open_backend_store(store) as opened:
        opened.log_batch(run_ids[0], [Metric(key, value, 1) for key, value in values.items()])
    metrics = holdall_command("runs", "show", run_ids[0], "--store", store, "--json").json["metrics"]
    assert (metrics["a"], metrics["b"], metrics["c"], metrics["d"]) == ("NaN", "Infinity", "-Infinity", 1e-320)


def test_show_history_of_metric_gives_points_in_order(holdall_command: Command, run_ids: list[str], store: str) -> None:
    words = ("runs", "show", run_ids[0], "--store", store, "--history", "accuracy")
    points = holdall_command(*words, "--json").json["points"]
    assert [(point["step"], point["timestamp"]) for point in points] == [(0, 5), (1, 6)]
    assert len(holdall_command(*words).out.splitlines()) == 3


def test_show_run_with_escape_sequence_in_its_name_prints_it_spelled_out(
    holdall_command: Command, run_ids: list[str], store: str
) -> None:
    with open_backend_store(store) as opened:
        opened.update_run_info(run_ids[0], run_name="\x1b[31m[bold]red\n")
    for command in (("runs", "list"), ("runs", "show", run_ids[0])):
        out = holdall_command(*command, "--store", store).out
        assert r"\x1b[31m[bold]red\n" in out
        assert "\x1b" not in out


def test_list_runs_of_unknown_experiment_exits_with_one_line(
    holdall_command: Command, run_ids: list[str], store: str
) -> None:
    outcome = holdall_command("runs", "list", "--store", store, "-e", "no such thing!", code=1)
    assert outcome.out == ""
    assert len(outcome.err.splitlines()) == 1
    assert "no such thing!" in outcome.err


def test_list_runs_without_store_reads_the_configured_one(
    holdall_command: Command, run_ids: list[str], store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    assert run_ids[0] in holdall_command("runs", "list").out


def test_list_runs_where_no_store_is_creates_nothing(holdall_command: Command, folder: Path) -> None:
    outcome = holdall_command("runs", "list", code=1)
    assert "--store" in outcome.err
    assert list(folder.iterdir()) == []
