"""One shard's files: written row group by row group, read back column by column."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fvcli.dataset import columns
from fvcli.dataset.columns import ROW_GROUP, Encoding, NpyRows, ParquetRows, Rows, RowWriter
from fvcli.dataset.layout import KINDS
from fvcli.dataset.manifest import Shard
from fvcli.dataset.store import Store
from fvcli.errors import DamagedError, DatasetError, first_line
from fvcli.files import flush, sha256_of, translated
from fvcli.records import Float32Array, ImageInfo, ImageRef


@dataclass(frozen=True, slots=True)
class WrittenFile:
    """A finished file in staging. sha256 is hexadecimal."""

    path: Path
    bytes: int
    sha256: str


class _Part:
    """One of a shard's files. make: the writer of its rows, for the open file."""

    def __init__(self, path: Path, make: Callable[[BinaryIO], RowWriter]) -> None:
        self.path = path
        self._file = open(path, "xb")
        self._rows = make(self._file)

    def append(self, rows: Rows) -> None:
        self._rows.append(rows)

    def close(self) -> None:
        try:
            self._rows.finish()
            flush(self._file)
        finally:
            self._file.close()


class ShardWriter:
    """Writes one shard into a staging folder; nothing is visible until the caller moves the files.

    zero_rows: those written so far whose vector is all zeros. Raises DatasetError when the disk refuses; then nothing
    of the shard is left in the folder.
    """

    def __init__(self, folder: Path, stem: str, encoding: Encoding) -> None:
        self.zero_rows = 0
        self._encoding = encoding
        self._refs: list[ImageRef] = []
        self._infos: list[ImageInfo] = []
        self._vectors = np.empty((ROW_GROUP, encoding.dimension), np.float32)
        self._parts: list[_Part] = []
        with self._guarded(folder):
            for kind, _, suffix in KINDS[encoding.format]:
                path = folder / f"{stem}-{kind}{suffix}.tmp"
                self._parts.append(self._part(path, suffix))

    def _part(self, path: Path, suffix: str) -> _Part:
        encoding = self._encoding
        if suffix == ".npy":
            return _Part(path, lambda file: NpyRows(file, encoding))
        if encoding.format == "npy":
            return _Part(path, lambda file: ParquetRows(file, columns.metadata_schema(encoding.labels), encoding))
        schema = columns.schema(encoding.dimension, encoding.dtype, encoding.labels)
        return _Part(path, lambda file: ParquetRows(file, schema, encoding))

    def append(self, ref: ImageRef, info: ImageInfo, vector: Float32Array) -> None:
        """Adds a row after those before; a full row group goes to the disk at once."""
        self._vectors[len(self._refs)] = vector
        self._refs.append(ref)
        self._infos.append(info)
        if len(self._refs) == ROW_GROUP:
            self._write()

    def close(self) -> list[WrittenFile]:
        """Writes what is left, makes the files durable, and hashes them."""
        if self._refs:
            self._write()
        written = []
        for part in self._parts:
            with self._guarded(part.path):
                part.close()
                written.append(WrittenFile(part.path, part.path.stat().st_size, sha256_of(part.path)))
        return written

    def abandon(self) -> None:
        """Leaves nothing behind."""
        for part in self._parts:
            with suppress(Exception):  # the disk may refuse the last bytes of what is thrown away
                part.close()
            with suppress(OSError):
                part.path.unlink(missing_ok=True)

    def _write(self) -> None:
        rows = Rows(self._refs, self._infos, self._vectors[: len(self._refs)])
        self.zero_rows += len(rows) - int(np.count_nonzero(rows.vectors.any(axis=1)))
        for part in self._parts:
            with self._guarded(part.path):
                part.append(rows)
        self._refs, self._infos = [], []

    @contextmanager
    def _guarded(self, place: Path) -> Iterator[None]:
        try:
            with translated("write", place):
                yield
        except BaseException:
            self.abandon()
            raise


def read_metadata(store: Store, shard: Shard, names: Sequence[str] | None = None) -> pa.Table:
    """Columns of a shard, all but the vectors unless named.

    Raises DatasetError when its file cannot be read, DamagedError when it is no such file.
    """
    with reading(store, key := shard.files[-1].file):
        table = store.using(key, lambda file: _metadata_columns(pq.ParquetFile(file), names))
        if len(table) != shard.rows:
            raise ValueError(f"it has {len(table)} rows instead of {shard.rows}")
        return table


def _metadata_columns(file: pq.ParquetFile, names: Sequence[str] | None) -> pa.Table:
    """Columns of a file, all but the vectors unless named. Raises ValueError, KeyError."""
    schema = columns.metadata_schema("labels" in file.schema_arrow.names)
    wanted = schema if names is None else pa.schema([schema.field(name) for name in names])
    table = file.read(columns=wanted.names, use_threads=False).select(wanted.names).replace_schema_metadata(None)
    if table.schema != wanted:
        raise ValueError("its columns are not a dataset's")
    return table


def read_vectors(store: Store, shard: Shard) -> Float32Array:
    """The vectors of a shard as stored: [n, d], float32 or float16.

    Raises DatasetError when its file cannot be read, DamagedError when it is no such file.
    """
    with reading(store, key := shard.files[0].file):
        if key.endswith(".npy"):
            data = store.using(key, lambda file: bytes(file.read()))
            vectors = np.load(io.BytesIO(data), allow_pickle=False)
        else:
            column = store.using(key, _vector_column)
            parts = [np.asarray(part.flatten()).reshape(len(part), column.type.list_size) for part in column.chunks]
            vectors = parts[0] if len(parts) == 1 else np.concatenate(parts)
        if vectors.ndim != 2 or len(vectors) != shard.rows:
            raise ValueError(f"its vectors are {list(vectors.shape)} instead of {shard.rows} rows")
        return vectors  # type: ignore[no-any-return]


def _vector_column(file: pa.NativeFile) -> pa.ChunkedArray:
    return pq.ParquetFile(file).read(columns=[columns.VECTOR], use_threads=False).column(0)


@contextmanager
def reading(store: Store, key: str) -> Iterator[None]:
    """Turns what a library raises over a file into DamagedError, or DatasetError where the file is gone."""
    place = store.describe(key)
    try:
        with translated("read", place):
            yield
    except (pa.ArrowException, ValueError, EOFError, KeyError, TypeError, AttributeError) as error:
        raise DamagedError(f"{place} is damaged ({first_line(error)}); fvcli verify shows what is affected") from error
    except DatasetError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            raise DatasetError(
                f"{place} is gone; if a run has just updated the dataset, try again; otherwise fvcli verify shows what "
                "is affected"
            ) from error
        raise


def stem(number: int) -> str:
    """A name that no other attempt at the shard uses, in this process or another."""
    return f"{number:05d}-{os.getpid()}-{os.urandom(4).hex()}"
