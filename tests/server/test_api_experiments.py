"""Endpoints of experiments."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tests.server.calls import Caller, created_experiment, created_run, pairs, unique
from tests.server.live import live_server

pytestmark = pytest.mark.extras


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caller]:
    with live_server(tmp_path_factory.mktemp("server")) as live:
        yield Caller(live)


@pytest.fixture
def name() -> str:
    return unique("an experiment")


def names(found: dict[str, Any]) -> list[str]:
    return [item["name"] for item in found.get("experiments", [])]


# Creating and getting


def test_get_the_first_experiment_of_a_new_store_gives_its_fields(api: Caller) -> None:
    experiment = api.experiment("0")
    assert {key: type(value) for key, value in experiment.items()} == {
        "experiment_id": str,
        "name": str,
        "artifact_location": str,
        "lifecycle_stage": str,
        "last_update_time": int,
        "creation_time": int,
        "workspace": str,
    }
    assert experiment["name"] == "Default"
    assert experiment["artifact_location"] == "mlflow-artifacts:/0"
    assert experiment["lifecycle_stage"] == "active"


def test_create_with_all_fields_keeps_them(api: Caller, name: str) -> None:
    tags = [{"key": "a", "value": "1"}, {"key": "mlflow.note.content", "value": ""}, {"key": "valueless"}]
    created = api.post("experiments/create", name=name, artifact_location="s3://bucket/path", tags=tags)
    assert list(created) == ["experiment_id"]
    experiment = api.experiment(created["experiment_id"])
    assert experiment["name"] == name
    assert experiment["artifact_location"] == "s3://bucket/path"
    assert pairs(experiment["tags"]) == {"a": "1", "mlflow.note.content": "", "valueless": ""}
    assert experiment["creation_time"] == experiment["last_update_time"] > 1_700_000_000_000
    assert api.get("experiments/get-by-name", experiment_name=name) == {"experiment": experiment}


def test_create_with_an_empty_location_takes_the_servers_own(api: Caller, name: str) -> None:
    experiment_id = api.post("experiments/create", name=name, artifact_location="")["experiment_id"]
    assert api.experiment(experiment_id)["artifact_location"] == f"mlflow-artifacts:/{experiment_id}"


def test_create_where_the_name_is_taken_is_refused(api: Caller, name: str) -> None:
    experiment_id = api.post("experiments/create", name=name)["experiment_id"]
    assert name in api.refused("experiments/create", {"name": name}, "RESOURCE_ALREADY_EXISTS")
    api.post("experiments/delete", experiment_id=experiment_id)
    message = api.refused("experiments/create", {"name": name}, "RESOURCE_ALREADY_EXISTS")
    assert "deleted" in message


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "x" * 501},
        {"tags": [{"key": "k" * 251, "value": "v"}]},
        {"tags": [{"key": "a/../b", "value": "v"}]},
        {"tags": [{"key": "k", "value": "v" * 20001}]},
        {"artifact_location": "runs:/0123456789abcdef0123456789abcdef/a"},
        {"artifact_location": "s3://bucket/path#fragment"},
        {"artifact_location": "s3://" + "b" * 2050},
        {"artifact_location": "http://169.254.169.254/latest"},
        {"artifact_location": "mlflow-artifacts://other.host/x"},
        {"artifact_location": "s3://bucket/../other"},
        {"artifact_location": "s3://bucket/%2e%2e/other"},
    ],
    ids=lambda fields: str(fields)[:50],
)
def test_create_with_what_the_rules_refuse_creates_nothing(api: Caller, name: str, fields: dict[str, object]) -> None:
    api.refused("experiments/create", {"name": name} | fields)
    api.refused_get("experiments/get-by-name", {"experiment_name": name}, "RESOURCE_DOES_NOT_EXIST")


@pytest.mark.parametrize("experiment_id", ["99999", "999999999999999999", "abc", "00"])
def test_use_an_experiment_that_is_not_there_is_refused(api: Caller, experiment_id: str) -> None:
    code = "RESOURCE_DOES_NOT_EXIST"
    assert experiment_id in api.refused_get("experiments/get", {"experiment_id": experiment_id}, code)
    body = {"experiment_id": experiment_id, "new_name": "n", "key": "k", "value": "v"}
    for endpoint in ("delete", "restore", "update", "set-experiment-tag", "delete-experiment-tag"):
        api.refused(f"experiments/{endpoint}", body, code)
    api.refused("runs/create", body, code)


@pytest.mark.parametrize("experiment_id", ["a/b", "../0", "0 ", "\u0000", "x" * 300])
def test_use_what_cannot_be_an_experiment_is_refused(api: Caller, experiment_id: str) -> None:
    api.refused_get("experiments/get", {"experiment_id": experiment_id})
    api.refused("experiments/delete", {"experiment_id": experiment_id})


def test_get_by_a_name_that_is_not_there_is_refused(api: Caller, name: str) -> None:
    message = api.refused_get("experiments/get-by-name", {"experiment_name": name}, "RESOURCE_DOES_NOT_EXIST")
    assert name in message


def test_get_by_name_tells_apart_what_differs_in_case_or_blanks(api: Caller, name: str) -> None:
    ids = [api.post("experiments/create", name=text)["experiment_id"] for text in (name, name.upper(), f"{name} ")]
    found = [
        api.get("experiments/get-by-name", experiment_name=text)["experiment"]["experiment_id"]
        for text in (name, name.upper(), f"{name} ")
    ]
    assert found == ids


# Changing


def test_rename_changes_the_name_and_the_time(api: Caller, name: str) -> None:
    experiment_id = created_experiment(api)
    before = api.experiment(experiment_id)
    assert api.post("experiments/update", experiment_id=experiment_id, new_name=name) == {}
    after = api.experiment(experiment_id)
    assert after["name"] == name
    assert after["last_update_time"] >= before["last_update_time"]
    assert {**after, "name": 0, "last_update_time": 0} == {**before, "name": 0, "last_update_time": 0}
    assert api.post("experiments/update", experiment_id=experiment_id, new_name=name) == {}


def test_rename_to_a_name_that_is_taken_or_none_is_refused(api: Caller, name: str) -> None:
    experiment_id = created_experiment(api)
    api.post("experiments/create", name=name)
    api.refused("experiments/update", {"experiment_id": experiment_id, "new_name": name}, "RESOURCE_ALREADY_EXISTS")
    api.refused("experiments/update", {"experiment_id": experiment_id, "new_name": "x" * 501})
    api.refused("experiments/update", {"experiment_id": experiment_id, "new_name": ""})
    api.refused("experiments/update", {"experiment_id": experiment_id})


def test_delete_and_restore_take_the_runs_with_them(api: Caller, name: str) -> None:
    experiment_id = api.post("experiments/create", name=name)["experiment_id"]
    kept, by_hand = created_run(api, experiment_id), created_run(api, experiment_id)
    api.post("runs/delete", run_id=by_hand)
    assert api.post("experiments/delete", experiment_id=experiment_id) == {}
    assert api.experiment(experiment_id)["lifecycle_stage"] == "deleted"
    assert api.get("experiments/get-by-name", experiment_name=name)["experiment"]["lifecycle_stage"] == "deleted"
    assert api.run(kept)["info"]["lifecycle_stage"] == "deleted"
    api.refused("experiments/delete", {"experiment_id": experiment_id}, "RESOURCE_DOES_NOT_EXIST")
    assert api.post("experiments/restore", experiment_id=experiment_id) == {}
    assert [api.run(run_id)["info"]["lifecycle_stage"] for run_id in (kept, by_hand)] == ["active", "deleted"]
    api.refused("experiments/restore", {"experiment_id": experiment_id}, "RESOURCE_DOES_NOT_EXIST")


def test_change_a_deleted_experiment_is_refused(api: Caller) -> None:
    experiment_id = created_experiment(api, tags=[{"key": "k", "value": "v"}])
    run_id = created_run(api, experiment_id)
    api.post("experiments/delete", experiment_id=experiment_id)
    body = {"experiment_id": experiment_id, "new_name": "n", "key": "k", "value": "w"}
    for endpoint in ("experiments/update", "experiments/set-experiment-tag", "experiments/delete-experiment-tag"):
        api.refused(endpoint, body)
    api.refused("runs/create", body)
    api.refused("runs/set-tag", {"run_id": run_id, "key": "k", "value": "v"})
    assert pairs(api.experiment(experiment_id)["tags"]) == {"k": "v"}


def test_set_and_delete_tags_changes_them(api: Caller) -> None:
    experiment_id = created_experiment(api)
    for value in ("1", "2", "ü" * 20000, ""):
        assert api.post("experiments/set-experiment-tag", experiment_id=experiment_id, key="a/b", value=value) == {}
        assert pairs(api.experiment(experiment_id)["tags"]) == {"a/b": value}
    api.post("experiments/set-experiment-tag", experiment_id=experiment_id, key="A/b")
    assert pairs(api.experiment(experiment_id)["tags"]) == {"a/b": "", "A/b": ""}
    for key in ("a/b", "A/b"):
        assert api.post("experiments/delete-experiment-tag", experiment_id=experiment_id, key=key) == {}
    assert "tags" not in api.experiment(experiment_id)
    api.refused(
        "experiments/delete-experiment-tag", {"experiment_id": experiment_id, "key": "a/b"}, "RESOURCE_DOES_NOT_EXIST"
    )


@pytest.mark.parametrize(
    ("key", "value"), [("", "v"), ("k" * 251, "v"), ("k", "v" * 20001), ("a//b", "v"), ("k", 1), ("k\n", "v")]
)
def test_set_a_tag_that_the_rules_refuse_sets_none(api: Caller, key: str, value: object) -> None:
    experiment_id = created_experiment(api)
    api.refused("experiments/set-experiment-tag", {"experiment_id": experiment_id, "key": key, "value": value})
    assert "tags" not in api.experiment(experiment_id)


# Searching


def test_search_pages_finds_each_once_although_others_come(api: Caller) -> None:
    mark = unique("paged")
    for number in range(7):
        api.post("experiments/create", name=f"{mark} {number}")
    query: dict[str, Any] = {"filter": f"name LIKE '{mark}%'", "order_by": ["name ASC"], "max_results": 3}
    seen: list[str] = []
    token: str | None = ""
    for page in range(3):
        found = api.post("experiments/search", **query, page_token=token)
        seen += names(found)
        token = found.get("next_page_token")
        api.post("experiments/create", name=f"{mark} - {page}")
    assert token is None
    assert seen == [f"{mark} {number}" for number in range(7)]


def test_search_filters_and_orders(api: Caller) -> None:
    mark = unique("found")
    for name, team in (("a", "x"), ("b", "y"), ("c", "x")):
        api.post("experiments/create", name=f"{mark} {name}", tags=[{"key": "team", "value": team}])
    mine = f"name LIKE '{mark}%'"
    found = api.post("experiments/search", filter=f"{mine} AND tags.team = 'x'", order_by=["name DESC"])
    assert [name[-1] for name in names(found)] == ["c", "a"]
    assert [name[-1] for name in names(api.post("experiments/search", filter=mine))] == ["c", "b", "a"]
    assert api.post("experiments/search", filter=f"{mine} AND tags.team = 'z'") == {}


def test_search_by_stage_looks_there(api: Caller) -> None:
    mark = unique("staged")
    kept, gone = (api.post("experiments/create", name=f"{mark} {name}")["experiment_id"] for name in ("kept", "gone"))
    api.post("experiments/delete", experiment_id=gone)
    for view, expected in ((None, {kept}), ("ALL", {kept, gone}), ("DELETED_ONLY", {gone})):
        found = api.post("experiments/search", filter=f"name LIKE '{mark}%'", view_type=view)["experiments"]
        assert {item["experiment_id"] for item in found} == expected


@pytest.mark.parametrize(
    "query",
    [
        {"filter": "name ="},
        {"filter": "nothing = 'x'"},
        {"filter": "name = 'x' OR name = 'y'"},
        {"order_by": ["nothing"]},
        {"order_by": ["name UPWARDS"]},
        {"max_results": 0},
        {"max_results": -1},
        {"max_results": 50001},
        {"page_token": "abc"},
        {"page_token": "\u00fc"},
    ],
    ids=str,
)
def test_search_with_a_malformed_question_is_refused(api: Caller, query: dict[str, object]) -> None:
    api.refused("experiments/search", query)
    api.refused_get("experiments/search", query)


def test_search_with_the_token_of_another_question_is_refused(api: Caller) -> None:
    created_experiment(api)
    token = api.post("experiments/search", max_results=1)["next_page_token"]
    assert len(names(api.post("experiments/search", max_results=1, page_token=token))) == 1
    api.refused("experiments/search", {"page_token": token, "filter": "name = 'x'"})
    api.refused("runs/search", {"page_token": token, "experiment_ids": ["0"]})


# Datasets of experiments


def _use(api: Caller, run_id: str, name: str, digest: str, context: str | None) -> None:
    dataset = {"name": name, "digest": digest, "source_type": "local", "source": "{}"}
    tags = [] if context is None else [{"key": "mlflow.data.context", "value": context}]
    api.post("runs/log-inputs", run_id=run_id, datasets=[{"dataset": dataset, "tags": tags}])


def test_search_datasets_lists_each_once(api: Caller) -> None:
    first, second, empty = (created_experiment(api) for _ in range(3))
    for experiment_id, digest, context in (
        (first, "1", "training"),
        (first, "1", "training"),
        (first, "1", "testing"),
        (first, "2", None),
        (second, "1", "training"),
    ):
        _use(api, created_run(api, experiment_id), "digits", digest, context)
    found = api.post("experiments/search-datasets", experiment_ids=[first, second, empty])["dataset_summaries"]
    summary = {"experiment_id": first, "name": "digits", "digest": "1"}
    assert sorted(found, key=str) == sorted(
        [
            {**summary, "context": "training"},
            {**summary, "context": "testing"},
            {**summary, "digest": "2"},
            {**summary, "experiment_id": second, "context": "training"},
        ],
        key=str,
    )
    assert api.post("experiments/search-datasets", experiment_ids=[empty]) == {}


def test_search_datasets_of_many_runs_looks_at_all_of_them(api: Caller) -> None:
    experiment_id = created_experiment(api)
    _use(api, created_run(api, experiment_id, start_time=1), "old", "1", None)
    for _ in range(1001):
        api.post("runs/create", experiment_id=experiment_id, start_time=2)
    found = api.post("experiments/search-datasets", experiment_ids=[experiment_id])["dataset_summaries"]
    assert found == [{"experiment_id": experiment_id, "name": "old", "digest": "1"}]
