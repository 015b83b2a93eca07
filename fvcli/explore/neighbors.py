"""Nearest rows by cosine, exactly, with a few megabytes of a dataset in memory at a time.

The cosine of a vector without length is 0 with everything. Rows with a value that is not finite are never found.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fvcli.dataset.reader import Dataset
from fvcli.records import Float32Array

Rows = NDArray[np.int64]


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
    units = normalized(queries)

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


def normalized(vectors: Float32Array, out: Float32Array | None = None) -> Float32Array:
    """The vectors [n, d] scaled to length 1; those without length stay 0. out: where to put them, maybe ``vectors``."""
    lengths = np.sqrt(np.vecdot(vectors, vectors))[:, np.newaxis]
    lengths[lengths == 0] = 1
    with np.errstate(invalid="ignore"):  # of infinite values, which stay useless
        result: Float32Array = np.divide(vectors, lengths, out=out)
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
