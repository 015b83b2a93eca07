"""A dataset searched by images: the rows most similar to each of them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from fvcli.dataset.reader import Dataset
from fvcli.errors import ImageError, UsageError
from fvcli.explore.dataset_model import loader_of, model_of
from fvcli.explore.neighbors import Nearest, nearest
from fvcli.machine import usable_cpus
from fvcli.models.protocol import FeatureModel
from fvcli.records import Float32Array, ImageRef, display_name

_NAMED = 5  # rows or names that a message lists
_SUGGESTED = 20_000  # rows among which a similar name is looked for


@dataclass(frozen=True, slots=True)
class Neighbor:
    """A row that was found. score: the cosine, in [-1, 1]. labels: the row's classes, best first, if it has any."""

    root: str
    path: str
    score: float
    labels: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return display_name(self.root, self.path)

    def to_json(self) -> dict[str, object]:
        values: dict[str, object] = {"root": self.root, "path": self.path, "score": self.score}
        return {**values, "labels": self.labels} if self.labels else values


def neighbors(
    dataset: Dataset, queries: Sequence[str], k: int = 10, *, unique: bool = False, model: str | None = None
) -> list[list[Neighbor]]:
    """For each query the ``k`` rows most like it, best first.

    A query is the name of a row (with its root or without), an image file, or the base name of a single row. A row
    finds itself, with score 1; a file goes through the dataset's own model and recipe. One pass over the dataset.
    unique: one row per file content. model: the dataset's model, where it is neither the embedded one nor in the cache.
    Raises UsageError for a name that is none of these, or several rows'; ImageError for a file that is no image;
    ModelError and DatasetError where the dataset's model cannot be found.
    """
    vectors = _Queries(dataset, model).vectors(queries)
    # Copies can take places of the k best: as many more are looked at as the most copied content has copies.
    spare = _most_copies(dataset) if unique else 1
    found = nearest(dataset, vectors, k * spare, usable_cpus())
    if unique:
        found = [_one_per_content(dataset, each) for each in found]
    rows = np.concatenate([each.rows[:k] for each in found])
    keys, labels = iter(dataset.keys(rows)), iter(_labels(dataset, rows))
    return [[Neighbor(*next(keys), float(score), next(labels)) for score in each.scores[:k]] for each in found]


def _labels(dataset: Dataset, rows: NDArray[np.int64]) -> list[tuple[str, ...]]:
    """The labels of rows, empty in a dataset without them."""
    if "labels" not in dataset.schema.names:
        return [()] * len(rows)
    return [tuple(labels) for labels in dataset.rows(rows, ["labels"]).column(0).to_pylist()]


class _Queries:
    """Queries looked up in a dataset or read from files; the model is loaded for the first file."""

    def __init__(self, dataset: Dataset, model_name: str | None) -> None:
        self._dataset = dataset
        self._model_name = model_name
        self._model: FeatureModel | None = None

    def vectors(self, queries: Sequence[str]) -> Float32Array:
        """float32 [q, dimension]."""
        rows = [self._row(query) for query in queries]
        result = np.empty((len(queries), self._dataset.dimension), np.float32)
        known = [place for place, row in enumerate(rows) if row is not None]
        result[known] = self._dataset.take(np.array([row for row in rows if row is not None], np.int64))
        for place, query in enumerate(queries):
            if rows[place] is None:
                result[place] = self._computed(query)
        return result

    def _row(self, query: str) -> int | None:
        """The row's number, None for a file that is no row."""
        rows = self._dataset.find(query)
        if not rows and not os.path.exists(os.fsencode(query)):
            rows = self._with_base_name(query)
            if not rows:
                raise UsageError(
                    f"{query} is neither a row of {self._dataset.folder} nor a file{self._suggestion(query)}"
                )
        if len(rows) > 1:
            names = [display_name(*key) for key in self._dataset.keys(np.array(rows[:_NAMED]))]
            more = ", ..." if len(rows) > _NAMED else ""
            raise UsageError(f"{query} is the name of {len(rows)} rows; give one of: {', '.join(names)}{more}")
        return rows[0] if rows else None

    def _with_base_name(self, name: str) -> list[int]:
        """Numbers of the rows whose path ends in this name."""
        paths = self._dataset.metadata(["path"]).column(0)
        ends = pc.ends_with(paths, "/" + name.lstrip("/"))
        return np.flatnonzero(ends.combine_chunks().to_numpy(zero_copy_only=False)).tolist()

    def _suggestion(self, query: str) -> str:
        if len(self._dataset) > _SUGGESTED:
            return ""
        paths = {path.rsplit("/", 1)[-1]: path for path in self._dataset.metadata(["path"]).column(0).to_pylist()}
        close = get_close_matches(query.rsplit("/", 1)[-1], paths, 3)
        return f"; did you mean {' or '.join(paths[name] for name in close)}?" if close else ""

    def _computed(self, name: str) -> Float32Array:
        """The vector of an image file, by the dataset's model and recipe."""
        described = self._dataset.manifest
        if self._model is None:
            self._model = model_of(described, self._model_name)
        loader = loader_of(described, self._model)
        raw = os.fsencode(name)
        image = np.empty((1, self._model.input_spec.height, self._model.input_spec.width, 3), np.uint8)
        try:
            loader.load(ImageRef("", name, raw), image[0])
        except ImageError as error:
            raise ImageError(error.stage, error.kind, f"{raw.decode(errors='backslashreplace')}: {error}") from None
        vector: Float32Array = self._model(image)[0]
        return vector


def _most_copies(dataset: Dataset) -> int:
    """The number of rows with the most frequent file content, at least 1."""
    counts = pc.value_counts(dataset.metadata(["sha256"]).column(0)).field("counts")
    return int(pc.max(counts).as_py() or 1)


def _one_per_content(dataset: Dataset, found: Nearest) -> Nearest:
    """The first row of each file content, in the order found."""
    contents = dataset.rows(found.rows, ["sha256"]).column(0).to_pylist()
    first = np.array(sorted({content: place for place, content in reversed([*enumerate(contents)])}.values()), np.int64)
    return Nearest(found.rows[first], found.scores[first])
