"""Chunks drawn by other processes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch")

from training.crops import Pair, draw  # noqa: E402
from training.photographs import Album  # noqa: E402
from training.recipe import RECIPE  # noqa: E402
from training.supply import Chunks, supply  # noqa: E402

SEED = 7


@pytest.fixture(scope="module")
def album(tmp_path_factory: pytest.TempPathFactory) -> Album:
    folder = tmp_path_factory.mktemp("album")
    generator = np.random.default_rng(1)
    paths = [folder / f"{number}.png" for number in range(3)]
    for path in paths:
        Image.fromarray(generator.integers(0, 256, (30, 40, 3), np.uint8)).save(path)
    return Album(paths)


def arrays(pair: Pair) -> list[Any]:
    return [pair.student, *(part for size in sorted(pair.teacher) for part in pair.teacher[size])]


def test_chunks_come_in_order_and_as_if_drawn_here(album: Album) -> None:
    numbers = range(2, 7)
    chunks = list(supply(Chunks(album, RECIPE.drawing, 4, SEED), numbers, 2))
    assert len(chunks) == len(numbers)
    for number, given in zip(numbers, chunks, strict=True):
        expected = draw(album, 4, (SEED, number), RECIPE.drawing)
        assert given.teacher.keys() == expected.teacher.keys()
        for one, two in zip(arrays(given), arrays(expected), strict=True):
            np.testing.assert_array_equal(one, two)


class Noted(Sequence[Image.Image]):
    """Notes which images this process has asked for."""

    def __init__(self, album: Album) -> None:
        self.album = album
        self.asked: list[int] = []

    def __len__(self) -> int:
        return len(self.album)

    def __getitem__(self, index: Any) -> Any:
        self.asked.append(index)
        return self.album[index]


def test_they_are_drawn_by_processes_of_their_own(album: Album) -> None:
    noted = Noted(album)
    chunks = Chunks(noted, RECIPE.drawing, 2, SEED)  # type: ignore[arg-type]
    assert len(list(supply(chunks, range(2), 1))) == 2
    assert noted.asked == []
    assert len(chunks[0].student) == 2
    assert noted.asked != []


def test_fewer_photographs_than_views_come_again(album: Album) -> None:
    assert Chunks(album, RECIPE.drawing, 10, SEED)[0].student.shape == (10, 160, 160, 3)
