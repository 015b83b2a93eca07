"""The photographs: which are trained on, which are set aside, and what class each is of."""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fvcli.images.loader import ImageLoader
from fvcli.records import ImageRef, InputSpec, Preprocessing, UInt8Array

VALIDATION = 106
ASIDE = 1000
MISNAMED = (224, 224)
"""The size of the photographs in validation/ that carry the names, and so the classes, of other photographs."""

LONGEST_SIDE = 640


@dataclass(frozen=True, slots=True)
class Split:
    """The paths of the photographs, by what each may be used for.

    train: photos/ and more/ less those set aside, and all of bsds500/. validation: set aside from photos/, with known
    classes. aside: set aside from more/, to measure agreement with the teacher.
    """

    train: tuple[Path, ...]
    validation: tuple[Path, ...]
    aside: tuple[Path, ...]


class Album(Sequence[Image.Image]):
    """The photographs at some paths, each decoded whenever it is asked for: that costs less than keeping them all."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = paths

    def __len__(self) -> int:
        return len(self._paths)

    @overload
    def __getitem__(self, index: int) -> Image.Image: ...
    @overload
    def __getitem__(self, index: slice) -> Album: ...
    def __getitem__(self, index: int | slice) -> Image.Image | Album:
        return Album(self._paths[index]) if isinstance(index, slice) else load(self._paths[index])


def split(data: Path) -> Split:
    """The split of a folder with photos/, bsds500/ and more/.

    Set aside are the 106 photographs of photos/ and the 1,000 of more/ whose file names have the smallest SHA-256.
    """
    photos, more = by_hash((data / "photos").glob("*.JPEG")), by_hash((data / "more").glob("*.avif"))
    others = sorted((data / "bsds500").glob("*.jpg"))
    return Split(
        train=(*sorted(photos[VALIDATION:]), *others, *sorted(more[ASIDE:])),
        validation=tuple(photos[:VALIDATION]),
        aside=tuple(more[:ASIDE]),
    )


def by_hash(paths: Iterable[Path]) -> list[Path]:
    """``paths`` in the order of the SHA-256 of their file names, as hexadecimal text."""
    return sorted(paths, key=lambda path: hashlib.sha256(path.name.encode()).hexdigest())


def labeled(
    labels: Path, folder: Path, without: tuple[int, int] | None = None
) -> tuple[tuple[Path, ...], NDArray[np.int64]]:
    """The photographs of a tab-separated table with the columns ``file`` and ``class``, and their classes (0..1000).

    without: width and height of photographs to leave out.
    """
    with open(labels, newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    if without is not None:
        rows = [row for row in rows if Image.open(folder / row["file"]).size != without]
    return tuple(folder / row["file"] for row in rows), np.array([int(row["class"]) for row in rows])


def loaded(paths: Sequence[Path], spec: InputSpec, preprocessing: Preprocessing) -> UInt8Array:
    """uint8 [n, height, width, 3], as ``fvcli extract`` gives the photographs to a model."""
    loader = ImageLoader(spec, preprocessing)
    images = np.empty((len(paths), spec.height, spec.width, 3), np.uint8)
    for path, image in zip(paths, images, strict=True):
        loader.load(ImageRef("", str(path)), image)
    return images


def true_classes(photos: tuple[Path, ...], labels: Path) -> NDArray[np.int64]:
    """The output (0..1000, 0 is background) that is right for each photograph named <synset>_<label>.JPEG.

    Three labels occur twice (crane, Cardigan, maillot); the synsets of their classes are in the order of the outputs.
    """

    def plain(text: str) -> str:
        return re.sub("[^a-z]", "", text.lower())

    known: dict[str, list[int]] = {}
    for number, line in enumerate(labels.read_text().splitlines()):
        known.setdefault(plain(line.split(",")[0]), []).append(number)
    second = {"n03126707", "n02963159", "n03710721"}
    classes = []
    for path in photos:
        synset, label = path.stem.split("_", 1)
        choices = known[plain(label)]
        classes.append(choices[-1] if synset in second else choices[0])
    return np.array(classes)


def load(path: Path) -> Image.Image:
    """RGB, at most LONGEST_SIDE pixels on the longer side, to keep all images in memory."""
    image = Image.open(path).convert("RGB")
    if max(image.size) > LONGEST_SIDE:
        image.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.LANCZOS)
    return image
