"""The vectors of a dataset's shards, read in pieces that fit into memory."""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, BinaryIO, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fvcli.dataset import columns
from fvcli.dataset.manifest import Manifest, Shard
from fvcli.dataset.shard_file import reading
from fvcli.dataset.store import Store

R = TypeVar("R")

_MAPPED_ROWS = 4_000  # of a .npy file at once: each piece costs a system call or two


@dataclass(frozen=True, slots=True)
class Piece:
    """Consecutive rows of one shard. start: the first one's number in the dataset; offset: its place in the shard.

    group: the row group they are in Parquet.
    """

    shard: Shard
    start: int
    offset: int
    rows: int
    group: int


class VectorFiles:
    """Reads the files that a manifest names. Every method raises DatasetError when a file cannot be read.

    Nothing is held open between calls, so a dataset of a thousand shards needs no thousand files.
    """

    def __init__(self, store: Store, manifest: Manifest) -> None:
        self._store = store
        self._manifest = manifest
        self._npy_headers: dict[int, int] = {}

    def pieces(self, first: int = 0, end: int | None = None) -> Iterator[Piece]:
        """The rows of the shards that have some of those from ``first`` to ``end``: row groups, or as many of npy."""
        start = 0
        for shard in self._manifest.shards:
            offset = 0
            touched = start + shard.rows > first and (end is None or start < end)
            for group, size in enumerate(self._groups(shard) if touched else ()):
                yield Piece(shard, start + offset, offset, size, group)
                offset += size
            start += shard.rows

    def load(self, piece: Piece) -> NDArray[Any]:
        """The vectors of a piece, [piece.rows, dimension], float32 or float16 as stored; maybe a view of the file."""
        if self._manifest.format == "npy":
            return self.mapped(piece.shard, piece.offset, piece.rows)
        dimension = self._manifest.dimension
        with reading(self._store, key := piece.shard.files[0].file):
            path = os.fsencode(self._store.path(key))
            with pa.OSFile(path) as file:  # read without Python's lock, unlike open()
                table = pq.ParquetFile(file).read_row_group(piece.group, columns=[columns.VECTOR], use_threads=False)
                return np.asarray(table.column(0).combine_chunks().flatten()).reshape(piece.rows, dimension)

    def mapped(self, shard: Shard, offset: int, rows: int) -> NDArray[Any]:
        """Rows of a .npy file as a read-only view; only these are mapped, and only as long as the view lives."""
        dimension, dtype = self._manifest.dimension, np.dtype(self._manifest.dtype)
        with reading(self._store, key := shard.files[0].file), open(self._store.path(key), "rb") as file:
            begin = self._npy_header(shard, file) + offset * dimension * dtype.itemsize
            aligned = begin - begin % mmap.ALLOCATIONGRANULARITY
            size = rows * dimension * dtype.itemsize
            view = mmap.mmap(file.fileno(), begin - aligned + size, offset=aligned, access=mmap.ACCESS_READ)
            return np.frombuffer(view, dtype, rows * dimension, begin - aligned).reshape(rows, dimension)

    def _groups(self, shard: Shard) -> list[int]:
        if self._manifest.format == "npy":
            return [min(_MAPPED_ROWS, shard.rows - offset) for offset in range(0, shard.rows, _MAPPED_ROWS)]
        with reading(self._store, key := shard.files[0].file), open(self._store.path(key), "rb") as file:
            described = pq.read_metadata(file)
            groups = [described.row_group(group).num_rows for group in range(described.num_row_groups)]
            if sum(groups) != shard.rows:
                raise ValueError(f"{sum(groups)} rows, expected {shard.rows}")
        return groups

    def _npy_header(self, shard: Shard, file: BinaryIO) -> int:
        """The header's length, checked the first time."""
        if shard.number not in self._npy_headers:
            version = np.lib.format.read_magic(file)
            if version != (1, 0):
                raise ValueError(f"npy format version {version}")
            shape, fortran_order, stored = np.lib.format.read_array_header_1_0(file)
            expected = (shard.rows, self._manifest.dimension), np.dtype(self._manifest.dtype)
            if (shape, stored) != expected or fortran_order:
                raise ValueError(f"{stored} {shape}, expected {expected[1]} {expected[0]}")
            self._npy_headers[shard.number] = file.tell()
        return self._npy_headers[shard.number]


def spread(function: Callable[[Piece], R], pieces: Iterator[Piece], threads: int | None = None) -> Iterator[R]:
    """``function(piece)`` for each piece on ``threads`` threads (default: all CPUs), results in order."""
    with ThreadPoolExecutor(threads or pa.cpu_count(), thread_name_prefix="reader") as pool:
        try:
            yield from pool.map(function, pieces)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
