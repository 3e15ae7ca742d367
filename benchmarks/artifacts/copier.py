"""The process that copies with a library: `python -m benchmarks.artifacts.copier LIBRARY DIRECTION URI NAME FOLDER`.

The library, the store and the connection are made ready first, by a file of one byte that goes there and back. Then
`FOLDER` is uploaded as `NAME`, or `NAME` downloaded to `FOLDER/NAME`. The last line printed is JSON: `seconds` of the
transfer alone, and the processor time `cpu_before` it. Runs under MLflow's interpreter too, and needs only the standard
library by itself.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import secrets
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Protocol

__all__ = ["Copier", "main", "measure"]

_TASKS = 32
_PIECE = 8 << 20


class Copier(Protocol):
    """A library, with a root to copy to and from."""

    def upload(self, folder: Path, name: str) -> None:
        """Copy what is in a local folder to `name` in the store."""

    def download(self, name: str, folder: Path) -> None:
        """Copy `name` in the store to `folder/name`."""


class HoldallCopier:
    """holdall, as a user calls it."""

    def __init__(self, uri: str) -> None:
        from holdall.stores import open_artifact_store

        self._store = open_artifact_store(uri)

    def upload(self, folder: Path, name: str) -> None:
        self._store.log_artifacts(folder, name)

    def download(self, name: str, folder: Path) -> None:
        self._store.download_artifacts(name, folder)


class MLflowCopier:
    """MLflow, as its own client calls it."""

    def __init__(self, uri: str) -> None:
        registry: Any = importlib.import_module("mlflow.store.artifact.artifact_repository_registry")
        self._repository = registry.get_artifact_repository(uri)

    def upload(self, folder: Path, name: str) -> None:
        self._repository.log_artifacts(str(folder), name)

    def download(self, name: str, folder: Path) -> None:
        self._repository.download_artifacts(name, str(folder))


class ObstoreCopier:
    """obstore, which has files but no folders: with as many tasks as make it fast here."""

    def __init__(self, uri: str) -> None:
        self._obstore: Any = importlib.import_module("obstore")
        self._store = importlib.import_module("obstore.store").from_url(uri)

    def upload(self, folder: Path, name: str) -> None:
        files = [path for path in folder.rglob("*") if path.is_file()]
        asyncio.run(_all(self._put(path, f"{name}/{path.relative_to(folder).as_posix()}") for path in files))

    def download(self, name: str, folder: Path) -> None:
        listed = [item for batch in self._obstore.list(self._store, f"{name}/") for item in batch]
        for parent in {(folder / item["path"]).parent for item in listed}:
            parent.mkdir(parents=True, exist_ok=True)
        asyncio.run(_all(self._get(item["path"], item["size"], folder) for item in listed))

    async def _put(self, path: Path, key: str) -> None:
        await self._obstore.put_async(self._store, key, path)

    async def _get(self, key: str, size: int, folder: Path) -> None:
        file = os.open(folder / key, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
        try:
            await _all(self._get_piece(key, start, min(size, start + _PIECE), file) for start in range(0, size, _PIECE))
        finally:
            os.close(file)

    async def _get_piece(self, key: str, start: int, end: int, file: int) -> None:
        os.pwrite(file, await self._obstore.get_range_async(self._store, key, start=start, end=end), start)


async def _all(works: Iterable[Any]) -> None:
    """Do some of them at a time, in order."""
    waiting = iter(works)

    async def work() -> None:
        for each in waiting:
            await each

    await asyncio.gather(*(work() for _ in range(_TASKS)))


_COPIERS: dict[str, Callable[[str], Copier]] = {
    "holdall": HoldallCopier,
    "mlflow": MLflowCopier,
    "obstore": ObstoreCopier,
}


def measure(copier: Copier, direction: str, name: str, folder: Path) -> dict[str, float]:
    """What a transfer takes, once another one has gone the same way."""
    with tempfile.TemporaryDirectory() as scratch:
        _warm_up(copier, Path(scratch))
    cpu_before = sum(os.times()[:4])  # this process's, and that of others that it has waited for
    start = time.perf_counter()
    if direction == "upload":
        copier.upload(folder, name)
    else:
        copier.download(name, folder)
    return {"seconds": time.perf_counter() - start, "cpu_before": cpu_before}


def _warm_up(copier: Copier, scratch: Path) -> None:
    name = f"warm-up-{secrets.token_hex(4)}"
    (scratch / "sent").mkdir()
    (scratch / "sent" / "file").write_bytes(b"1")
    copier.upload(scratch / "sent", name)
    copier.download(name, scratch)


def main(arguments: list[str]) -> None:
    """Do what the arguments say."""
    library, direction, uri, name, folder = arguments
    output = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what the libraries print
    found = measure(_COPIERS[library](uri), direction, name, Path(folder))
    sys.stderr.flush()
    output.write(json.dumps(found) + "\n")
    output.flush()
    if library == "obstore":
        os._exit(0)  # its threads now and then abort an orderly end


if __name__ == "__main__":
    main(sys.argv[1:])
