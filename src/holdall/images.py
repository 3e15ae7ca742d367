"""`log_image`: arrays and Pillow images as the bytes of a file, and the names of image series."""

from __future__ import annotations

import io
import logging
import re
import uuid
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Protocol

from holdall.extras import needs
from holdall.stores.errors import InvalidParameterValue

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

__all__ = ["ArrayLike", "as_image", "encode_image", "series_stem", "shrink"]

logger = logging.getLogger("holdall")

LONGER_SIDE = 256
_KEY = re.compile(r"[A-Za-z0-9_\-./ ]+")


class ArrayLike(Protocol):
    """Anything that turns into a NumPy array."""

    def __array__(self) -> NDArray[np.generic]: ...


def as_image(image: object) -> Image:
    """A Pillow image from one, or from an array of shape (H, W) or (H, W, 1 | 3 | 4).

    Booleans become black and white; integers must lie in 0 … 255; floats in 0 … 1 are scaled to that, others are
    stretched from their minimum to their maximum with a warning.

    Raises:
        InvalidParameterValue: It is no image, or its shape or values do not fit.
        MissingExtra: Pillow or NumPy is not installed.
    """
    with needs("PIL", "log_image"):
        from PIL import Image
    if isinstance(image, Image.Image):
        return image
    if not hasattr(image, "__array__"):
        raise InvalidParameterValue(f"log_image needs a NumPy array or a Pillow image, got {type(image).__name__}.")
    with needs("numpy", "log_image"):
        import numpy as np
    pixels = _as_bytes(np.asarray(image))
    return Image.fromarray(pixels[:, :, 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels)


def _as_bytes(array: NDArray[np.generic]) -> NDArray[np.uint8]:
    import numpy as np

    if not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (1, 3, 4))) or not array.size:
        raise InvalidParameterValue(
            f"An image array has the shape (height, width) or (height, width, 1, 3 or 4), got {array.shape}."
        )
    if array.dtype == np.bool_:
        return np.where(array, 255, 0).astype(np.uint8)
    if not (np.issubdtype(array.dtype, np.integer) or np.issubdtype(array.dtype, np.floating)):
        raise InvalidParameterValue(f"An image array holds booleans, integers or floats, got {array.dtype}.")
    low, high = float(array.min()), float(array.max())
    if np.issubdtype(array.dtype, np.integer):
        if low < 0 or high > 255:
            raise InvalidParameterValue(f"Integers in an image array lie between 0 and 255, got {low:g} … {high:g}.")
        return array.astype(np.uint8)
    if not np.isfinite([low, high]).all():
        raise InvalidParameterValue("An image array must not hold NaN or infinite values.")
    floats = array.astype(np.float64)
    if low < 0 or high > 1:
        logger.warning("The image's values lie between %g and %g; they were stretched to 0 … 255.", low, high)
        floats = (floats - low) / (high - low) if high > low else np.zeros_like(floats)
    return (floats * 255).astype(np.uint8)


def encode_image(image: Image, artifact_file: str) -> bytes:
    """An image in the format that the ending of its name asks for.

    Raises:
        InvalidParameterValue: Pillow knows no such format, or cannot write this image in it.
    """
    from PIL import Image

    ending = PurePosixPath(artifact_file).suffix.lower()
    kind = Image.registered_extensions().get(ending)
    if kind is None or kind not in Image.SAVE:
        raise InvalidParameterValue(f"Pillow cannot write {artifact_file!r}: give it an ending such as .png.")
    buffer = io.BytesIO()
    try:
        image.save(buffer, kind)
    except OSError as error:  # such as transparency in a JPEG
        raise InvalidParameterValue(f"The image cannot be written as {artifact_file!r}: {error}.") from error
    return buffer.getvalue()


def shrink(image: Image) -> Image:
    """A copy whose longer side has at most 256 pixels."""
    small = image.copy()
    small.thumbnail((LONGER_SIDE, LONGER_SIDE))
    return small


def series_stem(key: str, step: int, timestamp: int) -> str:
    """Path, without its ending, of an image that belongs to a series, as MLflow's page looks for it.

    Raises:
        InvalidParameterValue: The key holds other characters than letters, digits, `_ - . / ` and blanks.
    """
    if not isinstance(key, str) or not _KEY.fullmatch(key):
        raise InvalidParameterValue(
            f"Invalid image key {key!r}: use letters, digits, underscores, dashes, periods, slashes and blanks."
        )
    return f"images/{key.replace('/', '~')}+step+{step}+timestamp+{timestamp}+{uuid.uuid4()}"
