"""A finished dataset, opened for reading: its columns, its vectors, its failures.

The files stay open as long as the dataset is, so that a run may replace them meanwhile. Where that is impossible (in an
object store, or with more files than a process may open), a file that a run has removed is an error that says so.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fvcli.dataset import columns, existing, layout, manifest, shard_file
from fvcli.dataset.columns import ROW_GROUP
from fvcli.dataset.existing import FailureLine
from fvcli.dataset.manifest import Key, Manifest, Shard
from fvcli.dataset.shard_file import reading
from fvcli.dataset.store import HeldStore, LocalStore, Store, can_hold, open_store
from fvcli.dataset.vector_files import Piece, VectorFiles, spread
from fvcli.errors import DamagedError, DatasetError, UsageError
from fvcli.locations import STORES, Location, is_remote
from fvcli.records import Float32Array

R = TypeVar("R")


def open_dataset(path: str | os.PathLike[str]) -> Dataset:
    """Opens the dataset in a folder that ``fvcli extract`` wrote.

    Nothing in the folder is changed: where a crash interrupted a run's last step, the dataset is what its manifest
    says until the next run. Raises DatasetError where there is none.
    """
    store = open_store(path)
    while True:
        found = manifest.load(store)
        if found is None:
            raise DatasetError(why_no_manifest(store))
        files = [file.file for file in found.files]
        if not isinstance(store, LocalStore) or not can_hold(len(files)):
            return Dataset(store, found)
        try:
            return Dataset(HeldStore(store.folder, files), found)
        except FileNotFoundError:
            if manifest.load(store) == found:  # no run is to blame: a missing file is an error when it is read
                return Dataset(store, found)


def open_local_dataset(path: str | os.PathLike[str]) -> Dataset:
    """Opens a dataset as :func:`open_dataset` does, for reading vectors again and again.

    Raises UsageError for a dataset in an object store, before anything is read.
    """
    name = os.fspath(path)
    if is_remote(name) and (location := Location.parse(name)).scheme in STORES:
        copy = location.copy_command("features")
        raise UsageError(f"{name} is in an object store, and this command needs a local copy: {copy}")
    return open_dataset(path)


def why_no_manifest(store: Store) -> str:
    """The reason why a place has no manifest, and what to do."""
    if store.exists(layout.PLAN) or store.exists(layout.PENDING_MANIFEST):
        return (
            f"{store.place} holds an unfinished run and no manifest yet; run the same fvcli extract command to resume"
        )
    if not store.exists(""):
        return f"there is no folder {store.place}; fvcli extract makes one"
    return f"{store.place} is not a dataset: it has no {layout.MANIFEST}"


class Dataset:
    """Rows in the order of (root, path). Every method raises DatasetError when a file cannot be read.

    A row's number is its place in that order, from 0.
    """

    def __init__(self, store: Store, description: Manifest) -> None:
        self._store = store
        self._manifest = description
        self._files = VectorFiles(store, description)

    @property
    def folder(self) -> Path:
        return Path(self._store.place)

    @property
    def manifest(self) -> Manifest:
        """The manifest of the dataset."""
        return self._manifest

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return self._manifest.dimension

    @property
    def schema(self) -> pa.Schema:
        """All columns in order; ``embedding`` is fixed_size_list<float or halffloat>[dimension]."""
        return columns.schema(self._manifest.dimension, self._manifest.dtype, self._manifest.recipe.labels > 0)

    def __len__(self) -> int:
        return sum(shard.rows for shard in self._manifest.shards)

    def __repr__(self) -> str:
        return f"Dataset({str(self.folder)!r}: {len(self):,} rows of {self.dimension})"

    def batches(self, names: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """All rows, 500 at a time; ``names`` chooses columns (default: all), in the order of the schema.

        The npy layout's vectors come joined to their metadata.
        """
        schema = self._chosen(names)
        for shard in self._manifest.shards:
            if self._manifest.format == "npy":
                yield from self._joined(shard, schema)
            else:
                key = shard.files[0].file
                with reading(self._store, key), open(self._store.path(key), "rb") as file:
                    yield from _cast(pq.ParquetFile(file).iter_batches(ROW_GROUP, columns=schema.names), schema)

    def metadata(self, names: Sequence[str] | None = None) -> pa.Table:
        """All rows of the named columns (default: all but ``embedding``) as one table in memory."""
        everything = [name for name in self.schema.names if name != columns.VECTOR]
        schema = self._chosen(everything if names is None else names)
        if columns.VECTOR in schema.names:
            raise DatasetError("metadata() gives every column but the vectors; vectors() gives those")
        tables = [shard_file.read_metadata(self._store, shard, schema.names) for shard in self._manifest.shards]
        return pa.concat_tables([schema.empty_table(), *(table.cast(schema) for table in tables)])

    def vectors(self) -> NDArray[Any]:
        """All vectors, [n, dimension], float32 or float16 as stored; row i belongs to row i of ``metadata()``.

        A single .npy shard is memory-mapped, read-only; anything else is read into one allocation.
        """
        shards = self._manifest.shards
        if self._manifest.format == "npy" and len(shards) == 1:
            with reading(self._store, key := shards[0].files[0].file):
                return np.load(self._store.path(key), mmap_mode="r", allow_pickle=False)  # type: ignore[no-any-return]
        pieces = list(self._files.pieces())  # which holds the files against the manifest before memory is taken
        result = np.empty((len(self), self.dimension), self._manifest.dtype)

        def fill(piece: Piece) -> None:
            result[piece.start : piece.start + piece.rows] = self._files.load(piece)

        for _ in spread(fill, iter(pieces)):
            pass
        return result

    def vector_blocks(self, rows: int = ROW_GROUP) -> Iterator[tuple[int, Float32Array]]:
        """(number of its first row, float32 [at most ``rows``, dimension]) for block after block, in bounded memory.

        A block may be a read-only view of the file.
        """
        for piece in self._files.pieces():
            block = self._files.load(piece).astype(np.float32, copy=False)
            for start in range(0, len(block), rows):
                yield piece.start + start, block[start : start + rows]

    def scan(self, function: Callable[[int, Float32Array], R], threads: int | None = None) -> Iterator[R]:
        """``function(first row, block)`` for block after block on ``threads`` threads (default: all CPUs), in order.

        A block is float32 [at most 4,000, dimension].
        In memory are one block a thread and the results, so these should be small.
        """
        return spread(
            lambda piece: function(piece.start, self._files.load(piece).astype(np.float32, copy=False)),
            self._files.pieces(),
            threads,
        )

    def take(self, rows: NDArray[np.int64]) -> Float32Array:
        """The vectors of some rows, float32 [len(rows), dimension], in the order given."""
        if not len(rows):
            return np.empty((0, self.dimension), np.float32)
        order = np.argsort(rows, kind="stable")
        wanted = rows[order]
        if not 0 <= wanted[0] <= wanted[-1] < len(self):
            raise IndexError(f"rows are numbered from 0 to {len(self) - 1}")
        result = np.empty((len(rows), self.dimension), np.float32)

        def fill(piece: Piece) -> None:
            low, high = np.searchsorted(wanted, (piece.start, piece.start + piece.rows))
            result[order[low:high]] = self._files.load(piece)[wanted[low:high] - piece.start]

        touched = (
            piece
            for piece in self._files.pieces(int(wanted[0]), int(wanted[-1]) + 1)
            if np.searchsorted(wanted, piece.start) < np.searchsorted(wanted, piece.start + piece.rows)
        )
        for _ in spread(fill, touched):
            pass
        return result

    def rows(self, rows: NDArray[np.int64], names: Sequence[str]) -> pa.Table:
        """The named columns of some rows, in the order given; ``embedding`` is none of them."""
        schema = self._chosen(names)
        order = np.argsort(rows, kind="stable")
        wanted, tables, start = rows[order], [schema.empty_table()], 0
        for shard in self._manifest.shards:
            low, high = np.searchsorted(wanted, (start, start + shard.rows))
            if low < high:
                table = shard_file.read_metadata(self._store, shard, schema.names)
                tables.append(table.take(wanted[low:high] - start).cast(schema))
            start += shard.rows
        back = np.empty(len(rows), np.int64)
        back[order] = np.arange(len(rows))
        return pa.concat_tables(tables).take(back)

    def keys(self, rows: NDArray[np.int64]) -> list[Key]:
        """(root, path) of some rows, in the order given."""
        table = self.rows(rows, columns.KEY_COLUMNS)
        return list(zip(*(column.to_pylist() for column in table.columns), strict=True))

    @property
    def unfinished(self) -> bool:
        """Whether a run over it is in progress or was interrupted."""
        return self._store.exists(layout.PLAN)

    def find(self, name: str) -> list[int]:
        """Numbers of the rows with this path, or with this path after their root and "/"; none where there is none."""
        roots = {"", *self._manifest.roots}
        keys = {(root, name) for root in roots}
        for root in roots - {""}:
            prefix = root.rstrip("/") + "/"
            if name.startswith(prefix):
                keys.add((root, name[len(prefix) :]))
        found: list[int] = []
        start = 0
        for shard in self._manifest.shards:
            near = [key for key in keys if shard.first <= key <= shard.last]
            if near:
                found += [start + row for row in self._rows_with(shard, near)]
            start += shard.rows
        return sorted(found)

    def require_sizes(self) -> None:
        """Raises DamagedError where a file has not the size in the manifest, so that no other number there is true."""
        for file in self._manifest.files:
            size = self._store.size(file.file)
            if size != file.bytes:
                told = "is gone" if size is None else f"has {size:,} bytes instead of {file.bytes:,}"
                raise DamagedError(f"{self._store.describe(file.file)} {told}; fvcli verify shows what is affected")

    def failures(self) -> Iterator[FailureLine]:
        """The inputs without a vector, in the order of (root, path)."""
        return existing.failures(self._store, self._manifest)

    def _rows_with(self, shard: Shard, keys: Sequence[Key]) -> Iterator[int]:
        table = shard_file.read_metadata(self._store, shard, columns.KEY_COLUMNS)
        wanted = set(keys)
        for row, key in enumerate(zip(*(column.to_pylist() for column in table.columns), strict=True)):
            if key in wanted:
                yield row

    def _chosen(self, names: Sequence[str] | None) -> pa.Schema:
        schema = self.schema
        unknown = [] if names is None else [name for name in names if name not in schema.names]
        if unknown:
            raise DatasetError(f"no column {unknown[0]!r}; there are {', '.join(schema.names)}")
        return schema if names is None else pa.schema([field for field in schema if field.name in names])

    def _joined(self, shard: Shard, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        key = shard.files[-1].file
        others = [name for name in schema.names if name != columns.VECTOR]
        offset = 0
        with reading(self._store, key), open(self._store.path(key), "rb") as file:
            for batch in pq.ParquetFile(file).iter_batches(ROW_GROUP, columns=others or [columns.KEY_COLUMNS[0]]):
                arrays = {name: batch.column(name) for name in others}
                if columns.VECTOR in schema.names:
                    values = self._files.mapped(shard, offset, batch.num_rows).reshape(-1)
                    arrays[columns.VECTOR] = pa.FixedSizeListArray.from_arrays(
                        pa.array(values), type=schema.field(columns.VECTOR).type
                    )
                offset += batch.num_rows
                yield pa.RecordBatch.from_arrays([arrays[name] for name in schema.names], schema=schema)


def _cast(batches: Iterator[pa.RecordBatch], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """The arrays under the dataset's schema, without what the file adds to it."""
    for batch in batches:
        yield pa.RecordBatch.from_arrays([batch.column(name) for name in schema.names], schema=schema)
