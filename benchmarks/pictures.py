"""The folders of images that are measured: links to photographs, 12-megapixel JPEGs, one folder for each format."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

LARGE = (4000, 3000)
_TILES = 4  # a side; so 16 photographs of 500 x 375, each enlarged twice, make one of 4000 x 3000
_NOISE = 3.0  # a sensor's, in pixel values: without it enlarged photographs are too easy to decode

Save = Callable[[Image.Image, Path], None]


def photographs(folder: Path) -> list[Path]:
    """The JPEGs of a folder, sorted."""
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg") and path.is_file())


def repeat(files: Sequence[Path], target: Path, number: int) -> Path:
    """``number`` images in folders of at most 1,000: hard links where the file system allows, else copies."""
    for count in range(number):
        folder = target / f"{count // 1000:04d}"
        if count % 1000 == 0:
            folder.mkdir(parents=True, exist_ok=True)
        file = files[count % len(files)]
        link = folder / f"{count:07d}{file.suffix}"
        if not link.exists():
            try:
                os.link(file, link)
            except OSError:
                link.write_bytes(file.read_bytes())
    return target


def large(files: Sequence[Path], target: Path, number: int) -> list[Path]:
    """12-megapixel JPEGs of quality 90 with halved chroma, composed of the photographs; made once."""
    target.mkdir(parents=True, exist_ok=True)
    made = []
    for count in range(number):
        path = target / f"large-{count:03d}.jpg"
        made.append(path)
        if path.exists():
            continue
        draw = random.Random(count)
        canvas = Image.new("RGB", LARGE)
        width, height = LARGE[0] // _TILES, LARGE[1] // _TILES
        for place, file in enumerate(draw.sample(list(files), _TILES * _TILES)):
            with Image.open(file) as photograph:
                tile = photograph.convert("RGB").resize((width, height), Image.Resampling.BICUBIC)
            tile = tile.filter(ImageFilter.UnsharpMask(1, 60, 0))
            canvas.paste(tile, (place % _TILES * width, place // _TILES * height))
        noise = np.random.default_rng(count).normal(0, _NOISE, (LARGE[1], LARGE[0], 1))
        pixels = np.clip(np.asarray(canvas) + noise, 0, 255).astype(np.uint8)
        temporary = path.with_suffix(".tmp")
        Image.fromarray(pixels).save(temporary, "JPEG", quality=90, subsampling="4:2:0")
        temporary.rename(path)
    return made


def made_apart(files: Sequence[Path], target: Path, number: int) -> list[Path]:
    """:func:`large` in a process of its own: Linux counts a parent's memory into the peak of its children."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(large, files, target, number).result()


def _saver(format: str, **options: object) -> Save:
    def save(image: Image.Image, path: Path) -> None:
        image.save(path, format, **options)

    return save


#: name -> (extension, how it is written)
FORMATS: dict[str, tuple[str, Save]] = {
    "JPEG, progressive": (".jpg", _saver("JPEG", quality=90, progressive=True)),
    "PNG": (".png", _saver("PNG")),
    "WebP": (".webp", _saver("WEBP", quality=85)),
    "WebP, lossless": (".webp", _saver("WEBP", lossless=True, quality=50)),
    "AVIF": (".avif", _saver("AVIF", quality=70)),
    "GIF": (".gif", _saver("GIF")),
    "BMP": (".bmp", _saver("BMP")),
    "TIFF, LZW": (".tif", _saver("TIFF", compression="tiff_lzw")),
}


def formats(files: Sequence[Path], target: Path, number: int) -> dict[str, list[Path]]:
    """The first ``number`` photographs in each format."""
    made: dict[str, list[Path]] = {}
    for name, (suffix, save) in FORMATS.items():
        folder = target / name.replace(", ", "-").lower()
        folder.mkdir(parents=True, exist_ok=True)
        made[name] = [folder / f"{file.stem}{suffix}" for file in files[:number]]
        for file, path in zip(files, made[name], strict=False):
            if not path.exists():
                with Image.open(file) as photograph:
                    save(photograph.convert("RGB"), path)
    return made
