"""Runs as a pandas data frame."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, cast

from holdall.extras import needs
from holdall.stores.entities import Run

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["runs_to_frame"]


def runs_to_frame(runs: Sequence[Run]) -> pd.DataFrame:
    """One row for each run: the run's fields, then `metrics.<key>`, `params.<key>`, `tags.<key>`, each sorted by key.

    Times are datetimes in UTC, NaT where missing or beyond pandas' range; a missing metric is NaN, a missing param or
    tag is None (with pandas 3, NaN). Without runs there are only the columns of the run's fields.

    Raises:
        MissingExtra: pandas is not installed.
    """
    with needs("pandas", "A data frame of runs"):
        import pandas as pd
    columns: dict[str, object] = {
        "run_id": [run.info.run_id for run in runs],
        "experiment_id": [run.info.experiment_id for run in runs],
        "status": [str(run.info.status) for run in runs],
        "artifact_uri": [run.info.artifact_uri for run in runs],
        "start_time": _times([run.info.start_time for run in runs]),
        "end_time": _times([run.info.end_time for run in runs]),
    }
    columns |= _columns("metrics", [run.data.metrics for run in runs], math.nan)
    columns |= _columns("params", [run.data.params for run in runs], None)
    columns |= _columns("tags", [run.data.tags for run in runs], None)
    return pd.DataFrame(columns)


def _times(milliseconds: Sequence[int | None]) -> pd.DatetimeIndex:
    import pandas as pd

    numbers = cast("Sequence[float]", milliseconds)  # pandas takes None for NaT, its annotations do not say so
    return pd.to_datetime(numbers, errors="coerce", unit="ms", utc=True)


def _columns(prefix: str, rows: Sequence[Mapping[str, object]], missing: object) -> dict[str, list[object]]:
    keys = sorted({key for row in rows for key in row})
    return {f"{prefix}.{key}": [row.get(key, missing) for row in rows] for key in keys}
