"""Near-duplicates for every threshold above the lowest: a forest of the strongest links between rows.

Single linkage: at any threshold, two rows are in one group when links at or above it connect them, which is what
:func:`fvcli.explore.linkage.linked_rows` finds at that threshold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from fvcli.dataset.reader import Dataset
from fvcli.explore.linkage import linked_rows
from fvcli.records import Float32Array
from fvcli.report.embedding import directions

Indices = NDArray[np.int64]

_HELD = 10_000  # rows whose vectors are in memory at once
_TREE = 3_000  # contents in one group that are compared with each other


@dataclass(frozen=True, slots=True)
class Links:
    """pairs: int64 [m, 2], rows of the dataset; scores: float32 [m], their cosines, 1 for equal contents.

    rows: all rows in ``pairs``, ascending; contents: int64, equal for rows with equal bytes. left_out: rows of
    near-duplicates beyond the limit.
    """

    pairs: Indices
    scores: Float32Array
    rows: Indices
    contents: Indices
    left_out: int

    def groups(self, threshold: float) -> list[Indices]:
        """Places in ``rows`` of the rows that are in one group at ``threshold``, for every group."""
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        kept = np.searchsorted(self.rows, self.pairs[self.scores >= threshold])
        if not len(kept):
            return []
        size = (len(self.rows), len(self.rows))
        _, labels = connected_components(coo_array((np.ones(len(kept)), (kept[:, 0], kept[:, 1])), shape=size))
        order = np.argsort(labels, kind="stable")
        parts = np.split(order, np.flatnonzero(np.diff(labels[order])) + 1)
        return [part for part in parts if len(part) > 1]


def links(dataset: Dataset, lowest: float, limit: int, progress: Callable[[float], None]) -> Links:
    """The links of all rows with a cosine of at least ``lowest`` to another; at most ``limit`` rows, largest groups
    first. progress: called with the share of the search that is done. Raises DatasetError where a shard cannot be read.
    """
    kept, left_out, total = [], 0, 0
    for rows in linked_rows(dataset, lowest, progress):
        if total + len(rows) <= limit:
            kept.append(rows)
            total += len(rows)
        else:
            left_out += len(rows)
    if not kept:
        nothing = np.empty(0, np.int64)
        return Links(nothing.reshape(0, 2), np.empty(0, np.float32), nothing, nothing, left_out)
    column = dataset.metadata(["sha256"]).column(0).combine_chunks()
    contents = pc.dictionary_encode(column).indices.to_numpy().astype(np.int64)
    pairs, scores = [], []
    for group, units in _with_vectors(dataset, kept):
        some, values = _tree(group, contents[group], units, lowest)
        pairs.append(some)
        scores.append(values)
    every = np.sort(np.concatenate(kept))
    return Links(np.concatenate(pairs), np.concatenate(scores), every, contents[every], left_out)


def _with_vectors(dataset: Dataset, groups: Sequence[Indices]) -> Iterator[tuple[Indices, Float32Array]]:
    """Each group with its unit vectors, reading those of many groups at once."""
    start = 0
    while start < len(groups):
        end, size = start + 1, len(groups[start])
        while end < len(groups) and size + len(groups[end]) <= _HELD:
            size += len(groups[end])
            end += 1
        units = directions(dataset.take(np.concatenate(groups[start:end])))
        first = 0
        for rows in groups[start:end]:
            yield rows, units[first : first + len(rows)]
            first += len(rows)
        start = end


def _tree(rows: Indices, contents: Indices, units: Float32Array, lowest: float) -> tuple[Indices, Float32Array]:
    """A spanning tree of one group: copies hang on the first row of their content, contents on their nearest."""
    _, firsts, inverse = np.unique(contents, return_index=True, return_inverse=True)
    copies = np.flatnonzero(firsts[inverse] != np.arange(len(rows)))
    pairs = [np.stack([rows[firsts[inverse[copies]]], rows[copies]], axis=1)]
    scores = [np.ones(len(copies), np.float32)]
    for start in range(0, len(firsts), _TREE):
        some = firsts[start : start + _TREE]
        edges, values = _maximum_tree(units[some])
        pairs.append(rows[some[edges]])
        scores.append(np.maximum(values, np.float32(lowest)))  # what links these may be in another part
        if start:  # too many to compare: the parts are linked by the search's own threshold
            pairs.append(rows[[[firsts[0], some[0]]]])
            scores.append(np.array([lowest], np.float32))
    return np.concatenate(pairs), np.concatenate(scores)


def _maximum_tree(units: Float32Array) -> tuple[Indices, Float32Array]:
    """The spanning tree with the largest cosines (Prim's algorithm): int64 [n - 1, 2] and float32 [n - 1]."""
    edges = np.empty((len(units) - 1, 2), np.int64)
    values = np.empty(len(units) - 1, np.float32)
    best = units @ units[0]
    parent = np.zeros(len(units), np.int64)
    outside = np.ones(len(units), bool)
    outside[0] = False
    for number in range(len(units) - 1):
        new = int(np.argmax(np.where(outside, best, -np.inf)))
        edges[number] = parent[new], new
        values[number] = min(1.0, float(best[new]))
        outside[new] = False
        scores = units @ units[new]
        nearer = scores > best
        best = np.where(nearer, scores, best)
        parent[nearer] = new
    return edges, values
