"""Whatever a file's pixels are (16-bit, float, CMYK, palette, with alpha ...) to 8-bit RGB or grey."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

from fvcli.errors import ImageError

_TIFF_BITS, _TIFF_PHOTOMETRIC = 258, 262
#: Rows converted at a time, so that wide number types of a large image do not fill memory.
_STRIP_PIXELS = 1 << 20
_DEEP_MODES = frozenset(["I", "I;16", "I;16L", "I;16B", "I;16N", "F"])
_WHITE = (255, 255, 255)


def to_eight_bits(picture: ImageFile.ImageFile) -> Image.Image:
    """A loaded picture as Pillow mode "RGB" or "L", upright or not as it was.

    16-bit grey v becomes v / 257, rounded. Float grey, and integers of more than 16 bits, are scaled by what they
    hold: values within [0, 1] (float only) times 255, within [0, 255] as they are, within [0, 65535] divided by 257,
    anything else linearly from its smallest finite value (0) to its largest (255); NaN is 0. Transparent pixels are
    laid over white. CMYK is converted without a colour profile. Raises ImageError (kind Unsupported) for Lab.
    """
    mode = picture.mode
    if mode in ("RGB", "L") and "transparency" not in picture.info:
        return picture
    if mode in _DEEP_MODES:
        return _deep_to_grey(picture)
    if mode in ("LAB", "HSV"):
        raise ImageError("decode", "Unsupported", f"colours in {mode} are not supported")
    if picture.has_transparency_data:
        return _over_white(picture)
    return picture.convert("L" if mode == "1" else "RGB")


def _over_white(picture: Image.Image) -> Image.Image:
    layered = picture if picture.mode == "RGBA" else _unpremultiplied(picture).convert("RGBA")
    alpha = layered.getchannel("A")
    if alpha.getextrema() == (255, 255):
        return layered.convert("RGB")
    result = Image.new("RGB", layered.size, _WHITE)
    result.paste(layered, mask=alpha)
    return result


def _unpremultiplied(picture: Image.Image) -> Image.Image:
    return picture.convert("LA") if picture.mode == "La" else picture


def _deep_to_grey(picture: ImageFile.ImageFile) -> Image.Image:
    values = np.asarray(picture)
    tags = getattr(picture, "tag_v2", {})
    low, high = _range(values, tags)
    clear = picture.info.get("transparency")
    if tags.get(_TIFF_PHOTOMETRIC) == 0:  # WhiteIsZero
        low, high = high, low
    factor = 255.0 / (high - low) if high != low else 0.0
    grey = np.empty(values.shape, np.uint8)
    rows = max(1, _STRIP_PIXELS // max(1, values.shape[1]))
    with np.errstate(invalid="ignore"):  # signalling NaNs
        for start in range(0, len(values), rows):
            strip = values[start : start + rows].astype(np.float64)
            np.nan_to_num(strip, copy=False, nan=min(low, high), posinf=max(low, high), neginf=min(low, high))
            scaled = np.rint((strip - low) * factor)
            grey[start : start + rows] = np.clip(scaled, 0, 255).astype(np.uint8)
    if isinstance(clear, int):
        grey[values == clear] = 255
    return Image.fromarray(grey)


def _range(values: NDArray[np.generic], tags: dict[int, object]) -> tuple[float, float]:
    """The values that become 0 and 255."""
    if values.dtype.kind == "u":
        bits = tags.get(_TIFF_BITS)
        return 0.0, 4095.0 if bits == (12,) else 65535.0
    finite = values[np.isfinite(values)] if values.dtype.kind == "f" else values.reshape(-1)
    if not finite.size:
        return 0.0, 1.0
    low, high = float(finite.min()), float(finite.max())
    if low >= 0.0:
        ceilings = (1.0, 255.0, 65535.0) if values.dtype.kind == "f" else (255.0, 65535.0)
        for ceiling in ceilings:
            if high <= ceiling:
                return 0.0, ceiling
    return low, high
