"""A small dataset with everything a report must cope with, extracted by the command."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

FVCLI = Path(sys.executable).with_name("fvcli")

#: Below a folder named "odd"; the first holds "</script>", cut into folders.
HOSTILE_NAMES = (
    "x<" + "/script><script>document.title='owned'<" + "/script>.jpg",
    "<img src=x onerror=document.title='owned'>.jpg",
    "\"quotes\" & 'apostrophes' {{facts}} ${title}.jpg",
    "line\nbreak \x1b[31m.jpg",
    "emoji 👩‍🔬 🌼.jpg",
    "turned \u202egpj.exe.jpg",
    "long " + "x" * 230 + ".jpg",
)


@dataclass(frozen=True)
class Case:
    """photos: the images' folder. dataset: made from them, before some were removed and replaced."""

    photos: Path
    dataset: Path
    gone: str
    changed: str


def run(*arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    # One thread for the linear algebra: on a busy machine its threads wait for each other longer than they work.
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    return subprocess.run(
        [FVCLI, *map(str, arguments)], capture_output=True, text=True, cwd=cwd, env=environment, check=False
    )


@pytest.fixture(scope="session")
def case(sample_images: Path, tmp_path_factory: pytest.TempPathFactory) -> Case:
    folder = tmp_path_factory.mktemp("report")
    photos = folder / "photos"
    shutil.copytree(sample_images, photos, ignore=shutil.ignore_patterns("README.md"))
    for number, name in enumerate(HOSTILE_NAMES):
        place = photos / "odd" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(number).integers(0, 256, (8, 8, 3), np.uint8)
        Image.fromarray(noise).resize((200, 150)).save(place, "JPEG", quality=95)
    (photos / "cat again.jpg").write_bytes((photos / "cat.jpg").read_bytes())
    not_utf8 = os.fsencode(photos / "odd") + b"/caf\xe9.jpg"
    Path(os.fsdecode(not_utf8)).write_bytes((photos / "coffee.jpg").read_bytes())
    (photos / "empty <b>.jpg").write_bytes(b"")
    (photos / "text.png").write_text("no image")
    done = run("extract", "photos", "-o", "features", "-q", cwd=folder)
    assert done.returncode == 3, done.stderr
    (photos / "rocket.jpg").unlink()
    Image.new("RGB", (64, 64), "red").save(photos / "galaxies-progressive.jpg")
    return Case(photos, folder / "features", "rocket.jpg", "galaxies-progressive.jpg")


@pytest.fixture(scope="session")
def page(case: Case) -> Path:
    """The case's report, as the command writes it."""
    target = case.dataset.parent / "page.html"
    done = run("report", "features", "-o", target, "-q", cwd=case.dataset.parent)
    assert done.returncode == 0, done.stderr
    assert not done.stdout
    assert not done.stderr
    return target
