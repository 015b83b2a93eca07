"""The views of photographs: those that a fit shows, and the random crops that training sees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fvcli.images.fit import Box, scale
from fvcli.records import Resize, UInt8Array

TEACHER_SIZES = (192, 224, 256, 288)
WHOLE_IMAGE_SIZE = 288
STUDENT_SIZE = 160
CROP_FRACTION = 0.875

KERNELS: tuple[Resize, ...] = ("area", "bilinear", "bicubic", "lanczos")
DCT_SCALES = (8, 4, 2)


@dataclass(frozen=True, slots=True)
class Drawing:
    """How views are drawn, in shares of all views.

    area, bilinear, bicubic, lanczos: those that the student sees resized with each kernel.
    whole, center: those that are nearly the whole image (squash) and near the center square (crop); the rest is 25 to
        100 % of the area, anywhere.
    pasted, blended: those that mix two photographs, by a rectangle of one in the other and by blending.
    teacher_limit, teacher_kernel: the teacher's largest size, and how all of its views are resized.
    """

    area: float
    bilinear: float
    bicubic: float
    lanczos: float
    whole: float
    center: float
    pasted: float
    blended: float
    teacher_limit: int
    teacher_kernel: Literal["bilinear", "bicubic"]

    @property
    def kernels(self) -> tuple[float, ...]:
        return tuple(getattr(self, kernel) for kernel in KERNELS)


class Pair(NamedTuple):
    """Views, n of them, as arrays or, from another process, as tensors.

    student: uint8 [n, 160, 160, 3]. teacher: by size, the numbers of the views that the teacher sees at it, int64 [m],
    and how it sees them, uint8 [m, size, size, 3].
    """

    student: Any
    teacher: dict[int, tuple[Any, Any]]


def fit_box(size: tuple[int, int], fit: str) -> Box:
    """The part of an image that ``squash`` and ``crop`` keep: left, upper, right, lower."""
    width, height = size
    if fit == "squash":
        return 0.0, 0.0, float(width), float(height)
    side = min(width, height) * CROP_FRACTION
    left, upper = (width - side) / 2, (height - side) / 2
    return left, upper, left + side, upper + side


def views(images: Sequence[Image.Image], size: int, fit: str) -> UInt8Array:
    """uint8 [n, size, size, 3]: the part of each image that ``fit`` keeps, resized by area."""
    shown = (image.resize((size, size), Image.Resampling.BOX, box=fit_box(image.size, fit)) for image in images)
    return np.stack([np.asarray(image) for image in shown])


def teacher_size(area: float) -> int:
    """The size at which the teacher sees a part of an image, given its share of the area.

    The teacher knows objects at the scale of its own training: on the 706 photographs it is right for 0.918 of whole
    images at 288 and 0.870 at 224, and for 0.932 of central crops (0.57 of the area) at 224 and 0.894 at 288.
    """
    wanted = WHOLE_IMAGE_SIZE * area**0.5
    return min(TEACHER_SIZES, key=lambda size: abs(size - wanted))


def draw(images: Sequence[Image.Image], count: int, seed: tuple[int, ...], drawing: Drawing) -> Pair:
    """``count`` random views; the same seed gives the same views, whatever was drawn before.

    Some of them mix two images: the teacher answers for the mixture, so that no label has to be known.
    """
    generator = np.random.default_rng(seed)
    order = _shuffled(len(images), 2 * count, generator)
    teacher = []
    student = np.empty((count, STUDENT_SIZE, STUDENT_SIZE, 3), np.uint8)
    for row in range(count):
        first = images[order[row]]
        box = _random_box(first.size, drawing, generator)
        size = teacher_size((box[2] - box[0]) * (box[3] - box[1]) / (first.width * first.height))
        size = min(size, drawing.teacher_limit)
        seen = _view(first, box, size, drawing, generator)
        chance = generator.random()
        if chance < drawing.pasted + drawing.blended:
            second = images[order[count + row]]
            other = _view(second, _random_box(second.size, drawing, generator), size, drawing, generator)
            seen = _pasted(seen, other, generator) if chance < drawing.pasted else _blended(seen, other, generator)
        teacher.append(seen[0])
        student[row] = seen[1]
    return Pair(student, _by_size(teacher))


def _by_size(views: Sequence[UInt8Array]) -> dict[int, tuple[NDArray[np.int64], UInt8Array]]:
    sizes = np.array([view.shape[0] for view in views])
    rows = {int(size): np.flatnonzero(sizes == size) for size in np.unique(sizes)}
    return {size: (some, np.stack([views[int(row)] for row in some])) for size, some in rows.items()}


def draw_single(images: Sequence[Image.Image], count: int, seed: tuple[int, ...], drawing: Drawing) -> UInt8Array:
    """uint8 [count, 160, 160, 3]: random views of one image each, as the student sees them."""
    generator = np.random.default_rng(seed)
    return np.stack(
        [_single_view(images[index], drawing, generator) for index in _shuffled(len(images), count, generator)]
    )


def _shuffled(images: int, count: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """``count`` numbers of images; each comes again only when all have come as often."""
    return np.concatenate([generator.permutation(images) for _ in range(-(-count // images))])[:count]


def _single_view(image: Image.Image, drawing: Drawing, generator: np.random.Generator) -> UInt8Array:
    return _view(image, _random_box(image.size, drawing, generator), STUDENT_SIZE, drawing, generator)[1]


def _view(
    image: Image.Image, box: Box, size: int, drawing: Drawing, generator: np.random.Generator
) -> tuple[UInt8Array, UInt8Array]:
    """The box as the teacher sees it, at ``size``, and as the student does."""
    if generator.random() < 0.1:  # as if from a small file
        factor = generator.uniform(0.4, 0.8)
        small = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
        across, down = small[0] / image.width, small[1] / image.height
        image = image.resize(small, Image.Resampling.BOX)
        box = (box[0] * across, box[1] * down, min(box[2] * across, small[0]), min(box[3] * down, small[1]))
    kernel = KERNELS[generator.choice(len(KERNELS), p=drawing.kernels)]
    tone = _tone(generator) if generator.random() < 0.6 else None
    flip = generator.random() < 0.5
    result = []
    large = image.resize((size, size), Image.Resampling[drawing.teacher_kernel.upper()], box=box)
    for view in (large, extracted(image, box, kernel)):
        array = np.asarray(view if tone is None else view.point(tone))
        result.append(array[:, ::-1] if flip else array)
    return result[0], result[1]


def extracted(image: Image.Image, box: Box, kernel: Resize) -> Image.Image:
    """The box at the student's size, resized as ``fvcli extract`` does.

    With ``bilinear``, its default, large images are first averaged down as far as their JPEG files are decoded at a
    part of their size.
    """
    shorter = min(box[2] - box[0], box[3] - box[1])
    factor = next((part for part in DCT_SCALES if shorter / part >= STUDENT_SIZE), 1)
    if kernel == "bilinear" and factor > 1:
        image, box = image.reduce(factor), (box[0] / factor, box[1] / factor, box[2] / factor, box[3] / factor)
    view = np.empty((STUDENT_SIZE, STUDENT_SIZE, 3), np.uint8)
    scale(np.asarray(image), box, kernel, view)
    return Image.fromarray(view)


def _random_box(size: tuple[int, int], drawing: Drawing, generator: np.random.Generator) -> Box:
    width, height = size
    kind = generator.random()
    central = drawing.whole <= kind < drawing.whole + drawing.center
    if kind < drawing.whole:
        w, h = width * generator.uniform(0.85, 1), height * generator.uniform(0.85, 1)
    elif central:
        side = min(width, height) * generator.uniform(0.75, 1)
        w = h = side
    else:
        area = width * height * generator.uniform(0.25, 1)
        aspect = np.exp(generator.uniform(-0.7, 0.7))
        w, h = min(width, np.sqrt(area * aspect)), min(height, np.sqrt(area / aspect))
    left, upper = generator.uniform(0, width - w), generator.uniform(0, height - h)
    if central:
        left, upper = (left + (width - w) / 2) / 2, (upper + (height - h) / 2) / 2
    return float(left), float(upper), float(min(left + w, width)), float(min(upper + h, height))


def _tone(generator: np.random.Generator) -> list[int]:
    """A look-up table for Image.point: exposure, contrast, gamma, and a tint."""
    unit = np.arange(256) / 255
    gamma, contrast = np.exp(generator.uniform(-0.3, 0.3)), generator.uniform(0.75, 1.25)
    tables = []
    for _ in range(3):
        gain = generator.uniform(0.92, 1.08)
        curve = (unit**gamma * gain - 0.5) * contrast + 0.5 + generator.uniform(-0.02, 0.02)
        tables.append(np.clip(np.rint(curve * 255), 0, 255).astype(int))
    return [int(value) for table in tables for value in table]


def _pasted(
    first: tuple[UInt8Array, UInt8Array], second: tuple[UInt8Array, UInt8Array], generator: np.random.Generator
) -> tuple[UInt8Array, UInt8Array]:
    """A rectangle of one view in the other."""
    height, width = np.sqrt(generator.uniform(0.15, 0.5)) * np.exp(generator.uniform(-0.35, 0.35, 2))
    height, width = min(height, 0.9), min(width, 0.9)
    upper, left = generator.uniform(0, 1 - height), generator.uniform(0, 1 - width)
    result = []
    for ground, patch in zip(first, second, strict=True):
        size = ground.shape[0]
        rows = slice(round(upper * size), round((upper + height) * size))
        columns = slice(round(left * size), round((left + width) * size))
        mixed = ground.copy()
        mixed[rows, columns] = patch[rows, columns]
        result.append(mixed)
    return result[0], result[1]


def _blended(
    first: tuple[UInt8Array, UInt8Array], second: tuple[UInt8Array, UInt8Array], generator: np.random.Generator
) -> tuple[UInt8Array, UInt8Array]:
    share = np.float32(generator.uniform(0.5, 0.9))
    mixed = [
        np.rint(one * share + other * (1 - share)).astype(np.uint8) for one, other in zip(first, second, strict=True)
    ]
    return mixed[0], mixed[1]
