"""Pixel values of more than 8 bits, and floats, to 8 bits: one rule without a jump.

Black is 0, or the smallest value where that is negative. White is the first of 1, 255, 65535 and 4294967295 of which
the largest value (counted from black) is at least a quarter. A picture that reaches less than a sixteenth of it takes
its own largest value as white, such as 12 bits in 16; in between white changes smoothly.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fvcli.records import UInt8Array

#: What white is in pictures of floats, of 8, 16 and 32 bits.
_WHITES = (1.0, 255.0, 65535.0, 4294967295.0)
#: Rows converted at a time, so that wide number types of a large image do not fill memory.
_STRIP_PIXELS = 1 << 20

Values = NDArray[Any]


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
    rows = max(1, _STRIP_PIXELS // max(1, values[:1].size))
    factor, least, most = 255.0 / (high - low), min(low, high), max(low, high)
    with np.errstate(invalid="ignore"):  # signaling NaNs
        for start in range(0, len(values), rows):
            strip = values[start : start + rows].astype(np.float64)
            np.nan_to_num(strip, copy=False, nan=least, posinf=most, neginf=least)
            scaled[start : start + rows] = np.clip(np.rint((strip - low) * factor), 0, 255)
    return scaled
