"""The labels of an export: one cell per value, whatever the files are called."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import numpy as np

import fvcli
from fvcli.explore.projector import write_projector

ODD = [
    "=1+1.jpg",
    "+a.jpg",
    "-b.jpg",
    "@c.jpg",
    "tab\there.jpg",
    "line\nend\r.jpg",
    "esc\x1b[31m.jpg",
    "back\\slash.jpg",
]


def test_odd_names_are_text_in_one_cell(sample_images: Path, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ODD:
        (folder / name).write_bytes((sample_images / "cat.jpg").read_bytes())
    fvcli.extract(folder, tmp_path / "features")
    dataset = fvcli.open_dataset(tmp_path / "features")
    vectors, labels, _ = write_projector(dataset, tmp_path / "out")
    text = labels.read_text("utf-8")
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", text)
    rows = list(csv.reader(text.splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE))
    assert {len(row) for row in rows} == {len(rows[0])}
    paths = [row[rows[0].index("path")] for row in rows[1:]]
    assert len(paths) == len(ODD)
    assert np.array_equal(np.loadtxt(vectors, np.float32, delimiter="\t"), dataset.vectors()), "to the last digit"
    assert not any(path.startswith(("=", "+", "-", "@")) for path in paths)
    assert "'=1+1.jpg" in paths
    assert "back\\\\slash.jpg" in paths
    assert "tab\\there.jpg" in paths
