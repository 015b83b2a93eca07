"""The pictures of the wall in the README: ``python -m docs.images.wall PHOTOGRAPHS``.

Cuts about 1,000 pictures out of the photographs in a folder, extracts them, makes their report with fvcli, and takes
wall-light.webp and wall-dark.webp with a Chromium without a window. Needs Chromium, its driver and Selenium. Which
photographs the pictures in this folder were made of: README.md.
"""

from __future__ import annotations

import argparse
import base64
import io
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.helpers import browser as chromium

HERE = Path(__file__).parent
FVCLI = Path(sys.executable).with_name("fvcli")
PICTURES = 1000
WIDTH, HEIGHT = 1440, 800
SIDE = 480  # pixels of a picture's longer side


def cut(photographs: Path, folder: Path) -> None:
    """Writes rectangles of random places, sizes and shapes as JPEGs; the same ones every time."""
    files = sorted(path for path in photographs.iterdir() if path.suffix.lower() in (".jpg", ".jpeg", ".png", ".webp"))
    generator = np.random.default_rng(0)
    folder.mkdir()
    for file in files:
        with Image.open(file) as opened:
            image = opened.convert("RGB")
        for number in range(-(-PICTURES // len(files))):
            width = image.width * generator.uniform(0.25, 0.6)
            height = min(image.height, width * generator.choice([2 / 3, 3 / 4, 1, 4 / 3]))
            left, top = generator.uniform(0, image.width - width), generator.uniform(0, image.height - height)
            piece = image.crop((round(left), round(top), round(left + width), round(top + height)))
            piece.thumbnail((SIDE, SIDE))
            piece.save(folder / f"{file.stem.lower().replace(' ', '-')}-{number + 1:02d}.jpg", quality=88)


def take(browser: Any, page: Path, scheme: str, target: Path) -> None:
    """A picture of the top of the page."""
    browser.execute_cdp_cmd("Emulation.setScrollbarsHidden", {"hidden": True})
    chromium.show(browser, page, WIDTH, scheme)
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": WIDTH, "height": HEIGHT, "deviceScaleFactor": 1, "mobile": False},
    )
    time.sleep(2)  # for the resized page to be drawn
    data = browser.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})["data"]
    with Image.open(io.BytesIO(base64.b64decode(data))) as shot:
        shot.convert("RGB").save(target, "WEBP", quality=72, method=6)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("photographs", type=Path)
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        cut(given.photographs, folder / "Pictures")
        for command in (["extract", "Pictures", "--labels", "5", "-q"], ["report", "features"]):
            subprocess.run([FVCLI, *command], cwd=folder, check=True)
        browser = chromium.start(folder / "profile")
        try:
            for scheme in ("light", "dark"):
                take(browser, folder / "report.html", scheme, HERE / f"wall-{scheme}.webp")
        finally:
            browser.quit()


if __name__ == "__main__":
    main()
