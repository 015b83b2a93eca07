"""Vectors on a plane, similar ones near each other: t-SNE, and where rows that were not embedded belong.

t-SNE: L. van der Maaten and G. Hinton, Visualizing Data using t-SNE, JMLR 9 (2008), as scikit-learn computes it
(Barnes-Hut approximation).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fvcli.dataset.reader import Dataset
from fvcli.explore.neighbors import normalized
from fvcli.records import Float32Array

Indices = NDArray[np.int64]

_FEWEST = 8  # below that, t-SNE has no neighborhood to keep
_PERPLEXITY = 30.0
_ITERATIONS = 500  # more keep no more neighbors
_ALONE = 2000  # rows that one thread embeds: on a busy machine, threads that wait for each other take far longer
_COMPONENTS = 64  # of the coordinates that clusters are found in
_BLOCK = 2000
_SHARPNESS = 30.0  # how fast an anchor's pull falls with its cosine
_PULLING = 4


@dataclass(frozen=True, slots=True)
class Likeness:
    """The relation of rows to the anchors, the rows that are embedded.

    places: int64 [rows, k], the anchors with the largest cosine, best first, never the row itself. scores: float32
    [rows, k], the cosines. coordinates: float32 [rows, at most 64], principal components over the anchors.
    """

    places: Indices
    scores: Float32Array
    coordinates: Float32Array


def likeness(dataset: Dataset, rows: Indices, anchors: Indices, k: int) -> Likeness:
    """The ``k`` nearest of ``rows[anchors]`` to each of ``rows`` (ascending numbers), in one pass over the dataset.

    Memory: the anchors' vectors, one block, and the result.
    """
    units = directions(dataset.take(rows[anchors]))
    mean = units.mean(0)
    basis = _components(units - mean, _COMPONENTS)
    k = min(k, len(anchors) - 1)
    places = np.empty((len(rows), k), np.int64)
    scores = np.empty((len(rows), k), np.float32)
    coordinates = np.empty((len(rows), basis.shape[1]), np.float32)
    anchor_of = np.full(len(rows), -1)
    anchor_of[anchors] = np.arange(len(anchors))
    for start, block in dataset.vector_blocks(_BLOCK):
        low, high = np.searchsorted(rows, (start, start + len(block)))
        if low == high:
            continue
        some = directions(block[rows[low:high] - start])
        coordinates[low:high] = (some - mean) @ basis
        products = some @ units.T
        own = anchor_of[low:high]
        products[np.flatnonzero(own >= 0), own[own >= 0]] = -2
        if k:
            best = np.sort(np.argpartition(-products, k - 1, axis=1)[:, :k], axis=1)
            values = np.take_along_axis(products, best, axis=1)
            order = np.argsort(-values, axis=1, kind="stable")
            places[low:high] = np.take_along_axis(best, order, axis=1)
            scores[low:high] = np.clip(np.take_along_axis(values, order, axis=1), -1, 1)
    return Likeness(places, scores, coordinates)


def directions(vectors: Float32Array) -> Float32Array:
    """The vectors at length 1; a vector of zeros stays one, and what is not finite counts as 0."""
    return normalized(np.nan_to_num(vectors, nan=0.0, posinf=0.0, neginf=0.0))


def embed(units: Float32Array, seed: int, threads: int) -> Float32Array:
    """Places on the plane, float32 [n, 2], the longer extent along x. The same for the same seed."""
    if not len(units):
        return np.empty((0, 2), np.float32)
    centered = units - units.mean(0)
    plane = np.zeros((len(units), 2), np.float32)
    basis = _components(centered, 2)
    plane[:, : basis.shape[1]] = centered @ basis
    deviation = float(plane[:, 0].std())
    if len(units) < _FEWEST or deviation < 1e-6:
        return plane
    from sklearn.manifold import TSNE  # takes a second to import
    from threadpoolctl import threadpool_limits

    threads = threads if len(units) > _ALONE else 1
    model = TSNE(
        perplexity=min(_PERPLEXITY, (len(units) - 1) / 3),
        metric="cosine",
        init=plane / deviation * 1e-4,
        max_iter=_ITERATIONS,
        random_state=seed,
        n_jobs=threads,
    )
    with threadpool_limits(threads):
        found = np.nan_to_num(model.fit_transform(units)).astype(np.float32)
    return _level(found)


def spread_from(anchors: Float32Array, embedded: Indices, near: Likeness) -> Float32Array:
    """Places of all rows, float32 [rows, 2]: an anchor's own, and for others the mean of their nearest anchors'.

    anchors: float32 [m, 2]; embedded: the row of each. Nearer anchors count for more.
    """
    result = np.zeros((len(near.places), 2), np.float32)
    if near.places.shape[1]:
        some, scores = near.places[:, :_PULLING], near.scores[:, :_PULLING]
        weights = np.exp(_SHARPNESS * (scores - scores[:, :1]))
        weights /= weights.sum(1, keepdims=True)
        result = np.einsum("nk,nkd->nd", weights, anchors[some]).astype(np.float32)
    result[embedded] = anchors
    return result


def quantized(xy: Float32Array) -> tuple[NDArray[np.uint16], float]:
    """The points as uint16 pairs on one scale for both axes, 65535 the longer side's end; height / width."""
    if not len(xy):
        return np.empty((0, 2), np.uint16), 1.0
    low = xy.min(0)
    sides = xy.max(0) - low
    span = float(sides.max())
    if span == 0:
        return np.full((len(xy), 2), 32767, np.uint16), 1.0
    return np.rint((xy - low) / span * 65535).astype(np.uint16), float(sides[1] / max(float(sides[0]), 1e-12))


def _level(xy: Float32Array) -> Float32Array:
    """The points turned so that they spread most along x."""
    centered = xy - xy.mean(0)
    result: Float32Array = (centered @ _components(centered, 2)).astype(np.float32)
    return result


def _components(centered: Float32Array, count: int) -> Float32Array:
    """The rows' principal components, orthonormal [d, at most count]; the largest entry of each is positive."""
    if len(centered) < centered.shape[1]:
        values, left = np.linalg.eigh((centered @ centered.T).astype(np.float64))
        usable = np.flatnonzero(values > max(float(values[-1]), 0.0) * 1e-6)[::-1][:count]
        axes = centered.T @ (left[:, usable] / np.sqrt(values[usable]))
    else:
        _, vectors = np.linalg.eigh((centered.T @ centered).astype(np.float64))
        axes = vectors[:, ::-1][:, :count]
    if not axes.shape[1]:
        return np.zeros((centered.shape[1], 1), np.float32)
    largest = np.take_along_axis(axes, np.abs(axes).argmax(0)[np.newaxis], axis=0)
    signed: Float32Array = (axes * np.where(largest < 0, -1, 1)).astype(np.float32)
    return signed
