"""The same folder used by holdall and by MLflow, in turns and at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import pytest
from tests.interop import generated
from tests.interop.folders import differences, settled, unpack
from tests.interop.peers import VERSIONS, Peer
from tests.interop.snapshot import FIXTURES, Snapshot, anonymous, apply, by_ref, expected, found, snapshot
from tests.interop.steps import ROOT, Search, Step, end, experiment, log, run
from tests.interop.workload import EXTEND, EXTEND_AGAIN, WRITE, for_folder, searches

from holdall.stores import BackendStore, Metric, open_backend_store

pytestmark = pytest.mark.interop

_HAND_WRITTEN = {
    "crlf": b"5 0.5 0\r\n6 0.25 1\r\n",
    "no step": b"5 0.5\n6 0.25\n",
    "spellings": b"1 NaN 0\n2 Infinity 1\n3 -INF 2\n4 1 3\n5 1E-3 4\n6 +2. 5\n7 .5 6\n",
    "signs": b"+5 1.0 +3\n007 2.0 -04\n",
}
"""Metric files by key."""
_RUN_BY_HAND = {
    "run_uuid": None,
    "lifecycle_stage": None,
    "status": None,
    "run_name": "''",
    "user_id": '"a\\u00fc\\\n  b"   # folded',
}
_EXPERIMENT_BY_HAND = {"creation_time": None, "last_update_time": None}


@pytest.fixture(scope="module", params=VERSIONS)
def version(request: pytest.FixtureRequest) -> str:
    result: str = request.param
    return result


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "mlruns"


def test_write_by_mlflow_today_equals_its_fixture_and_is_read(version: str, folder: Path) -> None:
    asked = searches(f"mlflow-{version}", folder=True)
    theirs, their_results = Peer.of(version).use(folder, for_folder(WRITE), asked)
    fixture = expected(f"mlflow-{version}.mlruns")["snapshot"]
    by_ref(fixture, "rich")["metrics"].pop("of the model", None)  # the fixture has logged models too
    by_ref(fixture, "rich")["history"].pop("of the model", None)
    assert anonymous(theirs) == anonymous(fixture)
    with _open(folder) as store:
        assert _not_read(theirs, store) == []
        assert found(store, asked) == their_results


def test_extend_mlflow_folder_in_turns_agrees_at_every_turn(version: str, folder: Path) -> None:
    unpack(FIXTURES / f"mlflow-{version}.mlruns.tar", folder)
    asked = searches(f"mlflow-{version}", folder=True)
    with _open(folder) as store:
        apply(store, for_folder(EXTEND))
        ours = snapshot(store)
        assert _not_agreed(folder, ours, store, [version], asked) == []
    theirs, _ = Peer.of(version).use(folder, for_folder(EXTEND_AGAIN))
    assert len(theirs["runs"]) > len(ours["runs"])
    with _open(folder) as store:
        assert _not_read(theirs, store) == []
        apply(store, _last_words("holdall"))
        assert _not_agreed(folder, snapshot(store), store, [version], asked) == []


def test_extend_holdall_folder_by_each_mlflow_agrees_at_every_turn(version: str, folder: Path) -> None:
    with _open(folder) as store:
        apply(store, for_folder(WRITE))
        for each in VERSIONS:
            asked = searches(f"mlflow-{each}", folder=True)
            assert _not_agreed(folder, snapshot(store), store, [each], asked) == []
    theirs, _ = Peer.of(version).use(folder, for_folder(EXTEND))
    with _open(folder) as store:
        assert _not_read(theirs, store) == []
        apply(store, _last_words("between"))
        assert _not_agreed(folder, snapshot(store), store, VERSIONS) == []
    theirs, _ = Peer.of("3.17.2").use(folder, [*for_folder(EXTEND_AGAIN), ("register_models", {"ref": "rich"})])
    with _open(folder) as store:
        assert _not_read(theirs, store) == []
        apply(store, _last_words("after"))
        assert _not_agreed(folder, snapshot(store), store, ["3.17.2"]) == []


def test_extend_generated_folder_of_mlflow_agrees_at_every_turn(version: str, folder: Path) -> None:
    theirs, _ = Peer.of(version).use(folder, generated.write())
    assert len(theirs["runs"]) > 150
    with open_backend_store(folder, read_only=True) as onlooker:  # open all the time while others write
        assert _not_read(theirs, onlooker) == []
        with _open(folder) as store:
            apply(store, generated.extend(1))
            assert _not_agreed(folder, snapshot(store), onlooker, VERSIONS) == []
        theirs, _ = Peer.of(version).use(folder, generated.extend(2))
        assert _not_read(theirs, onlooker) == []
    with _open(folder) as store:
        assert _not_read(theirs, store) == []


def test_extend_generated_folder_of_holdall_agrees_at_every_turn(version: str, folder: Path) -> None:
    with _open(folder) as store:
        apply(store, generated.write())
        assert _not_agreed(folder, snapshot(store), store, VERSIONS) == []
        theirs, _ = Peer.of(version).use(folder, generated.extend(1))
        assert _not_read(theirs, store) == []
    with _open(folder) as store:
        assert _not_read(theirs, store) == []
        apply(store, generated.extend(2))
        assert _not_agreed(folder, snapshot(store), store, VERSIONS) == []


def test_write_keys_that_exclude_each_other_as_files_leaves_all_others_to_mlflow(version: str, folder: Path) -> None:
    """MLflow cannot have `a` and `a/b` in a folder: of two such keys it sees the one that came first."""
    second = {"metrics/val", "history/val", "params/optim/name", "tags/a/b"}
    with _open(folder) as store:
        apply(store, WRITE)
        ours = snapshot(store)
    theirs, _ = Peer.of(version).use(folder)
    lines = differences(settled(theirs), ours)
    (rich,) = (run_id for run_id, value in ours["runs"].items() if value["tags"]["ref"] == "rich")
    assert {line.partition(":")[0] for line in lines} == {f"/runs/{rich}/{key}" for key in second}
    assert all(": 'none' is not " in line for line in lines)


def test_extend_folder_edited_by_hand_agrees_at_every_turn(version: str, folder: Path) -> None:
    """What MLflow reads though it would not have written it so."""
    unpack(FIXTURES / f"mlflow-{version}.mlruns.tar", folder)
    place = _place(folder, "running")
    for key, content in _HAND_WRITTEN.items():
        (place / "metrics" / key).write_bytes(content)
    _rewrite(place / "meta.yaml", _RUN_BY_HAND | {"experiment_id": place.parent.name})
    _rewrite(place.parent / "meta.yaml", _EXPERIMENT_BY_HAND | {"experiment_id": place.parent.name})
    for stray in (folder / "stray", place.parent / "stray", place / "stray", place / "inputs.txt"):
        stray.write_bytes(b"\xff\x00")
    (place.parent / "notes").mkdir()
    theirs, _ = Peer.of(version).use(folder)
    assert by_ref(theirs, "running")["user_id"] == "aüb"
    with _open(folder) as store:
        assert _not_read(theirs, store) == []
        apply(store, [log("running", *[(key, 9.0, 9, 9) for key in _HAND_WRITTEN], tags={"by": "holdall"})])
        apply(store, [("set_experiment_tag", {"name": "vision", "key": "by", "value": "holdall"})])
        assert _not_agreed(folder, snapshot(store), store, [version]) == []


def test_extend_metric_file_without_a_last_newline_agrees_at_every_turn(version: str, folder: Path) -> None:
    """An editor leaves it out, and MLflow reads the line."""
    unpack(FIXTURES / f"mlflow-{version}.mlruns.tar", folder)
    (_place(folder, "running") / "metrics" / "cut").write_text("5 0.5 0\n6 0.25 1")
    theirs, _ = Peer.of(version).use(folder)
    with _open(folder) as store:
        assert _not_read(theirs, store) == []
        apply(store, [log("running", ("cut", 1.0, 7, 2))])
        assert _not_agreed(folder, snapshot(store), store, [version]) == []
        assert by_ref(snapshot(store), "running")["history"]["cut"] == ["5 0 0.5", "6 1 0.25", "7 2 1.0"]


def test_collect_garbage_by_mlflow_in_a_folder_of_holdall_removes_what_is_deleted(version: str, folder: Path) -> None:
    with _open(folder) as store:
        apply(store, for_folder(WRITE))
        ours = snapshot(store)
        Peer.of(version).collect_garbage(folder)
        for entries in (ours["experiments"], ours["runs"]):
            for key in [key for key, entry in entries.items() if entry["lifecycle_stage"] == "deleted"]:
                del entries[key]
        assert _not_agreed(folder, ours, store, [version]) == []


@pytest.mark.parametrize("as_uri", [False, True])
def test_log_artifact_by_mlflow_to_a_run_of_holdall_puts_it_into_the_run(
    version: str, tmp_path: Path, as_uri: bool
) -> None:
    folder = tmp_path / "a b#1 ü" / "mlruns"
    folder.parent.mkdir()
    with open_backend_store(folder.as_uri() if as_uri else folder) as store:
        apply(store, [experiment("x", None), run("x", "a", "a")])
        ours = snapshot(store)
        Peer.of(version).use(folder, [("log_text", {"ref": "a", "text": "logged", "path": "sub/file ü.txt"})])
        assert (_place(folder, "a") / "artifacts" / "sub" / "file ü.txt").read_text() == "logged"
        assert _not_agreed(folder, ours, store, [version]) == []


def test_write_by_mlflow_and_holdall_at_once_loses_nothing(version: str, folder: Path) -> None:
    unpack(FIXTURES / f"mlflow-{version}.mlruns.tar", folder)
    steps = [step for number in range(100) for step in _at_once(number)]
    peer = Peer.of(version)
    with _open(folder) as store, ThreadPoolExecutor(1) as pool:
        (run_id,) = (key for key, value in snapshot(store)["runs"].items() if value["tags"]["ref"] == "running")
        writing = pool.submit(peer.use, folder, steps)
        count = 0
        while not wait([writing], timeout=0.001).done:
            store.log_batch(run_id, [Metric("ours", 0.25, 1, count * 10 + offset) for offset in range(10)])
            store.log_metric(run_id, Metric("shared", 0.25, 1, -1 - count))
            count += 1
        writing.result()
        assert [point.step for point in store.get_metric_history(run_id, "theirs")] == list(range(100))
        assert [point.step for point in store.get_metric_history(run_id, "ours")] == list(range(count * 10))
        assert [point.step for point in store.get_metric_history(run_id, "shared")] == list(range(-count, 100))
        assert store.get_run(run_id).data.tags["theirs"] == "99"
        assert _not_agreed(folder, snapshot(store), store, [version]) == []


def _open(folder: Path) -> BackendStore:
    return open_backend_store(folder, artifact_root=ROOT)


def _not_read(theirs: Snapshot, store: BackendStore) -> list[str]:
    """What a store does not read as MLflow did."""
    return differences(settled(theirs), snapshot(store))


def _not_agreed(
    folder: Path, ours: Snapshot, reader: BackendStore, versions: Sequence[str], asked: Sequence[Search] = ()
) -> list[str]:
    """Where MLflow, or a store that was open before, reads or finds other things in a folder than holdall."""
    lines = differences(snapshot(reader), ours)
    for version in versions:
        theirs, results = Peer.of(version).use(folder, searches=asked)
        lines += differences(settled(theirs), ours, version)
        lines += differences(dict(zip(map(str, asked), results, strict=True)), _found(reader, asked), version)
    return lines


def _found(store: BackendStore, asked: Sequence[Search]) -> dict[str, list[str]]:
    return dict(zip(map(str, asked), found(store, asked) if asked else [], strict=True))


def _place(folder: Path, ref: str) -> Path:
    """The folder of a run."""
    (place,) = (path.parents[1] for path in folder.glob("*/*/tags/ref") if path.read_text("utf-8") == ref)
    return place


def _rewrite(meta: Path, values: Mapping[str, str | None]) -> None:
    """Give fields of a `meta.yaml` other text, or remove them."""
    lines = [line for line in meta.read_text("utf-8").splitlines() if line.partition(":")[0] not in values]
    lines += [f"{key}: {value}" for key, value in values.items() if value is not None]
    meta.write_text("\n".join(lines) + "\n", "utf-8")


def _at_once(number: int) -> list[Step]:
    """What MLflow does while holdall writes to the same run: points of its own, of a metric of both, a tag, a run."""
    return [
        ("log_metric", {"ref": "running", "metric": ("theirs", 0.5, 1, number)}),
        ("log_metric", {"ref": "running", "metric": ("shared", 0.5, 1, number)}),
        ("set_tag", {"ref": "running", "key": "theirs", "value": str(number)}),
        *([run("vision", f"at once {number}", "at once")] if number % 10 == 0 else []),
    ]


def _last_words(name: str) -> list[Step]:
    """A few more steps, so that a store is written once more after somebody else wrote."""
    return [
        log("running", (f"by {name}", float("-inf"), 1, 0), params={f"by {name}": "1"}, tags={f"by {name}": "2"}),
        run("vision", name, name, 1),
        end(name, "FAILED", 2),
    ]
