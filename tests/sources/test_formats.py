"""Formats by names and by first bytes."""

from __future__ import annotations

import io
import struct

import pytest
from PIL import Image

from fvcli.sources.formats import BY_NAME, FORMATS, SNIFF_BYTES, NameKind, has_image_extension, kind_of_name, sniff


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.jpg", "read"),
        ("A.JPG", "read"),
        ("stereo.mpo", "read"),
        ("x.jfi", "read"),
        ("x.pjpeg", "read"),
        ("IMG_0001.HEIC", "read"),
        ("x.jxl", "read"),
        ("x.psd", "read"),
        ("x.cr2", "unread"),
        ("x.NEF", "unread"),
        ("x.svg", "unread"),
        ("x.mov", "other"),
        ("x.txt", "other"),
        ("x.zip", "other"),
        ("README", None),
        (".hidden", None),
        ("x.quux", None),
        ("photo.jpg_large", None),
        ("x.fits", None),
        ("x.", None),
    ],
)
def test_an_extension_says_image_or_not_or_nothing(name: str, kind: NameKind | None) -> None:
    assert kind_of_name(name) == kind
    assert has_image_extension(name) == {"read": True, "unread": True, "other": False, None: None}[kind]


@pytest.mark.parametrize(
    "format",
    ["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "AVIF", "JPEG2000", "PPM", "PCX", "ICO", "ICNS", "QOI", "DDS", "SGI",
     "IM", "MSP", "XBM", "BLP"],
)  # fmt: skip
def test_what_pillow_writes_is_known_by_its_first_bytes(format: str) -> None:
    stream = io.BytesIO()
    image = Image.new({"MSP": "1", "XBM": "1", "BLP": "P"}.get(format, "RGB"), (64, 64))
    image.save(stream, format)
    assert sniff(stream.getvalue()[:SNIFF_BYTES]) == {"PPM": "PNM"}.get(format, format)


def heif(*brands: bytes) -> bytes:
    body = brands[0] + b"\0\0\0\0" + b"".join(brands[1:])
    return struct.pack(">I", 8 + len(body)) + b"ftyp" + body + b"\0\0\0\x20meta"


@pytest.mark.parametrize(
    ("start", "name"),
    [
        (heif(b"heic", b"mif1", b"heic"), "HEIF"),
        (heif(b"mif1", b"heic"), "HEIF"),
        (heif(b"mif1", b"miaf", b"avif"), "AVIF"),
        (heif(b"crx ", b"crx ", b"isom"), "RAW"),
        (heif(b"isom", b"mp42"), None),
        (b"II*\0\x10\0\0\0CR\x02\0", "RAW"),
        (b"II*\0\x08\0\0\0\x0b\0\0\1", "TIFF"),
        (b"FUJIFILMCCD-RAW 0201", "RAW"),
        (b"\xef\xbb\xbf<?xml version='1.0'?>\n<!-- x -->\n<svg xmlns='...'>", "SVG"),
        (b"<svg:svg xmlns:svg='...'>", "SVG"),
        (b"<?xml version='1.0'?><plist></plist>", None),
        (b"<html><svg></svg></html>", None),
        (b"%!PS-Adobe-3.0 EPSF-3.0", "EPS"),
        (b"8BPS\0\1", "PSD"),
        (b"8BPS\0\2", "PSB"),
        (b"P6 2 2 255 aaaabbbbcccc", "PNM"),
        (b"P6x", None),
        (b"Plain text", None),
        (b"\0" * 200, None),
        (b"", None),
    ],
)
def test_first_bytes(start: bytes, name: str | None) -> None:
    assert sniff(start) == name


def test_no_extension_belongs_to_two_formats_and_each_format_says_what_helps() -> None:
    extensions = [extension for format in FORMATS for extension in format.extensions]
    assert len(extensions) == len(set(extensions))
    for format in FORMATS:
        assert format.remedy, format.name
        assert format.readable or not format.available


def test_a_missing_library_is_named_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fvcli.sources.formats._importable", lambda module: False)
    assert not BY_NAME["JXL"].available
    assert "pip install 'fvcli[jxl]'" in BY_NAME["JXL"].remedy
