"""Groups of near-duplicate images: which of each to keep, and what the others take on the disk."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal, TypeAlias

import numpy as np
import pyarrow as pa

from fvcli.dataset.reader import Dataset
from fvcli.explore.linkage import THRESHOLD, identical_rows, linked_rows, similarities
from fvcli.explore.neighbors import Rows
from fvcli.records import ImageRef, usable_folder

#: "keep": the largest image of its group; "same file": its copy, byte for byte; "smaller": any other.
Status: TypeAlias = Literal["keep", "same file", "smaller"]

_COLUMNS = ["root", "path", "path_bytes", "width", "height", "size_bytes", "sha256"]
_AT_ONCE = 10_000  # rows


@dataclass(frozen=True, slots=True)
class Duplicate:
    """One image of a group. score: cosine with the image to keep. width, height: in pixels, upright."""

    ref: ImageRef
    status: Status
    score: float
    width: int
    height: int
    size_bytes: int
    sha256: str

    def to_json(self) -> dict[str, object]:
        return {
            "status": self.status,
            "score": self.score,
            "width": self.width,
            "height": self.height,
            "size_bytes": self.size_bytes,
            "sha256": self.sha256,
            "root": self.ref.root,
            "path": self.ref.path,
        }


@dataclass(frozen=True, slots=True)
class DuplicateGroup:
    """Images linked by near-duplicate pairs: the one to keep first, then from large to small."""

    images: tuple[Duplicate, ...]

    @property
    def saving(self) -> int:
        """Bytes of all images but the one to keep."""
        return sum(image.size_bytes for image in self.images[1:])

    def to_json(self) -> dict[str, object]:
        return {"saving_bytes": self.saving, "images": [image.to_json() for image in self.images]}


def find_duplicates(
    dataset: Dataset,
    threshold: float = THRESHOLD,
    exact: bool = False,
    progress: Callable[[float], None] | None = None,
) -> list[DuplicateGroup]:
    """All groups of two images or more, the largest saving first.

    The image to keep has the most pixels; of equal ones, the most bytes; of these, the first by root and path.
    exact: group files of the same content alone; ``threshold`` then has no effect. progress: see ``linked_rows``.
    Raises DatasetError if a shard cannot be read, ValueError for a threshold outside (0, 1].
    """
    groups = identical_rows(dataset) if exact else linked_rows(dataset, threshold, progress)
    if not groups:
        return []
    every = np.sort(np.concatenate(groups))
    numbers = dataset.rows(every, ["width", "height", "size_bytes"])
    area = numbers.column("width").to_numpy().astype(np.int64) * numbers.column("height").to_numpy()
    size = numbers.column("size_bytes").to_numpy()

    def largest_first(rows: Rows) -> Rows:
        places = np.searchsorted(every, rows)
        return rows[np.lexsort((rows, -size[places], -area[places]))]

    ranked = [largest_first(rows) for rows in groups]
    similar = similarities(dataset, ranked)  # before names take memory
    values = _values(dataset.rows(every, _COLUMNS), np.searchsorted(every, np.concatenate(ranked)))
    base_folder = usable_folder(dataset.manifest.base_folder)
    found = []
    for scores in similar:
        images: list[Duplicate] = []
        rows = zip(scores.tolist(), islice(values, len(scores)), strict=True)
        for score, (root, path, raw, width, height, size_bytes, sha256) in rows:
            same = images and sha256 == images[0].sha256
            status: Status = "same file" if same else "smaller" if images else "keep"
            ref = ImageRef(sys.intern(root), path, raw, base_folder=base_folder)
            images.append(Duplicate(ref, status, score, width, height, size_bytes, sha256))
        found.append(DuplicateGroup(tuple(images)))
    return sorted(found, key=lambda group: (-group.saving, group.images[0].ref.name))


def _values(table: pa.Table, places: Rows) -> Iterator[tuple[Any, ...]]:
    """Rows of the table at ``places``; as Python's objects, which take several times the memory, some at a time."""
    for start in range(0, len(places), _AT_ONCE):
        part = table.take(places[start : start + _AT_ONCE])
        yield from zip(*(part.column(name).to_pylist() for name in _COLUMNS), strict=True)
