"""The limits that a file's header is held against, and what decoding a picture takes, before anything is decoded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from fvcli.errors import ImageError
from fvcli.images.codecs import CODECS
from fvcli.images.jpeg_header import JpegHeader

#: (width, height) of the upright image -> the smallest (width, height) to decode it at.
Needed: TypeAlias = Callable[[int, int], tuple[int, int]]
Size: TypeAlias = tuple[int, int]

#: A JPEG's block of coefficients: 64 of 16 bits, all in memory at whatever scale a progressive one is decoded.
_BLOCK_BYTES = 128
#: Decoders take several rows of memory at least, whatever the height.
_LONGEST_SIDE = 10_000_000
#: Scans that max_pixels allows for.
_USUAL_SCANS = 20
#: Pixels, counted once for each scan, that are decoded within a worker; more takes a process with a time limit.
LIGHT_PIXELS = 32_000_000


class HeavyImageError(Exception):
    """The image is to be decoded in a process of its own. memory: bytes that it takes there."""

    def __init__(self, memory: int) -> None:
        super().__init__(memory)
        self.memory = memory


@dataclass(frozen=True, slots=True)
class Limits:
    """max_pixels: width x height that a file's header may announce; above it nothing is decoded."""

    max_pixels: int = 200_000_000


DEFAULT_LIMITS = Limits()


def check_size(size: Size, limits: Limits) -> None:
    """Raise ImageError with kind TooManyPixels above ``limits``, and for a side that no picture has."""
    if size[0] * size[1] > limits.max_pixels:
        text = f"{size[0]} x {size[1]} pixels, more than the limit of {limits.max_pixels:,} (see --max-pixels)"
        raise ImageError("decode", "TooManyPixels", text)
    if max(size) > _LONGEST_SIDE:
        text = f"{size[0]} x {size[1]} pixels; a side may have {_LONGEST_SIDE:,}"
        raise ImageError("decode", "TooManyPixels", text)


def check_scans(size: Size, scans: int, limits: Limits) -> None:
    """Every scan goes over all pixels; encoders write about 10, a hostile file thousands."""
    if scans > 1 and size[0] * size[1] * scans > _USUAL_SCANS * limits.max_pixels:
        text = f"{size[0]} x {size[1]} pixels in {scans} scans is more work than --max-pixels allows"
        raise ImageError("decode", "TooManyPixels", text)


def is_heavy(name: str, size: Size, passes: int = 1) -> bool:
    """Whether an image of this format and (width, height) is to be decoded in a process of its own."""
    return not CODECS[name].common or size[0] * size[1] * passes > LIGHT_PIXELS


def memory_of(name: str, size: Size, scale: int = 1) -> int:
    """Bytes that decoding and scaling a picture of this (width, height) takes at 1/scale."""
    return max(size[0] * size[1] * CODECS[name].bytes_per_pixel // scale**2, 1)


def coefficients_of(header: JpegHeader) -> int:
    """Bytes of the coefficients that a JPEG keeps until its last scan."""
    return header.frame.blocks * _BLOCK_BYTES if header.buffered else 0


def needed_of(size: Size, needed: Needed | Size, oriented: int) -> Size:
    """The (width, height) that a picture of ``size``, as it is stored, has to be decoded at."""
    if callable(needed):
        needed = needed(size[1], size[0]) if oriented >= 5 else needed(*size)
    width, height = (needed[1], needed[0]) if oriented >= 5 else needed
    return max(width, 1), max(height, 1)


def dct_scale(size: Size, needed: Needed | Size, oriented: int) -> int:
    """The denominator of the smallest DCT scale at which a JPEG of this (width, height) covers what is needed."""
    wanted = needed_of(size, needed, oriented)
    reduction = min(size[0] / wanted[0], size[1] / wanted[1])
    for scale in (8, 4, 2):
        if reduction >= scale:
            return scale
    return 1


def announced_size(name: str, data: bytes) -> Size:
    """(width, height) of a format that takes memory as soon as it is opened (WebP, JPEG XL); (0, 0) for others."""
    if name == "WEBP":
        return _webp_size(data)
    return _jxl_size(data) if name == "JXL" else (0, 0)


def _webp_size(data: bytes) -> Size:
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


def _jxl_size(data: bytes) -> Size:
    """The size that a JPEG XL codestream begins with (ISO 18181-1, annex D), within a container or not."""
    start = 0 if data.startswith(b"\xff\x0a") else data.find(b"\xff\x0a", 0, 1 << 16)
    if start < 0:
        return 0, 0
    bits = int.from_bytes(data[start + 2 : start + 14].ljust(12, b"\0"), "little")

    def take(count: int) -> int:
        nonlocal bits
        value = bits & (1 << count) - 1
        bits >>= count
        return value

    small = take(1)

    def side() -> int:
        return (take(5) + 1) * 8 if small else take((9, 13, 18, 30)[take(2)]) + 1

    height = side()
    ratio = take(3)
    across, down = ((0, 0), (1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))[ratio]
    return (height * across // down if ratio else side()), height
