"""How finished shards become the dataset, so that a crash at any moment loses and doubles nothing.

A shard is written under ``.fvcli/staging``, made durable, hashed, and recorded in ``.fvcli/commits``: the record is the
commit. In a first run the files then move to their final place at once; where the run changes an existing dataset they
wait. At the end the new manifest is written down under ``.fvcli`` (from then on the run is decided), the files move in,
``manifest.json`` is replaced, and what it no longer names is removed. Every step can be repeated, so whoever comes
next finishes what a crash interrupted.
"""

from __future__ import annotations

import hashlib
import heapq
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace

from fvcli.dataset import failures, layout, lock, manifest, plan, schema
from fvcli.dataset.failures import FailureLine
from fvcli.dataset.layout import KINDS
from fvcli.dataset.manifest import Counts, DataFile, Manifest, Shard
from fvcli.dataset.plan import Plan, PlannedShard
from fvcli.dataset.shard_file import Encoding, WrittenFile
from fvcli.dataset.store import Store
from fvcli.errors import DatasetError, LockedError
from fvcli.files import is_torn


@dataclass(frozen=True, slots=True)
class Commit:
    """The record of one finished shard of a plan. ``shard`` is None where no input of it gave a row.

    environment: the library versions and CPU of whoever extracted it.
    """

    plan: str
    index: int
    shard: Shard | None
    counts: Counts
    failures: tuple[FailureLine, ...]
    environment: Mapping[str, str]

    def to_bytes(self) -> bytes:
        values = {
            "plan": self.plan,
            "index": self.index,
            "shard": None if self.shard is None else self.shard.to_json(),
            "counts": asdict(self.counts),
            "failures": [line.to_json() for line in self.failures],
            "environment": dict(self.environment),
        }
        return json.dumps(values, ensure_ascii=False).encode("utf-8", "backslashreplace")

    @classmethod
    def from_bytes(cls, data: bytes) -> Commit:
        """Raises ValueError for the bytes of something else."""
        values = schema.parse("commit", data)
        shard = None if values["shard"] is None else Shard.from_json(values["shard"])
        lines = tuple(FailureLine.from_json(line) for line in values["failures"])
        counts = Counts.from_json(values["counts"])
        return cls(values["plan"], int(values["index"]), shard, counts, lines, values["environment"])


class Workspace:
    """A dataset's folder while a run may change it. The caller holds the lock. Raises DatasetError."""

    def __init__(self, store: Store, encoding: Encoding) -> None:
        self.store = store
        self.encoding = encoding

    def prepare(self) -> None:
        """Makes the folders a run needs and takes up what a crash left. Not while tasks are at work."""
        for key in (layout.COMMITS, layout.STAGING, *(folder for folder, _, _ in KINDS[self.encoding.format])):
            self.store.make_folder(key)
        recover(self.store)

    def commits(self, frozen: Plan, among: Sequence[PlannedShard] | None = None) -> dict[int, Commit]:
        """The plan's finished shards (``among`` these), by index; one whose files are gone counts as not done."""
        records = _records(self.store, frozen, None if among is None else {_record(shard.index) for shard in among})
        return {commit.index: commit for commit in records if self._in_place(commit, frozen)}

    def _in_place(self, commit: Commit, frozen: Plan) -> bool:
        for file in commit.shard.files if commit.shard else ():
            places = {self.store.waiting(file.file), file.file}
            if not any(self.store.size(place) == file.bytes for place in places):
                return False
        if _first_run(frozen):
            self._move_in(commit)
        return True

    def commit(self, frozen: Plan, planned: PlannedShard, written: Iterable[WrittenFile], commit: Commit) -> Commit:
        """Records a written shard and, in a first run, shows it. Returns the commit with its files' names."""
        if commit.shard is not None:
            files = []
            for (folder, prefix, suffix), file in zip(KINDS[self.encoding.format], written, strict=True):
                name = layout.shard_name(prefix, planned.number, suffix, file.sha256)
                data_file = DataFile(f"{folder}/{name}", file.bytes, file.sha256)
                self.store.move(f"{layout.STAGING}/{file.path.name}", self.store.waiting(data_file.file))
                files.append(data_file)
            self.store.sync(layout.STAGING)
            commit = replace(commit, shard=replace(commit.shard, files=tuple(files)))
        self.store.replace(f"{layout.COMMITS}/{_record(planned.index)}", commit.to_bytes())
        if _first_run(frozen):
            self._move_in(commit)
        return commit

    def _move_in(self, commit: Commit) -> None:
        for file in commit.shard.files if commit.shard else ():
            self.store.move(self.store.waiting(file.file), file.file)

    def finish(
        self,
        frozen: Plan,
        base: Manifest | None,
        standing: Iterable[FailureLine],
        describe: Callable[[Sequence[Commit], Counts], Manifest],
    ) -> Manifest:
        """Makes the committed shards and what the plan keeps the dataset.

        describe: what else the manifest is to say, given the commits that count and what they amount to.
        """
        done = self.commits(frozen)
        missing = {shard.replaces for shard in frozen.shards if shard.index not in done}
        commits = [done[shard.index] for shard in frozen.shards if shard.index in done and _whole(shard, missing)]
        kept, kept_counts = _kept(frozen, base, missing)
        lines = heapq.merge(
            (line for commit in commits for line in commit.failures), standing, key=lambda line: line.key
        )
        shards = (*kept, *(commit.shard for commit in commits if commit.shard is not None))
        counts = sum((commit.counts for commit in commits), kept_counts)
        result = replace(
            describe(commits, counts),
            shards=tuple(sorted(shards, key=lambda shard: shard.first)),
            failures=self._write_failures(lines),
            counts=counts,
        )
        if frozen.has_work or result.failures != (base.failures if base else ()):
            self.store.replace(layout.PENDING_MANIFEST, result.to_bytes())
            recover(self.store)
        else:  # nothing but the run's line in the history
            self.store.replace(layout.MANIFEST, result.to_bytes())
        return result

    def _write_failures(self, lines: Iterable[FailureLine]) -> tuple[DataFile, ...]:
        data = failures.to_bytes(lines)
        if not data:
            return ()
        digest = hashlib.sha256(data).hexdigest()
        file = DataFile(f"{layout.FAILURES}/{layout.shard_name('failures-', 0, '.jsonl', digest)}", len(data), digest)
        if self.store.size(file.file) != len(data):
            self.store.make_folder(layout.FAILURES)
            self.store.replace(self.store.waiting(file.file), data)
        return (file,)

    def discard_plan(self) -> None:
        """Forgets an unfinished run; its commits with it, but never one whose files still stand among the data."""
        current = manifest.load(self.store)
        for key in list(orphans(self.store, {file.file for file in current.files} if current else set())):
            self.store.remove(key)
        _forget_plan(self.store)
        remove_orphans(self.store)


def _first_run(frozen: Plan) -> bool:
    """Whether there is no older dataset whose readers must not be shown parts of the new one."""
    return frozen.base is None


def _whole(shard: PlannedShard, missing: set[int | None]) -> bool:
    """Whether a finished shard may count although others do not: all that stand for the same old shard are there."""
    return shard.replaces is None or shard.replaces not in missing


def _kept(frozen: Plan, base: Manifest | None, missing: set[int | None]) -> tuple[list[Shard], Counts]:
    """The base's shards that stay, those among them whose replacement was not finished, and what they amount to."""
    shards = base.shards if base else ()
    waiting = [shard for shard in shards if shard.number in missing]
    rows = sum(shard.rows for shard in waiting)
    replaced = set(frozen.replaced) - missing
    return [shard for shard in shards if shard.number not in replaced], frozen.kept + Counts(rows, reused=rows)


def _record(index: int) -> str:
    return f"{index:05d}.json"


def _records(store: Store, frozen: Plan, names: set[str] | None = None) -> Iterator[Commit]:
    """The commit records of a plan, those with these ``names`` only; one that cannot be read counts as none."""
    for name in store.names(layout.COMMITS):
        if names is not None and name not in names:
            continue
        try:
            commit = Commit.from_bytes(store.read(f"{layout.COMMITS}/{name}") or b"")
        except ValueError:
            continue
        if commit.plan == frozen.id:
            yield commit


def recover(store: Store) -> None:
    """Finishes a run that had decided on its manifest, then removes what nothing refers to."""
    decided = manifest.load(store, layout.PENDING_MANIFEST)
    if decided is not None:
        for file in decided.files:
            waiting = store.waiting(file.file)
            if waiting != file.file and store.exists(waiting):
                store.move(waiting, file.file)
        for folder in (*layout.DATA_FOLDERS, layout.FAILURES):
            if store.exists(folder):
                store.sync(folder)
        store.replace(layout.MANIFEST, decided.to_bytes())
        _forget_plan(store)
    elif plan.load(store) is None:  # damaged, half gone, or made for another manifest
        _forget_plan(store)
    remove_orphans(store)
    if decided is not None:  # last, so that who finds it knows that files may still be in the way
        store.remove(layout.PENDING_MANIFEST)
        store.sync(layout.STATE)


def _forget_plan(store: Store) -> None:
    for key in (layout.PLAN, layout.PLAN_ENTRIES, layout.PLAN_FAILURES):
        store.remove(key)
    for name in store.names(layout.COMMITS):
        store.remove(f"{layout.COMMITS}/{name}")
    for name in store.names(layout.TASKS):
        if not name.endswith(lock.TASK_LOCK):
            store.remove(f"{layout.TASKS}/{name}")


def remove_orphans(store: Store) -> None:
    """Removes files that fvcli wrote and neither the manifest nor a commit record names."""
    wanted = {file.file for file in _wanted(store)}
    staged = {key.rsplit("/", 1)[1] for key in wanted}
    for name in store.names(layout.STAGING):
        if name not in staged:
            store.remove(f"{layout.STAGING}/{name}")
    for key in [*orphans(store, wanted), *_torn(store)]:
        store.remove(key)


def orphans(store: Store, wanted: set[str]) -> Iterator[str]:
    """Files of fvcli's making in the places that readers look into, other than the wanted ones."""
    for folder in (*layout.DATA_FOLDERS, layout.FAILURES):
        for name in store.names(folder):
            if layout.is_ours(name) and f"{folder}/{name}" not in wanted:
                yield f"{folder}/{name}"


def _torn(store: Store) -> Iterator[str]:
    """What a process that died while it replaced a small file left of the new one."""
    for name in store.names(""):
        if is_torn(name) and name.startswith(layout.MANIFEST):
            yield name
    for folder in (layout.STATE, layout.COMMITS):
        yield from (f"{folder}/{name}" for name in store.names(folder) if is_torn(name))


def _wanted(store: Store) -> Iterator[DataFile]:
    current = manifest.load(store)
    if current is not None:
        yield from current.files
    frozen = plan.load(store)
    if frozen is not None:
        for commit in _records(store, frozen):
            if commit.shard is not None:
                yield from commit.shard.files


def set_aside_damaged(store: Store) -> None:
    """Moves a manifest that cannot be read out of the way (to ``*.damaged``), so that a new dataset can replace it."""
    for key in (layout.MANIFEST, layout.PENDING_MANIFEST):
        data = store.read(key)
        try:
            if data is not None:
                Manifest.from_bytes(data, key)
        except DatasetError:
            store.move(key, f"{key}.damaged")


def standing_failures(store: Store) -> Iterator[FailureLine]:
    """The earlier failures that the unfinished plan carries over."""
    return failures.read(store, layout.PLAN_FAILURES)


def settle(store: Store) -> None:
    """Finishes a decided run before its dataset is read, unless another run is at it. Raises DatasetError."""
    if store.exists(layout.PENDING_MANIFEST):
        with suppress(LockedError), lock.hold(store):
            recover(store)
