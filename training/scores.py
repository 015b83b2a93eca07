"""Scores of feature vectors: per photograph, and as means with standard errors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fvcli.records import Float32Array

NEIGHBORS = 10
TOP = 5


@dataclass(frozen=True, slots=True)
class Answers:
    """The answers of a network to n photographs. features: float32 [n, d]. logits: float32 [n, classes]."""

    features: Float32Array
    logits: Float32Array


def scores(
    given: Answers, truth: NDArray[np.int64] | None = None, teacher: Answers | None = None
) -> dict[str, NDArray[np.float64]]:
    """By name one number per photograph.

    With the right classes (0..1000): top1, top5, cross_entropy, and :func:`retrieval` and :func:`average_precision`,
    which have fewer numbers. With the teacher's answers: agreement (the same class), divergence (Kullback-Leibler, of
    its classes), cosine, and :func:`shared_neighbors`.
    """
    result: dict[str, NDArray[Any]] = {}
    likely = log_softmax(given.logits)
    if truth is not None:
        best = np.argpartition(-given.logits, TOP, axis=1)[:, :TOP]
        result |= {
            "top1": given.logits.argmax(1) == truth,
            "top5": (best == truth[:, None]).any(axis=1),
            "cross_entropy": -likely[np.arange(len(truth)), truth],
            "retrieval": retrieval(given.features, truth),
            "average_precision": average_precision(given.features, truth),
        }
    if teacher is not None:
        wanted = log_softmax(teacher.logits)
        result |= {
            "agreement": given.logits.argmax(1) == teacher.logits.argmax(1),
            "divergence": np.sum(np.exp(wanted) * (wanted - likely), axis=1),
            "cosine": cosines(given.features, teacher.features),
            "neighbors": shared_neighbors(given.features, teacher.features),
        }
    return {name: values.astype(np.float64) for name, values in result.items()}


def retrieval(features: Float32Array, truth: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether a photograph of the same class is among the 10 with the most similar features (cosine).

    One value per photograph whose class another one has, too; the neighbors are looked for among all.
    """
    nearest = nearest_rows(features)
    found: NDArray[np.bool_] = (truth[nearest] == truth[:, None]).any(axis=1)
    return found[np.bincount(truth)[truth] > 1]


def average_precision(features: Float32Array, truth: NDArray[np.int64]) -> NDArray[np.float64]:
    """0..1: how early the photographs of the same class come when all others are in the order of their cosines.

    The mean, over the places where one of the class comes, of the share of the class so far (Manning et al.,
    "Introduction to Information Retrieval", 2008, 8.4). One value per photograph whose class another one has, too.
    """
    order = np.argsort(-similarities(features), axis=1)[:, :-1]  # itself is last
    same = truth[order] == truth[:, None]
    so_far = same.cumsum(axis=1) / np.arange(1, len(truth))
    counted = np.bincount(truth)[truth] > 1
    result: NDArray[np.float64] = (so_far * same)[counted].sum(axis=1) / same[counted].sum(axis=1)
    return result


def shared_neighbors(features: Float32Array, wanted: Float32Array) -> NDArray[np.float64]:
    """The share of the 10 rows nearest by ``wanted`` that are among the 10 nearest by ``features``, for each row."""
    pairs = zip(nearest_rows(features), nearest_rows(wanted), strict=True)
    return np.array([np.isin(one, other).mean() for one, other in pairs])


def nearest_rows(features: Float32Array) -> NDArray[np.intp]:
    """int [n, 10]: the rows with the highest cosines to each row, itself aside, in no order; fewer if n is."""
    count = min(NEIGHBORS, len(features) - 1)
    nearest: NDArray[np.intp] = np.argpartition(-similarities(features), count - 1, axis=1)[:, :count]
    return nearest


def similarities(features: Float32Array) -> Float32Array:
    """float32 [n, n]: the cosines of all pairs of rows; of a row with itself, -inf."""
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    similar: Float32Array = unit @ unit.T
    np.fill_diagonal(similar, -np.inf)
    return similar


def log_softmax(logits: Float32Array) -> NDArray[np.float64]:
    """Logarithms of the probabilities, float64 [n, classes]."""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    result: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return result


def divergence(wanted: Float32Array, given: Float32Array) -> float:
    """Kullback-Leibler, of the classes whose logits are [n, classes]; the mean over the rows."""
    likely = log_softmax(wanted)
    return float(np.mean(np.sum(np.exp(likely) * (likely - log_softmax(given)), axis=1)))


def cosines(first: Float32Array, second: Float32Array) -> Any:
    """The cosine of each pair of rows."""
    return np.sum(first * second, axis=1) / (np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1))


def means(values: Mapping[str, NDArray[np.float64]]) -> dict[str, float]:
    """The mean of each score; NaN where no photograph has one."""
    return {name: float(each.mean()) if each.size else float("nan") for name, each in values.items()}


def standard_errors(values: Mapping[str, NDArray[np.float64]]) -> dict[str, float]:
    """The standard error of each of :func:`means`, from the spread over photographs."""
    return {name: float(each.std() / np.sqrt(max(each.size, 1))) for name, each in values.items()}
