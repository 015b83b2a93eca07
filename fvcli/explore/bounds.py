"""Pairs of rows that may be as similar as a threshold, found without their vectors in 270 bytes per row.

What rules out the other pairs are distances of codes (see :mod:`fvcli.explore.contraction`). Inner products of the near
codes rule out nearly all pairs of a tile at once, the far codes most of those that are left.
"""

from __future__ import annotations

import mmap
import threading
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import DTypeLike, NDArray

from fvcli.dataset.columns import ROW_GROUP
from fvcli.dataset.reader import Dataset
from fvcli.explore.code_products import CodeProducts, product_layer
from fvcli.explore.contraction import contraction_for, reach
from fvcli.explore.neighbors import Rows, normalized
from fvcli.explore.pairs import Pairs, paired
from fvcli.machine import MemoryTrimmer
from fvcli.records import Float32Array

TILE = 1024  # rows compared with as many others at once
_LEVELS = 240  # of the products' int8 values, those that limits are spread over
_NEVER = -(2**30)  # an offset that no product makes up for


class _Table:
    """Numbers, [rows, columns], zero at first. The memory of the first rows can be given back to the system."""

    def __init__(self, rows: int, columns: int, dtype: DTypeLike) -> None:
        self._row_bytes = columns * np.dtype(dtype).itemsize
        size = max(1, rows * self._row_bytes)  # no mapping is empty
        self._memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self.values: NDArray[Any] = np.ndarray((rows, columns), dtype, self._memory)
        self.released = 0  # bytes

    def release(self, rows: int) -> None:
        """Gives back the memory of so many of the first rows, whose values are lost."""
        end = rows * self._row_bytes // mmap.PAGESIZE * mmap.PAGESIZE
        if end > self.released:
            self._memory.madvise(mmap.MADV_DONTNEED, self.released, end - self.released)
            self.released = end


class _Layer(threading.local):
    """A tile's product layer, which each thread keeps as long as it compares other tiles with it."""

    first = -1
    products: CodeProducts

    def __init__(self) -> None:
        self.mask = np.empty((TILE, TILE), np.bool_)


class Bounds:
    """The codes of some rows of a dataset, and the limits to what distances of them a pair at the threshold can have.

    A row's place is its number among ``rows``. Rows without length or with a value that is not finite are in no pair.
    """

    def __init__(self, dataset: Dataset, rows: Rows, threshold: float) -> None:
        contraction = contraction_for(dataset, rows)
        self._steps = contraction.near_step, contraction.far_step
        self._reach = reach(threshold, dataset.dimension)
        widths = contraction.near.shape[1] + 1, contraction.far.shape[1] + 1
        self._tables = [_Table(len(rows), width, np.int8) for width in widths]
        self._near, self._far = (table.values for table in self._tables)
        self._far_errors = np.zeros(len(rows), np.float32)
        #: Half of a row's square length in steps, less what errors may add to a product; see ``_set_limits``.
        self._halves = np.full(len(rows), np.inf, np.float32)
        near_reach = self._reach / contraction.near_step

        def encode(start: int, block: Float32Array) -> None:
            low, high = np.searchsorted(rows, (start, start + len(block)))
            units = block[rows[low:high] - start]
            normalized(units, out=units)
            usable = np.isfinite(units).all(axis=1) & units.any(axis=1)
            units[~usable] = 0
            codes = contraction.codes(units)
            self._near[low:high], self._far[low:high] = codes.near, codes.far
            self._far_errors[low:high] = codes.far_errors
            errors = codes.near_errors / contraction.near_step
            squares = np.square(codes.near, dtype=np.float32).sum(axis=1)
            self._halves[low:high] = np.where(usable, squares / 2 - near_reach * errors - errors**2, np.inf)

        give_back_memory()
        trim = MemoryTrimmer()
        for _ in dataset.scan(encode):
            trim(ROW_GROUP)
        give_back_memory()
        self._set_limits(near_reach)
        self._layers: dict[int, bytes] = {}
        self._layer = _Layer()
        self._products(0)  # LiteRT announces itself once, which one thread at a time can hush

    def __len__(self) -> int:
        return len(self._near)

    @property
    def size(self) -> int:
        """Bytes that can be given back."""
        return sum(table.values.nbytes for table in self._tables)

    @property
    def released(self) -> int:
        """Bytes given back so far."""
        return sum(table.released for table in self._tables)

    def release(self, first: int) -> None:
        """Gives back the memory of the rows before ``first``, which are in no tile anymore."""
        for table in self._tables:
            table.release(first)

    def pairs(self, first: int, second: int) -> Pairs:
        """The pairs of places, [m], of the tiles at ``first`` and ``second`` that may reach the threshold."""
        end = min(second + TILE, len(self))
        products = self._products(first)(self._near[second:end])
        near = self._layer.mask[: products.shape[0], : products.shape[1]]
        np.greater(products, self._limits[second:end, np.newaxis], out=near)
        del products
        right, left = np.divmod(np.flatnonzero(near), near.shape[1])
        left, right = first + left, second + right
        if second == first:
            left, right = left[left < right], right[left < right]
        kept = np.empty(len(left), np.bool_)
        for start in range(0, len(left), TILE):
            some = slice(start, start + TILE)
            kept[some] = self._within_reach(left[some], right[some])
        return paired(left[kept], right[kept])

    def _set_limits(self, near_reach: float) -> None:
        """Spreads the products' levels over the limits that rows have.

        With distances and errors k in near steps and h the reach, a pair is within reach only if

            |c - c'|^2 <= (h + k + k')^2 <= h^2 + 2 h (k + k') + 2 k^2 + 2 k'^2,

        and so if c . c' >= w + w' - h^2 / 2, where w = |c|^2 / 2 - h k - k^2. The layer of a tile adds -w' and takes
        the middle of all limits away, before it divides by the levels' distance.
        """
        halves = self._halves[np.isfinite(self._halves)].astype(np.float64)
        low, high = (halves.min(), halves.max()) if len(halves) else (0.0, 0.0)
        self._middle = float((low + high - near_reach**2) / 2)
        self._level = max(1.0, (high - low) / _LEVELS)
        limits = (self._halves - near_reach**2 / 2 - self._middle) / self._level
        # A result may be 1 too low, and must be above the limit. None is above 127.
        self._limits = np.where(np.isfinite(limits), np.ceil(limits) - 2, 127).astype(np.int8)

    def _products(self, first: int) -> CodeProducts:
        """The products with the tile at ``first``, for this thread."""
        if self._layer.first != first:
            layer = self._layers.get(first)
            if layer is None:
                halves = self._halves[first : first + TILE].astype(np.float64)
                offsets = np.where(np.isfinite(halves), -np.floor(halves + self._middle), _NEVER)
                layer = product_layer(self._near[first : first + TILE], offsets.astype(np.int32), self._level)
                self._layers = {first: layer}
            self._layer.products, self._layer.first = CodeProducts(layer, TILE), first
        return self._layer.products

    def _within_reach(self, left: Rows, right: Rows) -> NDArray[np.bool_]:
        """A mask, [m], of pairs whose far codes do not rule them out. The squares in steps are exact in float32."""
        near = self._near[left, :-1].astype(np.float32) - self._near[right, :-1]
        far = self._far[left].astype(np.float32) - self._far[right]
        squares = np.vecdot(near, near) * np.float32(self._steps[0] ** 2)
        squares += np.vecdot(far, far) * np.float32(self._steps[1] ** 2)
        limits = np.float32(self._reach) + self._far_errors[left] + self._far_errors[right]
        result: NDArray[np.bool_] = np.sqrt(squares) <= limits
        return result


def give_back_memory() -> None:
    """Returns to the system what Arrow and the C library keep for later."""
    pa.default_memory_pool().release_unused()
    MemoryTrimmer().now()
