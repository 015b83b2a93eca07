"""What one thread does with one batch: read, hash, look up, decode, fit, infer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from fvcli.dataset.existing import BaseVectors
from fvcli.errors import ImageError
from fvcli.images.loader import ImageLoader
from fvcli.models.protocol import FeatureModel
from fvcli.records import Failure, Float32Array, ImageFile, ImageInfo, ImageRef, UInt8Array
from fvcli.run.in_work import InWork
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
    """The run is to stop: the worker has left its batch, and there is nothing to be kept of it."""


class Worker:
    """Serves one thread. slot: its place in the record of what is in work. stopped: asked between two images."""

    def __init__(
        self,
        model: FeatureModel,
        loader: ImageLoader,
        slot: int = 0,
        in_work: InWork | None = None,
        carried: BaseVectors | None = None,
        crashing: Mapping[ImageRef, Failure] | None = None,
        read: Callable[[ImageRef], ImageFile] = read,
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        self._model = model
        self._loader = loader
        self._slot = slot
        self._in_work = in_work
        self._carried = carried
        self._crashing = crashing or {}
        self._read = read
        self._stopped = stopped
        spec = model.input_spec
        self._images = np.empty((0, spec.height, spec.width, 3), np.uint8)

    def __call__(self, batch: Batch) -> list[Outcome]:
        """One outcome for each input, in order. Raises ModelError, DatasetError or BatchDroppedError, no ImageError."""
        images = self._slots(len(batch.refs))
        infos: list[ImageInfo] = []
        outcomes: list[Outcome | None] = []
        for position, ref in zip(batch.positions, batch.refs, strict=True):
            if self._stopped():
                raise BatchDroppedError
            if self._in_work is not None:
                self._in_work.mark(self._slot, batch.shard, position)
            outcome = self._crashing.get(ref) or self._prepare(ref, images[len(infos)])
            if isinstance(outcome, ImageInfo):
                infos.append(outcome)
                outcomes.append(None)
            else:
                outcomes.append(outcome)
        vectors = self._model(images[: len(infos)]) if infos else ()
        if self._in_work is not None:
            self._in_work.clear(self._slot)
        fresh = (Success(info, vector) for info, vector in zip(infos, vectors, strict=True))
        return [next(fresh) if outcome is None else outcome for outcome in outcomes]

    def _slots(self, count: int) -> UInt8Array:
        """Room for so many images, kept from batch to batch: to give it back each time scatters the heap."""
        if len(self._images) < count:
            self._images = np.empty((count, *self._images.shape[1:]), np.uint8)
        return self._images[:count]

    def _prepare(self, ref: ImageRef, out: UInt8Array) -> ImageInfo | Outcome:
        try:
            file = self._read(ref)
            if self._carried is not None and (found := self._carried.find(file.sha256)) is not None:
                info, vector = found
                return Success(replace(info, size_bytes=file.size_bytes, mtime_ns=file.mtime_ns), vector, reused=True)
            return self._loader.prepare(file, out)
        except ImageError as error:
            return Failure(error.stage, error.kind, str(error))
