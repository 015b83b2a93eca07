"""Links between near-duplicates: at every threshold they connect what a search at that threshold connects."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fvcli.explore.linkage import linked_rows
from fvcli.report import links as module
from fvcli.report.links import links
from tests.helpers.synthetic import rows_of, write_dataset


def chain(count: int, angle: float) -> np.ndarray:
    """Vectors on a circle, each ``angle`` from the next; float32 [count, 4]."""
    turns = np.arange(count) * angle
    return np.stack([np.cos(turns), np.sin(turns), 0 * turns, 0 * turns], axis=1).astype(np.float32)


@pytest.fixture
def vectors() -> np.ndarray:
    generator = np.random.default_rng(5)
    loose = generator.normal(0, 1, (40, 4))
    tight = np.repeat(generator.normal(0, 1, (6, 4)), 4, axis=0) + generator.normal(0, 0.05, (24, 4))
    return np.concatenate([loose, tight, chain(12, 0.2)]).astype(np.float32)


def sets(groups: list[np.ndarray]) -> set[frozenset[int]]:
    return {frozenset(group.tolist()) for group in groups}


@pytest.mark.parametrize("tree", [3000, 5], ids=["compared", "too many to compare"])
def test_groups_are_those_of_the_search(
    vectors: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tree: int
) -> None:
    monkeypatch.setattr(module, "_TREE", tree)
    dataset = write_dataset(tmp_path / "features", [rows_of(vectors)])
    found = links(dataset, 0.9, 1000, lambda share: None)
    thresholds = (0.9, 0.95, 0.98, 0.99, 0.999) if tree == 3000 else (0.9,)
    for threshold in thresholds:
        assert sets([found.rows[group] for group in found.groups(threshold)]) == sets(linked_rows(dataset, threshold))


def test_a_link_is_the_cosine_of_its_rows(vectors: np.ndarray, tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "features", [rows_of(vectors)])
    found = links(dataset, 0.9, 1000, lambda share: None)
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    np.testing.assert_allclose(found.scores, np.vecdot(units[found.pairs[:, 0]], units[found.pairs[:, 1]]), atol=1e-6)
    groups = sum(len(group) - 1 for group in linked_rows(dataset, 0.9))
    assert len(found.pairs) == groups  # a forest: one link fewer than rows in each group


def test_rows_of_one_content_hang_on_its_first_row(tmp_path: Path) -> None:
    contents = [f"{number:064x}" for number in (1, 2, 1, 3, 1, 2)]
    vectors = np.eye(6, dtype=np.float32)[[0, 1, 0, 2, 0, 1]]
    dataset = write_dataset(tmp_path / "features", [rows_of(vectors, contents=contents)])
    found = links(dataset, 0.9, 1000, lambda share: None)
    assert sorted(map(tuple, found.pairs.tolist())) == [(0, 2), (0, 4), (1, 5)]
    assert found.scores.tolist() == [1, 1, 1]
    assert found.rows.tolist() == [0, 1, 2, 4, 5]
    assert len(set(found.contents.tolist())) == 2


def test_groups_beyond_the_limit_are_left_out_and_counted(tmp_path: Path) -> None:
    vectors = np.eye(8, dtype=np.float32)[[0, 0, 0, 1, 1, 2, 2, 3]]
    dataset = write_dataset(tmp_path / "features", [rows_of(vectors)])
    found = links(dataset, 0.9, 5, lambda share: None)
    assert len(found.rows) == 5
    assert found.left_out == 2
    assert links(dataset, 0.9, 1, lambda share: None).left_out == 7
