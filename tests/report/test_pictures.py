"""Small pictures: previews as data URIs, and squares on one sheet."""

from __future__ import annotations

import base64
import io
import os
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fvcli.records import ImageRef
from fvcli.report.pictures import Sides, Wanted, pictures, sides, sprite

SIDES = Sides(preview=80, tile=32)


def wanted(path: Path, sha: str | None = None) -> Wanted:
    content = sha or sha256(path.read_bytes()).hexdigest()
    return Wanted(ImageRef("", os.fspath(path)), content)


def opened(uri: str) -> Image.Image:
    kind, _, data = uri.partition(";base64,")
    assert kind == "data:image/webp"
    return Image.open(io.BytesIO(base64.b64decode(data)))


def test_pictures_are_small_upright_and_of_the_right_color(sample_images: Path) -> None:
    names = ["cat-exif-6.jpg", "cat.jpg", "coffee-cmyk.jpg", "camera-16-bit.png", "rocket-animated.gif", "cat.avif"]
    found = list(pictures([wanted(sample_images / name) for name in names], SIDES, 2))
    assert [picture.state for picture in found] == ["shown"] * len(names)
    for picture in found:
        assert max(opened(picture.preview).size) == 80
        assert picture.tile is not None
        assert picture.tile.shape == (32, 32, 3)
        assert picture.lightness is not None
        assert 0 < picture.lightness < 1
    turned, plain = (np.asarray(opened(one.preview).convert("RGB").resize((64, 64)), float) for one in found[:2])
    assert np.abs(turned - plain).mean() < 12


def test_a_tile_is_the_middle_of_the_picture(tmp_path: Path) -> None:
    striped = np.zeros((50, 300, 3), np.uint8)
    striped[:, 125:175] = 255
    Image.fromarray(striped).save(tmp_path / "wide.png")
    Image.fromarray(striped.transpose(1, 0, 2)).save(tmp_path / "high.png")
    found = list(pictures([wanted(tmp_path / "wide.png"), wanted(tmp_path / "high.png")], SIDES, 1))
    assert len(found) == 2
    for picture in found:
        assert picture.tile is not None
        assert picture.tile[1:-1, 1:-1].min() > 250
        assert picture.lightness == pytest.approx(1 / 6, abs=0.01)


def test_small_images_are_not_enlarged(tmp_path: Path) -> None:
    Image.new("RGB", (7, 3), "red").save(tmp_path / "a.png")
    Image.new("RGB", (5000, 1), "red").save(tmp_path / "b.png")
    found = list(pictures([wanted(tmp_path / "a.png"), wanted(tmp_path / "b.png")], SIDES, 1))
    assert [opened(picture.preview).size for picture in found] == [(7, 3), (80, 1)]


def test_files_gone_changed_or_damaged_are_said_to_be(sample_images: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    cases = [
        wanted(tmp_path / "gone.jpg", sha="0" * 64),
        wanted(sample_images / "cat.jpg", sha="0" * 64),
        wanted(sample_images / "broken-on-purpose.jpg"),
        wanted(tmp_path / "pipe.jpg", sha="0" * 64),
        wanted(tmp_path / "a\0b.jpg", sha="0" * 64),
    ]
    seen: list[int] = []
    found = list(pictures(cases, SIDES, 2, seen=lambda: seen.append(1)))
    assert [picture.state for picture in found] == ["gone", "changed", "unreadable", "unreadable", "gone"]
    assert not any(picture.preview for picture in found)
    assert len(seen) == len(cases)


def test_the_sprite_has_every_tile_in_its_square() -> None:
    shades = [0, 255, None, 60, 200]
    tiles = [None if shade is None else np.full((24, 24, 3), shade, np.uint8) for shade in shades]
    uri, across = sprite(tiles, 24)
    assert across == 3
    sheet = np.asarray(opened(uri).convert("L"), float)
    assert sheet.shape == (48, 72)
    for place, shade in enumerate(shades):
        top, left = place // 3 * 24, place % 3 * 24
        assert np.abs(sheet[top + 6 : top + 18, left + 6 : left + 18] - (128 if shade is None else shade)).max() < 12


@pytest.mark.parametrize(("count", "budget"), [(10, 10**7), (1206, 12 * 10**6), (3000, 12 * 10**6), (3000, 10**5)])
def test_more_pictures_are_smaller_ones(count: int, budget: int) -> None:
    chosen = sides(count, budget)
    assert 96 <= chosen.preview <= 512
    assert chosen.preview <= sides(count // 2, budget).preview
    assert chosen.preview >= sides(count, budget // 2).preview
