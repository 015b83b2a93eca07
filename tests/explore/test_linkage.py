"""Groups of near-duplicates, against the whole matrix of cosines."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest

from fvcli.dataset.layout import DataFormat
from fvcli.dataset.reader import Dataset
from fvcli.explore.linkage import THRESHOLD, identical_rows, linked_rows, similarities
from fvcli.explore.neighbors import Rows
from fvcli.records import Float32Array
from tests.helpers.cosines import clusters, cosines, write
from tests.helpers.synthetic import rows_of, write_dataset


class Group(NamedTuple):
    """Rows of a group, and the cosines of each with the first."""

    rows: Rows
    scores: Float32Array


def near_duplicates(dataset: Dataset, threshold: float = THRESHOLD) -> list[Group]:
    groups = linked_rows(dataset, threshold)
    return [Group(*each) for each in zip(groups, similarities(dataset, groups), strict=True)]


@pytest.fixture
def vectors() -> Float32Array:
    return clusters()


def test_an_empty_dataset_has_no_groups(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path, [])
    assert near_duplicates(dataset) == []
    assert identical_rows(dataset) == []


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


@pytest.mark.slow
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


@pytest.mark.slow
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
    from fvcli.explore import bounds, linkage, pairs

    monkeypatch.setattr(linkage, "_HELD_BYTES", 64 * 4 * 80)
    monkeypatch.setattr(linkage, "_WAITING_BYTES", 800)
    monkeypatch.setattr(pairs, "_READ_BYTES", 64 * 4 * 80)
    monkeypatch.setattr(pairs, "_TOGETHER", 70)
    for module in (bounds, linkage):
        monkeypatch.setattr(module, "TILE", 50)
    random = np.random.default_rng(4)
    centers = random.standard_normal((100, 80), np.float32)
    vectors = np.tile(centers, (9, 1)) + random.standard_normal((900, 80), np.float32) * 0.02
    groups = near_duplicates(write(tmp_path, vectors, 400), 0.98)
    assert [group.rows.tolist() for group in groups] == [list(range(start, 900, 100)) for start in range(100)]


class Late:
    """A pool of threads that are as late as they can be: each task is done when its result is asked for."""

    def __init__(self, *_: object, **__: object) -> None: ...

    def __enter__(self) -> Late:
        return self

    def __exit__(self, *_: object) -> None: ...

    def submit(self, function: Callable[..., Any], *arguments: object) -> SimpleNamespace:
        return SimpleNamespace(result=lambda: function(*arguments))

    def shutdown(self, **_: object) -> None: ...


def test_bounds_are_there_for_as_long_as_they_are_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fvcli.explore import bounds, linkage

    monkeypatch.setattr(linkage, "ThreadPoolExecutor", Late)
    for module in (bounds, linkage):
        monkeypatch.setattr(module, "TILE", 100)
    vectors = np.repeat(np.random.default_rng(8).standard_normal((300, 80), np.float32), 2, axis=0)
    groups = near_duplicates(write(tmp_path, vectors, 600), 0.98)
    assert [group.rows.tolist() for group in groups] == [[row, row + 1] for row in range(0, 600, 2)]


def test_many_rows_of_few_dimensions(tmp_path: Path) -> None:
    vectors = np.random.default_rng(5).standard_normal((9000, 4), np.float32)
    vectors[8000] = vectors[100] * 3
    groups = near_duplicates(write(tmp_path, vectors, 9000), 0.9999999)
    assert [group.rows.tolist() for group in groups] == [[100, 8000]]


def test_a_threshold_that_means_nothing_is_refused(vectors: Float32Array, tmp_path: Path) -> None:
    dataset = write(tmp_path, vectors, 3000)
    for threshold in (0.0, -1.0, 1.01, float("nan")):
        with pytest.raises(ValueError, match="threshold"):
            near_duplicates(dataset, threshold)


@pytest.mark.slow
@pytest.mark.parametrize("threshold", [0.7, 0.9])
def test_both_bounds_let_every_pair_through_that_reaches_the_threshold(tmp_path: Path, threshold: float) -> None:
    """Enough rows and dimensions for both bounds; coefficients beyond what 8 bits hold; pairs on both sides."""
    random = np.random.default_rng(6)
    centers = random.standard_normal((500, 600), np.float32)
    vectors = np.concatenate([centers * random.uniform(0.5, 2, (500, 1)).astype(np.float32) for _ in range(5)])
    vectors += random.standard_normal(vectors.shape, np.float32) * random.uniform(0.1, 0.9, (2500, 1)).astype(
        np.float32
    )
    vectors[::100] = np.eye(600, dtype=np.float32)[:25] + vectors[::100] * 0.01
    every = cosines(vectors, vectors)
    groups = near_duplicates(write(tmp_path, vectors, 900), threshold)
    assert {tuple(group.rows.tolist()) for group in groups} == connected(every >= threshold)
    assert 100 < len(groups) < 500


@pytest.mark.parametrize(("threshold", "format"), [(0.7, "npy"), (0.999, "parquet")])
def test_pairs_just_above_the_threshold_are_linked_and_those_just_below_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threshold: float, format: DataFormat
) -> None:
    """With small tiles and few directions, so that both bounds and all ways between tiles are used."""
    from fvcli.explore import bounds, contraction, linkage

    for module in (bounds, linkage):
        monkeypatch.setattr(module, "TILE", 50)
    for name, value in (("_NEAR_DIRECTIONS", 12), ("_FAR_DIRECTIONS", 24), ("_SAMPLE", 120)):
        monkeypatch.setattr(contraction, name, value)
    random = np.random.default_rng(7)
    basis = np.linalg.qr(random.standard_normal((210, 210)))[0][:, :200]  # pairs of directions, all orthogonal
    over = np.array([2e-5, -2e-5] * 50)  # what each pair's cosine is above or below
    cosine = np.clip(threshold + over, 0, 1)
    first, across = basis[:, :100].T, basis[:, 100:].T
    second = first * cosine[:, np.newaxis] + across * np.sqrt(1 - cosine**2)[:, np.newaxis]
    lengths = random.uniform(0.1, 20, (200, 1))
    order = random.permutation(200)
    vectors = (np.concatenate([first, second]) * lengths).astype(np.float32)[order]
    place = np.argsort(order)
    groups = near_duplicates(write(tmp_path, vectors, 70, format), threshold)
    wanted = {tuple(sorted((int(place[pair]), int(place[pair + 100])))) for pair in range(0, 100, 2)}
    assert {tuple(group.rows.tolist()) for group in groups} == wanted
    for group in groups:
        assert group.scores[0] == pytest.approx(1, abs=1e-6)
        assert group.scores[1] == pytest.approx(threshold + 2e-5, abs=5e-6)


def test_identical_rows_are_grouped_by_content_alone(tmp_path: Path) -> None:
    vectors = np.ones((6, 8), np.float32)
    contents = [f"{number:064x}" for number in (1, 2, 1, 3, 2, 1)]
    groups = identical_rows(write_dataset(tmp_path, [rows_of(vectors, contents=contents)]))
    assert [rows.tolist() for rows in groups] == [[0, 2, 5], [1, 4]]


def test_the_share_that_is_done_grows_to_one(vectors: Float32Array, tmp_path: Path) -> None:
    shares: list[float] = []
    linked_rows(write(tmp_path, vectors, 3000), 0.99, shares.append)
    assert shares == sorted(shares)
    assert shares[-1] == 1
