"""Nearest rows, against the whole matrix of cosines."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fvcli.dataset.layout import DataFormat
from fvcli.errors import DatasetError
from fvcli.explore.neighbors import nearest
from fvcli.records import Float32Array
from tests.helpers.cosines import clusters, cosines, write
from tests.helpers.synthetic import write_dataset


@pytest.fixture
def vectors() -> Float32Array:
    return clusters()


@pytest.mark.parametrize("format", ["parquet", "npy"])
@pytest.mark.parametrize("k", [1, 10, 3000, 5000])
def test_nearest_rows_are_those_with_the_largest_cosines(
    vectors: Float32Array, tmp_path: Path, format: DataFormat, k: int
) -> None:
    queries = vectors[[10, 700, 42]]
    expected = cosines(queries, vectors)
    for found, scores in zip(nearest(write(tmp_path, vectors, 1100, format), queries, k), expected, strict=True):
        assert len(found.rows) == min(k, 3000)
        assert len(set(found.rows.tolist())) == len(found.rows)
        assert np.allclose(found.scores, np.sort(scores)[::-1][:k], atol=1e-6)
        assert np.allclose(found.scores, scores[found.rows], atol=1e-6)


def test_of_equal_rows_the_lower_comes_first_however_they_are_cut(vectors: Float32Array, tmp_path: Path) -> None:
    vectors[[2999, 1000, 1999, 3, 999]] = vectors[10]
    found = []
    for size in (7 * 64, 1000, 3000):
        dataset = write(tmp_path / str(size), vectors, size)
        for threads in (1, 4):
            result = nearest(dataset, vectors[10:11], 9, threads)[0]
            found.append((result.rows.tolist(), result.scores.tobytes()))
    assert found == [found[0]] * 6
    assert [row for row in found[0][0] if row != 1500][:7] == [3, 10, 999, 1000, 1999, 2000, 2999]


def test_a_row_without_length_is_like_nothing_and_one_that_is_not_finite_is_not_found(tmp_path: Path) -> None:
    vectors = np.eye(4, 8, dtype=np.float32)
    vectors[1] = 0
    vectors[2, 0] = np.nan
    found = nearest(write(tmp_path, vectors, 4), vectors[:2], 4)
    assert (found[0].rows.tolist(), found[0].scores.tolist()) == ([0, 1, 3], [1, 0, 0])
    assert (found[1].rows.tolist(), found[1].scores.tolist()) == ([0, 1, 3], [0, 0, 0])


def test_an_empty_dataset_has_no_neighbors(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path, [])
    assert nearest(dataset, np.ones((1, 1), np.float32), 3)[0].rows.tolist() == []


def test_queries_of_another_length_are_refused(vectors: Float32Array, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="length 100"):
        nearest(write(tmp_path, vectors, 3000), np.ones((1, 99), np.float32), 3)


def test_a_damaged_shard_ends_the_search(vectors: Float32Array, tmp_path: Path) -> None:
    dataset = write(tmp_path, vectors, 1100)
    file = tmp_path / dataset.manifest.shards[2].files[0].file
    file.write_bytes(file.read_bytes()[:-2000])
    with pytest.raises(DatasetError, match="is damaged"):
        nearest(dataset, vectors[:1], 3)
