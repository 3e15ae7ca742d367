"""Write fixture databases anew: `python -m tests.interop.make_fixtures NAME ...`, in the root of the repository.

`NAME` is `mlflow-VERSION` or `holdall-VERSION`; the latter takes the holdall at hand. Each is the database that its
writer makes when told the workload, and beside it, as JSON, what the same writer reads from it. Fixtures are kept for
ever: make new ones only for new versions, or when the workload has to grow.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import sys
import tempfile
from contextlib import closing
from pathlib import Path

from tests.interop.peers import Peer
from tests.interop.snapshot import FIXTURES, Snapshot, apply, found, snapshot
from tests.interop.workload import ROOT, WRITE, Step, searches

from holdall.stores import open_backend_store

_MODELS: Step = ("register_models", {"ref": "rich"})


def make(name: str) -> Path:
    """Make one fixture and return the database."""
    writer, _, version = name.partition("-")
    with tempfile.TemporaryDirectory() as folder:
        database = Path(folder, "made.db")
        state, results = _by_holdall(database) if writer == "holdall" else _by_mlflow(database, version)
        with closing(sqlite3.connect(database)) as connection:
            connection.execute("PRAGMA journal_mode = DELETE")
            connection.execute("PRAGMA page_size = 512")  # MLflow 3 has 64 tables, most of them empty
            connection.execute("VACUUM")
        FIXTURES.mkdir(exist_ok=True)
        made = FIXTURES / f"{name}.db"
        shutil.copyfile(database, made)
    asked = [(*search, refs) for search, refs in zip(searches(name), results, strict=True)]
    text = json.dumps({"snapshot": state, "searches": asked}, ensure_ascii=False, indent=1, sort_keys=True)
    (FIXTURES / f"{name}.json").write_text(text + "\n", encoding="utf-8")
    return made


def _by_mlflow(database: Path, version: str) -> tuple[Snapshot, list[list[str]]]:
    return Peer.of(version).use(database, [*WRITE, _MODELS], searches(f"mlflow-{version}"))


def _by_holdall(database: Path) -> tuple[Snapshot, list[list[str]]]:
    with open_backend_store(f"sqlite:///{database}", artifact_root=ROOT) as store:
        apply(store, WRITE)
        return snapshot(store), found(store, searches("holdall"))


def main() -> None:
    """Make the fixtures named."""
    for name in sys.argv[1:]:
        made = make(name)
        print(f"{made} {made.stat().st_size} bytes")  # noqa: T201


if __name__ == "__main__":
    main()
