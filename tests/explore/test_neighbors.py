"""Nearest rows and near-duplicates, against the whole matrix of cosines."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fvcli.dataset.layout import DataFormat
from fvcli.dataset.reader import Dataset
from fvcli.errors import DatasetError
from fvcli.explore.neighbors import near_duplicates, nearest
from fvcli.records import Float32Array
from tests.helpers.synthetic import rows_of, write_dataset


def write(folder: Path, vectors: Float32Array, size: int, format: DataFormat = "parquet") -> Dataset:
    starts = range(0, len(vectors), size)
    return write_dataset(folder, (rows_of(vectors[start : start + size], start) for start in starts), format)


def cosines(vectors: Float32Array, others: Float32Array) -> np.ndarray:
    a, b = vectors.astype(np.float64), others.astype(np.float64)
    lengths = np.outer(np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1))
    return np.divide(a @ b.T, lengths, out=np.zeros_like(lengths), where=lengths > 0)


@pytest.fixture
def vectors() -> Float32Array:
    """Clusters, so that there are close ones; equal rows, rows of other lengths, and one without length."""
    random = np.random.default_rng(5)
    centres = random.standard_normal((60, 100), np.float32)
    vectors = np.repeat(centres, 50, axis=0) + random.standard_normal((3000, 100), np.float32) * 0.12
    vectors[2000] = vectors[10]
    vectors[1500] = vectors[10] * 8
    vectors[700] = 0
    return vectors


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


def test_an_empty_dataset_has_no_neighbours(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path, [])
    assert nearest(dataset, np.ones((1, 1), np.float32), 3)[0].rows.tolist() == []
    assert near_duplicates(dataset) == []


def test_queries_of_another_length_are_refused(vectors: Float32Array, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="length 100"):
        nearest(write(tmp_path, vectors, 3000), np.ones((1, 99), np.float32), 3)


def connected(similar: np.ndarray) -> set[tuple[int, ...]]:
    """Groups of the graph's connected nodes, of two and more, by flooding."""
    left, groups = set(range(len(similar))), set()
    while left:
        group, edge = set(), {left.pop()}
        while edge:
            group |= edge
            edge = {int(other) for node in edge for other in np.flatnonzero(similar[node])} - group
        left -= group
        if len(group) > 1:
            groups.add(tuple(sorted(group)))
    return groups


@pytest.mark.parametrize("format", ["parquet", "npy"])
@pytest.mark.parametrize("threshold", [0.999, 0.987, 0.97])
def test_groups_are_the_connected_pairs(
    vectors: Float32Array, tmp_path: Path, format: DataFormat, threshold: float
) -> None:
    every = cosines(vectors, vectors)
    pairs = every >= threshold
    assert not np.any(np.abs(every - threshold) < 1e-7), "a cosine too close to the threshold to tell"
    groups = near_duplicates(write(tmp_path, vectors, 1100, format), threshold)
    assert {tuple(group.rows.tolist()) for group in groups} == connected(pairs)
    assert [len(group.rows) for group in groups] == sorted((len(group.rows) for group in groups), reverse=True)
    for group in groups:
        assert np.allclose(group.scores, every[group.rows[0], group.rows], atol=1e-6)


def test_the_threshold_tells_something_apart(vectors: Float32Array, tmp_path: Path) -> None:
    dataset = write(tmp_path, vectors, 3000)
    assert [group.rows.tolist() for group in near_duplicates(dataset, 0.9999)] == [[10, 1500, 2000]]
    assert sum(len(group.rows) for group in near_duplicates(dataset, 0.97)) > 2000


def test_copies_of_a_file_are_a_group_without_a_look_at_their_vectors(tmp_path: Path) -> None:
    random = np.random.default_rng(2)
    vectors = random.standard_normal((40, 16), np.float32)
    vectors[[5, 25]] = vectors[30]
    contents = [f"{number:064x}" for number in range(40)]
    contents[5] = contents[25] = contents[30]
    dataset = write_dataset(tmp_path, [rows_of(vectors, contents=contents)])
    assert [group.rows.tolist() for group in near_duplicates(dataset, 1.0)] == [[5, 25, 30]]


def test_many_groups_and_more_pairs_than_are_held_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fvcli.explore import neighbors

    monkeypatch.setattr(neighbors, "_HELD", 64)
    monkeypatch.setattr(neighbors, "_PAIRS", 100)
    monkeypatch.setattr(neighbors, "_TILE", 50)
    random = np.random.default_rng(4)
    centres = random.standard_normal((100, 80), np.float32)
    vectors = np.tile(centres, (9, 1)) + random.standard_normal((900, 80), np.float32) * 0.02
    groups = near_duplicates(write(tmp_path, vectors, 400), 0.98)
    assert [group.rows.tolist() for group in groups] == [list(range(start, 900, 100)) for start in range(100)]


def test_a_threshold_that_means_nothing_is_refused(vectors: Float32Array, tmp_path: Path) -> None:
    dataset = write(tmp_path, vectors, 3000)
    for threshold in (0.0, -1.0, 1.01, float("nan")):
        with pytest.raises(ValueError, match="threshold"):
            near_duplicates(dataset, threshold)


def test_a_damaged_shard_ends_the_search(vectors: Float32Array, tmp_path: Path) -> None:
    dataset = write(tmp_path, vectors, 1100)
    file = tmp_path / dataset.manifest.shards[2].files[0].file
    file.write_bytes(file.read_bytes()[:-2000])
    with pytest.raises(DatasetError, match="is damaged"):
        nearest(dataset, vectors[:1], 3)
