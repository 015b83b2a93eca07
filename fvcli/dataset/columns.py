"""The columns of a dataset: as rows arrive, as Arrow tables, and as Parquet or npy bytes in a file that can be sought.

Vectors are dictionary-encoded in Parquet: the mean of 25 eight-bit values takes few distinct values, so on real rows
this is smaller than byte-stream-split and, unlike it, every reader takes it for float16 too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, BinaryIO, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fvcli.dataset.layout import DataFormat, DType
from fvcli.errors import DatasetError
from fvcli.records import Float32Array, ImageInfo, ImageRef

VECTOR = "embedding"
KEY_COLUMNS = ("root", "path")
ROW_GROUP = 500  # a run holds one of them: with 1,000 rows 154 MB in place of 150, for 3 % less on the disk
#: An encoder holds a page's levels and indices unpacked: with 1 MB, Arrow's own choice, a run takes 157 MB in place of
#: 150, and the files are no smaller.
_PAGE_BYTES = 128 * 1024

_BEFORE = (pa.field("root", pa.string(), False), pa.field("path", pa.string(), False))
_AFTER = (
    pa.field("sha256", pa.string(), False),
    pa.field("size_bytes", pa.int64(), False),
    pa.field("mtime_ns", pa.int64(), False),
    pa.field("width", pa.int32(), False),
    pa.field("height", pa.int32(), False),
    pa.field("format", pa.string(), False),
    pa.field("path_bytes", pa.binary(), True),
)
_LABELS = (
    pa.field("labels", pa.list_(pa.field("element", pa.string(), False)), False),
    pa.field("scores", pa.list_(pa.field("element", pa.float32(), False)), False),
)


def metadata_schema(labels: bool = False) -> pa.Schema:
    """Every column but the vectors. labels: with the best classes and their scores."""
    return pa.schema([*_BEFORE, *_AFTER, *(_LABELS if labels else ())])


def schema(dimension: int, dtype: DType, labels: bool = False) -> pa.Schema:
    """All columns; the vectors are fixed-size lists of float or halffloat. labels: as for ``metadata_schema``."""
    value = pa.float32() if dtype == "float32" else pa.float16()
    vector = pa.field(VECTOR, pa.list_(pa.field("element", value, False), dimension), False)
    return pa.schema([*_BEFORE, vector, *_AFTER, *(_LABELS if labels else ())])


@dataclass(frozen=True, slots=True)
class Rows:
    """Some rows in order: refs[i], infos[i] and vectors[i] (float32 [n, d]) are one image's."""

    refs: list[ImageRef]
    infos: list[ImageInfo]
    vectors: Float32Array

    def __len__(self) -> int:
        return len(self.refs)

    def __getitem__(self, some: slice) -> Rows:
        return Rows(self.refs[some], self.infos[some], self.vectors[some])


def metadata_table(rows: Rows, labels: bool = False) -> pa.Table:
    """The rows without their vectors, of ``metadata_schema(labels)``."""
    columns: dict[str, list[Any]] = {
        "root": [ref.root for ref in rows.refs],
        "path": [ref.path for ref in rows.refs],
        "sha256": [info.sha256 for info in rows.infos],
        "size_bytes": [info.size_bytes for info in rows.infos],
        "mtime_ns": [info.mtime_ns for info in rows.infos],
        "width": [info.width for info in rows.infos],
        "height": [info.height for info in rows.infos],
        "format": [info.format for info in rows.infos],
        "path_bytes": [ref.path_bytes for ref in rows.refs],
    }
    if labels:
        columns |= {"labels": [info.labels for info in rows.infos], "scores": [info.scores for info in rows.infos]}
    return pa.table(columns, schema=metadata_schema(labels))


def table(rows: Rows, dimension: int, dtype: DType, labels: bool = False) -> pa.Table:
    """The rows with their vectors, of ``schema(dimension, dtype, labels)``."""
    full = schema(dimension, dtype, labels)
    kind = full.field(VECTOR).type
    stored = np.ascontiguousarray(rows.vectors, dtype=dtype)
    # pa.array would import numpy.ma first, a twentieth of the start-up.
    values = pa.Array.from_buffers(kind.value_type, stored.size, [None, pa.py_buffer(stored)])
    vectors = pa.FixedSizeListArray.from_arrays(values, type=kind)
    metadata = metadata_table(rows, labels)
    arrays = [vectors if name == VECTOR else metadata.column(name) for name in full.names]
    return pa.Table.from_arrays(arrays, schema=full)


def rows_of(metadata: pa.Table, vectors: Float32Array) -> Rows:
    """The inverse of :func:`table`: ``metadata`` with the columns of :func:`metadata_schema`, vectors [n, d]."""
    refs = [
        ImageRef(root, path, path_bytes, size_bytes, mtime_ns)
        for root, path, path_bytes, size_bytes, mtime_ns in zip(
            *(metadata.column(name).to_pylist() for name in ("root", "path", "path_bytes", "size_bytes", "mtime_ns")),
            strict=True,
        )
    ]
    told = ["sha256", "size_bytes", "mtime_ns", "width", "height", "format"]
    infos = [ImageInfo(*values) for values in zip(*(metadata.column(name).to_pylist() for name in told), strict=True)]
    if "labels" in metadata.schema.names:
        both = zip(metadata.column("labels").to_pylist(), metadata.column("scores").to_pylist(), strict=True)
        infos = [
            replace(info, labels=tuple(labels), scores=tuple(scores))
            for info, (labels, scores) in zip(infos, both, strict=True)
        ]
    return Rows(refs, infos, vectors)


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
        self._with_vectors = VECTOR in schema.names
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
            columns = table(rows, self._encoding.dimension, self._encoding.dtype, self._encoding.labels)
        else:
            columns = metadata_table(rows, self._encoding.labels)
        self._writer.write_table(columns, row_group_size=ROW_GROUP)

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
