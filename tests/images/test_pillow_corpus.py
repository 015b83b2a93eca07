"""Pillow's own test images: none that Pillow opens is lost without a word, and vectors agree with Pillow's pictures.

FVCLI_PILLOW_IMAGES names the folder Tests/images of Pillow's source repository.
"""

from __future__ import annotations

import functools
import io
import os
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from fvcli.errors import ImageError
from fvcli.images.fit import scale
from fvcli.images.loader import ImageLoader
from fvcli.models.loading import load_model
from fvcli.models.protocol import FeatureModel
from fvcli.records import Float32Array, ImageFile, Preprocessing, UInt8Array
from fvcli.sources.formats import kind_of_name

FOLDER = os.environ.get("FVCLI_PILLOW_IMAGES", "")
pytestmark = pytest.mark.skipif(not FOLDER, reason="FVCLI_PILLOW_IMAGES names no folder")

#: Files that Pillow shows otherwise, and why it is fvcli that is right.
DEEP = "more than 8 bits: Pillow cuts values above 255, fvcli scales them"
EXPLAINED = {
    "10ct_32bit_128.tiff": DEEP,
    "12bit.cropped.tif": DEEP,
    "12in16bit.tif": DEEP,
    "16_bit_binary.pgm": DEEP,
    "16_bit_binary_pgm.tiff": DEEP,
    "16bit.MM.cropped.tif": DEEP,
    "16bit.MM.deflate.tif": DEEP,
    "16bit.cropped.j2k": DEEP,
    "16bit.cropped.jp2": DEEP,
    "16bit.cropped.tif": DEEP,
    "16bit.deflate.tif": DEEP,
    "16bit.r.tif": DEEP,
    "16bit.s.tif": DEEP,
    "9bit.j2k": DEEP,
    "cmx3g8_wv_1998.260_0745_mcidas.tiff": DEEP,
    "hopper_16bit.pgm": DEEP,
    "hopper_16bit_plain.pgm": DEEP,
    "ifd_tag_type.tiff": DEEP,
    "issue_6194.j2k": DEEP,
    "m13.fits": DEEP,
    "m13_gzip.fits": DEEP,
    "uint16_1_4660.tif": DEEP,
    "8bit.s.tif": "signed values: Pillow takes -1 for 255",
    "separate_planar_extra_samples.tiff": "two planes: Pillow mixes them",
}
#: Files without first bytes or extensions of their own, in formats of one program each: passed over and counted.
PASSED_OVER = {".imt", ".ara", ".bufr_d", ".grb", ".h5"}
MOST_PIXELS = 50_000_000


def files() -> list[Path]:
    return sorted(path for path in Path(FOLDER).rglob("*") if path.is_file()) if FOLDER else []


def by_pillow(data: bytes) -> UInt8Array | None:
    """The upright picture over white; None where Pillow has none."""
    try:
        with Image.open(io.BytesIO(data)) as opened:
            if opened.width * opened.height > MOST_PIXELS:
                return None
            opened.load()
            shown = ImageOps.exif_transpose(opened)
            if shown.has_transparency_data:
                layered = shown.convert("RGBA")
                shown = Image.new("RGB", layered.size, "white")
                shown.paste(layered, mask=layered.getchannel("A"))
            return np.asarray(shown.convert("RGB"))
    except Exception:
        return None


@functools.cache
def tools() -> tuple[FeatureModel, ImageLoader]:
    """The embedded model and its loader."""
    model = load_model()
    return model, ImageLoader(model.input_spec, Preprocessing("exact"))


def cosine(vectors: Float32Array) -> float:
    return float(vectors[0] @ vectors[1] / np.linalg.norm(vectors[0]) / np.linalg.norm(vectors[1]))


@pytest.mark.parametrize("path", files(), ids=lambda path: path.name)
def test_what_pillow_opens_is_a_row_like_its_picture(path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = path.read_bytes()
        expected = by_pillow(data)
        model, loader = tools()
        images = np.zeros((2, 160, 160, 3), np.uint8)
        try:
            loader.prepare(ImageFile(data, "", len(data), 0), images[0])
            failure = None
        except ImageError as error:
            failure = error
        if failure is not None:
            unknown = failure.kind == "NotAnImage" and kind_of_name(path.name) is None
            assert expected is None or (unknown and path.suffix in PASSED_OVER), failure
            return
        if expected is not None and path.name not in EXPLAINED:
            box = (0.0, 0.0, float(expected.shape[1]), float(expected.shape[0]))
            scale(expected, box, "bilinear", images[1])
            assert cosine(model(images)) >= 0.98
