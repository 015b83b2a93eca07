"""The views that a round of training draws its batches from."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from training.recipe import Recipe
from training.teachers import Answers


class Window:
    """The last few chunks of answers, in the device's memory."""

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self._rows: Answers | None = None

    def first(self, number: int) -> int:
        """The first chunk of round ``number``."""
        return max(0, number - self._recipe.window + 1)

    def put(self, number: int, chunk: Answers) -> None:
        """Chunk ``number`` in the place of the oldest one."""
        recipe = self._recipe
        if self._rows is None:
            count = recipe.window * recipe.chunk
            self._rows = Answers(*(part.new_empty((count, *part.shape[1:])) for part in chunk.parts))
        start = number % recipe.window * recipe.chunk
        for rows, part in zip(self._rows.parts, chunk.parts, strict=True):
            rows[start : start + recipe.chunk] = part

    def batches(self, number: int) -> Iterator[Answers]:
        """Every view once, in an order that the seed and the round decide; the first rounds repeat what there is."""
        assert self._rows is not None
        recipe = self._recipe
        known = min(number + 1, recipe.window)
        order = np.random.default_rng((recipe.seed, number, 1)).permutation(known * recipe.chunk)
        rows = torch.from_numpy(np.resize(order, recipe.window * recipe.chunk)).to(self._rows.features.device)
        for some in rows.split(recipe.batch):
            yield Answers(*(part[some] for part in self._rows.parts))
