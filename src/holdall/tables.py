"""`log_table`: rows appended to a JSON or Parquet file of an artifact store.

JSON is pandas' "split" form, `{"columns": […], "data": [[…]]}`. It is read and written without pandas, so that texts
such as `001` stay texts and floats keep all their digits.
"""

from __future__ import annotations

import io
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, time
from importlib import import_module
from typing import TYPE_CHECKING, TypeAlias, cast

from holdall.extras import needs
from holdall.stores.errors import InvalidParameterValue

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Table", "TableData", "decode_table", "encode_table", "read_table", "validate_table_name"]

TableData: TypeAlias = "pd.DataFrame | Mapping[str, object]"
"""A pandas data frame, or a dict: of columns of one length, or of the values of one row."""

_FORBIDDEN = re.compile(r"""["',:\[\]{}]""")


@dataclass(slots=True)
class Table:
    """Rows under named columns."""

    columns: list[str] = field(default_factory=list)
    rows: list[list[object]] = field(default_factory=list)

    def map(self, convert: Callable[[object], object]) -> Table:
        """The same with every cell converted."""
        return Table(list(self.columns), [[convert(cell) for cell in row] for row in self.rows])

    def append(self, other: Table) -> Table:
        """The rows of both under the columns of both; what a row does not have is None."""
        columns = list(dict.fromkeys([*self.columns, *other.columns]))
        return Table(columns, [*self._spread(columns), *other._spread(columns)])

    def _spread(self, columns: Sequence[str]) -> Iterator[list[object]]:
        places = {name: index for index, name in enumerate(self.columns)}
        order = [places.get(name) for name in columns]
        for row in self.rows:
            yield [None if place is None else row[place] for place in order]


def validate_table_name(artifact_file: str) -> str:
    """Check the name of a table's file.

    Raises:
        InvalidParameterValue: It does not end in `.json` or `.parquet`, or holds one of `"',:[]{}`.
    """
    if not isinstance(artifact_file, str) or not artifact_file.endswith((".json", ".parquet")):
        raise InvalidParameterValue(f"A table's file ends in .json or .parquet, got {artifact_file!r}.")
    if _FORBIDDEN.search(artifact_file):
        raise InvalidParameterValue(
            f"The name of a table's file must not hold any of \"',:[]{{}}, got {artifact_file!r}."
        )
    return artifact_file


def read_table(data: object) -> Table:
    """The rows of a data frame or a dict.

    Raises:
        InvalidParameterValue: It is neither, or its columns differ in length.
    """
    if isinstance(data, Mapping):
        return _read_columns(data)
    if hasattr(data, "columns") and hasattr(data, "itertuples"):
        frame = cast("pd.DataFrame", data)
        return Table(
            [str(name) for name in frame.columns], [list(row) for row in frame.itertuples(index=False, name=None)]
        )
    raise InvalidParameterValue(f"log_table needs a pandas data frame or a dict, got {type(data).__name__}.")


def _read_columns(data: Mapping[object, object]) -> Table:
    columns = {str(name): _cells(values) for name, values in data.items()}
    lengths = {len(cells) for cells in columns.values() if isinstance(cells, list)}
    if len(lengths) > 1:
        raise InvalidParameterValue(f"The columns of a table must have one length, got {sorted(lengths)}.")
    length = lengths.pop() if lengths else 1 if columns else 0
    full = [cells if isinstance(cells, list) else [cells] * length for cells in columns.values()]
    return Table(list(columns), [list(row) for row in zip(*full, strict=True)])


def _cells(values: object) -> object:
    """A column's cells as a list; a single value as it is."""
    if isinstance(values, str | bytes | Mapping) or not isinstance(values, Sequence):
        if not (hasattr(values, "tolist") and getattr(values, "ndim", 0) == 1):
            return values
        return list(cast("Sequence[object]", values))
    return list(values)


def encode_table(table: Table, artifact_file: str) -> bytes:
    """A table in the format that the ending of its name asks for.

    Raises:
        InvalidParameterValue: A cell cannot be written.
        MissingExtra: Parquet is asked for, and pandas or pyarrow is not installed.
    """
    if artifact_file.endswith(".json"):
        split = {"columns": table.columns, "data": table.map(_plain).rows}
        return json.dumps(split, separators=(",", ":"), allow_nan=False).encode("ascii")
    with needs("pandas", "log_table to Parquet"):
        import pandas as pd
    _require_pyarrow()
    frame = pd.DataFrame(table.rows, columns=table.columns)
    buffer = io.BytesIO()
    frame.to_parquet(buffer, index=False, engine="pyarrow")
    return buffer.getvalue()


def decode_table(content: bytes, artifact_file: str) -> Table:
    """The table in a file.

    Raises:
        InvalidParameterValue: The file holds no table.
        MissingExtra: It is Parquet, and pandas or pyarrow is not installed.
    """
    if artifact_file.endswith(".json"):
        return _decode_json(content, artifact_file)
    with needs("pandas", "log_table to Parquet"):
        import pandas as pd
    _require_pyarrow()
    return read_table(pd.read_parquet(io.BytesIO(content), engine="pyarrow"))


def _require_pyarrow() -> None:
    """Check for what writes Parquet; pandas itself would say something longer."""
    with needs("pyarrow", "log_table to Parquet", "pyarrow"):
        import_module("pyarrow")


def _decode_json(content: bytes, artifact_file: str) -> Table:
    try:
        split = json.loads(content)
    except ValueError:
        split = None
    match split:
        case {"columns": [*columns], "data": [*rows]} if all(
            isinstance(row, list) and len(row) == len(columns) for row in rows
        ):
            return Table([str(name) for name in columns], rows)
    raise InvalidParameterValue(f"{artifact_file!r} exists and holds no table; log the table under another name.")


def _plain(cell: object) -> object:
    """A cell as JSON knows it: missing values are null, times ISO 8601, arrays lists, other things text."""
    if cell is None or isinstance(cell, bool | int | str):
        return cell
    if isinstance(cell, float):
        return float(cell) if math.isfinite(cell) else None if math.isnan(cell) else str(cell)
    if isinstance(cell, Mapping):
        return {str(key): _plain(value) for key, value in cell.items()}
    if isinstance(cell, list | tuple):
        return [_plain(value) for value in cell]
    if type(cell).__name__ in ("NAType", "NaTType"):  # how pandas says that a value is missing
        return None
    if isinstance(cell, date | time):
        return cell.isoformat()
    to_list = getattr(cell, "tolist", None)  # NumPy arrays and scalars
    return _plain(to_list()) if callable(to_list) else str(cell)
