"""More than 8 bits to 8: nothing comes out black or white that is not, and nothing jumps."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from fvcli.images.convert import value_range, white_of
from fvcli.images.decode import decode
from fvcli.records import UInt8Array
from tests.helpers.bombs import png, tiff
from tests.helpers.samples import picture

GRAY = np.asarray(picture().convert("L")).astype(float) / 255
COLOR = np.asarray(picture()).astype(float) / 255


def pixels_of(data: bytes) -> UInt8Array:
    with decode(data, (1, 1), exact=True) as image:
        return image.pixels


def gray(values: np.ndarray) -> UInt8Array:
    stream = io.BytesIO()
    Image.fromarray(values).save(stream, "TIFF")
    return pixels_of(stream.getvalue())


def test_white_is_continuous_and_never_below_the_largest_value() -> None:
    largest = np.geomspace(1e-6, 1e12, 20_000)
    whites = np.array([white_of(value) for value in largest])
    assert (whites >= largest).all()
    assert (whites <= 4 * largest).all()
    steps = np.diff(np.log(whites)) / np.diff(np.log(largest))
    assert steps.min() >= 0
    assert steps.max() < 2.01


@pytest.mark.parametrize("nominal", [1.0, 255.0, 65535.0])
def test_values_in_a_known_range_keep_it(nominal: float) -> None:
    assert white_of(nominal) == white_of(nominal / 2) == white_of(nominal / 4) == nominal


@pytest.mark.parametrize(
    "largest", [0.01, 0.3, 1.0, 1.3, 1.5, 100.0, 255.0, 300.0, 1023.0, 4095.0, 16383.0, 65535.0, 1e6]
)
def test_a_picture_of_floats_is_a_picture_whatever_its_range(largest: float) -> None:
    shown = gray((GRAY * largest).astype(np.float32)).astype(float)
    expected = GRAY * 255
    assert shown.max() > 60
    assert np.corrcoef(shown.ravel(), expected.ravel())[0, 1] > 0.999


@pytest.mark.parametrize("bits", [8, 9, 10, 12, 14, 16])
def test_fewer_bits_in_16_are_a_picture(bits: int) -> None:
    values = np.rint(GRAY * (2**bits - 1)).astype(np.uint16)
    levels = GRAY * 255
    shown = gray(values).astype(float)
    assert np.corrcoef(shown.ravel(), levels.ravel())[0, 1] > 0.999
    assert shown.max() > 60
    stored = np.rint(COLOR * (2**bits - 1)).astype(">u2")
    rows = b"".join(b"\0" + row.tobytes() for row in stored)
    for kind in (2, 6):
        pixels = rows
        if kind == 6:
            opaque = np.concatenate([stored, np.full((*stored.shape[:2], 1), 65535)], axis=2).astype(">u2")
            pixels = b"".join(b"\0" + row.tobytes() for row in opaque)
        color = pixels_of(png(120, 80, 16, kind, zlib.compress(pixels))).astype(float)
        assert np.corrcoef(color.ravel(), (COLOR * 255).ravel())[0, 1] > 0.999
        assert color.max() > 60


def test_twelve_bit_data_fills_the_range_exactly() -> None:
    values = np.array([[0, 2048, 4095]], np.uint16)
    assert gray(values).tolist() == [[0, 128, 255]]
    assert value_range(values) == (0.0, 4095.0)


def test_a_twelve_bit_tiff_keeps_its_scale_when_it_is_dark() -> None:
    """12 bits packed: three bytes hold two values, and white is 4095 whatever the values are."""
    values = [0, 1000, 2000, 500] * 4
    packed = b"".join(
        bytes([a >> 4, (a & 15) << 4 | b >> 8, b & 255]) for a, b in zip(values[::2], values[1::2], strict=True)
    )
    entries = {256: (4, 16), 257: (4, 1), 258: (3, 12), 259: (3, 1), 262: (3, 1), 273: (4, 8), 277: (3, 1), 278: (4, 1)}
    data = tiff(entries | {279: (4, len(packed))}, packed)
    assert struct.unpack_from("<I", data, 4) == (8 + len(packed),)
    assert pixels_of(data)[0, :4].tolist() == [0, 62, 125, 31]


def test_negative_values_begin_at_black() -> None:
    assert gray(np.array([[-1.0, 0.0, 1.0]], np.float32)).tolist() == [[0, 128, 255]]
    assert gray(np.array([[-128, 0, 127]], np.int32)).tolist() == [[0, 128, 255]]
