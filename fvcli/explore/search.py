"""A dataset searched by an image: which of its rows are like it, and which are like each other."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fvcli.dataset.reader import Dataset
from fvcli.errors import ImageError, UsageError
from fvcli.explore.dataset_model import loader_of, model_of
from fvcli.explore.neighbors import near_duplicates, nearest
from fvcli.machine import usable_cpus
from fvcli.records import Float32Array, ImageRef, display_name


@dataclass(frozen=True, slots=True)
class Neighbor:
    """A row that was found. score: the cosine, in [-1, 1]."""

    root: str
    path: str
    score: float

    @property
    def name(self) -> str:
        return display_name(self.root, self.path)

    def to_json(self) -> dict[str, object]:
        return {"root": self.root, "path": self.path, "score": self.score}


def neighbors(dataset: Dataset, query: str, k: int = 10, model: str | None = None) -> list[Neighbor]:
    """The ``k`` rows most like ``query``, best first: the name of a row, or else of an image file.

    A row finds itself, with score 1. A file goes through the dataset's own model and recipe. model: that model, where
    it is neither the embedded one nor in the cache. Raises UsageError for a name that is neither, or several rows';
    ImageError where the file is no image; ModelError and DatasetError where the dataset's model cannot be found.
    """
    rows = dataset.find(query)
    if len(rows) > 1:
        several = ", ".join(display_name(*key) for key in dataset.keys(np.array(rows[:5])))
        raise UsageError(f"{query} is the name of {len(rows)} rows; give the root too: {several}")
    vector = dataset.take(np.array(rows)) if rows else _vector_of(dataset, query, model)
    found = nearest(dataset, vector, k, usable_cpus())[0]
    return _named(dataset, found.rows, found.scores)


def duplicates(dataset: Dataset, threshold: float = 0.98) -> list[list[Neighbor]]:
    """Groups of near-duplicates, the largest first; scores are cosines to a group's first row. Raises DatasetError."""
    groups = near_duplicates(dataset, threshold)
    if not groups:
        return []
    rows = np.concatenate([group.rows for group in groups])
    every = _named(dataset, rows, np.concatenate([group.scores for group in groups]))
    ends = np.cumsum([len(group.rows) for group in groups]).tolist()
    return [every[end - len(group.rows) : end] for group, end in zip(groups, ends, strict=True)]


def _named(dataset: Dataset, rows: NDArray[np.int64], scores: Float32Array) -> list[Neighbor]:
    keys: Sequence[tuple[str, str]] = dataset.keys(rows)
    return [Neighbor(root, path, float(score)) for (root, path), score in zip(keys, scores, strict=True)]


def _vector_of(dataset: Dataset, name: str, model_name: str | None) -> Float32Array:
    raw = os.fsencode(name)
    if not os.path.exists(raw):
        shown = raw.decode(errors="backslashreplace")
        raise UsageError(f"{shown} is neither a row of {dataset.folder} nor a file")
    model = model_of(dataset.manifest, model_name)
    loader = loader_of(dataset.manifest, model)
    image = np.empty((1, model.input_spec.height, model.input_spec.width, 3), np.uint8)
    try:
        loader.load(ImageRef("", name, raw), image[0])
    except ImageError as error:
        raise ImageError(error.stage, error.kind, f"{raw.decode(errors='backslashreplace')}: {error}") from None
    return model(image)
