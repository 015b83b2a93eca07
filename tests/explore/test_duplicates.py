"""Near-duplicates of real photographs: what is found, what is kept, and what is printed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fvcli.dataset.reader import open_dataset
from fvcli.explore.duplicates import find_duplicates
from tests.helpers.copies import write_phone_folder
from tests.helpers.synthetic import rows_of, write_dataset

FVCLI = Path(sys.executable).with_name("fvcli")

#: Pairs of 24 that must be found at 0.90; what a mirror image changes depends on the scene.
FOUND = {"small": 24, "edit": 24, "burst": 24, "crop": 20, "mirror": 16}


@pytest.fixture(scope="module")
def phone(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of a phone-like folder: originals, one changed copy per kind, and one copied file."""
    folder = tmp_path_factory.mktemp("phone")
    write_phone_folder(shared / "data" / "photos", folder)
    (folder / "07-copy.jpg").write_bytes((folder / "07-original.jpg").read_bytes())
    output = folder.parent / "features"
    subprocess.run([FVCLI, "extract", folder, "-o", output, "-q"], check=True)
    return output


@pytest.mark.slow
def test_copies_of_every_kind_are_found_and_no_group_mixes_two_originals(phone: Path) -> None:
    groups = find_duplicates(open_dataset(phone))
    originals: dict[str, set[str]] = {}
    for group in groups:
        numbers = {image.ref.path[:2] for image in group.images}
        assert len(numbers) == 1, [image.ref.path for image in group.images]
        originals.setdefault(numbers.pop(), set()).update(image.ref.path[3:-4] for image in group.images)
    for kind, least in FOUND.items():
        pairs = sum({"original", kind} <= kinds for kinds in originals.values())
        assert pairs >= least, kind


@pytest.mark.slow
def test_the_largest_image_is_kept_and_the_largest_saving_comes_first(phone: Path) -> None:
    groups = find_duplicates(open_dataset(phone))
    for group in groups:
        kept, *others = group.images
        assert kept.status == "keep"
        assert kept.score == pytest.approx(1)
        assert all(kept.width * kept.height >= image.width * image.height for image in others)
        assert group.saving == sum(image.size_bytes for image in others)
    savings = [group.saving for group in groups]
    assert savings == sorted(savings, reverse=True)
    (seventh,) = (group for group in groups if group.images[0].ref.path.startswith("07"))
    same = [image.ref.path for image in seventh.images if image.status != "smaller"]
    assert same == ["07-copy.jpg", "07-original.jpg"] or same[0] not in ("07-copy.jpg", "07-original.jpg")


@pytest.mark.slow
def test_exact_finds_copied_files_alone(phone: Path) -> None:
    done = subprocess.run(
        [FVCLI, "duplicates", phone, "--exact", "--json", "-q"], capture_output=True, text=True, check=True
    )
    (group,) = json.loads(done.stdout)["groups"]
    assert [(image["path"], image["status"]) for image in group["images"]] == [
        ("07-copy.jpg", "keep"),
        ("07-original.jpg", "same file"),
    ]
    assert group["images"][0]["sha256"] == group["images"][1]["sha256"]


@pytest.mark.slow
def test_printed_names_are_those_of_files_that_can_go(phone: Path) -> None:
    groups = find_duplicates(open_dataset(phone))
    done = subprocess.run([FVCLI, "duplicates", phone, "--print", "others", "-0"], capture_output=True, check=True)
    names = done.stdout.split(b"\0")
    assert names.pop() == b""
    assert all(os.path.exists(name) for name in names)
    assert len(names) == sum(len(group.images) - 1 for group in groups)
    kept = subprocess.run([FVCLI, "duplicates", phone, "--print", "keep"], capture_output=True, check=True)
    assert len(kept.stdout.splitlines()) == len(groups)
    assert not set(kept.stdout.splitlines()) & set(names)


@pytest.mark.slow
def test_a_name_with_a_line_break_needs_nul(tmp_path: Path, sample_images: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("a\nb.jpg", "c.jpg"):
        (folder / name).write_bytes((sample_images / "cat.jpg").read_bytes())
    subprocess.run([FVCLI, "extract", folder, "-o", tmp_path / "f", "-q"], check=True)
    command = [FVCLI, "duplicates", tmp_path / "f", "--print", "keep"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert "add -0" in done.stderr
    assert subprocess.run([*command, "-0"], capture_output=True, check=True).stdout.endswith(b"a\nb.jpg\0")


def test_the_image_to_keep_has_most_pixels_then_most_bytes_then_the_first_name(tmp_path: Path) -> None:
    """Of rows that are all alike; (width, height, bytes), by name."""
    sizes = [(30, 10, 900), (20, 20, 500), (400, 1, 700), (10, 40, 700), (20, 10, 9000), (1, 1, 1)]
    contents = [f"{number:064x}" for number in (1, 2, 3, 4, 5, 4)]
    rows = rows_of(np.ones((6, 4), np.float32), contents=contents)
    infos = [
        replace(info, width=width, height=height, size_bytes=size)
        for info, (width, height, size) in zip(rows.infos, sizes, strict=True)
    ]
    (group,) = find_duplicates(write_dataset(tmp_path, [replace(rows, infos=infos)]))
    assert [int(image.ref.path[:-4]) for image in group.images] == [2, 3, 1, 0, 4, 5]
    assert [image.status for image in group.images] == ["keep", *["smaller"] * 5]
    assert group.saving == 700 + 500 + 900 + 9000 + 1
    assert group.to_json()["saving_bytes"] == group.saving


def test_files_of_the_same_content_as_the_one_to_keep_are_said_to_be_and_savings_decide_the_order(
    tmp_path: Path,
) -> None:
    vectors = np.repeat(np.eye(3, 8, dtype=np.float32), [2, 3, 2], axis=0)
    contents = [f"{number:064x}" for number in (1, 1, 2, 3, 2, 4, 5)]
    rows = rows_of(vectors, contents=contents)
    sizes = [400, 400, 900, 50, 900, 950, 950]
    infos = [replace(info, size_bytes=size) for info, size in zip(rows.infos, sizes, strict=True)]
    dataset = write_dataset(tmp_path, [replace(rows, infos=infos)])
    groups = find_duplicates(dataset)
    assert [
        (group.saving, [(int(image.ref.path[:-4]), image.status) for image in group.images]) for group in groups
    ] == [
        (950, [(2, "keep"), (4, "same file"), (3, "smaller")]),
        (950, [(5, "keep"), (6, "smaller")]),
        (400, [(0, "keep"), (1, "same file")]),
    ]
    assert [group.saving for group in find_duplicates(dataset, exact=True)] == [900, 400]
    values = groups[0].images[1].to_json()
    assert values == {
        "status": "same file", "score": 1.0, "width": 640, "height": 480, "size_bytes": 900, "sha256": contents[4],
        "root": "photos", "path": "000000004.jpg",
    }  # fmt: skip
