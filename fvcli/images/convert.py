"""Pictures of any mode (16-bit, float, CMYK, palette, with alpha ...) to 8-bit RGB or gray.

Values of more than 8 bits, and floats, become 8 bits by one rule without a jump. Black is 0, or the smallest value
where that is negative. White is the first of 1, 255, 65535 and 4294967295 of which the largest value (counted from
black) is at least a quarter. A picture that reaches less than a sixteenth of it takes its own largest value as white,
such as 12 bits in 16; in between white changes smoothly.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fvcli.errors import ImageError
from fvcli.records import UInt8Array

#: What white is in pictures of floats, of 8, 16 and 32 bits.
_WHITES = (1.0, 255.0, 65535.0, 4294967295.0)
#: Numbers of a wide type that are converted at a time, so that those of a large image do not fill memory.
_STRIP_VALUES = 1 << 20

_TIFF_BITS, _TIFF_PHOTOMETRIC, _TIFF_COLOR_MAP = 258, 262, 320
_DEEP_MODES = frozenset(["I", "I;16", "I;16L", "I;16B", "I;16N", "F"])
_TWELVE_BITS = 4095.0
_WHITE = (255, 255, 255)
#: Pixels of a large picture that are converted at a time.
_STRIP_PIXELS = 4_000_000
#: The high byte of the largest value from which 16-bit color keeps its white, a quarter of 65535.
_BRIGHT = 64
LowBytes: TypeAlias = Callable[[], Image.Image]
Values: TypeAlias = NDArray[Any]


def white_of(largest: float) -> float:
    """The value that becomes 255 in a picture whose largest is this one: continuous, and never below ``largest``."""
    for white in _WHITES:
        if largest <= white:
            if 4 * largest >= white:
                return white
            return max(largest, 16.0 * largest * largest / white)
    return largest


def value_range(values: Values) -> tuple[float, float]:
    """The values, numbers of any type, that become 0 and 255."""
    finite = values[np.isfinite(values)] if values.dtype.kind == "f" else values
    if not finite.size:
        return 0.0, 1.0
    low, high = min(0.0, float(finite.min())), float(finite.max())
    return low, low + (white_of(high - low) or 1.0)


def to_bytes(values: Values, low: float, high: float) -> UInt8Array:
    """uint8 of the same shape: (values - low) / (high - low) x 255, rounded, within 0 and 255.

    With ``high`` below ``low`` small values are white. NaN is the smaller of the two.
    """
    scaled = np.empty(values.shape, np.uint8)
    rows = max(1, _STRIP_VALUES // max(1, values[:1].size))
    factor, least, most = 255.0 / (high - low), min(low, high), max(low, high)
    with np.errstate(invalid="ignore"):  # signaling NaNs
        for start in range(0, len(values), rows):
            strip = values[start : start + rows].astype(np.float64)
            np.nan_to_num(strip, copy=False, nan=least, posinf=most, neginf=least)
            scaled[start : start + rows] = np.clip(np.rint((strip - low) * factor), 0, 255)
    return scaled


def to_eight_bits(picture: Image.Image, low_bytes: LowBytes | None = None) -> Image.Image:
    """A loaded picture as Pillow mode "RGB" or "L", upright or not as it was.

    Gray of more than 8 bits and floats are scaled by ``value_range.py``; 16-bit color too where it is dark:
    ``low_bytes`` gives the low bytes of such a picture, whose high bytes Pillow has read. Transparent pixels are laid
    over white. CMYK is converted without a color profile. Raises ImageError (kind Unsupported) for HSV.
    """
    mode = picture.mode
    if low_bytes is not None and mode in ("RGB", "RGBA") and _is_dark(picture):
        lighter = _lightened(picture, low_bytes())
        return over_white(lighter) if mode == "RGBA" else lighter
    if mode in ("RGB", "L") and "transparency" not in picture.info:
        return picture
    if mode in _DEEP_MODES:
        return _deep_to_gray(picture)
    if mode == "LAB":
        return _lab_to_rgb(picture)
    if mode == "HSV":
        raise ImageError("decode", "Unsupported", "colors in HSV are not supported")
    if mode == "P":
        _widen_color_map(picture)
    if picture.has_transparency_data:
        return over_white(picture)
    return picture.convert("L" if mode == "1" else "RGB")


def reduced(picture: Image.Image, across: int, down: int) -> Image.Image:
    """A large picture as ``to_eight_bits`` gives it, with ``across`` x ``down`` pixels averaged to one, in strips."""
    if picture.mode in _DEEP_MODES or picture.mode == "LAB":
        return to_eight_bits(picture).reduce((across, down))
    if picture.mode == "P":
        _widen_color_map(picture)
    rows = max(down, _STRIP_PIXELS // picture.width // down * down)
    strips = []
    for top in range(0, picture.height, rows):
        strip = picture.crop((0, top, picture.width, min(top + rows, picture.height)))
        strips.append(np.asarray(to_eight_bits(strip).reduce((across, down))))
    return Image.fromarray(np.concatenate(strips))


def over_white(picture: Image.Image) -> Image.Image:
    """RGB of a picture with alpha or transparent colors, laid over white."""
    layered = picture if picture.mode == "RGBA" else _unpremultiplied(picture).convert("RGBA")
    alpha = layered.getchannel("A")
    if alpha.getextrema() == (255, 255):
        return layered.convert("RGB")
    result = Image.new("RGB", layered.size, _WHITE)
    result.paste(layered, mask=alpha)
    return result


def _unpremultiplied(picture: Image.Image) -> Image.Image:
    return picture.convert("LA") if picture.mode == "La" else picture


def _deep_to_gray(picture: Image.Image) -> Image.Image:
    values = np.asarray(picture)
    tags = getattr(picture, "tag_v2", {})
    low, high = (0.0, _TWELVE_BITS) if tags.get(_TIFF_BITS) == (12,) else value_range(values)
    if tags.get(_TIFF_PHOTOMETRIC) == 0:  # WhiteIsZero
        low, high = high, low
    gray = to_bytes(values, low, high)
    clear = picture.info.get("transparency")
    if isinstance(clear, int):
        gray[values == clear] = 255
    return Image.fromarray(gray)


def _is_dark(picture: Image.Image) -> bool:
    return int(np.asarray(picture)[:, :, :3].max()) < _BRIGHT


def _lightened(picture: Image.Image, low_bytes: Image.Image) -> Image.Image:
    """16-bit color of which ``picture`` has the high bytes, by its range of values; alpha stays as it is."""
    values = np.asarray(picture)[:, :, :3].astype(np.uint16) << 8
    values |= np.asarray(low_bytes)[:, :, :3]
    lighter = Image.fromarray(to_bytes(values, *value_range(values)))
    if picture.mode == "RGBA":
        lighter.putalpha(picture.getchannel("A"))
    return lighter


def _lab_to_rgb(picture: Image.Image) -> Image.Image:
    """CIE L*a*b* to sRGB by Little CMS."""
    from PIL import ImageCms

    lab, rgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    converted = ImageCms.profileToProfile(picture, lab, rgb, outputMode="RGB")
    if converted is None:
        raise ImageError("decode", "Unsupported", "colors in Lab are not supported here")
    return converted


def _widen_color_map(picture: Image.Image) -> None:
    """Take a TIFF's color map as 8-bit values where no entry needs 16 bits, as libtiff does."""
    entries = getattr(picture, "tag_v2", {}).get(_TIFF_COLOR_MAP)
    if entries and max(entries) < 256:
        count = len(entries) // 3
        planes = [entries[start : start + count] for start in range(0, 3 * count, count)]
        picture.putpalette([value for color in zip(*planes, strict=True) for value in color])
