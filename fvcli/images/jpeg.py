"""The usual JPEG, decoded by libjpeg-turbo itself (simplejpeg): Pillow's pixels, an eighth sooner.

Only where nothing is in doubt. Whatever is unusual in a file's header, and any file of which libjpeg-turbo has
something to say, is left to Pillow, which then decides alone what becomes of it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from fvcli.records import UInt8Array

try:
    from simplejpeg import decode_jpeg
except ImportError:  # no build for this machine
    decode_jpeg = None

_PROGRESSIVE = 0xC2
_HUFFMAN_FRAMES = (0xC0, 0xC1, _PROGRESSIVE)  # SOF0 and SOF1: sequential
_START_OF_SCAN = 0xDA
_APP1 = 0xE1
_EXIF, _XMP = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"
_BYTE_ORDERS = {b"II*\0": "<", b"MM\0*": ">"}
ORIENTATION_TAG = 0x0112
_SHORT, _UPRIGHT = 3, 1
#: Segments that may stand before the first scan: DHT, DQT, DRI, APP0 (JFIF), APP2 to APP15, COM. APP1, EXIF or XMP,
#: tells how the picture is to be turned.
_PLAIN_SEGMENTS = frozenset([0xC4, 0xDB, 0xDD, 0xE0, *range(0xE2, 0xF0), 0xFE])
#: Shorter sides are left to Pillow: below 8 pixels one size belongs to several DCT scales.
_LEAST_SIDE = 64


@dataclass(frozen=True, slots=True)
class PlainHeader:
    """Of a Huffman-coded JPEG of 8 bits that needs no turning.

    components: 1 (grey) or 3. scan: where its first scan begins, in bytes.
    """

    width: int
    height: int
    components: int
    progressive: bool
    scan: int


def decoded_by_pillow() -> bool:
    """Whether this machine has no build of simplejpeg."""
    return decode_jpeg is None


def plain_header(data: bytes) -> PlainHeader | None:
    """The header by ITU-T T.81, annex B; None for any other file, or where it cannot be decoded here."""
    if decode_jpeg is None:
        return None
    width = height = components = 0
    progressive = False
    told: list[bytes] = []
    position = 2
    while position + 4 <= len(data) and data[position] == 0xFF:
        kind = data[position + 1]
        if kind == _START_OF_SCAN:
            break
        length = int.from_bytes(data[position + 2 : position + 4], "big")
        if kind in _HUFFMAN_FRAMES and not components and data[position + 4 : position + 5] == b"\x08":
            height = int.from_bytes(data[position + 5 : position + 7], "big")
            width = int.from_bytes(data[position + 7 : position + 9], "big")
            components = data[position + 9] if position + 9 < len(data) else 0
            progressive = kind == _PROGRESSIVE
        elif kind == _APP1:
            told.append(data[position + 4 : position + 2 + length])
        elif kind not in _PLAIN_SEGMENTS:
            return None
        position += 2 + length
    else:
        return None
    if components not in (1, 3) or min(width, height) < _LEAST_SIDE or (told and not _surely_upright(told)):
        return None
    return PlainHeader(width, height, components, progressive, position)


def _surely_upright(segments: list[bytes]) -> bool:
    """Whether APP1 segments say that the picture need not be turned, or nothing of it. XMP counts where EXIF is silent.

    False also where there are several EXIF blocks, or others than these two kinds.
    """
    blocks = [segment[len(_EXIF) :] for segment in segments if segment.startswith(_EXIF)]
    packets = [segment for segment in segments if segment.startswith(_XMP)]
    if len(blocks) > 1 or len(blocks) + len(packets) < len(segments):
        return False
    found = _orientations(blocks[0]) if blocks else []
    if found == []:
        return not any(b"Orientation" in packet for packet in packets)
    return found == [(_SHORT, 1, _UPRIGHT)]


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


def decode_plain(data: bytes, header: PlainHeader, scale: int) -> UInt8Array | None:
    """uint8 [H, W, 3] or grey [H, W] at 1/scale (1, 2, 4, 8; sides rounded up); None if anything is wrong with it.

    The integer DCT and smooth ("fancy") upsampling of libjpeg-turbo, as Pillow has them decode.
    """
    width, height = -(-header.width // scale), -(-header.height // scale)
    colours = "RGB" if header.components == 3 else "GRAY"
    try:
        pixels: UInt8Array = decode_jpeg(data, colours, min_width=width, min_height=height, min_factor=1)
    except ValueError:
        return None
    if pixels.shape[:2] != (height, width):
        return None
    return pixels if header.components == 3 else pixels[:, :, 0]
