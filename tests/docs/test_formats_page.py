"""Columns, metrics and failures are written as docs/formats.md describes them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import fvcli
from fvcli.commands import metrics

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE = (DOCS / "formats.md").read_text("utf-8")


@pytest.fixture(scope="module")
def features(sample_images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("features")
    fvcli.extract(sample_images, folder, labels=3)
    return folder


def test_the_table_of_columns(features: Path) -> None:
    table = re.findall(r"^\| `(\w+)` \| ([\w<>\[\]]+) \|", PAGE, re.MULTILINE)
    written = pq.read_schema(next((features / "data").iterdir()))
    simple = [(field.name, re.sub(r"element: (\w+) not null", r"\1", str(field.type))) for field in written]
    assert table == simple
    assert [field.name for field in written if field.nullable] == ["path_bytes"]
    assert set(json.loads(written.metadata[b"fvcli"])) == {"schema_version", "model", "recipe", "recipe_identity"}


def test_the_fields_of_a_failure(features: Path) -> None:
    line = json.loads(next((features / "failures").iterdir()).read_text("utf-8"))
    section = PAGE.split("## failures/*.jsonl")[1].split("## Streams")[0]
    assert set(re.findall(r"`(\w+)`", section)) - {"read", "decode", "fit", "infer", "crash"} == {*line, "path_bytes"}


def test_the_table_of_metrics() -> None:
    assert re.findall(r"^\| `(fvcli_\w+)` \|", PAGE, re.MULTILINE) == list(metrics._HELP)
