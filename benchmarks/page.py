"""The size and time of the report of many rows, and the time until it is interactive in a browser.

    python -m benchmarks.page [--rows 50000] [--pictures sample_images] [--dimension 1024]

Makes a dataset of synthetic vectors in a temporary folder. The rows on the wall have pictures: copies of the files in
``--pictures``, each with a content of its own. Then runs ``fvcli report`` and opens the page three times in a Chromium
without a window. "Interactive" is the time from the start of the navigation until every part of the page is drawn
and answers.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from fvcli.report.gather import WALL_PICTURES
from fvcli.report.rows import spread
from tests.helpers import browser as chromium
from tests.helpers.pages import many_rows


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rows", type=int, default=50_000)
    options.add_argument("--pictures", type=Path, default=Path("sample_images"))
    options.add_argument("--dimension", type=int, default=1024)
    given = options.parse_args()
    sources = sorted(path for path in given.pictures.glob("*.[jJ][pP]*[gG]") if "broken" not in path.name)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        many_rows(folder, given.rows, spread(given.rows, WALL_PICTURES, 0).tolist(), sources, given.dimension)
        started = time.perf_counter()
        command = [str(Path(sys.executable).with_name("fvcli")), "report", "features"]
        subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
        page = folder / "report.html"
        print(
            f"report of {given.rows:,} rows: {time.perf_counter() - started:.0f} s, {page.stat().st_size / 1e6:.2f} MB"
        )
        browser = chromium.start(folder / "profile")
        try:
            for _ in range(3):
                chromium.show(browser, page, 1440)
                ready = browser.execute_script("return performance.getEntriesByName('ready')[0].startTime")
                print(f"interactive after {ready / 1000:.2f} s")
        finally:
            browser.quit()


if __name__ == "__main__":
    main()
