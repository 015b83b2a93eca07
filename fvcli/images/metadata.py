"""A file's metadata: the orientation that it tells (EXIF; CIPA DC-008, 4.6.4), and files without it.

Damage in it must not cost the picture. Also whether a PNG is whole.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

from PIL import Image, ImageFile

from fvcli.errors import ImageError
from fvcli.images.jpeg import CUT
from fvcli.images.jpeg_header import ORIENTATION_TAG
from fvcli.images.memory import Region

_PNG_START = b"\x89PNG\r\n\x1a\n"
_PNG_END = struct.pack(">I", 0) + b"IEND\xaeB`\x82"
_PNG_PICTURE = frozenset([b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"])
_PNG_ORIENTATION = frozenset([b"eXIf", b"tEXt", b"zTXt", b"iTXt"])
_MOST_ORIENTATION_BYTES = 1 << 16
_MOST_CHUNKS = 300_000  # a large picture in chunks of 8,192 bytes has 100,000
_BLOCK = 1 << 16
#: Where each pass of an interlaced PNG begins and its steps: x, y, across, down.
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


_TRANSPOSITIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SOURCES = ("exif", "xmp", "Raw profile type exif", "XML:com.adobe.xmp")


def without_metadata(name: str, data: bytes) -> bytes | None:
    """``data`` of format ``name`` with its picture and orientation alone; None where nothing can be removed."""
    if name == "PNG":
        return _bare_png(data)
    if name == "JPEG":
        return _bare_jpeg(data)
    if name in ("AVIF", "HEIF"):
        return _bare_avif(data)
    return None


def check_chunks(data: bytes) -> None:
    """Raise ImageError (Corrupt) for a PNG with more chunks than programs write: each costs time and memory."""
    at, end = len(_PNG_START), len(data)
    for _ in range(_MOST_CHUNKS):
        if at + 8 > end or data[at + 4 : at + 8] == b"IEND":
            return
        at += 12 + int.from_bytes(data[at : at + 4], "big")
    raise ImageError("decode", "Corrupt", f"the image data is damaged: more than {_MOST_CHUNKS:,} chunks")


def check_png(data: bytes, picture: Image.Image) -> None:
    """Raise ImageError for a PNG, loaded as ``picture``, whose compressed data is damaged or not all there.

    Pillow checks no checksum of it, and leaves missing rows black. Where a checksum is wrong, the end chunk is missing
    or the last row is black, the compressed data is counted and its own checksum decides. Kinds Truncated and Corrupt.
    """
    chunks = list(_png_chunks(data))
    ended = bool(chunks) and chunks[-1][0] == b"IEND"
    sound = all(right for kind, _, right in chunks if kind == b"IDAT")
    last = picture.crop((0, picture.height - 1, picture.width, picture.height))
    interlaced = data[28:29] == b"\1"
    if ended and sound and not interlaced and any(last.tobytes()):
        return
    stream, size = zlib.decompressobj(), 0
    try:
        for kind, content, _ in chunks:
            if kind == b"IDAT":
                size += _inflated(stream, content)
    except zlib.error as error:
        if ended:
            raise ImageError("decode", "Corrupt", f"the image data is damaged: {error}") from None
        raise ImageError("decode", "Truncated", CUT) from None
    if size < _png_bytes(data, interlaced) or not stream.eof:
        raise ImageError("decode", "Truncated", CUT)


def _inflated(stream: zlib._Decompress, content: bytes) -> int:
    """The number of bytes that ``content`` adds."""
    size = 0
    while content and not stream.eof:
        size += len(stream.decompress(content, _BLOCK))
        content = stream.unconsumed_tail
    return size


def _png_bytes(data: bytes, interlaced: bool) -> int:
    """The filtered bytes of a picture by its header (ISO 15948, sections 7.2 and 8.2)."""
    width, height, depth, color = struct.unpack_from(">IIBB", data, 16)
    bits = depth * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}.get(color, 1)
    passes = _ADAM7 if interlaced else ((0, 0, 1, 1),)
    sizes = ((-(-(width - x) // across), -(-(height - y) // down)) for x, y, across, down in passes)
    return sum(rows * (1 + -(-columns * bits // 8)) for columns, rows in sizes if columns > 0 and rows > 0)


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes, bool]]:
    """Each chunk's type, content (as much as there is) and whether its checksum is right (ISO 15948, section 5)."""
    at = len(_PNG_START)
    while at + 8 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        kind, content = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        stored = data[at + 8 + length : at + 12 + length]
        yield kind, content, zlib.crc32(content, zlib.crc32(kind)).to_bytes(4, "big") == stored
        if kind == b"IEND":
            return
        at += 12 + length


def _bare_png(data: bytes) -> bytes:
    parts = [_PNG_START]
    for kind, content, sound in _png_chunks(data):
        oriented = kind in _PNG_ORIENTATION and sound and len(content) <= _MOST_ORIENTATION_BYTES
        if (kind in _PNG_PICTURE and kind != b"IEND" and (sound or kind in (b"IDAT", b"tRNS"))) or (
            oriented and (kind == b"eXIf" or b"exif" in content[:32] or b"xmp" in content[:32])
        ):
            checksum = zlib.crc32(content, zlib.crc32(kind))
            parts.append(struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum))
    return b"".join([*parts, _PNG_END])


def _bare_jpeg(data: bytes) -> bytes:
    """Without application segments and comments before the first scan, except JFIF's and Adobe's."""
    parts, position = [data[:2]], 2
    while position + 4 <= len(data) and data[position] == 0xFF and data[position + 1] != 0xDA:
        kind = data[position + 1]
        end = position + 2 + int.from_bytes(data[position + 2 : position + 4], "big")
        if not (0xE1 <= kind <= 0xEF and kind != 0xEE) and kind != 0xFE:
            parts.append(data[position:end])
        position = end
    return b"".join([*parts, data[position:]])


def _bare_avif(data: bytes) -> bytes | None:
    """With the items of EXIF and XMP renamed, so that no reader looks into them (ISO 14496-12, 8.11.6)."""
    start = data.find(b"iinf", 0, 1 << 16)
    if start < 4:
        return None
    end = start - 4 + int.from_bytes(data[start - 4 : start], "big")
    items = data[start:end].replace(b"Exif", b"skip").replace(b"mime", b"skip")
    bare = data[:start] + items + data[end:]
    return bare if bare != data and len(bare) == len(data) else None


def orientation_of(picture: ImageFile.ImageFile) -> int:
    """EXIF orientation, 1 to 8. A damaged EXIF block costs no image: it counts as upright."""
    if not any(source in picture.info for source in _SOURCES):
        return 1
    try:
        value = picture.getexif().get(ORIENTATION_TAG, 1)
    except Exception:
        return 1
    return value if value in _TRANSPOSITIONS else 1


def upright(
    image: Image.Image, region: Region, size: tuple[int, int], oriented: int
) -> tuple[Image.Image, Region, tuple[int, int]]:
    """``image``, what of it the picture fills, and the picture's full (width, height), turned as ``oriented`` says."""
    if oriented not in _TRANSPOSITIONS:
        return image, region, size
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
