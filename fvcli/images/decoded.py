"""A decoded image and its share of the memory budget."""

from __future__ import annotations

from types import TracebackType

import numpy as np

from fvcli.images.budget import Budget
from fvcli.images.orientation import Region
from fvcli.records import UInt8Array

_NOTHING: UInt8Array = np.empty((0, 0), np.uint8)


class DecodedImage:
    """One upright image, perhaps decoded at a fraction of its size, and its share of the budget until it is closed.

    pixels: uint8 RGB [H, W, 3] or gray [H, W].
    region: what of ``pixels`` the picture fills, (left, top, right, bottom): DCT-scaled decoding rounds
        odd sizes up, and the last column or row is then only partly covered.
    width, height: of the upright image at full size, in pixels. format: "JPEG", "PNG", ...
    """

    __slots__ = ("_budget", "_share", "format", "height", "pixels", "region", "width")

    def __init__(
        self, pixels: UInt8Array, region: Region, size: tuple[int, int], format: str, budget: Budget, share: int
    ) -> None:
        self.pixels = pixels
        self.region = region
        self.width, self.height = size
        self.format = format
        self._budget = budget
        self._share = share

    def close(self) -> None:
        """Returns the memory to the budget. Repeated calls are harmless."""
        share, self._share = self._share, 0
        if share:
            self.pixels = _NOTHING
            self._budget.release(share)

    def __enter__(self) -> DecodedImage:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self.close()
