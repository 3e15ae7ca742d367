"""Artifacts that a tracking server moves: `mlflow-artifacts:`, `http://` and `https://`."""
