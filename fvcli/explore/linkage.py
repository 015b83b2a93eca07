"""Groups of rows that near-duplicate pairs link, found exactly in bounded memory.

The cosine of a vector without length is 0 with everything. Rows with a value that is not finite are in no group.

Every pair of contents is looked at, most of them only through upper bounds of their cosine. With P orthonormal,
x . y = Px . Py + rx . ry <= Px . Py + |rx| |ry|, where r is what the projection leaves of a vector. A first bound comes
from 64 directions for all pairs of a tile at once, a second one from 224 for the few pairs that the first cannot rule
out. What remains is computed from the whole vectors.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fvcli.dataset.reader import Dataset
from fvcli.explore.neighbors import Rows, normalized
from fvcli.machine import MemoryTrimmer, usable_cpus
from fvcli.records import Float32Array

#: Cosine from which two images count as near-duplicates, unless the user gives another.
THRESHOLD = 0.90

_DIRECTIONS = 64  # of the first bound; more make each tile slower, fewer leave more pairs to the second bound
_MORE_DIRECTIONS = 160  # of the second bound, stored in 8 bits
_FAR_LIMIT = 0.3  # coefficients beyond it are cut, which the bound accounts for
_SAMPLE = 2048  # rows that the directions are found from
_TILE = 2048  # rows compared with as many others at once
_HELD = 8_000  # rows of each side whose whole vectors are in memory: 32 MB of 1024 floats
_PAIRS = 1_000_000  # candidate pairs that wait for it
_SLACK = 1.2e-3  # what rounding to 16 bits may take from a projected product, with room to spare

Pairs = NDArray[np.int64]


def linked_rows(
    dataset: Dataset, threshold: float = THRESHOLD, progress: Callable[[float], None] | None = None
) -> list[Rows]:
    """Groups of two rows or more, each row with a cosine of at least ``threshold`` to another of its group.

    Largest groups first, rows ascending. Rows of the same file content count as one from the start. Takes about 300
    bytes per row besides fixed buffers, and a time that grows with the square of the number of different contents.
    progress: called with the share of the work that is done, in [0, 1].
    Raises DatasetError if a shard cannot be read, ValueError for a threshold outside (0, 1].
    """
    if not 0 < threshold <= 1:
        raise ValueError(f"the threshold must be above 0 and at most 1, not {threshold}")
    if len(dataset) == 0:
        return []
    content_of, firsts = _contents(dataset)
    linked = _UnionFind(len(firsts))
    waiting: list[Pairs] = []
    bounds = _Bounds(dataset, firsts)
    pa.default_memory_pool().release_unused()
    MemoryTrimmer().now()
    for pairs in _candidates(bounds, threshold, progress or (lambda share: None)):
        waiting.append(pairs[linked.apart(pairs)])
        if sum(map(len, waiting)) >= _PAIRS:
            _link(dataset, firsts, np.concatenate(waiting), threshold, linked)
            waiting = []
    if waiting:
        _link(dataset, firsts, np.concatenate(waiting), threshold, linked)
    return _groups(linked.labels()[content_of])


def identical_rows(dataset: Dataset) -> list[Rows]:
    """Groups of two rows or more with the same file content, largest first, rows ascending."""
    return _groups(_contents(dataset)[0]) if len(dataset) else []


def _contents(dataset: Dataset) -> tuple[Rows, Rows]:
    """The number of each row's content, [n], and the first row of each content, ascending."""
    digests = np.empty(len(dataset), "S32")  # to sort these takes a quarter of the memory of a dictionary of strings
    start = 0
    for chunk in dataset.metadata(["sha256"]).column(0).chunks:
        digits = "".join(chunk.to_pylist())
        digests[start : start + len(chunk)] = np.frombuffer(bytes.fromhex(digits), "S32")
        start += len(chunk)
    _, firsts, content_of = np.unique(digests, return_index=True, return_inverse=True)
    order = np.argsort(firsts)
    numbers = np.empty_like(order)
    numbers[order] = np.arange(len(order))
    return numbers[content_of], firsts[order]


class _Bounds:
    """Upper bounds of the cosines between some rows, in little memory.

    places: [n] where each bound's row stands among the rows given; those with non-finite values are missing.
    """

    def __init__(self, dataset: Dataset, rows: Rows) -> None:
        basis = _directions(dataset, rows)
        split = min(basis.shape[1], _DIRECTIONS) if basis.shape[1] < dataset.dimension else dataset.dimension
        self._near = np.zeros((len(rows), split + 1), np.float16)
        self._far = np.zeros((len(rows), basis.shape[1] - split), np.int8)
        self._scale = np.float32(_FAR_LIMIT / 127)
        self._errors = np.zeros(len(rows), np.float32)
        self._rest = np.zeros(len(rows), np.float32)
        usable = np.zeros(len(rows), np.bool_)

        def project(start: int, block: Float32Array) -> None:
            low, high = np.searchsorted(rows, (start, start + len(block)))
            units = normalized(block[rows[low:high] - start])
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

        for _ in dataset.scan(project):
            pass
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
        last = min(first + _TILE, len(self)) - 1
        limit = np.float16(float(self._near[last, 0]) + np.sqrt(2 - 2 * threshold) + 2 * _SLACK)
        return int(np.searchsorted(self._near[: len(self), 0], limit, side="right"))

    def pairs(self, first: int, second: int, threshold: float) -> Pairs:
        """Pairs of places, [m, 2], of the tiles at ``first`` and ``second`` that may reach the threshold."""
        left_tile = self._near[first : min(first + _TILE, len(self))].astype(np.float32)
        right_tile = self._near[second : min(second + _TILE, len(self))].astype(np.float32)
        products = left_tile @ right_tile.T
        left, right = np.divmod(np.flatnonzero(products >= threshold - _SLACK), products.shape[1])
        if second == first:
            left, right = left[left < right], right[left < right]
        if self._far.shape[1] and len(left):
            bounds = products[left, right] - left_tile[left, -1] * right_tile[right, -1]
            bounds += self._far_bounds(first + left, second + right, left_tile[left, -1], right_tile[right, -1])
            kept = bounds >= threshold - _SLACK
            left, right = left[kept], right[kept]
        return np.stack([self.places[first + left], self.places[second + right]], axis=1)

    def _far_bounds(self, left: Rows, right: Rows, left_norms: Float32Array, right_norms: Float32Array) -> Float32Array:
        """A bound on what the directions beyond the first add to the cosines; norms: of the rows without the first.

        With x = q + e, where q is what the 8 bits hold: x . y <= q . q' + |x| |e'| + |e| |x'| + |e| |e'|.
        """
        result = np.empty(len(left), np.float32)
        for start in range(0, len(left), _TILE):
            some = slice(start, start + _TILE)
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
    if len(rows) <= _TILE:
        return np.eye(dataset.dimension, dtype=np.float32)
    sample = rows[np.linspace(0, len(rows) - 1, min(_SAMPLE, len(rows))).astype(np.int64)]
    units = normalized(dataset.take(sample))
    units = units[np.isfinite(units).all(axis=1)].astype(np.float64)
    _, directions = np.linalg.eigh(units.T @ units)
    basis: Float32Array = directions[:, ::-1][:, : _DIRECTIONS + _MORE_DIRECTIONS].astype(np.float32)
    return basis


def _candidates(bounds: _Bounds, threshold: float, progress: Callable[[float], None]) -> Iterator[Pairs]:
    """Pairs of places, [m, 2], that may reach the threshold; on all CPUs, in bounded memory."""
    tiles = [(first, bounds.reach(first, threshold)) for first in range(0, len(bounds), _TILE)]
    total, done = sum(end - first for first, end in tiles), 0
    threads = usable_cpus()
    with ThreadPoolExecutor(threads, thread_name_prefix="pairs") as pool:
        running: deque[Future[Pairs]] = deque()
        try:
            for first, end in tiles:
                for second in range(first, end, _TILE):
                    running.append(pool.submit(bounds.pairs, first, second, threshold))
                    if len(running) > 4 * threads:
                        yield running.popleft().result()
                done += end - first
                progress(done / total)
            while running:
                yield running.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _link(dataset: Dataset, rows: Rows, pairs: Pairs, threshold: float, linked: _UnionFind) -> None:
    """Joins those of the pairs (of places in ``rows``) that reach the threshold.

    Holds _HELD left rows at a time and reads their right rows in order, so that each shard is read once for them.
    """
    for left, some in _grouped(pairs, 0):
        units = normalized(dataset.take(rows[left]))
        for right, now in _grouped(some[linked.apart(some)], 1):
            others = normalized(dataset.take(rows[right]))
            for start in range(0, len(now), _TILE):
                tile = now[start : start + _TILE]
                tile = tile[linked.apart(tile)]
                cosines = np.vecdot(
                    units[np.searchsorted(left, tile[:, 0])], others[np.searchsorted(right, tile[:, 1])]
                )
                linked.join(tile[cosines >= threshold])


def _grouped(pairs: Pairs, column: int) -> Iterator[tuple[Rows, Pairs]]:
    """The pairs by ascending ``column``, cut where it has had _HELD different values; with these values."""
    pairs = pairs[np.argsort(pairs[:, column], kind="stable")]
    values = np.unique(pairs[:, column])
    for start in range(0, len(values), _HELD):
        some = values[start : start + _HELD]
        low, high = np.searchsorted(pairs[:, column], (some[0], some[-1] + 1))
        yield some, pairs[low:high]


class _UnionFind:
    """Union-find over n items."""

    def __init__(self, count: int) -> None:
        self._parents = np.arange(count)

    def labels(self) -> Rows:
        """The lowest item of each item's set, [n]."""
        while (above := self._parents[self._parents]) is not None and (above != self._parents).any():
            self._parents = above
        return self._parents

    def apart(self, pairs: Pairs) -> NDArray[np.bool_]:
        """A mask, bool [m], of the pairs [m, 2] whose two are in different sets."""
        parents = self._parents
        result: NDArray[np.bool_] = parents[pairs[:, 0]] != parents[pairs[:, 1]]
        return result

    def join(self, pairs: Pairs) -> None:
        for left, right in pairs.tolist():
            low, high = sorted((self._root(left), self._root(right)))
            self._parents[high] = low
        if len(pairs):
            self.labels()

    def _root(self, item: int) -> int:
        while (parent := int(self._parents[item])) != item:
            item = parent
        return item


def _groups(labels: Rows) -> list[Rows]:
    """Rows with the same label, where there are two or more; the largest groups first."""
    order = np.argsort(labels, kind="stable")
    cuts = np.flatnonzero(np.diff(labels[order])) + 1
    groups = [rows for rows in np.split(order, cuts) if len(rows) > 1]
    return sorted(groups, key=lambda rows: (-len(rows), int(rows[0])))


def similarities(dataset: Dataset, groups: Sequence[Rows]) -> Iterator[Float32Array]:
    """For each group the cosines of its rows to its first row."""
    for some in _together(groups):
        units = normalized(dataset.take(np.concatenate(some)))
        start = 0
        for group in some:
            yield np.clip(np.vecdot(units[start : start + len(group)], units[start]), -1, 1)
            start += len(group)


def _together(groups: Sequence[Rows]) -> Iterator[list[Rows]]:
    """The groups in order, cut into lists of _HELD rows or a single group."""
    some: list[Rows] = []
    size = 0
    for rows in groups:
        if some and size + len(rows) > _HELD:
            yield some
            some, size = [], 0
        some.append(rows)
        size += len(rows)
    if some:
        yield some
