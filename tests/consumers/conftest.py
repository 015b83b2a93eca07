"""A user's folder: photographs, and the datasets that the cookbook speaks of."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import fvcli


@pytest.fixture(scope="session")
def folder(sample_images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds photos/, features/ (three Parquet shards) and features-npy/ (the same rows), of one file that fails."""
    place = tmp_path_factory.mktemp("user")
    shutil.copytree(sample_images, place / "photos")
    for name, format in (("features", "parquet"), ("features-npy", "npy")):
        summary = fvcli.extract(place / "photos", place / name, format=format, shard_size=10)
        assert (summary.counts.rows, summary.counts.failed) == (23, 1)
    return place


@pytest.fixture(scope="session")
def features(folder: Path) -> fvcli.Dataset:
    return fvcli.open_dataset(folder / "features")
