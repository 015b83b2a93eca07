"""The row of pictures in the guide: ``python -m docs.images.scale`` writes scale.webp from two sample images.

Shows changed copies of a picture and the cosine of each with the picture, as the embedded model computes it.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

import fvcli
from fvcli.records import Float32Array
from tests.helpers.copies import write_copies

HERE = Path(__file__).parent
SAMPLES = HERE.parents[1] / "sample_images"
PICTURE, OTHER = SAMPLES / "cat.jpg", SAMPLES / "coffee.jpg"
SHOWN = {
    "original": "original",
    "small": "half the size",
    "edit": "light edit",
    "burst": "next frame",
    "crop": "crop of 5 %",
    "mirror": "mirrored",
}
WIDTH, HEIGHT, GAP, CAPTION = 210, 140, 10, 58  # pixels
INK, QUIET, PAPER = "#1a1c1e", "#5c6166", "#ffffff"


def cosines(files: list[Path]) -> Float32Array:
    """The cosine of each file's vector with that of the first."""
    model = fvcli.load_model()
    vectors = model(model.read(files))
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(units @ units[0], np.float32)


def main() -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_copies(PICTURE, folder, "a")
        write_copies(OTHER, folder, "b")
        shown = [(folder / f"a-{kind}.jpg", caption) for kind, caption in SHOWN.items()]
        shown.append((folder / "b-original.jpg", "another photograph"))
        values = cosines([file for file, _ in shown])
        tiles = sorted(zip(values.tolist(), shown, strict=True), key=lambda each: -each[0])
        canvas = Image.new("RGB", (GAP + len(tiles) * (WIDTH + GAP), GAP + HEIGHT + CAPTION), PAPER)
        draw = ImageDraw.Draw(canvas)
        large, small = ImageFont.load_default(22), ImageFont.load_default(16)
        for number, (cosine, (file, caption)) in enumerate(tiles):
            left = GAP + number * (WIDTH + GAP)
            with Image.open(file) as picture:
                canvas.paste(picture.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS), (left, GAP))
            middle = left + WIDTH // 2
            draw.text((middle, GAP + HEIGHT + 8), f"{cosine:.3f}", INK, large, anchor="ma")
            draw.text((middle, GAP + HEIGHT + 34), caption, QUIET, small, anchor="ma")
    canvas.save(HERE / "scale.webp", "WEBP", quality=80, method=6)


if __name__ == "__main__":
    main()
