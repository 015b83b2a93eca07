"""Every format that fvcli reads gives its pixels, and the others say what they are and what helps."""

from __future__ import annotations

import re
import struct
from pathlib import Path

import numpy as np
import pytest

from fvcli.errors import ImageError
from fvcli.images.codecs import CODECS
from fvcli.images.decode import decode
from fvcli.images.loader import ImageLoader
from fvcli.records import ImageFile, InputSpec, Preprocessing
from fvcli.sources.formats import FORMATS, SNIFF_BYTES, kind_of_name, sniff
from tests.helpers.samples import samples

PAGE = Path(__file__).resolve().parents[2] / "docs" / "images.md"
SAMPLES = samples()


@pytest.mark.parametrize("name", SAMPLES)
def test_each_format_gives_its_pixels(name: str) -> None:
    sample = SAMPLES[name]
    assert kind_of_name(name) in ("read", None)
    with decode(sample.data, (1, 1), exact=True) as image:
        pixels = image.pixels if image.pixels.ndim == 3 else np.repeat(image.pixels[:, :, None], 3, axis=2)
        assert (image.height, image.width) == sample.pixels.shape[:2]
        assert np.abs(pixels.astype(float) - sample.pixels).mean() <= sample.tolerance


def test_every_format_that_is_read_has_a_sample_and_a_codec() -> None:
    found = {sniff(sample.data[:SNIFF_BYTES]) for sample in SAMPLES.values()}
    found |= {"TGA", "SPIDER", "PCD"}  # without first bytes of their own
    readable = {format.name for format in FORMATS if format.readable}
    assert readable - found <= {"JXL"}  # an extra
    assert readable <= set(CODECS)


@pytest.mark.parametrize("name", ["a.heic", "a.jp2", "a.tga", "a.ico", "a.psd", "a.qoi"])
def test_a_process_of_its_own_gives_the_same(name: str) -> None:
    """Rare formats are decoded elsewhere in a run."""
    spec, data = InputSpec(64, 64), SAMPLES[name].data
    loader = ImageLoader(spec, Preprocessing())
    there, here = np.zeros((64, 64, 3), np.uint8), np.zeros((64, 64, 3), np.uint8)
    info = loader.prepare(ImageFile(data, "", len(data), 0), there)
    with decode(data, (64, 64), exact=False) as image:
        loader._fitter.fit(image, here)
        assert (info.width, info.height, info.format) == (image.width, image.height, image.format)
    assert np.array_equal(there, here)


UNREAD = {
    "RAW": [
        b"FUJIFILMCCD-RAW 0201" + bytes(100),
        b"II*\0\x10\0\0\0CR\x02\0" + bytes(100),
        struct.pack(">I", 24) + b"ftypcrx \0\0\0\1crx isom" + bytes(64),
    ],
    "SVG": [b"<?xml version='1.0'?><svg xmlns='http://www.w3.org/2000/svg'/>", b"<svg width='1'></svg>"],
    "EPS": [b"%!PS-Adobe-3.0 EPSF-3.0\n"],
    "PSB": [b"8BPS\0\2" + bytes(30)],
    "EXR": [b"\x76\x2f\x31\x01" + bytes(30)],
    "JPEGXR": [b"II\xbc\x01" + bytes(30)],
    "DICOM": [bytes(128) + b"DICM" + bytes(30)],
}


@pytest.mark.parametrize(("name", "data"), [(name, data) for name, all in UNREAD.items() for data in all])
def test_what_is_not_read_is_named_with_what_helps(name: str, data: bytes) -> None:
    with pytest.raises(ImageError) as caught:
        decode(data, (1, 1), exact=False)
    assert caught.value.kind == "Unsupported"
    assert name in str(caught.value)
    assert "first" in str(caught.value)


def test_a_format_whose_library_is_missing_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fvcli.sources.formats._importable", lambda module: module != "pillow_jxl")
    with pytest.raises(ImageError, match=re.escape("pip install 'fvcli[jxl]'")) as caught:
        decode(b"\xff\x0a" + bytes(100), (1, 1), exact=False)
    assert caught.value.kind == "Unsupported"


def test_the_page_lists_every_format_with_its_extensions() -> None:
    rows = re.findall(r"^\| ([A-Z0-9]+) \| `([^`]+)` \| (.+) \|$", PAGE.read_text("utf-8"), re.MULTILINE)
    assert {name: tuple(extensions.split()) for name, extensions, _ in rows} == {
        format.name: format.extensions for format in FORMATS
    }
    for name, _, text in rows:
        readable = next(format.readable for format in FORMATS if format.name == name)
        assert text.startswith("not read") is not readable
