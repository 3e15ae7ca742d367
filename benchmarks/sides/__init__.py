"""The sides that are compared, by name; each is imported only in the process that plays it."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import cast

from benchmarks.sides.base import Side
from benchmarks.workload import Scale

__all__ = ["SIDES", "open_side"]

SIDES = {
    "holdall": "benchmarks.sides.holdall_store:HoldallSide",
    "raw": "benchmarks.sides.raw_driver:RawSide",
    "mlflow": "benchmarks.sides.mlflow_store:MLflowSide",
}


def open_side(name: str, folder: Path, scale: Scale, synchronous: str) -> Side:
    """Make a side with its databases in `folder`."""
    module, _, attribute = SIDES[name].partition(":")
    side = cast(type[Side], getattr(importlib.import_module(module), attribute))
    return side(folder, scale, synchronous)
