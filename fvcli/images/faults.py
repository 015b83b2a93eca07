"""Exceptions of decoders as errors of fvcli."""

from __future__ import annotations

import struct

from PIL import Image

from fvcli.errors import ImageError
from fvcli.images.jpeg import CUT
from fvcli.sources.formats import SNIFF_BYTES, sniff

_CUT_WORDS = ("truncated", "buffer overrun", "not enough data", "end of file", "unexpected eof", "premature end")
_UNSUPPORTED_WORDS = ("pixel mode", "unsupported", "not supported", "unimplemented", "not implemented")


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
