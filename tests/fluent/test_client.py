"""`Client`: the calls with explicit ids."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest

import holdall
from holdall.stores.entities import Dataset, DatasetInput, Metric, Param, RunTag, ViewType
from holdall.stores.errors import InvalidParameterValue, NotFound, ReadOnly, StoreClosed


@pytest.fixture
def client(store: str) -> holdall.Client:
    return holdall.Client()


def test_create_run_has_given_fields_and_no_system_tags(client: holdall.Client) -> None:
    run = client.create_run("0", start_time=5, tags={"a": 1}, run_name="mine")
    assert (run.info.start_time, run.info.run_name, run.info.user_id) == (5, "mine", "unknown")
    assert run.data.tags == {"a": "1", "mlflow.runName": "mine"}
    assert client.create_run("0", start_time=0).info.start_time != 0
    assert client.create_run("0", tags={"mlflow.user": "ada"}).info.user_id == "ada"
    assert holdall.active_run() is None


def test_set_terminated_ends_run_with_status_and_time(client: holdall.Client) -> None:
    run_id = client.create_run("0").info.run_id
    client.set_terminated(run_id, "KILLED", 99)
    info = client.get_run(run_id).info
    assert (info.status, info.end_time) == ("KILLED", 99)
    client.set_terminated(run_id)
    info = client.get_run(run_id).info
    assert info.status == "FINISHED"
    assert info.end_time is not None
    assert info.end_time > 99


def test_update_run_changes_status_and_name(client: holdall.Client) -> None:
    run_id = client.create_run("0").info.run_id
    client.update_run(run_id, status="FAILED", name="other")
    run = client.get_run(run_id)
    assert (run.info.status, run.info.run_name, run.data.tags["mlflow.runName"]) == ("FAILED", "other", "other")


def test_log_metric_keeps_zero_timestamp(client: holdall.Client) -> None:
    run_id = client.create_run("0").info.run_id
    client.log_metric(run_id, "m", "1.5", timestamp=0, step=2)
    client.log_metric(run_id, "m", 2, timestamp=1, step=1)
    assert client.get_metric_history(run_id, "m") == [Metric("m", 1.5, 0, 2), Metric("m", 2.0, 1, 1)]
    assert client.get_metric_history(run_id, "none") == []
    with pytest.raises(NotFound):
        client.get_metric_history("0" * 32, "m")


def test_log_batch_over_limits_is_split_and_checked_as_a_whole(client: holdall.Client) -> None:
    run_id = client.create_run("0").info.run_id
    metrics = [Metric(f"m{number % 7}", float(number), number, number) for number in range(1950)]
    params = [Param(f"p{number}", "v") for number in range(120)]
    tags = [RunTag(f"t{number}", "v") for number in range(230)]
    with pytest.raises(InvalidParameterValue):
        client.log_batch(run_id, [*metrics, Metric("../x", 1.0, 0)], params, tags)
    with pytest.raises(InvalidParameterValue):
        client.log_batch(run_id, metrics, [*params, Param("p0", "v")], tags)
    assert client.get_run(run_id).data.params == {}
    client.log_batch(run_id, metrics, params, tags)
    run = client.get_run(run_id)
    assert (len(run.data.params), len(run.data.tags)) == (120, 231)
    assert sum(len(client.get_metric_history(run_id, f"m{key}")) for key in range(7)) == 1950


def test_tags_and_params_by_id_are_kept_as_text(client: holdall.Client) -> None:
    run_id = client.create_run("0").info.run_id
    client.log_param(run_id, "p", 1)
    client.set_tag(run_id, "t", None)
    run = client.get_run(run_id)
    assert (run.data.params, run.data.tags["t"]) == ({"p": "1"}, "None")
    client.delete_tag(run_id, "t")
    assert "t" not in client.get_run(run_id).data.tags


def test_experiments_by_id_are_renamed_tagged_deleted_restored(client: holdall.Client) -> None:
    experiment_id = client.create_experiment("a", tags={"n": 1})
    client.rename_experiment(experiment_id, "b")
    client.set_experiment_tag(experiment_id, "k", 2)
    client.delete_experiment_tag(experiment_id, "n")
    experiment = client.get_experiment(experiment_id)
    assert (experiment.name, experiment.tags) == ("b", {"k": "2"})
    client.delete_experiment(experiment_id)
    assert [found.name for found in client.search_experiments(ViewType.DELETED_ONLY)] == ["b"]
    client.restore_experiment(experiment_id)
    assert client.get_experiment_by_name("b") == client.get_experiment(experiment_id)


def test_search_runs_by_page_continues_after_token(client: holdall.Client) -> None:
    for number in range(5):
        client.create_run("0", start_time=number + 1, run_name=str(number))
    first = client.search_runs(["0"], max_results=3, order_by=["attributes.start_time ASC"])
    rest = client.search_runs(["0"], max_results=3, order_by=["attributes.start_time ASC"], page_token=first.token)
    assert [run.info.run_name for run in [*first, *rest]] == ["0", "1", "2", "3", "4"]
    assert rest.token is None


def test_delete_and_restore_run_by_id(client: holdall.Client) -> None:
    run_id = client.create_run("0").info.run_id
    client.delete_run(run_id)
    with pytest.raises(InvalidParameterValue):
        client.log_param(run_id, "p", 1)
    client.restore_run(run_id)
    client.log_param(run_id, "p", 1)


def test_log_inputs_records_dataset(client: holdall.Client) -> None:
    run_id = client.create_run("0").info.run_id
    used = DatasetInput(Dataset("digits", "abc", "local", "{}"))
    client.log_inputs(run_id, [used])
    assert client.get_run(run_id).inputs.dataset_inputs == (used,)


def test_get_parent_run_follows_tag(client: holdall.Client) -> None:
    parent = client.create_run("0")
    child = client.create_run("0", tags={"mlflow.parentRunId": parent.info.run_id})
    found = client.get_parent_run(child.info.run_id)
    assert found is not None
    assert found.info.run_id == parent.info.run_id
    assert client.get_parent_run(parent.info.run_id) is None


def test_artifacts_by_id_are_logged_listed_downloaded(client: holdall.Client, folder: Path) -> None:
    run_id = client.create_run("0").info.run_id
    client.log_text(run_id, "x", "d/x.txt")
    client.log_dict(run_id, {"a": 1}, "d/x.json")
    assert [(info.path, info.file_size) for info in client.list_artifacts(run_id, "d")] == [
        ("d/x.json", 12),
        ("d/x.txt", 1),
    ]
    copied = client.download_artifacts(run_id, "d", folder / "copy")
    assert copied == str(folder / "copy" / "d")
    assert Path(copied, "x.txt").read_text() == "x"
    assert client.download_artifacts(run_id, dst_path=folder / "all") == str(folder / "all")
    with pytest.raises(NotFound):
        client.download_artifacts(run_id, "nothing")


def test_make_client_without_uri_means_what_is_configured_then(store: str) -> None:
    holdall.create_experiment("here")
    client = holdall.Client()
    holdall.set_tracking_uri("sqlite:///other.db")
    assert client.get_experiment_by_name("here") is not None
    assert holdall.Client().get_experiment_by_name("here") is None
    client.close()
    assert client.get_experiment_by_name("here") is not None


def test_make_client_with_uri_opens_a_store_of_its_own(folder: Path) -> None:
    with holdall.Client("memory://") as first, holdall.Client("memory://") as second:
        first.create_experiment("mine")
        assert second.get_experiment_by_name("mine") is None
    with pytest.raises(StoreClosed):
        first.get_experiment("0")
    with holdall.Client("sqlite:///own.db", artifact_root="elsewhere") as client:
        run = client.create_run("0")
        assert client.tracking_uri == f"sqlite:///{folder}/own.db"
        assert run.info.artifact_uri.startswith(str(folder / "elsewhere"))
        assert repr(client) == f"<Client of sqlite:///{folder}/own.db>"
    assert not (folder / "mlflow.db").exists()


def test_make_client_read_only_refuses_writes(folder: Path) -> None:
    with holdall.Client("sqlite:///own.db") as client:
        run_id = client.create_run("0").info.run_id
        client.log_text(run_id, "x", "x.txt")
    with holdall.Client("sqlite:///own.db", read_only=True) as client:
        assert client.get_run(run_id).info.run_id == run_id
        assert len(client.list_artifacts(run_id)) == 1
        with pytest.raises(ReadOnly):
            client.create_run("0")
        with pytest.raises(ReadOnly):
            client.log_text(run_id, "y", "y.txt")


def test_forget_client_with_own_store_closes_it() -> None:
    client = holdall.Client("sqlite:///own.db")
    store = client.store
    store.get_experiment("0")
    del client
    gc.collect()
    with pytest.raises(StoreClosed):
        store.get_experiment("0")


def test_make_mlflow_client_is_the_same_class() -> None:
    assert holdall.MlflowClient is holdall.Client
