"""The work of a run: discovered inputs compared with the rows and failures that a dataset has.

Rows are sorted by (root, path) over the whole dataset, shard after shard, before and after every update: a new input
belongs to the shard whose range it falls in, and only shards that change are written again.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from fvcli.dataset import existing
from fvcli.dataset.existing import BaseRow, FailureLine, Tallies
from fvcli.dataset.layout import PLAN, PLAN_FAILURES
from fvcli.dataset.manifest import Counts, Key, Manifest
from fvcli.dataset.plan import EXTRACT, EntriesWriter, Entry, Plan, PlannedShard, RowState, count_extract
from fvcli.dataset.standing import Standing
from fvcli.dataset.store import Store
from fvcli.records import ImageRef, Limit

T = TypeVar("T", ImageRef, BaseRow, FailureLine)

_OPAQUE = ("/", "!")  # ends of the path of a folder that cannot be listed, and of an archive that cannot be read


@dataclass(frozen=True, slots=True)
class Policy:
    """The policy of an update.

    base_folder: see :class:`fvcli.records.ImageRef`.
    request: what was asked, for telling on resuming whether it is the same again.
    settings: see :class:`Plan`; called when all inputs have been seen.
    prune_limit: of the rows of one root, how many may be dropped. circumstances: those of a failure today, see
    :class:`fvcli.dataset.existing.FailureLine`.
    """

    base_folder: str
    request: Mapping[str, Any]
    settings: Callable[[], Mapping[str, Any]]
    shard_size: int
    prune: bool
    prune_limit: Limit
    retry_failed: bool
    overwrite: bool
    circumstances: str


class Inputs(Protocol):
    """The inputs that sources name, ascending by (root, path). They are iterated over once."""

    def __iter__(self) -> Iterator[ImageRef]: ...

    @property
    def roots(self) -> Sequence[str]:
        """The roots that are searched, "" for files named one by one."""
        ...

    def looked_for(self, row: ImageRef) -> bool:
        """Whether the file of a row that was not found is gone, and not only out of sight."""
        ...

    def renamed(self, row: ImageRef) -> bool:
        """Whether the file of a row that was not found is an input under another root."""
        ...


def make_plan(store: Store, standing: Standing, inputs: Inputs, policy: Policy) -> Standing:
    """The standing with a new plan, none of whose shards is done.

    Its failures are the earlier ones that still stand. Only a plan with work to do is written to the disk.
    Raises DatasetError when the dataset cannot be read or the plan not written, SourceError for a source without
    any image and for more rows to be dropped than the policy allows.
    """
    known = None if policy.overwrite else standing.manifest
    comparison = Comparison(store, known, inputs, policy)
    try:
        comparison.run()
        comparison.tallies.require_inputs(inputs.roots, policy.prune)
        if policy.prune:
            comparison.tallies.require_few_gone(policy.prune_limit)
        plan = comparison.plan(standing)
        if plan.has_work:
            comparison.close()
            store.replace(PLAN_FAILURES, existing.failures_to_bytes(comparison.standing))
            store.replace(PLAN, plan.to_bytes())
    except BaseException:
        comparison.abandon()
        raise
    return Standing(standing.manifest, plan, {}, comparison.standing, standing.newer)


class _Cursor(Generic[T]):
    """An ascending stream that can be asked for one key."""

    def __init__(self, items: Iterable[T]) -> None:
        self._items: Iterator[T] = iter(items)
        self._head: T | None = None
        self.key: Key | None = None
        self._advance()

    def take(self, key: Key) -> T | None:
        """The item with this key, if it is next."""
        if self.key != key:
            return None
        item = self._head
        self._advance()
        return item

    def _advance(self) -> None:
        self._head = next(self._items, None)
        self.key = None if self._head is None else _key(self._head)


def _key(item: ImageRef | BaseRow | FailureLine) -> Key:
    ref = item if isinstance(item, ImageRef) else item.ref
    return (ref.root, ref.path)


def is_changed(now: ImageRef, then: ImageRef) -> bool:
    """Whether the file may have other content; another name behind the same stand-in is another file.

    Of a row in a table only the time is known before it is read.
    """
    if now.size_bytes not in (-1, then.size_bytes):
        return True
    return (now.mtime_ns, now.path_bytes) != (then.mtime_ns, then.path_bytes)


class Comparison:
    """A merge of inputs, rows and failures, which plans what differs. Every shard is planned as soon as it is full."""

    def __init__(self, store: Store, manifest: Manifest | None, inputs: Inputs, policy: Policy) -> None:
        self._store = store
        self._inputs = inputs
        self._shards = manifest.shards if manifest else ()
        self._failures = existing.failures(store, manifest) if manifest else iter(())
        self._policy = policy
        self._writer: EntriesWriter | None = None
        self._planned: list[PlannedShard] = []
        self._replaced: list[int] = []
        self.tallies = Tallies()
        self._next_number = max((shard.number for shard in self._shards), default=-1) + 1
        self._group = _Group(0)
        self._kept = Counts()
        self._hidden: Key | None = None
        self.standing: list[FailureLine] = []

    def run(self) -> None:
        inputs = _Cursor(self._inputs)
        rows = _Cursor(existing.rows(self._store, self._shards))
        failed = _Cursor(self._failures)
        while keys := [key for key in (inputs.key, rows.key, failed.key) if key is not None]:
            key = min(keys)
            self.compare(inputs.take(key), rows.take(key), failed.take(key))
        self._end_group()

    def compare(self, ref: ImageRef | None, row: BaseRow | None, failure: FailureLine | None) -> None:
        """Takes what stands under one key."""
        if ref is not None:
            self.tallies[ref.root].inputs += 1
            if ref.path.endswith(_OPAQUE):
                self._hidden = (ref.root, ref.path)
        if row is not None and row.shard != self._group.shard:
            self._end_group()
            self._group = _Group(row.shard)
        if row is not None:
            self.tallies[row.ref.root].rows += 1
            if ref is None:
                self._missing(row)
                return
            if not is_changed(ref, row.ref):
                self._group.keep(row, RowState.PRESENT)
                return
        elif ref is None:
            return
        elif failure is not None and self.still_fails(ref, failure):
            self.standing.append(failure)
            return
        self._group.new(ref)
        self._cut()

    def _missing(self, row: BaseRow) -> None:
        """A row whose file was not found under its name. One with a new name is dropped: a file has one row."""
        if self._inputs.renamed(row.ref):
            self.tallies[row.ref.root].renamed += 1
            self._group.drop()
            return
        if self._below_hidden(row) or not self._inputs.looked_for(row.ref):
            self._group.keep(row, RowState.ELSEWHERE)
            return
        self.tallies[row.ref.root].gone += 1
        if self._policy.prune:
            self._group.drop()
        else:
            self._group.keep(row, RowState.GONE)

    def still_fails(self, ref: ImageRef, failure: FailureLine) -> bool:
        """Whether an earlier failure says what would happen now: neither the file nor what decides has changed."""
        if self._policy.retry_failed or is_changed(ref, failure.ref):
            return False
        stage = failure.failure.stage
        return stage == "crash" or (stage != "read" and failure.circumstances == self._policy.circumstances)

    def _below_hidden(self, row: BaseRow) -> bool:
        """Whether the row's file is in a folder or archive that could not be read, which comes right before it."""
        return self._hidden is not None and row.ref.root == self._hidden[0] and row.ref.path.startswith(self._hidden[1])

    def _cut(self) -> None:
        """Writes full shards out of a group that grows, so that it is never in memory whole."""
        size = self._policy.shard_size
        if not self._shards:
            if len(self._group.entries) == size:
                self.emit(self._group.take(size))
        elif len(self._group.entries) >= 3 * size:
            self.emit(self._group.take(size))

    def _end_group(self) -> None:
        group, size = self._group, self._policy.shard_size
        if not group.touched:
            self._kept += group.counts
            return
        if self._shards:
            self._replaced.append(self._shards[group.shard].number)
        pieces = max(1, round(len(group.entries) / size)) if self._shards else 1
        if not group.entries:
            self._kept += Counts(pruned=group.pruned)
        while group.entries:
            taken = group.take(-(-len(group.entries) // pieces))
            self.emit(taken, 0 if group.entries else group.pruned)
            pieces -= 1

    def emit(self, entries: list[Entry], pruned: int = 0) -> None:
        """Plans a shard."""
        if self._writer is None:
            self._writer = EntriesWriter(self._store)
        self._writer.append(entries)
        replaces = self._shards[self._group.shard].number if self._shards else None
        first_piece = not self._planned or self._planned[-1].replaces != replaces
        if replaces is not None and first_piece:
            number = replaces
        else:
            number, self._next_number = self._next_number, self._next_number + 1
        self._planned.append(
            PlannedShard(len(self._planned), number, len(entries), count_extract(entries), replaces, pruned)
        )

    def plan(self, base: Standing) -> Plan:
        kept = self._kept + Counts(discovered=len(self.standing), failed=len(self.standing))
        replaced = self._replaced
        if base.manifest and self._policy.overwrite:
            replaced = [shard.number for shard in base.manifest.shards]
        return Plan(
            id=os.urandom(8).hex(),
            request=self._policy.request,
            settings=self._policy.settings(),
            base_folder=self._policy.base_folder,
            inputs=self.tallies.inputs,
            roots=self.tallies.roots(self._policy.prune),
            base=base.base,
            overwrite=self._policy.overwrite,
            kept=kept,
            replaced=tuple(replaced),
            shards=tuple(self._planned),
        )

    def close(self) -> None:
        if self._writer is None:  # only removals: the header still needs its file
            self._writer = EntriesWriter(self._store)
        self._writer.close()

    def abandon(self) -> None:
        if self._writer is not None:
            self._writer.abandon()


class _Group:
    """The inputs that belong to one shard of the base, or all of them where there is none."""

    def __init__(self, shard: int) -> None:
        self.shard = shard
        self.entries: list[Entry] = []
        self.touched = False
        self.pruned = 0
        self._states = dict.fromkeys(RowState, 0)

    @property
    def counts(self) -> Counts:
        """The counts of the group as long as it is untouched."""
        present = self._states[RowState.PRESENT]
        return Counts(
            discovered=present,
            reused=present,
            stale=self._states[RowState.GONE],
            elsewhere=self._states[RowState.ELSEWHERE],
        )

    def keep(self, row: BaseRow, state: RowState) -> None:
        self.entries.append(Entry(row.ref, row.row, state))
        self._states[state] += 1

    def drop(self) -> None:
        self.pruned += 1
        self.touched = True

    def new(self, ref: ImageRef) -> None:
        self.entries.append(Entry(ref, EXTRACT))
        self.touched = True

    def take(self, count: int) -> list[Entry]:
        taken, self.entries = self.entries[:count], self.entries[count:]
        return taken
