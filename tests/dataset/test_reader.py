"""The reader: every way to read gives the same rows, whatever the layout, and what cannot be read is said."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from fvcli.dataset.layout import DataFormat
from fvcli.dataset.reader import Dataset, open_dataset
from fvcli.dataset.store import can_hold
from fvcli.errors import DamagedError, DatasetError
from fvcli.records import Float32Array
from tests.helpers.synthetic import rows_of, write_dataset

SIZES = (2300, 1, 700)
FORMATS: tuple[DataFormat, ...] = ("parquet", "npy")


@pytest.fixture(scope="module")
def vectors() -> Float32Array:
    return np.random.default_rng(3).standard_normal((sum(SIZES), 24), np.float32)


@pytest.fixture(scope="module", params=FORMATS)
def dataset(request: pytest.FixtureRequest, vectors: Float32Array, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return write(tmp_path_factory.mktemp("data"), vectors, request.param)


def write(folder: Path, vectors: Float32Array, format: DataFormat, sizes: tuple[int, ...] = SIZES) -> Dataset:
    starts = np.cumsum([0, *sizes])
    parts = zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True)
    return write_dataset(folder, (rows_of(vectors[start:end], start) for start, end in parts), format)


def test_vectors_are_those_written(dataset: Dataset, vectors: Float32Array) -> None:
    assert len(dataset) == 3001
    assert dataset.dimension == 24
    assert np.array_equal(dataset.vectors(), vectors)


def test_a_single_npy_shard_is_mapped_not_read(vectors: Float32Array, tmp_path: Path) -> None:
    mapped = write(tmp_path, vectors[:100], "npy", (100,)).vectors()
    assert isinstance(mapped, np.memmap)
    assert not mapped.flags.writeable
    assert np.array_equal(mapped, vectors[:100])


@pytest.mark.parametrize("rows", [1, 7, 999, 1000, 5000])
def test_blocks_cover_all_rows_in_order(dataset: Dataset, vectors: Float32Array, rows: int) -> None:
    blocks = list(dataset.vector_blocks(rows))
    assert all(0 < len(block) <= rows for _, block in blocks)
    assert [start for start, _ in blocks] == np.cumsum([0, *(len(block) for _, block in blocks[:-1])]).tolist()
    assert np.array_equal(np.concatenate([block for _, block in blocks]), vectors)


def test_a_scan_gives_results_in_order(dataset: Dataset, vectors: Float32Array) -> None:
    sums = list(dataset.scan(lambda start, block: (start, block.sum(axis=1)), threads=3))
    assert [start for start, _ in sums] == sorted(start for start, _ in sums)
    assert np.array_equal(np.concatenate([part for _, part in sums]), vectors.sum(axis=1))


def test_batches_join_vectors_to_their_names(dataset: Dataset, vectors: Float32Array) -> None:
    table = pa.Table.from_batches(dataset.batches())
    assert table.schema.equals(dataset.schema)
    assert table.column("path").to_pylist() == [f"{number:09d}.jpg" for number in range(3001)]
    assert np.array_equal(
        np.concatenate([np.stack(chunk.to_numpy(False)) for chunk in table["embedding"].chunks]), vectors
    )


@pytest.mark.parametrize("names", [["width"], ["embedding"], ["path", "embedding"], ["sha256", "root"]])
def test_chosen_columns(dataset: Dataset, names: list[str]) -> None:
    table = pa.Table.from_batches(dataset.batches(names))
    assert sorted(table.schema.names) == sorted(names)
    assert table.num_rows == 3001


def test_an_unknown_column_is_refused(dataset: Dataset) -> None:
    with pytest.raises(DatasetError, match=r"no column 'color'; there are root, path"):
        list(dataset.batches(["color"]))
    with pytest.raises(DatasetError, match=r"vectors\(\)"):
        dataset.metadata(["embedding"])


def test_take_gives_rows_in_the_order_asked_for(dataset: Dataset, vectors: Float32Array) -> None:
    rows = np.array([3000, 5, 2300, 5, 2299, 0])
    assert np.array_equal(dataset.take(rows), vectors[rows])
    assert [path for _, path in dataset.keys(rows)] == [f"{row:09d}.jpg" for row in rows]
    for wrong in (-1, 3001):
        with pytest.raises(IndexError):
            dataset.take(np.array([0, wrong]))


@pytest.mark.parametrize("name", ["000002300.jpg", "photos/000002300.jpg"])
def test_a_row_is_found_by_its_path_with_or_without_the_root(dataset: Dataset, name: str) -> None:
    assert dataset.find(name) == [2300]


def test_the_same_path_below_two_roots_is_found_twice(vectors: Float32Array, tmp_path: Path) -> None:
    shards = [rows_of(vectors[:5], root="a"), rows_of(vectors[5:10], root="b/c")]
    dataset = write_dataset(tmp_path, shards)
    assert dataset.find("000000002.jpg") == [2, 7]
    assert dataset.find("b/c/000000002.jpg") == [7]
    assert dataset.find("b/000000002.jpg") == []


def test_a_folder_that_is_no_dataset(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="is not a dataset"):
        open_dataset(tmp_path)
    with pytest.raises(DatasetError, match="there is no folder"):
        open_dataset(tmp_path / "nowhere")
    (tmp_path / ".fvcli").mkdir()
    (tmp_path / ".fvcli" / "plan.json").write_text("{}")
    with pytest.raises(DatasetError, match="unfinished run"):
        open_dataset(tmp_path)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("damage", ["cut", "overwritten", "gone"])
def test_a_damaged_file_is_named(vectors: Float32Array, tmp_path: Path, format: DataFormat, damage: str) -> None:
    dataset = write(tmp_path, vectors, format)
    file = dataset.folder / dataset.manifest.shards[1].files[0].file
    data = file.read_bytes()
    if damage == "gone":
        file.unlink()
        dataset = open_dataset(dataset.folder)
    else:
        file.write_bytes(data[:100] if damage == "cut" else bytes(len(data)))
    said = "is gone" if damage == "gone" else "is damaged"
    with pytest.raises(DatasetError, match=f"{file.name} {said}"):
        dataset.vectors()
    with pytest.raises(DatasetError, match=f"{file.name} {said}"):
        list(dataset.vector_blocks())


@pytest.mark.parametrize("format", FORMATS)
def test_a_dataset_that_is_open_survives_its_replacement(
    vectors: Float32Array, tmp_path: Path, format: DataFormat
) -> None:
    write(tmp_path, vectors, format)
    dataset = open_dataset(tmp_path)
    rows = dataset.metadata()
    for file in dataset.manifest.files:
        (tmp_path / file.file).unlink()
    assert np.array_equal(dataset.vectors(), vectors)
    assert np.array_equal(np.concatenate([block for _, block in dataset.vector_blocks()]), vectors)
    assert np.array_equal(dataset.take(np.arange(len(dataset))[::-1]), vectors[::-1])
    assert dataset.metadata() == rows
    assert sum(batch.num_rows for batch in dataset.batches()) == len(dataset)


def test_a_dataset_that_is_closed_keeps_no_file_open(vectors: Float32Array, tmp_path: Path) -> None:
    write(tmp_path, vectors, "npy")
    before = len(os.listdir("/proc/self/fd"))
    dataset = open_dataset(tmp_path)
    assert len(os.listdir("/proc/self/fd")) > before
    del dataset
    assert len(os.listdir("/proc/self/fd")) <= before


def test_a_manifest_that_counts_other_rows_than_a_file_has_is_damage(vectors: Float32Array, tmp_path: Path) -> None:
    write(tmp_path, vectors, "parquet")
    values = json.loads((tmp_path / "manifest.json").read_bytes())
    values["shards"][0].update(rows=2_000_000_000, bytes=2_000_000_000)
    (tmp_path / "manifest.json").write_text(json.dumps(values))
    dataset = open_dataset(tmp_path)
    for read in (dataset.metadata, dataset.vectors, lambda: list(dataset.vector_blocks())):
        with pytest.raises(DamagedError, match=r"(instead of|expected) 2000000000"):
            read()


def test_npy_files_of_another_shape_are_damaged(vectors: Float32Array, tmp_path: Path) -> None:
    """As large as they should be, so that only the header tells."""
    write(tmp_path, vectors, "npy")
    for file in (tmp_path / "img_emb").iterdir():
        rows = np.load(file)
        np.save(file, rows.reshape(-1, rows.shape[1] // 2))
    dataset = open_dataset(tmp_path)
    with pytest.raises(DamagedError, match="expected float32"):
        list(dataset.vector_blocks())
    with pytest.raises(DamagedError, match="expected float32"):
        dataset.take(np.array([0]))


@pytest.mark.parametrize(("files", "possible"), [(40, True), (100, False)])
def test_open_files_leave_room_for_others(files: int, possible: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise ValueError("not allowed to raise the limit")

    monkeypatch.setattr("resource.getrlimit", lambda kind: (300, 300))
    monkeypatch.setattr("resource.setrlimit", refused)
    assert can_hold(files) is possible
