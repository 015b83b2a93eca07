"""fvcli from Python: what it gives is what the command writes, and importing it costs nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fvcli
from fvcli.errors import ImageError, UsageError
from fvcli.records import Preprocessing


def test_importing_it_loads_nothing() -> None:
    program = "import fvcli, sys; print(sorted({'numpy', 'pyarrow', 'PIL', 'typer'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        fvcli.nothing  # noqa: B018


def test_the_model_gives_the_rows_that_extract_writes(
    sample_images: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    names = ["cat.jpg", "coffee-cmyk.jpg", "rocket-exif-7.jpg"]
    files = [sample_images / name for name in names]
    options = {"decode": "exact", "fit": "crop", "crop_fraction": 0.7}
    summary = fvcli.extract(files, tmp_path / "f", **options, workers=1, dtype="float32")  # type: ignore[arg-type]
    assert (summary.counts.rows, summary.counts.failed) == (3, 0)
    model = fvcli.load_model()
    images = model.read(files, Preprocessing(**options))  # type: ignore[arg-type]
    assert (images.dtype, images.shape) == (np.uint8, (3, *model.input_size, 3))
    dataset = fvcli.open_dataset(tmp_path / "f")
    assert np.array_equal(model(images), dataset.vectors())
    assert np.array_equal(model.per_thread()(images[1:2]), dataset.vectors()[1:2])
    assert not np.array_equal(model(model.read(files)), dataset.vectors())
    assert capfd.readouterr() == ("", "")


def test_a_second_run_goes_on_with_the_first(sample_images: Path, tmp_path: Path) -> None:
    first = fvcli.extract(sample_images / "cat.jpg", str(tmp_path / "f"))
    second = fvcli.extract([str(sample_images)], tmp_path / "f", include=["*.jpg"], exclude=["broken*"])
    counts = second.counts
    # cat.jpg has been a row without a root, and now is one below the folder: one row per file, and no inference.
    assert (first.extracted, counts.reused, counts.stale, counts.elsewhere) == (1, 1, 0, 0)
    assert counts.extracted == counts.discovered - 1 == counts.rows - 1 > 0


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((160, 160, 3), np.uint8),
        np.zeros((1, 160, 160, 1), np.uint8),
        np.zeros((1, 224, 224, 3), np.uint8),
        np.zeros((1, 160, 160, 3), np.float32),
    ],
    ids=lambda images: f"{images.dtype}{list(images.shape)}",
)
def test_images_of_another_shape_or_type_are_refused(images: np.ndarray) -> None:
    with pytest.raises(UsageError, match=r"takes uint8 images \[n, 160, 160, 3\]"):
        fvcli.load_model()(images)


def test_no_images_give_no_vectors() -> None:
    assert fvcli.load_model()(np.zeros((0, 160, 160, 3), np.uint8)).shape == (0, 1024)


def test_a_file_that_cannot_be_used_is_named(sample_images: Path) -> None:
    with pytest.raises(ImageError, match=r"broken-on-purpose\.jpg: the file ends"):
        fvcli.load_model().read([sample_images / "cat.jpg", sample_images / "broken-on-purpose.jpg"])


def test_options_that_mean_nothing_are_refused(sample_images: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="fit is one of squash, crop, pad, not 'stretch'"):
        fvcli.extract(sample_images, tmp_path / "f", fit="stretch")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="no option 'color'"):
        fvcli.extract(sample_images, tmp_path / "f", color="red")  # type: ignore[call-arg]
    with pytest.raises(UsageError, match="name a folder"):
        fvcli.extract([], tmp_path / "f")
    assert not (tmp_path / "f").exists()


def test_a_model_says_what_it_is() -> None:
    model = fvcli.load_model()
    assert repr(model) == "Model('embedded': uint8 [n, 160, 160, 3] -> float32 [n, 1024])"
    assert (model.name, model.dimension, model.input_size) == ("embedded", 1024, (160, 160))
    assert len(bytes.fromhex(model.identity)) == 32
    assert repr(model.per_thread()) == repr(model)
    with pytest.raises(UsageError, match="name a folder, a file or files_from"):
        fvcli.extract()
