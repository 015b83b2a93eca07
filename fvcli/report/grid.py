"""Points of a plane in the cells of a grid, one each, as near as possible to where they were."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fvcli.records import Float32Array

_SHAPE = 0.6  # lines per column
_TOLERANCE = 0.25  # how far the shape may be from that for the sake of fewer empty cells


@dataclass(frozen=True, slots=True)
class Grid:
    """cells: int64 [n], line * columns + column, all different. Empty cells are where the points are sparse."""

    columns: int
    lines: int
    cells: NDArray[np.int64]


def arrange(xy: Float32Array) -> Grid:
    """The assignment with the least sum of squared distances between points, float32 [n, 2], and their cells.

    Each axis is stretched half way to equal density first, which keeps the middle from crowding out the rim.
    Solved exactly (scipy's linear_sum_assignment); 3,000 points take seconds and 75 MB.
    """
    from scipy.optimize import linear_sum_assignment  # takes half a second to import

    columns, lines = shape(len(xy))
    if not len(xy):
        return Grid(columns, lines, np.empty(0, np.int64))
    size = np.array([columns, lines], np.float32)
    points = (_between(xy) + _ranked(xy)) / 2 * size
    centers = np.stack(np.meshgrid(np.arange(columns), np.arange(lines)), -1).reshape(-1, 2).astype(np.float32) + 0.5
    cost = ((points[:, np.newaxis] - centers) ** 2).sum(-1)
    _, cells = linear_sum_assignment(cost)
    return Grid(columns, lines, cells)


def shape(count: int) -> tuple[int, int]:
    """(columns, lines) for ``count`` cells: about 5 to 3, with few left empty."""
    best = (max(1, count), 1)
    least = float("inf")
    for lines in range(1, int(count**0.5) + 2):
        columns = max(1, -(-count // lines))
        bend = abs(np.log(lines / columns / _SHAPE))
        empty = (columns * lines - count) / max(1, count)
        penalty = bend if bend > _TOLERANCE else empty + bend / 10
        if penalty + (bend > _TOLERANCE) < least:
            best, least = (columns, lines), float(penalty + (bend > _TOLERANCE))
    return best


def _between(xy: Float32Array) -> Float32Array:
    low, high = xy.min(0), xy.max(0)
    result: Float32Array = (xy - low) / np.where(high > low, high - low, 1)
    return result


def _ranked(xy: Float32Array) -> Float32Array:
    """Each axis replaced by the points' ranks on it, 0 to 1."""
    ranks = np.argsort(np.argsort(xy, axis=0, kind="stable"), axis=0, kind="stable")
    return ((ranks + 0.5) / len(xy)).astype(np.float32)
