"""A small dataset with everything a report must cope with, extracted by the command, and its page."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.helpers import browser as chromium
from tests.helpers.commands import here
from tests.helpers.pages import HOSTILE_NAMES, Case, Parts, run


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
    with Image.open(photos / "cat.jpg") as cat:
        cat.resize((cat.width // 2, cat.height // 2)).save(photos / "cat's half.jpg", quality=85)
        cat.resize((cat.width // 3, cat.height // 3)).save(photos / "cat\na third.jpg", quality=85)
    not_utf8 = os.fsencode(photos / "odd") + b"/caf\xe9.jpg"
    Path(os.fsdecode(not_utf8)).write_bytes((photos / "coffee.jpg").read_bytes())
    (photos / "empty <b>.jpg").write_bytes(b"")
    (photos / "text.png").write_text("no image")
    (photos / "notes.xyz").write_text("no input")
    with contextlib.chdir(folder):
        done = here("extract", "photos", "-o", "features", "-q")
        assert done.exit_code == 3, done.stderr
        Image.new("RGB", (320, 60), "navy").save(photos / "later.png")
        assert here("extract", "photos", "-o", "features", "-q").exit_code == 3
    (photos / "rocket.jpg").unlink()
    Image.new("RGB", (64, 64), "red").save(photos / "galaxies-progressive.jpg")
    smaller = ("cat's half.jpg", "cat\na third.jpg")
    return Case(photos, folder / "features", "rocket.jpg", "galaxies-progressive.jpg", smaller)


@pytest.fixture(scope="session")
def page(case: Case) -> Path:
    """The case's report, as the command writes it."""
    target = case.dataset.parent / "page.html"
    done = run("report", "features", "-o", target, "-q", cwd=case.dataset.parent)
    assert done.returncode == 0, done.stderr
    assert not done.stdout
    assert not done.stderr
    return target


@pytest.fixture(scope="session")
def parts(page: Path) -> Parts:
    return Parts(page.read_text("utf-8"))


@pytest.fixture(scope="session")
def facts(parts: Parts) -> dict[str, Any]:
    return parts.facts


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    started = chromium.start(tmp_path_factory.mktemp("browser"))
    yield started
    started.quit()


@pytest.fixture
def shown(browser: Any, page: Path) -> Iterator[Any]:
    """The page, freshly loaded; after the test nothing may have gone wrong in it, and nothing have been loaded."""
    chromium.show(browser, page)
    yield browser
    assert browser.get_log("browser") == []
    assert chromium.requested(browser) <= {page.as_uri()}


@pytest.fixture
def phone(browser: Any, page: Path) -> Iterator[Any]:
    chromium.show(browser, page, 390, touch=True)
    yield browser
    assert browser.get_log("browser") == []
