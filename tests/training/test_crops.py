"""The views that a fit shows and those that training draws."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from fvcli.images.fit import scale
from fvcli.records import InputSpec, Preprocessing, UInt8Array
from training import crops
from training.photographs import loaded
from training.recipe import RECIPE

DRAWING = replace(RECIPE.drawing, teacher_limit=288)


def large_views(pair: crops.Pair) -> list[UInt8Array]:
    """The teacher's image of each view, in the order of the views."""
    views = {int(row): view for rows, some in pair.teacher.values() for row, view in zip(rows, some, strict=True)}
    return [views[row] for row in range(len(pair.student))]


@pytest.fixture(scope="module")
def images() -> list[Image.Image]:
    """Smooth pictures of different shapes, whose views can be told apart."""
    generator = np.random.default_rng(0)
    small = [Image.fromarray(generator.integers(0, 256, (6, 8, 3), np.uint8)) for _ in range(5)]
    sizes = [(320, 240), (240, 320), (500, 375), (200, 200), (640, 120)]
    return [image.resize(size, Image.Resampling.BICUBIC) for image, size in zip(small, sizes, strict=True)]


def test_the_teacher_sees_large_parts_at_large_sizes() -> None:
    assert [crops.teacher_size(area) for area in (1.0, 0.8, 0.57, 0.3)] == [288, 256, 224, 192]


def test_a_seed_decides_every_view(images: list[Image.Image]) -> None:
    first, again, other = (crops.draw(images, 12, seed, DRAWING) for seed in ((1, 0), (1, 0), (1, 1)))
    np.testing.assert_array_equal(first.student, again.student)
    for one, two in zip(large_views(first), large_views(again), strict=True):
        np.testing.assert_array_equal(one, two)
    assert not np.array_equal(first.student, other.student)
    assert first.student.shape == (12, 160, 160, 3)


def test_views_are_stored_by_the_size_at_which_the_teacher_sees_them(images: list[Image.Image]) -> None:
    pair = crops.draw(images, 40, (3, 0), DRAWING)
    assert set(pair.teacher) == set(crops.TEACHER_SIZES)
    assert sorted(int(row) for rows, _ in pair.teacher.values() for row in rows) == list(range(40))
    for size, (rows, views) in pair.teacher.items():
        assert views.shape == (len(rows), size, size, 3)
        assert views.dtype == np.uint8


def test_teacher_and_student_see_the_same(images: list[Image.Image]) -> None:
    pair = crops.draw(images, 40, (3, 0), DRAWING)
    for large, small in zip(large_views(pair), pair.student, strict=True):
        shrunk = np.asarray(Image.fromarray(large).resize((160, 160), Image.Resampling.BOX), np.float32)
        assert np.abs(shrunk - small).mean() < 6


def test_a_drawing_limits_the_teachers_size_and_chooses_the_kernels(images: list[Image.Image]) -> None:
    free = crops.draw(images, 16, (3, 0), DRAWING)
    limited = crops.draw(images, 16, (3, 0), replace(DRAWING, teacher_limit=224))
    sharp = crops.draw(images, 16, (3, 0), replace(DRAWING, area=0, bilinear=0, bicubic=0, lanczos=1))
    bicubic = crops.draw(images, 16, (3, 0), replace(DRAWING, teacher_kernel="bicubic"))
    assert max(free.teacher) == 288
    assert set(limited.teacher) == {192, 224}
    assert not np.array_equal(free.student, sharp.student)
    np.testing.assert_array_equal(free.student, bicubic.student)
    pairs = zip(large_views(free), large_views(bicubic), strict=True)
    assert not any(np.array_equal(one, two) for one, two in pairs)


def test_a_drawing_chooses_the_part_that_is_seen() -> None:
    """White are 45 pixels at each side; near the center, squares begin at 50 or later, and anywhere at 0 or later."""
    image = Image.new("RGB", (400, 200), "black")
    image.paste("white", (0, 0, 45, 200))
    image.paste("white", (355, 0, 400, 200))
    alone = replace(DRAWING, pasted=0, blended=0)
    white: dict[str, NDArray[np.float64]] = {}
    for name, drawing in (
        ("whole", replace(alone, whole=1, center=0)),
        ("center", replace(alone, whole=0, center=1)),
        ("anywhere", replace(alone, whole=0, center=0)),
    ):
        views = crops.draw([image], 60, (4, 0), drawing).student
        white[name] = np.ptp(views, axis=(1, 2, 3)) > 100
    assert white["whole"].all()
    assert not white["center"].any()
    assert 0.2 < white["anywhere"].mean() < 1


def test_a_drawing_mixes_as_many_views_as_it_says() -> None:
    plain = [Image.new("RGB", (180, 120), color) for color in ("red", "lime", "blue", "cyan", "magenta", "yellow")]
    for pasted, blended in ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (0.4, 0.0)):
        drawing = replace(DRAWING, pasted=pasted, blended=blended, teacher_limit=192)
        views = crops.draw(plain, 60, (5, 0), drawing).student
        edges = np.ptp(views, axis=(1, 2)).max(axis=1) > 60
        assert edges.mean() == pytest.approx(pasted * 5 / 6, abs=0.12), "a sixth of the pairs are of one image"
        between = ((views[:, 0, 0] > 70) & (views[:, 0, 0] < 185)).any(axis=1)
        assert between.mean() == pytest.approx(blended * 5 / 6 * 0.7, abs=0.2), "the rest is blended too thinly to tell"


def test_bilinear_views_are_what_extract_reads(images: list[Image.Image], tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    images[0].save(path)
    read = loaded([path], InputSpec(160, 160, value_range=(0.0, 1.0)), Preprocessing())[0]
    np.testing.assert_array_equal(np.asarray(crops.extracted(images[0], (0, 0, 320, 240), "bilinear")), read)


def test_large_images_are_reduced_as_jpegs_are_decoded(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    path = tmp_path / "photo.jpg"
    rough = Image.fromarray(generator.integers(0, 256, (120, 160, 3), np.uint8))
    rough.resize((400, 330), Image.Resampling.BICUBIC).save(path, quality=95, subsampling=0)
    read = loaded([path], InputSpec(160, 160, value_range=(0.0, 1.0)), Preprocessing())[0].astype(int)
    whole = Image.open(path).convert("RGB")
    reduced = np.abs(np.asarray(crops.extracted(whole, (0, 0, 400, 330), "bilinear")) - read).mean()
    direct = np.empty((160, 160, 3), np.uint8)
    scale(np.asarray(whole), (0, 0, 400, 330), "bilinear", direct)
    assert reduced < np.abs(direct - read).mean() / 2


def test_single_views_are_of_one_image_each() -> None:
    plain = [Image.new("RGB", (300, 200), (level, level, level)) for level in range(40, 240, 40)]
    views, again = (crops.draw_single(plain, 12, (3, 0), DRAWING) for _ in range(2))
    assert views.shape == (12, 160, 160, 3)
    np.testing.assert_array_equal(views, again)
    assert all(np.ptp(view, axis=(0, 1)).max() == 0 for view in views), "a mixture has more than one color"


def test_views_keep_what_the_fit_keeps() -> None:
    image = Image.new("RGB", (400, 200), "black")
    image.paste("white", (0, 0, 100, 200))
    squashed, cropped = (crops.views([image], 160, fit)[0, :, :, 0] for fit in ("squash", "crop"))
    assert (squashed == 255).mean() == pytest.approx(0.25, abs=0.01)
    assert (cropped == 255).sum() == 0, "the center square of 175 pixels begins at 112"
