"""An image of any size into a model's input."""

from __future__ import annotations

from fvcli.images.decoded import DecodedImage
from fvcli.images.scale import scale
from fvcli.records import InputSpec, Preprocessing, UInt8Array

#: What surrounds the image with ``pad``: mid-gray, the pixel nearest to 0 in a model's [-1, 1], which is also what
#: its convolutions pad with.
PAD_VALUE = 128


class Fitter:
    """Puts images into slots of a batch, as one model's input size and one preprocessing ask. Usable by any thread.

    squash: the whole image, its aspect ratio changed. crop: the center, of the slot's aspect ratio and
    ``crop_fraction`` of the largest such rectangle. pad: the whole image, centered on gray, its aspect ratio kept.
    """

    def __init__(self, spec: InputSpec, preprocessing: Preprocessing) -> None:
        self.width = spec.width
        self.height = spec.height
        self._fit = preprocessing.fit
        self._fraction = preprocessing.crop_fraction
        self._resize = preprocessing.resize

    def needed(self, width: int, height: int) -> tuple[int, int]:
        """The (width, height) that an upright image of this size must at least be decoded at."""
        if self._fit == "squash":
            return self.width, self.height
        if self._fit == "pad":
            return self._contained(width, height)
        left, top, right, bottom = self._center(width, height)
        return _ceil(self.width * width / (right - left)), _ceil(self.height * height / (bottom - top))

    def fit(self, decoded: DecodedImage, out: UInt8Array) -> None:
        """Write ``decoded`` into ``out``, uint8 [height, width, 3]."""
        left, top, right, bottom = decoded.region
        if self._fit == "crop":
            x0, y0, x1, y1 = self._center(right - left, bottom - top)
            scale(decoded.pixels, (left + x0, top + y0, left + x1, top + y1), self._resize, out)
        elif self._fit == "pad":
            width, height = self._contained(decoded.width, decoded.height)
            x, y = (self.width - width) // 2, (self.height - height) // 2
            out[:] = PAD_VALUE
            scale(decoded.pixels, decoded.region, self._resize, out[y : y + height, x : x + width])
        else:
            scale(decoded.pixels, decoded.region, self._resize, out)

    def _contained(self, width: int, height: int) -> tuple[int, int]:
        factor = min(self.width / width, self.height / height)
        return max(1, round(width * factor)), max(1, round(height * factor))

    def _center(self, width: float, height: float) -> tuple[float, float, float, float]:
        factor = self._fraction * min(width / self.width, height / self.height)
        x, y = (width - self.width * factor) / 2, (height - self.height * factor) / 2
        return x, y, x + self.width * factor, y + self.height * factor


def _ceil(value: float) -> int:
    return int(-(-value // 1))
