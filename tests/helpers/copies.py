"""Changed copies of photographs, as a phone's folder has them, for near-duplicate detection."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance

ORIGINALS = 24
ENLARGED = 3  # times: photographs of 500 x 375 pixels get about as large as a phone's


def half(image: Image.Image) -> Image.Image:
    return image.resize((image.width // 2, image.height // 2))


def light_edit(image: Image.Image) -> Image.Image:
    return ImageEnhance.Color(ImageEnhance.Brightness(image).enhance(1.12)).enhance(1.15)


def burst(image: Image.Image) -> Image.Image:
    """The next frame of a burst: the scene shifted by about 2 %, with other noise."""
    width, height = image.size
    shifted = image.crop((width // 50, height // 60, width, height)).resize(image.size, Image.Resampling.BICUBIC)
    noise = np.random.default_rng(1).normal(0, 4, (height, width, 3))
    return Image.fromarray(np.clip(np.asarray(shifted) + noise, 0, 255).astype(np.uint8))


def cropped(image: Image.Image) -> Image.Image:
    """The image without 5 % on each side."""
    width, height = image.size
    return image.crop((width // 20, height // 20, width - width // 20, height - height // 20))


def mirrored(image: Image.Image) -> Image.Image:
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)


#: The kinds of copies: the word in a file's name, and what makes the copy.
KINDS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "small": half,
    "edit": light_edit,
    "burst": burst,
    "crop": cropped,
    "mirror": mirrored,
}


def write_copies(photograph: Path, folder: Path, name: str) -> None:
    """Writes NAME-original.jpg, enlarged, and NAME-KIND.jpg for each kind of copy."""
    with Image.open(photograph) as opened:
        image = opened.resize((opened.width * ENLARGED, opened.height * ENLARGED), Image.Resampling.BICUBIC)
    image.save(folder / f"{name}-original.jpg", quality=93)
    for kind, change in KINDS.items():
        change(image).save(folder / f"{name}-{kind}.jpg", quality=70 if kind == "small" else 90)


def write_phone_folder(photographs: Path, folder: Path) -> None:
    """Writes copies of 24 color photographs, every 20th JPEG of a folder; names begin with 00 to 23."""
    every = sorted(path for path in photographs.iterdir() if path.suffix.lower() in (".jpg", ".jpeg"))[::20]
    files = [file for file in every if Image.open(file).mode == "RGB"]
    for number, file in enumerate(files[:ORIGINALS]):
        write_copies(file, folder, f"{number:02d}")
