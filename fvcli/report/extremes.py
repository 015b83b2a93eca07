"""Rows that stand out: least like any other, darkest, smallest, of the oddest shape."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fvcli.dataset.reader import Dataset
from fvcli.explore.neighbors import nearest
from fvcli.report.embedding import Likeness
from fvcli.report.facts import Odd
from fvcli.report.rows import PageRows

Indices = NDArray[np.int64]

SHOWN = 8
_CANDIDATES = 64
_ODD_SHAPE = 2.0  # from here on a shape is worth showing


def smallest_and_oddest(dataset: Dataset) -> tuple[Indices, Indices]:
    """Numbers of the ``SHOWN`` rows with the fewest pixels, and of those with the most extreme width to height."""
    sizes = [
        np.stack([batch.column(name).to_numpy() for name in ("width", "height")], axis=1)
        for batch in dataset.batches(["width", "height"])
    ]
    if not sizes:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    width, height = np.maximum(np.concatenate(sizes).astype(np.float64), 1).T
    slant = np.abs(np.log(width / height))
    odd = np.argsort(-slant, kind="stable")[:SHOWN]
    return np.argsort(width * height, kind="stable")[:SHOWN], odd[slant[odd] >= np.log(_ODD_SHAPE)]


def outliers(dataset: Dataset, rows: PageRows, wall: Indices, near: Likeness) -> tuple[Odd, ...]:
    """The rows with the smallest cosine to their nearest row, which is looked for in the whole dataset.

    No row's nearest is less like it than its nearest on the wall. So the rows that are least like the wall are looked
    at, and the others cannot be more alone than the result says.
    """
    if near.scores.shape[1] == 0:
        return ()
    if len(wall) == len(dataset):
        order = np.argsort(near.scores[:, 0], kind="stable")[:SHOWN]
        return tuple(Odd(row, float(near.scores[row, 0]), int(wall[near.places[row, 0]])) for row in order.tolist())
    candidates = np.argsort(near.scores[:, 0], kind="stable")[:_CANDIDATES]
    numbers = rows.numbers[candidates]
    found = []
    for row, number, best in zip(candidates, numbers, nearest(dataset, dataset.take(numbers), 2), strict=True):
        other = next((place for place, each in enumerate(best.rows.tolist()) if each != number), None)
        if other is not None:
            place = int(np.searchsorted(rows.numbers, best.rows[other]))
            known = place < len(rows) and rows.numbers[place] == best.rows[other]
            found.append(Odd(int(row), float(best.scores[other]), place if known else None))
    return tuple(sorted(found, key=lambda one: (one.value, one.row))[:SHOWN])


def darkest(wall: Indices, lightness: Sequence[float | None]) -> tuple[Odd, ...]:
    """Of the pictures on the wall with a known lightness, 0 to 1."""
    known = [(value, row) for value, row in zip(lightness, wall.tolist(), strict=True) if value is not None]
    return tuple(Odd(row, value) for value, row in sorted(known)[:SHOWN])


def measured(rows: PageRows, numbers: Indices, shape: bool) -> tuple[Odd, ...]:
    """The page rows with these numbers, with their width / height or their number of pixels."""
    found = []
    for row in np.searchsorted(rows.numbers, numbers).tolist():
        width, height = (max(1, int(side)) for side in rows.sizes[row, :2])
        found.append(Odd(row, width / height if shape else float(width * height)))
    return tuple(found)
