"""The lines of metrics of logged models: `timestamp value step run_id`, and behind them a dataset's name and digest.

MLflow takes a line apart at blanks, so that it cannot read the name of a dataset that has one; a newline in it makes
two lines. Names and digests with such characters are percent-encoded here. A `+` before the timestamp says so: no
writer but holdall puts it there, and MLflow reads the line, with the encoded name.
"""

from __future__ import annotations

from urllib.parse import quote, unquote

from holdall.backends.file.metric_lines import LineFormat, parse_numbers
from holdall.stores.entities import LoggedModelMetric
from holdall.stores.points import model_point_key

__all__ = ["MODEL_LINES"]

_ALONE, _ON_DATASET = 4, 6
"""Numbers of fields; more than 6 are a dataset's name with blanks."""

_ENCODED = b"+"


def _format(point: LoggedModelMetric) -> str:
    line = f"{point.timestamp} {point.value!r} {point.step} {point.run_id}"
    if point.dataset_name is None:
        return line
    name, digest = point.dataset_name, point.dataset_digest or ""
    if _is_plain(name) and _is_plain(digest):
        return f"{line} {name} {digest}"
    return f"{_ENCODED.decode()}{line} {quote(name, safe='')} {quote(digest, safe='')}"


def _is_plain(text: str) -> bool:
    """Whether no reader takes a text for several fields or lines, or for none."""
    return text != "" and " " not in text and text.isprintable()


def _parse(key: str, line: bytes) -> LoggedModelMetric:
    fields = line.removesuffix(b"\r").split(b" ")
    count = len(fields)
    if count < _ALONE or _ALONE < count < _ON_DATASET or not fields[3]:
        raise ValueError
    timestamp, value, step = parse_numbers(fields)
    run_id = fields[3].decode()
    if count == _ALONE:
        return LoggedModelMetric(key, value, timestamp, step, run_id)
    name, digest = b" ".join(fields[4:-1]).decode(), fields[-1].decode()
    if count == _ON_DATASET and line.startswith(_ENCODED):
        name, digest = unquote(name, errors="strict"), unquote(digest, errors="strict")
    return LoggedModelMetric(key, value, timestamp, step, run_id, name, digest)


def _identity(point: LoggedModelMetric) -> object:
    return model_point_key(point)


MODEL_LINES: LineFormat[LoggedModelMetric] = LineFormat(_format, _parse, _identity)
"""Lines of the metrics of logged models."""
