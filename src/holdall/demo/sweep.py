"""The sweep: a parent run for the grid, a nested run for each candidate."""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import Any

import holdall
from holdall.demo.data import SEED, Digits, load_digits
from holdall.demo.figures import draw_confusion_matrix, draw_curves
from holdall.demo.grid import Candidate, Grid
from holdall.demo.location import select_experiment
from holdall.demo.surroundings import environment_files
from holdall.demo.training import make_model, score_test, train_epochs
from holdall.stores.entities import Experiment, Run
from holdall.stores.names import PARENT_RUN_TAG

__all__ = ["RANKING", "DemoReport", "Trial", "run_sweep"]

RANKING = "metrics.val_accuracy DESC"
"""Chosen by what was seen while choosing; the test pictures judge the choice."""

TAGS = {
    "project": "holdall_demo",
    "task": "classification",
    "dataset": "sklearn.datasets.load_digits",
    "experiment_type": "hyperparameter_sweep",
}


@dataclass(frozen=True, slots=True)
class Trial:
    """How far a candidate has come.

    Attributes:
        name: The candidate.
        epoch: Epochs done.
        epochs: Epochs in all.
        metrics: The latest, with those of the test once it is finished.
        finished: Whether everything about it is logged.
    """

    name: str
    epoch: int
    epochs: int
    metrics: dict[str, float]
    finished: bool = False


@dataclass(frozen=True, slots=True)
class DemoReport:
    """What the sweep left behind.

    Attributes:
        experiment: Where it was logged.
        parent_run_id: The run of the whole grid.
        leaderboard: The runs of the candidates as a search found them, the best first.
    """

    experiment: Experiment
    parent_run_id: str
    leaderboard: list[Run]


@dataclass(slots=True)
class _Sweep:
    """What the candidates of one sweep share."""

    data: Digits
    grid: Grid
    tell: Callable[[Trial], None]
    date: str
    environment: dict[str, str] = field(default_factory=environment_files)
    curves: dict[str, list[float]] = field(default_factory=dict)

    def run(self, experiment: Experiment) -> str:
        """Try all candidates; the id of the parent run."""
        description = "Every combination of a few hyperparameters of two classifiers, on real pictures of digits."
        with holdall.start_run(run_name=f"sweep-grid-{self.date}", tags=TAGS, description=description) as parent:
            holdall.log_params({"seed": SEED, "epochs": self.grid.epochs, "candidates": len(self.grid.candidates)})
            holdall.log_dict(self.grid.values, artifact_file="config/grid.json")
            self._log_environment()
            for number, candidate in enumerate(self.grid.candidates):
                accuracy = self.try_candidate(candidate)
                holdall.log_metric("candidate_val_accuracy", accuracy, step=number)
            figure = draw_curves(self.curves, "validation accuracy of all candidates", "accuracy")
            holdall.log_figure(figure, artifact_file="plots/val_accuracy.png")
            best = search_leaderboard(experiment, parent.info.run_id)[0]
            holdall.log_metrics({f"best_{key}": best.data.metrics[key] for key in ("val_accuracy", "test_accuracy")})
            holdall.set_tags({"best_run_id": best.info.run_id, "best_run_name": best.info.run_name})
        return parent.info.run_id

    def try_candidate(self, candidate: Candidate) -> float:
        """Train, judge and log one candidate in a nested run; its accuracy on the validation part."""
        name = f"{candidate.name}-{self.date}"
        with holdall.start_run(run_name=name, nested=True, tags={**TAGS, "model_family": candidate.family}):
            config = {"model": candidate.family, **candidate.hyperparameters, "epochs": self.grid.epochs, "seed": SEED}
            holdall.log_params(config)
            holdall.log_dict(config, artifact_file="config/hyperparameters.json")
            self._log_environment()
            model = make_model(candidate)
            trial = self._train(candidate, model)
            final = score_test(model, self.data)
            holdall.log_metrics(final)
            self._log_model(candidate, model)
        self.tell(Trial(candidate.name, trial.epoch, trial.epochs, {**trial.metrics, **final}, finished=True))
        return trial.metrics["val_accuracy"]

    def _train(self, candidate: Candidate, model: Any) -> Trial:
        epochs = self.grid.epochs
        losses: dict[str, list[float]] = {"train_loss": [], "val_loss": []}
        accuracies = self.curves.setdefault(candidate.name, [])
        trial = Trial(candidate.name, 0, epochs, {})
        start = perf_counter()
        for epoch, metrics in enumerate(train_epochs(model, self.data, epochs), start=1):
            holdall.log_metrics(metrics, step=epoch)
            for key, values in losses.items():
                values.append(metrics[key])
            accuracies.append(metrics["val_accuracy"])
            trial = Trial(candidate.name, epoch, epochs, metrics)
            self.tell(trial)
        holdall.log_metrics({"best_val_accuracy": max(accuracies), "training_seconds": perf_counter() - start})
        holdall.log_figure(draw_curves(losses, candidate.name, "loss"), artifact_file="plots/loss_curve.png")
        return trial

    def _log_model(self, candidate: Candidate, model: Any) -> None:
        """Log the fitted model with what one must know to load it, and where it errs."""
        import sklearn

        figure = draw_confusion_matrix(model, self.data.test, candidate.name)
        holdall.log_figure(figure, artifact_file="plots/confusion_matrix.png")
        with tempfile.TemporaryDirectory(prefix="holdall-demo-") as folder:
            file = Path(folder) / "model.pkl"
            file.write_bytes(pickle.dumps(model))
            holdall.log_artifact(file, artifact_path="model")
        facts = {"class": type(model).__name__, "scikit_learn": sklearn.__version__, "input": "64 numbers from 0 to 1"}
        holdall.log_dict(facts, artifact_file="model/metadata.json")

    def _log_environment(self) -> None:
        for path, text in self.environment.items():
            holdall.log_text(text, artifact_file=path)


def run_sweep(artifacts: str | None, grid: Grid, tell: Callable[[Trial], None]) -> DemoReport:
    """Train and log all candidates of a grid in the store that the fluent calls use.

    Args:
        artifacts: URI or path under which runs keep artifacts; None for the store's own choice.
        grid: What to try.
        tell: Told after every epoch and every candidate.

    Raises:
        HoldallError: A store failed; the runs that were open have ended FAILED.
    """
    data = load_digits()
    experiment = select_experiment(artifacts)
    sweep = _Sweep(data, grid, tell, datetime.now(UTC).strftime("%Y%m%d"))
    parent_run_id = sweep.run(experiment)
    return DemoReport(experiment, parent_run_id, search_leaderboard(experiment, parent_run_id))


def search_leaderboard(experiment: Experiment, parent_run_id: str) -> list[Run]:
    """The nested runs of a sweep, the best first."""
    return holdall.search_runs(
        experiment_ids=[experiment.experiment_id],
        filter_string=f"tags.`{PARENT_RUN_TAG}` = '{parent_run_id}'",
        order_by=[RANKING],
        output_format="list",
    )
