"""What is measured together: the sides of one kind of store, and the operations they do. Standard library only."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from benchmarks.operations import FILE_OPERATIONS, SERVER_OPERATIONS, SQLITE_OPERATIONS, Operation
from benchmarks.populate.server import PRODUCTS
from benchmarks.sides.base import Side
from benchmarks.workload import Scale

__all__ = ["SUITES", "Suite"]


@dataclass(frozen=True, slots=True)
class Suite:
    """One run of the benchmark.

    Attributes:
        name: For `--store` and the protocol.
        sides: `module:Class` by name; each is imported only in the process that plays it.
        operations: By name, in the order of the table.
        runs: How many are stored unless the user says otherwise.
        on_server: Whether stores are databases of a server, which the benchmark starts.
    """

    name: str
    sides: Mapping[str, str]
    operations: Mapping[str, Operation]
    runs: int = Scale().runs
    on_server: bool = False

    def open_side(self, name: str, folder: Path, scale: Scale, synchronous: str, database: str = "") -> Side:
        """Make a side with its stores in `folder`, or in a database."""
        module, _, attribute = self.sides[name].partition(":")
        side = cast(type[Side], getattr(importlib.import_module(module), attribute))
        return side(folder, scale, synchronous, database)


def _suite(name: str, sides: Mapping[str, str], operations: tuple[Operation, ...]) -> Suite:
    return Suite(name, sides, {operation.name: operation for operation in operations})


def _server_suite(product: str) -> Suite:
    sides = {
        "holdall": "benchmarks.sides.holdall_store:HoldallServerSide",
        "mlflow": "benchmarks.sides.mlflow_store:MLflowServerSide",
    }
    return replace(_suite(product, sides, SERVER_OPERATIONS), runs=100_000, on_server=True)


SUITES = {
    suite.name: suite
    for suite in (
        _suite(
            "sqlite",
            {
                "holdall": "benchmarks.sides.holdall_store:HoldallSqliteSide",
                "raw": "benchmarks.sides.raw_driver:RawSide",
                "mlflow": "benchmarks.sides.mlflow_store:MLflowSqliteSide",
            },
            SQLITE_OPERATIONS,
        ),
        _suite(
            "file",
            {
                "holdall": "benchmarks.sides.holdall_store:HoldallFileSide",
                "mlflow": "benchmarks.sides.mlflow_store:MLflowFileSide",
            },
            FILE_OPERATIONS,
        ),
        *map(_server_suite, PRODUCTS),
    )
}
"""Every suite by name."""
