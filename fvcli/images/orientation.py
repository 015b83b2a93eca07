"""EXIF orientation (CIPA DC-008, 4.6.4): what a file says, and the upright picture."""

from __future__ import annotations

from typing import TypeAlias

from PIL import Image, ImageFile

from fvcli.images.jpeg_header import ORIENTATION_TAG

#: left, top, right, bottom, in pixels.
Region: TypeAlias = tuple[float, float, float, float]

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
