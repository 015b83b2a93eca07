"""Batches to whichever worker is free, and their outcomes in order."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Generic, TypeVar

from fvcli.records import Failure, ImageRef
from fvcli.run.worker import Batch, ImageWorker, Outcome, Worker, WorkerLostError

T = TypeVar("T")
R = TypeVar("R")


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
