"""What a process keeps on its own disk for a dataset in an object store."""

from __future__ import annotations

from pathlib import Path

import pytest

from fvcli.dataset.layout import STAGING
from fvcli.dataset.store import open_store


def test_each_place_has_a_staging_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    places = ["s3://one/a", "s3://two/a", "s3://one/b"]
    folders = {open_store(place).path(STAGING) for place in places}
    assert len(folders) == 3
    assert open_store(places[0]).path(STAGING) in folders
    assert all(folder.is_relative_to(tmp_path) for folder in folders)
