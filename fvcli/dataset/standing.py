"""The state of a dataset as a run finds it, read once and passed on.

:func:`take_up` is the first step of every run: it completes what a crash interrupted, removes what nothing refers to,
and reads the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from fvcli.dataset import commit, layout, lock, manifest
from fvcli.dataset.commit import Commit
from fvcli.dataset.failures import FailureLine, FailureList
from fvcli.dataset.manifest import DataFile, Manifest, NewerDatasetError
from fvcli.dataset.plan import Plan, PlannedShard, PlanVersionError, load_plan
from fvcli.dataset.store import Store
from fvcli.errors import DatasetError, LockedError
from fvcli.files import is_torn


@dataclass(frozen=True, slots=True)
class Standing:
    """The published dataset and the work that remains.

    manifest: None before the first run has ended. plan: the frozen work, None where there is none.
    commits: the plan's finished shards by index, their files in place. failures: earlier ones that the plan keeps.
    newer: identity of the manifest of a newer fvcli that is to be replaced unread.
    """

    manifest: Manifest | None = None
    plan: Plan | None = None
    commits: Mapping[int, Commit] = field(default_factory=dict)
    failures: Iterable[FailureLine] = ()
    newer: str | None = None

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
    plan = _plan(store, Standing(current).base, overwrite)
    if plan is None:  # none, damaged, half gone, or made for another manifest
        forget_plan(store)
        remove_orphans(store, current.files if current else ())
        return Standing(current)
    found = list(commit.records(store, plan))
    files = [file for record in found for file in record.files]
    remove_orphans(store, [*(current.files if current else ()), *files])
    return Standing(current, plan, commit.finished(store, plan, found), FailureList(store, layout.PLAN_FAILURES))


def join(store: Store, mine: Callable[[Plan], Sequence[PlannedShard]]) -> Standing:
    """The standing for one of several processes that share a plan: only read, nothing recovered or removed.

    mine: which shards of the plan concern the process. Only their commits are read.
    """
    current = manifest.load(store)
    plan = load_plan(store, Standing(current).base, strict=True)
    if plan is None:
        return Standing(current)
    found = commit.records(store, plan, mine(plan))
    return Standing(current, plan, commit.finished(store, plan, found), FailureList(store, layout.PLAN_FAILURES))


def _plan(store: Store, base: str | None, overwrite: bool) -> Plan | None:
    try:
        return load_plan(store, base)
    except PlanVersionError:
        if not overwrite:
            raise
        return None


def _beside_another(store: Store, newer: str) -> Standing:
    """The standing beside the dataset of a newer fvcli: which files are its own is not known, so all stay."""
    plan = _plan(store, newer, overwrite=True)
    if plan is None:
        forget_plan(store)
        for name in store.names(layout.STAGING):
            store.remove(f"{layout.STAGING}/{name}")
        return Standing(newer=newer)
    found = commit.finished(store, plan, commit.records(store, plan))
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


def forget_plan(store: Store) -> None:
    """Removes the plan, its commit records and the notes of its tasks."""
    for key in (layout.PLAN, layout.PLAN_ENTRIES, layout.PLAN_FAILURES):
        store.remove(key)
    for name in store.names(layout.COMMITS):
        store.remove(f"{layout.COMMITS}/{name}")
    for name in store.names(layout.TASKS):
        if not name.endswith(lock.TASK_LOCK):
            store.remove(f"{layout.TASKS}/{name}")


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
            if layout.is_ours(name) and f"{folder}/{name}" not in wanted:
                yield f"{folder}/{name}"


def _torn(store: Store) -> Iterator[str]:
    """The remains of a small file that a process was replacing when it died."""
    for name in store.names(""):
        if is_torn(name) and name.startswith(layout.MANIFEST):
            yield name
    for folder in (layout.STATE, layout.COMMITS):
        yield from (f"{folder}/{name}" for name in store.names(folder) if is_torn(name))
