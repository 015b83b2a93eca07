"""An image of any size into a model's input: what of it is kept (``--fit``), and the kernels that scale it.

The antialiased kernels of ``--resize`` run on the CPU's vector units (cykooz-resizer, a quarter of Pillow's time; the
same bytes with and without vector instructions; both passes rounded to whole levels). Where that library has no build,
Pillow's own do: the same kernels, except for the ends of their tails, which Pillow omits, so that results differ by a
level here and there with ``bilinear`` and by more at sharp edges with the others.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fvcli.images.memory import DecodedImage
from fvcli.records import Float32Array, InputSpec, Preprocessing, Resize, UInt8Array

try:
    import cykooz_resizer as vectors
except ImportError:  # no build for this machine, as for Linux on ARM
    vectors = None

#: left, top, right, bottom, in pixels.
Box: TypeAlias = tuple[float, float, float, float]

#: Sides that are averaged down before they are scaled, and how many times the wanted size is left of them.
_LONG_SIDE, _ENOUGH = 32_768, 32

#: Names of the kernels in Pillow and in cykooz-resizer. Each is widened by the reduction, so that no pixel is skipped.
_KERNELS = {
    "area": ("BOX", "box"),
    "bilinear": ("BILINEAR", "bilinear"),
    "bicubic": ("BICUBIC", "catmull_rom"),
    "lanczos": ("LANCZOS", "lanczos3"),
}


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


def scaled_by_pillow() -> bool:
    """Whether this machine has no build of cykooz-resizer."""
    return vectors is None


def resizer(kernel: Resize) -> str:
    """The library that scales images with this kernel, as a recipe names it. ``tf1-bilinear`` is fvcli's own."""
    if kernel == "tf1-bilinear":
        return "numpy"
    return "pillow" if scaled_by_pillow() else "cykooz-resizer"


def scale(pixels: UInt8Array, box: Box, resize: Resize, out: UInt8Array) -> None:
    """Scale ``box`` of ``pixels``, uint8 [H, W, 3] or gray [H, W], to fill ``out``, uint8 [h, w, 3].

    The edges of ``box`` need not be whole, except for ``tf1-bilinear``, which rounds them.
    """
    height, width, _ = out.shape
    box = max(box[0], 0.0), max(box[1], 0.0), min(box[2], pixels.shape[1]), min(box[3], pixels.shape[0])
    pixels, box = _shortened(pixels, box, width, height)
    if resize == "tf1-bilinear":
        left, top, right, bottom = (round(edge) for edge in box)
        part = pixels[top : max(bottom, top + 1), left : max(right, left + 1)]
        scaled = np.rint(tf1_bilinear(part, height, width)).astype(np.uint8)
    elif scaled_by_pillow():
        scaled = with_pillow(pixels, box, resize, (width, height))
    else:
        scaled = with_vectors(pixels, box, resize, (width, height))
    out[:] = scaled if scaled.ndim == 3 else scaled[:, :, None]


def _shortened(pixels: UInt8Array, box: Box, width: int, height: int) -> tuple[UInt8Array, Box]:
    """``pixels`` and ``box`` with very long sides averaged down, to no less than _ENOUGH times what is wanted.

    The resizers hold weights for each pixel of a side, and a strip as long as it at the wanted width.
    """
    left, top, right, bottom = box
    across = int((right - left) / (width * _ENOUGH)) if pixels.shape[1] > _LONG_SIDE else 1
    down = int((bottom - top) / (height * _ENOUGH)) if pixels.shape[0] > _LONG_SIDE else 1
    if across > 1:
        pixels, left, right = averaged(pixels, across), left / across, right / across
    if down > 1:
        swapped = averaged(np.ascontiguousarray(pixels.swapaxes(0, 1)), down)
        pixels, top, bottom = swapped.swapaxes(0, 1), top / down, bottom / down
    return pixels, (left, top, right, bottom)


def averaged(pixels: UInt8Array, count: int) -> UInt8Array:
    """Every ``count`` pixels of each row as their mean, rounded; the last ones of a row as the mean of what is left."""
    starts = np.arange(0, pixels.shape[1], count)
    counts = np.diff(np.append(starts, pixels.shape[1])).astype(np.uint32)
    result = np.empty((pixels.shape[0], len(starts), *pixels.shape[2:]), np.uint8)
    shares = counts.reshape(-1, *(1,) * (pixels.ndim - 2))
    for source, target in zip(pixels, result, strict=True):
        target[:] = (np.add.reduceat(source, starts, axis=0, dtype=np.uint32) + shares // 2) // shares
    return result


def with_vectors(pixels: UInt8Array, box: Box, resize: Resize, size: tuple[int, int]) -> UInt8Array:
    """``box`` at ``size`` (width, height), with the dimensions of ``pixels``, by cykooz-resizer."""
    height, width = pixels.shape[:2]
    kind = vectors.PixelType.U8x3 if pixels.ndim == 3 else vectors.PixelType.U8
    result = vectors.ImageData(*size, kind)
    vectors.Resizer().resize(vectors.ImageData(width, height, kind, pixels.tobytes()), result, _options(resize, box))
    return np.frombuffer(result.get_buffer(), np.uint8).reshape(size[1], size[0], *pixels.shape[2:])


@lru_cache(maxsize=256)
def _options(resize: Resize, box: Box) -> Any:
    """The kernel and the rectangle for cykooz-resizer. Kept, since most pictures of a folder share a few."""
    return vectors.ResizeOptions(
        resize_alg=vectors.ResizeAlg.convolution(vectors.FilterType[_KERNELS[resize][1]]),
        crop_box=vectors.CropBox(box[0], box[1], box[2] - box[0], box[3] - box[1]),
        use_alpha=False,
    )


def with_pillow(pixels: UInt8Array, box: Box, resize: Resize, size: tuple[int, int]) -> UInt8Array:
    """Scales by Pillow; arguments as for the vector units."""
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling[_KERNELS[resize][0]], box))


def tf1_bilinear(pixels: UInt8Array, height: int, width: int) -> Float32Array:
    """``tf.compat.v1.image.resize_bilinear(pixels, [height, width])`` of uint8 [H, W, C] or [H, W], as float32.

    Legacy sampling (align_corners and half_pixel_centers both False): output i lies at i * H / height, computed in
    float32 as TensorFlow's kernel does, between its two neighbors; nothing is averaged, so pixels are skipped when
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
