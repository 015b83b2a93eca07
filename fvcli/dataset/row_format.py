"""Rows as Parquet or npy bytes, written to a file that can be sought.

Vectors are dictionary-encoded in Parquet: the mean of 25 eight-bit values takes few distinct values, so on real rows
this is smaller than byte-stream-split and, unlike it, every reader takes it for float16 too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import BinaryIO, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fvcli.dataset import columns
from fvcli.dataset.columns import Rows
from fvcli.dataset.layout import DataFormat, DType
from fvcli.errors import DatasetError

ROW_GROUP = 500  # a run holds one of them: with 1,000 rows 154 MB in place of 150, for 3 % less on the disk
#: An encoder holds a page's levels and indices unpacked: with 1 MB, Arrow's own choice, a run takes 157 MB in place of
#: 150, and the files are no smaller.
_PAGE_BYTES = 128 * 1024


@dataclass(frozen=True, slots=True)
class Encoding:
    """The format of a dataset's shards. ``metadata`` is repeated in every Parquet file. labels: rows have classes."""

    format: DataFormat
    dtype: DType
    dimension: int
    metadata: Mapping[str, str]
    labels: bool = False


class RowWriter(Protocol):
    """Writes rows to a file that its owner opens and closes. Raises OSError or DatasetError."""

    def append(self, rows: Rows) -> None: ...

    def finish(self) -> None:
        """Writes what has to be known of all rows; none may follow."""
        ...


class ParquetRows:
    """Parquet with the columns of ``schema``, one row group per call with at most ROW_GROUP rows."""

    def __init__(self, sink: BinaryIO, schema: pa.Schema, encoding: Encoding) -> None:
        self._encoding = encoding
        self._with_vectors = columns.VECTOR in schema.names
        self._writer = pq.ParquetWriter(
            sink,
            schema.with_metadata(dict(encoding.metadata)),
            compression="zstd",
            compression_level=1,
            use_dictionary=True,
            data_page_size=_PAGE_BYTES,
            write_statistics=[field.name for field in schema if not pa.types.is_nested(field.type)],
        )

    def append(self, rows: Rows) -> None:
        if self._with_vectors:
            table = columns.table(rows, self._encoding.dimension, self._encoding.dtype, self._encoding.labels)
        else:
            table = columns.metadata_table(rows, self._encoding.labels)
        self._writer.write_table(table, row_group_size=ROW_GROUP)

    def finish(self) -> None:
        self._writer.close()


class NpyRows:
    """NumPy's format 1.0; the header leaves room for the row count, which is known only at the end."""

    def __init__(self, sink: BinaryIO, encoding: Encoding) -> None:
        self._sink = sink
        self._dtype = np.dtype(encoding.dtype)
        self._dimension = encoding.dimension
        self._rows = 0
        self._header_bytes = self._write_header()

    def _write_header(self) -> int:
        self._sink.seek(0)
        header = {
            "descr": np.lib.format.dtype_to_descr(self._dtype),
            "fortran_order": False,
            "shape": (self._rows, self._dimension),
        }
        np.lib.format.write_array_header_1_0(self._sink, header)
        return self._sink.tell()

    def append(self, rows: Rows) -> None:
        self._sink.write(np.ascontiguousarray(rows.vectors, dtype=self._dtype).data)
        self._rows += len(rows)

    def finish(self) -> None:
        if self._write_header() != self._header_bytes:
            raise DatasetError(f"the npy header of {self._rows} rows does not fit its place")
