"""The hyperparameters that are tried."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

__all__ = ["Candidate", "Grid"]

SHORT = {"alpha": "a", "hidden_units": "h", "learning_rate": "lr"}
"""Hyperparameters as the names of runs have them."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One point of the grid.

    Attributes:
        family: `mlp` or `sgd`.
        hyperparameters: What distinguishes it from others of its family.
    """

    family: str
    hyperparameters: dict[str, float]

    @property
    def name(self) -> str:
        """Family and variant, such as `mlp-h64-lr0.01`."""
        return "-".join([self.family, *(f"{SHORT[key]}{value:g}" for key, value in self.hyperparameters.items())])


@dataclass(frozen=True, slots=True)
class Grid:
    """All that is tried, and for how long.

    Attributes:
        values: Values by hyperparameter by family; every combination is tried.
        epochs: Passes over the training data.
    """

    values: dict[str, dict[str, list[float]]]
    epochs: int

    @classmethod
    def full(cls) -> Grid:
        """Eight candidates, some fifteen seconds on two slow cores."""
        mlp: dict[str, list[float]] = {"hidden_units": [32, 64], "learning_rate": [0.001, 0.01]}
        sgd: dict[str, list[float]] = {"alpha": [0.00001, 0.001], "learning_rate": [0.01, 0.1]}
        return cls({"mlp": mlp, "sgd": sgd}, epochs=15)

    @classmethod
    def quick(cls) -> Grid:
        """Two candidates, a few seconds."""
        mlp: dict[str, list[float]] = {"hidden_units": [32], "learning_rate": [0.01]}
        sgd: dict[str, list[float]] = {"alpha": [0.001], "learning_rate": [0.01]}
        return cls({"mlp": mlp, "sgd": sgd}, epochs=5)

    @property
    def candidates(self) -> list[Candidate]:
        """Every combination, family by family."""
        return [
            Candidate(family, dict(zip(values, combination, strict=True)))
            for family, values in self.values.items()
            for combination in product(*values.values())
        ]
