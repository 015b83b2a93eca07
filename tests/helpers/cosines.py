"""Vectors in clusters, written as a dataset, and the whole matrix of their cosines."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fvcli.dataset.layout import DataFormat
from fvcli.dataset.reader import Dataset
from fvcli.records import Float32Array
from tests.helpers.synthetic import rows_of, write_dataset


def write(folder: Path, vectors: Float32Array, size: int, format: DataFormat = "parquet") -> Dataset:
    starts = range(0, len(vectors), size)
    return write_dataset(folder, (rows_of(vectors[start : start + size], start) for start in starts), format)


def cosines(vectors: Float32Array, others: Float32Array) -> np.ndarray:
    a, b = vectors.astype(np.float64), others.astype(np.float64)
    lengths = np.outer(np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1))
    return np.divide(a @ b.T, lengths, out=np.zeros_like(lengths), where=lengths > 0)


def clusters() -> Float32Array:
    """Clusters, so that there are close ones; equal rows, rows of other lengths, and one without length."""
    random = np.random.default_rng(5)
    centers = random.standard_normal((60, 100), np.float32)
    vectors = np.repeat(centers, 50, axis=0) + random.standard_normal((3000, 100), np.float32) * 0.12
    vectors[2000] = vectors[10]
    vectors[1500] = vectors[10] * 8
    vectors[700] = 0
    return vectors
