"""Photographs that are trained on or set aside, and their classes."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from training import photographs


def sha256(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def test_the_smallest_hashes_are_set_aside(tmp_path: Path) -> None:
    names = {
        "photos": [f"n{number:08}_thing.JPEG" for number in range(300)],
        "more": [f"{number:05}.avif" for number in range(1200)],
        "bsds500": ["100007.jpg"],
        "validation": ["ILSVRC2012_val_00000001.jpg"],
    }
    for folder, files in names.items():
        (tmp_path / folder).mkdir()
        for name in files:
            (tmp_path / folder / name).touch()

    parts = photographs.split(tmp_path)

    for chosen, folder, count in ((parts.validation, "photos", 106), (parts.aside, "more", 1000)):
        assert {path.name for path in chosen} == set(sorted(names[folder], key=sha256)[:count])
        assert {path.parent.name for path in chosen} == {folder}
    assert len(parts.train) == (300 - 106) + (1200 - 1000) + 1
    assert not {*parts.train} & {*parts.validation, *parts.aside}
    assert "validation" not in {path.parent.name for path in parts.train}, "they are for measuring only"


def test_an_album_decodes_what_is_asked_for(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("one.png", "two.avif", "missing.jpg")]
    Image.new("RGBA", (1000, 500), "red").save(paths[0])
    Image.new("L", (40, 30), 77).save(paths[1])
    album = photographs.Album(paths)
    assert len(album) == 3
    assert (album[0].mode, album[0].size) == ("RGB", (640, 320))
    assert (album[1].mode, album[1].size) == ("RGB", (40, 30))
    assert [image.size for image in album[:2]] == [(640, 320), (40, 30)]
    with pytest.raises(FileNotFoundError):
        album[2]


def test_classes_of_the_photographs(shared: Path) -> None:
    photos = tuple(sorted((shared / "data" / "photos").glob("*.JPEG")))
    classes = photographs.true_classes(photos, shared / "models" / "imagenet_labels.txt")
    # Sorted synsets are in the order of the outputs, so the classes must rise.
    assert (np.diff(classes) > 0).all()
    assert classes[0] == 1, "tench comes first after background"


def test_classes_from_a_table(tmp_path: Path) -> None:
    table = tmp_path / "labels.tsv"
    table.write_text("file\tclass\nb.jpg\t7\na.jpg\t1000\n")
    paths, classes = photographs.labeled(table, tmp_path / "folder")
    assert paths == (tmp_path / "folder" / "b.jpg", tmp_path / "folder" / "a.jpg")
    assert classes.tolist() == [7, 1000]


def test_photographs_of_a_size_can_be_left_out(tmp_path: Path) -> None:
    for name, size in (("a.png", (224, 224)), ("b.png", (227, 227)), ("c.png", (224, 227))):
        Image.new("RGB", size).save(tmp_path / name)
    table = tmp_path / "labels.tsv"
    table.write_text("file\tclass\na.png\t1\nb.png\t2\nc.png\t3\n")
    paths, classes = photographs.labeled(table, tmp_path, (224, 224))
    assert [path.name for path in paths] == ["b.png", "c.png"]
    assert classes.tolist() == [2, 3]
