"""A finished dataset, opened for reading: its columns, its vectors, its failures.

Nothing is held open between calls, so a dataset of a thousand shards needs no thousand files. A run that changes the
dataset meanwhile removes files that the opened manifest names; what then cannot be found says so.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fvcli.dataset import columns, failures, layout, manifest, shard_file
from fvcli.dataset.disk import translated
from fvcli.dataset.failures import FailureLine
from fvcli.dataset.manifest import Key, Manifest, Shard
from fvcli.dataset.shard_file import ROW_GROUP
from fvcli.dataset.store import Store, open_store
from fvcli.errors import DatasetError
from fvcli.records import Float32Array

R = TypeVar("R")

_MAPPED_ROWS = 4_000  # of a .npy file at once: each piece costs a system call or two


def open_dataset(path: str | os.PathLike[str]) -> Dataset:
    """Opens the dataset in a folder that ``fvcli extract`` wrote.

    Nothing in the folder is changed: where a crash interrupted a run's last step, the dataset is what its manifest
    says until the next run. Raises DatasetError where there is none.
    """
    store = open_store(path)
    found = manifest.load(store)
    if found is None:
        raise DatasetError(_why_none(store))
    return Dataset(store, found)


def _why_none(store: Store) -> str:
    if store.exists(layout.PLAN) or store.exists(layout.PENDING_MANIFEST):
        return (
            f"{store.place} holds an unfinished run and no manifest yet; "
            "repeat its fvcli extract command, it goes on where it stopped"
        )
    if not store.exists(""):
        return f"there is no folder {store.place}; fvcli extract makes one"
    return f"{store.place} is not a dataset: it has no {layout.MANIFEST}"


@dataclass(frozen=True, slots=True)
class _Piece:
    """Consecutive rows of one shard. start: the first one's number in the dataset; offset: its place in the shard.

    group: the row group they are in Parquet.
    """

    shard: Shard
    start: int
    offset: int
    rows: int
    group: int


class Dataset:
    """Rows in the order of (root, path). Every method raises DatasetError when a file cannot be read.

    A row's number is its place in that order, from 0.
    """

    def __init__(self, store: Store, description: Manifest) -> None:
        self._store = store
        self._manifest = description
        self._npy_headers: dict[int, int] = {}

    @property
    def folder(self) -> Path:
        return Path(self._store.place)

    @property
    def manifest(self) -> Manifest:
        """What the dataset says of itself."""
        return self._manifest

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return self._manifest.dimension

    @property
    def schema(self) -> pa.Schema:
        """All columns in order; ``embedding`` is fixed_size_list<float or halffloat>[dimension]."""
        return columns.schema(self._manifest.dimension, self._manifest.dtype)

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
                path = self._vector_path(shard)
                with _reading(path), open(path, "rb") as file:
                    yield from _cast(pq.ParquetFile(file).iter_batches(ROW_GROUP, columns=schema.names), schema)

    def metadata(self, names: Sequence[str] | None = None) -> pa.Table:
        """All rows of the named columns (default: all but ``embedding``) as one table in memory."""
        everything = [name for name in self.schema.names if name != columns.VECTOR]
        schema = self._chosen(everything if names is None else names)
        if columns.VECTOR in schema.names:
            raise DatasetError("metadata() gives every column but the vectors; vectors() gives those")
        tables = [
            shard_file.read_metadata(self._store, shard.files[-1].file, schema.names) for shard in self._manifest.shards
        ]
        return pa.concat_tables([schema.empty_table(), *(table.cast(schema) for table in tables)])

    def vectors(self) -> NDArray[Any]:
        """All vectors, [n, dimension], float32 or float16 as stored; row i belongs to row i of ``metadata()``.

        A single .npy shard is memory-mapped, read-only; anything else is read into one allocation.
        """
        shards = self._manifest.shards
        if self._manifest.format == "npy" and len(shards) == 1:
            path = self._vector_path(shards[0])
            with _reading(path):
                return np.load(path, mmap_mode="r", allow_pickle=False)  # type: ignore[no-any-return]
        result = np.empty((len(self), self.dimension), self._manifest.dtype)

        def fill(piece: _Piece) -> None:
            result[piece.start : piece.start + piece.rows] = self._load(piece)

        for _ in _spread(fill, self._pieces(), None):
            pass
        return result

    def vector_blocks(self, rows: int = ROW_GROUP) -> Iterator[tuple[int, Float32Array]]:
        """(number of its first row, float32 [at most ``rows``, dimension]) for block after block, in bounded memory.

        A block may be a read-only view of the file.
        """
        for piece in self._pieces():
            block = self._load(piece).astype(np.float32, copy=False)
            for start in range(0, len(block), rows):
                yield piece.start + start, block[start : start + rows]

    def scan(self, function: Callable[[int, Float32Array], R], threads: int | None = None) -> Iterator[R]:
        """``function(first row, block)`` for block after block on ``threads`` threads (default: all CPUs), in order.

        A block is float32 [at most 4,000, dimension].
        In memory are one block a thread and the results, so these should be small.
        """
        return _spread(
            lambda piece: function(piece.start, self._load(piece).astype(np.float32, copy=False)),
            self._pieces(),
            threads,
        )

    def take(self, rows: NDArray[np.int64]) -> Float32Array:
        """The vectors of some rows, float32 [len(rows), dimension], in the order given."""
        order = np.argsort(rows, kind="stable")
        wanted = rows[order]
        if len(wanted) and not 0 <= wanted[0] <= wanted[-1] < len(self):
            raise IndexError(f"rows are numbered from 0 to {len(self) - 1}")
        result = np.empty((len(rows), self.dimension), np.float32)

        def fill(piece: _Piece) -> None:
            low, high = np.searchsorted(wanted, (piece.start, piece.start + piece.rows))
            result[order[low:high]] = self._load(piece)[wanted[low:high] - piece.start]

        touched = (
            piece
            for piece in self._pieces()
            if np.searchsorted(wanted, piece.start) < np.searchsorted(wanted, piece.start + piece.rows)
        )
        for _ in _spread(fill, touched, None):
            pass
        return result

    def keys(self, rows: NDArray[np.int64]) -> list[Key]:
        """(root, path) of some rows, in the order given."""
        found: dict[int, Key] = {}
        start = 0
        for shard in self._manifest.shards:
            inside = np.unique(rows[(rows >= start) & (rows < start + shard.rows)])
            if len(inside):
                table = shard_file.read_metadata(self._store, shard.files[-1].file, columns.KEY_COLUMNS).take(
                    inside - start
                )
                keys = zip(*(column.to_pylist() for column in table.columns), strict=True)
                found.update(zip(inside.tolist(), keys, strict=True))
            start += shard.rows
        return [found[row] for row in rows.tolist()]

    @property
    def unfinished(self) -> bool:
        """Whether a run over it is going on or was interrupted."""
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

    def failures(self) -> Iterator[FailureLine]:
        """The inputs without a vector, in the order of (root, path)."""
        return failures.of(self._store, self._manifest)

    def _rows_with(self, shard: Shard, keys: Sequence[Key]) -> Iterator[int]:
        table = shard_file.read_metadata(self._store, shard.files[-1].file, columns.KEY_COLUMNS)
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

    def _vector_path(self, shard: Shard) -> Path:
        return self._store.path(shard.files[0].file)

    def _metadata_path(self, shard: Shard) -> Path:
        return self._store.path(shard.files[-1].file)

    def _joined(self, shard: Shard, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        path = self._metadata_path(shard)
        others = [name for name in schema.names if name != columns.VECTOR]
        offset = 0
        with _reading(path), open(path, "rb") as file:
            for batch in pq.ParquetFile(file).iter_batches(ROW_GROUP, columns=others or [columns.KEY_COLUMNS[0]]):
                arrays = {name: batch.column(name) for name in others}
                if columns.VECTOR in schema.names:
                    values = self._mapped(shard, offset, batch.num_rows).reshape(-1)
                    arrays[columns.VECTOR] = pa.FixedSizeListArray.from_arrays(
                        pa.array(values), type=schema.field(columns.VECTOR).type
                    )
                offset += batch.num_rows
                yield pa.RecordBatch.from_arrays([arrays[name] for name in schema.names], schema=schema)

    def _pieces(self) -> Iterator[_Piece]:
        """All rows in pieces: the row groups of Parquet, as many rows at a time of npy."""
        start = 0
        for shard in self._manifest.shards:
            offset = 0
            for group, size in enumerate(self._groups(shard)):
                yield _Piece(shard, start + offset, offset, size, group)
                offset += size
            start += shard.rows

    def _groups(self, shard: Shard) -> list[int]:
        if self._manifest.format == "npy":
            return [min(_MAPPED_ROWS, shard.rows - offset) for offset in range(0, shard.rows, _MAPPED_ROWS)]
        path = self._vector_path(shard)
        with _reading(path), open(path, "rb") as file:
            described = pq.read_metadata(file)
        return [described.row_group(group).num_rows for group in range(described.num_row_groups)]

    def _load(self, piece: _Piece) -> NDArray[Any]:
        if self._manifest.format == "npy":
            return self._mapped(piece.shard, piece.offset, piece.rows)
        path = self._vector_path(piece.shard)
        with _reading(path), pa.OSFile(os.fsencode(path)) as file:  # read without Python's lock, unlike open()
            table = pq.ParquetFile(file).read_row_group(piece.group, columns=[columns.VECTOR], use_threads=False)
            return np.asarray(table.column(0).combine_chunks().flatten()).reshape(piece.rows, self.dimension)

    def _mapped(self, shard: Shard, offset: int, rows: int) -> NDArray[Any]:
        """Rows of a .npy file as a read-only view; only these are mapped, and only as long as the view lives."""
        path = self._vector_path(shard)
        dtype = np.dtype(self._manifest.dtype)
        with _reading(path), open(path, "rb") as file:
            begin = self._npy_header(shard, file) + offset * self.dimension * dtype.itemsize
            aligned = begin - begin % mmap.ALLOCATIONGRANULARITY
            size = rows * self.dimension * dtype.itemsize
            view = mmap.mmap(file.fileno(), begin - aligned + size, offset=aligned, access=mmap.ACCESS_READ)
            return np.frombuffer(view, dtype, rows * self.dimension, begin - aligned).reshape(rows, self.dimension)

    def _npy_header(self, shard: Shard, file: BinaryIO) -> int:
        """The header's length, checked the first time."""
        if shard.number not in self._npy_headers:
            version = np.lib.format.read_magic(file)
            if version != (1, 0):
                raise ValueError(f"npy format version {version}")
            shape, fortran_order, stored = np.lib.format.read_array_header_1_0(file)
            expected = (shard.rows, self.dimension), np.dtype(self._manifest.dtype)
            if (shape, stored) != expected or fortran_order:
                raise ValueError(f"{stored} {shape}, expected {expected[1]} {expected[0]}")
            self._npy_headers[shard.number] = file.tell()
        return self._npy_headers[shard.number]


def _spread(function: Callable[[_Piece], R], pieces: Iterator[_Piece], threads: int | None) -> Iterator[R]:
    with ThreadPoolExecutor(threads or pa.cpu_count(), thread_name_prefix="reader") as pool:
        try:
            yield from pool.map(function, pieces)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _cast(batches: Iterator[pa.RecordBatch], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """The same arrays under the dataset's schema, whatever the file adds to its own."""
    for batch in batches:
        yield pa.RecordBatch.from_arrays([batch.column(name) for name in schema.names], schema=schema)


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        with translated("read", path):
            yield
    except (pa.ArrowException, ValueError, EOFError) as error:
        reason = str(error).strip().split("\n", 1)[0]
        raise DatasetError(f"{path} is damaged ({reason}); fvcli verify shows what is affected") from error
    except DatasetError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            raise DatasetError(f"{path} is gone; if a run has just updated the dataset, open it again") from error
        raise
