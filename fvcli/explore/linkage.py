"""Groups of rows that near-duplicate pairs link, found exactly in bounded memory.

The cosine of a vector without length is 0 with everything. Rows with a value that is not finite are in no group.

Every pair of contents is looked at, most of them only through lower bounds of their distance. What these cannot rule
out is computed from the whole vectors.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from fvcli.dataset.reader import Dataset
from fvcli.explore.bounds import TILE, Bounds, give_back_memory
from fvcli.explore.contraction import rounding
from fvcli.explore.neighbors import Rows
from fvcli.explore.pairs import Pairs, pair_cosines, paired, places_of, units_of
from fvcli.machine import usable_cpus
from fvcli.records import Float32Array

#: Cosine from which two images count as near-duplicates, unless the user gives another.
THRESHOLD = 0.90

_HELD_BYTES = 16 * 1000**2  # of the vectors that pairs have first, in memory at once
_HELD_ALONE_BYTES = 160 * 1000**2  # of them when all bounds are done with
_WAITING_BYTES = 32 * 1000**2  # of candidate pairs that wait for their vectors
_SEARCHING = 0.9  # of all work, where the dataset is large
_JOINED = 1_000  # joins after which labels are brought up to date, which takes milliseconds


def linked_rows(
    dataset: Dataset, threshold: float = THRESHOLD, progress: Callable[[float], None] | None = None
) -> list[Rows]:
    """Groups of two rows or more, each row with a cosine of at least ``threshold`` to another of its group.

    Largest groups first, rows ascending. Rows of the same file content count as one from the start. Takes about 300
    bytes per row besides fixed buffers, and a time that grows with the square of the number of different contents.
    Candidate pairs and vectors take the place of bounds that are done with.
    progress: called with the share of the work that is done, in [0, 1].
    Raises DatasetError if a shard cannot be read, ValueError for a threshold outside (0, 1].
    """
    if not 0 < threshold <= 1:
        raise ValueError(f"the threshold must be above 0 and at most 1, not {threshold}")
    if len(dataset) == 0:
        return []
    tell = progress or (lambda share: None)
    content_of, firsts = _contents(dataset)
    if len(firsts) <= TILE:  # finding directions would take longer than they save
        links = _Links(dataset, firsts, threshold)
        links.add(_near_pairs(units_of(dataset, firsts), threshold))
    else:
        bounds = Bounds(dataset, firsts, threshold)
        links = _Links(dataset, firsts, threshold, bounds.size)
        for pairs in _candidates(bounds, lambda share: tell(share * _SEARCHING)):
            links.add(pairs, bounds.released)
        del bounds
    links.compare(_HELD_ALONE_BYTES, lambda share: tell(_SEARCHING + share * (1 - _SEARCHING)))
    return _groups(links.labels()[content_of])


def identical_rows(dataset: Dataset) -> list[Rows]:
    """Groups of two rows or more with the same file content, largest first, rows ascending."""
    return _groups(_contents(dataset)[0]) if len(dataset) else []


def _contents(dataset: Dataset) -> tuple[Rows, Rows]:
    """The number of each row's content, [n], and the first row of each content, ascending."""
    digests = np.empty(len(dataset), "S32")  # to sort these takes a quarter of the memory of a dictionary of strings
    start = 0
    for batch in dataset.batches(["sha256"]):  # a table of all rows would take more memory than the search
        digits = "".join(batch.column(0).to_pylist())
        digests[start : start + len(batch)] = np.frombuffer(bytes.fromhex(digits), "S32")
        start += len(batch)
    _, firsts, content_of = np.unique(digests, return_index=True, return_inverse=True)
    order = np.argsort(firsts)
    numbers = np.empty_like(order)
    numbers[order] = np.arange(len(order))
    return numbers[content_of], firsts[order]


def _near_pairs(units: Float32Array, threshold: float) -> Pairs:
    """The pairs, [m], of a few vectors [n, dimension] of length 1 whose cosine may reach the threshold."""
    units[~np.isfinite(units).all(axis=1)] = 0
    near = units @ units.T >= threshold - 2 * rounding(units.shape[1])  # other products order their sums otherwise
    return paired(*np.nonzero(np.triu(near, 1)))


def _candidates(bounds: Bounds, progress: Callable[[float], None]) -> Iterator[Pairs]:
    """Pairs of places, [m], that may reach the threshold; on all CPUs, in bounded memory."""
    firsts = range(0, len(bounds), TILE)
    total, done = sum(len(bounds) - first for first in firsts), 0
    threads = usable_cpus()
    running: deque[tuple[int, Future[Pairs]]] = deque()

    def taken() -> Pairs:
        first, pairs = running.popleft()
        bounds.release(first)  # those still running are of later tiles
        return pairs.result()

    with ThreadPoolExecutor(threads, thread_name_prefix="pairs") as pool:
        try:
            for first in firsts:
                for second in range(first, len(bounds), TILE):
                    running.append((first, pool.submit(bounds.pairs, first, second)))
                    if len(running) > 4 * threads:
                        yield taken()
                done += len(bounds) - first
                progress(done / total)
            while running:
                yield taken()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


class _Links:
    """Links between ``rows``, which are called by their places among them. Pairs wait until they are compared.

    spare: the most that ``add`` is ever given.
    """

    def __init__(self, dataset: Dataset, rows: Rows, threshold: float, spare: int = 0) -> None:
        self._dataset = dataset
        self._rows = rows
        self._threshold = threshold
        self._linked = _UnionFind(len(rows))
        # The system gives its memory piece by piece, as it is written.
        self._waiting = np.empty(max(1, (_WAITING_BYTES + spare // 2) // 8), np.int64)
        self._count = 0

    def labels(self) -> Rows:
        """The lowest place of each place's group, [n]."""
        return self._linked.labels()

    def add(self, pairs: Pairs, spare: int = 0) -> None:
        """Pairs that may reach the threshold. spare: bytes that may be taken besides the usual."""
        pairs = pairs[self._linked.apart(pairs)]
        while len(pairs):
            room = max(1, (_WAITING_BYTES + spare // 2) // pairs.itemsize)
            if self._count >= room:
                self.compare(_HELD_BYTES + spare // 2)
            some, pairs = np.split(pairs, [room - self._count])
            self._waiting[self._count : self._count + len(some)] = some
            self._count += len(some)

    def compare(self, first_bytes: int, progress: Callable[[float], None] = lambda share: None) -> None:
        """Joins those of the waiting pairs that reach the threshold.

        In memory are so many bytes of the vectors that the pairs have first, and fewer of the others.
        """
        give_back_memory()
        pairs, self._count = self._waiting[: self._count], 0
        pairs.sort()
        done = 0
        for some, cosines in pair_cosines(self._dataset, self._rows, pairs, first_bytes, self._linked.apart):
            self._linked.join(some[cosines >= self._threshold])
            if len(some):
                done = max(done, int(np.searchsorted(pairs, some[0])))
                progress(done / len(pairs))
        progress(1)


class _UnionFind:
    """Union-find over n items."""

    def __init__(self, count: int) -> None:
        self._parents = np.arange(count)
        self._joined = 0  # since every item's parent was the lowest of its set

    def labels(self) -> Rows:
        """The lowest item of each item's set, [n]."""
        self._joined = 0
        while (above := self._parents[self._parents]) is not None and (above != self._parents).any():
            self._parents = above
        return self._parents

    def apart(self, pairs: Pairs) -> NDArray[np.bool_]:
        """A mask, bool [m], of the pairs whose two are in different sets, or have just been joined."""
        first, second = places_of(pairs)
        result: NDArray[np.bool_] = self._parents[first] != self._parents[second]
        return result

    def join(self, pairs: Pairs) -> None:
        for places in zip(*(part.tolist() for part in places_of(pairs)), strict=True):
            low, high = sorted(map(self._root, places))
            self._parents[high] = low
        self._joined += len(pairs)
        if self._joined >= _JOINED:
            self.labels()

    def _root(self, item: int) -> int:
        while (parent := int(self._parents[item])) != item:
            item = parent
        return item


def _groups(labels: Rows) -> list[Rows]:
    """Rows with the same label, where there are two or more; the largest groups first."""
    order = np.argsort(labels, kind="stable")
    starts = np.flatnonzero(np.diff(labels[order], prepend=-1))
    sizes = np.diff(starts, append=len(labels))
    several = sizes > 1  # views of the others would take a hundred bytes each
    groups = [order[start : start + size] for start, size in zip(starts[several], sizes[several], strict=True)]
    return sorted(groups, key=lambda rows: (-len(rows), int(rows[0])))


def similarities(dataset: Dataset, groups: Sequence[Rows]) -> list[Float32Array]:
    """For each group the cosines of its rows to its first row."""
    if not groups:
        return []
    sizes = [len(group) for group in groups]
    rows, firsts = np.concatenate(groups), np.repeat([group[0] for group in groups], sizes)
    pairs = paired(np.minimum(rows, firsts), np.maximum(rows, firsts))
    order = np.argsort(pairs)
    ordered = pairs[order]
    result = np.empty(len(rows), np.float32)
    for some, cosines in pair_cosines(dataset, np.arange(len(dataset)), ordered, _HELD_ALONE_BYTES):
        result[order[np.searchsorted(ordered, some)]] = np.clip(cosines, -1, 1)
    return np.split(result, np.cumsum(sizes)[:-1])
