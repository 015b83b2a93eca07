"""The columns of a dataset, as rows arrive and as Arrow tables."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from fvcli.dataset.layout import DType
from fvcli.records import Failure, Float32Array, ImageInfo, ImageRef

VECTOR = "embedding"
KEY_COLUMNS = ("root", "path")

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


def refusal(vector: Float32Array, dtype: DType) -> Failure | None:
    """The reason why a vector, float32 [d], cannot be stored as ``dtype``; None where it can."""
    largest = float(np.abs(vector).max(initial=0))
    if np.isfinite(largest) and largest <= float(np.finfo(dtype).max):
        return None
    if np.isfinite(largest):
        return Failure(
            "infer",
            "OutOfRange",
            f"its vector has the value {largest:,.0f}, and float16 holds {np.finfo(np.float16).max:,.0f} at most; "
            "use --dtype float32",
        )
    return Failure("infer", "NotFinite", "the model gave a vector with a value that is not finite")


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
