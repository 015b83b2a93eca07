"""TIFFs: what kind a file is, which kinds Pillow reads with the right values, and the others by tifffile.

TIFF 6.0, section 2, and the BigTIFF proposal: the first directory of a file.
"""

from __future__ import annotations

import io
import logging
import struct
from dataclasses import dataclass

import numpy as np

from fvcli.errors import ImageError
from fvcli.images.convert import Values, to_bytes, value_range
from fvcli.images.jpeg import CUT
from fvcli.records import UInt8Array
from fvcli.sources.formats import BY_NAME

_TYPES = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 13: "I", 16: "Q", 18: "Q"}
_SUBFILE, _WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 254, 256, 257, 258, 259, 262
_STRIP_OFFSETS, _ORIENTATION, _SAMPLES, _ROWS, _STRIP_SIZES, _PLANAR = 273, 274, 277, 278, 279, 284
_PREDICTOR, _TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS, _TILE_SIZES = 317, 322, 323, 324, 325
_SUBFILES, _EXTRA, _SAMPLE_FORMAT, _SUBSAMPLING, _DNG_VERSION = 330, 338, 339, 530, 50706
_MOST_VALUES = 1 << 20

_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _YCBCR, _CFA, _LINEAR_RAW = 0, 1, 2, 3, 6, 32803, 34892
_UNSIGNED, _SIGNED, _FLOAT = 1, 2, 3
_UNCOMPRESSED = 1
#: Compressions that Pillow's libtiff decodes.
_LIBTIFF = frozenset([1, 2, 3, 4, 5, 6, 7, 8, 32771, 32773, 32946, 34925, 50000])
_COMPRESSIONS = {
    34661: "JBIG", 33003: "JPEG 2000", 33004: "JPEG 2000", 33005: "JPEG 2000", 34712: "JPEG 2000", 22610: "JPEG XR",
    34934: "JPEG XR", 34887: "LERC", 34676: "SGI LogLuv", 34677: "SGI LogLuv", 50001: "WebP", 34927: "WebP",
    50002: "JPEG XL", 52546: "JPEG XL", 32809: "ThunderScan", 32766: "NeXT", 34892: "lossy JPEG", 65000: "Kodak",
}  # fmt: skip
_RAW_COMPRESSIONS = frozenset([32767, 32769, 32770, 34713, 65000, 65535])


@dataclass(frozen=True, slots=True)
class TiffHeader:
    """The first directory of a TIFF: the integer values of its tags, by number."""

    big_endian: bool
    big: bool
    tags: dict[int, tuple[int, ...]]

    def value(self, tag: int, default: int) -> int:
        """The first value of ``tag``."""
        values = self.tags.get(tag)
        return values[0] if values else default

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) as stored."""
        return self.value(_WIDTH, 0), self.value(_HEIGHT, 0)

    @property
    def orientation(self) -> int:
        return self.value(_ORIENTATION, 1)

    @property
    def samples(self) -> int:
        return self.value(_SAMPLES, 1)

    @property
    def block(self) -> tuple[int, int]:
        """(width, height) of a tile or strip, in pixels; it is decoded whole even where the picture is smaller."""
        width, height = self.size
        if _TILE_WIDTH in self.tags:
            return self.value(_TILE_WIDTH, 0), self.value(_TILE_HEIGHT, 0)
        return width, min(self.value(_ROWS, height), height)

    @property
    def bytes_per_pixel(self) -> int:
        return max(1, self.samples * self.value(_BITS, 1) // 8)

    @property
    def raw(self) -> bool:
        """Whether the file is a camera's raw file, whose first picture is a preview at best."""
        compression, photometric = self.value(_COMPRESSION, 1), self.value(_PHOTOMETRIC, -1)
        preview = self.value(_SUBFILE, 0) & 1 and _SUBFILES in self.tags
        return bool(
            _DNG_VERSION in self.tags
            or compression in _RAW_COMPRESSIONS
            or photometric in (_CFA, _LINEAR_RAW)
            or preview
        )

    @property
    def read_by_pillow(self) -> bool:
        """Whether Pillow reads this kind with the right values."""
        bits, kinds = set(self.tags.get(_BITS, (1,))), set(self.tags.get(_SAMPLE_FORMAT, (_UNSIGNED,)))
        compression, samples = self.value(_COMPRESSION, 1), self.samples
        planar = self.value(_PLANAR, 1) == 2 and samples > 1
        swapped = self.big_endian and compression != _UNCOMPRESSED
        if compression not in _LIBTIFF or (self.big and self.big_endian) or len(bits) > 1 or len(kinds) > 1:
            return False
        if self.value(_PHOTOMETRIC, 1) == _YCBCR and compression == _UNCOMPRESSED and samples == 3:
            return not planar and self.tags.get(_SUBSAMPLING) == (1, 1)
        depth, kind = bits.pop(), kinds.pop()
        if kind in (_UNSIGNED, 4) and depth <= 8:
            return not (planar and samples not in (3, 4)) and not (depth < 8 and samples > 1)
        if kind == _UNSIGNED and depth in (12, 16):
            if samples == 1:
                return self.value(_PHOTOMETRIC, 1) in (_WHITE_IS_ZERO, _BLACK_IS_ZERO)
            return samples in (3, 4) and depth == 16 and not (planar and compression == _UNCOMPRESSED)
        return samples == 1 and not swapped and (kind, depth) in ((_SIGNED, 16), (_SIGNED, 32), (_FLOAT, 32))

    def describe(self) -> str:
        """The kind of file in a few words, for a message."""
        compression = self.value(_COMPRESSION, 1)
        if compression not in _LIBTIFF:
            return f"{_COMPRESSIONS.get(compression, f'number {compression}')} compression"
        kind = {_SIGNED: "signed", _FLOAT: "float"}.get(self.value(_SAMPLE_FORMAT, 1), "unsigned")
        order = ", big-endian" if self.big_endian else ""
        return f"{self.samples} x {self.value(_BITS, 1)} bits, {kind}{order}"


def read_header(data: bytes) -> TiffHeader | None:
    """The first directory of ``data``; None where it is damaged or lies behind the end of the data."""
    order = "<" if data[:2] == b"II" else ">"
    big = data[2:4] in (b"\x2b\0", b"\0\x2b")
    try:
        if big:
            (start,) = struct.unpack_from(f"{order}Q", data, 8)
            (count,) = struct.unpack_from(f"{order}Q", data, start)
            return TiffHeader(order == ">", True, _entries(data, start + 8, min(count, 4096), order, "HHQ", 8))
        (start,) = struct.unpack_from(f"{order}I", data, 4)
        (count,) = struct.unpack_from(f"{order}H", data, start)
        return TiffHeader(order == ">", False, _entries(data, start + 2, count, order, "HHI", 4))
    except struct.error:
        return None


def _entries(data: bytes, start: int, count: int, order: str, entry: str, width: int) -> dict[int, tuple[int, ...]]:
    length = struct.calcsize(f"{order}{entry}")
    tags: dict[int, tuple[int, ...]] = {}
    for index in range(count):
        at = start + index * (length + width)
        tag, kind, number = struct.unpack_from(f"{order}{entry}", data, at)
        code = _TYPES.get(kind)
        if code is None or not 0 < number <= _MOST_VALUES:
            continue
        values, where = f"{order}{number}{code}", at + length
        if struct.calcsize(values) > width:
            (where,) = struct.unpack_from(f"{order}{'Q' if width == 8 else 'I'}", data, where)
        try:
            tags[tag] = struct.unpack_from(values, data, where)
        except struct.error:
            continue
    return tags


def check(header: TiffHeader) -> None:
    """Raise ImageError with kind Unsupported for a camera's raw file."""
    if header.raw:
        raise ImageError("decode", "Unsupported", f"a camera's raw file: {BY_NAME['RAW'].remedy}")


def decode_unusual(data: bytes, header: TiffHeader) -> tuple[UInt8Array, UInt8Array | None]:
    """The first page by tifffile: uint8 RGB [H, W, 3] or gray [H, W], and its alpha [H, W] if it has one.

    Raises ImageError with kind Unsupported where the extra is missing, and for kinds that say not what they show.
    """
    try:
        import imagecodecs  # noqa: F401 (what tifffile decodes with)
        import tifffile
    except ImportError:
        text = f"an unusual TIFF ({header.describe()}): install fvcli with its extra: pip install 'fvcli[tiff]'"
        raise ImageError("decode", "Unsupported", text) from None
    _check_blocks(data, header)
    logging.getLogger("tifffile").addHandler(logging.NullHandler())
    logging.getLogger("tifffile").propagate = False
    try:
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            values: Values = file.pages[0].asarray(maxworkers=1)
    except (MemoryError, ImageError):
        raise
    except Exception as error:
        text = f"an unusual TIFF ({header.describe()}) that tifffile does not decode: {error}"
        kind = "Corrupt" if header.value(_COMPRESSION, 1) in _LIBTIFF else "Unsupported"
        raise ImageError("decode", kind, text) from None
    return _colors(values, header)


def _check_blocks(data: bytes, header: TiffHeader) -> None:
    """Raise ImageError with kind Truncated where a strip or tile lies behind the end of the data."""
    offsets = header.tags.get(_TILE_OFFSETS, header.tags.get(_STRIP_OFFSETS, ()))
    sizes = header.tags.get(_TILE_SIZES, header.tags.get(_STRIP_SIZES, ()))
    if any(offset + size > len(data) for offset, size in zip(offsets, sizes, strict=False)):
        raise ImageError("decode", "Truncated", CUT)


def _colors(values: Values, header: TiffHeader) -> tuple[UInt8Array, UInt8Array | None]:
    samples, photometric = header.samples, header.value(_PHOTOMETRIC, 1)
    width, height = header.size
    if samples > 1 and header.value(_PLANAR, 1) == 2:
        values = np.moveaxis(values.reshape(samples, height, width), 0, -1)
    else:
        values = values.reshape(height, width, samples) if samples > 1 else values.reshape(height, width)
    colors = 3 if photometric == _RGB else 1
    alpha = None
    if samples > colors and header.value(_EXTRA, 0) in (1, 2):
        alpha = _opacity(values[:, :, colors])
    known = photometric in (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB) and values.dtype.kind in "uif"
    if not known or samples < colors or (samples > 2 and colors == 1):
        text = f"a TIFF with {samples} samples per pixel of photometric kind {photometric} is not supported"
        raise ImageError("decode", "Unsupported", f"{text}; convert it to RGB first")
    shown = values[:, :, :3] if colors == 3 else values[:, :, 0] if samples > 1 else values
    if shown.dtype == np.uint8:
        low, high = 0.0, 255.0
    elif shown.dtype == np.int8:
        low, high = -128.0, 127.0
    else:
        low, high = value_range(shown)
    if photometric == _WHITE_IS_ZERO:
        low, high = high, low
    return to_bytes(shown, low, high), alpha


def _opacity(values: Values) -> UInt8Array:
    """Alpha as uint8: whole numbers by their type's range, floats by [0, 1]."""
    if values.dtype.kind == "f":
        return to_bytes(values, 0.0, 1.0)
    limits = np.iinfo(values.dtype)
    return to_bytes(values, max(0.0, float(limits.min)), float(limits.max))
