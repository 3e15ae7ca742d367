"""Train one candidate epoch by epoch, and judge it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from holdall.demo.data import SEED, Digits, Part
from holdall.demo.grid import Candidate

__all__ = ["make_model", "score_test", "train_epochs"]

BATCH = 64


def make_model(candidate: Candidate) -> Any:
    """An untrained scikit-learn classifier."""
    chosen = candidate.hyperparameters
    if candidate.family == "mlp":
        from sklearn.neural_network import MLPClassifier

        layers = (int(chosen["hidden_units"]),)
        return MLPClassifier(layers, learning_rate_init=chosen["learning_rate"], batch_size=BATCH, random_state=SEED)
    from sklearn.linear_model import SGDClassifier

    return SGDClassifier(
        loss="log_loss",
        alpha=chosen["alpha"],
        learning_rate="constant",
        eta0=chosen["learning_rate"],
        random_state=SEED,
    )


def train_epochs(model: Any, data: Digits, epochs: int) -> Iterator[dict[str, float]]:
    """Train, one pass over the data at a time, and give the metrics after each."""
    for _ in range(epochs):
        model.partial_fit(data.train.pixels, data.train.digits, classes=range(10))
        yield {**_score(model, data.train, "train"), **_score(model, data.validation, "val")}


def score_test(model: Any, data: Digits) -> dict[str, float]:
    """Metrics on the pictures that nothing was chosen by."""
    from sklearn.metrics import f1_score

    f1 = f1_score(data.test.digits, model.predict(data.test.pixels), average="macro")
    return {**_score(model, data.test, "test"), "test_f1_macro": float(f1)}


def _score(model: Any, part: Part, prefix: str) -> dict[str, float]:
    """Cross entropy and accuracy; by hand, as one call of scikit-learn's checks more than it computes."""
    import numpy as np

    chances = model.predict_proba(part.pixels)
    truth = chances[np.arange(len(part.digits)), part.digits]  # column n is digit n
    hits = chances.argmax(axis=1) == part.digits
    loss = -np.log(np.maximum(truth, np.finfo(float).eps))
    return {f"{prefix}_loss": float(loss.mean()), f"{prefix}_accuracy": float(hits.mean())}
