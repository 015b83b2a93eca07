"""A worker, and the dispatcher that hands it batches.

A worker reads, hashes, looks up, decodes, fits and infers one batch at a time.
"""

from __future__ import annotations

import os
import queue
import struct
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from typing import Generic, Protocol, TypeVar

import numpy as np

from fvcli.dataset.layout import DType
from fvcli.errors import ImageError
from fvcli.images.confined import AbandonedError
from fvcli.images.loader import ImageLoader
from fvcli.models.loading import Embedder
from fvcli.records import Failure, Float32Array, ImageFile, ImageInfo, ImageRef, UInt8Array
from fvcli.sources.read import read

T = TypeVar("T")
R = TypeVar("R")


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
_NONE: Mapping[ImageRef, Failure] = {}


class InHand:
    """The notes of the inputs in hand, in an open file: a slot of 16 bytes per worker, shard index and position.

    The kernel keeps a note when the process dies; a power cut may lose it, and then no input is to blame.
    """

    SLOT = struct.Struct("<qq")

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lock = threading.Lock()

    def mark(self, slot: int, shard: int, position: int) -> None:
        """Notes the input in hand, -1 and -1 for none."""
        with self._lock:
            os.pwrite(self._descriptor, self.SLOT.pack(shard, position), slot * self.SLOT.size)

    def clear_for_good(self, first: int, count: int) -> None:
        """Notes that these slots have no input in hand. The process ends next: whoever marks anything now waits."""
        self._lock.acquire()
        os.pwrite(self._descriptor, self.SLOT.pack(-1, -1) * count, first * self.SLOT.size)

    def places(self, first: int, count: int) -> list[tuple[int, int]]:
        """(shard index, position) of the inputs that these slots note."""
        data = os.pread(self._descriptor, count * self.SLOT.size, first * self.SLOT.size)
        return [place for place in self.SLOT.iter_unpack(data) if place[0] >= 0]


Found = tuple[ImageInfo, Float32Array]


class ExistingRows(Protocol):
    """Rows that a dataset already has."""

    def find(self, sha256: str) -> Found | None:
        """The info and vector (float32 [d]) of a row made from content with this hash, None where there is none."""
        ...


class WorkerLostError(Exception):
    """The worker's process has died; its batch is to be given to another worker."""


class BatchDroppedError(Exception):
    """The run is stopping; the batch was abandoned."""


class Worker(Protocol):
    """Anything that turns batches into outcomes, here or elsewhere."""

    def __call__(self, batch: Batch, crashing: Mapping[ImageRef, Failure]) -> list[Outcome]: ...


class ImageWorker:
    """Serves one thread.

    dtype: of the rows; a vector that it does not hold is a failure. read: gives an input's bytes.
    existing: rows to take over by content. note: receives the shard and position of the input in hand, -1 and -1 for
    none. stopped: polled between images.
    """

    def __init__(
        self,
        embedder: Embedder,
        loader: ImageLoader,
        dtype: DType,
        read: Callable[[ImageRef], ImageFile] = read,
        existing: ExistingRows | None = None,
        note: Callable[[int, int], None] = lambda shard, position: None,
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        self._embedder = embedder
        self._loader = loader
        self._dtype = dtype
        self._read = read
        self._existing = existing
        self._note = note
        self._stopped = stopped
        spec = embedder.input_spec
        self._images = np.empty((0, spec.height, spec.width, 3), np.uint8)

    def __call__(self, batch: Batch, crashing: Mapping[ImageRef, Failure] = _NONE) -> list[Outcome]:
        """One outcome per input, in order. crashing: inputs that are not to be touched, with their outcomes.

        Raises ModelError, DatasetError, BatchDroppedError or WorkerLostError, no ImageError.
        """
        images = self._slots(len(batch.refs))
        infos: list[ImageInfo] = []
        outcomes: list[Outcome | None] = []
        for position, ref in zip(batch.positions, batch.refs, strict=True):
            if self._stopped():
                raise BatchDroppedError
            self._note(batch.shard, position)
            outcome = (crashing.get(ref) if crashing else None) or self._prepare(ref, images[len(infos)])
            if isinstance(outcome, ImageInfo):
                infos.append(outcome)
                outcomes.append(None)
            else:
                outcomes.append(outcome)
        fresh = self._embedded(images[: len(infos)], infos)
        self._note(-1, -1)
        return [next(fresh) if outcome is None else outcome for outcome in outcomes]

    def _embedded(self, images: UInt8Array, infos: list[ImageInfo]) -> Iterator[Outcome]:
        """The outcomes of images that have been prepared, in order."""
        if not infos:
            return iter(())
        embeddings = self._embedder(images)
        if embeddings.classes is not None:
            infos = [
                replace(info, labels=labels, scores=scores)
                for info, (labels, scores) in zip(infos, embeddings.classes, strict=True)
            ]
        refused = _refusals(embeddings.vectors, self._dtype)
        made = map(Success, infos, embeddings.vectors)
        return (refused.get(number, one) for number, one in enumerate(made)) if refused else made

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
            return self._loader.prepare(file, out, self._stopped)
        except AbandonedError:
            raise BatchDroppedError from None
        except ImageError as error:
            return Failure(error.stage, error.kind, str(error))


def _refusals(vectors: Float32Array, dtype: DType) -> dict[int, Failure]:
    """The reasons why some of the vectors, float32 [n, d], cannot be stored as ``dtype``, by their place."""
    largest = np.abs(vectors).max(axis=1, initial=0)
    storable = largest <= np.finfo(dtype).max
    return {} if storable.all() else {int(at): _refusal(float(largest[at])) for at in np.flatnonzero(~storable)}


def _refusal(largest: float) -> Failure:
    if np.isfinite(largest):
        return Failure(
            "infer",
            "OutOfRange",
            f"its vector has the value {largest:,.0f}, and float16 holds {np.finfo(np.float16).max:,.0f} at most; "
            "use --dtype float32",
        )
    return Failure("infer", "NotFinite", "the model gave a vector with a value that is not finite")


@dataclass(frozen=True, slots=True)
class Ready(Generic[T, R]):
    """An item and its result."""

    item: T
    result: R


def ordered_map(
    pool: ThreadPoolExecutor, function: Callable[[T], R], items: Iterable[T], window: int
) -> Generator[Ready[T, R]]:
    """Like map over threads, results in the order of ``items``, of which at most ``window`` are taken ahead."""
    waiting: deque[tuple[T, Future[R]]] = deque()
    source = iter(items)
    try:
        while True:
            for item in islice(source, window - len(waiting)):
                waiting.append((item, pool.submit(function, item)))
            if not waiting:
                return
            item, future = waiting.popleft()
            yield Ready(item, future.result())
    finally:
        for _, future in waiting:
            future.cancel()


class Dispatcher:
    """The workers of one job; those that are idle wait here for a batch. Serves several threads.

    crashing: inputs that are not to be touched, with their outcomes.
    """

    def __init__(self, crashing: Mapping[ImageRef, Failure], threads: Sequence[ImageWorker]) -> None:
        self._crashing = crashing
        self._idle: queue.SimpleQueue[Worker | Exception] = queue.SimpleQueue()
        for worker in threads:
            self._idle.put(worker)
        self._lock = threading.Lock()
        self._replaced = 0

    def outcomes(self, batch: Batch) -> list[Outcome]:
        """The outcomes of a batch, by any free worker. Raises what the worker raises."""
        while True:
            worker = self._idle.get()
            if isinstance(worker, Exception):
                self._idle.put(worker)
                raise worker
            try:
                outcomes = worker(batch, self._crashing)
            except WorkerLostError:
                continue
            except BaseException:
                self._idle.put(worker)
                raise
            self._put_back(worker)
            return outcomes

    def join(self, workers: Sequence[Worker], threads: int) -> None:
        """More workers, in place of so many threads, which leave after the batch that they have in hand."""
        with self._lock:
            self._replaced += threads
        for worker in workers:
            self._idle.put(worker)

    def fail(self, error: Exception) -> None:
        """Ends the wait of everyone who needs a worker."""
        self._idle.put(error)

    def _put_back(self, worker: Worker) -> None:
        with self._lock:
            if self._replaced and isinstance(worker, ImageWorker):
                self._replaced -= 1
                return
        self._idle.put(worker)
