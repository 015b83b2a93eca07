"""TIFFs of every number type and layout: the right picture, or Unsupported; never another one."""

from __future__ import annotations

import io
import itertools
import struct

import numpy as np
import pytest
from PIL import Image

from fvcli.errors import ImageError
from fvcli.images import tiff
from fvcli.images.decode import decode
from fvcli.records import UInt8Array
from tests.helpers.samples import picture, saved

COLOR = np.array(picture())
COLOR[0, 0], COLOR[0, 1] = 0, 255
GRAY = np.array(picture().convert("L"))
GRAY[0, :2] = 0, 255
#: Every level of 8 bits as the same picture in another number type: levels -> values.
TYPES = {
    "u1": lambda levels: levels.astype(np.uint8),
    "i1": lambda levels: (levels.astype(int) - 128).astype(np.int8),
    "u2": lambda levels: levels.astype(np.uint16) * 257,
    "i2": lambda levels: (levels.astype(int) * 257 - 32768).astype(np.int16),
    "u4": lambda levels: levels.astype(np.uint32) * 16843009,
    "f2": lambda levels: (levels / 255).astype(np.float16),
    "f4": lambda levels: (levels / 255).astype(np.float32),
    "f8": lambda levels: levels / 255,
}
LAYOUTS = list(itertools.product(["contig", "separate"], [None, "zlib", "lzw"], [False, True], "<>", [None, (16, 16)]))


def pixels_of(data: bytes) -> UInt8Array:
    """uint8 [H, W, 3]"""
    with decode(data, (1, 1), exact=True) as image:
        return image.pixels if image.pixels.ndim == 3 else np.repeat(image.pixels[:, :, None], 3, axis=2)


def written(values: np.ndarray, **options: object) -> bytes:
    tifffile = pytest.importorskip("tifffile")
    pytest.importorskip("imagecodecs")
    stream = io.BytesIO()
    tifffile.imwrite(stream, np.ascontiguousarray(values), metadata=None, **options)
    return stream.getvalue()


@pytest.mark.parametrize("samples", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("kind", TYPES)
def test_every_number_type_and_layout_gives_the_picture(kind: str, samples: int) -> None:
    levels = GRAY if samples < 3 else COLOR
    values = TYPES[kind](np.full((*levels.shape[:2], samples), 255)) if samples > 1 else TYPES[kind](levels)
    if samples == 2:
        values[:, :, 0] = TYPES[kind](levels)
    elif samples > 2:
        values[:, :, :3] = TYPES[kind](levels)
    extra = {2: ["unassalpha"], 4: ["unassalpha"], 5: ["unspecified", "unspecified"]}.get(samples)
    options = {"photometric": "rgb" if samples > 2 else "minisblack"} | ({"extrasamples": extra} if extra else {})
    expected = levels if levels.ndim == 3 else np.repeat(levels[:, :, None], 3, axis=2)
    for planar, compression, predictor, order, tile in LAYOUTS:
        if (planar == "separate" and samples == 1) or (predictor and compression is None):
            continue
        stored = np.moveaxis(values, -1, 0) if planar == "separate" else values
        layout = {"planarconfig": planar} if samples > 1 else {}
        data = written(
            stored, compression=compression, predictor=predictor, byteorder=order, tile=tile, **options, **layout
        )
        difference = np.abs(pixels_of(data).astype(int) - expected).max()
        assert difference <= 1, (planar, compression, predictor, order, tile)


def test_what_is_transparent_lies_on_white() -> None:
    alpha = np.array([[0.0, 0.25, 0.5, 1.0]] * 16, np.float32)
    values = np.stack([np.full_like(alpha, 0.2)] * 3 + [alpha], axis=-1)
    values[0, 0, :3], values[0, 1, :3] = 0, 1  # the range of the numbers
    data = written(values, photometric="rgb", extrasamples=["unassalpha"])
    assert pixels_of(data)[5, :, 0].tolist() == pytest.approx([255, 204, 153, 51], abs=1)


@pytest.mark.parametrize("order", "<>")
def test_bigtiff_in_both_byte_orders(order: str) -> None:
    data = written(COLOR, bigtiff=True, byteorder=order, photometric="rgb")
    assert np.array_equal(pixels_of(data), COLOR)


def test_pillow_alone_reads_the_usual_kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("tifffile was used")

    monkeypatch.setattr(tiff, "decode_unusual", fail)
    for options in ({}, {"compression": "tiff_lzw"}, {"compression": "tiff_adobe_deflate"}, {"compression": "jpeg"}):
        assert np.abs(pixels_of(saved("TIFF", Image.fromarray(COLOR), **options)).astype(int) - COLOR).mean() < 4
    assert np.array_equal(pixels_of(saved("TIFF", Image.fromarray(GRAY)))[:, :, 0], GRAY)


@pytest.mark.parametrize(
    ("values", "options", "named"),
    [
        (TYPES["u4"](GRAY), {}, "1 x 32 bits, unsigned"),
        (TYPES["f4"](COLOR), {"photometric": "rgb"}, "3 x 32 bits, float"),
        (COLOR, {"photometric": "rgb", "compression": "webp"}, "WebP compression"),
        (COLOR, {"photometric": "rgb", "bigtiff": True, "byteorder": ">"}, "big-endian"),
    ],
)
def test_without_the_extra_unusual_kinds_are_named(
    values: np.ndarray, options: dict[str, object], named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = written(values, **options)
    monkeypatch.setitem(__import__("sys").modules, "tifffile", None)
    with pytest.raises(ImageError, match=named) as caught:
        decode(data, (1, 1), exact=False)
    assert caught.value.kind == "Unsupported"
    assert "pip install 'fvcli[tiff]'" in str(caught.value)


def test_a_color_map_of_8_bit_values_is_taken_as_such() -> None:
    indexed = picture().quantize(256)
    data = bytearray(saved("TIFF", indexed))
    header = tiff.read_header(bytes(data))
    assert header is not None
    entries = header.tags[320]
    at = data.index(struct.pack(f"<{len(entries)}H", *entries))
    data[at : at + 2 * len(entries)] = struct.pack(f"<{len(entries)}H", *(entry >> 8 for entry in entries))
    assert np.array_equal(pixels_of(bytes(data)), np.asarray(indexed.convert("RGB")))


def test_lab_is_converted() -> None:
    from PIL import ImageCms

    profile = ImageCms.createProfile("LAB")
    lab = ImageCms.profileToProfile(Image.fromarray(COLOR), ImageCms.createProfile("sRGB"), profile, outputMode="LAB")
    assert isinstance(lab, Image.Image)
    difference = np.abs(pixels_of(saved("TIFF", lab)).astype(int) - COLOR)
    assert difference.mean() < 3


def test_a_camera_raw_file_is_no_preview() -> None:
    """Its first directory holds a small picture for lists, and points to the raw data."""
    for entry in (struct.pack("<HHII", 50706, 1, 4, 0x00000401), struct.pack("<HHIHH", 259, 3, 1, 34713, 0)):
        data = bytearray(saved("TIFF"))
        (start,) = struct.unpack_from("<I", data, 4)
        (count,) = struct.unpack_from("<H", data, start)
        kept = [data[start + 2 + 12 * at : start + 14 + 12 * at] for at in range(count)]
        entries = [each for each in kept if each[:2] != entry[:2]] + [entry]
        moved = struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4)
        raw = data[:4] + struct.pack("<I", len(data)) + data[8:] + moved
        with pytest.raises(ImageError, match="raw file") as caught:
            decode(bytes(raw), (1, 1), exact=False)
        assert caught.value.kind == "Unsupported"


def test_bands_without_a_meaning_are_not_guessed() -> None:
    values = np.repeat(GRAY[:, :, None], 5, axis=2).astype(np.uint16)
    data = written(values, photometric="minisblack", planarconfig="contig")
    with pytest.raises(ImageError, match="5 samples per pixel") as caught:
        decode(data, (1, 1), exact=False)
    assert caught.value.kind == "Unsupported"


def test_a_strip_behind_the_end_is_a_cut_file() -> None:
    data = written(TYPES["f4"](COLOR), photometric="rgb", compression="zlib")
    for kept in (0.2, 0.6, 0.95):
        with pytest.raises(ImageError) as caught:
            decode(data[: int(len(data) * kept)], (1, 1), exact=False)
        assert caught.value.kind == "Truncated"


@pytest.mark.parametrize("side", [256, 257])
def test_a_picture_without_pixels_is_damaged(side: int) -> None:
    data = bytearray(written(np.zeros((40, 50)), byteorder="<"))
    entry = data.index(struct.pack("<HHI", side, 4, 1))
    data[entry + 8 : entry + 12] = bytes(4)
    with pytest.raises(ImageError, match="no pixels") as caught:
        pixels_of(bytes(data))
    assert caught.value.kind == "Corrupt"
