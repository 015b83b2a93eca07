"""Rows into a pipe or one file: groups, names and numbers, and ends that a reader or a disk makes."""

from __future__ import annotations

import errno
import io
import json
import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fvcli.dataset.columns import Encoding, Rows
from fvcli.dataset.stream_file import open_file, open_stream
from fvcli.errors import DatasetError
from fvcli.records import ImageInfo, ImageRef

DIMENSION = 3


def some_rows(start: int, count: int) -> Rows:
    numbers = range(start, start + count)
    refs = [ImageRef("r", f"{number:05d}.jpg", b"\xff" if number == 7 else None) for number in numbers]
    infos = [ImageInfo(f"{number:064x}", 10 + number, -number, 3, 4, "PNG") for number in numbers]
    vectors = np.arange(start * DIMENSION, (start + count) * DIMENSION, dtype=np.float32).reshape(-1, DIMENSION) / 7
    return Rows(refs, infos, vectors)


def encoding(dtype: str = "float32") -> Encoding:
    return Encoding("parquet", dtype, DIMENSION, {"fvcli": "{}"})  # type: ignore[arg-type]


@pytest.mark.parametrize("parts", [[3], [499, 1], [500], [499, 2], [1, 1203, 1, 700], []], ids=str)
@pytest.mark.parametrize("format", ["parquet", "arrow"])
def test_rows_are_in_groups_of_500_in_their_order(format: str, parts: list[int]) -> None:
    sink, start = io.BytesIO(), 0
    stream = open_file(format, sink, encoding())  # type: ignore[arg-type]
    for count in parts:
        stream.append(some_rows(start, count))
        start += count
    stream.close()
    sink.seek(0)
    if format == "parquet":
        file = pq.ParquetFile(sink)
        sizes = [file.metadata.row_group(group).num_rows for group in range(file.metadata.num_row_groups)]
        table = file.read()
    else:
        reader = pa.ipc.open_file(sink)
        sizes = [reader.get_batch(batch).num_rows for batch in range(reader.num_record_batches)]
        table = reader.read_all()
    total = sum(parts)
    assert sizes == [500] * (total // 500) + [total % 500] * (total % 500 > 0)
    assert table.column("path").to_pylist() == [f"{number:05d}.jpg" for number in range(total)]
    if total:
        assert np.array_equal(np.stack(table.column("embedding").to_numpy()), some_rows(0, total).vectors)


def test_a_line_has_every_column_and_every_number_to_its_last_digit() -> None:
    sink = io.BytesIO()
    stream = open_stream("jsonl", sink, encoding())
    stream.append(some_rows(6, 2))
    first, second = map(json.loads, sink.getvalue().splitlines())
    assert np.array_equal(np.array(first.pop("embedding"), np.float32), some_rows(6, 1).vectors[0])
    assert first == {
        "root": "r", "path": "00006.jpg", "sha256": f"{6:064x}", "size_bytes": 16, "mtime_ns": -6, "width": 3,
        "height": 4, "format": "PNG",
    }  # fmt: skip
    assert (second["path_bytes"], list(second)[:3]) == ("ff", ["root", "path", "embedding"])
    stream.close()


class Refusing(io.BytesIO):
    """A sink whose writes fail."""

    def __init__(self, error: OSError) -> None:
        super().__init__()
        self.error = error

    def write(self, data: object) -> int:
        raise self.error


@pytest.mark.parametrize("format", ["jsonl", "npy"])
def test_a_disk_that_refuses_is_told_and_a_reader_that_has_gone_is_not(format: str) -> None:
    def write(error: OSError) -> None:
        sink = Refusing(error)
        stream = open_file("npy", sink, encoding()) if format == "npy" else open_stream("jsonl", sink, encoding())
        stream.append(some_rows(0, 600))
        stream.close()

    with pytest.raises((DatasetError, OSError), match="No space left"):
        write(OSError(errno.ENOSPC, "No space left on device"))
    with pytest.raises(BrokenPipeError):
        write(BrokenPipeError())


@pytest.mark.parametrize("format", ["jsonl", "arrow"])
def test_the_reader_of_a_pipe_has_its_rows_at_once(format: str) -> None:
    ours, theirs = os.pipe()
    with open(ours, "rb", buffering=0) as reader, open(theirs, "wb") as sink:
        os.set_blocking(ours, False)
        stream = open_stream(format, sink, encoding())  # type: ignore[arg-type]
        stream.append(some_rows(0, 2))
        there = reader.read() or b""
        if format == "jsonl":
            assert len(there.splitlines()) == 2
        else:
            assert pa.ipc.open_stream(there).read_next_batch().num_rows == 2
        stream.close()
