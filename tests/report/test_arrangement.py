"""The plane and the grid: similar vectors end up side by side, one picture per cell."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fvcli.dataset.reader import open_dataset
from fvcli.report.embedding import directions, embed, likeness, quantized, spread_from
from fvcli.report.grid import arrange, shape
from tests.helpers.pages import run
from tests.helpers.synthetic import rows_of, write_dataset


def bunches(count: int, size: int, dimension: int = 32) -> np.ndarray:
    """Vectors in tight bunches far from each other, float32 [count * size, dimension]."""
    generator = np.random.default_rng(0)
    centers = generator.normal(0, 1, (count, dimension))
    return (np.repeat(centers, size, axis=0) + generator.normal(0, 0.05, (count * size, dimension))).astype(np.float32)


@pytest.mark.slow
def test_vectors_of_one_bunch_are_side_by_side_on_the_wall() -> None:
    units = directions(bunches(6, 20))
    grid = arrange(embed(units, seed=0, threads=1))
    cells = np.stack([grid.cells % grid.columns, grid.cells // grid.columns], axis=1)
    distances = np.linalg.norm(cells[:, np.newaxis] - cells, axis=2)
    np.fill_diagonal(distances, np.inf)
    nearest = np.argsort(distances, axis=1, kind="stable")[:, :3]
    same = (nearest // 20 == np.arange(120)[:, np.newaxis] // 20).mean()
    assert same > 0.75  # by chance 0.16


@pytest.mark.slow
def test_the_same_seed_gives_the_same_plane_whatever_the_threads() -> None:
    units = directions(bunches(4, 15))
    one = embed(units, seed=3, threads=1)
    assert np.array_equal(one, embed(units, seed=3, threads=2))
    assert one[:, 0].var() >= one[:, 1].var()


@pytest.mark.parametrize(
    "vectors",
    [np.zeros((30, 4)), np.ones((30, 1)), np.ones((1, 3)), np.eye(2), np.full((9, 3), np.nan), np.zeros((0, 5))],
    ids=["zeros", "one dimension", "one row", "two rows", "not finite", "none"],
)
def test_odd_vectors_have_finite_places_and_cells_of_their_own(vectors: np.ndarray) -> None:
    plane = embed(directions(vectors.astype(np.float32)), seed=0, threads=1)
    assert plane.shape == (len(vectors), 2)
    assert np.isfinite(plane).all()
    grid = arrange(plane)
    assert len(set(grid.cells.tolist())) == len(vectors)
    points, aspect = quantized(plane)
    assert points.shape == (len(vectors), 2)
    assert np.isfinite(aspect)


@pytest.mark.parametrize("count", [1, 2, 3, 7, 24, 100, 1206, 2999, 3000])
def test_a_grid_is_about_5_to_3_with_few_cells_empty(count: int) -> None:
    columns, lines = shape(count)
    assert count <= columns * lines
    if count >= 24:
        assert columns * lines - count < max(columns, lines)
        assert 0.45 <= lines / columns <= 0.78


def test_the_grid_keeps_left_and_right_above_and_below() -> None:
    generator = np.random.default_rng(1)
    plane = generator.random((60, 2)).astype(np.float32)
    grid = arrange(plane)
    cells = np.stack([grid.cells % grid.columns, grid.cells // grid.columns], axis=1)
    for axis in (0, 1):
        assert np.corrcoef(plane[:, axis], cells[:, axis])[0, 1] > 0.95


def test_rows_off_the_wall_are_placed_by_their_nearest_pictures(tmp_path: Path) -> None:
    vectors = bunches(5, 12)
    dataset = write_dataset(tmp_path / "features", [rows_of(vectors)])
    rows, anchors = np.arange(60), np.arange(0, 60, 3)
    near = likeness(dataset, rows, anchors, 8)
    scores = directions(vectors) @ directions(vectors)[anchors].T
    scores[anchors, np.arange(20)] = -2
    assert near.places[:, 0].tolist() == scores.argmax(1).tolist()
    np.testing.assert_allclose(near.scores, np.sort(scores, axis=1)[:, ::-1][:, :8], atol=1e-5)
    plane = np.random.default_rng(2).normal(0, 1, (20, 2)).astype(np.float32)
    placed = spread_from(plane, anchors, near)
    assert np.array_equal(placed[anchors], plane)
    for row in set(range(60)) - set(anchors.tolist()):
        some = plane[near.places[row, :4]]
        assert (some.min(0) - 1e-5 <= placed[row]).all()
        assert (placed[row] <= some.max(0) + 1e-5).all()


def test_quantized_points_keep_their_shape() -> None:
    points, aspect = quantized(np.array([[-2.0, 0.0], [2.0, 1.0], [0.0, 0.5]], np.float32))
    assert aspect == pytest.approx(0.25)
    assert points.tolist() == [[0, 0], [65535, 16384], [32768, 8192]]


@pytest.mark.slow
def test_the_wall_keeps_neighbors_of_photographs(shared: Path, tmp_path: Path) -> None:
    photographs = shared / "data" / "bsds500"
    if not photographs.is_dir():
        pytest.skip("needs photographs")
    assert run("extract", photographs, "-o", "features", "-q", cwd=tmp_path).returncode == 0
    units = directions(open_dataset(tmp_path / "features").vectors())
    scores = units @ units.T
    np.fill_diagonal(scores, -2)
    true = np.argsort(-scores, axis=1)[:, :8]
    grid = arrange(embed(units, seed=0, threads=2))
    cells = np.stack([grid.cells % grid.columns, grid.cells // grid.columns], axis=1)
    distances = ((cells[:, np.newaxis] - cells) ** 2).sum(-1).astype(float)
    np.fill_diagonal(distances, np.inf)
    around = np.argsort(distances, axis=1, kind="stable")[:, :24]
    kept = np.mean([len(np.intersect1d(a, b)) for a, b in zip(true, around, strict=True)]) / 8
    assert kept >= 0.3
