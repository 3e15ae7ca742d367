"""The customer's lab, run by an unmodified client of MLflow against a server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.interop.peers import Peer

__all__ = ["run_lab"]

_SCRIPT = Path(__file__).with_name("lab_script.py")

_SETTINGS = {
    "LOGNAME": "ann",
    "USER": "ann",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",  # an error of the server is seen, not repeated for minutes
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "60",
    "OMP_NUM_THREADS": "1",
}


def run_lab(version: str, url: str) -> dict[str, Any]:
    """Run the whole lab with a version of MLflow; what it left behind, as `lab_script.py` tells."""
    found: dict[str, Any] = Peer.of(version).run_script(_SCRIPT, {"uri": url}, **_SETTINGS)
    assert found["version"] == version
    return found
