"""An image of any size into a model's input."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fvcli.images.decode import DecodedImage
from fvcli.records import Float32Array, InputSpec, Preprocessing, UInt8Array

#: Pillow's kernels, each widened by the reduction (antialiased), so that no pixel of the image is skipped.
_KERNELS = {
    "area": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}

#: What surrounds the image with ``pad``: mid-grey, the pixel nearest to 0 in a model's [-1, 1], which is also what
#: its convolutions pad with.
PAD_VALUE = 128


class Fitter:
    """Puts images into slots of a batch, as one model's input size and one preprocessing ask. Usable by any thread.

    squash: the whole image, its aspect ratio changed. crop: the centre, of the slot's aspect ratio and
    ``crop_fraction`` of the largest such rectangle. pad: the whole image, centred on grey, its aspect ratio kept.
    """

    def __init__(self, spec: InputSpec, preprocessing: Preprocessing) -> None:
        self.width = spec.width
        self.height = spec.height
        self._fit = preprocessing.fit
        self._fraction = preprocessing.crop_fraction
        self._kernel = _KERNELS.get(preprocessing.resize)  # None: tf1-bilinear

    def needed(self, width: int, height: int) -> tuple[int, int]:
        """The (width, height) that an upright image of this size must at least be decoded at."""
        if self._fit == "squash":
            return self.width, self.height
        if self._fit == "pad":
            return self._contained(width, height)
        left, top, right, bottom = self._centre(width, height)
        return _ceil(self.width * width / (right - left)), _ceil(self.height * height / (bottom - top))

    def fit(self, decoded: DecodedImage, out: UInt8Array) -> None:
        """Write ``decoded`` into ``out``, uint8 [height, width, 3]."""
        left, top, right, bottom = decoded.region
        if self._fit == "crop":
            x0, y0, x1, y1 = self._centre(right - left, bottom - top)
            self._resize(decoded.image, (left + x0, top + y0, left + x1, top + y1), out)
        elif self._fit == "pad":
            width, height = self._contained(decoded.width, decoded.height)
            x, y = (self.width - width) // 2, (self.height - height) // 2
            out[:] = PAD_VALUE
            self._resize(decoded.image, decoded.region, out[y : y + height, x : x + width])
        else:
            self._resize(decoded.image, decoded.region, out)

    def _contained(self, width: int, height: int) -> tuple[int, int]:
        scale = min(self.width / width, self.height / height)
        return max(1, round(width * scale)), max(1, round(height * scale))

    def _centre(self, width: float, height: float) -> tuple[float, float, float, float]:
        scale = self._fraction * min(width / self.width, height / self.height)
        x, y = (width - self.width * scale) / 2, (height - self.height * scale) / 2
        return x, y, x + self.width * scale, y + self.height * scale

    def _resize(self, image: Image.Image, box: tuple[float, float, float, float], out: UInt8Array) -> None:
        """Scale ``box`` of the image to the shape of ``out`` [h, w, 3]."""
        height, width, _ = out.shape
        if self._kernel is None:
            left, top, right, bottom = (round(edge) for edge in box)
            pixels = np.asarray(image.crop((left, top, max(right, left + 1), max(bottom, top + 1))))
            resized = np.rint(tf1_bilinear(pixels, height, width)).astype(np.uint8)
        else:
            resized = np.asarray(image.resize((width, height), self._kernel, box))
        out[:] = resized if resized.ndim == 3 else resized[:, :, None]


def tf1_bilinear(pixels: UInt8Array, height: int, width: int) -> Float32Array:
    """``tf.compat.v1.image.resize_bilinear(pixels, [height, width])`` of uint8 [H, W, C] or [H, W], as float32.

    Legacy sampling (align_corners and half_pixel_centers both False): output i lies at i * H / height, computed in
    float32 as TensorFlow's kernel does, between its two neighbours; nothing is averaged, so pixels are skipped when
    an image shrinks to less than half.
    """
    above, below, down = _legacy_samples(pixels.shape[0], height)
    before, after, along = _legacy_samples(pixels.shape[1], width)
    channels = (1,) * (pixels.ndim - 2)
    down = down.reshape(-1, 1, *channels)
    along = along.reshape(-1, *channels)

    def row(lines: NDArray[np.intp]) -> Float32Array:
        chosen = pixels[lines]
        left, right = chosen[:, before].astype(np.float32), chosen[:, after].astype(np.float32)
        blended: Float32Array = left + (right - left) * along
        return blended

    upper = row(above)
    result: Float32Array = upper + (row(below) - upper) * down
    return result


def _legacy_samples(size: int, wanted: int) -> tuple[NDArray[np.intp], NDArray[np.intp], Float32Array]:
    positions = np.arange(wanted, dtype=np.float32) * np.float32(size / np.float32(wanted))
    first = np.floor(positions).astype(np.intp)
    return np.minimum(first, size - 1), np.minimum(first + 1, size - 1), (positions - first).astype(np.float32)


def _ceil(value: float) -> int:
    return int(-(-value // 1))
