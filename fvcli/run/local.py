"""Runs shards on this machine's CPUs: one worker a thread, results in plan order, bounded memory."""

from __future__ import annotations

import queue
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass
from itertools import islice
from typing import Generic, TypeVar

from fvcli.dataset import plan as plan_file
from fvcli.dataset.commit import Commit
from fvcli.dataset.plan import PlannedShard, ShardEntries
from fvcli.machine import MemoryTrimmer
from fvcli.run.shard import ShardWork, batch_sizes, batches, run_shard
from fvcli.run.worker import Batch, BatchDroppedError, Outcome, Worker

_AHEAD_IMAGES = 256  # results that wait while a shard is being committed: a quarter of a second's work on two cores

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Ready(Generic[T, R]):
    """An item and what became of it."""

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


@dataclass(frozen=True, slots=True)
class _Opening:
    """Stands before a shard's batches in the stream."""

    planned: PlannedShard
    entries: ShardEntries
    batches: int


def run_local(
    todo: Sequence[PlannedShard],
    work: ShardWork,
    workers: Sequence[Worker],
    batch_size: int,
    observe: Callable[[Batch, Sequence[Outcome]], None],
    stopped: Callable[[], bool],
    begin: Callable[[Batch], None] = lambda batch: None,
) -> Iterator[Commit]:
    """Yields each shard's commit as it is made, in plan order; once ``stopped()``, drops the shard in work and ends.

    ``observe`` hears of every outcome as it enters its shard; what it raises ends the run. ``begin`` hears of
    every batch before a worker gets it. Raises DatasetError and ModelError.
    """
    idle: queue.SimpleQueue[Worker] = queue.SimpleQueue()
    for worker in workers:
        idle.put(worker)

    def process(step: _Opening | Batch) -> list[Outcome]:
        if isinstance(step, _Opening):
            return []
        worker = idle.get()
        try:
            return worker(step)
        finally:
            idle.put(worker)

    def steps() -> Iterator[_Opening | Batch]:
        for planned in todo:
            entries = plan_file.read_entries(work.workspace.store, planned)
            sizes = batch_sizes(planned.extract, batch_size)
            yield _Opening(planned, entries, len(sizes))
            for batch in batches(planned.index, entries, sizes):
                begin(batch)
                yield batch

    give_back = MemoryTrimmer()
    window = len(workers) + 1 + _AHEAD_IMAGES // batch_size
    with (
        ThreadPoolExecutor(len(workers), thread_name_prefix="worker") as pool,
        # Closed however the work ends, so that nobody waits for what was handed out ahead.
        closing(ordered_map(pool, process, steps(), window)) as stream,
        suppress(BatchDroppedError),
    ):
        for opening in stream:
            if not isinstance(opening.item, _Opening):
                break
            outcomes = _outcomes(islice(stream, opening.item.batches), observe, stopped, give_back)
            commit = run_shard(opening.item.planned, opening.item.entries, outcomes, work)
            if commit is None:
                break
            yield commit


def _outcomes(
    ready: Iterable[Ready[_Opening | Batch, list[Outcome]]],
    observe: Callable[[Batch, Sequence[Outcome]], None],
    stopped: Callable[[], bool],
    give_back: MemoryTrimmer,
) -> Iterator[Outcome]:
    for step in ready:
        if stopped() or isinstance(step.item, _Opening):
            return
        observe(step.item, step.result)
        yield from step.result
        give_back(len(step.result))
