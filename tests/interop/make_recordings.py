"""Record anew what MLflow's clients say in the lab: `python -m tests.interop.make_recordings`, in the root.

To be done when the lab grows, or for new versions; what is recorded is answered by the server at hand.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from tests.interop.lab import run_lab
from tests.interop.peers import VERSIONS
from tests.interop.recorder import anonymous, recorder
from tests.server.live import live_server
from tests.server.recordings import save


def main() -> None:
    """Record both versions."""
    for version in VERSIONS:
        with (
            tempfile.TemporaryDirectory() as folder,
            live_server(Path(folder), backend="mlruns") as live,
            recorder(live.url) as heard,
        ):
            run_lab(version, heard.url)
        file = save(f"mlflow-{version}", anonymous(heard.exchanges))
        print(f"{file} {file.stat().st_size} bytes")  # noqa: T201


if __name__ == "__main__":
    main()
