"""The state of a dataset, from the manifest that a run finds to the one that it leaves.

:func:`take_up` is the first step of every run: it completes what a crash interrupted, removes what nothing refers to,
and reads the rest once, to be passed on. :func:`publish` is the last: the new manifest is written down under ``.fvcli``
first, and from then on the run is decided. :func:`switch` moves the files in, replaces ``manifest.json`` and removes
what it no longer names; the next run completes what a crash interrupts.
"""

from __future__ import annotations

import hashlib
import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from fvcli.dataset import existing, layout, lock, manifest
from fvcli.dataset.commit import Commit, finished, in_place, records, retract
from fvcli.dataset.existing import FailureLine, FailureList
from fvcli.dataset.manifest import Counts, DataFile, Manifest, NewerDatasetError, Shard
from fvcli.dataset.plan import DamagedPlanError, Plan, PlannedShard, PlanVersionError, forget_plan, load_plan
from fvcli.dataset.store import Store
from fvcli.errors import DatasetError, LockedError, SourceError
from fvcli.files import is_ours, is_torn


@dataclass(frozen=True, slots=True)
class Standing:
    """The published dataset and the work that remains.

    manifest: None before the first run has ended. plan: the frozen work, None where there is none.
    commits: the plan's finished shards by index, their files in place. failures: earlier ones that the plan keeps.
    newer: identity of the manifest of a newer fvcli that is to be replaced unread.
    dropped: why an unfinished run, or a part of it, has to be done again; empty where nothing has.
    """

    manifest: Manifest | None = None
    plan: Plan | None = None
    commits: Mapping[int, Commit] = field(default_factory=dict)
    failures: Iterable[FailureLine] = ()
    newer: str | None = None
    dropped: str = ""

    @property
    def base(self) -> str | None:
        """The identity of the manifest that is to be replaced, None where there is none."""
        return self.newer if self.manifest is None else self.manifest.identity

    def require_plan(self) -> Plan:
        """The plan, where the caller knows that there is one."""
        assert self.plan is not None
        return self.plan

    def todo(self, among: Sequence[PlannedShard]) -> list[PlannedShard]:
        """Those of the shards that are not committed yet."""
        return [shard for shard in among if shard.index not in self.commits]


def take_up(store: Store, overwrite: bool = False) -> Standing:
    """The standing of a dataset whose lock the caller holds, recovered and tidied up.

    overwrite: the dataset is to be replaced as a whole, so it may be that of another version of fvcli, whose files
    all stay. Raises DatasetError.
    """
    decided = manifest.load(store, layout.PENDING_MANIFEST)
    if decided is not None:
        switch(store, decided)
        return Standing(decided)
    try:
        current = manifest.load(store)
    except NewerDatasetError as error:
        if not overwrite:
            raise
        return _beside_another(store, error.identity)
    plan, dropped = _plan(store, Standing(current).base, overwrite)
    if plan is None:
        forget_plan(store)
        remove_orphans(store, current.files if current else ())
        return Standing(current, dropped=dropped)
    found = list(records(store, plan))
    files = [file for record in found for file in record.files]
    remove_orphans(store, [*(current.files if current else ()), *files])
    done = finished(store, plan, found)
    lost = sum(name.endswith(".json") for name in store.names(layout.COMMITS)) - len(done)
    dropped = f"finished shards that are gone or damaged ({lost})" if lost > 0 else ""
    return Standing(current, plan, done, FailureList(store, layout.PLAN_FAILURES), dropped=dropped)


def join(store: Store, mine: Callable[[Plan], Sequence[PlannedShard]]) -> Standing:
    """The standing for one of several processes that share a plan: only read, nothing recovered or removed.

    mine: which shards of the plan concern the process. Only their commits are read.
    """
    current = manifest.load(store)
    plan = load_plan(store)
    if plan is None or plan.base != Standing(current).base:
        return Standing(current)
    found = records(store, plan, mine(plan))
    return Standing(current, plan, finished(store, plan, found), FailureList(store, layout.PLAN_FAILURES))


def _plan(store: Store, base: str | None, overwrite: bool) -> tuple[Plan | None, str]:
    """The plan that builds on ``base``; without one, why the plan that is there is of no use, if one is."""
    try:
        plan = load_plan(store)
    except PlanVersionError:
        if not overwrite:
            raise
        return None, "an unfinished run of another version of fvcli"
    except DamagedPlanError as error:
        return None, f"an unfinished run, whose plan is damaged ({error.reason})"
    if plan is None or plan.base == base:
        return plan, ""
    return None, "an unfinished run over an earlier state of the dataset (repaired or restored since)"


def _beside_another(store: Store, newer: str) -> Standing:
    """The standing beside the dataset of a newer fvcli: which files are its own is not known, so all stay."""
    plan, dropped = _plan(store, newer, overwrite=True)
    if plan is None:
        forget_plan(store)
        for name in store.names(layout.STAGING):
            store.remove(f"{layout.STAGING}/{name}")
        return Standing(newer=newer, dropped=dropped)
    found = finished(store, plan, records(store, plan))
    return Standing(None, plan, found, FailureList(store, layout.PLAN_FAILURES), newer)


def switch(store: Store, decided: Manifest) -> None:
    """Makes the pending manifest the dataset's. Every step can be repeated, so a crash in between is harmless."""
    for file in decided.files:
        waiting = store.waiting(file.file)
        if waiting != file.file and store.exists(waiting):
            store.move(waiting, file.file)
    for folder in (*layout.DATA_FOLDERS, layout.FAILURES):
        if store.exists(folder):
            store.sync(folder)
    store.replace(layout.MANIFEST, decided.to_bytes())
    forget_plan(store)
    remove_orphans(store, decided.files)
    store.remove(layout.PENDING_MANIFEST)  # last: as long as it is there, files may still be in the way
    store.sync(layout.STATE)


def discard(store: Store, standing: Standing) -> Standing:
    """The standing without its unfinished plan. Of its commits none is left, not even files that are shown already."""
    wanted = list(standing.manifest.files) if standing.manifest else []
    if standing.newer is None:
        for key in list(_orphans(store, {file.file for file in wanted})):
            store.remove(key)
    forget_plan(store)
    if standing.newer is None:
        remove_orphans(store, wanted)
    return Standing(standing.manifest, newer=standing.newer)


def settle(store: Store) -> None:
    """Completes a decided run before its dataset is read, unless another run is at it. Raises DatasetError."""
    if store.exists(layout.PENDING_MANIFEST):
        with suppress(LockedError), lock.hold(store):
            take_up(store)


def set_aside_damaged(store: Store) -> None:
    """Moves a damaged manifest out of the way (to ``*.damaged``), so that a new dataset can replace it.

    That of a newer fvcli is not damaged: its dataset stays readable until the new one is whole.
    """
    for key in (layout.MANIFEST, layout.PENDING_MANIFEST):
        data = store.read(key)
        try:
            if data is not None:
                Manifest.from_bytes(data, key)
        except NewerDatasetError:
            if key == layout.PENDING_MANIFEST:
                store.move(key, f"{key}.damaged")
        except DatasetError:
            store.move(key, f"{key}.damaged")


def remove_orphans(store: Store, wanted: Iterable[DataFile]) -> None:
    """Removes files that fvcli wrote and that are not ``wanted``, in staging and among the data."""
    names = {file.file for file in wanted}
    staged = {key.rsplit("/", 1)[1] for key in names}
    for name in store.names(layout.STAGING):
        if name not in staged:
            store.remove(f"{layout.STAGING}/{name}")
    for key in [*_orphans(store, names), *_torn(store)]:
        store.remove(key)


def _orphans(store: Store, wanted: set[str]) -> Iterator[str]:
    """Files of fvcli's making in the places that readers look into, other than the wanted ones."""
    for folder in (*layout.DATA_FOLDERS, layout.FAILURES):
        for name in store.names(folder):
            if is_ours(name) and f"{folder}/{name}" not in wanted:
                yield f"{folder}/{name}"


def _torn(store: Store) -> Iterator[str]:
    """The remains of a small file that a process was replacing when it died."""
    for name in store.names(""):
        if is_torn(name) and name.startswith(layout.MANIFEST):
            yield name
    for folder in (layout.STATE, layout.COMMITS):
        yield from (f"{folder}/{name}" for name in store.names(folder) if is_torn(name))


@dataclass(frozen=True, slots=True)
class Merged:
    """Committed shards together with what their plan keeps: the content of the next manifest.

    shards ascend by their first row, failures by their key. environments: of the commits that extracted something.
    """

    shards: tuple[Shard, ...]
    counts: Counts
    failures: Iterable[FailureLine]
    environments: tuple[Mapping[str, str], ...]


def require_in_place(store: Store, plan: Plan, commits: Mapping[int, Commit]) -> None:
    """A last look before the run is decided. Raises DatasetError where a shard's files were removed meanwhile."""
    missing = sum(shard.index not in commits or not in_place(store, commits[shard.index]) for shard in plan.shards)
    if missing:
        raise DatasetError(
            f"{missing} finished shards are gone from {store.place}; find out who removes files there, "
            "then repeat the command to redo them"
        )


def require_access(store: Store, plan: Plan, commits: Mapping[int, Commit]) -> None:
    """Raises SourceError where every input of a root was refused, and takes back what was committed of that.

    So nothing is remembered of files that may be readable in the next run.
    """
    refused = Counter(line.ref.root for commit in commits.values() for line in commit.failures if _is_refused(line))
    closed = sorted(root for root, count in plan.inputs.items() if refused[root] == count)
    if not closed:
        return
    for commit in commits.values():
        if any(line.ref.root in closed and _is_refused(line) for line in commit.failures):
            retract(store, commit)
    raise SourceError(
        f"permission denied for every file of {closed[0] or 'those named'}; nothing was recorded. "
        "Make them readable for this user and repeat the command"
    )


def _is_refused(line: FailureLine) -> bool:
    return (line.failure.stage, line.failure.error) == ("read", "PermissionDenied")


def merge(standing: Standing, commits: Mapping[int, Commit]) -> Merged:
    """The dataset with these commits of the plan in place of what they replace; not all have to be there."""
    plan = standing.require_plan()
    missing = {shard.replaces for shard in plan.shards if shard.index not in commits}
    counted = [commits[shard.index] for shard in plan.shards if shard.index in commits and _whole(shard, missing)]
    pruned = sum(shard.pruned for shard in plan.shards if shard.index in commits and _whole(shard, missing))
    kept, kept_counts = _kept(plan, standing.manifest, missing)
    shards = (*kept, *(commit.shard for commit in counted if commit.shard is not None))
    return Merged(
        shards=tuple(sorted(shards, key=lambda shard: shard.first)),
        counts=sum((commit.counts for commit in counted), kept_counts + Counts(pruned=pruned)),
        failures=heapq.merge(
            (line for commit in counted for line in commit.failures), standing.failures, key=lambda line: line.key
        ),
        environments=tuple(commit.environment for commit in counted if commit.counts.extracted),
    )


def publish(store: Store, standing: Standing, described: Manifest, lines: Iterable[FailureLine]) -> Manifest:
    """Makes ``described`` with these failures the dataset's manifest. Returns it, complete. Raises DatasetError."""
    result = replace(described, failures=_write_failures(store, lines))
    if standing.require_plan().has_work or result.failures != (standing.manifest.failures if standing.manifest else ()):
        store.replace(layout.PENDING_MANIFEST, result.to_bytes())
        switch(store, result)
    else:  # nothing but the run's line in the history
        store.replace(layout.MANIFEST, result.to_bytes())
    return result


def _whole(shard: PlannedShard, missing: set[int | None]) -> bool:
    """Whether a finished shard may count although others do not: all that stand for the same old shard are there."""
    return shard.replaces is None or shard.replaces not in missing


def _kept(plan: Plan, base: Manifest | None, missing: set[int | None]) -> tuple[list[Shard], Counts]:
    """The base's shards that stay, those among them whose replacement was not finished, and what they amount to."""
    shards = base.shards if base else ()
    waiting = [shard for shard in shards if shard.number in missing]
    rows = sum(shard.rows for shard in waiting)
    replaced = set(plan.replaced) - missing
    return [shard for shard in shards if shard.number not in replaced], plan.kept + Counts(rows, reused=rows)


def _write_failures(store: Store, lines: Iterable[FailureLine]) -> tuple[DataFile, ...]:
    data = existing.failures_to_bytes(lines)
    if not data:
        return ()
    digest = hashlib.sha256(data).hexdigest()
    file = DataFile(f"{layout.FAILURES}/{layout.shard_name('failures-', 0, '.jsonl', digest)}", len(data), digest)
    if store.size(file.file) != len(data):
        store.make_folder(layout.FAILURES)
        store.replace(store.waiting(file.file), data)
    return (file,)
