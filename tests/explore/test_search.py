"""Queries by the names of rows and files: what they find, and what a name that finds nothing is told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from fvcli.cli import app
from fvcli.dataset.columns import Rows
from fvcli.dataset.reader import Dataset
from fvcli.errors import UsageError
from fvcli.explore.search import neighbors
from fvcli.records import ImageInfo, ImageRef
from tests.helpers.synthetic import write_dataset

PATHS = ["2019/beach.jpg", "2019/cat.jpg", "2020/cat.jpg", "2021/mountains.jpg", "copy.jpg"]


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """Five rows; the last one is a copy of the file of the first."""
    vectors = np.eye(5, 8, dtype=np.float32)
    vectors[1, 0] = vectors[2, 1] = 0.5
    vectors[4] = vectors[0]
    contents = [f"{number:064x}" for number in (1, 2, 3, 4, 1)]
    rows = Rows(
        [ImageRef("photos", path) for path in PATHS],
        [ImageInfo(sha256, 1000, 1, 640, 480, "JPEG", (f"it is {sha256[-1]}",), (0.5,)) for sha256 in contents],
        vectors,
    )
    return write_dataset(tmp_path / "features", [rows])


@pytest.mark.parametrize("command", ["neighbors", "duplicates", "report", "export"])
@pytest.mark.parametrize(("place", "copy"), [("s3", "aws s3 cp"), ("gs", "gcloud storage cp"), ("az", "azcopy copy")])
def test_a_dataset_in_a_bucket_is_refused_with_the_command_that_copies_it(command: str, place: str, copy: str) -> None:
    query = {"neighbors": ["cat.jpg"], "export": ["--as", "projector"]}.get(command, [])
    done = CliRunner().invoke(app, [command, f"{place}://bucket/features", *query])
    assert done.exit_code == 2
    assert f"{copy} --recursive" in done.stderr
    assert "/bucket/features" in done.stderr.split(copy)[1]


def test_several_queries_are_answered_in_their_order(dataset: Dataset) -> None:
    found = neighbors(dataset, ["photos/2020/cat.jpg", "2019/beach.jpg"], 2)
    assert [[row.path for row in near] for near in found] == [
        ["2020/cat.jpg", "2019/cat.jpg"],
        ["2019/beach.jpg", "copy.jpg"],
    ]
    assert found[1][1].score == pytest.approx(1)
    assert [[row.labels for row in near] for near in found] == [[("it is 3",), ("it is 2",)], [("it is 1",)] * 2]


def test_unique_leaves_copies_out_and_fills_their_places(dataset: Dataset) -> None:
    (found,) = neighbors(dataset, ["2019/beach.jpg"], 2, unique=True)
    assert [row.path for row in found] == ["2019/beach.jpg", "2019/cat.jpg"]


def test_the_base_name_of_a_single_row_is_enough(dataset: Dataset) -> None:
    (found,) = neighbors(dataset, ["mountains.jpg"], 1)
    assert found[0].path == "2021/mountains.jpg"


def test_the_base_name_of_several_rows_names_them(dataset: Dataset) -> None:
    with pytest.raises(UsageError, match=r"2 rows; give one of: photos/2019/cat\.jpg, photos/2020/cat\.jpg"):
        neighbors(dataset, ["cat.jpg"], 1)


def test_a_name_that_is_nearly_one_gets_a_suggestion(dataset: Dataset) -> None:
    with pytest.raises(UsageError, match=r"neither a row .* nor a file; did you mean 2021/mountains\.jpg\?"):
        neighbors(dataset, ["mountain.jpg"], 1)
    with pytest.raises(UsageError, match=r"nor a file$"):
        neighbors(dataset, ["xyz"], 1)
