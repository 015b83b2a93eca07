"""Bounds of distances, against distances themselves: no pair at the threshold may be ruled out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from fvcli.explore import bounds, contraction
from fvcli.explore.bounds import Bounds
from fvcli.explore.contraction import contraction_for
from fvcli.explore.neighbors import normalized
from fvcli.explore.pairs import places_of
from fvcli.records import Float32Array
from tests.helpers.cosines import write

ROWS = 400
WIDE = 200


def spread_evenly(random: np.random.Generator) -> Float32Array:
    return random.standard_normal((ROWS, WIDE), np.float32)


def in_few_directions(random: np.random.Generator) -> Float32Array:
    """All distances are kept by the codes, so that rounding alone can lose a pair."""
    return random.standard_normal((ROWS, 20), np.float32) @ random.standard_normal((20, WIDE), np.float32)


def of_few_dimensions(random: np.random.Generator) -> Float32Array:
    return random.standard_normal((ROWS, 6), np.float32)


def with_a_common_mean(random: np.random.Generator) -> Float32Array:
    """As averages after ReLU6 are, but much more so."""
    return np.maximum(1 + random.standard_normal((ROWS, WIDE), np.float32) * np.float32(0.02), 0)


def sparse(random: np.random.Generator) -> Float32Array:
    return np.maximum(random.standard_normal((ROWS, WIDE), np.float32) - 1.5, 0)


def alike_but_for_some(random: np.random.Generator) -> Float32Array:
    """The others are far beyond what the codes of the many can hold."""
    vectors = 1 + random.standard_normal((ROWS, WIDE), np.float32) * np.float32(0.001)
    vectors[::20] = random.standard_normal((ROWS // 20, WIDE), np.float32)
    return vectors


def of_all_lengths(random: np.random.Generator) -> Float32Array:
    """Down to squares that float32 holds badly or not at all."""
    lengths = 10 ** random.uniform(-23, 17, (ROWS, 1))
    lengths[::3] = 10 ** random.uniform(-22.5, -21, (len(lengths[::3]), 1))
    return (random.standard_normal((ROWS, 4)) * lengths).astype(np.float32)


def identical(random: np.random.Generator) -> Float32Array:
    return np.tile(random.standard_normal((1, WIDE), np.float32), (ROWS, 1))


KINDS = [
    spread_evenly, in_few_directions, of_few_dimensions, with_a_common_mean, sparse, alike_but_for_some,
    of_all_lengths, identical,
]  # fmt: skip


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiles of which several are needed, the last one cut short; directions that are not those of all rows."""
    monkeypatch.setattr(bounds, "TILE", 128)
    monkeypatch.setattr(contraction, "_SAMPLE", 200)
    monkeypatch.setattr(contraction, "_NEAR_DIRECTIONS", 60)
    monkeypatch.setattr(contraction, "_FAR_DIRECTIONS", 60)


def candidates(found: Bounds) -> NDArray[np.bool_]:
    """A mask [n, n] of the pairs, the lower place first; each is there once."""
    tiles = range(0, len(found), bounds.TILE)
    pairs = np.concatenate([found.pairs(first, second) for first in tiles for second in tiles if first <= second])
    assert len(np.unique(pairs)) == len(pairs)
    mask = np.zeros((len(found), len(found)), np.bool_)
    mask[places_of(pairs)] = True
    return mask


@pytest.mark.parametrize("kind", KINDS)
def test_every_pair_that_reaches_the_threshold_is_a_candidate(
    kind: Callable[[np.random.Generator], Float32Array], tmp_path: Path
) -> None:
    """At thresholds that are cosines of pairs, so that some are at it, and others just above."""
    vectors = kind(np.random.default_rng(11))
    useless = [3, 5, 300, 399]
    vectors[[3, 300]] = 0
    vectors[[5, 399], [1, 2]] = np.nan, np.inf
    units = normalized(vectors)
    cosines = np.triu(np.vecdot(units[:, np.newaxis], units[np.newaxis]), 1)
    positive = np.sort(cosines[(cosines > 0) & (cosines <= 1)])
    dataset = write(tmp_path, vectors, 250)
    for share in (0.3, 0.99, 0.9999):
        threshold = float(positive[int(share * len(positive))])
        wanted = cosines >= threshold
        assert wanted.any()
        found = candidates(Bounds(dataset, np.arange(ROWS), threshold))
        assert not (wanted & ~found).any()
        assert not found[useless].any()
        assert not found[:, useless].any()


@pytest.mark.parametrize(("kind", "threshold"), [(spread_evenly, 0.7), (with_a_common_mean, 0.9999), (sparse, 0.7)])
def test_few_other_pairs_are_candidates(
    kind: Callable[[np.random.Generator], Float32Array], threshold: float, tmp_path: Path
) -> None:
    vectors = kind(np.random.default_rng(12))
    vectors[1::40] = vectors[::40] * np.float32(1.01)
    found = candidates(Bounds(write(tmp_path, vectors, 250), np.arange(ROWS), threshold))
    assert 10 <= found.sum() < 1000


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_codes_are_no_farther_apart_than_vectors_and_errors(
    kind: Callable[[np.random.Generator], Float32Array], tmp_path: Path
) -> None:
    vectors = kind(np.random.default_rng(13))
    units = (vectors / np.maximum(np.linalg.norm(vectors.astype(np.float64), axis=1), 1e-300)[:, np.newaxis]).astype(
        np.float32
    )
    found = contraction_for(write(tmp_path, vectors, 250), np.arange(ROWS))
    codes = found.codes(units)
    exact = units.astype(np.float64)
    distances = np.linalg.norm(exact[:, np.newaxis] - exact, axis=2)
    near = codes.near * found.near_step
    both = np.column_stack([near[:, :-1], codes.far * found.far_step])
    for values, errors in ((near, codes.near_errors), (both, codes.far_errors)):
        kept = np.linalg.norm(values[:, np.newaxis] - values, axis=2)
        assert (kept <= distances + errors + errors[:, np.newaxis]).all()


def test_a_mean_and_directions_of_other_vectors_lose_nothing(tmp_path: Path) -> None:
    """The first rows alone are sampled from; the others are in other directions."""
    random = np.random.default_rng(14)
    vectors = spread_evenly(random)
    first = 3 + random.standard_normal((100, WIDE), np.float32) * 0.01
    found = contraction_for(write(tmp_path, np.concatenate([first, vectors]).astype(np.float32), 400), np.arange(100))
    codes = found.codes(normalized(vectors))
    exact = normalized(vectors).astype(np.float64)
    distances = np.linalg.norm(exact[:, np.newaxis] - exact, axis=2)
    near = codes.near * found.near_step
    kept = np.linalg.norm(near[:, np.newaxis] - near, axis=2)
    assert (kept <= distances + codes.near_errors + codes.near_errors[:, np.newaxis]).all()
