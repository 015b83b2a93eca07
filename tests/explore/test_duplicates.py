"""Near-duplicates of real photographs: what is found, what is kept, and what is printed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fvcli.dataset.reader import open_dataset
from fvcli.explore.duplicates import find_duplicates
from tests.helpers.copies import write_phone_folder

FVCLI = Path(sys.executable).with_name("fvcli")

pytestmark = pytest.mark.slow

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
