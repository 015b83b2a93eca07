"""One shard, from outcomes to a commit: the unit of work and its progress, the same for every runner."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Protocol

from fvcli.dataset.columns import Rows
from fvcli.dataset.commit import Commit, commit_shard
from fvcli.dataset.existing import ExistingVectors, FailureLine
from fvcli.dataset.layout import STAGING
from fvcli.dataset.lock import Lease
from fvcli.dataset.manifest import Counts, Key, Shard
from fvcli.dataset.plan import EXTRACT, Entry, Plan, PlannedShard, RowState
from fvcli.dataset.shard_file import ShardWriter, WrittenFile, stem
from fvcli.dataset.standing import Standing
from fvcli.dataset.store import Store
from fvcli.errors import StoppedError
from fvcli.records import Failure, Float32Array, ImageInfo, ImageRef, Limit
from fvcli.run.crashes import Notes
from fvcli.run.request import Observer, TooManyFailuresError
from fvcli.run.spec import DatasetSpec
from fvcli.run.worker import Batch, Outcome, Success

_TAPER = 16  # a batch is at most this part of what is left of its shard


def batch_sizes(inputs: int, size: int) -> list[int]:
    """The sizes of a shard's batches: ``size``, toward the shard's end fewer and fewer.

    So all workers end at almost the same moment, however long an image takes.
    """
    sizes = []
    while inputs > 0:
        sizes.append(min(size, max(1, inputs // _TAPER)))
        inputs -= sizes[-1]
    return sizes


def batches(shard: int, entries: Iterable[Entry], sizes: Iterable[int]) -> Iterator[Batch]:
    """Those of the shard's entries that have to be read, as many at a time as ``sizes`` says."""
    waiting = ((position, entry.ref) for position, entry in enumerate(entries) if entry.base_row == EXTRACT)
    for size in sizes:
        positions, refs = zip(*islice(waiting, size), strict=True)
        yield Batch(shard, positions, refs)


@dataclass(frozen=True, slots=True)
class Job:
    """Shards to be done, and everything that a runner has to know for it.

    existing: rows of the dataset that is being updated, None where nothing can be carried over.
    crashing: inputs that bring a process down, not to be touched. notes: where the inputs in hand are noted.
    lease: the lock that must be held whenever a shard is committed, None where another process holds it.
    """

    store: Store
    spec: DatasetSpec
    plan: Plan
    todo: Sequence[PlannedShard]
    existing: ExistingVectors | None
    crashing: dict[ImageRef, Failure]
    notes: Notes
    lease: Lease | None

    @classmethod
    def of(
        cls,
        store: Store,
        spec: DatasetSpec,
        standing: Standing,
        todo: Sequence[PlannedShard],
        crashing: dict[ImageRef, Failure],
        notes: Notes,
        lease: Lease | None,
    ) -> Job:
        """The job of doing these shards of the standing's plan."""
        plan, base = standing.require_plan(), standing.manifest
        updates = base is not None and base.shards and not plan.overwrite
        existing = ExistingVectors(store, base) if base is not None and updates else None
        return cls(store, spec, plan, todo, existing, crashing, notes, lease)


class RunProgress:
    """The counts of a run. ``extracted``: images turned into vectors since it began."""

    def __init__(self, observer: Observer, limit: Limit | None) -> None:
        self.observer = observer
        self.extracted = 0
        self._limit = limit
        self._failed = 0
        self._total = 0
        self._done = 0

    def expect(self, total: int, done: int, failed: int = 0) -> None:
        """``total`` inputs have to be read, ``done`` of them were before, and ``failed`` of these gave no vector."""
        self._total = total
        self._done = done
        self._failed = failed
        self.observer.planned(total, done)

    def batch(self, batch: Batch, outcomes: Sequence[Outcome]) -> None:
        """Raises TooManyFailuresError."""
        failed = [
            FailureLine(ref, outcome)
            for ref, outcome in zip(batch.refs, outcomes, strict=True)
            if isinstance(outcome, Failure)
        ]
        extracted = sum(isinstance(outcome, Success) and not outcome.reused for outcome in outcomes)
        self.inputs(len(outcomes), extracted, failed)

    def inputs(self, number: int, extracted: int, failed: Sequence[FailureLine]) -> None:
        """So many more inputs were dealt with. Raises TooManyFailuresError."""
        self._done += number
        self._failed += len(failed)
        self.extracted += extracted
        self.observer.advanced(number, failed)
        if self._limit is not None and self._limit.exceeded(self._failed, self._total):
            raise TooManyFailuresError(
                f"stopped: {self._failed:,} of {self._total:,} inputs failed, more than --max-failures allows; "
                "finished shards are saved; repair the inputs or allow more, then run the same command to resume"
            )

    def stopped(self) -> bool:
        return self.observer.stopped() is not None

    def raise_if_stopped(self, saved: int | None = None) -> None:
        """Raises StoppedError once a signal has come. saved: inputs in committed shards, where that is known."""
        number = self.observer.stopped()
        if number is None:
            return
        if saved is None:
            raise StoppedError("interrupted; run the same command to resume", number)
        again = f"; {self._done - saved:,} more were read and will be again" if self._done > saved else ""
        raise StoppedError(
            f"interrupted: saved {saved:,} of {self._total:,}{again}; run the same command to resume", number
        )


class Runner(Protocol):
    """Something that turns planned shards into commits: threads, processes of threads, a cluster."""

    def run(self, job: Job, progress: RunProgress) -> Iterator[Commit]:
        """Yields each shard's commit as it is made; fewer of them once the run is asked to stop.

        Tells ``progress`` of everything that becomes of an input. Raises FvcliError.
        """
        ...


def run_shard(
    job: Job,
    planned: PlannedShard,
    entries: Iterable[Entry],
    outcomes: Iterator[Outcome],
    environment: Mapping[str, str],
) -> Commit | None:
    """Writes and commits one shard. ``outcomes`` are those of its ``batches``, in order, as they become ready.

    environment: the library versions and CPU that the outcomes come from, for the record.
    Returns None, with nothing left behind, when the outcomes end early. Raises DatasetError.
    """
    writer = ShardWriter(job.store.path(STAGING), stem(planned.number), job.spec.encoding)
    tally = _Tally(writer, job.spec.circumstances)
    try:
        base = None
        if job.existing is not None and planned.replaces is not None:
            base = job.existing.rows(planned.replaces)
        for entry in entries:
            if entry.base_row != EXTRACT and base is not None:
                tally.carry(entry, base)
            elif (outcome := next(outcomes, None)) is None:
                writer.abandon()
                return None
            else:
                tally.add(entry.ref, outcome)
        shard, written = tally.finish(planned.number)
        if job.lease is not None:
            job.lease.require()
    except BaseException:
        writer.abandon()
        raise
    commit = Commit(job.plan.id, planned.index, shard, tally.counts, tuple(tally.failures), environment)
    return commit_shard(job.store, job.spec.format, job.plan, planned, written, commit)


@dataclass(slots=True)
class _Tally:
    """Collects rows and counts them on their way into the file."""

    writer: ShardWriter
    circumstances: str
    failures: list[FailureLine] = field(default_factory=list)
    _extracted: int = 0
    _reused: int = 0
    _stale: int = 0
    _elsewhere: int = 0
    _first: Key | None = None
    _last: Key = ("", "")

    @property
    def counts(self) -> Counts:
        failed = len(self.failures)
        discovered = self._extracted + self._reused + failed
        return Counts(discovered, self._extracted, self._reused, failed, self._stale, self._elsewhere)

    def carry(self, entry: Entry, base: Rows) -> None:
        """A row that stays as it was."""
        self._row(entry.ref, base.infos[entry.base_row], base.vectors[entry.base_row])
        if entry.state is RowState.GONE:
            self._stale += 1
        elif entry.state is RowState.ELSEWHERE:
            self._elsewhere += 1
        else:
            self._reused += 1

    def add(self, ref: ImageRef, outcome: Outcome) -> None:
        if isinstance(outcome, Failure):
            decided = "" if outcome.stage in ("read", "crash") else self.circumstances
            self.failures.append(FailureLine(ref, outcome, decided))
            return
        self._row(ref, outcome.info, outcome.vector)
        if outcome.reused:
            self._reused += 1
        else:
            self._extracted += 1

    def _row(self, ref: ImageRef, info: ImageInfo, vector: Float32Array) -> None:
        key = (ref.root, ref.path)
        self._first = self._first or key
        self._last = key
        self.writer.append(ref, info, vector)

    def finish(self, number: int) -> tuple[Shard | None, list[WrittenFile]]:
        """The shard without its files, which are not named yet, and the files; None and nothing when it has no row."""
        if self._first is None:
            self.writer.abandon()
            return None, []
        written = self.writer.close()
        return Shard(number, self.counts.rows, (), self._first, self._last, self.writer.zero_rows), written
