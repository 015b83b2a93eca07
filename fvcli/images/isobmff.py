"""The header of an AVIF: the cropping of its primary image, and the sizes of the frames that it is coded in.

ISO 14496-12 (boxes), ISO 23008-12 (items and their properties), AV1 Bitstream and Decoding Process, section 5.5.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

#: left, top, right, bottom, in pixels.
Crop = tuple[int, int, int, int]
_MOST_ITEMS = 4096


@dataclass(frozen=True, slots=True)
class AvifHeader:
    """size: the primary image's as announced, (width, height), (0, 0) if unknown. crop: clean aperture, if any.

    frames: the size of each coded frame; None where they cannot all be told (a sequence, unusual structure).
    """

    size: tuple[int, int]
    crop: Crop | None
    frames: tuple[tuple[int, int], ...] | None


def read_header(data: bytes) -> AvifHeader | None:
    """The header of ``data``; None where its structure is damaged or unknown."""
    try:
        return _read(data)
    except (struct.error, IndexError, KeyError, ValueError, ZeroDivisionError):
        return None


def _read(data: bytes) -> AvifHeader:
    top = {kind: (start, end) for kind, start, end in _boxes(data, 0, len(data))}
    start, end = top[b"meta"]
    meta = {kind: (first, last) for kind, first, last in _boxes(data, start + 4, end)}
    first, last = meta[b"pitm"]
    primary = int.from_bytes(data[first + 4 : last], "big") if data[first] else _u16(data, first + 4)
    properties = _properties(data, *meta[b"iprp"])
    own = properties.get(primary, [])
    size = next((struct.unpack(">II", body[4:12]) for kind, body in own if kind == b"ispe"), (0, 0))
    aperture = next((body for kind, body in own if kind == b"clap"), None)
    crop = _crop(aperture, size) if aperture is not None and size != (0, 0) else None
    frames = None if b"moov" in top else _frames(data, meta)
    return AvifHeader((size[0], size[1]), crop, frames)


def _boxes(data: bytes, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """(type, start of the content, end) of each box."""
    while start + 8 <= end:
        length, kind = _u32(data, start), data[start + 4 : start + 8]
        head = 8
        if length == 1:
            length, head = int.from_bytes(data[start + 8 : start + 16], "big"), 16
        if length == 0:
            length = end - start
        if length < head or start + length > end:
            return
        yield kind, start + head, start + length
        start += length


def _properties(data: bytes, start: int, end: int) -> dict[int, list[tuple[bytes, bytes]]]:
    """The properties (type, content) of each item."""
    shared: list[tuple[bytes, bytes]] = []
    owners: dict[int, list[tuple[bytes, bytes]]] = {}
    for kind, first, last in _boxes(data, start, end):
        if kind == b"ipco":
            shared = [(each, data[a:b]) for each, a, b in _boxes(data, first, last)]
        elif kind == b"ipma":
            wide, flags, at = data[first], data[first + 3] & 1, first + 8
            for _ in range(min(_u32(data, first + 4), _MOST_ITEMS)):
                item = _u32(data, at) if wide else _u16(data, at)
                at += 4 if wide else 2
                count, at = data[at], at + 1
                for _ in range(count):
                    index = _u16(data, at) & 0x7FFF if flags else data[at] & 0x7F
                    at += 2 if flags else 1
                    if 0 < index <= len(shared):
                        owners.setdefault(item, []).append(shared[index - 1])
    return owners


def _crop(aperture: bytes, size: tuple[int, ...]) -> Crop | None:
    """The clean aperture in whole pixels (ISO 14496-12, 12.1.4); None where it is not within the picture."""
    numbers = struct.unpack(">IIIIiIiI", aperture[:32])
    width, height, right, down = (Fraction(numbers[at], numbers[at + 1]) for at in (0, 2, 4, 6))
    left = Fraction(size[0]) / 2 + right - width / 2
    top = Fraction(size[1]) / 2 + down - height / 2
    crop = round(left), round(top), round(left + width), round(top + height)
    inside = 0 <= crop[0] < crop[2] <= size[0] and 0 <= crop[1] < crop[3] <= size[1]
    return crop if inside and crop != (0, 0, *size) else None


def _frames(data: bytes, meta: dict[bytes, tuple[int, int]]) -> tuple[tuple[int, int], ...] | None:
    """The size of the first frame of each AV1 item."""
    coded = set(_coded_items(data, *meta[b"iinf"]))
    sizes = []
    for item, extent in _extents(data, *meta[b"iloc"]):
        if item in coded:
            size = _sequence_size(data, *extent) if extent else None
            if size is None:
                return None
            sizes.append(size)
    return tuple(sizes) if sizes else None


def _coded_items(data: bytes, start: int, end: int) -> Iterator[int]:
    at = start + (8 if data[start] else 6)
    for kind, first, _ in _boxes(data, at, end):
        version = data[first]
        wide = 4 if version == 3 else 2
        if kind == b"infe" and version in (2, 3) and data[first + 6 + wide : first + 10 + wide] == b"av01":
            yield int.from_bytes(data[first + 4 : first + 4 + wide], "big")


def _extents(data: bytes, start: int, end: int) -> Iterator[tuple[int, tuple[int, int] | None]]:
    """Each item and its first extent in the file, (start, end); None for one that is constructed otherwise."""
    version = data[start]
    offset_size, length_size = data[start + 4] >> 4, data[start + 4] & 15
    base_size, index_size = data[start + 5] >> 4, data[start + 5] & 15 if version else 0
    wide = 4 if version == 2 else 2
    count, at = int.from_bytes(data[start + 6 : start + 6 + wide], "big"), start + 6 + wide

    def number(width: int) -> int:
        nonlocal at
        at += width
        return int.from_bytes(data[at - width : at], "big")

    for _ in range(min(count, _MOST_ITEMS)):
        if at >= end:
            return
        item = number(wide)
        method = number(2) & 15 if version else 0
        number(2)
        base = number(base_size)
        first: tuple[int, int] | None = None
        for index in range(number(2)):
            number(index_size)
            offset, length = number(offset_size), number(length_size)
            if not index and not method:
                first = base + offset, base + offset + length if length else len(data)
        yield item, first


def _sequence_size(data: bytes, start: int, end: int) -> tuple[int, int] | None:
    """The largest frame that the first sequence header of AV1 data announces (section 5.5.1)."""
    while start < min(end, len(data)):
        kind, extended, sized = data[start] >> 3 & 15, data[start] >> 2 & 1, data[start] >> 1 & 1
        start += 1 + extended
        length = end - start
        if sized:
            length, start = _leb128(data, start)
        if kind == 1:
            return _frame_size(int.from_bytes(data[start : start + 16].ljust(16, b"\0"), "big"))
        start += length
    return None


def _leb128(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for index in range(8):
        byte = data[at + index]
        value |= (byte & 0x7F) << 7 * index
        if not byte & 0x80:
            return value, at + index + 1
    raise ValueError("no end")


def _frame_size(header: int) -> tuple[int, int] | None:
    """The size in a sequence header's first 128 bits; None for one with timing information."""
    taken = 0

    def bits(count: int) -> int:
        nonlocal taken
        taken += count
        return header >> 128 - taken & (1 << count) - 1

    bits(4)  # profile, still picture
    if bits(1):  # reduced header
        bits(5)
    else:
        if bits(1):
            return None
        delayed = bits(1)
        points = bits(5) + 1
        if points > 2:
            return None
        for _ in range(points):
            bits(12)
            if bits(5) > 7:
                bits(1)
            if delayed and bits(1):
                bits(4)
    across, down = bits(4) + 1, bits(4) + 1
    return bits(across) + 1, bits(down) + 1


def _u16(data: bytes, at: int) -> int:
    return int(struct.unpack_from(">H", data, at)[0])


def _u32(data: bytes, at: int) -> int:
    return int(struct.unpack_from(">I", data, at)[0])
