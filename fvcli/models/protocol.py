"""The contract between the models that compute feature vectors and the run that needs them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

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
