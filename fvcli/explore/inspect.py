"""A dataset described on one screen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from fvcli.dataset.reader import Dataset

RUNS = 5


@dataclass(frozen=True, slots=True)
class FailureKind:
    """Inputs that failed in the same way; ``example`` is the first one's name, ``message`` what it said."""

    stage: str
    error: str
    count: int
    example: str
    message: str


@dataclass(frozen=True, slots=True)
class Inspection:
    """A dataset described. ``bytes``: of its data files; ``runs``: the newest first, RUNS at most.

    images_per_second: of the newest run that extracted anything, start-up included; None where none did.
    unfinished: a run is in progress, or one was interrupted that the same command resumes.
    """

    folder: str
    counts: Mapping[str, int]
    failures: tuple[FailureKind, ...]
    format: str
    dtype: str
    dimension: int
    zero_vectors: int
    shards: int
    bytes: int
    model: Mapping[str, Any]
    recipe: Mapping[str, Any]
    environment: Mapping[str, Any]
    roots: tuple[str, ...]
    images_per_second: float | None
    runs: tuple[Mapping[str, Any], ...]
    unfinished: bool

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def inspect(dataset: Dataset) -> Inspection:
    """Reads the manifest and the failures, none of the rows. Raises DatasetError."""
    manifest = dataset.manifest
    worked = next((run for run in reversed(manifest.runs) if run.get("worked") and run["seconds"] > 0), None)
    return Inspection(
        folder=str(dataset.folder),
        counts=manifest.counts.to_json(),
        failures=_failure_kinds(dataset),
        format=manifest.format,
        dtype=manifest.dtype,
        dimension=manifest.dimension,
        zero_vectors=manifest.zero_vectors,
        shards=len(manifest.shards),
        bytes=sum(file.bytes for shard in manifest.shards for file in shard.files),
        model=dict(manifest.model),
        recipe={**manifest.recipe.to_json(), "identity": manifest.recipe.identity},
        environment=dict(manifest.environment),
        roots=manifest.roots,
        images_per_second=None if worked is None else round(worked["worked"] / worked["seconds"], 1),
        runs=tuple(dict(run) for run in reversed(manifest.runs[-RUNS:])),
        unfinished=dataset.unfinished,
    )


def _failure_kinds(dataset: Dataset) -> tuple[FailureKind, ...]:
    """The most frequent first."""
    counts: dict[tuple[str, str], int] = {}
    first: dict[tuple[str, str], tuple[str, str]] = {}
    for line in dataset.failures():
        kind = (line.failure.stage, line.failure.error)
        counts[kind] = counts.get(kind, 0) + 1
        first.setdefault(kind, (line.ref.name, line.failure.message))
    order = sorted(counts, key=lambda kind: (-counts[kind], kind))
    return tuple(FailureKind(*kind, counts[kind], *first[kind]) for kind in order)
