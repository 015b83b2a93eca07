"""Small files that ask for much memory or time."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from PIL import Image


def png(
    width: int, height: int, depth: int, color: int, pixels: bytes, *chunks: tuple[bytes, bytes], end: bool = True
) -> bytes:
    """A PNG put together chunk by chunk (ISO 15948, section 5)."""
    parts = [(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)), *chunks]
    parts += [(b"IDAT", pixels), (b"IEND", b"")] if end else [(b"IDAT", pixels)]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def black_png(width: int, height: int) -> bytes:
    """RGB, compressed row by row."""
    stream = zlib.compressobj(9)
    rows = [stream.compress(bytes(1 + 3 * width)) for _ in range(height)]
    return png(width, height, 8, 2, b"".join([*rows, stream.flush()]))


def empty_scans(count: int, width: int = 65_500, height: int = 3000) -> bytes:
    """A sequential JPEG with one scan per component and no data in any, the last scan ``count`` times."""
    image = np.zeros((16, 16, 3), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG", subsampling=0)
    data = bytearray(stream.getvalue())
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
    scan = data.index(b"\xff\xda")
    scans = [b"\xff\xda\0\x08\x01" + bytes([component, 0]) + b"\0\x3f\0" for component in (1, 2, 3)]
    return bytes(data[:scan]) + b"".join([*scans[:2], *[scans[2]] * count]) + b"\xff\xd9"


def gif_frame_beyond_the_screen() -> bytes:
    """A GIF whose frame is 65535 x 65535 on a screen of 1 x 1."""
    head = b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0x80, 0, 0) + bytes(6)
    return head + b"," + struct.pack("<HHHHB", 0, 0, 65535, 65535, 0) + b"\2\2D\1\0;"


def tiff(entries: dict[int, tuple[int, int]], tail: bytes) -> bytes:
    """A little-endian TIFF of one directory: tag -> (type, value), LONG or SHORT; ``tail`` begins at byte 8."""
    at = 8 + len(tail)
    directory = b"".join(
        struct.pack("<HHI", tag, kind, 1) + (struct.pack("<HH", value, 0) if kind == 3 else struct.pack("<I", value))
        for tag, (kind, value) in sorted(entries.items())
    )
    return b"II*\0" + struct.pack("<I", at) + tail + struct.pack("<H", len(entries)) + directory + bytes(4)


def tiff_tile_beyond_the_picture(side: int = 60_000) -> bytes:
    """A TIFF of 16 x 16 pixels in one tile of ``side`` x ``side``, deflated."""
    pixels = zlib.compress(bytes(1000))
    entries = {
        256: (4, 16), 257: (4, 16), 258: (3, 8), 259: (3, 8), 262: (3, 1), 277: (3, 1),
        322: (4, side), 323: (4, side), 324: (4, 8), 325: (4, len(pixels)),
    }  # fmt: skip
    return tiff(entries, pixels + bytes(len(pixels) % 2))


def tiff_endless_strip() -> bytes:
    """A TIFF that announces one strip of 2,000,000,000 rows for 16 x 2,000,000,000 pixels."""
    entries = {
        256: (4, 16), 257: (4, 2_000_000_000), 258: (3, 8), 259: (3, 5), 262: (3, 1), 273: (4, 8), 277: (3, 1),
        278: (4, 2_000_000_000), 279: (4, 8),
    }  # fmt: skip
    return tiff(entries, bytes(8))


def avif_with_frames_of(width: int, height: int) -> bytes:
    """An AVIF whose container announces 16 x 16 pixels and whose frame is of another size."""
    stream = io.BytesIO()
    Image.new("RGB", (width, height)).save(stream, "AVIF", speed=10)
    data = stream.getvalue()
    announced = b"ispe\0\0\0\0" + struct.pack(">II", width, height)
    assert announced in data
    return data.replace(announced, b"ispe\0\0\0\0" + struct.pack(">II", 16, 16))


def icon_of(picture: bytes) -> bytes:
    """An icon of 16 x 16 pixels that holds ``picture``, a PNG of any size."""
    entry = struct.pack("<BBBBHHII", 16, 16, 0, 0, 1, 32, len(picture), 22)
    return b"\0\0\1\0\1\0" + entry + picture


def many_segments(count: int = 4_000_000) -> bytes:
    """A JPEG of 16 x 16 pixels behind ``count`` empty application segments."""
    stream = io.BytesIO()
    Image.new("RGB", (16, 16)).save(stream, "JPEG")
    data = stream.getvalue()
    return data[:2] + b"\xff\xe5\0\x02" * count + data[2:]


def many_chunks(count: int = 1_500_000) -> bytes:
    """A PNG of 1 x 1 pixels in ``count`` chunks, of which the last has the pixel."""
    start = png(1, 1, 8, 2, b"", end=False)
    return start + chunk(b"IDAT", b"") * count + chunk(b"IDAT", zlib.compress(b"\0\0\0\0")) + chunk(b"IEND", b"")


def all_bombs() -> dict[str, bytes]:
    """Each under its file's name."""
    progressive = io.BytesIO()
    Image.new("RGB", (64, 64)).save(progressive, "JPEG", progressive=True)
    huge = bytearray(progressive.getvalue())
    at = huge.index(b"\xff\xc2")
    huge[at + 5 : at + 9] = struct.pack(">HH", 14_000, 14_000)
    zeros = zlib.compress(bytes(200_000_000), 9)
    return {
        "line.png": black_png(5_000_000, 1),
        "long-line.png": black_png(60_000_000, 1),
        "column.png": png(1, 5_000_000, 8, 0, zlib.compress(bytes(10_000_000), 9)),
        "huge.png": png(14_000, 14_000, 8, 0, zlib.compress(bytes(14_000 * 14_001), 9)),
        "empty-scans.jpg": empty_scans(1),
        "many-empty-scans.jpg": empty_scans(100_000),
        "progressive.jpg": bytes(huge),
        "screen.gif": gif_frame_beyond_the_screen(),
        "tile.tif": tiff_tile_beyond_the_picture(),
        "small-tile.tif": tiff_tile_beyond_the_picture(13_000),
        "strip.tif": tiff_endless_strip(),
        "frame.avif": avif_with_frames_of(4096, 4096),
        "segments.jpg": many_segments(),
        "junk-and-segments.jpg": many_segments().replace(b"\xff\xe5\0\x02" * 2, b"\xff\xe5\0\x02\0\xff\xe5\0\x02", 1),
        "chunks.png": many_chunks(),
        "icon.ico": icon_of(png(30_000, 30_000, 8, 0, zlib.compress(bytes(1000)))),
        "text.png": png(1, 1, 8, 2, zlib.compress(b"\0\0\0\0"), (b"zTXt", b"k\0\0" + zeros)),
        "profile.png": png(1, 1, 8, 2, zlib.compress(b"\0\0\0\0"), (b"iCCP", b"p\0\0" + zeros)),
    }
