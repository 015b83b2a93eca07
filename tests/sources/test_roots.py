"""One folder is one root, however it is spelled, and no file comes twice."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fvcli.errors import SourceError
from fvcli.sources.discover import Sources, discover
from fvcli.sources.read import read
from fvcli.sources.roots import normalized
from tests.helpers.trees import JPEG_START, found, make, names, passed_over


def keys(*sources: str, **options: object) -> list[tuple[str, str]]:
    return [(ref.root, ref.path) for ref in found(*sources, **options)]


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    make(tmp_path, "photos/a.jpg", "photos/in/b.jpg", "x/other.jpg")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "photos"


@pytest.mark.parametrize(
    "spelling", ["photos", "photos/", "./photos", "photos/.", "photos//", ".//photos/./", "x/../photos", "photos/in/.."]
)
def test_spellings_of_a_folder_are_one_root(photos: Path, spelling: str) -> None:
    assert keys(spelling) == [("photos", "a.jpg"), ("photos", "in/b.jpg")]
    assert keys(spelling, "photos") == keys("photos")


def test_an_absolute_path_beside_a_relative_one_is_the_first_of_them(photos: Path) -> None:
    assert keys(str(photos), "photos") == [(str(photos), "a.jpg"), (str(photos), "in/b.jpg")]
    assert keys("photos", str(photos)) == [("photos", "a.jpg"), ("photos", "in/b.jpg")]
    (photos.parent / "link").symlink_to("photos")
    assert keys("photos", "link") == keys("photos")
    assert keys("link") == [("link", "a.jpg"), ("link", "in/b.jpg")]


def test_two_dots_behind_a_link_mean_what_the_system_means(photos: Path) -> None:
    (photos.parent / "link").symlink_to("photos/in")
    assert normalized("link/../in") == "link/../in"
    assert keys("link/../in") == [("link/../in", "b.jpg")]
    assert normalized("/") == "/"
    assert normalized("//") == "/"


def test_a_folder_below_another_source_is_part_of_it(photos: Path) -> None:
    assert keys("photos/in", "photos") == keys("photos")
    assert keys(".", "photos", "x") == keys(".")
    assert len(keys(".")) == 3
    assert keys("photos", "photos/a.jpg", "x/other.jpg") == [("", "x/other.jpg"), *keys("photos")]


def test_a_folder_that_the_other_s_walk_leaves_out_stands_alone(photos: Path) -> None:
    assert keys("photos", "photos/in", exclude=("in",)) == [("photos", "a.jpg"), ("photos/in", "b.jpg")]
    make(photos, ".thumbnails/t.jpg")
    assert ("photos/.thumbnails", "t.jpg") in keys("photos", "photos/.thumbnails")


def test_listed_files_below_a_source_come_once(photos: Path, tmp_path: Path) -> None:
    make(photos, "odd.mov", "._c.jpg")
    lines = ["photos/a.jpg", f"{photos}/in/b.jpg", "x/other.jpg", "photos/odd.mov", "photos/._c.jpg"]
    (tmp_path / "list").write_text("\n".join(lines))
    assert keys("photos", files_from="list") == [
        ("", "photos/._c.jpg"),
        ("", "photos/odd.mov"),
        ("", "x/other.jpg"),
        ("photos", "a.jpg"),
        ("photos", "in/b.jpg"),
    ]


def test_a_file_that_is_named_and_listed_comes_once(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "list").write_text("x/other.jpg\nphotos/a.jpg\n")
    assert keys("x/other.jpg", files_from="list") == [("", "photos/a.jpg"), ("", "x/other.jpg")]


def test_a_listed_file_in_a_folder_whose_name_is_not_utf8_comes_once(tmp_path: Path) -> None:
    folder = os.path.join(os.fsencode(tmp_path), b"caf\xe9")
    os.mkdir(folder)
    for name in (b"/a.jpg", b"/b.jpg"):
        Path(os.fsdecode(folder + name)).write_bytes(JPEG_START)
    (tmp_path / "list").write_bytes(folder + b"/a.jpg")
    refs = found(os.fsdecode(folder), files_from=str(tmp_path / "list"))
    assert [ref.location for ref in refs] == [folder + b"/a.jpg", folder + b"/b.jpg"]


def test_a_file_called_as_the_stand_in_of_another_one_is_an_input_too(tmp_path: Path) -> None:
    folders = [os.path.join(os.fsencode(tmp_path), name) for name in (b"caf\xe9", rb"caf\xe9")]
    for number, folder in enumerate(folders):
        os.mkdir(folder)
        Path(os.fsdecode(folder + b"/a.jpg")).write_bytes(JPEG_START + bytes([number]))
    refs = found(os.fsdecode(folders[0]), os.fsdecode(folders[1] + b"/a.jpg"))
    assert len({(ref.root, ref.path) for ref in refs}) == 2
    assert {ref.location: read(ref).data[-1] for ref in refs} == {
        folder + b"/a.jpg": number for number, folder in enumerate(folders)
    }


def test_a_root_that_vanishes_during_the_walk_is_an_error(photos: Path) -> None:
    make(photos, *(f"d{number}/x.jpg" for number in range(5)))
    refs = discover(Sources(("photos",)))
    next(refs)
    photos.rename(photos.parent / "moved")
    with pytest.raises(SourceError, match="vanished"):
        list(refs)


def test_a_folder_that_vanishes_during_the_walk_takes_only_its_files_along(photos: Path) -> None:
    make(photos, *(f"d{number}/x.jpg" for number in range(5)))
    refs = discover(Sources(("photos",)))
    first = next(refs)
    (photos / "d3").rename(photos.parent / "moved")
    assert [first.path, *(ref.path for ref in refs)] == [
        "a.jpg",
        "d0/x.jpg",
        "d1/x.jpg",
        "d2/x.jpg",
        "d4/x.jpg",
        "in/b.jpg",
    ]


def test_many_folders_side_by_side_stay_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, *(f"p/{number}/x.jpg" for number in range(300)))
    monkeypatch.chdir(tmp_path)
    assert len(names("p/*")) == 300
    assert {ref.root for ref in found("p/*")} == {f"p/{number}" for number in range(300)}


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Names of folders that refuse to be listed; the tests may run as root, whom nothing is refused."""
    names: set[str] = set()
    listing = os.scandir

    def scandir(folder: str) -> object:
        if os.path.basename(str(folder).rstrip("/")) in names:
            raise PermissionError(13, "Permission denied")
        return listing(folder)

    monkeypatch.setattr(os, "scandir", scandir)
    return names


def test_a_source_that_refuses_is_told_from_an_empty_one(photos: Path, closed: set[str]) -> None:
    (photos.parent / "empty").mkdir()
    assert keys("empty") == []
    closed.add("photos")
    with pytest.raises(SourceError, match=r"cannot list the folder 'photos': permission denied"):
        keys("photos")


def test_lost_and_found_is_no_failure_where_it_refuses(photos: Path, closed: set[str]) -> None:
    make(photos, "lost+found/c.jpg")
    assert ("photos", "lost+found/c.jpg") in keys("photos")
    closed.update(["lost+found", "in"])
    assert keys("photos") == [("photos", "a.jpg"), ("photos", "in/")]
    assert passed_over("photos") == {"lost+found folder": 1}
