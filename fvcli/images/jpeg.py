"""JPEGs by libjpeg-turbo itself (simplejpeg): a fast path with Pillow's pixels, and libjpeg's warnings.

The fast path is for ordinary files. Whatever is unusual in a file's header, and any file that libjpeg-turbo warns
about, is left to Pillow. What libjpeg-turbo warns about tells whether a picture is all there.
"""

from __future__ import annotations

from fvcli.errors import ImageError
from fvcli.images.jpeg_header import JpegHeader, complete, scans
from fvcli.records import UInt8Array

try:
    from simplejpeg import decode_jpeg
except ImportError:  # no build for this machine
    decode_jpeg = None

END_MARKER = b"\xff\xd9"
CUT = "the file ends in the middle of the image"
#: Shorter sides are left to Pillow: below 8 pixels one size belongs to several DCT scales.
_LEAST_SIDE = 64
_MARKS_PREMATURE_END = "premature end"


def decoder() -> str:
    """The library that decodes ordinary JPEGs on this machine, as a recipe names it."""
    return "pillow" if decode_jpeg is None else "simplejpeg"


def has_fast_path(header: JpegHeader) -> bool:
    """Whether the fast path decodes such a file: 8-bit Huffman codes, gray or three components, usual segments."""
    frame = header.frame
    return (
        decode_jpeg is not None
        and header.usual
        and frame.huffman
        and frame.precision == 8
        and frame.components in (1, 3)
        and header.orientation is not None
        and min(frame.size) >= _LEAST_SIDE
    )


def closed(data: bytes, header: JpegHeader) -> bytes:
    """``data`` with an end marker, added where it lacks one.

    Raises ImageError with kind Truncated where there is less data than the smallest picture of that size has, and
    where scans are missing.
    """
    if (len(data) - header.scan) * 8 < header.frame.least_bits:
        raise ImageError("decode", "Truncated", CUT)
    if data.rfind(END_MARKER, header.scan) >= 0 and header.interleaved:
        return data
    if header.buffered and not complete(data, header):
        raise ImageError("decode", "Truncated", CUT)
    return data if data.rfind(END_MARKER, header.scan) >= 0 else data + END_MARKER


def count_scans(data: bytes, header: JpegHeader) -> int:
    """The number of passes of decoding over the whole picture: 1 unless it is progressive or not interleaved."""
    return sum(1 for _ in scans(data, header)) if header.buffered else 1


def decode_fast(data: bytes, header: JpegHeader, scale: int) -> UInt8Array | None:
    """uint8 [H, W, 3] or gray [H, W] at 1/scale (1, 2, 4, 8; sides rounded up); None if libjpeg-turbo warns.

    The integer DCT and smooth ("fancy") upsampling of libjpeg-turbo, as Pillow has them decode. Raises ImageError with
    kind Truncated where the data ends before the picture does.
    """
    width, height = (-(-side // scale) for side in header.frame.size)
    colors = "RGB" if header.frame.components == 3 else "GRAY"
    try:
        pixels: UInt8Array = decode_jpeg(data, colors, min_width=width, min_height=height, min_factor=1)
    except ValueError as error:
        _check_end(str(error))
        return None
    if pixels.shape[:2] != (height, width):
        return None
    return pixels if colors == "RGB" else pixels[:, :, 0]


def check_end(data: bytes, header: JpegHeader) -> bool:
    """Whether libjpeg-turbo warns about ``data``; False where it has no build or does not decode such a kind.

    Raises ImageError with kind Truncated where it warns that the data ends before the picture does.
    """
    if decode_jpeg is None or header.frame.lossless:  # simplejpeg makes room for a smaller scale
        return False
    try:
        decode_jpeg(data, "CMYK" if header.frame.components == 4 else "RGB", min_width=1, min_height=1, min_factor=1)
    except ValueError as error:
        _check_end(str(error))
        return True
    return False


def _check_end(warning: str) -> None:
    if _MARKS_PREMATURE_END in warning.lower():
        raise ImageError("decode", "Truncated", CUT)
