"""Folders that disappear while they are walked."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from fvcli.errors import SourceError
from fvcli.sources.discover import Sources, discover
from tests.helpers.trees import make


def test_a_root_that_is_removed_during_the_walk_is_an_error(tmp_path: Path) -> None:
    """An empty one would have all its rows counted as gone."""
    root = make(tmp_path / "photos", "a.jpg", "below/b.jpg", "later/c.jpg")
    walked = discover(Sources((str(root),)))
    assert next(walked).path == "a.jpg"
    shutil.rmtree(root)
    with pytest.raises(SourceError, match="photos' vanished while it was searched"):
        list(walked)


def test_a_folder_that_is_removed_during_the_walk_holds_nothing(tmp_path: Path) -> None:
    root = make(tmp_path / "photos", "a.jpg", "below/b.jpg", "later/c.jpg")
    walked = discover(Sources((str(root),)))
    assert next(walked).path == "a.jpg"
    shutil.rmtree(root / "below")
    assert [ref.path for ref in walked] == ["later/c.jpg"]
