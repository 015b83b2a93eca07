"""Nearest rows and near-duplicates by cosine, exactly, with a few megabytes of a dataset in memory at a time.

The cosine of a vector without length is 0 with everything. Rows with a value that is not finite are never found.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from fvcli.dataset.reader import Dataset
from fvcli.records import Float32Array

Rows = NDArray[np.int64]

_DIRECTIONS = 64  # of the projection that rules pairs out; more take longer each, fewer leave more pairs to look at
_SAMPLE = 4096  # rows that the directions are found from
_TILE = 2048  # rows compared with as many others at once
_HELD = 50_000  # rows whose whole vectors are looked at together: 200 MB of 1024 floats
_PAIRS = 1_000_000  # candidate pairs that wait for it
_SLACK = 1e-4  # what rounding may take from a projected product, with room to spare


@dataclass(frozen=True, slots=True)
class Nearest:
    """Rows found for one query, best first; of equal ones the lower row. scores: cosines in [-1, 1]."""

    rows: Rows
    scores: Float32Array


def nearest(dataset: Dataset, queries: Float32Array, k: int, threads: int | None = None) -> list[Nearest]:
    """The ``k`` rows with the largest cosine to each of ``queries``, float32 [q, dimension]; fewer if there are fewer.

    One pass over the dataset. The scores do not depend on the threads or on how the rows are cut into shards.
    Raises DatasetError when a shard cannot be read, ValueError for queries of another length.
    """
    if queries.ndim != 2 or queries.shape[1] != dataset.dimension:
        raise ValueError(f"queries of shape {queries.shape} against vectors of length {dataset.dimension}")
    units = normalised(queries)

    def best(start: int, block: Float32Array) -> list[Nearest]:
        # vecdot takes each row on its own, so a row's score is the same wherever it stands, and it leaves the
        # other threads alone where a matrix product would start threads of its own.
        lengths = np.sqrt(np.vecdot(block, block))
        lengths[lengths == 0] = 1
        rows = np.arange(start, start + len(block))
        return [_best(np.vecdot(block, unit) / lengths, rows, k) for unit in units]

    found = [Nearest(np.empty(0, np.int64), np.empty(0, np.float32))] * len(units)
    for part in dataset.scan(best, threads):
        found = [
            _best(np.concatenate([a.scores, b.scores]), np.concatenate([a.rows, b.rows]), k)
            for a, b in zip(found, part, strict=True)
        ]
    return found


def normalised(vectors: Float32Array) -> Float32Array:
    """The vectors [n, d] at length 1; those without length stay 0."""
    lengths = np.sqrt(np.vecdot(vectors, vectors))[:, np.newaxis]
    lengths[lengths == 0] = 1
    result: Float32Array = vectors / lengths
    return result


def _best(scores: Float32Array, rows: Rows, k: int) -> Nearest:
    finite = np.isfinite(scores)
    if not finite.all():
        scores, rows = scores[finite], rows[finite]
    if len(scores) > k:
        least = np.partition(scores, len(scores) - k)[len(scores) - k]
        kept = scores >= least
        scores, rows = scores[kept], rows[kept]
    order = np.lexsort((rows, -scores))[:k]
    return Nearest(rows[order], np.clip(scores[order], -1, 1))


@dataclass(frozen=True, slots=True)
class Group:
    """Rows that hang together by near-duplicate pairs, ascending. scores[i]: cosine of rows[i] and rows[0]."""

    rows: Rows
    scores: Float32Array


def near_duplicates(dataset: Dataset, threshold: float = 0.98) -> list[Group]:
    """Groups of two rows and more, each row with a cosine of at least ``threshold`` to another of its group.

    Largest groups first. Exact: rows of the same file content are one from the start; of the others, a projection
    onto 64 directions gives an upper bound of each pair's cosine, and every pair that it does not rule out is
    computed whole. Takes about 350 bytes a row besides two fixed buffers, and a time that grows with the square of
    the number of different contents. Raises DatasetError when a shard cannot be read, ValueError for a threshold
    outside (0, 1].
    """
    if not 0 < threshold <= 1:
        raise ValueError(f"a threshold lies above 0 and not above 1, not at {threshold}")
    if len(dataset) == 0:
        return []
    contents = pc.dictionary_encode(dataset.metadata(["sha256"]).column(0).combine_chunks()).indices.to_numpy()
    _, firsts, content_of = np.unique(contents, return_index=True, return_inverse=True)
    connected = _Connected(len(firsts))
    waiting: list[NDArray[np.int64]] = []
    for pairs in _candidates(*_bounds(dataset, firsts), threshold):
        waiting.append(pairs[connected.apart(pairs)])
        if sum(map(len, waiting)) >= _PAIRS:
            _connect(dataset, firsts, np.concatenate(waiting), threshold, connected)
            waiting = []
    if waiting:
        _connect(dataset, firsts, np.concatenate(waiting), threshold, connected)
    return _scored(dataset, _groups(connected.labels()[content_of]))


def _bounds(dataset: Dataset, rows: Rows) -> tuple[Float32Array, NDArray[np.int64]]:
    """For each of ``rows`` a vector whose products bound the cosines from above, and its place; ascending by column 0.

    With P orthonormal, x . y = Px . Py + rx . ry <= Px . Py + |rx| |ry|, r being what P leaves of a vector.
    """
    basis = _directions(dataset, rows)
    bounds = np.empty((len(rows), basis.shape[1] + 1), np.float32)

    def project(start: int, block: Float32Array) -> None:
        low, high = np.searchsorted(rows, (start, start + len(block)))
        chosen = normalised(block[rows[low:high] - start])
        projected = chosen @ basis
        rest = np.vecdot(chosen, chosen) - np.vecdot(projected, projected)
        bounds[low:high, :-1] = projected
        bounds[low:high, -1] = np.sqrt(np.maximum(rest, 0))

    for _ in dataset.scan(project):
        pass
    usable = np.flatnonzero(np.isfinite(bounds).all(axis=1) & bounds.any(axis=1))
    spread = int(np.argmax(bounds[usable].var(axis=0))) if len(usable) else 0
    bounds[:, [0, spread]] = bounds[:, [spread, 0]]
    order = usable[np.argsort(bounds[usable, 0], kind="stable")]
    return bounds[order], order


def _directions(dataset: Dataset, rows: Rows) -> Float32Array:
    """An orthonormal basis [dimension, at most _DIRECTIONS] of where most of the vectors' lengths lie.

    For a single tile of rows it is the whole space: finding the directions would take longer than they save.
    """
    if len(rows) <= _TILE:
        return np.eye(dataset.dimension, dtype=np.float32)
    sample = rows[np.linspace(0, len(rows) - 1, min(_SAMPLE, len(rows))).astype(np.int64)]
    units = normalised(dataset.take(sample))
    units = units[np.isfinite(units).all(axis=1)].astype(np.float64)
    _, directions = np.linalg.eigh(units.T @ units)
    basis: Float32Array = directions[:, ::-1][:, :_DIRECTIONS].astype(np.float32)
    return basis


def _candidates(bounds: Float32Array, places: Rows, threshold: float) -> Iterator[NDArray[np.int64]]:
    """Pairs of places [m, 2] that may reach the threshold.

    Unit vectors at cosine t are sqrt(2 - 2 t) apart, and so are at most their values in any one direction.
    """
    reach = np.sqrt(2 - 2 * threshold) + _SLACK
    for first in range(0, len(bounds), _TILE):
        tile = bounds[first : first + _TILE]
        end = int(np.searchsorted(bounds[:, 0], tile[-1, 0] + reach, side="right"))
        for second in range(first, end, _TILE):
            products = tile @ bounds[second : min(second + _TILE, end)].T
            left, right = np.divmod(np.flatnonzero(products >= threshold - _SLACK), products.shape[1])
            if second == first:
                left, right = left[left < right], right[left < right]
            if len(left):
                yield np.stack([places[first + left], places[second + right]], axis=1)


def _connect(dataset: Dataset, rows: Rows, pairs: NDArray[np.int64], threshold: float, connected: _Connected) -> None:
    """Joins those of the pairs (of places in ``rows``) that reach the threshold."""
    pairs = pairs[np.argsort(pairs.min(axis=1), kind="stable")]
    while len(pairs):
        # As many of the pairs as their vectors can be held for.
        _, first_seen = np.unique(pairs.reshape(-1), return_index=True)
        first_seen.sort()
        cut = len(pairs) if len(first_seen) <= _HELD else int(first_seen[_HELD] // 2)
        now, pairs = pairs[:cut], pairs[cut:]
        held = np.unique(now)
        units = normalised(dataset.take(rows[held]))
        now = now[connected.apart(now)]
        for start in range(0, len(now), _TILE):
            some = now[start : start + _TILE]
            left, right = np.searchsorted(held, some.T)
            connected.join(some[np.vecdot(units[left], units[right]) >= threshold])
        pairs = pairs[connected.apart(pairs)]


class _Connected:
    """Which of n things hang together (union-find)."""

    def __init__(self, count: int) -> None:
        self._parents = np.arange(count)

    def labels(self) -> NDArray[np.int64]:
        """The same number for all that hang together: the lowest of them."""
        while (above := self._parents[self._parents]) is not None and (above != self._parents).any():
            self._parents = above
        return self._parents

    def apart(self, pairs: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of the pairs [m, 2] do not hang together yet."""
        parents = self._parents
        result: NDArray[np.bool_] = parents[pairs[:, 0]] != parents[pairs[:, 1]]
        return result

    def join(self, pairs: NDArray[np.int64]) -> None:
        for left, right in pairs.tolist():
            low, high = sorted((self._root(left), self._root(right)))
            self._parents[high] = low
        if len(pairs):
            self.labels()

    def _root(self, item: int) -> int:
        while (parent := int(self._parents[item])) != item:
            item = parent
        return item


def _groups(labels: NDArray[np.int64]) -> list[Rows]:
    """Rows with the same label, where there are two or more; the largest groups first."""
    order = np.argsort(labels, kind="stable")
    cuts = np.flatnonzero(np.diff(labels[order])) + 1
    groups = [rows for rows in np.split(order, cuts) if len(rows) > 1]
    return sorted(groups, key=lambda rows: (-len(rows), int(rows[0])))


def _scored(dataset: Dataset, groups: Sequence[Rows]) -> list[Group]:
    results: list[Group] = []
    for some in _together(groups):
        rows = np.concatenate(some)
        units = normalised(dataset.take(rows))
        start = 0
        for group in some:
            scores = np.vecdot(units[start : start + len(group)], units[start])
            results.append(Group(group, np.clip(scores, -1, 1)))
            start += len(group)
    return results


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
