"""The collected cases, one small file for each kind of fault, against their reference pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fvcli.errors import ImageError
from fvcli.images.loader import ImageLoader
from fvcli.models.loading import load_model
from fvcli.records import ImageRef, Preprocessing

CASES = Path(__file__).resolve().parents[3] / "shared" / "cases"
pytestmark = pytest.mark.skipif(not CASES.is_dir(), reason="the cases are not here")

LIKE = {
    "real.heic": ("ref_rgb.png", 0.97),
    "real.jp2": ("ref_rgb.png", 0.97),
    "stereo.mpo": ("ref_rgb.png", 0.94),  # its first picture is a JPEG of low quality
    "tiff_rgb16_planar_uncompressed.tif": ("ref_rgb_100x76.png", 0.999),
    "tiff_rgb16_contig_uncompressed.tif": ("ref_rgb_100x76.png", 0.999),
    "tiff_grey_int8.tif": ("ref_grey.png", 0.999),
    "tiff_grey_float32_max1.5.tif": ("ref_grey.png", 0.985),
    "jpeg_no_eoi.jpg": ("jpeg_plain.jpg", 1.0),
    "png_icc_2MiB.png": ("ref_rgb.png", 1.0),
    "tiff_compression_webp.tif": ("ref_rgb.png", 0.97),
}


@pytest.mark.parametrize("name", LIKE)
def test_a_case_has_its_references_vector(name: str) -> None:
    if name.startswith(("tiff_rgb16_planar", "tiff_compression", "tiff_grey_int8")):
        pytest.importorskip("tifffile")
    reference, least = LIKE[name]
    model = load_model()
    loader = ImageLoader(model.input_spec, Preprocessing())
    images = np.zeros((2, model.input_spec.height, model.input_spec.width, 3), np.uint8)
    for image, file in zip(images, (name, reference), strict=True):
        loader.load(ImageRef(str(CASES), file), image)
    if least == 1.0:
        assert np.array_equal(*images)
    first, second = model(images)
    assert first @ second / np.linalg.norm(first) / np.linalg.norm(second) >= least - 1e-6


def test_a_jpeg_of_12_bits_is_named() -> None:
    model = load_model()
    with pytest.raises(ImageError, match="12 bits per sample") as caught:
        ImageLoader(model.input_spec, Preprocessing()).load(
            ImageRef(str(CASES), "jpeg_12bit.jpg"),
            np.zeros((model.input_spec.height, model.input_spec.width, 3), np.uint8),
        )
    assert caught.value.kind == "Unsupported"
