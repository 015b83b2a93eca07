"""Principal components of a dataset's vectors, read block by block."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fvcli.dataset.neighbors import normalised
from fvcli.dataset.reader import Dataset
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

    Memory: one block of vectors and three float64 matrices [d, d], whatever the number of rows. The axes' signs are
    fixed by each component's largest entry, so the same vectors give the same picture.
    """
    dimension = dataset.dimension
    mean, covariance = _moments(dataset, rows)
    values, vectors = np.linalg.eigh(covariance)
    axes = np.zeros((dimension, 2))
    found = min(2, dimension)
    axes[:, :found] = vectors[:, ::-1][:, :found]
    axes *= np.where(axes[np.abs(axes).argmax(0), [0, 1]] < 0, -1.0, 1.0)
    total = float(np.clip(values, 0.0, None).sum())
    top = [float(max(value, 0.0)) for value in values[::-1][:2]] + [0.0]
    explained = (top[0] / total, top[1] / total) if total > 0 else (0.0, 0.0)
    xy = np.empty((len(rows), 2), np.float32)
    for start, block in _directions(dataset, rows):
        xy[start : start + len(block)] = (block - mean.astype(np.float32)) @ axes.astype(np.float32)
    return Projection(xy, explained)


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
        yield int(low), normalised(chosen)


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
