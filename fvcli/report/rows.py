"""The rows in the page: which of a dataset's they are, and what their files are called and measure."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fvcli.dataset.columns import VECTOR
from fvcli.dataset.reader import Dataset
from fvcli.records import ImageRef, usable_folder
from fvcli.report.facts import Labels, RowTable, packed
from fvcli.report.names import readable

Indices = NDArray[np.int64]

NAME_CHARACTERS = 1000
_LABELS = 3  # per row


@dataclass(frozen=True, slots=True)
class PageRows:
    """Rows of a dataset, ascending. numbers: int64 [n], their places in the dataset; sizes: int64 [n, 3].

    sizes: width, height, bytes. labels and scores: the model's best classes per row, () where there are none.
    """

    numbers: Indices
    refs: tuple[ImageRef, ...]
    hashes: tuple[str, ...]
    sizes: Indices
    formats: tuple[str, ...]
    labels: tuple[tuple[str, ...], ...]
    scores: tuple[tuple[float, ...], ...]

    def __len__(self) -> int:
        return len(self.numbers)

    def take(self, places: Indices) -> PageRows:
        """The rows at these places, ascending."""
        chosen = places.tolist()
        return PageRows(
            numbers=self.numbers[places],
            refs=tuple(self.refs[place] for place in chosen),
            hashes=tuple(self.hashes[place] for place in chosen),
            sizes=self.sizes[places],
            formats=tuple(self.formats[place] for place in chosen),
            labels=tuple(self.labels[place] for place in chosen),
            scores=tuple(self.scores[place] for place in chosen),
        )

    def best_first(self, rows: Sequence[int]) -> list[int]:
        """Page rows of one group of near-duplicates in the order of :mod:`fvcli.explore.duplicates`."""

        def rank(row: int) -> tuple[int, int, int]:
            width, height, size = self.sizes[row].tolist()
            return -width * height, -size, row

        return sorted(rows, key=rank)


def spread(count: int, wanted: int, seed: int) -> Indices:
    """``wanted`` of ``count`` places, ascending: one at random from each of as many stretches of equal length.

    Rows are sorted by path, so every folder has its share.
    """
    if count <= wanted:
        return np.arange(count)
    edges = np.linspace(0, count, wanted + 1).astype(np.int64)
    return np.random.default_rng(seed).integers(edges[:-1], edges[1:])


def choose(count: int, always: Indices, wanted: int, seed: int) -> Indices:
    """Places of at most ``wanted`` rows, ascending: those of ``always``, then others spread over the rest."""
    if count <= wanted:
        return np.arange(count)
    kept = np.unique(always)[:wanted]
    others = np.setdiff1d(np.arange(count), kept, assume_unique=True)
    return np.sort(np.concatenate([kept, others[spread(len(others), wanted - len(kept), seed)]]))


def _ref(values: list[Any], base_folder: str) -> ImageRef:
    return ImageRef(*values, base_folder=base_folder)


def load(dataset: Dataset, numbers: Indices) -> PageRows:
    """The rows with these numbers, ascending. Raises DatasetError where they cannot be read."""
    wanted = [name for name in dataset.schema.names if name != VECTOR]
    found: list[Mapping[str, object]] = dataset.rows(numbers, wanted).to_pylist()
    base_folder = usable_folder(dataset.manifest.base_folder)
    keys = ("root", "path", "path_bytes", "size_bytes", "mtime_ns")
    sizes = np.array([[one[key] for key in ("width", "height", "size_bytes")] for one in found], np.int64)
    return PageRows(
        numbers=numbers,
        refs=tuple(_ref([one[key] for key in keys], base_folder) for one in found),
        hashes=tuple(str(one["sha256"]) for one in found),
        sizes=sizes.reshape(-1, 3),
        formats=tuple(str(one["format"]) for one in found),
        labels=tuple(tuple(one.get("labels") or ()) for one in found),  # type: ignore[arg-type]
        scores=tuple(tuple(one.get("scores") or ()) for one in found),  # type: ignore[arg-type]
    )


def table(rows: PageRows) -> RowTable:
    """The rows as the page holds them."""
    folders: dict[str, int] = {}
    runs: list[tuple[int, int]] = []
    names, exact, raw = [], {}, {}
    for place, ref in enumerate(rows.refs):
        path = ref.name
        folder, slash, name = path.rpartition("/")
        shown_folder, shown_name = readable(folder + slash, NAME_CHARACTERS), readable(name, NAME_CHARACTERS)
        number = folders.setdefault(shown_folder, len(folders))
        runs = [*runs[:-1], (number, runs[-1][1] + 1)] if runs and runs[-1][0] == number else [*runs, (number, 1)]
        names.append(shown_name)
        if ref.path_bytes is not None:
            raw[place] = base64.b64encode(ref.location).decode("ascii")
        elif shown_folder + shown_name != path:
            exact[place] = path
    formats = sorted(set(rows.formats))
    places = {name: number for number, name in enumerate(formats)}
    return RowTable(
        count=len(rows),
        folders=tuple(folders),
        runs=tuple(runs),
        names=tuple(names),
        sizes=packed(np.minimum(rows.sizes, 2**32 - 1), "u4"),
        formats=tuple(readable(name) for name in formats[:256]),
        format=packed(np.array([min(places[name], 255) for name in rows.formats], np.int64), "u1"),
        exact=exact,
        raw=raw,
    )


def labels(rows: PageRows) -> Labels | None:
    """The best classes of every row; None where the dataset has no labels."""
    if not any(rows.labels):
        return None
    names: dict[str, int] = {}
    best = np.full((len(rows), _LABELS), 65535, np.int64)
    scores = np.zeros((len(rows), _LABELS))
    for place, (found, values) in enumerate(zip(rows.labels, rows.scores, strict=True)):
        for rank, name in enumerate(found[:_LABELS]):
            best[place, rank] = min(names.setdefault(name, len(names)), 65535)
        scores[place, : len(values[:_LABELS])] = values[:_LABELS]
    shown = tuple(readable(name) for name in list(names)[:65535])
    quantized = np.rint(np.nan_to_num(np.clip(scores, 0, 1)) * 255).astype(np.int64)
    return Labels(shown, _LABELS, packed(best, "u2"), packed(quantized, "u1"))
