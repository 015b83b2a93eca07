"""Pixels to the numbers that a model takes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fvcli.records import Float32Array, InputSpec, UInt8Array


def pixel_values(spec: InputSpec) -> Float32Array:
    """float32 [256, 3]: for each pixel value and channel, the number in the range of ``spec``.

    Raises ValueError for a spec without a range.
    """
    ranges = spec.channel_ranges or (spec.value_range and (spec.value_range,) * 3)
    if ranges is None:
        raise ValueError("the input has no range")
    low, high = (np.array([pair[end] for pair in ranges]) for end in (0, 1))
    values: Float32Array = (low + (high - low) * np.arange(256)[:, np.newaxis] / 255).astype(np.float32)
    return values


def pixel_codes(spec: InputSpec, scale: float, zero_point: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """``dtype`` [256, 3]: the numbers of :func:`pixel_values` as codes, real = scale * (code - zero_point)."""
    limits = np.iinfo(dtype)
    codes = np.rint(pixel_values(spec) / np.float32(scale) + np.float32(zero_point))
    clipped: NDArray[Any] = np.clip(codes, limits.min, limits.max).astype(dtype)
    return clipped


def look_up(table: NDArray[Any], image: UInt8Array, out: NDArray[Any]) -> None:
    """Write ``table[pixel, channel]`` of an image, uint8 [h, w, 3], into ``out`` [h, w, 3]."""
    for channel in range(3):
        np.take(table[:, channel], image[:, :, channel], out=out[:, :, channel], mode="clip")
