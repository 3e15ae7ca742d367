"""Searching runs, as a data frame and as a list."""

from __future__ import annotations

import logging
import sys

import pytest

import holdall
from holdall.pages import PAGE_SIZE, collect
from holdall.stores.entities import PagedList, Run, ViewType
from holdall.stores.errors import InvalidParameterValue, MissingExtra

pytestmark = pytest.mark.usefixtures("store")

INFO_COLUMNS = ["run_id", "experiment_id", "status", "artifact_uri", "start_time", "end_time"]


def names(runs: list[Run]) -> list[str]:
    return [run.info.run_name for run in runs]


@pytest.fixture
def runs(store: str) -> None:
    """Three runs in two experiments, and a deleted one."""
    holdall.set_experiment("first")
    with holdall.start_run(run_name="a"):
        holdall.log_metric("loss", 0.5)
        holdall.log_param("kernel", "rbf")
    with holdall.start_run(run_name="b"):
        holdall.log_metric("loss", 0.2)
        holdall.log_metric("extra", 1)
        holdall.set_tag("note", "x")
    with holdall.start_run(run_name="gone") as gone:
        pass
    holdall.delete_run(gone.info.run_id)
    holdall.set_experiment("second")
    with holdall.start_run(run_name="c"):
        holdall.log_metric("loss", 0.1)


@pytest.mark.usefixtures("runs")
def test_search_runs_as_list_with_filter_and_order_finds_runs() -> None:
    found = holdall.search_runs(
        experiment_names=["first", "second"],
        filter_string="metrics.loss < 0.6",
        order_by=["metrics.loss ASC"],
        output_format="list",
    )
    assert names(found) == ["c", "b", "a"]
    assert [run.data.metrics["loss"] for run in found] == [0.1, 0.2, 0.5]
    assert names(holdall.search_runs(max_results=1, order_by=["metrics.loss DESC"], output_format="list")) == ["c"]


@pytest.mark.usefixtures("runs")
def test_search_runs_without_scope_looks_in_current_experiment() -> None:
    assert names(holdall.search_runs(output_format="list")) == ["c"]
    assert names(holdall.search_runs(experiment_ids=[], output_format="list")) == ["c"]
    holdall.set_experiment("first")
    assert sorted(names(holdall.search_runs(output_format="list"))) == ["a", "b"]
    deleted = holdall.search_runs(run_view_type=ViewType.DELETED_ONLY, output_format="list")
    assert names(deleted) == ["gone"]


@pytest.mark.usefixtures("runs")
def test_search_runs_in_all_experiments_finds_all() -> None:
    found = holdall.search_runs(search_all_experiments=True, output_format="list")
    assert sorted(names(found)) == ["a", "b", "c"]


@pytest.mark.usefixtures("runs")
def test_search_runs_by_unknown_name_warns_and_skips(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="holdall"):
        found = holdall.search_runs(experiment_names=["second", "nowhere"], output_format="list")
    assert names(found) == ["c"]
    assert "nowhere" in caplog.text
    assert holdall.search_runs(experiment_names=["nowhere"], output_format="list") == []


@pytest.mark.usefixtures("runs")
def test_search_runs_with_bad_arguments_is_refused() -> None:
    with pytest.raises(InvalidParameterValue):
        holdall.search_runs(experiment_ids=["0"], experiment_names=["first"], output_format="list")
    with pytest.raises(InvalidParameterValue):
        holdall.search_runs(output_format="csv")  # type: ignore[call-overload]
    with pytest.raises(InvalidParameterValue):
        holdall.search_runs(max_results=0, output_format="list")
    with pytest.raises(InvalidParameterValue):
        holdall.search_runs(filter_string="metrics.loss <", output_format="list")


@pytest.mark.extras
@pytest.mark.usefixtures("runs")
def test_search_runs_as_frame_has_typed_columns() -> None:
    import numpy as np
    import pandas as pd

    holdall.set_experiment("first")
    frame = holdall.search_runs(order_by=["metrics.loss DESC"])
    assert list(frame.columns[:8]) == [*INFO_COLUMNS, "metrics.extra", "metrics.loss"]
    assert list(frame.columns[8:]) == [
        "params.kernel",
        *(f"tags.{key}" for key in sorted(holdall.search_runs(output_format="list")[0].data.tags | {"note": ""})),
    ]
    assert frame["metrics.loss"].tolist() == [0.5, 0.2]
    assert frame["metrics.loss"].dtype == np.float64
    assert np.isnan(frame["metrics.extra"][0])
    assert frame["params.kernel"][0] == "rbf"
    assert pd.isna(frame["params.kernel"][1])
    assert frame["tags.mlflow.runName"].tolist() == ["a", "b"]
    assert isinstance(frame.index, pd.RangeIndex)
    run = holdall.get_run(frame["run_id"][0])
    assert frame["start_time"][0].timestamp() * 1000 == run.info.start_time
    assert frame["status"].tolist() == ["FINISHED", "FINISHED"]
    assert type(frame["status"][0]) is str


@pytest.mark.extras
def test_search_runs_as_frame_while_running_has_no_end_time() -> None:
    import pandas as pd

    with holdall.start_run():
        frame = holdall.search_runs()
        assert pd.isna(frame["end_time"][0])
        assert str(frame["end_time"].dtype).endswith("UTC]")


@pytest.mark.extras
def test_search_runs_as_frame_without_rows_has_info_columns() -> None:
    frame = holdall.search_runs()
    assert len(frame) == 0
    assert list(frame.columns) == INFO_COLUMNS
    assert str(frame["start_time"].dtype).endswith("UTC]")


@pytest.mark.extras
def test_search_runs_as_frame_with_time_beyond_pandas_range_is_not_a_time() -> None:
    import pandas as pd

    client = holdall.Client()
    client.create_run("0", start_time=2**62)
    client.create_run("0", start_time=1_700_000_000_123)
    frame = holdall.search_runs(order_by=["attributes.start_time ASC"])
    assert frame["start_time"][0] == pd.Timestamp(1_700_000_000_123, unit="ms", tz="UTC")
    assert pd.isna(frame["start_time"][1])


def test_search_runs_as_frame_without_pandas_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingExtra, match=r"pip install 'holdall\[client-extras\]'"):
        holdall.search_runs()


def test_collect_pages_stops_at_last_page_or_limit() -> None:
    calls: list[tuple[int, str | None]] = []

    def fetch(size: int, token: str | None) -> PagedList[int]:
        calls.append((size, token))
        start = int(token or 0)
        end = min(start + min(size, 2), 5)
        return PagedList(range(start, end), str(end) if end < 5 else None)

    assert collect(fetch, None) == [0, 1, 2, 3, 4]
    assert calls == [(PAGE_SIZE, None), (PAGE_SIZE, "2"), (PAGE_SIZE, "4")]
    calls.clear()
    assert collect(fetch, 3) == [0, 1, 2]
    assert calls == [(3, None), (1, "2")]
