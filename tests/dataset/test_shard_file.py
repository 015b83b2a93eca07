"""Shards as others read them: each kind of file and each type of number, by each of the usual readers."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq
import pytest

from fvcli.dataset import columns, shard_file
from fvcli.dataset.columns import Encoding, Rows
from fvcli.dataset.layout import DataFormat
from fvcli.dataset.manifest import DataFile, Shard
from fvcli.dataset.shard_file import ShardWriter
from fvcli.dataset.store import LocalStore
from fvcli.errors import DamagedError
from fvcli.records import ImageInfo, ImageRef

DIMENSION = 5
ODD = ["plain.jpg", "größe.jpg", "new\nline.jpg", "quote'\".jpg", "smile 😀.jpg", "tab\t.jpg", "z/../deep/er.jpg"]


def some_rows(count: int, start: int = 0) -> Rows:
    numbers = range(start, start + count)
    names = ODD if count == len(ODD) else [f"{number:06d}.jpg" for number in numbers]
    refs = [ImageRef("photos", name, b"\xff" if name.startswith("z") else None) for name in names]
    infos = [ImageInfo(f"{number:064x}", 10 + number, -number, 3, 2**20, "JPEG") for number in numbers]
    vectors = np.random.default_rng(start).standard_normal((count, DIMENSION)).astype(np.float32)
    return Rows(refs, infos, vectors)


def fill(writer: ShardWriter, rows: Rows) -> None:
    for row in zip(rows.refs, rows.infos, rows.vectors, strict=True):
        writer.append(*row)


def write(folder: Path, format: str, dtype: str, *parts: Rows, labels: bool = False) -> list[Path]:
    encoding = Encoding(format, dtype, DIMENSION, {"fvcli": "{}"}, labels)  # type: ignore[arg-type]
    writer = ShardWriter(folder, "00000-1-ab", encoding)
    for rows in parts:
        fill(writer, rows)
    written = writer.close()
    for file in written:
        assert file.bytes == file.path.stat().st_size
        assert file.sha256 == hashlib.sha256(file.path.read_bytes()).hexdigest()
    return [file.path.rename(file.path.with_name(file.path.name.removesuffix(".tmp"))) for file in written]


def placed(files: list[Path], rows: int = 1) -> tuple[LocalStore, Shard]:
    """A shard of these files, and the store that they are in."""
    described = tuple(DataFile(file.name, file.stat().st_size, "0" * 64) for file in files)
    return LocalStore(files[0].parent), Shard(0, rows, described, ("", ""), ("", ""))


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_parquet_for_everybody(tmp_path: Path, dtype: str) -> None:
    rows = some_rows(len(ODD))
    (file,) = write(tmp_path, "parquet", dtype, rows)
    expected = rows.vectors.astype(dtype)

    table = pads.dataset(file).to_table()
    assert table.column("path").to_pylist() == ODD
    assert table.column("path_bytes").to_pylist() == [None] * 6 + [b"\xff"]
    assert np.array_equal(np.stack(table.column("embedding").to_numpy()), expected)
    assert table.schema.field("embedding").type.list_size == DIMENSION

    frame = pd.read_parquet(file)
    assert list(frame["path"]) == ODD
    assert np.array_equal(np.stack(frame["embedding"]).astype(dtype), expected)

    frame = pl.read_parquet(file)
    assert frame["path"].to_list() == ODD
    assert np.array_equal(np.array(frame["embedding"].to_list(), dtype), expected)

    found = duckdb.sql(f"select path, embedding, height, mtime_ns from '{file}'").fetchall()
    assert [row[0] for row in found] == ODD
    assert np.array_equal(np.array([row[1] for row in found], dtype), expected)
    assert found[3][2:] == (2**20, -3)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_npy_for_everybody(tmp_path: Path, dtype: str) -> None:
    rows = some_rows(len(ODD))
    vectors, metadata = write(tmp_path, "npy", dtype, rows)
    for loaded in (np.load(vectors, allow_pickle=False), np.load(vectors, mmap_mode="r", allow_pickle=False)):
        assert loaded.dtype == dtype
        assert loaded.flags.c_contiguous
        assert np.array_equal(loaded, rows.vectors.astype(dtype))
    assert pq.read_table(metadata).column("path").to_pylist() == ODD
    assert "embedding" not in pq.read_schema(metadata).names


@pytest.mark.parametrize("format", ["parquet", "npy"])
@pytest.mark.parametrize("counts", [(1,), (999, 2), (1000,), (250, 250, 250, 250, 1), (2500, 3)])
def test_rows_come_back_in_order_however_they_were_handed_over(
    tmp_path: Path, format: str, counts: tuple[int, ...]
) -> None:
    starts = np.cumsum((0, *counts))
    parts = [some_rows(count, int(start)) for count, start in zip(counts, starts, strict=False)]
    files = write(tmp_path, format, "float32", *parts)
    shard = placed(files, sum(counts))
    metadata, vectors = shard_file.read_metadata(*shard), shard_file.read_vectors(*shard)
    back = columns.rows_of(metadata, vectors)
    assert [ref.path for ref in back.refs] == [ref.path for part in parts for ref in part.refs]
    assert back.infos == [info for part in parts for info in part.infos]
    assert np.array_equal(back.vectors, np.concatenate([part.vectors for part in parts]))
    if format == "parquet":
        sizes = [
            pq.ParquetFile(files[0]).metadata.row_group(group).num_rows for group in range((sum(counts) + 999) // 1000)
        ]
        assert max(sizes) <= 1000, "memory of a reader that goes by row groups stays bounded"


def test_the_same_rows_are_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    (one,) = write(tmp_path / "a", "parquet", "float32", some_rows(1200))
    (two,) = write(tmp_path / "b", "parquet", "float32", some_rows(1200))
    assert one.read_bytes() == two.read_bytes()


@pytest.mark.parametrize("format", ["parquet", "npy"])
def test_abandoning_leaves_nothing(tmp_path: Path, format: str) -> None:
    writer = ShardWriter(tmp_path, "x", Encoding(format, "float32", DIMENSION, {}))  # type: ignore[arg-type]
    fill(writer, some_rows(1500))
    writer.abandon()
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" + b"x" * 200 + b"PAR1", b"no Parquet at all" * 30])
def test_what_is_no_shard_is_told(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "part-00000-01234567.parquet"
    file.write_bytes(content)
    with pytest.raises(DamagedError, match=r"part-00000-01234567\.parquet is damaged \("):
        shard_file.read_metadata(*placed([file]))
    with pytest.raises(DamagedError, match=r"part-00000-01234567\.parquet is damaged \("):
        shard_file.read_vectors(*placed([file]))


def test_an_npy_of_objects_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "img_emb_00000-01234567.npy"
    np.save(file, np.array([{"a": 1}], object), allow_pickle=True)
    with pytest.raises(DamagedError, match=r"img_emb_00000-01234567\.npy is damaged \("):
        shard_file.read_vectors(*placed([file]))


def test_the_schema_is_the_documented_one() -> None:
    assert [(field.name, str(field.type), field.nullable) for field in columns.schema(1024, "float32")] == [
        ("root", "string", False),
        ("path", "string", False),
        ("embedding", "fixed_size_list<element: float not null>[1024]", False),
        ("sha256", "string", False),
        ("size_bytes", "int64", False),
        ("mtime_ns", "int64", False),
        ("width", "int32", False),
        ("height", "int32", False),
        ("format", "string", False),
        ("path_bytes", "binary", True),
    ]
    assert columns.schema(8, "float16").field("embedding").type.value_type == pa.float16()


def test_a_parquet_file_is_compressed_in_row_groups_with_statistics_and_says_what_made_it(tmp_path: Path) -> None:
    (file,) = write(tmp_path, "parquet", "float32", some_rows(1203))
    found = pq.ParquetFile(file).metadata
    assert [found.row_group(group).num_rows for group in range(found.num_row_groups)] == [500, 500, 203]
    for column in range(found.num_columns):
        described = found.row_group(0).column(column)
        assert described.compression == "ZSTD", described.path_in_schema
        assert described.is_stats_set is ("embedding" not in described.path_in_schema)
        assert described.dictionary_page_offset is not None
    assert found.row_group(0).column(1).statistics.max == "000499.jpg"
    assert found.metadata[b"fvcli"] == b"{}"


def test_two_attempts_at_a_shard_have_files_of_their_own() -> None:
    names = {shard_file.stem(7) for _ in range(20)}
    assert len(names) == 20
    assert all(name.startswith("00007-") for name in names)


@pytest.mark.parametrize("format", ["parquet", "npy"])
def test_rows_of_zeros_are_counted(tmp_path: Path, format: str) -> None:
    rows = some_rows(1100)
    rows.vectors[:, 0] = 0
    rows.vectors[[3, 499, 500, 1099]] = 0
    writer = ShardWriter(tmp_path, "00000", Encoding(format, "float32", DIMENSION, {}))  # type: ignore[arg-type]
    fill(writer, rows)
    writer.close()
    assert writer.zero_rows == 4


@pytest.mark.parametrize("format", ["parquet", "npy"])
def test_labels_come_back_with_their_rows(tmp_path: Path, format: DataFormat) -> None:
    rows = some_rows(3)
    infos = [replace(info, labels=(f"cat {row}", "dog"), scores=(0.75, 0.25)) for row, info in enumerate(rows.infos)]
    shard = placed(write(tmp_path, format, "float32", replace(rows, infos=infos), labels=True), 3)
    back = columns.rows_of(shard_file.read_metadata(*shard), shard_file.read_vectors(*shard))
    assert back.infos == infos
