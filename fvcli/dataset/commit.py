"""The commit of a finished shard, so that a crash at any moment loses and doubles nothing.

A shard is written under ``.fvcli/staging``, made durable, hashed, and recorded in ``.fvcli/commits``: the record is the
commit. In a first run the files then move to their final place at once; where the run changes an existing dataset they
wait for :func:`fvcli.dataset.standing.publish`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from fvcli.dataset import layout
from fvcli.dataset.existing import FailureLine
from fvcli.dataset.layout import KINDS, DataFormat
from fvcli.dataset.manifest import Counts, DataFile, Shard
from fvcli.dataset.plan import Plan, PlannedShard
from fvcli.dataset.shard_file import WrittenFile
from fvcli.dataset.store import Store


@dataclass(frozen=True, slots=True)
class Commit:
    """The record of one finished shard of a plan. ``shard`` is None where no input of it gave a row.

    environment: the library versions and CPU of the extracting host.
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

    @property
    def files(self) -> tuple[DataFile, ...]:
        """The shard's files, none where it has no row."""
        return () if self.shard is None else self.shard.files

    @classmethod
    def from_bytes(cls, data: bytes) -> Commit:
        """Raises ValueError for the bytes of something else."""
        values = layout.parse("commit", data)
        shard = None if values["shard"] is None else Shard.from_json(values["shard"])
        lines = tuple(FailureLine.from_json(line) for line in values["failures"])
        counts = Counts.from_json(values["counts"])
        return cls(values["plan"], int(values["index"]), shard, counts, lines, values["environment"])


def commit_shard(
    store: Store, format: DataFormat, plan: Plan, planned: PlannedShard, written: Iterable[WrittenFile], commit: Commit
) -> Commit:
    """Records a written shard and, in a first run, shows it. Returns the commit with its files' names.

    Raises DatasetError when the store refuses.
    """
    if commit.shard is not None:
        files = []
        for (folder, prefix, suffix), file in zip(KINDS[format], written, strict=True):
            name = layout.shard_name(prefix, planned.number, suffix, file.sha256)
            data_file = DataFile(f"{folder}/{name}", file.bytes, file.sha256)
            store.move(f"{layout.STAGING}/{file.path.name}", store.waiting(data_file.file))
            files.append(data_file)
        store.sync(layout.STAGING)
        commit = replace(commit, shard=replace(commit.shard, files=tuple(files)))
    store.replace(record_key(planned.index), commit.to_bytes())
    if plan.base is None:
        show(store, commit)
    return commit


def in_place(store: Store, commit: Commit) -> bool:
    """Whether the commit's files are where they wait or where they belong, each of its size."""
    for file in commit.files:
        places = {store.waiting(file.file), file.file}
        if not any(store.size(place) == file.bytes for place in places):
            return False
    return True


def show(store: Store, commit: Commit) -> None:
    """Moves a commit's files in, where no older dataset has readers who must not see parts of a new one."""
    for file in commit.files:
        store.move(store.waiting(file.file), file.file)


def retract(store: Store, commit: Commit) -> None:
    """Removes a commit's record and then its files, so that its shard is done again."""
    store.remove(f"{layout.COMMITS}/{_record(commit.index)}")
    for file in commit.files:
        for key in (store.waiting(file.file), file.file):
            store.remove(key)


def records(store: Store, plan: Plan, among: Sequence[PlannedShard] | None = None) -> Iterator[Commit]:
    """The commit records of a plan (``among`` these shards); one that cannot be read counts as none."""
    names = None if among is None else {_record(shard.index) for shard in among}
    for name in store.names(layout.COMMITS):
        if names is not None and name not in names:
            continue
        try:
            commit = Commit.from_bytes(store.read(f"{layout.COMMITS}/{name}") or b"")
        except ValueError:
            continue
        if commit.plan == plan.id:
            yield commit


def finished(store: Store, plan: Plan, found: Iterable[Commit]) -> dict[int, Commit]:
    """Those of the commits that count, by index: one whose files are gone is not done."""
    whole = {commit.index: commit for commit in found if in_place(store, commit)}
    if plan.base is None:
        for commit in whole.values():
            show(store, commit)
    return whole


def record_key(index: int) -> str:
    """The key of a shard's commit record."""
    return f"{layout.COMMITS}/{_record(index)}"


def _record(index: int) -> str:
    return f"{index:05d}.json"
