"""The memory of decoding: what a picture takes by its header, the budget of all threads, and images that hold a share.

The limits are checked, and the memory estimated, before anything is decoded.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import TypeAlias

import numpy as np

from fvcli.errors import ImageError
from fvcli.images.codecs import CODECS
from fvcli.images.jpeg_header import JpegHeader
from fvcli.records import UInt8Array

#: (width, height) of the upright image -> the smallest (width, height) to decode it at.
Needed: TypeAlias = Callable[[int, int], tuple[int, int]]
Size: TypeAlias = tuple[int, int]
#: left, top, right, bottom, in pixels.
Region: TypeAlias = tuple[float, float, float, float]

#: A JPEG's block of coefficients: 64 of 16 bits, all in memory at whatever scale a progressive one is decoded.
_BLOCK_BYTES = 128
#: Decoders take several rows of memory at least, whatever the height.
_LONGEST_SIDE = 10_000_000
#: Scans that max_pixels allows for.
_USUAL_SCANS = 20
#: Pixels, counted once for each scan, that are decoded within a worker; more takes a process with a time limit.
LIGHT_PIXELS = 32_000_000
_NOTHING: UInt8Array = np.empty((0, 0), np.uint8)


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


class Budget:
    """Bytes shared by all threads, given out in the order they were asked for.

    A request larger than the whole budget is served alone, when nothing else is out, so it cannot wait forever; and
    nobody may overtake it, so a stream of small ones cannot starve it. Each thread holds at most one share, which
    rules out a deadlock.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._used = 0
        self._queue: deque[object] = deque()
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)

    @property
    def used(self) -> int:
        """Bytes that are out now."""
        return self._used

    def acquire(self, amount: int) -> None:
        """Wait until ``amount`` bytes are free or nothing else is out."""
        with self._lock:
            if self._queue or not self._fits(amount):
                ticket = object()
                self._queue.append(ticket)
                try:
                    while self._queue[0] is not ticket or not self._fits(amount):
                        self._changed.wait()
                finally:
                    self._queue.remove(ticket)
                    self._changed.notify_all()
            self._used += amount

    def release(self, amount: int) -> None:
        """Give ``amount`` bytes back."""
        with self._lock:
            self._used -= amount
            if self._queue:
                self._changed.notify_all()

    @contextmanager
    def lent(self, amount: int) -> Iterator[None]:
        """Acquire ``amount`` bytes, which the block keeps if it succeeds: the owner of its result releases them."""
        self.acquire(amount)
        try:
            yield
        except BaseException:
            self.release(amount)
            raise

    @contextmanager
    def held(self, amount: int) -> Iterator[None]:
        """Acquire ``amount`` bytes for the block."""
        with self.lent(amount):
            yield
        self.release(amount)

    def _fits(self, amount: int) -> bool:
        return not self._used or self._used + amount <= self._limit


#: 512 MiB: ten 12-megapixel photographs decoded in full.
DECODED_BYTES = 512 * 1024**2
#: The one budget of this process.
DECODED = Budget(DECODED_BYTES)


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
