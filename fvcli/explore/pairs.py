"""Pairs of rows of a dataset, and their cosines, computed from the whole vectors in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from fvcli.dataset.reader import Dataset
from fvcli.explore.neighbors import Rows, normalized
from fvcli.records import Float32Array

#: Two places in one number each, so that pairs can be sorted where they are.
Pairs = NDArray[np.int64]

_READ_BYTES = 16 * 1000**2  # of the vectors that pairs have second, in memory at once
_TOGETHER = 500_000  # pairs that are computed in one pass
_AT_ONCE = 1024  # pairs whose vectors are copied side by side


def paired(first: Rows, second: Rows) -> Pairs:
    """The pairs, [m], of places below 2^32; they sort by their first place."""
    return first << 32 | second


def places_of(pairs: Pairs) -> tuple[Rows, Rows]:
    """The first and the second place of each pair, [m]."""
    return pairs >> 32, pairs & 0xFFFFFFFF


def units_of(dataset: Dataset, rows: Rows) -> Float32Array:
    """The vectors of some rows, [len(rows), dimension], scaled to length 1."""
    vectors = dataset.take(rows)
    return normalized(vectors, out=vectors)


def pair_cosines(
    dataset: Dataset,
    rows: Rows,
    pairs: Pairs,
    first_bytes: int,
    wanted: Callable[[Pairs], NDArray[np.bool_]] = lambda pairs: np.ones(len(pairs), np.bool_),
) -> Iterator[tuple[Pairs, Float32Array]]:
    """Some pairs, [m], and their cosines, float32 [m], again and again; ``pairs`` are sorted, of places in ``rows``.

    In memory are ``first_bytes`` of the vectors that pairs have first. As often as these are replaced, the dataset is
    read from there to its end, each shard once, if the rows ascend and no pair has the higher place first.
    wanted: a mask, [m], of the pairs that still need a cosine.
    """
    for firsts, some in _grouped(pairs, _rows_in(dataset, first_bytes)):
        turned = paired(*reversed(places_of(some[wanted(some)])))
        turned.sort()
        units = units_of(dataset, rows[firsts])
        for seconds, part in _grouped(turned, _rows_in(dataset, _READ_BYTES)):
            others = units_of(dataset, rows[seconds])
            for start in range(0, len(part), _AT_ONCE):
                second, first = places_of(part[start : start + _AT_ONCE])
                both = paired(first, second)
                left = wanted(both)
                both, first, second = both[left], first[left], second[left]
                yield both, np.vecdot(units[np.searchsorted(firsts, first)], others[np.searchsorted(seconds, second)])
            del others  # before there are the next ones
        del units


def _grouped(pairs: Pairs, most: int) -> Iterator[tuple[Rows, Pairs]]:
    """The sorted pairs, cut where they have had ``most`` different first places or are too many; with these places."""
    while len(pairs):
        some = pairs[:_TOGETHER]
        first = places_of(some)[0]
        places = first[np.flatnonzero(np.diff(first, prepend=-1))]
        if len(places) > most:
            some = some[: np.searchsorted(some, places[most] << 32)]
        yield places[:most], some
        pairs = pairs[len(some) :]


def _rows_in(dataset: Dataset, size: int) -> int:
    """The number of vectors in ``size`` bytes, at least 1."""
    return max(1, size // (4 * dataset.dimension))
