"""A frozen plan: which inputs become which shards. Written once, before the first image is read.

``plan.json`` is the header; ``plan.arrow`` holds one record batch for each shard to be written, so that a million
paths are never in memory together.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from enum import IntEnum
from typing import Any

import pyarrow as pa

from fvcli.dataset import layout
from fvcli.dataset.layout import COMMITS, PLAN, PLAN_ENTRIES, PLAN_FAILURES, STATE, TASKS
from fvcli.dataset.lock import TASK_LOCK
from fvcli.dataset.manifest import Counts
from fvcli.dataset.store import Store
from fvcli.errors import DatasetError
from fvcli.files import flush, translated
from fvcli.records import ImageRef, usable_folder


class PlanVersionError(DatasetError, ValueError):
    """An unfinished run of another version of fvcli."""


class DamagedPlanError(DatasetError):
    """A plan that cannot be read; ``reason`` is why."""

    def __init__(self, place: str, reason: str) -> None:
        super().__init__(f"{place} is not a plan ({reason}); make it again with fvcli plan")
        self.reason = reason


EXTRACT = -1
PLAN_VERSION = 4
_AT_ONCE = 256

_SCHEMA = pa.schema(
    [
        pa.field("root", pa.string(), False),
        pa.field("path", pa.string(), False),
        pa.field("path_bytes", pa.binary(), True),
        pa.field("size_bytes", pa.int64(), False),
        pa.field("mtime_ns", pa.int64(), False),
        pa.field("offset", pa.int64(), False),
        pa.field("base_row", pa.int32(), False),
        pa.field("state", pa.uint8(), False),
    ]
)


class RowState(IntEnum):
    """The state of the file of a row that stays. GONE: looked for and not there. ELSEWHERE: not looked for."""

    PRESENT = 0
    GONE = 1
    ELSEWHERE = 2


@dataclass(frozen=True, slots=True)
class Entry:
    """One row to be. base_row: its place in the shard that is replaced, or EXTRACT."""

    ref: ImageRef
    base_row: int = EXTRACT
    state: RowState = RowState.PRESENT


@dataclass(frozen=True, slots=True)
class PlannedShard:
    """A shard to be written. index: its place in the plan; replaces: number of the base's shard it stands for.

    pruned: rows of that shard which this one omits.
    """

    index: int
    number: int
    entries: int
    extract: int
    replaces: int | None = None
    pruned: int = 0


@dataclass(frozen=True, slots=True)
class Plan:
    """The header. ``request`` is what was asked for, ``base`` the SHA-256 of the manifest the plan builds on.

    ``settings`` is what others who work on the plan have to know besides the request.
    ``base_folder``: see :class:`fvcli.records.ImageRef`.
    ``inputs`` counts what was found per root; ``roots`` are those that the dataset will have.
    ``id`` is random: it ties commit records to this plan and no other.
    ``kept`` counts the rows and failures that stay as they are; ``replaced`` numbers the base's shards that do not.
    """

    id: str
    request: Mapping[str, Any]
    settings: Mapping[str, Any]
    base_folder: str
    inputs: Mapping[str, int]
    roots: tuple[str, ...]
    base: str | None
    overwrite: bool
    kept: Counts
    replaced: tuple[int, ...]
    shards: tuple[PlannedShard, ...]

    @property
    def extract(self) -> int:
        """Inputs to be read."""
        return sum(shard.extract for shard in self.shards)

    @property
    def has_work(self) -> bool:
        return bool(self.shards or self.replaced)

    def to_bytes(self) -> bytes:
        return json.dumps({"version": PLAN_VERSION, **asdict(self)}, ensure_ascii=False).encode(
            "utf-8", "backslashreplace"
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Plan:
        """Raises PlanVersionError for the plan of another fvcli, other ValueErrors for what is not a plan."""
        values = layout.decode(data)
        version = values.pop("version", None) if isinstance(values, dict) else None
        if type(version) is int and version != PLAN_VERSION:
            raise PlanVersionError(f"plan version {version}, this one has {PLAN_VERSION}")
        layout.check("plan", values)
        values["roots"] = tuple(values["roots"])
        values["kept"] = Counts.from_json(values["kept"])
        values["replaced"] = tuple(values["replaced"])
        values["shards"] = tuple(PlannedShard(**shard) for shard in values["shards"])
        return cls(**values)


def load_plan(store: Store) -> Plan | None:
    """The plan of an unfinished run, None where there is none.

    Raises PlanVersionError for the plan of another fvcli, DamagedPlanError for what is none.
    """
    data = store.read(PLAN)
    if data is None:
        return None
    place = store.describe(PLAN)
    if not store.exists(PLAN_ENTRIES):
        raise DamagedPlanError(place, f"{store.describe(PLAN_ENTRIES)} is gone")
    try:
        return Plan.from_bytes(data)
    except PlanVersionError as error:
        raise PlanVersionError(
            f"{store.place} holds an unfinished run of another version of fvcli ({error}); finish it with that one, or "
            "start over with --overwrite"
        ) from None
    except ValueError as error:
        raise DamagedPlanError(place, str(error)) from None


def forget_plan(store: Store) -> None:
    """Removes the plan, its commit records and the notes of its tasks."""
    for key in (PLAN, PLAN_ENTRIES, PLAN_FAILURES):
        store.remove(key)
    for name in store.names(COMMITS):
        store.remove(f"{COMMITS}/{name}")
    for name in store.names(TASKS):
        if not name.endswith(TASK_LOCK):
            store.remove(f"{TASKS}/{name}")


class EntriesWriter:
    """Writes ``plan.arrow`` batch by batch; it exists under its name only when whole."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._temporary = store.draft(PLAN_ENTRIES)
        with translated("write", self._temporary):
            self._file = open(self._temporary, "wb")
        self._writer = pa.ipc.new_file(self._file, _SCHEMA)

    def append(self, entries: Sequence[Entry]) -> None:
        refs = [entry.ref for entry in entries]
        columns = [
            pa.array([ref.root for ref in refs], pa.string()),
            pa.array([ref.path for ref in refs], pa.string()),
            pa.array([ref.path_bytes for ref in refs], pa.binary()),
            pa.array([ref.size_bytes for ref in refs], pa.int64()),
            pa.array([ref.mtime_ns for ref in refs], pa.int64()),
            pa.array([ref.offset for ref in refs], pa.int64()),
            pa.array([entry.base_row for entry in entries], pa.int32()),
            pa.array([entry.state for entry in entries], pa.uint8()),
        ]
        with translated("write", self._temporary):
            self._writer.write_batch(pa.record_batch(columns, schema=_SCHEMA))

    def close(self) -> None:
        with translated("write", self._temporary):
            self._writer.close()
            flush(self._file)
            self._file.close()
        self._store.adopt(self._temporary, PLAN_ENTRIES)

    def abandon(self) -> None:
        for tidy in (self._file.close, lambda: self._temporary.unlink(missing_ok=True)):
            with suppress(OSError):  # a full disk refuses the last bytes of what is thrown away
                tidy()


class ShardEntries:
    """A shard's inputs, in row order. As objects there are only some at a time: a large shard must not cost memory."""

    def __init__(self, batch: pa.RecordBatch, base_folder: str) -> None:
        self._batch = batch
        self._base_folder = base_folder

    def __len__(self) -> int:
        return int(self._batch.num_rows)

    def __getitem__(self, position: int) -> Entry:
        return next(_entries(self._batch.slice(position, 1), self._base_folder))

    def __iter__(self) -> Iterator[Entry]:
        for start in range(0, len(self), _AT_ONCE):
            yield from _entries(self._batch.slice(start, _AT_ONCE), self._base_folder)


def read_entries(store: Store, plan: Plan, shard: PlannedShard) -> ShardEntries:
    """The inputs of one of the plan's shards. Raises DatasetError when the plan cannot be read."""
    place = store.describe(PLAN_ENTRIES)
    try:
        batch = store.using(PLAN_ENTRIES, lambda file: pa.ipc.open_file(file).get_batch(shard.index))
        return ShardEntries(batch, usable_folder(plan.base_folder))
    except pa.ArrowException as error:
        raise DatasetError(f"{place} is damaged; remove {store.describe(STATE)} and repeat the command") from error


def _entries(batch: pa.RecordBatch, base_folder: str) -> Iterator[Entry]:
    values = batch.to_pydict()
    for *ref, base_row, state in zip(*(values[name] for name in _SCHEMA.names), strict=True):
        yield Entry(ImageRef(*ref, base_folder=base_folder), base_row, RowState(state))


def count_extract(entries: Iterable[Entry]) -> int:
    return sum(entry.base_row == EXTRACT for entry in entries)
