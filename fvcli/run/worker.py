"""A worker: read, hash, look up, decode, fit and infer, one batch at a time.

Run as ``python -P -m fvcli.run.worker``, this module is a worker process: a few workers with a thread each, for more
cores than the lock of one interpreter allows to work. It takes a pickled :class:`Setup` on stdin and ends when stdin
does, so no process outlives its run. Batches come in and outcomes go out over sockets, two per worker: the next batch
is there, and its slow inputs are being read, before it is begun.
"""

from __future__ import annotations

import os
import pickle
import queue
import struct
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from fvcli.dataset.columns import refusals
from fvcli.dataset.layout import DType
from fvcli.errors import ImageError
from fvcli.images.budget import Budget
from fvcli.images.confined import AbandonedError
from fvcli.images.estimate import Limits
from fvcli.images.loader import ImageLoader
from fvcli.machine import MemoryTrimmer
from fvcli.models.embedder import Embedder
from fvcli.models.recipe_model import embedder_of, load_recipe_model
from fvcli.records import Failure, Float32Array, ImageFile, ImageInfo, ImageRef, Recipe, UInt8Array
from fvcli.sources.prefetch import Prefetch
from fvcli.sources.read import read

if TYPE_CHECKING:
    from multiprocessing.connection import Connection


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

    def mark(self, slot: int, shard: int, position: int) -> None:
        """Notes the input in hand, -1 and -1 for none."""
        os.pwrite(self._descriptor, self.SLOT.pack(shard, position), slot * self.SLOT.size)

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
        refused = refusals(embeddings.vectors, self._dtype)
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


@dataclass(frozen=True, slots=True)
class Setup:
    """All that a worker process has to know.

    notes: path of the file in which the inputs in hand are noted; slot: the first of the process's own there.
    updates: whether existing rows may be taken over, which the process asks the run for.
    budget: bytes of decoded images that it may hold at once. ahead: bytes that it may read before their turn.
    """

    model: str
    recipe: Recipe
    dtype: DType
    limits: Limits
    notes: str
    slot: int
    threads: int
    updates: bool
    budget: int
    ahead: int


def packed(outcomes: Sequence[Outcome]) -> tuple[list[Any], Float32Array | None]:
    """Outcomes as plain values, and the vectors of the successful ones as one array: it pickles in a third the time."""
    vectors = [outcome.vector for outcome in outcomes if isinstance(outcome, Success)]
    fields = [
        (outcome.stage, outcome.error, outcome.message)
        if isinstance(outcome, Failure)
        else (outcome.reused, *_info_fields(outcome.info))
        for outcome in outcomes
    ]
    return fields, np.stack(vectors) if vectors else None


def _info_fields(info: ImageInfo) -> tuple[Any, ...]:
    return info.sha256, info.size_bytes, info.mtime_ns, info.width, info.height, info.format, info.labels, info.scores


class _Asking:
    """The existing rows, which the run has. Each thread asks over the socket that it serves."""

    def __init__(self) -> None:
        self._own = threading.local()

    def over(self, connection: Connection) -> None:
        self._own.connection = connection

    def find(self, sha256: str) -> Found | None:
        self._own.connection.send(sha256)
        found: Found | None = self._own.connection.recv()
        return found


def _serve(connection: Connection, idle: queue.SimpleQueue[Worker], asking: _Asking, prefetch: Prefetch) -> None:
    """Takes batches from one socket for as long as there is a run at its other end."""
    asking.over(connection)
    trim = MemoryTrimmer()
    while True:
        try:
            shard, positions, fields, known = connection.recv()
        except (EOFError, OSError):
            return
        refs = tuple(ImageRef(*values, base_folder=base) for *values, base in fields)
        crashing = {refs[number]: failure for number, failure in known.items()}
        prefetch.begin(ref for ref in refs if ref not in crashing)
        worker = idle.get()
        answer: Any
        try:
            answer = packed(worker(Batch(shard, positions, refs), crashing))
        except Exception as error:
            answer = error
        idle.put(worker)
        connection.send(answer)
        trim(len(refs))


def _work(setup: Setup, connections: Sequence[Connection], in_hand: InHand) -> None:
    embedder = embedder_of(setup.model, setup.recipe, load_recipe_model(setup.model, setup.recipe))
    loader = ImageLoader(embedder.input_spec, setup.recipe.preprocessing, setup.limits, Budget(setup.budget))
    asking = _Asking()
    idle: queue.SimpleQueue[Worker] = queue.SimpleQueue()
    with Prefetch(limit=setup.ahead, patience=0) as prefetch:
        for number in range(setup.threads):
            own = embedder if number == 0 else embedder.per_thread()
            note = partial(in_hand.mark, setup.slot + number)
            existing = asking if setup.updates else None
            idle.put(ImageWorker(own, loader, setup.dtype, prefetch.read, existing, note))
        threads = [threading.Thread(target=_serve, args=(near, idle, asking, prefetch)) for near in connections]
        for thread in threads:
            thread.start()
        connections[0].send("ready")
        for thread in threads:
            thread.join()


def _end_with_the_run(setup: Setup, in_hand: InHand) -> None:
    """Waits for the end of stdin. The run has died then, and no input of this process is to blame."""
    while os.read(0, 1):
        pass
    for number in range(setup.threads):
        in_hand.mark(setup.slot + number, -1, -1)
    os._exit(1)


def main() -> None:
    """A worker process, from its setup on stdin to the end of stdin."""
    from multiprocessing.connection import Connection

    setup, numbers = pickle.load(sys.stdin.buffer)
    connections = [Connection(number) for number in numbers]
    in_hand = InHand(os.open(setup.notes, os.O_RDWR | os.O_CLOEXEC))
    threading.Thread(target=_end_with_the_run, args=(setup, in_hand), daemon=True).start()
    try:
        _work(setup, connections, in_hand)
    except Exception as error:
        connections[0].send(error)


if __name__ == "__main__":
    from fvcli.run import worker  # under the name by which its classes are pickled

    worker.main()
