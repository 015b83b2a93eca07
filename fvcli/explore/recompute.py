"""Extracts some of a dataset's rows once more and compares."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

import numpy as np

from fvcli.dataset import existing
from fvcli.dataset.manifest import Manifest
from fvcli.dataset.store import Store
from fvcli.dataset.verify import load_manifest
from fvcli.errors import ImageError
from fvcli.explore.dataset_model import loader_of, model_of
from fvcli.machine import environment, environment_id
from fvcli.models.loading import Embedder
from fvcli.records import Float32Array, usable_folder
from fvcli.sources.read import read


@dataclass(frozen=True, slots=True)
class Recomputed:
    """The comparison of recomputed rows. max_difference is absolute; min_cosine is over the rows that differ, else 1.

    comparable: the same library versions and CPU type made the dataset, so every row should be equal bit for bit.
    """

    wanted: int
    compared: int
    unchanged_files: int
    equal: int
    max_difference: float
    min_cosine: float
    comparable: bool
    differing: tuple[str, ...]

    @property
    def said_nothing(self) -> bool:
        """Whether there were rows to compare and none could be: their files are not there, or not as they were."""
        return self.wanted > 0 and self.compared == 0

    @property
    def damaged(self) -> bool:
        return self.comparable and self.equal < self.compared

    def to_json(self) -> dict[str, object]:
        return {
            "compared": self.compared,
            "equal": self.equal,
            "max_difference": self.max_difference,
            "min_cosine": self.min_cosine,
            "same_environment": self.comparable,
            "differing": list(self.differing),
        }


def recompute(store: Store, rows: int, seed: int, model_name: str | None = None) -> Recomputed:
    """Compares ``rows`` random rows, of those whose files are unchanged.

    model_name: the dataset's model, where it is neither the embedded one nor in the cache.
    Raises DatasetError, or ModelError where the dataset's model cannot be found.
    """
    found = load_manifest(store)
    model = model_of(found, model_name)
    base_folder = usable_folder(found.base_folder)
    embedder, loader = Embedder(model, normalize=found.recipe.normalize), loader_of(found, model)
    wanted = random.Random(seed).sample(range(found.counts.rows), min(rows, found.counts.rows))
    compared, equal, unchanged, differing = 0, 0, 0, []
    difference, cosine = 0.0, 1.0
    image = np.empty((1, model.input_spec.height, model.input_spec.width, 3), np.uint8)
    for shard, some in _by_shard(found, sorted(wanted)):
        there = existing.load_rows(store, found.shards[shard])
        for row in some:
            ref, info = replace(there.refs[row], base_folder=base_folder), there.infos[row]
            try:
                file = read(ref)
                if file.sha256 != info.sha256:
                    continue
                unchanged += 1
                loader.prepare(file, image[0])
            except ImageError:
                continue
            fresh = embedder(image).vectors[0].astype(found.dtype).astype(np.float32)
            compared += 1
            if np.array_equal(fresh, there.vectors[row]):
                equal += 1
                continue
            differing.append(ref.name)
            difference = max(difference, float(np.abs(fresh - there.vectors[row]).max()))
            cosine = min(cosine, _cosine(fresh, there.vectors[row]))
    comparable = _same_environment(found)
    return Recomputed(len(wanted), compared, unchanged, equal, difference, cosine, comparable, tuple(differing))


def _by_shard(found: Manifest, wanted: list[int]) -> list[tuple[int, list[int]]]:
    starts = np.cumsum([0, *(shard.rows for shard in found.shards)])
    places = np.searchsorted(starts, wanted, side="right") - 1
    return [
        (int(shard), [row - int(starts[shard]) for row, place in zip(wanted, places, strict=True) if place == shard])
        for shard in np.unique(places)
    ]


def _cosine(a: Float32Array, b: Float32Array) -> float:
    norms = float(np.linalg.norm(a)) * float(np.linalg.norm(b))
    return float(a @ b) / norms if norms else 0.0


def _same_environment(found: Manifest) -> bool:
    now = environment_id(environment())
    made = {run["environment"] for run in found.runs if run.get("extracted")}
    return made <= {now} and dict(found.environment) == environment()
