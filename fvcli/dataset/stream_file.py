"""Rows as they come: JSON Lines or Arrow into a pipe, and into one file also Parquet or npy."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import BinaryIO, Protocol

import numpy as np
import pyarrow as pa

from fvcli.dataset import columns
from fvcli.dataset.columns import ROW_GROUP, Encoding, NpyRows, ParquetRows, Rows, RowWriter
from fvcli.dataset.layout import RowFormat, StreamFormat
from fvcli.errors import DatasetError


class RowStream(Protocol):
    """A receiver of rows. A pipe's reader gets them with the call that brings them.

    Raises BrokenPipeError when the reader has gone, DatasetError when the rows cannot be written.
    """

    def append(self, rows: Rows) -> None: ...

    def close(self) -> None: ...


def open_stream(format: StreamFormat, sink: BinaryIO, encoding: Encoding) -> RowStream:
    """Rows into a pipe. An Arrow stream carries the metadata in its schema; JSON Lines have no place for it."""
    if format == "jsonl":
        return _JsonLines(sink, encoding)
    return _Arrow(sink, encoding, pa.ipc.new_stream)


def open_file(format: RowFormat, sink: BinaryIO, encoding: Encoding) -> RowStream:
    """Rows into one file, which the caller opens and closes. An npy file holds the vectors alone, in their order."""
    if format == "jsonl":
        return _JsonLines(sink, encoding)
    if format == "arrow":
        return _Grouped(_Arrow(sink, encoding, pa.ipc.new_file))
    if format == "npy":
        return _Written(NpyRows(sink, encoding))
    return _Grouped(
        _Written(ParquetRows(sink, columns.schema(encoding.dimension, encoding.dtype, encoding.labels), encoding))
    )


class _Written:
    """The rows of a :class:`RowWriter`."""

    def __init__(self, writer: RowWriter) -> None:
        self._writer = writer

    def append(self, rows: Rows) -> None:
        with _writing():
            self._writer.append(rows)

    def close(self) -> None:
        with _writing():
            self._writer.finish()


class _Grouped:
    """Hands rows on in groups of ROW_GROUP, since small groups make files large and slow to read."""

    def __init__(self, inner: RowStream) -> None:
        self._inner = inner
        self._waiting: list[Rows] = []

    def append(self, rows: Rows) -> None:
        self._waiting.append(rows)
        if sum(map(len, self._waiting)) >= ROW_GROUP:
            together = self._take()
            for start in range(0, len(together), ROW_GROUP):
                some = together[start : start + ROW_GROUP]
                if len(some) == ROW_GROUP:
                    self._inner.append(some)
                else:
                    self._waiting.append(some)

    def close(self) -> None:
        if self._waiting:
            self._inner.append(self._take())
        self._inner.close()

    def _take(self) -> Rows:
        refs = [ref for rows in self._waiting for ref in rows.refs]
        infos = [info for rows in self._waiting for info in rows.infos]
        vectors = np.concatenate([rows.vectors for rows in self._waiting])
        self._waiting = []
        return Rows(refs, infos, vectors)


class _JsonLines:
    """One object per row with the columns' names; ``path_bytes``, where there is one, in hexadecimal.

    Nine digits give every float32 back as it was, and cost a third of what json.dumps takes for its doubles.
    """

    def __init__(self, sink: BinaryIO, encoding: Encoding) -> None:
        self._sink = sink
        self._dtype = encoding.dtype
        self._labels = encoding.labels
        self._numbers = ", ".join(["%.9g"] * encoding.dimension)

    def append(self, rows: Rows) -> None:
        with _writing():
            for ref, info, vector in zip(rows.refs, rows.infos, rows.vectors.astype(self._dtype), strict=True):
                head = json.dumps({"root": ref.root, "path": ref.path})
                tail: dict[str, object] = {
                    "sha256": info.sha256,
                    "size_bytes": info.size_bytes,
                    "mtime_ns": info.mtime_ns,
                    "width": info.width,
                    "height": info.height,
                    "format": info.format,
                }
                if self._labels:
                    tail |= {"labels": info.labels, "scores": info.scores}
                if ref.path_bytes is not None:
                    tail["path_bytes"] = ref.path_bytes.hex()
                numbers = self._numbers % tuple(vector.tolist())
                line = f'{head[:-1]}, "embedding": [{numbers}], {json.dumps(tail)[1:]}\n'
                self._sink.write(line.encode())
            self._sink.flush()

    def close(self) -> None:
        with _writing():
            self._sink.flush()


class _Arrow:
    """Arrow IPC with the columns of a Parquet shard. begin: pyarrow.ipc.new_stream for pipes, new_file for files."""

    def __init__(
        self, sink: BinaryIO, encoding: Encoding, begin: Callable[..., pa.ipc.RecordBatchStreamWriter]
    ) -> None:
        self._sink = sink
        self._encoding = encoding
        schema = columns.schema(encoding.dimension, encoding.dtype, encoding.labels)
        schema = schema.with_metadata(dict(encoding.metadata))
        with _writing():
            self._writer = begin(pa.PythonFile(sink, "w"), schema)
            sink.flush()

    def append(self, rows: Rows) -> None:
        with _writing():
            encoding = self._encoding
            self._writer.write_table(columns.table(rows, encoding.dimension, encoding.dtype, encoding.labels))
            self._sink.flush()

    def close(self) -> None:
        with _writing():
            self._writer.close()
            self._sink.flush()


@contextmanager
def _writing() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise DatasetError(f"cannot write the rows: {error.strerror or error}") from error
