"""The contract between the models that compute feature vectors and the run that needs them, and their pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fvcli.records import Engine, Float32Array, InputSpec, UInt8Array


class FeatureModel(Protocol):
    """Turns images into feature vectors.

    One instance serves one thread. The same image gives the same bytes whatever else is in the batch.
    """

    @property
    def name(self) -> str:
        """The name that the user gave: ``embedded``, a catalog name, a path."""
        ...

    @property
    def input_spec(self) -> InputSpec: ...

    @property
    def dimension(self) -> int:
        """Length of a feature vector."""
        ...

    @property
    def identity(self) -> str:
        """SHA-256 (hex) of the model's canonical numbers, the same in whatever form it is stored."""
        ...

    @property
    def engine(self) -> Engine: ...

    @property
    def license(self) -> str:
        """SPDX expression, or "unknown"."""
        ...

    def __call__(self, images: UInt8Array) -> Float32Array:
        """uint8 RGB [n, height, width, 3] -> float32 [n, dimension].

        Raises ModelError if the engine fails.
        """
        ...

    def per_thread(self) -> FeatureModel:
        """An independent instance of the same model for another thread."""
        ...


def is_vector(shape: Sequence[int]) -> bool:
    """Whether a result of this shape, with the batch first, is one vector per image: all other sizes but one are 1."""
    sizes = shape[1:]
    return len(sizes) >= 1 and min(sizes) > 0 and sum(size > 1 for size in sizes) <= 1


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
