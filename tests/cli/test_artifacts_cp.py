"""`holdall artifacts cp`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.artifacts.memory_store import MemoryArtifactStore

from holdall.stores import FileInfo, PermissionDenied, resolution
from holdall.stores.artifact_io import ArtifactWriter, OpenedArtifact

Command = Any

BUCKET = "objects://bucket/some/prefix"
TREE = {"plots/a.txt": b"alpha", "plots/deep/b.bin": b"\0" * 2048, "lone": b"1"}


@pytest.fixture(autouse=True)
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Stores of objects, opened by URI."""
    entry = resolution._Entry("tests.artifacts.memory_store:MemoryArtifactStore")
    monkeypatch.setitem(resolution._ARTIFACTS.builtin, "objects", entry)
    yield
    MemoryArtifactStore.buckets.clear()


@pytest.fixture
def local(folder: Path) -> Path:
    """`TREE` in the working directory."""
    for path, data in TREE.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    return folder


@pytest.fixture
def remote() -> dict[str, bytes]:
    """`TREE` under `BUCKET`: what the bucket holds, by key."""
    objects = {f"some/prefix/{path}": data for path, data in TREE.items()}
    MemoryArtifactStore.buckets["bucket"] = objects
    return objects


def tree(place: Path) -> dict[str, bytes]:
    """All files in a folder, hidden and unfinished ones too."""
    return {path.relative_to(place).as_posix(): path.read_bytes() for path in place.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["lone", "{dst}/new/name.txt"], {"new/name.txt"}),
        (["lone", "{dst}/new/"], {"new/lone"}),
        (["./lone", "{dst}/old"], {"old/lone"}),
        (["lone", "{dst}/old/file"], {"old/file"}),
        (["-r", "plots", "{dst}/new"], {"new/a.txt", "new/deep/b.bin"}),
        (["-r", "plots/", "{dst}/new"], {"new/a.txt", "new/deep/b.bin"}),
        (["-r", "plots", "{dst}/new/"], {"new/plots/a.txt", "new/plots/deep/b.bin"}),
        (["-r", "plots", "{dst}/old"], {"old/plots/a.txt", "old/plots/deep/b.bin"}),
        (["-rT", "plots", "{dst}/old"], {"old/a.txt", "old/deep/b.bin"}),
        (["-rT", "plots", "{dst}/old/"], {"old/a.txt", "old/deep/b.bin"}),
        (["-r", "plots/.", "{dst}/old"], {"old/a.txt", "old/deep/b.bin"}),
        (["-r", "lone", "{dst}/new"], {"new"}),
    ],
)
@pytest.mark.parametrize("remote_target", [False, True])
def test_copy_to_file_or_folder_lands_as_with_cp(
    holdall_command: Command, local: Path, words: list[str], expected: set[str], remote_target: bool
) -> None:
    if remote_target:
        objects = MemoryArtifactStore.buckets["target"] = {"top/old/file": b"old"}
        holdall_command("artifacts", "cp", *(word.format(dst="objects://target/top") for word in words))
        found = {key.removeprefix("top/") for key in objects}
    else:
        (local / "top" / "old").mkdir(parents=True)
        (local / "top" / "old" / "file").write_bytes(b"old")
        holdall_command("artifacts", "cp", *(word.format(dst="top") for word in words))
        found = set(tree(local / "top"))
    assert found == expected | {"old/file"}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([f"{BUCKET}/plots/a.txt", "."], {"a.txt": "plots/a.txt"}),
        ([f"{BUCKET}/plots/a.txt", "back/x.txt"], {"back/x.txt": "plots/a.txt"}),
        (["-r", f"{BUCKET}/plots/deep", "back/"], {"back/deep/b.bin": "plots/deep/b.bin"}),
        (["-r", f"{BUCKET}/plots/deep/", "back"], {"back/b.bin": "plots/deep/b.bin"}),
        (["-r", "objects://bucket", "back/"], {f"back/some/prefix/{path}": path for path in TREE}),
    ],
)
def test_copy_from_service_to_this_machine_lands_as_with_cp(
    holdall_command: Command, folder: Path, remote: dict[str, bytes], words: list[str], expected: dict[str, str]
) -> None:
    holdall_command("artifacts", "cp", *words)
    assert tree(folder) == {path: TREE[source] for path, source in expected.items()}


def test_copy_between_services_and_back_is_identity(
    holdall_command: Command, folder: Path, remote: dict[str, bytes]
) -> None:
    holdall_command("artifacts", "cp", "-r", BUCKET, "objects://other/deep/copy")
    assert MemoryArtifactStore.buckets["other"] == {f"deep/copy/{path}": data for path, data in TREE.items()}
    holdall_command("artifacts", "cp", "-r", "objects://other/deep/copy", "back")
    assert tree(folder / "back") == TREE


def test_copy_between_runs_takes_colon_or_bare_id(
    holdall_command: Command, run_ids: list[str], store: str, local: Path
) -> None:
    first, second, third = run_ids
    holdall_command("artifacts", "cp", "-r", "plots", f"{first}:", "--store", store)
    holdall_command("artifacts", "cp", f"{first}:plots/a.txt", f"{second}:models/", "--store", store)
    holdall_command("artifacts", "cp", "-r", first, third, "--store", store)
    listed = {
        run_id: holdall_command("artifacts", "ls", "-r", run_id, "--store", store).out.split() for run_id in run_ids
    }
    whole = ["plots/", "plots/a.txt", "plots/deep/", "plots/deep/b.bin"]
    assert listed == {first: whole, second: ["models/", "models/a.txt"], third: whole}


def test_copy_tells_files_on_standard_error_and_the_sum_on_standard_output(
    holdall_command: Command, local: Path
) -> None:
    outcome = holdall_command("artifacts", "cp", "-r", "plots", "back")
    assert sorted(outcome.err.splitlines()) == ["back/a.txt  5 B", "back/deep/b.bin  2.0 KiB"]
    assert outcome.out.startswith("copied 2 files, 2.0 KiB in ")


def test_copy_with_json_prints_the_summary_alone(holdall_command: Command, local: Path) -> None:
    (local / "plots" / "empty").mkdir()
    outcome = holdall_command("artifacts", "cp", "-r", "plots", "objects://bucket/new", "--json")
    assert outcome.err == ""
    assert outcome.json.pop("seconds") >= 0
    summary = {"files": 2, "bytes": 2053, "folders": 0, "folders_left_out": ["new/empty"], "dry_run": False}
    assert {key: value for key, value in outcome.json.items() if key != "seconds"} == summary


def test_copy_folder_with_empty_ones_to_service_says_that_they_are_left_out(
    holdall_command: Command, local: Path
) -> None:
    (local / "plots" / "empty").mkdir()
    assert "1 empty folder is left out" in holdall_command("artifacts", "cp", "-r", "plots", "objects://bucket/x").out


def test_copy_with_dry_run_lists_and_writes_nothing(holdall_command: Command, local: Path) -> None:
    before = tree(local)
    out = holdall_command("artifacts", "cp", "-r", "plots", "new/deep/", "--dry-run").out
    assert out.splitlines() == [
        "a.txt → plots/a.txt  5 B",
        "deep/b.bin → plots/deep/b.bin  2.0 KiB",
        f"would copy 2 files, 2.0 KiB, to {local}/new/deep",
    ]
    items = holdall_command("artifacts", "cp", "lone", "objects://bucket/x", "-n", "--json").json["items"]
    assert items == [{"source": "lone", "target": "x", "bytes": 1}]
    assert tree(local) == before
    assert not (local / "new").exists()
    assert MemoryArtifactStore.buckets["bucket"] == {}


def test_copy_through_local_links_follows_them(holdall_command: Command, local: Path, tmp_path: Path) -> None:
    (local / "to-file").symlink_to("plots/a.txt")
    (local / "to-folder").symlink_to("plots")
    (local / "into").mkdir()
    (local / "to-into").symlink_to("into")
    holdall_command("artifacts", "cp", "to-file", "to-into")
    holdall_command("artifacts", "cp", "-r", "to-folder", "to-into/")
    assert set(tree(local / "into")) == {"to-file", "to-folder/a.txt", "to-folder/deep/b.bin"}
    assert (local / "to-into").is_symlink()


@pytest.mark.parametrize(
    ("words", "code", "expected"),
    [
        (["plots", "new"], 2, "add -r"),
        ([f"{BUCKET}/plots", "new"], 2, "add -r"),
        (["missing", "new"], 1, "missing"),
        (["-r", "missing/", "new"], 1, "missing"),
        (["-r", f"{BUCKET}/missing/", "new"], 1, "missing"),
        (["lone", "lone"], 2, "itself"),
        (["lone", "."], 2, "itself"),
        (["lone", "./plots/../lone"], 2, "itself"),
        (["-r", "plots", "plots/deep/new"], 2, "itself"),
        (["-r", "plots", "plots"], 2, "itself"),
        (["-r", BUCKET, f"{BUCKET}/deeper"], 2, "itself"),
        (["-r", "plots", "lone"], 2, "file"),
        (["-T", "lone", "plots"], 2, "folder"),
        (["lone/", "new"], 2, "slash"),
        (["lone", "plots/a.txt/"], 2, "folder"),
        (["lone", "nowhere://bucket/x"], 2, "file://"),
        (["lone", "postgresql://user:geheim@host/x"], 2, "file://"),
        (["lone", f"{BUCKET}/a/%2e%2e/x"], 2, ".."),
        (["lone", "0123456789abcdef0123456789abcdef:x"], 1, "0123456789abcdef0123456789abcdef"),
        (["a:b", "new"], 2, "a:"),
    ],
)
def test_copy_wrongly_exits_with_one_line_and_writes_nothing(
    holdall_command: Command,
    run_ids: list[str],
    store: str,
    local: Path,
    remote: dict[str, bytes],
    words: list[str],
    code: int,
    expected: str,
) -> None:
    before, objects = tree(local), dict(remote)
    outcome = holdall_command("artifacts", "cp", *words, "--store", store, code=code)
    assert len(outcome.err.splitlines()) == 1
    assert expected in outcome.err
    assert "geheim" not in outcome.err
    assert tree(local) == before
    assert remote == objects


def test_copy_to_store_whose_extra_is_missing_says_how_to_install_it(
    holdall_command: Command, local: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = resolution._Entry("holdall_no_such_module:Store", "rockets", ("holdall_no_such_module",))
    monkeypatch.setitem(resolution._ARTIFACTS.builtin, "rocket", entry)
    outcome = holdall_command("artifacts", "cp", "lone", "rocket://x/y", code=1)
    assert "pip install 'holdall[rockets]'" in outcome.err
    assert len(outcome.err.splitlines()) == 1


def test_copy_to_service_that_refuses_writes_exits_with_one_line(
    holdall_command: Command, local: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> ArtifactWriter:
        raise PermissionDenied("The bucket does not take this.")

    monkeypatch.setattr(MemoryArtifactStore, "_open_writer", refuse)
    outcome = holdall_command("artifacts", "cp", "-r", "plots", BUCKET, code=1)
    assert outcome.err == "Error: The bucket does not take this.\n"


def test_use_folder_that_must_not_be_asked_about_from_above_works(
    holdall_command: Command, folder: Path, remote: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    stat = MemoryArtifactStore._stat

    def refuse(store: MemoryArtifactStore, path: str) -> FileInfo | None:
        if store.uri.path != "/some/prefix":
            raise PermissionDenied("Only below some/prefix.")
        return stat(store, path)

    monkeypatch.setattr(MemoryArtifactStore, "_stat", refuse)
    assert holdall_command("artifacts", "ls", BUCKET).out == "lone\nplots/\n"
    holdall_command("artifacts", "cp", "-r", f"{BUCKET}/", "back")
    assert tree(folder / "back") == TREE
    holdall_command("artifacts", "cp", "-r", "back/plots", f"{BUCKET}/")
    assert "Only below" in holdall_command("artifacts", "cp", "-r", BUCKET, "back", code=1).err


def test_copy_interrupted_by_user_leaves_nothing_half(
    holdall_command: Command, local: Path, remote: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Interrupting:
        def read(self, size: int, /) -> bytes:
            raise KeyboardInterrupt

        def close(self) -> None:
            pass

    monkeypatch.setattr(MemoryArtifactStore, "_open_reader", lambda *_: OpenedArtifact(Interrupting(), 5))
    before = tree(local)
    holdall_command("artifacts", "cp", f"{BUCKET}/lone", "lone", code=130)
    assert tree(local) == before
