"""Names in order, and files that a search passes over, counted by kind."""

from __future__ import annotations

import os
import random
import tarfile
from pathlib import Path

import numpy as np
import pytest

from fvcli.dataset.layout import DataFormat
from fvcli.sources import candidates
from fvcli.sources.candidates import Names, PassedOver, told
from tests.helpers.synthetic import rows_of, write_dataset
from tests.helpers.trees import found, make, names, passed_over


def test_a_phone_s_folder_is_images_and_films(tmp_path: Path) -> None:
    for number in range(1, 6):
        make(tmp_path, f"IMG_{number:04}.JPG", f"IMG_{number:04}.HEIC", f"IMG_{number:04}.dng")
        make(tmp_path, f"IMG_{number:04}.MOV", f"IMG_{number:04}.aae", content=b"no image")
    assert len(found(tmp_path)) == 15
    assert passed_over(tmp_path) == {".aae": 5, ".mov": 5}


def test_names_without_a_known_extension_are_decided_by_their_first_bytes(tmp_path: Path) -> None:
    make(tmp_path, "cat.jpg_large", "DSC0001.1", "photo", "x.jpg~", "IMG.JPG (2)")
    make(tmp_path, "notes.odd", "README", "x.weird name", content=b"words")
    make(tmp_path, "film.mov")  # its name says that it is no image
    assert names(tmp_path) == ["DSC0001.1", "IMG.JPG (2)", "cat.jpg_large", "photo", "x.jpg~"]
    assert passed_over(tmp_path) == {"other file": 2, ".mov": 1, ".odd": 1}


def test_links_pipes_and_companions_are_told(tmp_path: Path) -> None:
    make(tmp_path, "photos/a.jpg", "photos/._a.jpg", "photos/._b.png", "elsewhere/b.jpg")
    (tmp_path / "photos/more").symlink_to("../elsewhere")
    (tmp_path / "photos/zero.jpg").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "photos/pipe.jpg")
    assert names(tmp_path / "photos") == ["a.jpg"]
    assert passed_over(tmp_path / "photos") == {
        "macOS companion file": 2,
        "special file": 2,
        "symlinked folder": 1,
    }
    assert "symlinked folder" not in passed_over(tmp_path / "photos", follow_symlinks=True)


@pytest.mark.parametrize("name", ["@eaDir", ".thumbnails", "$RECYCLE.BIN", ".Trash-1000", ".Trashes", "#recycle"])
def test_thumbnails_and_bins_are_not_entered_unless_they_are_the_source(tmp_path: Path, name: str) -> None:
    make(tmp_path, "a.jpg", f"{name}/x.jpg", f"sub/{name}/deep/y.jpg")
    assert names(tmp_path) == ["a.jpg"]
    assert passed_over(tmp_path) == {f"{name} folder": 2}
    assert names(tmp_path / name) == ["x.jpg"]
    assert len(names(tmp_path, tmp_path / name)) == 2


@pytest.mark.parametrize(("format", "files"), [("parquet", 1), ("npy", 2)])
def test_a_dataset_in_the_folder_of_its_images_is_told_as_such(tmp_path: Path, format: DataFormat, files: int) -> None:
    make(tmp_path, "a.jpg", "part-1.jpg")
    write_dataset(tmp_path / "features", [rows_of(np.ones((2, 3), np.float32))], format)
    make(tmp_path, "features/.fvcli/lock", content=b"words")
    assert names(tmp_path) == ["a.jpg", "part-1.jpg"]
    assert passed_over(tmp_path) == {"dataset file": files, ".json": 1, ".fvcli folder": 1}


def test_what_the_user_s_patterns_leave_out_is_not_counted(tmp_path: Path) -> None:
    make(tmp_path, "a.jpg", "a.mov", "raw/b.mov", "c.txt")
    assert passed_over(tmp_path, exclude=("raw", "*.txt")) == {".mov": 1}
    assert passed_over(tmp_path, include=("*.jpg",)) == {}


def test_members_of_archives_are_counted_as_files_are(tmp_path: Path) -> None:
    make(tmp_path / "in", "a.jpg", "a.json", "b.json", "film.mov")
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        tar.add(tmp_path / "in", "")
    assert passed_over(tmp_path / "x.tar") == {".json": 2, ".mov": 1}


def test_compressed_archives_are_counted_by_their_whole_extension(tmp_path: Path) -> None:
    make(tmp_path, "a.tar.gz", "b.TAR.GZ", "c.tgz", "d.7z", content=b"\x1f\x8b")
    assert passed_over(tmp_path) == {".tar.gz": 2, ".7z": 1, ".tgz": 1}


def test_a_glob_walks_the_folders_it_matches_and_tells_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path, "p/a.jpg", "p/2024/b.jpg", "p/2025/in/c.jpg", "p/film.mov", "p/noext")
    monkeypatch.chdir(tmp_path)
    assert [(ref.root, ref.path) for ref in found("p/*")] == [
        ("", "p/a.jpg"),
        ("", "p/noext"),
        ("p/2024", "b.jpg"),
        ("p/2025", "in/c.jpg"),
    ]
    assert passed_over("p/*") == {".mov": 1}
    assert [(ref.root, ref.path) for ref in found("p/**")] == [
        ("p", "2024/b.jpg"),
        ("p", "2025/in/c.jpg"),
        ("p", "a.jpg"),
        ("p", "noext"),
    ]


def test_a_thousand_extensions_stay_two_hundred_kinds_and_the_rest() -> None:
    tally = PassedOver()
    for number in range(1000):
        tally.add_file(f"x.e{number}")
    assert len(tally.to_json()) == 201
    assert sum(tally.to_json().values()) == 1000


def test_the_line_names_the_largest_kinds_first() -> None:
    assert told({".heic": 60, ".mov": 60, ".zip": 3}) == "60 .heic, 60 .mov, 3 .zip"
    assert told({f".e{number}": 1000 for number in range(10)}).endswith("1,000 .e7, 2,000 of 2 more kinds")
    assert told({"symlinked folder": 1, "special file": 2}) == "1 symlinked folder, 2 special files"
    assert told({}) == ""


def test_a_file_whose_first_bytes_are_missing_or_refused_is_told_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path, "empty", "a.jpg", content=b"")
    make(tmp_path, "b", "closed")
    opening = os.open

    def refusing(path: str | bytes, *rest: int, **more: int) -> int:
        if os.fsencode(path).endswith(b"/closed"):
            raise PermissionError(13, "Permission denied")
        return opening(path, *rest, **more)

    monkeypatch.setattr(os, "open", refusing)
    assert names(tmp_path) == ["a.jpg", "b"]
    assert passed_over(tmp_path) == {"other file": 2}


def collected(names: list[str]) -> list[str]:
    shuffled = Names()
    for name in random.Random(1).sample(names, len(names)):
        shuffled.add(name)
    return list(shuffled)


def test_a_few_names_come_out_sorted() -> None:
    assert collected([]) == []
    assert collected(["b", "a-b.jpg", "a/", "a", "é.png"]) == ["a", "a-b.jpg", "a/", "b", "é.png"]


def test_many_names_come_out_sorted_whatever_characters_they_have(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(candidates, "_RUN", 1 << 12)
    kinds = ["{:07d}.jpg", "ü{}.png", "\U0001f600{}", "\uffee{} .jpg", "{}\udcff.gif", "x" * 5000 + "{}"]
    names = [kinds[number % 5 if number % 1000 else 5].format(number) for number in range(12_303)]
    assert collected(names) == sorted(names)
