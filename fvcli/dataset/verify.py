"""Holds a dataset's files against its manifest, and drops what does not stand the test."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from fvcli.dataset import columns, existing, layout, lock, manifest, shard_file
from fvcli.dataset.manifest import Counts, DataFile, Key, Manifest, Shard
from fvcli.dataset.reader import why_no_manifest
from fvcli.dataset.standing import take_up
from fvcli.dataset.store import Store
from fvcli.errors import DatasetError
from fvcli.files import is_ours
from fvcli.records import Float32Array, display_name

_ROWS_TOLD = 5
_AGAIN_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Damage:
    """The damage of one file. ``shard`` is its shard's number, None for files that hold no rows."""

    file: str
    problem: str
    shard: int | None = None

    @property
    def foreign(self) -> bool:
        """Whether the file is not of fvcli's making, and so not fvcli's to remove."""
        return self.file != layout.MANIFEST and not is_ours(self.file.rsplit("/", 1)[1])

    def to_json(self) -> dict[str, object]:
        return {"file": self.file, "problem": self.problem, "shard": self.shard}


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome of a check."""

    shards: int
    rows: int
    damages: tuple[Damage, ...]


def load_manifest(store: Store) -> Manifest:
    """The manifest of a finished dataset. Raises DatasetError where there is none."""
    found = manifest.load(store)
    if found is None:
        raise DatasetError(why_no_manifest(store))
    return found


def verify(store: Store) -> Verdict:
    """Checks every file, row and count. Raises DatasetError where there is no manifest to check against.

    A run that ends meanwhile replaces files that were about to be checked. This does not count as damage: everything is
    checked again.
    """
    while True:
        found = load_manifest(store)
        try:
            damages = tuple(_damages(store, found))
        except DatasetError:
            if _settled(store, found):
                raise
        else:
            if not damages or _settled(store, found):
                return Verdict(len(found.shards), found.counts.rows, damages)
        time.sleep(_AGAIN_SECONDS)


def _settled(store: Store, found: Manifest) -> bool:
    """Whether no run has replaced the manifest, or is about to."""
    ending = store.exists(layout.PENDING_MANIFEST) and lock.is_held(store)
    return not ending and manifest.load(store) == found


def repair(store: Store) -> tuple[Damage, ...]:
    """Drops damaged shards and failure lists, so that the next run redoes just those. Returns what was dropped.

    Files that fvcli did not write are left alone. Raises DatasetError, and LockedError during a run.
    """
    load_manifest(store)  # no lock, and no folder for one, where there is no dataset
    with lock.hold(store):
        take_up(store)
        found = load_manifest(store)
        damages = tuple(_damages(store, found))
        bad_shards = {damage.shard for damage in damages if damage.shard is not None}
        bad_files = {damage.file for damage in damages}
        kept = tuple(shard for shard in found.shards if shard.number not in bad_shards)
        lists = tuple(file for file in found.failures if file.file not in bad_files)
        if damages:
            mended = replace(found, shards=kept, failures=lists, counts=_counts(store, kept, lists))
            store.replace(layout.MANIFEST, mended.to_bytes())
            take_up(store)
        return tuple(damage for damage in damages if not damage.foreign)


def _counts(store: Store, shards: tuple[Shard, ...], lists: tuple[DataFile, ...]) -> Counts:
    rows = sum(shard.rows for shard in shards)
    failed = sum(1 for file in lists for _ in existing.read_failures(store, file.file))
    return Counts(discovered=rows + failed, reused=rows, failed=failed)


def _damages(store: Store, found: Manifest) -> Iterator[Damage]:
    before: Shard | None = None
    for shard in found.shards:
        problem = next(_shard_problems(store, found, shard), None)
        if problem is not None:
            yield Damage(shard.files[0].file, f"{problem} ({_rows_of(shard)})", shard.number)
        elif before is not None and before.last >= shard.first:
            yield Damage(shard.files[0].file, f"its rows overlap those of shard {before.number}", shard.number)
        before = shard
    failed = 0
    for file in found.failures:
        problem = _file_problem(store, file)
        if problem is None:
            failed += sum(1 for _ in existing.read_failures(store, file.file))
        else:
            yield Damage(file.file, problem)
            failed = found.counts.failed
    yield from _count_damages(found, failed)
    for stray in _strays(store, found):
        yield Damage(stray, "it is not in the manifest; a tool that reads every file would also read its rows")


def _rows_of(shard: Shard) -> str:
    return f"its rows: {shard.rows}, from {display_name(*shard.first)} to {display_name(*shard.last)}"


def _count_damages(found: Manifest, failed: int) -> Iterator[Damage]:
    counts = found.counts
    rows = sum(shard.rows for shard in found.shards)
    if rows != counts.rows:
        yield Damage(layout.MANIFEST, f"it counts {counts.rows} rows, its shards hold {rows}")
    if failed != counts.failed:
        yield Damage(layout.MANIFEST, f"it counts {counts.failed} failures, failures/ names {failed}")
    if counts.discovered != counts.extracted + counts.reused + counts.failed:
        yield Damage(layout.MANIFEST, "its counts do not add up: discovered is not extracted + reused + failed")


def _file_problem(store: Store, file: DataFile) -> str | None:
    size = store.size(file.file)
    if size is None:
        return "it is missing"
    if size != file.bytes:
        return f"it has {size} bytes instead of {file.bytes}"
    if store.sha256(file.file) != file.sha256:
        return "its SHA-256 is not the manifest's: bytes were changed"
    return None


def _shard_problems(store: Store, found: Manifest, shard: Shard) -> Iterator[str]:
    for file in shard.files:
        problem = _file_problem(store, file)
        if problem is not None:
            yield problem if file is shard.files[0] else f"{file.file}: {problem}"
            return
    try:
        metadata = shard_file.read_metadata(store, shard)
        vectors = shard_file.read_vectors(store, shard)
    except DatasetError as error:
        yield str(error.__cause__ or error)
        return
    if vectors.shape[1] != found.dimension or vectors.dtype != found.dtype:
        yield f"its vectors are {vectors.dtype} [{vectors.shape[1]}] instead of {found.dtype} [{found.dimension}]"
    else:
        yield from _row_problems(metadata, vectors, shard)


def _row_problems(metadata: pa.Table, vectors: Float32Array, shard: Shard) -> Iterator[str]:
    keys: list[Key] = list(zip(*(metadata.column(name).to_pylist() for name in columns.KEY_COLUMNS), strict=True))
    unsorted = [keys[row] for row in range(1, len(keys)) if keys[row - 1] >= keys[row]]
    if unsorted:
        yield f"rows out of order or twice: {_named(unsorted)}"
    if (keys[0], keys[-1]) != (shard.first, shard.last):
        yield "its first and last rows are not the manifest's"
    infinite = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(infinite):
        yield f"vectors that are not finite: {_named([keys[row] for row in infinite])}"


def _named(keys: list[Key]) -> str:
    told = ", ".join(display_name(*key) for key in keys[:_ROWS_TOLD])
    more = len(keys) - _ROWS_TOLD
    return f"{told} and {more} more" if more > 0 else told


def _strays(store: Store, found: Manifest) -> Iterator[str]:
    """Files that readers of the whole folder would take for the dataset's."""
    if store.exists(layout.PENDING_MANIFEST):  # a run is ending: its files are beside those that they replace
        return
    known = {file.file for file in found.files}
    suffixes = {folder: suffix for kinds in layout.KINDS.values() for folder, _, suffix in kinds}
    for folder, suffix in (*suffixes.items(), (layout.FAILURES, ".jsonl")):
        for name in store.names(folder):
            if name.endswith(suffix) and f"{folder}/{name}" not in known:
                yield f"{folder}/{name}"
