"""One file in each image format that fvcli reads, made from one picture."""

from __future__ import annotations

import importlib.util
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
THUMBNAIL_BITS = np.array([5, 5, 6], np.uint8)  # of each channel, that thumbnails of xv leave out


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
        "a.flc": (animation, gray, 0),
        "a.ftc": (texture, color, 0),
        "a.p7": (thumbnail, thumbnail_colors(), 0),
        "a.pcd": (photo_cd, np.repeat(photo_cd_gray()[:, :, None], 3, axis=2), 1),
        "a.xpm": (pixmap, color[:2, :2] * 0 + np.array([[[255, 0, 0], [0, 255, 0]]] * 2, np.uint8), 0),
    }
    if importlib.util.find_spec("pillow_jxl") is not None:
        made["a.jxl"] = (jpeg_xl, color, 0)
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


def animation() -> bytes:
    """A header of 128 bytes and one frame: a palette of grays and the pixels as they are."""
    palette = b"\1\0\0\0" + np.repeat(np.arange(256, dtype=np.uint8), 3).tobytes()
    pixels = picture().convert("L").tobytes()
    chunks = b"".join(struct.pack("<IH", len(body) + 6, kind) + body for kind, body in ((4, palette), (16, pixels)))
    frame = struct.pack("<IHH8x", len(chunks) + 16, 0xF1FA, 2) + chunks
    return struct.pack("<IHHHHHHI108x", len(frame) + 128, 0xAF12, 1, *SIZE, 8, 3, 70) + frame


def texture() -> bytes:
    pixels = picture().tobytes()
    return struct.pack("<4s8i", b"FTEX", 1, *SIZE, 1, 1, 1, 32, len(pixels)) + pixels


def thumbnail() -> bytes:
    """A byte per pixel: 3 bits of red, 3 of green, 2 of blue."""
    red, green, blue = (np.asarray(picture()) >> THUMBNAIL_BITS).transpose(2, 0, 1)
    codes: bytes = (red << 5 | green << 2 | blue).tobytes()
    return b"P7 332\n#END_OF_COMMENTS\n120 80 255\n" + codes


def thumbnail_colors() -> UInt8Array:
    kept: UInt8Array = ((np.asarray(picture()) >> THUMBNAIL_BITS) * 255.0 // (255 >> THUMBNAIL_BITS)).astype(np.uint8)
    return kept


def photo_cd_luma() -> UInt8Array:
    """The lightness of a Photo CD's picture, uint8 [512, 768]: as coded, so 187 is white."""
    y, x = np.mgrid[0:512, 0:768]
    coded: UInt8Array = (20 + (x + y) / 8).astype(np.uint8)
    return coded


def photo_cd_gray() -> UInt8Array:
    """That picture's gray, uint8 [512, 768]. 1.3584: Kodak, "Fully Utilizing Photo CD Images", PCD 045."""
    gray: UInt8Array = np.clip(photo_cd_luma() * 1.3584, 0, 255).astype(np.uint8)
    return gray


def photo_cd() -> bytes:
    """The base picture of a Photo CD: two rows of lightness, then half a row of each chroma, here neutral."""
    rows = photo_cd_luma().reshape(256, 2 * 768)
    neutral = np.repeat(np.array([[156] * 384 + [137] * 384], np.uint8), 256, axis=0)
    head = bytearray(96 * 2048)
    head[2048:2052] = b"PCD_"
    return bytes(head) + np.concatenate([rows, neutral], axis=1).tobytes()


def jpeg_xl() -> bytes:
    import pillow_jxl  # noqa: F401, registers the format

    return saved("JXL", lossless=True)
