"""`holdall artifacts` on a service that is really another process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.artifacts.emulated import storage_server

from holdall.artifacts.copying import copy_artifacts
from holdall.stores import InternalError, StoreURI, open_artifact_store
from holdall.stores.transfers import TransferProgress

Command = Any

pytestmark = pytest.mark.extras


def tree(place: Path) -> dict[str, bytes]:
    """All files in a folder, hidden and unfinished ones too."""
    return {path.relative_to(place).as_posix(): path.read_bytes() for path in place.rglob("*") if path.is_file()}


def test_copy_to_service_between_buckets_and_back_is_identity(holdall_command: Command, folder: Path) -> None:
    server = storage_server("moto")
    first, second = (StoreURI.parse(server.new_uri()).render(hide_password=False) for _ in range(2))
    for path, size in (("plots/a #%20é.txt", 5), ("plots/deep/large.bin", (17 << 20) + 1), ("plots/empty", 0)):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(bytes(range(1, 6)) * (size // 5 + 1) if size else b"")
    place, query = first.split("?")

    def uri(path: str) -> str:
        return f"{place}/{path}?{query}"

    holdall_command("artifacts", "cp", "-r", "plots", uri("models/"))
    holdall_command("artifacts", "cp", uri("models/plots/deep/large.bin"), uri("models/again.bin"))
    holdall_command("artifacts", "cp", "-r", uri("models"), second)
    holdall_command("artifacts", "cp", "-r", second, "back")
    expected = {f"models/{path}": data for path, data in tree(folder).items() if path.startswith("plots/")}
    expected["models/again.bin"] = expected["models/plots/deep/large.bin"]
    assert tree(folder / "back") == expected
    assert holdall_command("artifacts", "ls", uri("models/again.bin")).out == "again.bin\n"
    assert holdall_command("artifacts", "rm", uri("models/again.bin"), "--yes").out.startswith(
        "removed 1 file, 17.0 MiB"
    )
    usage = holdall_command("artifacts", "du", first, "--json").json
    assert usage["files"] == 3
    assert holdall_command("artifacts", "rm", "-r", first, "--yes", "--json").json["files"] == 3
    assert holdall_command("artifacts", "ls", "-r", first).out == ""


def test_copy_cancelled_in_large_file_leaves_no_unfinished_upload(folder: Path) -> None:
    server = storage_server("moto")
    place = server.create_place()
    (folder / "large").write_bytes(b"x" * (40 << 20))

    def stop(report: TransferProgress) -> None:
        if report.bytes_done > 30 << 20:
            raise InternalError("stopped")

    stores = open_artifact_store(folder), open_artifact_store(server.uri(place))
    with stores[0] as source, stores[1] as target, pytest.raises(InternalError, match="stopped"):
        copy_artifacts(source, "large", target, "large", progress=stop)
    raw = server.raw(place)
    assert (raw.list(), raw.unfinished()) == (set(), [])
