"""The readers of the image formats: Pillow's format classes and those of two plugins, each imported when it is needed.

The classes are used directly, so that only formats of this table can be opened, and a file is opened as what its bytes
say, whatever its name.
:func:`explain` is the one place where their exceptions become errors of fvcli.
"""

from __future__ import annotations

import importlib
import io
import logging
import struct
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from PIL import Image, ImageFile

from fvcli.errors import ImageError
from fvcli.images.jpeg import CUT
from fvcli.sources.formats import SNIFF_BYTES, sniff

# The one place that changes Pillow for the process: our own limit, checked before decoding, stands in for Pillow's;
# its remarks about odd files are not for the user's terminal; a truncated file stays an error.
Image.MAX_IMAGE_PIXELS = None
ImageFile.LOAD_TRUNCATED_IMAGES = False
warnings.filterwarnings("ignore", module=r"(PIL|pi_heif|pillow_jxl)(\.|$)")
logging.getLogger("PIL").addHandler(logging.NullHandler())

#: Words in the messages of decoders.
_CUT_WORDS = ("truncated", "buffer overrun", "not enough data", "end of file", "unexpected eof", "premature end")
_UNSUPPORTED_WORDS = ("pixel mode", "unsupported", "not supported", "unimplemented", "not implemented")

Opener: TypeAlias = Callable[[io.BytesIO], ImageFile.ImageFile]


@dataclass(frozen=True, slots=True)
class Codec:
    """The reader of one format.

    reader: module and class. bytes_per_pixel: what a pixel takes at most while a file is decoded, converted and
    scaled: Pillow's image (4), its upright or RGB copy (4) or the array made of it (3, and 3 more on the way), and
    what the library behind the format holds besides. common: whether it is decoded in this process when it is small;
    other formats are decoded in a process of their own, within limits of time and memory.
    """

    reader: str
    bytes_per_pixel: int = 16
    common: bool = False


CODECS: dict[str, Codec] = {
    "JPEG": Codec("PIL.JpegImagePlugin.JpegImageFile", 10, common=True),
    "PNG": Codec("PIL.PngImagePlugin.PngImageFile", 12, common=True),
    "GIF": Codec("PIL.GifImagePlugin.GifImageFile", 12, common=True),
    "BMP": Codec("PIL.BmpImagePlugin.BmpImageFile", 12, common=True),
    "TIFF": Codec("PIL.TiffImagePlugin.TiffImageFile", 16, common=True),
    "WEBP": Codec("PIL.WebPImagePlugin.WebPImageFile", 20, common=True),
    "AVIF": Codec("PIL.AvifImagePlugin.AvifImageFile", 20, common=True),
    "PNM": Codec("PIL.PpmImagePlugin.PpmImageFile", common=True),
    "QOI": Codec("PIL.QoiImagePlugin.QoiImageFile"),
    "HEIF": Codec("pi_heif.as_plugin.HeifImageFile", 24),
    "JPEG2000": Codec("PIL.Jpeg2KImagePlugin.Jpeg2KImageFile", 40),
    "JXL": Codec("pillow_jxl.JpegXLImagePlugin.JXLImageFile", 48),
    "TGA": Codec("PIL.TgaImagePlugin.TgaImageFile"),
    "PCX": Codec("PIL.PcxImagePlugin.PcxImageFile"),
    "DCX": Codec("PIL.DcxImagePlugin.DcxImageFile"),
    "ICO": Codec("PIL.IcoImagePlugin.IcoImageFile"),
    "CUR": Codec("PIL.CurImagePlugin.CurImageFile"),
    "ICNS": Codec("PIL.IcnsImagePlugin.IcnsImageFile", 40),
    "PSD": Codec("PIL.PsdImagePlugin.PsdImageFile"),
    "DDS": Codec("PIL.DdsImagePlugin.DdsImageFile"),
    "SGI": Codec("PIL.SgiImagePlugin.SgiImageFile"),
    "SUN": Codec("PIL.SunImagePlugin.SunImageFile"),
    "BLP": Codec("PIL.BlpImagePlugin.BlpImageFile"),
    "FTEX": Codec("PIL.FtexImagePlugin.FtexImageFile"),
    "GBR": Codec("PIL.GbrImagePlugin.GbrImageFile"),
    "FLI": Codec("PIL.FliImagePlugin.FliImageFile"),
    "FITS": Codec("PIL.FitsImagePlugin.FitsImageFile"),
    "IM": Codec("PIL.ImImagePlugin.ImImageFile"),
    "MSP": Codec("PIL.MspImagePlugin.MspImageFile"),
    "PIXAR": Codec("PIL.PixarImagePlugin.PixarImageFile"),
    "PCD": Codec("PIL.PcdImagePlugin.PcdImageFile"),
    "SPIDER": Codec("PIL.SpiderImagePlugin.SpiderImageFile"),
    "XVTHUMB": Codec("PIL.XVThumbImagePlugin.XVThumbImageFile"),
    "XBM": Codec("PIL.XbmImagePlugin.XbmImageFile"),
    "XPM": Codec("PIL.XpmImagePlugin.XpmImageFile"),
    "DIB": Codec("PIL.BmpImagePlugin.DibImageFile"),
}
#: Formats that share an entry of the table of formats with another one, by their first bytes.
_VARIANTS = {"ICO": (b"\0\0\2\0", "CUR"), "PCX": (b"\xb1\x68\xde\x3a", "DCX")}
_DIB_HEADERS = frozenset([12, 40, 52, 56, 64, 108, 124])
_TGA_FOOTER = b"TRUEVISION-XFILE.\0"
_openers: dict[str, Opener] = {}


def open_picture(name: str, data: bytes) -> ImageFile.ImageFile:
    """``data`` opened as ``name``, a name in the table of formats: its header is read, its pixels are not."""
    start, variant = _VARIANTS.get(name, (b"", name))
    if not data.startswith(start):
        variant = name
    if name == "BMP" and not data.startswith(b"BM"):
        variant = "DIB"
    opener = _openers.get(variant) or _import(variant)
    return opener(io.BytesIO(data))


def guess(data: bytes) -> str | None:
    """The format of a file whose name says that it is an image and whose first bytes do not say which."""
    if data[2048:2052] == b"PCD_":
        return "PCD"
    if data[-18:] == _TGA_FOOTER or _targa(data):
        return "TGA"
    if int.from_bytes(data[:4], "little") in _DIB_HEADERS and data[12:14] == b"\1\0":
        return "BMP"
    if data[:2] == b"\x1f\x8b":
        return "SVG" if _compressed_svg(data) else None
    return "SPIDER" if _spider(data) else None


def _targa(data: bytes) -> bool:
    """Whether a header without a footer is one of TGA's (Truevision TGA 2.0, section "TGA file header")."""
    if len(data) < 19:
        return False
    colors, kind, depth, width, height = data[1], data[2], data[16], data[12:14], data[14:16]
    fits = {1: (8, 16), 2: (15, 16, 24, 32), 3: (8, 16)}.get(kind & 7, ())
    return (
        kind in (1, 2, 3, 9, 10, 11)
        and depth in fits
        and colors == (kind & 7 == 1)
        and width != b"\0\0"
        and height != b"\0\0"
        and not data[17] & 0xC0
    )


def _spider(data: bytes) -> bool:
    from struct import unpack

    from PIL import SpiderImagePlugin

    if len(data) < 27 * 4:
        return False
    try:
        return any(SpiderImagePlugin.isSpiderHeader(unpack(f"{order}27f", data[:108])) for order in "<>")
    except (OverflowError, ValueError):
        return False


def _compressed_svg(data: bytes) -> bool:
    import zlib

    try:
        start = zlib.decompressobj(31).decompress(data, SNIFF_BYTES)
    except zlib.error:
        return False
    return sniff(start) == "SVG"


def _import(name: str) -> Opener:
    module, _, attribute = CODECS[name].reader.rpartition(".")
    plugin = importlib.import_module(module)
    if name == "AVIF":
        vars(plugin)["DEFAULT_MAX_THREADS"] = 1  # the workers are the threads
    elif name == "JXL":
        vars(plugin)["DECODE_THREADS"] = 0
    elif name == "TIFF":
        _silence_libtiff()
    opener: Opener = getattr(plugin, attribute)
    _openers[name] = opener
    return opener


def _silence_libtiff() -> None:
    """Stop libtiff from writing to stderr what its caller learns from the return value anyway.

    Pillow has no switch for it; TIFFSetErrorHandler and TIFFSetWarningHandler are libtiff's own, in the copy of the
    library that this process has loaded. Where it cannot be found the remarks stay, and nothing else changes.
    """
    import ctypes

    try:
        with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as maps:
            paths = {line.split(maxsplit=5)[5].strip() for line in maps if "libtiff" in line}
        for path in paths:
            library = ctypes.CDLL(path)
            for setter in (library.TIFFSetErrorHandler, library.TIFFSetWarningHandler):
                setter.argtypes, setter.restype = [ctypes.c_void_p], ctypes.c_void_p
                setter(None)
    except (OSError, AttributeError, IndexError):
        pass


def explain(error: Exception, data: bytes) -> ImageError:
    """The ImageError for an exception of a decoder: OutOfMemory, TooManyPixels, Truncated, Unsupported or Corrupt."""
    text = str(error)
    if isinstance(error, MemoryError):
        return ImageError("decode", "OutOfMemory", "not enough memory to decode it")
    if isinstance(error, Image.DecompressionBombError):
        return ImageError("decode", "TooManyPixels", "a picture within it is larger than --max-pixels allows")
    lower = text.lower()
    if isinstance(error, EOFError) or any(word in lower for word in _CUT_WORDS) or _announces_more(data):
        return ImageError("decode", "Truncated", CUT)
    if isinstance(error, NotImplementedError) or any(word in lower for word in _UNSUPPORTED_WORDS):
        return ImageError("decode", "Unsupported", f"a kind of image that is not supported: {text}")
    detail = f"{text} ({type(error).__name__})" if text else type(error).__name__
    return ImageError("decode", "Corrupt", f"the image data is damaged: {detail}")


def _announces_more(data: bytes) -> bool:
    """Whether a WebP's or TIFF's header points behind the end of the data."""
    name = sniff(data[:SNIFF_BYTES])
    if name == "WEBP":
        return int.from_bytes(data[4:8], "little") + 8 > len(data)
    if name == "TIFF" and data[2:4] in (b"\x2a\0", b"\0\x2a") and len(data) >= 8:
        (start,) = struct.unpack_from("<I" if data[:1] == b"I" else ">I", data, 4)
        return bool(start >= len(data))
    return False
