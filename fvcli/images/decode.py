"""Bytes to an upright RGB or gray image, no larger than the fit needs.

Pillow and its plugins (``codecs.py``) do the decoding, except for ordinary JPEGs (``jpeg.py``) and unusual TIFFs
(``tiff.py``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageFile

from fvcli.errors import ImageError
from fvcli.images import isobmff, jpeg, jpeg_header, tiff
from fvcli.images.codecs import explain, guess, open_picture
from fvcli.images.convert import LowBytes, over_white, reduced, to_eight_bits
from fvcli.images.jpeg import CUT
from fvcli.images.jpeg_header import JpegHeader
from fvcli.images.memory import (
    DECODED,
    DEFAULT_LIMITS,
    LIGHT_PIXELS,
    Budget,
    DecodedImage,
    HeavyImageError,
    Limits,
    Needed,
    Size,
    announced_size,
    check_scans,
    check_size,
    coefficients_of,
    dct_scale,
    is_heavy,
    memory_of,
    needed_of,
)
from fvcli.images.metadata import check_chunks, check_png, orientation_of, upright, without_metadata
from fvcli.images.tiff import TiffHeader
from fvcli.records import UInt8Array
from fvcli.sources.formats import BY_NAME, SNIFF_BYTES, sniff

_ORIENTED = frozenset(["JPEG", "WEBP", "AVIF", "JXL"])
#: A very large picture is averaged down to so many times what is needed.
_ENOUGH = 8
#: Raw modes of Pillow for 16-bit color, which it reads the high bytes of, and the ones that read the low bytes.
_LOW_BYTE_MODES = {
    "RGB;16B": "RGB;16L",
    "RGB;16L": "RGB;16B",
    "RGB;16N": "RGB;16B",
    "RGBA;16B": "RGBA;16L",
    "RGBA;16L": "RGBA;16B",
    "RGBA;16N": "RGBA;16B",
}


@dataclass(frozen=True, slots=True)
class _Order:
    """The arguments of decode()."""

    needed: Needed | Size
    exact: bool
    limits: Limits
    budget: Budget
    light: bool

    def admit(self, name: str, size: Size, memory: int, passes: int = 1) -> None:
        """Raise HeavyImageError for an image that is not for this process."""
        if self.light and is_heavy(name, size, passes):
            raise HeavyImageError(memory)

    def scale(self, size: Size, oriented: int) -> int:
        """The denominator of the DCT scale."""
        return 1 if self.exact else dct_scale(size, self.needed, oriented)

    def reduction(self, size: Size, oriented: int) -> Size:
        """The numbers of columns and rows of a very large picture that are averaged to one before anything else."""
        if size[0] * size[1] <= LIGHT_PIXELS:
            return 1, 1
        needed = needed_of(size, self.needed, oriented)
        return max(1, size[0] // (needed[0] * _ENOUGH)), max(1, size[1] // (needed[1] * _ENOUGH))


def decode(
    data: bytes,
    needed: Needed | Size,
    *,
    exact: bool,
    limits: Limits = DEFAULT_LIMITS,
    budget: Budget = DECODED,
    light: bool = False,
) -> DecodedImage:
    """Decode the first picture of ``data``, upright, as 8-bit RGB or gray, alpha over white. Close what it returns.

    needed: the (width, height) that must be covered, or how to tell it from the upright image's own. JPEGs are decoded
        at 1/2, 1/4 or 1/8 (in the DCT domain) where that still covers it, unless ``exact``.
    light: raise HeavyImageError for a large image and for one in a format that is decoded in a process of its own.
    Waits while other threads' images fill the budget. Raises ImageError (stage "decode") with kind NotAnImage,
    TooManyPixels, Truncated, Corrupt, Unsupported or OutOfMemory.
    """
    try:
        name = _format_of(data)
        order = _Order(needed, exact, limits, budget, light)
        decoded = _READERS.get(name, _any)(name, data, order)
        if decoded.pixels.size == 0:
            decoded.close()
            raise ImageError("decode", "Corrupt", "the image data is damaged: the picture has no pixels")
        return decoded
    except (ImageError, HeavyImageError):
        raise
    except Exception as error:
        raise explain(error, data) from None


def _jpeg(name: str, data: bytes, order: _Order) -> DecodedImage:
    header = jpeg_header.read_header(data)
    if header is None and jpeg_header.ends_in_header(data):
        raise ImageError("decode", "Truncated", CUT)
    if header is None:
        jpeg_header.check_segments(data)
        return _any(name, data, order)
    frame = header.frame
    if frame.unsupported:
        text = f"a {frame.unsupported} is not supported; save it as an 8-bit JPEG or PNG first"
        raise ImageError("decode", "Unsupported", text)
    size = frame.size
    check_size(size, order.limits)
    passes = jpeg.count_scans(data, header)
    check_scans(size, passes, order.limits)
    whole = jpeg.closed(data, header)
    scale = 1 if frame.lossless else order.scale(size, header.orientation or 1)
    share = memory_of(name, size, scale) + coefficients_of(header)
    order.admit(name, size, share, passes)
    if jpeg.has_fast_path(header):
        order.budget.acquire(share)
        image = None
        try:
            pixels = jpeg.decode_fast(whole, header, scale)
            image = None if pixels is None else _turned(pixels, header, scale, order.budget, share)
        finally:
            if image is None:
                order.budget.release(share)
        if image is not None:
            return image
        warned = True
    else:
        with order.budget.held(share):
            warned = jpeg.check_end(whole, header)
    if warned and whole is not data:
        raise ImageError("decode", "Truncated", CUT)
    return _forgiving(name, whole, order, header)


def _turned(pixels: UInt8Array, header: JpegHeader, scale: int, budget: Budget, share: int) -> DecodedImage:
    size = header.frame.size
    region = (0.0, 0.0, size[0] / scale, size[1] / scale)
    if header.orientation not in (None, 1):
        image, region, size = upright(Image.fromarray(pixels), region, size, header.orientation or 1)
        pixels = np.asarray(image)
    return DecodedImage(pixels, region, size, "JPEG", budget, share)


def _png(name: str, data: bytes, order: _Order) -> DecodedImage:
    check_chunks(data)
    return _forgiving(name, data, order, None)


def _tiff(name: str, data: bytes, order: _Order) -> DecodedImage:
    header = tiff.read_header(data)
    if header is None:
        return _any(name, data, order)
    tiff.check(header)
    check_size(header.size, order.limits)
    check_size(header.block, order.limits)
    if header.read_by_pillow:
        return _forgiving(name, data, order, header)
    pixels = max(header.size[0] * header.size[1], header.block[0] * header.block[1])
    share = memory_of(name, header.size) + 3 * pixels * header.bytes_per_pixel
    if order.light:
        raise HeavyImageError(share)
    with order.budget.lent(share):
        values, alpha = tiff.decode_unusual(data, header)
        image = Image.fromarray(values)
        if alpha is not None:
            image = image.convert("RGBA")
            image.putalpha(Image.fromarray(alpha))
            image = over_white(image)
        region = (0.0, 0.0, float(image.width), float(image.height))
        image, region, size = upright(image, region, image.size, header.orientation)
        return DecodedImage(np.asarray(image), region, size, name, order.budget, share)


def _avif(name: str, data: bytes, order: _Order) -> DecodedImage:
    header = isobmff.read_header(data)
    frames = header.frames if header is not None else None
    for size in frames or ():
        check_size(size, order.limits)
    if frames is None and order.light:  # what it takes is not known before it is decoded
        raise HeavyImageError(memory_of(name, header.size if header is not None else (0, 0)) or 1)
    return _forgiving(name, data, order, header)


def _any(name: str, data: bytes, order: _Order) -> DecodedImage:
    return _forgiving(name, data, order, None)


_READERS = {"JPEG": _jpeg, "PNG": _png, "TIFF": _tiff, "AVIF": _avif}
Header = JpegHeader | TiffHeader | isobmff.AvifHeader | None


def _forgiving(name: str, data: bytes, order: _Order, header: Header) -> DecodedImage:
    """By Pillow, and once more without metadata, and at full scale, where that fails."""
    try:
        return _by_pillow(name, data, order, header)
    except (ImageError, HeavyImageError, MemoryError):
        raise
    except Exception:
        bare = without_metadata(name, data)
        whole = _Order(order.needed, True, order.limits, order.budget, order.light)
        if bare is None:
            if name != "JPEG" or order.exact:
                raise
            bare = data
    return _by_pillow(name, bare, whole, header)


def _by_pillow(name: str, data: bytes, order: _Order, header: Header) -> DecodedImage:
    announced = announced_size(name, data)  # of formats whose decoder takes memory when it is opened
    check_size(announced, order.limits)
    if announced != (0, 0):
        order.admit(name, announced, memory_of(name, announced))
    picture = open_picture(name, data)
    check_size(picture.size, order.limits)
    oriented = orientation_of(picture) if name in _ORIENTED else 1
    size, scale = picture.size, 1
    if isinstance(header, JpegHeader):
        scale = 1 if header.frame.lossless else order.scale(size, oriented)
        picture.decodermaxblock = max(len(data), picture.decodermaxblock)
        if scale > 1:
            picture.draft(None, (size[0] // scale, size[1] // scale))
    share = _share(name, picture, scale, header)
    order.admit(name, size, share)
    with order.budget.lent(share):
        low_bytes = _low_bytes(name, data, picture)
        picture.load()
        if name == "PNG":  # eXIf may follow the pixels
            check_png(data, picture)
            oriented = orientation_of(picture)
        if name != "JPEG":
            size = picture.size
        shown: Image.Image = picture
        if isinstance(header, isobmff.AvifHeader) and header.crop is not None and header.size == size:
            shown = picture.crop(header.crop)
            size = shown.size
        across, down = order.reduction(size, oriented) if scale == 1 and low_bytes is None else (1, 1)
        region = (0.0, 0.0, size[0] / scale / across, size[1] / scale / down)
        image = reduced(shown, across, down) if across * down > 1 else to_eight_bits(shown, low_bytes)
        image, region, size = upright(image, region, size, oriented)
        if image is not picture:
            picture.close()
        pixels = np.asarray(image)
    return DecodedImage(pixels, region, size, name, order.budget, share)


def _share(name: str, picture: ImageFile.ImageFile, scale: int, header: Header) -> int:
    """Bytes for what is about to be loaded."""
    size = picture.size if scale == 1 else (picture.size[0] * scale, picture.size[1] * scale)
    share = memory_of(name, size, scale)
    if isinstance(header, JpegHeader):
        return share + coefficients_of(header)
    if isinstance(header, TiffHeader):
        return share + header.block[0] * header.block[1] * header.bytes_per_pixel
    if isinstance(header, isobmff.AvifHeader) and header.frames:
        return max(share, *(memory_of(name, frame) for frame in header.frames))
    return share


def _raw_mode(arguments: str | tuple[Any, ...] | None) -> str:
    """The raw mode among the arguments of one of Pillow's decoders."""
    return arguments if isinstance(arguments, str) else str((arguments or ("",))[0])


def _low_bytes(name: str, data: bytes, picture: ImageFile.ImageFile) -> LowBytes | None:
    """The way to read the low bytes of 16-bit color; None for any other picture."""
    modes = [_raw_mode(tile.args) for tile in picture.tile]
    if not modes or any(mode not in _LOW_BYTE_MODES for mode in modes):
        return None

    def read() -> Image.Image:
        again = open_picture(name, data)
        tiles = []
        for tile in again.tile:
            other = _LOW_BYTE_MODES[_raw_mode(tile.args)]
            tiles.append(tile._replace(args=other if isinstance(tile.args, str) else (other, *(tile.args or ())[1:])))
        again.tile = tiles
        again.load()
        return again

    return read


def _format_of(data: bytes) -> str:
    """The name of the format of ``data``, a key of codecs.CODECS; those without first bytes of their own come last.

    Raises ImageError with kind NotAnImage, and Unsupported for a format that this installation does not read.
    """
    name = sniff(data[:SNIFF_BYTES]) or guess(data)
    if name is None:
        raise ImageError("decode", "NotAnImage", "not an image in any format that fvcli reads")
    known = BY_NAME[name]
    if not known.available:
        raise ImageError("decode", "Unsupported", f"{name} files are not read here: {known.remedy}")
    return name
