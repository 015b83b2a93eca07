"""The workers of one process: planned shards in, commits out, in plan order and in bounded memory."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, nullcontext, suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice

from fvcli.dataset.commit import Commit
from fvcli.dataset.lock import Lease
from fvcli.dataset.plan import PlannedShard, ShardEntries, read_entries
from fvcli.dataset.standing import Standing
from fvcli.dataset.store import Store
from fvcli.images.loader import ImageLoader
from fvcli.images.memory import DECODED_BYTES
from fvcli.machine import MemoryTrimmer, environment, usable_cpus
from fvcli.models.protocol import FeatureModel
from fvcli.records import Engine
from fvcli.run import crashes
from fvcli.run.crashes import Notes, Trial
from fvcli.run.shard import Job, RunProgress, batch_sizes, batches, run_shard
from fvcli.run.spec import DatasetSpec
from fvcli.run.worker import (
    Batch,
    BatchDroppedError,
    Dispatcher,
    ImageWorker,
    InHand,
    Outcome,
    Ready,
    ordered_map,
)
from fvcli.sources.read import PREFETCH_BYTES, Prefetch

#: Workers from which on each has a process of its own, and beyond which two share one, see "Many cores" in
#: docs/performance.md. Fewer inputs than these are done before the processes are up.
_PROCESSES_FROM, _ALONE_AT_MOST = 4, 16
_INPUTS_FROM, _INPUTS_EACH = 2_000, 100
_THREADS_AT_FIRST = 4  # while processes start
_THREADS_AT_MOST = 16  # of one interpreter: more only wait for its lock
_AHEAD_IMAGES = 128  # per worker: results that wait while a shard is being committed, a quarter of a second's work


@dataclass(frozen=True, slots=True)
class Layout:
    """Workers by where they are. threads: in this process; processes: beside it, with ``each`` workers.

    The threads work while the processes start, which then take their place.
    """

    threads: int
    processes: int = 0
    each: int = 0

    @property
    def workers(self) -> int:
        """Workers once the processes are up."""
        return self.processes * self.each or self.threads

    @property
    def slots(self) -> int:
        """Inputs that can be in hand at once."""
        return self.threads + self.processes * self.each

    @property
    def calls(self) -> int:
        """Batches that can be under way at once: a worker in a process has its next one there already."""
        return self.threads + 2 * self.processes * self.each


@dataclass(frozen=True, slots=True)
class Resources:
    """The resources of a run. workers: how many, None for all CPUs; batch_size: images that each holds at once.

    processes: worker processes that share the workers, 0 for threads alone, None for what is fastest.
    """

    workers: int | None = None
    batch_size: int = 32
    processes: int | None = None

    def layout(self, inputs: int, engine: Engine) -> Layout:
        """The layout for so many inputs."""
        workers = max(1, min(self.workers or usable_cpus(), inputs))
        processes = self.processes
        if processes is None:
            few = workers < _PROCESSES_FROM or inputs < max(_INPUTS_FROM, _INPUTS_EACH * workers)
            if few or engine == "tensorflow":
                return Layout(min(workers, _THREADS_AT_MOST))
            processes = workers if workers <= _ALONE_AT_MOST else -(-workers // 2)
        if not processes:
            return Layout(workers)
        processes = min(processes, workers)
        return Layout(min(workers, _THREADS_AT_FIRST), processes, -(-workers // processes))


@dataclass(frozen=True, slots=True)
class _Opening:
    """Marks the start of a shard in the stream."""

    planned: PlannedShard
    entries: ShardEntries
    batches: int


class WorkerPool:
    """A Runner: a model, and the threads and processes that run jobs one after another."""

    def __init__(self, spec: DatasetSpec, model: FeatureModel, resources: Resources) -> None:
        self._spec = spec
        self._loader = ImageLoader(model.input_spec, spec.recipe.preprocessing, spec.limits)
        self._resources = resources
        self._model = model
        self._embedders = [spec.embedder(model)]
        self._environment = environment()

    def run(self, job: Job, progress: RunProgress) -> Iterator[Commit]:
        """Yields each shard's commit, in plan order; once the run is stopped, drops the shard in work and ends.

        Raises DatasetError, ModelError, and what ``progress`` raises.
        """
        layout = self._resources.layout(sum(shard.extract for shard in job.todo), self._model.engine)
        while len(self._embedders) < layout.threads:
            self._embedders.append(self._embedders[0].per_thread())
        with (
            crashes.noted(job.store, layout.slots, job.notes.in_work) as in_hand,
            Prefetch(job.crashing) as prefetch,
            ThreadPoolExecutor(layout.calls, thread_name_prefix="worker") as executor,
        ):
            dispatcher = Dispatcher(job.crashing, self._threads(job, layout, in_hand, prefetch, progress))
            steps = self._steps(job, None if layout.processes else prefetch)
            window = layout.calls + 1 + _AHEAD_IMAGES * layout.workers // self._resources.batch_size
            with self._processes(job, layout, dispatcher, in_hand, progress):
                results = ordered_map(executor, partial(_done, dispatcher), steps, window)
                yield from self._run(job, results, progress)

    def _threads(
        self, job: Job, layout: Layout, in_hand: InHand, prefetch: Prefetch, progress: RunProgress
    ) -> list[ImageWorker]:
        return [
            ImageWorker(
                self._embedders[slot],
                self._loader,
                self._spec.dtype,
                read=prefetch.read,
                existing=job.existing,
                note=partial(in_hand.mark, slot),
                stopped=progress.stopped,
            )
            for slot in range(layout.threads)
        ]

    def _processes(
        self, job: Job, layout: Layout, dispatcher: Dispatcher, in_hand: InHand, progress: RunProgress
    ) -> AbstractContextManager[object]:
        if not layout.processes:
            return nullcontext()
        from fvcli.run.processes import ProcessGroup
        from fvcli.run.worker_process import Setup

        spec = self._spec
        first = Setup(
            model=spec.model["name"],
            recipe=spec.recipe,
            dtype=spec.dtype,
            limits=spec.limits,
            notes=str(job.store.path(job.notes.in_work)),
            slot=layout.threads,
            threads=layout.each,
            updates=job.existing is not None,
            budget=DECODED_BYTES // layout.processes,
            ahead=PREFETCH_BYTES // layout.processes,
        )
        setups = [replace(first, slot=layout.threads + number * layout.each) for number in range(layout.processes)]
        trial = Trial(self._model.input_spec, spec.recipe.preprocessing, spec.limits, progress.raise_if_stopped)
        return ProcessGroup(job, setups, dispatcher, in_hand, trial, progress.stopped)

    def _run(
        self, job: Job, results: Generator[Ready[_Opening | Batch, list[Outcome]]], progress: RunProgress
    ) -> Iterator[Commit]:
        trim = MemoryTrimmer()
        # Closed however the work ends, so that nobody waits for what was handed out ahead.
        with closing(results) as stream, suppress(BatchDroppedError):
            for opening in stream:
                if not isinstance(opening.item, _Opening):
                    break
                outcomes = _outcomes(islice(stream, opening.item.batches), progress, trim)
                commit = run_shard(job, opening.item.planned, opening.item.entries, outcomes, self._environment)
                if commit is None:
                    break
                yield commit

    def _steps(self, job: Job, prefetch: Prefetch | None) -> Iterator[_Opening | Batch]:
        for planned in job.todo:
            entries = read_entries(job.store, job.plan, planned)
            sizes = batch_sizes(planned.extract, self._resources.batch_size)
            yield _Opening(planned, entries, len(sizes))
            for batch in batches(planned.index, entries, sizes):
                if prefetch is not None:
                    prefetch.begin(batch.refs)
                yield batch


def _done(dispatcher: Dispatcher, step: _Opening | Batch) -> list[Outcome]:
    """The outcomes of a batch, none of a shard's start."""
    return [] if isinstance(step, _Opening) else dispatcher.outcomes(step)


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

    def run(
        self, todo: Sequence[PlannedShard], notes: Notes, progress: RunProgress, lease: Lease | None
    ) -> Iterator[Commit]:
        """Yields the commits of the shards, after trying whatever an earlier attempt died of."""
        trial = Trial(
            self._model.input_spec, self._spec.recipe.preprocessing, self._spec.limits, progress.raise_if_stopped
        )
        crashing = crashes.find(self._store, self._standing.plan, trial, notes)
        job = Job.of(self._store, self._spec, self._standing, todo, crashing, notes, lease)
        return self._pool.run(job, progress)
