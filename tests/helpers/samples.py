"""One file in each image format that fvcli reads, made from one picture."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from fvcli.records import UInt8Array

HEIC = Path(__file__).resolve().parents[1] / "images" / "samples" / "picture.heic"
SIZE = 120, 80


def picture() -> Image.Image:
    """A smooth picture of 120 x 80 pixels without any symmetry."""
    y, x = np.mgrid[0 : SIZE[1], 0 : SIZE[0]]
    planes = [x * 255 / SIZE[0], y * 255 / SIZE[1], 127 + 120 * np.sin(x / 17 + y / 31)]
    return Image.fromarray(np.stack(planes, axis=-1).astype(np.uint8))


@dataclass(frozen=True, slots=True)
class Sample:
    """A file, the pixels that it has to give, uint8 [H, W, 3], and the mean difference that its coding may cause."""

    data: bytes
    pixels: UInt8Array
    tolerance: float


def saved(format: str, image: Image.Image | None = None, **options: object) -> bytes:
    """The picture, or another image, as Pillow writes it."""
    stream = io.BytesIO()
    (image or picture()).save(stream, format, **options)
    return stream.getvalue()


def samples() -> dict[str, Sample]:
    """Samples by file name; the extension is one of the format's."""
    color = np.asarray(picture())
    gray = np.repeat(np.asarray(picture().convert("L"))[:, :, None], 3, axis=2)
    bits = np.repeat(np.asarray(picture().convert("1").convert("L"))[:, :, None], 3, axis=2)
    made: dict[str, tuple[Callable[[], bytes], UInt8Array, float]] = {
        "a.jpg": (lambda: saved("JPEG", quality=95), color, 3),
        "a.mpo": (lambda: saved("MPO", save_all=True, append_images=[Image.new("RGB", SIZE)], quality=95), color, 3),
        "a.png": (lambda: saved("PNG"), color, 0),
        "a.webp": (lambda: saved("WEBP", lossless=True), color, 0),
        "a.gif": (lambda: saved("GIF"), color, 6),
        "a.bmp": (lambda: saved("BMP"), color, 0),
        "a.dib": (lambda: saved("DIB"), color, 0),
        "a.tif": (lambda: saved("TIFF"), color, 0),
        "a.avif": (lambda: saved("AVIF", quality=95), color, 3),
        "a.heic": (HEIC.read_bytes, color, 3),
        "a.jp2": (lambda: saved("JPEG2000"), color, 0),
        "a.ppm": (lambda: saved("PPM"), color, 0),
        "a.pgm": (lambda: saved("PPM", picture().convert("L")), gray, 0),
        "a.pbm": (lambda: saved("PPM", picture().convert("1")), bits, 0),
        "a.tga": (lambda: saved("TGA"), color, 0),
        "b.tga": (lambda: saved("TGA", compression="tga_rle")[:-26], color, 0),  # without the footer
        "a.pcx": (lambda: saved("PCX"), color, 0),
        "a.dcx": (lambda: struct.pack("<III", 0x3ADE68B1, 12, 0) + saved("PCX"), color, 0),
        "a.ico": (lambda: saved("ICO", sizes=[SIZE]), color, 0),
        "a.cur": (cursor, color, 0),
        "a.icns": (lambda: saved("ICNS", icon()), np.asarray(icon().resize((1024, 1024))), 2),
        "a.psd": (photoshop, color, 0),
        "a.qoi": (lambda: saved("QOI"), color, 0),
        "a.dds": (lambda: saved("DDS"), color, 0),
        "a.sgi": (lambda: saved("SGI"), color, 0),
        "a.sun": (sun_raster, color, 0),
        "a.blp": (lambda: saved("BLP", picture().quantize(256)), color, 6),
        "a.gbr": (brush, gray, 0),
        "a.fits": (fits, gray, 0),
        "a.im": (lambda: saved("IM"), color, 0),
        "a.msp": (lambda: saved("MSP", picture().convert("1")), bits, 0),
        "a.pxr": (pixar, color, 0),
        "a.spider": (lambda: saved("SPIDER", picture().convert("L").convert("F")), gray, 2),
        "a.xbm": (lambda: saved("XBM", picture().convert("1")), bits, 0),
        "a.xpm": (pixmap, color[:2, :2] * 0 + np.array([[[255, 0, 0], [0, 255, 0]]] * 2, np.uint8), 0),
    }
    return {name: Sample(make(), pixels, tolerance) for name, (make, pixels, tolerance) in made.items()}


def icon() -> Image.Image:
    """The picture as a square, which the writer of icons enlarges to 1024 x 1024."""
    return picture().resize((128, 128))


def cursor() -> bytes:
    """An icon's directory with a cursor's type: the picture within is a bitmap of twice the height (with its mask)."""
    pixels = saved("DIB", picture().convert("RGBA"))
    header = bytearray(pixels[:40])
    header[8:12] = struct.pack("<i", 2 * SIZE[1])
    body = bytes(header) + pixels[40:] + bytes(16 * SIZE[1])
    return b"\0\0\2\0\1\0" + struct.pack("<BBBBHHII", *SIZE, 0, 0, 0, 0, len(body), 22) + body


def photoshop() -> bytes:
    """Header, three empty sections, and the composite picture, plane by plane without compression."""
    planes = np.asarray(picture()).transpose(2, 0, 1).tobytes()
    head = b"8BPS" + struct.pack(">H6xHIIHH", 1, 3, SIZE[1], SIZE[0], 8, 3)
    return head + bytes(12) + struct.pack(">H", 0) + planes


def sun_raster() -> bytes:
    return struct.pack(">IIIIIIII", 0x59A66A95, *SIZE, 24, 3 * SIZE[0] * SIZE[1], 3, 0, 0) + picture().tobytes()


def brush() -> bytes:
    return struct.pack(">IIIIIII", 29, 2, *SIZE, 1, 0x47494D50, 10) + b"\0" + picture().convert("L").tobytes()


def fits() -> bytes:
    """Rows from the bottom up, as 8-bit values."""
    cards = ["SIMPLE  =                    T", "BITPIX  =                    8", "NAXIS   =                    2"]
    cards += [f"NAXIS1  = {SIZE[0]:20}", f"NAXIS2  = {SIZE[1]:20}", "END"]
    head = "".join(card.ljust(80) for card in cards).ljust(2880).encode()
    rows = np.asarray(picture().convert("L"))[::-1].tobytes()
    return head + rows.ljust(-(-len(rows) // 2880) * 2880, b"\0")


def pixar() -> bytes:
    head = bytearray(1024)
    head[:4] = b"\200\350\0\0"
    struct.pack_into("<HH", head, 416, SIZE[1], SIZE[0])
    struct.pack_into("<HH", head, 424, 14, 2)
    return bytes(head) + picture().tobytes()


def pixmap() -> bytes:
    return b'/* XPM */\nstatic char *a[] = {\n"2 2 2 1",\n"a c #ff0000",\n"b c #00ff00",\n"ab",\n"ab"};\n'
