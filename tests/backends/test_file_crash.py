"""A folder's writer is killed: what it was told is written stays, what it was interrupted in is there or not at all."""

from __future__ import annotations

from pathlib import Path

from tests.backends import stress
from tests.backends.places import FolderPlace


def test_kill_folder_writer_at_random_moments_keeps_every_acknowledged_call(tmp_path: Path) -> None:
    kills = stress.scale().kills
    outcome = stress.crash(FolderPlace, tmp_path, kills)
    print(outcome.figures)  # noqa: T201
    assert outcome.problems == []
    assert outcome.figures["kills"] == kills
    assert outcome.figures["acknowledged calls"] > kills
    assert outcome.figures["slowest opening and first read (s)"] < 5
    assert outcome.figures["slowest first write (s)"] < 5
