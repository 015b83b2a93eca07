"""The files that a process keeps on its own disk for a dataset in an object store."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fvcli.dataset.layout import STAGING
from fvcli.dataset.store import open_store
from fvcli.errors import DatasetError


def test_each_place_has_a_staging_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    places = ["s3://one/a", "s3://two/a", "s3://one/b"]
    folders = {open_store(place).path(STAGING) for place in places}
    assert len(folders) == 3
    assert open_store(places[0]).path(STAGING) in folders
    assert all(folder.is_relative_to(tmp_path) for folder in folders)


def test_a_staging_folder_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    uid = os.getuid()
    monkeypatch.setattr("os.getuid", lambda: uid + 1)  # the folder below is then another user's
    (tmp_path / f"fvcli-{uid + 1}").mkdir()
    with pytest.raises(DatasetError, match="is not yours; set TMPDIR"):
        open_store("s3://one/a")


def test_a_staging_folder_behind_a_link_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "aim").mkdir()
    (tmp_path / f"fvcli-{os.getuid()}").symlink_to(tmp_path / "aim")
    with pytest.raises(DatasetError, match="is not yours"):
        open_store("s3://one/a")
