"""Fixtures every room shares."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def repository() -> Path:
    """The top of this checkout."""
    return REPOSITORY


@pytest.fixture(scope="session")
def sample_images() -> Path:
    """The images that ship with the project, odd and broken ones among them."""
    return REPOSITORY / "sample_images"


@pytest.fixture(scope="session")
def shared() -> Path:
    """Google's model files and many photographs, where the machine has them beside the repository."""
    folder = REPOSITORY.parent / "shared"
    if not (folder / "models").is_dir():
        pytest.skip("needs the folder ../shared with models and photographs")
    return folder


@pytest.fixture(scope="module")
def photographs(sample_images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample images that are whole, 20 and more, in a folder of their own."""
    folder = tmp_path_factory.mktemp("photographs") / "photos"
    shutil.copytree(sample_images, folder, ignore=shutil.ignore_patterns("README.md", "broken*"))
    return folder
