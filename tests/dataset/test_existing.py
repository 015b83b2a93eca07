"""Vectors of a dataset found by the content that they were made from."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path

import numpy as np
import pytest

from fvcli.dataset.existing import ExistingVectors
from fvcli.dataset.store import LocalStore
from tests.helpers.synthetic import rows_of, write_dataset


@pytest.fixture
def existing(tmp_path: Path) -> ExistingVectors:
    """Three shards of two rows. The hashes of two rows begin alike; one content stands in two shards."""
    hashes = ["a" * 64, "a" * 40 + "b" * 24, "0" * 64, "f" * 64, "a" * 64, "12" * 32]
    vectors = np.arange(6, dtype=np.float32)[:, np.newaxis].repeat(4, axis=1)
    shards = [rows_of(vectors[at : at + 2], at, contents=hashes[at : at + 2]) for at in (0, 2, 4)]
    return ExistingVectors(LocalStore(tmp_path), write_dataset(tmp_path, shards).manifest)


def test_every_content_is_found_with_its_vector(existing: ExistingVectors) -> None:
    expected = {"a" * 40 + "b" * 24: 1.0, "0" * 64: 2.0, "f" * 64: 3.0, "12" * 32: 5.0}
    for sha256, value in expected.items():
        found = existing.find(sha256)
        assert found is not None
        assert found[0].sha256 == sha256
        assert found[1].tolist() == [value] * 4
    copied = existing.find("a" * 64)
    assert copied is not None
    assert copied[1][0] in (0.0, 4.0)


@pytest.mark.parametrize("sha256", ["a" * 63 + "c", "a" * 16 + "0" * 48, "0" * 63 + "1", "e" * 64])
def test_half_a_hash_is_not_enough(existing: ExistingVectors, sha256: str) -> None:
    assert existing.find(sha256) is None


def test_a_shard_is_found_by_its_number_however_many_were_read_before(existing: ExistingVectors) -> None:
    for number in (2, 0, 1, 2, 2, 0):
        assert existing.rows(number).vectors[:, 0].tolist() == [2.0 * number, 2.0 * number + 1]


def test_no_more_than_two_shards_stay_in_memory(existing: ExistingVectors) -> None:
    kept = [weakref.ref(existing.rows(number).vectors) for number in (0, 1, 0, 2)]
    gc.collect()
    assert [vectors() is not None for vectors in kept] == [True, False, True, True], "the last used ones"
