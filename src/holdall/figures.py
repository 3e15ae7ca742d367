"""`log_figure`: a matplotlib or plotly figure as the bytes of a file.

A figure exists only where its library has been imported, so that nothing is imported here.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Mapping
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, TypeGuard

from holdall.stores.errors import InvalidParameterValue

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from plotly.basedatatypes import BaseFigure

__all__ = ["encode_figure"]

PLOTLY_IMAGES = ("jpeg", "pdf", "png", "svg", "webp")


def encode_figure(figure: object, artifact_file: str, save_kwargs: Mapping[str, object] | None = None) -> bytes:
    """A figure in the format that the ending of its name asks for.

    Args:
        figure: Of matplotlib, or of plotly (`.html`, or a picture by plotly's own image export).
        artifact_file: Name with an ending, such as `plots/loss.png`.
        save_kwargs: Passed on to matplotlib's `savefig`, or plotly's `to_html` or `to_image`.

    Raises:
        InvalidParameterValue: It is no figure, or the format is unknown.
    """
    kind = PurePosixPath(artifact_file).suffix.removeprefix(".").lower()
    if not kind:
        raise InvalidParameterValue(f"Cannot tell the format of {artifact_file!r}: give it an ending such as .png.")
    options = dict(save_kwargs or {})
    if _is_matplotlib(figure):
        return _encode_matplotlib(figure, kind, options)
    if _is_plotly(figure):
        return _encode_plotly(figure, kind, options)
    raise InvalidParameterValue(f"log_figure needs a figure of matplotlib or plotly, got {type(figure).__name__}.")


def _is_matplotlib(figure: object) -> TypeGuard[Figure]:
    module = sys.modules.get("matplotlib.figure")
    return module is not None and isinstance(figure, module.Figure)


def _is_plotly(figure: object) -> TypeGuard[BaseFigure]:
    module = sys.modules.get("plotly.basedatatypes")
    return module is not None and isinstance(figure, module.BaseFigure)


def _encode_matplotlib(figure: Figure, kind: str, options: dict[str, object]) -> bytes:
    known = figure.canvas.get_supported_filetypes()
    if kind not in known:
        raise InvalidParameterValue(f"matplotlib cannot write .{kind}; it knows: {', '.join(sorted(known))}.")
    buffer = io.BytesIO()
    save: Callable[..., None] = figure.savefig
    save(buffer, **{"format": kind, **options})
    return buffer.getvalue()


def _encode_plotly(figure: BaseFigure, kind: str, options: dict[str, object]) -> bytes:
    if kind == "html":
        text: str = figure.to_html(**{"include_plotlyjs": "cdn", **options})
        return text.encode("utf-8")
    if kind not in PLOTLY_IMAGES:
        raise InvalidParameterValue(f"plotly cannot write .{kind}; it knows: html, {', '.join(PLOTLY_IMAGES)}.")
    image: bytes = figure.to_image(**{"format": kind, **options})
    return image
