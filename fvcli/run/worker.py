"""One thread's work on one batch: read, hash, look up, decode, fit, infer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from fvcli.dataset.existing import ExistingVectors
from fvcli.errors import ImageError
from fvcli.images.loader import ImageLoader
from fvcli.models.embedder import Embedder
from fvcli.records import Failure, Float32Array, ImageFile, ImageInfo, ImageRef, UInt8Array
from fvcli.sources.read import read


@dataclass(frozen=True, slots=True)
class Batch:
    """Some inputs of one shard; ``positions[i]`` is the place of ``refs[i]`` among the shard's entries."""

    shard: int
    positions: tuple[int, ...]
    refs: tuple[ImageRef, ...]


@dataclass(frozen=True, slots=True)
class Success:
    """An input's vector, float32 [d]. reused: it was carried over from a row with the same content."""

    info: ImageInfo
    vector: Float32Array
    reused: bool = False


Outcome = Success | Failure


class BatchDroppedError(Exception):
    """The run is stopping; the batch was abandoned."""


class ImageWorker:
    """Serves one thread.

    read: gives an input's bytes. existing: rows to take over by content. crashing: inputs not to be touched.
    note: hears the shard and position of the input in hand, -1 and -1 of none. stopped: asked between two images.
    """

    def __init__(
        self,
        embedder: Embedder,
        loader: ImageLoader,
        read: Callable[[ImageRef], ImageFile] = read,
        existing: ExistingVectors | None = None,
        crashing: Mapping[ImageRef, Failure] | None = None,
        note: Callable[[int, int], None] = lambda shard, position: None,
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        self._embedder = embedder
        self._loader = loader
        self._read = read
        self._existing = existing
        self._crashing = crashing or {}
        self._note = note
        self._stopped = stopped
        spec = embedder.input_spec
        self._images = np.empty((0, spec.height, spec.width, 3), np.uint8)

    def __call__(self, batch: Batch) -> list[Outcome]:
        """One outcome per input, in order. Raises ModelError, DatasetError or BatchDroppedError, no ImageError."""
        images = self._slots(len(batch.refs))
        infos: list[ImageInfo] = []
        outcomes: list[Outcome | None] = []
        for position, ref in zip(batch.positions, batch.refs, strict=True):
            if self._stopped():
                raise BatchDroppedError
            self._note(batch.shard, position)
            outcome = self._crashing.get(ref) or self._prepare(ref, images[len(infos)])
            if isinstance(outcome, ImageInfo):
                infos.append(outcome)
                outcomes.append(None)
            else:
                outcomes.append(outcome)
        fresh = self._embedded(images[: len(infos)], infos)
        self._note(-1, -1)
        return [next(fresh) if outcome is None else outcome for outcome in outcomes]

    def _embedded(self, images: UInt8Array, infos: list[ImageInfo]) -> Iterator[Success]:
        """The successes of images, in order."""
        if not infos:
            return iter(())
        embeddings = self._embedder(images)
        if embeddings.classes is not None:
            infos = [
                replace(info, labels=labels, scores=scores)
                for info, (labels, scores) in zip(infos, embeddings.classes, strict=True)
            ]
        return map(Success, infos, embeddings.vectors)

    def _slots(self, count: int) -> UInt8Array:
        """Space for ``count`` images, kept from batch to batch: freeing it each time fragments the heap."""
        if len(self._images) < count:
            self._images = np.empty((count, *self._images.shape[1:]), np.uint8)
        return self._images[:count]

    def _prepare(self, ref: ImageRef, out: UInt8Array) -> ImageInfo | Outcome:
        try:
            file = self._read(ref)
            if self._existing is not None and (found := self._existing.find(file.sha256)) is not None:
                info, vector = found
                return Success(replace(info, size_bytes=file.size_bytes, mtime_ns=file.mtime_ns), vector, reused=True)
            return self._loader.prepare(file, out)
        except ImageError as error:
            return Failure(error.stage, error.kind, str(error))
