"""The workers of one process: planned shards in, commits out, in plan order and in bounded memory."""

from __future__ import annotations

import queue
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Generic, TypeVar

from fvcli.dataset.commit import Commit
from fvcli.dataset.plan import PlannedShard, ShardEntries, read_entries
from fvcli.dataset.standing import Standing
from fvcli.dataset.store import Store
from fvcli.images.loader import ImageLoader
from fvcli.machine import MemoryTrimmer, environment, usable_cpus
from fvcli.models.protocol import FeatureModel
from fvcli.run import crashes
from fvcli.run.crashes import InHand, Notes, Trial
from fvcli.run.progress import RunProgress
from fvcli.run.shard import Job, batch_sizes, batches, run_shard
from fvcli.run.spec import DatasetSpec
from fvcli.run.worker import Batch, BatchDroppedError, ImageWorker, Outcome
from fvcli.sources.prefetch import Prefetch

_AHEAD_IMAGES = 256  # results that wait while a shard is being committed: a quarter of a second's work on two cores

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Resources:
    """How hard to work. workers: threads, None for all CPUs; batch_size: images that one of them holds at once."""

    workers: int | None = None
    batch_size: int = 32


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


@dataclass(frozen=True, slots=True)
class _Opening:
    """Marks the start of a shard in the stream."""

    planned: PlannedShard
    entries: ShardEntries
    batches: int


class WorkerPool:
    """A Runner: a model and threads that run jobs one after another."""

    def __init__(self, spec: DatasetSpec, model: FeatureModel, resources: Resources) -> None:
        self._loader = ImageLoader(model.input_spec, spec.recipe.preprocessing, spec.limits)
        self._workers = resources.workers or usable_cpus()
        self._batch_size = resources.batch_size
        self._embedders = [spec.embedder(model)]
        self._environment = environment()

    def run(self, job: Job, progress: RunProgress) -> Iterator[Commit]:
        """Yields each shard's commit, in plan order; once the run is stopped, drops the shard in work and ends.

        Raises DatasetError, ModelError, and what ``progress`` raises.
        """
        count = max(1, min(self._workers, sum(shard.extract for shard in job.todo)))
        while len(self._embedders) < count:
            self._embedders.append(self._embedders[0].per_thread())
        with crashes.noted(job.store, count, job.notes.in_work) as in_hand, Prefetch(job.crashing) as prefetch:
            workers = [self._worker(slot, job, in_hand, prefetch, progress) for slot in range(count)]
            yield from self._run(job, workers, prefetch, progress)

    def _worker(self, slot: int, job: Job, in_hand: InHand, prefetch: Prefetch, progress: RunProgress) -> ImageWorker:
        return ImageWorker(
            self._embedders[slot],
            self._loader,
            read=prefetch.read,
            existing=job.existing,
            crashing=job.crashing,
            note=partial(in_hand.mark, slot),
            stopped=progress.stopped,
        )

    def _run(self, job: Job, workers: list[ImageWorker], prefetch: Prefetch, progress: RunProgress) -> Iterator[Commit]:
        idle: queue.SimpleQueue[ImageWorker] = queue.SimpleQueue()
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

        window = len(workers) + 1 + _AHEAD_IMAGES // self._batch_size
        trim = MemoryTrimmer()
        with (
            ThreadPoolExecutor(len(workers), thread_name_prefix="worker") as pool,
            # Closed however the work ends, so that nobody waits for what was handed out ahead.
            closing(ordered_map(pool, process, self._steps(job, prefetch), window)) as stream,
            suppress(BatchDroppedError),
        ):
            for opening in stream:
                if not isinstance(opening.item, _Opening):
                    break
                outcomes = _outcomes(islice(stream, opening.item.batches), progress, trim)
                commit = run_shard(job, opening.item.planned, opening.item.entries, outcomes, self._environment)
                if commit is None:
                    break
                yield commit

    def _steps(self, job: Job, prefetch: Prefetch) -> Iterator[_Opening | Batch]:
        for planned in job.todo:
            entries = read_entries(job.store, planned)
            sizes = batch_sizes(planned.extract, self._batch_size)
            yield _Opening(planned, entries, len(sizes))
            for batch in batches(planned.index, entries, sizes):
                prefetch.begin(batch.refs)
                yield batch


def _outcomes(
    ready: Iterable[Ready[_Opening | Batch, list[Outcome]]], progress: RunProgress, trim: MemoryTrimmer
) -> Iterator[Outcome]:
    """The outcomes of a shard's batches; they end early once the run is stopped."""
    for step in ready:
        if progress.stopped() or isinstance(step.item, _Opening):
            return
        progress.batch(step.item, step.result)
        yield from step.result
        trim(len(step.result))


class Part:
    """One process's part in a plan that several share: the same steps for a task and for an actor of a cluster."""

    def __init__(self, store: Store, standing: Standing, resources: Resources) -> None:
        """Loads the model that the plan names. Raises ModelError, DatasetError."""
        self._store = store
        self._standing = standing
        self._spec = DatasetSpec.planned(standing.require_plan())
        self._model = self._spec.load_model()
        self._pool = WorkerPool(self._spec, self._model, resources)

    def run(self, todo: Sequence[PlannedShard], notes: Notes, progress: RunProgress) -> Iterator[Commit]:
        """Yields the commits of the shards, after trying whatever an earlier attempt died of."""
        trial = Trial(
            self._model.input_spec, self._spec.recipe.preprocessing, self._spec.limits, progress.raise_if_stopped
        )
        crashing = crashes.find(self._store, self._standing.plan, trial, notes)
        job = Job.of(self._store, self._spec, self._standing, todo, crashing, notes)
        return self._pool.run(job, progress)
