"""Rows as they come, written to a pipe: JSON Lines, or an Arrow IPC stream."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import BinaryIO, Literal, Protocol, TypeAlias

import pyarrow as pa

from fvcli.dataset import columns
from fvcli.dataset.columns import Rows
from fvcli.dataset.layout import DType
from fvcli.errors import DatasetError

StreamFormat: TypeAlias = Literal["jsonl", "arrow"]


class RowStream(Protocol):
    """Each call hands everything on to the reader at once.

    Raises BrokenPipeError when the reader has gone, DatasetError when the rows cannot be written.
    """

    def append(self, rows: Rows) -> None: ...

    def close(self) -> None: ...


def open_stream(
    format: StreamFormat, sink: BinaryIO, dimension: int, dtype: DType, metadata: Mapping[str, str]
) -> RowStream:
    """``metadata`` is what an Arrow stream says of itself in its schema; JSON Lines have no place for it."""
    if format == "jsonl":
        return _JsonLines(sink, dimension, dtype)
    return _ArrowStream(sink, dimension, dtype, metadata)


class _JsonLines:
    """One object a row with the columns' names; ``path_bytes``, where there is one, in hexadecimal.

    Nine digits give every float32 back as it was, and cost a third of what json.dumps takes for its doubles.
    """

    def __init__(self, sink: BinaryIO, dimension: int, dtype: DType) -> None:
        self._sink = sink
        self._dtype = dtype
        self._numbers = ", ".join(["%.9g"] * dimension)

    def append(self, rows: Rows) -> None:
        with _writing():
            for ref, info, vector in zip(rows.refs, rows.infos, rows.vectors.astype(self._dtype), strict=True):
                head = json.dumps({"root": ref.root, "path": ref.path})
                tail = {
                    "sha256": info.sha256,
                    "size_bytes": info.size_bytes,
                    "mtime_ns": info.mtime_ns,
                    "width": info.width,
                    "height": info.height,
                    "format": info.format,
                }
                if ref.path_bytes is not None:
                    tail["path_bytes"] = ref.path_bytes.hex()
                numbers = self._numbers % tuple(vector.tolist())
                line = f'{head[:-1]}, "embedding": [{numbers}], {json.dumps(tail)[1:]}\n'
                self._sink.write(line.encode())
            self._sink.flush()

    def close(self) -> None:
        with _writing():
            self._sink.flush()


class _ArrowStream:
    """The IPC streaming format, with the columns of a Parquet shard."""

    def __init__(self, sink: BinaryIO, dimension: int, dtype: DType, metadata: Mapping[str, str]) -> None:
        self._sink = sink
        self._dimension = dimension
        self._dtype: DType = dtype
        schema = columns.schema(dimension, dtype).with_metadata(dict(metadata))
        with _writing():
            self._writer = pa.ipc.new_stream(pa.PythonFile(sink, "w"), schema)
            sink.flush()

    def append(self, rows: Rows) -> None:
        with _writing():
            self._writer.write_table(columns.table(rows, self._dimension, self._dtype))
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
        raise DatasetError(f"cannot write the rows to standard output: {error.strerror or error}") from error
