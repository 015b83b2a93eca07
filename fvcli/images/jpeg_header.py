"""The header and the scans of a JPEG, by ITU-T T.81, annex B."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice

from fvcli.errors import ImageError

_START_OF_SCAN, _END_OF_IMAGE, _APP1 = 0xDA, 0xD9, 0xE1
#: Start-of-frame markers of T.81, table B.1, and JPEG-LS's (T.87).
_FRAMES = frozenset([*range(0xC0, 0xD0), 0xF7]) - {0xC4, 0xC8, 0xCC}
_HUFFMAN = frozenset([0xC0, 0xC1, 0xC2])
_PROGRESSIVE = frozenset([0xC2, 0xC6, 0xCA, 0xCE])
_LOSSLESS = 0xC3
_HIERARCHICAL = frozenset([0xC5, 0xC6, 0xC7, 0xCD, 0xCE, 0xCF])
_JPEG_LS = 0xF7
#: Segments of the usual JPEG: DHT, DQT, DRI, APP0 (JFIF), APP2 to APP15, COM. APP1, EXIF or XMP, tells how the
#: picture is to be turned.
_USUAL_SEGMENTS = frozenset([0xC4, 0xDB, 0xDD, 0xE0, _APP1, *range(0xE2, 0xF0), 0xFE])
_EXIF, _XMP = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"
_BYTE_ORDERS = {b"II*\0": "<", b"MM\0*": ">"}
ORIENTATION_TAG = 0x0112
_SHORT = 3
#: The marker and the length of a segment.
_SEGMENT = struct.Struct(">BBH").unpack_from
#: The marker of a segment with metadata, or padding.
_MARKED = re.compile(rb"\xff[\xe0-\xef\xfe\xff]")
#: Each costs time and memory whatever is in it. 255 parts of a color profile are the most that is usual.
_MOST_SEGMENTS = 10_000
#: A marker within or behind entropy-coded data: not a stuffed byte, not a restart marker, not padding.
_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]")


@dataclass(frozen=True, slots=True)
class Frame:
    """A start-of-frame segment: the size and the coding of the picture.

    marker: the second byte of the segment's marker. size: (width, height) in pixels. precision: bits per sample.
    factors: (identifier, horizontal, vertical) for each component.
    huffman: whether it is baseline, extended sequential or progressive with Huffman codes.
    lossless: whether samples are predicted from their neighbors, so that nothing can be decoded at a smaller scale.
    blocks: 8 x 8 blocks of all components that the picture has at least.
    least_bits: bits that its entropy-coded data has at least: one for each block's DC, one for its AC coefficients.
    unsupported: the name of the kind of JPEG if no library here decodes it, else "".
    """

    marker: int
    size: tuple[int, int]
    precision: int
    factors: tuple[tuple[int, int, int], ...]
    components: int
    progressive: bool
    huffman: bool
    lossless: bool
    blocks: int
    least_bits: int
    unsupported: str


@dataclass(frozen=True, slots=True)
class JpegHeader:
    """The header of a JPEG, up to its first scan.

    scan: the offset of the first scan's marker. interleaved: whether the first scan has all components.
    orientation: EXIF's, 1 to 8; None where the file is ambiguous. usual: whether all segments are usual ones.
    """

    frame: Frame
    scan: int
    interleaved: bool
    orientation: int | None
    usual: bool

    @property
    def buffered(self) -> bool:
        """Whether all coefficients have to be in memory before the first row can be made."""
        return self.frame.progressive or not self.interleaved


@dataclass(frozen=True, slots=True)
class Scan:
    """One scan: its components' identifiers, spectral selection (first, last) and successive approximation (low)."""

    components: tuple[int, ...]
    first: int
    last: int
    low: int


def read_header(data: bytes) -> JpegHeader | None:
    """The header of ``data``; None where it does not reach the first scan.

    Raises ImageError (Corrupt) for more segments than cameras and programs write.
    """
    frame: Frame | None = None
    told: list[bytes] = []
    usual = True
    position, last = 2, len(data) - 4
    for _ in range(_MOST_SEGMENTS):
        if position > last:
            return None
        first, kind, length = _SEGMENT(data, position)
        if first != 0xFF:
            return None
        if kind == 0xFF:  # padding
            position, usual = position + 1, False
            continue
        end = position + 2 + length
        if kind == _START_OF_SCAN:
            scan = _scan(data[position + 4 : end])
            if frame is None or scan is None:
                return None
            interleaved = len(scan.components) >= frame.components
            return JpegHeader(frame, position, interleaved, _turned(told) if told else 1, usual)
        if kind in _FRAMES and frame is None:
            frame = _frame(kind, data[position + 4 : end])
            if frame is None:
                return None
        elif kind == _APP1:
            told.append(data[position + 4 : end])
        elif kind not in _USUAL_SEGMENTS:
            usual = False
        position = end
    raise _too_many()


def check_segments(data: bytes) -> None:
    """Raise ImageError (Corrupt) where markers of segments are too many, wherever they are.

    For a file without a header, in which Pillow searches for one.
    """
    if next(islice(_MARKED.finditer(data), _MOST_SEGMENTS, None), None) is not None:
        raise _too_many()


def _too_many() -> ImageError:
    return ImageError("decode", "Corrupt", f"the image data is damaged: more than {_MOST_SEGMENTS:,} segments")


def ends_in_header(data: bytes) -> bool:
    """Whether ``data`` ends, or is closed, before the first scan."""
    position = 2
    while position + 4 <= len(data):
        kind = data[position + 1]
        if data[position] != 0xFF or kind in (_START_OF_SCAN, _END_OF_IMAGE):
            return kind == _END_OF_IMAGE or not any(data[position:])
        position += 1 if kind == 0xFF else 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    return True


@lru_cache(maxsize=4096)
def _frame(marker: int, segment: bytes) -> Frame | None:
    """The frame that a segment announces, None where it is cut. Kept, since most pictures of a folder share a few."""
    if len(segment) < 6 or len(segment) < 6 + 3 * segment[5]:
        return None
    precision, height, width, count = struct.unpack_from(">BHHB", segment)
    factors = tuple((segment[at], segment[at + 1] >> 4, segment[at + 1] & 15) for at in range(6, 6 + 3 * count, 3))
    blocks = _blocks(width, height, factors)
    huffman, progressive = marker in _HUFFMAN, marker in _PROGRESSIVE
    return Frame(
        marker=marker,
        size=(width, height),
        precision=precision,
        factors=factors,
        components=count,
        progressive=progressive,
        huffman=huffman,
        lossless=marker == _LOSSLESS,
        blocks=blocks,
        least_bits=blocks * (1 if progressive else 2) if huffman else 0,
        unsupported=_unsupported(marker, precision),
    )


def _blocks(width: int, height: int, factors: Sequence[tuple[int, int, int]]) -> int:
    widest = max((across for _, across, _ in factors), default=1) or 1
    highest = max((down for _, _, down in factors), default=1) or 1
    return sum(-(-width * across // (8 * widest)) * -(-height * down // (8 * highest)) for _, across, down in factors)


def _unsupported(marker: int, precision: int) -> str:
    if marker == _JPEG_LS:
        return "JPEG-LS"
    if marker in _HIERARCHICAL:
        return "hierarchical JPEG"
    return "" if precision == 8 else f"JPEG with {precision} bits per sample"


def scans(data: bytes, header: JpegHeader) -> Iterator[Scan]:
    """The scans of the picture, up to its end marker or whatever ends it; not those of what follows it."""
    position = header.scan
    while position + 4 <= len(data):
        kind = data[position + 1]
        if kind in (_END_OF_IMAGE, 0xD8) or data[position] != 0xFF:
            return
        length = int.from_bytes(data[position + 2 : position + 4], "big")
        position += 2 + length
        if kind == _START_OF_SCAN:
            scan = _scan(data[position - length + 2 : position])
            if scan is None:
                return
            yield scan
        found = _MARKER.search(data, position)
        if found is None:
            return
        position = found.start()


def _scan(segment: bytes) -> Scan | None:
    count = segment[0] if segment else 0
    if len(segment) < 4 + 2 * count or not count:
        return None
    first, last, approximation = segment[1 + 2 * count : 4 + 2 * count]
    return Scan(tuple(segment[1 : 1 + 2 * count : 2]), first, last, approximation & 15)


def complete(data: bytes, header: JpegHeader) -> bool:
    """Whether the scans of ``data`` bring every component, and of a progressive JPEG every bit of its coefficients."""
    wanted = {identifier for identifier, _, _ in header.frame.factors}
    if not header.frame.progressive:
        return wanted <= {identifier for scan in scans(data, header) for identifier in scan.components}
    lowest: dict[tuple[int, int], int] = {}
    for scan in scans(data, header):
        for identifier in scan.components:
            for index in range(scan.first, min(scan.last, 63) + 1):
                lowest[identifier, index] = scan.low
    return all(lowest.get((identifier, index)) == 0 for identifier in wanted for index in range(64))


def _turned(segments: list[bytes]) -> int | None:
    """The orientation that APP1 segments tell, 1 where they tell none. XMP counts where EXIF is silent.

    None where there are several EXIF blocks, others than these two kinds, damage, or where only XMP tells it.
    """
    blocks = [segment[len(_EXIF) :] for segment in segments if segment.startswith(_EXIF)]
    packets = [segment for segment in segments if segment.startswith(_XMP)]
    if len(blocks) > 1 or len(blocks) + len(packets) < len(segments):
        return None
    found = _orientations(blocks[0]) if blocks else []
    if found == []:
        return None if any(b"Orientation" in packet for packet in packets) else 1
    if found is None or len(found) != 1 or found[0][:2] != (_SHORT, 1) or not 1 <= found[0][2] <= 8:
        return None
    return found[0][2]


def _orientations(block: bytes) -> list[tuple[int, ...]] | None:
    """(type, count, value) for each time that an EXIF block's first directory tells the orientation; None if damaged.

    TIFF 6.0, section 2; CIPA DC-008, 4.5.
    """
    order = _BYTE_ORDERS.get(block[:4])
    if order is None:
        return None
    try:
        (start,) = struct.unpack_from(f"{order}I", block, 4)
        (count,) = struct.unpack_from(f"{order}H", block, start)
        entries = [struct.unpack_from(f"{order}HHIH", block, start + 2 + 12 * at) for at in range(count)]
    except struct.error:
        return None
    return [entry[1:] for entry in entries if entry[0] == ORIENTATION_TAG]
