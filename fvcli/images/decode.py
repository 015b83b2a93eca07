"""Bytes to an upright RGB or grey image, no larger than the fit needs.

Pillow and its plugins (``codecs.py``) do the decoding, but for the usual JPEG (``jpeg.py``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import TypeAlias

import numpy as np
from PIL import Image, ImageFile

from fvcli.errors import ImageError
from fvcli.images.budget import DECODED, Budget
from fvcli.images.codecs import CODECS, format_of, open_picture
from fvcli.images.convert import to_eight_bits
from fvcli.images.jpeg import ORIENTATION_TAG, decode_plain, plain_header
from fvcli.records import UInt8Array
from fvcli.sources.formats import SNIFF_BYTES, sniff

#: A progressive JPEG's coefficients: 16 bits each, three components, all in memory at whatever scale it is decoded.
_PROGRESSIVE_BYTES = 6

#: Scans that max_pixels allows for.
_USUAL_SCANS = 20

_TRANSPOSITIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_END_MARKERS = {"JPEG": b"\xff\xd9", "PNG": b"IEND\xaeB`\x82"}
_CUT_WORDS = ("truncated", "buffer overrun", "not enough data")
_CUT = "the file ends in the middle of the image"

#: (width, height) of the upright image -> the smallest (width, height) to decode it at.
Needed: TypeAlias = Callable[[int, int], tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Limits:
    """max_pixels: width x height that a file's header may announce; above it nothing is decoded."""

    max_pixels: int = 200_000_000


DEFAULT_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class _Order:
    """What decode() was asked for."""

    needed: Needed | tuple[int, int]
    exact: bool
    limits: Limits
    budget: Budget


_NOTHING: UInt8Array = np.empty((0, 0), np.uint8)


class DecodedImage:
    """One upright image, perhaps decoded at a fraction of its size, and its share of the budget until it is closed.

    pixels: uint8 RGB [H, W, 3] or grey [H, W].
    region: what of ``pixels`` the picture fills, (left, top, right, bottom): DCT-scaled decoding rounds
        odd sizes up, and the last column or row is then only partly covered.
    width, height: of the upright image at full size, in pixels. format: "JPEG", "PNG", ...
    """

    __slots__ = ("_budget", "_share", "format", "height", "pixels", "region", "width")

    def __init__(
        self,
        pixels: UInt8Array,
        region: tuple[float, float, float, float],
        size: tuple[int, int],
        format: str,
        budget: Budget,
        share: int,
    ) -> None:
        self.pixels = pixels
        self.region = region
        self.width, self.height = size
        self.format = format
        self._budget = budget
        self._share = share

    def close(self) -> None:
        """Give the memory back. More than once is harmless."""
        share, self._share = self._share, 0
        if share:
            self.pixels = _NOTHING
            self._budget.release(share)

    def __enter__(self) -> DecodedImage:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self.close()


def decode(
    data: bytes,
    needed: Needed | tuple[int, int],
    *,
    exact: bool,
    limits: Limits = DEFAULT_LIMITS,
    budget: Budget = DECODED,
) -> DecodedImage:
    """Decode the first picture of ``data``, upright, as 8-bit RGB or grey, alpha over white. Close what it returns.

    needed: the (width, height) that must be covered, or how to tell it from the upright image's own. JPEGs are decoded
        at 1/2, 1/4 or 1/8 (in the DCT domain) where that still covers it, unless ``exact``.
    Waits while other threads' images fill the budget. Raises ImageError (stage "decode") with kind NotAnImage,
    TooManyPixels, Truncated, Corrupt, Unsupported or OutOfMemory.
    """
    try:
        order = _Order(needed, exact, limits, budget)
        return _usual_jpeg(data, order) or _by_pillow(data, order)
    except ImageError:
        raise
    except Exception as error:
        raise _explain(error, data) from None


def _usual_jpeg(data: bytes, order: _Order) -> DecodedImage | None:
    """The usual JPEG without Pillow; None for anything else, and where Pillow shall say what is wrong."""
    header = plain_header(data) if sniff(data[:SNIFF_BYTES]) == "JPEG" else None
    if header is None or data.rfind(_END_MARKERS["JPEG"], header.scan) < 0:
        return None
    size = header.width, header.height
    _check_size(size, order.limits)
    if header.progressive:
        _check_scans(size, data, order.limits)
    scale = 1 if order.exact else _scale(size, order.needed, 1)
    share = _memory("JPEG", size, scale, header.progressive)
    with order.budget.lent(share):
        pixels = decode_plain(data, header, scale)
    if pixels is None:
        order.budget.release(share)
        return None
    return DecodedImage(pixels, (0.0, 0.0, size[0] / scale, size[1] / scale), size, "JPEG", order.budget, share)


def _by_pillow(data: bytes, order: _Order) -> DecodedImage:
    name, picture = _open(data, order.limits)
    start = picture.fp.tell() if picture.fp else 0
    oriented = _orientation(picture) if name in ("JPEG", "WEBP", "AVIF", "JXL") else 1
    size, scale = picture.size, 1
    progressive = bool(picture.info.get("progressive"))
    if name == "JPEG":
        if not order.exact:
            scale = _scale(size, order.needed, oriented)
        if scale > 1:
            picture.draft(None, (size[0] // scale, size[1] // scale))
        if progressive:
            _check_scans(size, data, order.limits)
        picture.decodermaxblock = max(len(data), picture.decodermaxblock)
    share = _memory(name, size, scale, progressive)
    with order.budget.lent(share):
        picture.load()
        if name != "JPEG":
            size = picture.size
            if name == "PNG":  # eXIf may follow the pixels
                oriented = _orientation(picture)
        _require_end(name, data, start)
        region = (0.0, 0.0, size[0] / scale, size[1] / scale)
        image = to_eight_bits(picture)
        if oriented != 1:
            image, region, size = _upright(image, region, size, oriented)
        if image is not picture:
            picture.close()
        pixels = np.asarray(image)
    return DecodedImage(pixels, region, size, name, order.budget, share)


def _open(data: bytes, limits: Limits) -> tuple[str, ImageFile.ImageFile]:
    name = format_of(data)
    if name == "WEBP":
        _check_size(_webp_size(data), limits)  # its decoder allocates the canvas when it is opened
    picture = open_picture(name, data)
    _check_size(picture.size, limits)
    return name, picture


def _check_size(size: tuple[int, int], limits: Limits) -> None:
    if size[0] * size[1] > limits.max_pixels:
        text = f"{size[0]} x {size[1]} pixels, more than the limit of {limits.max_pixels:,} (see --max-pixels)"
        raise ImageError("decode", "TooManyPixels", text)


def _check_scans(size: tuple[int, int], data: bytes, limits: Limits) -> None:
    """A progressive JPEG's every scan goes over all pixels; encoders write about 10, a hostile file thousands."""
    scans = data.count(b"\xff\xda")
    if size[0] * size[1] * scans > _USUAL_SCANS * limits.max_pixels:
        text = f"{size[0]} x {size[1]} pixels in {scans} scans is more work than --max-pixels allows"
        raise ImageError("decode", "TooManyPixels", text)


def _webp_size(data: bytes) -> tuple[int, int]:
    """The canvas of a WebP file by its first chunk (RFC 9649, 2.5 to 2.7); (0, 0) where it cannot be told."""
    kind = data[12:16]
    if kind == b"VP8X":
        return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
    if kind == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 ":
        return int.from_bytes(data[26:28], "little") & 0x3FFF, int.from_bytes(data[28:30], "little") & 0x3FFF
    return 0, 0


def _orientation(picture: ImageFile.ImageFile) -> int:
    """EXIF orientation, 1 to 8. A damaged EXIF block costs no image: it counts as upright."""
    if "exif" not in picture.info and "xmp" not in picture.info and "Raw profile type exif" not in picture.info:
        return 1
    try:
        value = picture.getexif().get(ORIENTATION_TAG, 1)
    except Exception:
        return 1
    return value if value in _TRANSPOSITIONS else 1


def _scale(size: tuple[int, int], needed: Needed | tuple[int, int], oriented: int) -> int:
    """The denominator of the smallest DCT scale at which a JPEG of this (width, height) covers what is needed."""
    width, height = size
    if callable(needed):
        needed = needed(height, width) if oriented >= 5 else needed(width, height)
    if oriented >= 5:
        needed = needed[1], needed[0]
    reduction = min(width // max(needed[0], 1), height // max(needed[1], 1))
    return next((scale for scale in (8, 4, 2) if reduction >= scale), 1)


def _memory(name: str, size: tuple[int, int], scale: int, progressive: bool) -> int:
    """Bytes for a picture of this (width, height), decoded at 1/scale."""
    pixels = size[0] * size[1]
    amount = pixels * CODECS[name].bytes_per_pixel // scale**2
    return max(amount + (pixels * _PROGRESSIVE_BYTES if progressive else 0), 1)


def _require_end(name: str, data: bytes, start: int) -> None:
    """A JPEG or PNG without its end marker was cut, even where the missing part was filled with zeros that decode.

    start: where the first scan begins: a thumbnail before it has an end of its own.
    """
    marker = _END_MARKERS.get(name)
    if marker is not None and data.rfind(marker, start) < 0:
        raise ImageError("decode", "Truncated", _CUT)


def _upright(
    image: Image.Image, region: tuple[float, float, float, float], size: tuple[int, int], oriented: int
) -> tuple[Image.Image, tuple[float, float, float, float], tuple[int, int]]:
    """Turn and mirror as the EXIF orientation says (CIPA DC-008, 4.6.4)."""
    left, top, right, bottom = region
    width, height = image.size
    if oriented in (2, 3, 7, 8):
        left, right = width - right, width - left
    if oriented in (3, 4, 6, 7):
        top, bottom = height - bottom, height - top
    if oriented >= 5:
        left, top, right, bottom = top, left, bottom, right
        size = size[1], size[0]
    return image.transpose(_TRANSPOSITIONS[oriented]), (left, top, right, bottom), size


def _explain(error: Exception, data: bytes) -> ImageError:
    """What a decoder raised, as one of our kinds."""
    text = str(error)
    if isinstance(error, MemoryError):
        return ImageError("decode", "OutOfMemory", "not enough memory to decode it")
    if isinstance(error, EOFError) or any(word in text.lower() for word in _CUT_WORDS) or _announces_more(data):
        return ImageError("decode", "Truncated", _CUT)
    if "pixel mode" in text or "unsupported" in text.lower():
        return ImageError("decode", "Unsupported", f"a kind of image that is not supported: {text}")
    detail = f"{text} ({type(error).__name__})" if text else type(error).__name__
    return ImageError("decode", "Corrupt", f"the image data is damaged: {detail}")


def _announces_more(data: bytes) -> bool:
    """Whether a WebP's or TIFF's header points behind the end of the data."""
    name = sniff(data[:SNIFF_BYTES])
    if name == "WEBP":
        return int.from_bytes(data[4:8], "little") + 8 > len(data)
    if name == "TIFF" and data[2:4] in (b"\x2a\0", b"\0\x2a"):
        return int.from_bytes(data[4:8], "little" if data[:1] == b"I" else "big") >= len(data)
    return False
