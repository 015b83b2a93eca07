"""Which files count as images: by extension where the name has one, by the first bytes otherwise.

Each format's first bytes are those of its specification: JPEG (ITU-T T.81, B.1.1.3), PNG (ISO 15948, 5.2),
GIF89a (section 17), WebP (RFC 9649, 2.4), BMP (BITMAPFILEHEADER), TIFF 6.0 (section 2) and BigTIFF,
AVIF (ISO 14496-12 ``ftyp`` with the brands of AV1 Image File Format, section 6).
"""

from __future__ import annotations

#: Extensions, lower case, that make a file in a folder an input.
EXTENSIONS = frozenset(
    ["jpg", "jpeg", "jpe", "jfif", "png", "apng", "webp", "gif", "bmp", "tif", "tiff", "avif", "avifs"]
)

#: How many of a file's first bytes :func:`sniff` needs.
SNIFF_BYTES = 32

_TIFF_STARTS = (b"II\x2a\x00", b"MM\x00\x2a", b"II\x2b\x00", b"MM\x00\x2b")
_AVIF_BRANDS = frozenset([b"avif", b"avis"])


def sniff(start: bytes) -> str | None:
    """The format ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "AVIF") that a file's first bytes announce, or None."""
    if start.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if start.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if start.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    if start.startswith(b"RIFF") and start[8:12] == b"WEBP":
        return "WEBP"
    if start.startswith(_TIFF_STARTS):
        return "TIFF"
    if start[4:8] == b"ftyp":
        # The major brand, then (after the minor version) the first compatible ones: some writers put "mif1" first.
        brands = {start[8:12], *(start[at : at + 4] for at in range(16, SNIFF_BYTES, 4))}
        return "AVIF" if brands & _AVIF_BRANDS else None
    if start.startswith(b"BM"):
        return "BMP"
    return None


def has_image_extension(name: str) -> bool | None:
    """True or False by the extension of a file's base name; None where it has none and its bytes must tell."""
    dot = name.rfind(".")
    extension = name[dot + 1 :] if dot > 0 else ""
    return extension.lower() in EXTENSIONS if extension else None
