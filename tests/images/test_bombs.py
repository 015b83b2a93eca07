"""Small files that ask for much: each ends soon, in bounded memory, as a failure that says why or as a row."""

from __future__ import annotations

import subprocess
import sys
import zlib
from pathlib import Path

import pytest

from fvcli.errors import ImageError
from fvcli.images.decode import decode
from fvcli.images.jpeg_header import read_header
from fvcli.images.memory import HeavyImageError, Limits, coefficients_of
from tests.helpers import bombs
from tests.helpers.samples import picture, saved

#: The outcome of each.
OUTCOMES = {
    "line.png": "row",
    "long-line.png": "TooManyPixels",
    "column.png": "row",
    "huge.png": "row",
    "empty-scans.jpg": "Truncated",
    "many-empty-scans.jpg": "TooManyPixels",
    "progressive.jpg": "Truncated",
    "screen.gif": "TooManyPixels",
    "tile.tif": "TooManyPixels",
    "small-tile.tif": "Corrupt",
    "strip.tif": "TooManyPixels",
    "frame.avif": None,
    "segments.jpg": "Corrupt",
    "junk-and-segments.jpg": "Corrupt",
    "chunks.png": "Corrupt",
    "icon.ico": None,
    "text.png": "row",
    "profile.png": "row",
}
PROGRAM = """
import resource, sys
import numpy as np
from pathlib import Path
from fvcli.errors import ImageError
from fvcli.images.decode import decode
from fvcli.images.fit import Fitter
from fvcli.records import InputSpec, Preprocessing
data = Path(sys.argv[1]).read_bytes()
fitter, out = Fitter(InputSpec(160, 160), Preprocessing()), np.zeros((160, 160, 3), np.uint8)
with decode(__import__("tests.helpers.samples", fromlist=["saved"]).saved("PNG"), fitter.needed, exact=False) as image:
    fitter.fit(image, out)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    with decode(data, fitter.needed, exact=False) as image:
        fitter.fit(image, out)
    kind = "row"
except ImageError as error:
    kind = error.kind
print(kind, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bombs")
    for name, data in bombs.all_bombs().items():
        (folder / name).write_bytes(data)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", OUTCOMES)
def test_each_bomb_ends_soon_and_small(name: str, files: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, files / name], capture_output=True, text=True, check=True, timeout=60
    )
    kind, grown = done.stdout.split()
    assert OUTCOMES[name] in (None, kind)
    assert int(grown) < (100 if name in ("line.png", "column.png") else 450)


@pytest.mark.slow
def test_every_bomb_is_tried(files: Path) -> None:
    assert {file.name for file in files.iterdir()} == set(OUTCOMES)


def test_the_coefficients_of_progressive_and_split_jpegs_are_counted() -> None:
    plain, progressive = saved("JPEG"), saved("JPEG", progressive=True)
    headers = [read_header(data) for data in (plain, progressive, bombs.empty_scans(1, 64, 64))]
    assert all(headers)
    counted = [coefficients_of(header) for header in headers if header is not None]
    assert counted[0] == 0
    # 120 x 80 at 4:2:0: 15 x 10 blocks of brightness, twice 8 x 5 of color.
    assert counted[1] == (15 * 10 + 2 * 8 * 5) * 128
    assert counted[2] == 3 * 8 * 8 * 128


def test_a_tile_larger_than_the_picture_is_counted() -> None:
    data = bombs.tiff_tile_beyond_the_picture(13_000)
    with pytest.raises(ImageError):
        decode(data, (1, 1), exact=True)
    from fvcli.images.codecs import open_picture
    from fvcli.images.decode import _share
    from fvcli.images.tiff import read_header as read_tiff

    assert _share("TIFF", open_picture("TIFF", data), 1, read_tiff(data)) > 13_000**2


def test_the_frames_of_an_avif_are_held_against_the_limit_whatever_its_container_announces() -> None:
    data = bombs.avif_with_frames_of(200, 100)
    with pytest.raises(ImageError, match="200 x 100 pixels, more than the limit of 19,999") as caught:
        decode(data, (1, 1), exact=True, limits=Limits(max_pixels=19_999))
    assert caught.value.kind == "TooManyPixels"


def test_a_side_that_no_picture_has_is_refused_before_decoding() -> None:
    for width, height in ((10_000_001, 1), (1, 10_000_001)):
        data = bombs.png(width, height, 8, 0, zlib.compress(bytes(100)))
        with pytest.raises(ImageError, match=f"{width} x {height} pixels; a side may have 10,000,000") as caught:
            decode(data, (1, 1), exact=True)
        assert caught.value.kind == "TooManyPixels"


def test_a_tile_is_held_against_the_limit_whatever_the_picture_s_size() -> None:
    with pytest.raises(ImageError, match="100 x 100 pixels, more than the limit of 9,999") as caught:
        decode(bombs.tiff_tile_beyond_the_picture(100), (1, 1), exact=True, limits=Limits(max_pixels=9_999))
    assert caught.value.kind == "TooManyPixels"


def test_a_png_has_no_more_chunks_than_programs_write() -> None:
    with decode(bombs.many_chunks(2000), (1, 1), exact=True) as image:
        assert (image.width, image.height) == (1, 1)
    with pytest.raises(ImageError, match="more than 300,000 chunks") as caught:
        decode(bombs.many_chunks(300_000), (1, 1), exact=True)
    assert caught.value.kind == "Corrupt"


def test_what_is_large_or_rare_is_not_for_the_workers_process() -> None:
    for data in (bombs.black_png(8000, 5000), saved("QOI"), saved("TGA")):
        with pytest.raises(HeavyImageError) as caught:
            decode(data, (160, 160), exact=False, light=True)
        assert caught.value.memory > 0
    for format in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"):
        decode(saved(format), (160, 160), exact=False, light=True).close()


# A process of its own starts the run: a child's peak begins with the memory of the process that starts it.
MEASURED = """
import resource, subprocess, sys
code = subprocess.run(sys.argv[1:], timeout=120).returncode
print(code, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


@pytest.mark.slow
def test_a_run_over_all_bombs_stays_small(files: Path, tmp_path: Path) -> None:
    from tests.helpers.commands import FVCLI

    (files / "good.png").write_bytes(saved("PNG", picture()))
    command = [FVCLI, "extract", files, "-o", tmp_path / "f", "-j", "2", "-q"]
    try:
        done = subprocess.run([sys.executable, "-c", MEASURED, *command], capture_output=True, text=True, check=True)
        code, peak = map(int, done.stdout.split())
        assert code == 3
        assert peak < 1_200_000
    finally:
        (files / "good.png").unlink()
