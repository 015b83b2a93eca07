"""Upper bounds of the cosines between many vectors, in 300 bytes a vector.

With P orthonormal, x . y = Px . Py + rx . ry <= Px . Py + |rx| |ry|, where r is what the projection leaves of a vector.
A first bound comes from 64 directions for all pairs of a tile at once, a second one from 224 for the few pairs that the
first cannot rule out.
"""

from __future__ import annotations

import mmap
import threading
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from fvcli.dataset.columns import ROW_GROUP
from fvcli.dataset.reader import Dataset
from fvcli.explore.neighbors import Rows, normalized
from fvcli.machine import MemoryTrimmer
from fvcli.records import Float32Array

TILE = 1024  # rows compared with as many others at once
_DIRECTIONS = 64  # of the first bound; more make each tile slower, fewer leave more pairs to the second bound
_MORE_DIRECTIONS = 160  # of the second bound, stored in 8 bits
_FAR_LIMIT = 0.3  # coefficients beyond it are cut, which the bound accounts for
_SAMPLE = 2048  # rows that the directions are found from
_SLACK = 1.2e-3  # what rounding to 16 bits may take from a projected product, with room to spare

#: Two places in one number each, so that pairs can be sorted where they are.
Pairs = NDArray[np.int64]


def paired(first: Rows, second: Rows) -> Pairs:
    """The pairs, [m], of places below 2^32; they sort by their first place."""
    return first << 32 | second


def places_of(pairs: Pairs) -> tuple[Rows, Rows]:
    """The first and the second place of each pair, [m]."""
    return pairs >> 32, pairs & 0xFFFFFFFF


class _Room(threading.local):
    """Memory that each thread keeps from tile to tile, since malloc would not give so much back in one piece."""

    def __init__(self) -> None:
        self._products = np.empty(TILE * TILE, np.float32)
        self._mask = np.empty(TILE * TILE, np.bool_)

    def for_tile(self, left: int, right: int) -> tuple[Float32Array, NDArray[np.bool_]]:
        """Undefined arrays [left, right]: of products, and a mask of them."""
        size = left * right
        return self._products[:size].reshape(left, right), self._mask[:size].reshape(left, right)


class _Table:
    """Numbers, [rows, columns], zero at first. The memory of the first rows can be given back to the system."""

    def __init__(self, rows: int, columns: int, dtype: DTypeLike) -> None:
        self._row_bytes = columns * np.dtype(dtype).itemsize
        size = max(1, rows * self._row_bytes)  # no mapping is empty
        self._memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self.values: NDArray[Any] = np.ndarray((rows, columns), dtype, self._memory)
        self._released = 0

    def release(self, rows: int) -> None:
        """Gives back the memory of so many of the first rows, whose values are lost."""
        end = rows * self._row_bytes // mmap.PAGESIZE * mmap.PAGESIZE
        if end > self._released:
            self._memory.madvise(mmap.MADV_DONTNEED, self._released, end - self._released)
            self._released = end


class Bounds:
    """Upper bounds of the cosines between some rows, in little memory.

    places: [n] where each bound's row stands among the rows given; those with non-finite values are missing.
    """

    def __init__(self, dataset: Dataset, rows: Rows) -> None:
        basis = _directions(dataset, rows)
        split = min(basis.shape[1], _DIRECTIONS) if basis.shape[1] < dataset.dimension else dataset.dimension
        self._tables = _Table(len(rows), split + 1, np.float16), _Table(len(rows), basis.shape[1] - split, np.int8)
        self._near, self._far = (table.values for table in self._tables)
        self._scale = np.float32(_FAR_LIMIT / 127)
        self._room = _Room()
        self._errors = np.zeros(len(rows), np.float32)
        self._rest = np.zeros(len(rows), np.float32)
        usable = np.zeros(len(rows), np.bool_)

        def project(start: int, block: Float32Array) -> None:
            low, high = np.searchsorted(rows, (start, start + len(block)))
            units = block[rows[low:high] - start]
            normalized(units, out=units)
            finite = np.isfinite(units).all(axis=1) & units.any(axis=1)
            units[~finite] = 0
            usable[low:high] = finite
            projected = units @ basis
            near, far = projected[:, :split], projected[:, split:]
            left = np.maximum(np.vecdot(units, units) - np.vecdot(near, near), 0)
            self._near[low:high, :-1] = near
            self._near[low:high, -1] = np.sqrt(left) * np.float32(1 + 2**-10)
            self._rest[low:high] = np.sqrt(np.maximum(left - np.vecdot(far, far), 0))
            self._far[low:high] = np.clip(np.rint(far / self._scale), -127, 127)
            errors = far - self._far[low:high] * self._scale
            self._errors[low:high] = np.sqrt(np.vecdot(errors, errors))

        trim = MemoryTrimmer()
        trim.now()
        for _ in dataset.scan(project):
            trim(ROW_GROUP)
        trim.now()
        self.places = np.flatnonzero(usable)
        self._sort()

    def __len__(self) -> int:
        return len(self.places)

    def _sort(self) -> None:
        """Puts the direction along which the rows differ most first, and the rows in its order."""
        spread = 0
        if len(self):  # column by column, here and below: a copy of it all would double the memory
            columns = (self._near[self.places, column] for column in range(self._near.shape[1] - 1))
            spread = int(np.argmax([column.var(dtype=np.float32) for column in columns]))
        self._near[:, [0, spread]] = self._near[:, [spread, 0]]
        self.places = self.places[np.argsort(self._near[self.places, 0], kind="stable")]
        for table in (self._near, self._far):
            for column in range(table.shape[1]):
                table[: len(self), column] = table[self.places, column]
        self._errors, self._rest = self._errors[self.places], self._rest[self.places]

    def reach(self, first: int, threshold: float) -> int:
        """The end of the rows from ``first`` on that can reach the threshold with a row of the tile at ``first``.

        Unit vectors at cosine t are sqrt(2 - 2 t) apart, and so are at most their values in any one direction.
        """
        last = min(first + TILE, len(self)) - 1
        limit = np.float16(float(self._near[last, 0]) + np.sqrt(2 - 2 * threshold) + 2 * _SLACK)
        return int(np.searchsorted(self._near[: len(self), 0], limit, side="right"))

    def release(self, first: int) -> None:
        """Gives back the memory of the rows before ``first``, which are in no tile anymore."""
        for table in self._tables:
            table.release(first)

    def pairs(self, first: int, second: int, threshold: float) -> Pairs:
        """The pairs of places, [m], of the tiles at ``first`` and ``second`` that may reach the threshold."""
        left_tile = self._near[first : min(first + TILE, len(self))].astype(np.float32)
        right_tile = self._near[second : min(second + TILE, len(self))].astype(np.float32)
        products, near = self._room.for_tile(len(left_tile), len(right_tile))
        np.matmul(left_tile, right_tile.T, out=products)
        np.greater_equal(products, np.float32(threshold - _SLACK), out=near)
        left, right = np.divmod(np.flatnonzero(near), products.shape[1])
        if second == first:
            left, right = left[left < right], right[left < right]
        if self._far.shape[1] and len(left):
            bounds = products[left, right] - left_tile[left, -1] * right_tile[right, -1]
            bounds += self._far_bounds(first + left, second + right, left_tile[left, -1], right_tile[right, -1])
            kept = bounds >= threshold - _SLACK
            left, right = left[kept], right[kept]
        return paired(self.places[first + left], self.places[second + right])

    def _far_bounds(self, left: Rows, right: Rows, left_norms: Float32Array, right_norms: Float32Array) -> Float32Array:
        """A bound on what the directions beyond the first add to the cosines; norms: of the rows without the first.

        With x = q + e, where q is what the 8 bits hold: x . y <= q . q' + |x| |e'| + |e| |x'| + |e| |e'|.
        """
        result = np.empty(len(left), np.float32)
        for start in range(0, len(left), TILE):
            some = slice(start, start + TILE)
            codes = self._far[left[some]].astype(np.float32), self._far[right[some]].astype(np.float32)
            result[some] = np.vecdot(*codes)
        left_errors, right_errors = self._errors[left], self._errors[right]
        result *= self._scale**2
        result += left_norms * right_errors + right_norms * left_errors + left_errors * right_errors
        result += self._rest[left] * self._rest[right]
        return result


def _directions(dataset: Dataset, rows: Rows) -> Float32Array:
    """An orthonormal basis, [dimension, k], of the directions that hold most of the vectors' lengths, most first.

    For a single tile of rows it is the whole space: finding directions would take longer than they save.
    """
    if len(rows) <= TILE:
        return np.eye(dataset.dimension, dtype=np.float32)
    sample = rows[np.linspace(0, len(rows) - 1, min(_SAMPLE, len(rows))).astype(np.int64)]
    units = units_of(dataset, sample)
    units = units[np.isfinite(units).all(axis=1)].astype(np.float64)
    _, directions = np.linalg.eigh(units.T @ units)
    basis: Float32Array = directions[:, ::-1][:, : _DIRECTIONS + _MORE_DIRECTIONS].astype(np.float32)
    return basis


def units_of(dataset: Dataset, rows: Rows) -> Float32Array:
    """The vectors of some rows, [len(rows), dimension], scaled to length 1."""
    vectors = dataset.take(rows)
    return normalized(vectors, out=vectors)
