"""Files without their metadata: damage in it must not cost the picture.

Also whether a PNG without its end is whole.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

from fvcli.errors import ImageError
from fvcli.images.jpeg import CUT

_PNG_START = b"\x89PNG\r\n\x1a\n"
_PNG_END = struct.pack(">I", 0) + b"IEND\xaeB`\x82"
_PNG_PICTURE = frozenset([b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"])
_PNG_ORIENTATION = frozenset([b"eXIf", b"tEXt", b"zTXt", b"iTXt"])
_MOST_ORIENTATION_BYTES = 1 << 16
_BLOCK = 1 << 16


def without_metadata(name: str, data: bytes) -> bytes | None:
    """``data`` of format ``name`` with its picture and orientation alone; None where nothing can be removed."""
    if name == "PNG":
        return _bare_png(data)
    if name == "JPEG":
        return _bare_jpeg(data)
    if name in ("AVIF", "HEIF"):
        return _bare_avif(data)
    return None


def check_png_end(data: bytes) -> None:
    """Raise ImageError with kind Truncated for a PNG without an end chunk whose compressed data does not end either."""
    chunks = list(_png_chunks(data))
    if any(kind == b"IEND" for kind, _, _ in chunks):
        return
    stream = zlib.decompressobj()
    try:
        for kind, content, _ in chunks:
            if kind == b"IDAT":
                _exhaust(stream, content)
    except zlib.error:
        raise ImageError("decode", "Truncated", CUT) from None
    if not stream.eof:
        raise ImageError("decode", "Truncated", CUT)


def _exhaust(stream: zlib._Decompress, content: bytes) -> None:
    while content and not stream.eof:
        stream.decompress(content, _BLOCK)
        content = stream.unconsumed_tail


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
    """Without application segments and comments before the first scan, but for JFIF's and Adobe's."""
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
