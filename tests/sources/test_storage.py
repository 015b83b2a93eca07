"""One contract for all places that hold inputs: what is found and read does not depend on which it is."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from fvcli import locations
from fvcli.errors import ImageError
from fvcli.records import ImageRef
from fvcli.sources.read import read, storage_of
from fvcli.sources.storage import EntryKind, Storage
from tests.helpers.buckets import stand_in_for_s3, upload
from tests.helpers.trees import JPEG_START, found, make, passed_over


@pytest.fixture(params=["disk", "bucket"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A folder of images, archives and other things, on a disk or in a bucket."""
    tree = tmp_path / "tree"
    make(tree, "a.jpg", "a-b.jpg", "a/b.jpg", "a/deep/c.PNG", "bare", "ü.webp", "x.odd", "@eaDir/t.jpg", "._a.jpg")
    make(tree, "bare-text", "y.odd", "film.mov", "a/notes.txt", content=b"words")
    make(tree, "long.jpg", content=JPEG_START * 10_000)
    with tarfile.open(tree / "b.tar", "w") as tar:
        for name in ("z.jpg", "in/y.jpg", "label.cls"):
            data = b"7" if name == "label.cls" else JPEG_START
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    (tree / "cut.tar").write_bytes((tree / "b.tar").read_bytes()[:1100])
    if request.param == "disk":
        yield str(tree)
        return
    monkeypatch.setattr(locations, "_FIRST_PAUSE_SECONDS", 0.001)
    (tmp_path / "s3").mkdir()
    with stand_in_for_s3(monkeypatch, tmp_path / "s3") as server:
        upload(server, tree, "bucket/tree/")
        yield "s3://bucket/tree"


@pytest.fixture
def storage(place: str) -> Storage:
    return storage_of(place)


def test_the_same_inputs_are_found_with_their_sizes(place: str) -> None:
    size = len(JPEG_START)
    assert [(ref.path, ref.size_bytes) for ref in found(place)] == [
        ("a-b.jpg", size),
        ("a.jpg", size),
        ("a/b.jpg", size),
        ("a/deep/c.PNG", size),
        ("b.tar!in/y.jpg", size),
        ("b.tar!z.jpg", size),
        ("bare", size),
        ("cut.tar!", -1),
        ("cut.tar!z.jpg", size),
        ("long.jpg", size * 10_000),
        ("x.odd", size),
        ("ü.webp", size),
    ]
    assert passed_over(place) == {
        ".cls": 1,
        ".mov": 1,
        ".odd": 1,
        ".txt": 1,
        "@eaDir folder": 1,
        "macOS companion file": 1,
        "other file": 1,
    }


def test_every_input_is_read_with_the_time_that_was_found(place: str) -> None:
    for ref in found(place):
        if ref.path == "cut.tar!":
            with pytest.raises(ImageError, match="cut off"):
                read(ref)
            continue
        file = read(ref)
        assert (len(file.data), file.mtime_ns) == (ref.size_bytes, ref.mtime_ns)
        assert file.data == JPEG_START * (ref.size_bytes // len(JPEG_START))


def test_folders_say_what_is_in_them(place: str, storage: Storage) -> None:
    folder = storage.folder(place)
    kinds = dict(folder)
    assert kinds["a"] is EntryKind.FOLDER
    assert kinds["a.jpg"] is kinds["film.mov"] is EntryKind.FILE
    inner = folder.enter("a")
    assert dict(inner) == {"b.jpg": EntryKind.FILE, "deep": EntryKind.FOLDER, "notes.txt": EntryKind.FILE}
    found = inner.stat("b.jpg")
    assert found is not None
    assert found[0] == len(JPEG_START)
    assert inner.start("b.jpg", 3) == JPEG_START[:3]
    with pytest.raises(FileNotFoundError):
        list(folder.enter("nothing"))


def test_named_things_are_told_apart(place: str, storage: Storage) -> None:
    assert storage.is_folder(f"{place}/a") is True
    assert storage.is_folder(f"{place}/a.jpg") is False
    assert storage.is_folder(f"{place}/nothing") is None
    names = [os.fsencode(f"{place}/{name}") for name in ("a.jpg", "nothing.jpg", "a", "ü.webp")]
    assert [size for size, _ in storage.examine(names)] == [len(JPEG_START), -1, -1, len(JPEG_START)]


def test_open_files_are_read_anywhere_and_never_beyond_their_end(place: str, storage: Storage) -> None:
    with storage.open(ImageRef(place, "long.jpg")) as file:
        whole = JPEG_START * 10_000
        assert file.size == len(whole)
        assert file.read_at(5, 7) == whole[5:12]
        assert file.read_at(len(whole) - 2, 100) == whole[-2:]
        assert file.read_at(len(whole) + 5, 10) == b""
        scan = file.scanner()
        assert [scan(at, 3) for at in (0, 50, 100_000)] == [whole[at : at + 3] for at in (0, 50, 100_000)]
        file.require_unchanged()


def test_what_is_missing_is_not_found(place: str, storage: Storage) -> None:
    ref = ImageRef(place, "nothing.jpg")
    with pytest.raises(FileNotFoundError) as raised:
        storage.open(ref)
    assert storage.explain(raised.value, ref).kind == "NotFound"
    for path in ("nothing.jpg", "b.tar!nothing.jpg", "nothing.tar!a.jpg"):
        with pytest.raises(ImageError) as failure:
            read(ImageRef(place, path))
        assert failure.value.kind == "NotFound"
