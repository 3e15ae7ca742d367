"""Write fixtures anew: `python -m tests.interop.make_fixtures NAME ...`, in the root of the repository.

`NAME` is `mlflow-VERSION` or `holdall-VERSION` for a SQLite database, with `.mlruns` at its end for a folder, packed as
a tar file; holdall's version is the one at hand. Each is the store that its writer makes when told the workload, and
beside it, as JSON, what the same writer reads from it. `mlflow-VERSION.postgresql`, `….mariadb` and `….mariadb-latin1`
are dumps of empty stores on a server. Fixtures are kept for ever: make new ones only for new versions, or when the
workload has to grow.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import sys
import tempfile
from contextlib import closing
from pathlib import Path

from tests.interop.folders import pack
from tests.interop.peers import Peer
from tests.interop.prototypes import KINDS, make_prototype
from tests.interop.snapshot import FIXTURES, Snapshot, apply, found, snapshot
from tests.interop.steps import ROOT, Search, Step
from tests.interop.workload import REGISTER, WRITE, for_folder, searches

from holdall.stores import open_backend_store


def make(name: str) -> Path:
    """Make one fixture and return the packed store."""
    for kind in KINDS:
        if name.endswith(f".{kind}"):
            return make_prototype(name.removeprefix("mlflow-").removesuffix(f".{kind}"), kind)
    program, is_folder = name.removesuffix(".mlruns"), name.endswith(".mlruns")
    asked = searches(program, folder=is_folder)
    FIXTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch, "mlruns" if is_folder else "made.db")
        state, results = _write(place, program, for_folder(WRITE) if is_folder else WRITE, asked)
        made = FIXTURES / f"{name}{'.tar' if is_folder else '.db'}"
        if is_folder:
            pack(place, made)
        else:
            _shrink(place)
            shutil.copyfile(place, made)
    answers = [(*search, refs) for search, refs in zip(asked, results, strict=True)]
    text = json.dumps({"snapshot": state, "searches": answers}, ensure_ascii=False, indent=1, sort_keys=True)
    (FIXTURES / f"{name}.json").write_text(text + "\n", encoding="utf-8")
    return made


def _write(place: Path, program: str, steps: list[Step], asked: list[Search]) -> tuple[Snapshot, list[list[str]]]:
    writer, _, version = program.partition("-")
    if writer == "mlflow":
        return Peer.of(version).use(place, [*steps, REGISTER], asked)
    with open_backend_store(f"sqlite:///{place}" if place.suffix == ".db" else place, artifact_root=ROOT) as store:
        apply(store, steps)
        return snapshot(store), found(store, asked)


def _shrink(database: Path) -> None:
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute("PRAGMA page_size = 512")  # MLflow 3 has 64 tables, most of them empty
        connection.execute("VACUUM")


def main() -> None:
    """Make the fixtures named."""
    for name in sys.argv[1:]:
        made = make(name)
        print(f"{made} {made.stat().st_size} bytes")  # noqa: T201


if __name__ == "__main__":
    main()
