"""The digits data set: 1,797 real pictures of handwritten digits, 8 × 8 pixels, shipped with scikit-learn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[Any]]

__all__ = ["SEED", "Digits", "Part", "load_digits"]

SEED = 20261122
"""Seeds the split and every model, so that the demo finds the same results everywhere."""


@dataclass(frozen=True, slots=True)
class Part:
    """Pictures as rows of 64 numbers from 0 to 1, and the digits they show."""

    pixels: Array
    digits: Array


@dataclass(frozen=True, slots=True)
class Digits:
    """The data set in three parts: 60 % to train, 20 % to choose, 20 % to judge what was chosen."""

    train: Part
    validation: Part
    test: Part


def load_digits() -> Digits:
    """Load and split the data."""
    from sklearn import datasets
    from sklearn.model_selection import train_test_split

    pixels, digits = datasets.load_digits(return_X_y=True)
    pixels = pixels / 16.0
    train_x, rest_x, train_y, rest_y = train_test_split(
        pixels, digits, test_size=0.4, random_state=SEED, stratify=digits
    )
    validation_x, test_x, validation_y, test_y = train_test_split(
        rest_x, rest_y, test_size=0.5, random_state=SEED, stratify=rest_y
    )
    return Digits(Part(train_x, train_y), Part(validation_x, validation_y), Part(test_x, test_y))
