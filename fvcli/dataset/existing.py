"""The rows and failures that a dataset already has.

Rows come in order for planning, by content for carrying vectors over, and counted per root.

The counts tell whether what a search has found of them is plausible.
"""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fvcli.dataset import columns, layout, shard_file
from fvcli.dataset.columns import Rows
from fvcli.dataset.layout import FAILURES, STATE
from fvcli.dataset.manifest import Key, Manifest, Shard
from fvcli.dataset.store import Store
from fvcli.errors import DamagedError, DatasetError, SourceError
from fvcli.records import Failure, Float32Array, ImageInfo, ImageRef, Limit

_LOADED = 2  # shards whose rows are held at once; content tends to move in runs

_PLAN_COLUMNS = ("root", "path", "path_bytes", "size_bytes", "mtime_ns")


@dataclass(frozen=True, slots=True)
class BaseRow:
    """A row's key and what its file looked like, and where it stands."""

    ref: ImageRef
    shard: int
    row: int


def rows(store: Store, shards: Sequence[Shard]) -> Iterator[BaseRow]:
    """All rows in order, one shard in memory at a time. Raises DatasetError when a shard cannot be read."""
    for position, shard in enumerate(shards):
        table = shard_file.read_metadata(store, shard, _PLAN_COLUMNS)
        values = (table.column(name).to_pylist() for name in _PLAN_COLUMNS)
        for row, fields in enumerate(zip(*values, strict=True)):
            yield BaseRow(ImageRef(*fields), position, row)


def load_rows(store: Store, shard: Shard) -> Rows:
    """A whole shard, vectors widened to float32."""
    metadata = shard_file.read_metadata(store, shard)
    vectors = shard_file.read_vectors(store, shard)
    return columns.rows_of(metadata, vectors.astype(np.float32, copy=False))


class ExistingVectors:
    """Vectors of committed rows, by place or by the content they were made from. Serves several threads.

    What is carried into a new shard gets a new checksum there, so each shard is held against its own first.
    """

    def __init__(self, store: Store, manifest: Manifest) -> None:
        self._store = store
        self._shards = manifest.shards
        self._by_number = {shard.number: shard for shard in manifest.shards}
        self._loaded: OrderedDict[int, Rows] = OrderedDict()
        self._unchanged: set[int] = set()
        self._lock = threading.Lock()
        self._prefixes: NDArray[np.uint64] | None = None
        self._places: NDArray[np.int64] | None = None

    def rows(self, number: int) -> Rows:
        """The rows of the shard with this number. Raises DamagedError where its bytes have changed."""
        with self._lock:
            return self._rows(self._by_number[number])

    def find(self, sha256: str) -> tuple[ImageInfo, Float32Array] | None:
        """The info and vector (float32 [d]) of a row made from content with this hash, None where there is none.

        Raises DamagedError where the bytes of the row's shard have changed.
        """
        with self._lock:
            if self._prefixes is None or self._places is None:
                self._prefixes, self._places = self._index()
            wanted = np.uint64(int(sha256[:16], 16))
            position = int(np.searchsorted(self._prefixes, wanted))
            while position < len(self._prefixes) and self._prefixes[position] == wanted:
                shard, row = divmod(int(self._places[position]), 1 << 32)
                found = self._rows(self._shards[shard])
                if found.infos[row].sha256 == sha256:
                    return found.infos[row], found.vectors[row]
                position += 1
            return None

    def _rows(self, shard: Shard) -> Rows:
        if shard.number not in self._loaded:
            while len(self._loaded) >= _LOADED:
                self._loaded.popitem(last=False)
            self._require_unchanged(shard)
            self._loaded[shard.number] = load_rows(self._store, shard)
        self._loaded.move_to_end(shard.number)
        return self._loaded[shard.number]

    def _require_unchanged(self, shard: Shard) -> None:
        if shard.number in self._unchanged:
            return
        for file in shard.files:
            if self._store.sha256(file.file) != file.sha256:
                raise DamagedError(
                    f"{self._store.describe(file.file)} is damaged: its bytes are not those that were written; "
                    f"run fvcli repair {self._store.place}, then repeat the command to redo its {shard.rows:,} rows"
                )
        self._unchanged.add(shard.number)

    def _index(self) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
        """The first 64 bits of every row's hash, sorted, and its shard << 32 | row: 16 bytes per row."""
        prefixes, places = [np.empty(0, np.uint64)], [np.empty(0, np.int64)]
        for position, shard in enumerate(self._shards):
            table = shard_file.read_metadata(self._store, shard, ["sha256"])
            prefixes.append(_hash_prefixes(table.column(0)))
            places.append((position << 32) + np.arange(shard.rows, dtype=np.int64))
        merged = np.concatenate(prefixes)
        order = np.argsort(merged, kind="stable")
        return merged[order], np.concatenate(places)[order]


def _hash_prefixes(hashes: pa.ChunkedArray) -> NDArray[np.uint64]:
    """The first 16 hexadecimal digits of each string as a number."""
    digits = np.array(hashes.to_pylist(), dtype="S64").view(np.uint8).reshape(-1, 64)[:, :16]
    nibbles = np.where(digits >= ord("a"), digits - (ord("a") - 10), digits - ord("0")).astype(np.uint64)
    shifts = np.arange(60, -1, -4, dtype=np.uint64)
    prefixes: NDArray[np.uint64] = np.bitwise_or.reduce(nibbles << shifts, axis=1)
    return prefixes


@dataclass(slots=True)
class Tally:
    """Counts of one root. inputs: found now; rows: there were; gone: of these, looked for and not found.

    renamed: of these, found under another root.
    """

    inputs: int = 0
    rows: int = 0
    gone: int = 0
    renamed: int = 0

    def staying(self, pruned: bool) -> int:
        """The rows that stay."""
        return self.rows - self.renamed - (self.gone if pruned else 0)


class Tallies(dict[str, Tally]):
    """A tally per root; "" stands for files named one by one."""

    def __missing__(self, root: str) -> Tally:
        self[root] = Tally()
        return self[root]

    @property
    def inputs(self) -> dict[str, int]:
        """The number of inputs per root that has any."""
        return {root: tally.inputs for root, tally in sorted(self.items()) if tally.inputs}

    def roots(self, pruned: bool) -> tuple[str, ...]:
        """The roots that the dataset will have: those with inputs or with rows that stay."""
        return tuple(sorted(root for root, tally in self.items() if tally.inputs or tally.staying(pruned)))

    def require_inputs(self, named: Iterable[str], pruned: bool) -> None:
        """Raises SourceError for a named root without any image: a disk that is not mounted looks like that."""
        for root in named:
            tally = self[root]
            if tally.inputs:
                continue
            name = root or "the files named"
            if not tally.rows:
                raise SourceError(f"no images found in {name}; check the path and --include/--exclude")
            if not (pruned and tally.gone == tally.rows):
                raise SourceError(
                    f"no images found in {name}, and the dataset has {_rows(tally.rows)} from there; nothing was "
                    "changed. Check that its disk is mounted, the path and --include/--exclude; if the files are "
                    "gone for good, add --prune --prune-limit 100%"
                )

    def require_few_gone(self, limit: Limit) -> None:
        """Raises SourceError for a root that would lose more of its rows than the limit allows."""
        for root, tally in sorted(self.items()):
            if tally.gone and limit.exceeded(tally.gone, tally.rows):
                name = root or "the files named"
                raise SourceError(
                    f"--prune would drop {tally.gone:,} of the {_rows(tally.rows)} from {name}, more than {limit}; "
                    "nothing was changed. Check that its disk is mounted; if the files are gone for good, add "
                    "--prune-limit 100%"
                )


def _rows(number: int) -> str:
    return f"{number:,} row" if number == 1 else f"{number:,} rows"


@dataclass(frozen=True, slots=True)
class FailureLine:
    """A line of ``failures/*.jsonl``: an input that gave no vector, and why.

    ``size_bytes`` and ``mtime_ns`` tell a later run whether the file has changed.

    circumstances: what else decided (limits, decoding libraries), as a short hash; empty where nothing else did.
    """

    ref: ImageRef
    failure: Failure
    circumstances: str = ""

    @property
    def key(self) -> Key:
        return (self.ref.root, self.ref.path)

    def to_json(self) -> str:
        values: dict[str, object] = {
            "root": self.ref.root,
            "path": self.ref.path,
            "stage": self.failure.stage,
            "error": self.failure.error,
            "message": self.failure.message,
            "size_bytes": self.ref.size_bytes,
            "mtime_ns": self.ref.mtime_ns,
        }
        if self.ref.path_bytes is not None:
            values["path_bytes"] = self.ref.path_bytes.hex()
        if self.circumstances:
            values["circumstances"] = self.circumstances
        return json.dumps(values, ensure_ascii=False)

    @classmethod
    def from_json(cls, line: str) -> FailureLine:
        """Raises ValueError for a line that is something else."""
        values = layout.parse("failure", line)
        path_bytes = bytes.fromhex(values["path_bytes"]) if "path_bytes" in values else None
        ref = ImageRef(values["root"], values["path"], path_bytes, int(values["size_bytes"]), int(values["mtime_ns"]))
        failure = Failure(values["stage"], values["error"], values["message"])
        return cls(ref, failure, values.get("circumstances", ""))


def failures_to_bytes(lines: Iterable[FailureLine]) -> bytes:
    return "".join(line.to_json() + "\n" for line in lines).encode("utf-8", "backslashreplace")


def read_failures(store: Store, key: str) -> Iterator[FailureLine]:
    """The lines of one list of failures, none where it is missing. Raises DatasetError where a line is damaged."""
    data = store.read(key) or b""
    for number, line in enumerate(data.decode("utf-8", "replace").split("\n"), start=1):
        if not line:
            continue
        try:
            yield FailureLine.from_json(line)
        except ValueError as error:
            advice = "run fvcli repair"
            if not key.startswith(FAILURES):
                advice = f"remove {store.describe(STATE)} while no run is in progress, and repeat the command"
            raise DatasetError(f"{store.describe(key)}, line {number}, is damaged ({error}); {advice}") from error


@dataclass(frozen=True, slots=True)
class FailureList:
    """The lines of one list, read each time that they are iterated over."""

    store: Store
    key: str

    def __iter__(self) -> Iterator[FailureLine]:
        return read_failures(self.store, self.key)


def failures(store: Store, manifest: Manifest) -> Iterator[FailureLine]:
    """All failures of a dataset, sorted by (root, path). Raises DamagedError where a list's bytes have changed."""
    for file in manifest.failures:
        if store.size(file.file) is None or store.sha256(file.file) != file.sha256:
            raise DamagedError(f"{store.describe(file.file)} is missing or damaged; run fvcli repair {store.place}")
        yield from read_failures(store, file.file)
