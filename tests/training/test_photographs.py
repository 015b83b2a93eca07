"""The validation split and the views that training draws."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from training import photographs


@pytest.fixture(scope="module")
def images() -> list[Image.Image]:
    """Smooth pictures of different shapes, whose views can be told apart."""
    generator = np.random.default_rng(0)
    small = [Image.fromarray(generator.integers(0, 256, (6, 8, 3), np.uint8)) for _ in range(5)]
    sizes = [(320, 240), (240, 320), (500, 375), (200, 200), (640, 120)]
    return [image.resize(size, Image.Resampling.BICUBIC) for image, size in zip(small, sizes, strict=True)]


def test_validation_is_the_106_photographs_with_the_smallest_hash(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "bsds500").mkdir()
    names = [f"n{number:08}_thing.JPEG" for number in range(300)]
    for name in names:
        (tmp_path / "photos" / name).touch()
    (tmp_path / "bsds500" / "100007.jpg").touch()

    parts = photographs.split(tmp_path)

    chosen = {path.name for path in parts.validation}
    limit = max(hashlib.sha256(name.encode()).hexdigest() for name in chosen)
    assert len(chosen) == 106
    assert all((hashlib.sha256(name.encode()).hexdigest() <= limit) == (name in chosen) for name in names)
    assert len(parts.train) == 300 - 106 + 1
    assert not chosen & {path.name for path in parts.train}


def test_classes_of_the_photographs(shared: Path) -> None:
    parts = photographs.split(shared / "data")
    photos = tuple(sorted((shared / "data" / "photos").glob("*.JPEG")))
    classes = photographs.true_classes(photos, shared / "models" / "imagenet_labels.txt")
    assert (len(parts.train), len(parts.validation)) == (1100, 106)
    # Sorted synsets are in the order of the outputs, so the classes must rise.
    assert (np.diff(classes) > 0).all()
    assert classes[0] == 1, "tench comes first after background"


def test_the_teacher_sees_large_parts_at_large_sizes() -> None:
    assert [photographs.teacher_size(area) for area in (1.0, 0.8, 0.57, 0.3)] == [288, 256, 224, 192]


def test_a_seed_decides_every_view(images: list[Image.Image]) -> None:
    first, again, other = (photographs.draw(images, 12, seed) for seed in ((1, 0), (1, 0), (1, 1)))
    np.testing.assert_array_equal(first.student, again.student)
    assert all(np.array_equal(one, two) for one, two in zip(first.teacher, again.teacher, strict=True))
    assert not np.array_equal(first.student, other.student)
    assert first.student.shape == (12, 160, 160, 3)
    assert {view.shape[0] for view in first.teacher} <= set(photographs.TEACHER_SIZES)


def test_teacher_and_student_see_the_same(images: list[Image.Image]) -> None:
    pair = photographs.draw(images, 40, (3, 0))
    for large, small in zip(pair.teacher, pair.student, strict=True):
        shrunk = np.asarray(Image.fromarray(large).resize((160, 160), Image.Resampling.BOX), np.float32)
        assert np.abs(shrunk - small).mean() < 6


def test_views_keep_what_the_fit_keeps() -> None:
    image = Image.new("RGB", (400, 200), "black")
    image.paste("white", (0, 0, 100, 200))
    squashed, cropped = (photographs.views([image], 160, fit)[0, :, :, 0] for fit in ("squash", "crop"))
    assert (squashed == 255).mean() == pytest.approx(0.25, abs=0.01)
    assert (cropped == 255).sum() == 0, "the centre square of 175 pixels begins at 112"


@pytest.mark.parametrize(("fit", "own"), [("squash", 1.0), ("crop", photographs.CROP_FRACTION)])
def test_variants_are_frames_around_what_the_fit_shows_and_their_mirror_images(
    images: list[Image.Image], fit: str, own: float
) -> None:
    shown = list(photographs.variants(images, 32, fit))
    assert len(shown) == 14
    for straight, mirrored in zip(shown[::2], shown[1::2], strict=True):
        np.testing.assert_array_equal(np.flip(straight, axis=2), mirrored)
    same = shown[2 * photographs.VARIANTS[fit].index(own)]
    np.testing.assert_array_equal(same, photographs.views(images, 32, fit))
    assert len({view.tobytes() for view in shown}) == 14
