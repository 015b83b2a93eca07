"""A worker process: a few workers with a thread each, for more cores than the lock of one interpreter allows to work.

Run as ``python -P -m fvcli.run.worker_process``. It takes a pickled :class:`Setup` on stdin and ends when stdin does,
so no process outlives its run. Batches come in and outcomes go out over sockets, two per worker: the next batch is
there, and its slow inputs are being read, before it is begun.
"""

from __future__ import annotations

import os
import pickle
import queue
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from fvcli.dataset.layout import DType
from fvcli.images.loader import ImageLoader
from fvcli.images.memory import Budget, Limits
from fvcli.machine import MemoryTrimmer, tune_malloc
from fvcli.models.loading import embedder_of, load_recipe_model
from fvcli.records import Failure, Float32Array, ImageInfo, ImageRef, Recipe
from fvcli.run.worker import Batch, Found, ImageWorker, InHand, Outcome, Success, Worker
from fvcli.sources.read import Prefetch

if TYPE_CHECKING:
    from multiprocessing.connection import Connection


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
    in_hand.clear_for_good(setup.slot, setup.threads)
    os._exit(1)


def main() -> None:
    """A worker process, from its setup on stdin to the end of stdin."""
    from multiprocessing.connection import Connection

    tune_malloc(keep=True)
    setup, numbers = pickle.load(sys.stdin.buffer)
    connections = [Connection(number) for number in numbers]
    in_hand = InHand(os.open(setup.notes, os.O_RDWR | os.O_CLOEXEC))
    threading.Thread(target=_end_with_the_run, args=(setup, in_hand), daemon=True).start()
    try:
        _work(setup, connections, in_hand)
    except Exception as error:
        connections[0].send(error)


if __name__ == "__main__":
    from fvcli.run import worker_process  # under the name by which its classes are pickled

    worker_process.main()
