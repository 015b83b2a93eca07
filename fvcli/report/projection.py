"""Principal components of a dataset's vectors, read block by block."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fvcli.dataset.reader import Dataset
from fvcli.explore.neighbors import normalized
from fvcli.records import Float32Array

Indices = NDArray[np.int64]

#: The plane is cut into this many cells along its longer side when points are chosen evenly.
_CELLS = 64


@dataclass(frozen=True, slots=True)
class Projection:
    """xy: float32 [n, 2], centred on 0. explained: each axis's share of the variance, 0 to 1."""

    xy: Float32Array
    explained: tuple[float, float]


def project(dataset: Dataset, rows: Indices) -> Projection:
    """The rows (sorted numbers) on the first two principal components of their directions (vectors of unit length).

    Memory: one block of vectors and a few float64 matrices [d, d], whatever the number of rows. The axes' signs are
    fixed by each component's largest entry, so the same vectors give the same picture.
    """
    if len(rows) < dataset.dimension:
        return _of_few(dataset, rows)
    mean, covariance = _moments(dataset, rows)
    values, vectors = np.linalg.eigh(covariance)
    axes = _two(vectors)
    axes *= _signs(axes)
    xy = np.empty((len(rows), 2), np.float32)
    for start, block in _directions(dataset, rows):
        xy[start : start + len(block)] = (block - mean.astype(np.float32)) @ axes.astype(np.float32)
    return Projection(xy, _shares(values))


def _of_few(dataset: Dataset, rows: Indices) -> Projection:
    """The same from the products of the rows with each other, [n, n]: quicker for fewer rows than components."""
    units = np.zeros((len(rows), dataset.dimension))
    for start, block in _directions(dataset, rows):
        units[start : start + len(block)] = block
    units -= units.mean(0)
    values, vectors = np.linalg.eigh(units @ units.T)
    left = _two(vectors)
    lengths = np.sqrt(np.clip(_two(values[np.newaxis]), 0.0, None))
    return Projection((left * lengths * _signs(units.T @ left)).astype(np.float32), _shares(values))


def _two(ascending: NDArray[np.float64]) -> NDArray[np.float64]:
    """The last two columns, the last one first; columns of zeros where there are fewer."""
    result = np.zeros((len(ascending), 2))
    found = ascending[:, ::-1][:, :2]
    result[:, : found.shape[1]] = found
    return result


def _signs(axes: NDArray[np.float64]) -> NDArray[np.float64]:
    """What makes the largest entry of each of the two axes [d, 2] positive."""
    return np.where(axes[np.abs(axes).argmax(0), [0, 1]] < 0, -1.0, 1.0)


def _shares(values: NDArray[np.float64]) -> tuple[float, float]:
    """What part of all variance the two largest hold."""
    kept = np.clip(values, 0.0, None)
    first, second = _two(kept[np.newaxis])[0] / (kept.sum() or 1.0)
    return float(first), float(second)


def _moments(dataset: Dataset, rows: Indices) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean [d] and covariance [d, d]. Sums are taken around the first block's mean, which keeps their digits."""
    dimension = dataset.dimension
    shift: NDArray[np.float64] | None = None
    first = np.zeros(dimension)
    second = np.zeros((dimension, dimension))
    for _, block in _directions(dataset, rows):
        if shift is None:
            shift = block.mean(0, dtype=np.float64)
        centred = block - shift.astype(np.float32)
        first += centred.sum(0, dtype=np.float64)
        second += centred.T @ centred
    if shift is None:
        return first, second
    first /= len(rows)
    second /= len(rows)
    second -= np.outer(first, first)
    return shift.astype(np.float32) + first, second


def _directions(dataset: Dataset, rows: Indices) -> Iterator[tuple[int, Float32Array]]:
    """(position in ``rows``, unit vectors) block by block; a vector of zeros stays one, what is not finite is 0."""
    for start, block in dataset.vector_blocks():
        low, high = np.searchsorted(rows, (start, start + len(block)))
        if low == high:
            continue
        chosen = np.nan_to_num(block[rows[low:high] - start], nan=0.0, posinf=0.0, neginf=0.0)
        yield int(low), normalized(chosen)


def spread_out(xy: Float32Array, count: int, seed: int) -> Indices:
    """Which ``count`` points to show so that every inhabited part of the plane has one before any has two.

    In that order: a caller who stops early still has covered the plane.
    """
    if not len(xy):
        return np.empty(0, np.int64)
    low = xy.min(0)
    span = float((xy.max(0) - low).max()) or 1.0
    cells = np.minimum((xy - low) / span * _CELLS, _CELLS - 1).astype(np.int64) @ np.array([_CELLS, 1])
    shuffled = np.random.default_rng(seed).permutation(len(xy))
    by_cell = shuffled[np.argsort(cells[shuffled], kind="stable")]
    ordered = cells[by_cell]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    rank = np.arange(len(xy)) - np.repeat(starts, np.diff(np.r_[starts, len(xy)]))
    result: Indices = by_cell[np.argsort(rank, kind="stable")][:count]
    return result


def quantised(xy: Float32Array) -> tuple[NDArray[np.uint16], float]:
    """The points as uint16 pairs on one scale for both axes, 65535 the longer side's end; height / width."""
    if not len(xy):
        return np.empty((0, 2), np.uint16), 1.0
    low = xy.min(0)
    sides = xy.max(0) - low
    span = float(sides.max())
    if span == 0:
        return np.full((len(xy), 2), 32767, np.uint16), 1.0
    return np.rint((xy - low) / span * 65535).astype(np.uint16), float(sides[1] / max(float(sides[0]), 1e-12))
