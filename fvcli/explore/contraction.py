"""A map of unit vectors to int8 codes that tells which vectors cannot be near each other.

Let m be any vector, B a matrix of orthonormal directions, z = x - m, and r what the directions leave of z. The map

    F x = (B z, |r|)

brings no two vectors farther apart. By Pythagoras and the triangle inequality,

    |F x - F y|^2 = |B (x - y)|^2 + (|r_x| - |r_y|)^2 <= |B (x - y)|^2 + |r_x - r_y|^2 = |x - y|^2.

Nor does it when a constant is subtracted from |r|, or when the values are cut off at a limit. What is kept of F x are
int8 codes c in steps of s, and the length of the rounding errors e: F x = s c + e. By the triangle inequality again,

    s |c_x - c_y| <= |x - y| + |e_x| + |e_y|.

So no pair is lost, whatever m, B and s are. Those of a sample rule out most pairs: its mean and its principal
directions. A random rotation of these spreads the lengths evenly over them, so that one step suits all.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fvcli.dataset.reader import Dataset
from fvcli.explore.neighbors import Rows
from fvcli.explore.pairs import units_of
from fvcli.records import Float32Array

_NEAR_DIRECTIONS = 127  # of the near codes; more make each product slower, fewer leave more pairs to the far codes
_FAR_DIRECTIONS = 127  # of the far codes; each takes a byte per row
_SAMPLE = 16_384  # rows that the directions are found from
_SAMPLED_AT_ONCE = 2_048
_RANGE = 3.5  # standard deviations that codes reach
_LEAST_STEP = 5e-4  # for rows that hardly differ; it keeps squares of distances, in steps, within int32
_ROUNDING = 1e-6  # of all that is computed here in float64, with room to spare

Float64Array = NDArray[np.float64]
Int8Array = NDArray[np.int8]


@dataclass(frozen=True, slots=True)
class Codes:
    """Codes of some rows: int8 [n, near] and [n, far]. The last column of each is the length that directions leave.

    near_errors: the lengths of the near codes' errors, float32 [n]; far_errors: those of both together, where the
    near codes count without their last column.
    """

    near: Int8Array
    far: Int8Array
    near_errors: Float32Array
    far_errors: Float32Array


@dataclass(frozen=True, slots=True)
class Contraction:
    """The map. near, far: directions, float64 [dimension, k], all orthonormal; steps and usual lengths left by them."""

    mean: Float64Array
    near: Float64Array
    far: Float64Array
    near_step: float
    far_step: float
    near_left: float
    far_left: float

    def codes(self, units: Float32Array) -> Codes:
        """The codes of vectors [n, dimension] of length 1.

        A vector that is longer, because its length was too small to be computed well, has the excess in its errors:
        x . y >= t means |x - y|^2 <= 2 - 2 t + (|x|^2 - 1) + (|y|^2 - 1).
        """
        vectors = units.astype(np.float64)
        excess = np.sqrt(np.maximum(np.vecdot(vectors, vectors) - 1 - rounding(units.shape[1]), 0)) + _ROUNDING
        vectors -= self.mean
        near, far = vectors @ self.near, vectors @ self.far
        near_left = np.vecdot(vectors, vectors) - np.vecdot(near, near)
        far_left = near_left - np.vecdot(far, far)
        near_codes, near_squares = _coded(near, near_left, self.near_left, self.near_step)
        far_codes, far_squares = _coded(far, far_left, self.far_left, self.far_step)
        near_errors = np.sqrt(near_squares.sum(axis=1)) + excess
        far_errors = np.sqrt(near_squares[:, :-1].sum(axis=1) + far_squares.sum(axis=1)) + excess
        return Codes(near_codes, far_codes, near_errors.astype(np.float32), far_errors.astype(np.float32))


def rounding(dimension: int) -> float:
    """The most that float32 can be wrong by in the product of two unit vectors, whatever the order of the sum.

    Higham, Accuracy and Stability of Numerical Algorithms, 3.1: n u / (1 - n u) with u = 2^-24.
    """
    return (dimension + 16) * 2.0**-24


def reach(threshold: float, dimension: int) -> float:
    """The largest distance of two unit vectors whose cosine, computed in float32, is at least ``threshold``.

    Their lengths and their product may each be wrong by rounding.
    """
    return float(np.sqrt(2 - 2 * threshold + 4 * rounding(dimension)))


def contraction_for(dataset: Dataset, rows: Rows) -> Contraction:
    """The contraction that suits ``rows``. Raises DatasetError if a shard cannot be read."""
    mean, moments = _moments(dataset, rows)
    lengths, directions = np.linalg.eigh(moments)
    lengths, directions = np.maximum(lengths[::-1], 0), directions[:, ::-1]
    random = np.random.default_rng(0)
    parts, steps, left = [], [], []
    start = 0
    for most in (_NEAR_DIRECTIONS, _FAR_DIRECTIONS):
        end = min(start + most, dataset.dimension)
        rotation = np.linalg.qr(random.standard_normal((end - start, end - start)))[0]
        parts.append(directions[:, start:end] @ rotation)
        deviation = np.sqrt(lengths[start:end].sum() / max(1, end - start))
        steps.append(max(_RANGE * float(deviation) / 127, _LEAST_STEP))
        left.append(float(np.sqrt(lengths[end:].sum())))
        start = end
    return Contraction(mean, *parts, *steps, *left)


def _moments(dataset: Dataset, rows: Rows) -> tuple[Float64Array, Float64Array]:
    """The mean, [dimension], and the covariances, [dimension, dimension], of a sample of vectors scaled to length 1."""
    sample = rows[np.linspace(0, len(rows) - 1, min(_SAMPLE, len(rows))).astype(np.int64)]
    total = np.zeros(dataset.dimension)
    squares = np.zeros((dataset.dimension, dataset.dimension))
    count = 0
    for start in range(0, len(sample), _SAMPLED_AT_ONCE):
        units = units_of(dataset, sample[start : start + _SAMPLED_AT_ONCE])
        units = units[np.isfinite(units).all(axis=1)]
        total += units.sum(axis=0, dtype=np.float64)
        squares += units.T @ units
        count += len(units)
    mean = total / max(1, count)
    return mean, squares / max(1, count) - np.outer(mean, mean)


def _coded(values: Float64Array, left: Float64Array, usual: float, step: float) -> tuple[Int8Array, Float64Array]:
    """The codes of coefficients, [n, k], and of what they leave, given as squares of lengths, [n]: int8 [n, k + 1].

    With them the squares of their rounding errors, [n, k + 1].
    """
    lengths = np.sqrt(np.maximum(left, 0)) - usual
    every = np.clip(np.column_stack([values, lengths]), -127 * step, 127 * step)
    codes = np.rint(every / step)
    return codes.astype(np.int8), np.square(every - codes * step)
