"""Other readers of fvcli's files get the same names with the same vectors as fvcli's own reader gives."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fvcli


@pytest.fixture(scope="session")
def expected(features: fvcli.Dataset) -> dict[str, np.ndarray]:
    """Vectors by path."""
    paths = features.metadata(["path"]).column(0).to_pylist()
    assert len(set(paths)) == 23
    return dict(zip(paths, features.vectors(), strict=True))


@pytest.fixture
def same(expected: dict[str, np.ndarray]) -> Callable[[Any, Any], None]:
    """Holds paths and their vectors, as another tool gives them, against what was expected, bit for bit."""

    def compare(paths: Any, vectors: Any) -> None:
        found = dict(zip(map(str, paths), np.asarray(vectors), strict=True))
        assert found.keys() == expected.keys()
        for path, vector in found.items():
            assert vector.dtype == np.float32
            assert np.array_equal(vector, expected[path])

    return compare


def test_pyarrow_dataset(folder: Path, same: Callable[[Any, Any], None]) -> None:
    import pyarrow.dataset as ds

    table = ds.dataset(folder / "features" / "data").to_table()
    same(table.column("path").to_pylist(), np.stack(table.column("embedding").to_numpy()))
    narrow = ds.dataset(folder / "features" / "data").to_table(columns=["path"], filter=ds.field("format") == "AVIF")
    assert narrow.to_pylist() == [{"path": "cat.avif"}]


def test_pandas(folder: Path, same: Callable[[Any, Any], None]) -> None:
    import pandas as pd

    rows = pd.read_parquet(folder / "features" / "data")
    same(rows["path"], np.stack(rows["embedding"]))
    assert str(rows["width"].dtype) == "int32"
    assert rows["path_bytes"].isna().all()


def test_polars(folder: Path, same: Callable[[Any, Any], None]) -> None:
    import polars as pl

    rows = pl.read_parquet(folder / "features" / "data" / "*.parquet")
    assert rows.schema["embedding"] == pl.Array(pl.Float32, 1024)
    same(rows["path"], rows["embedding"].to_numpy())


def test_duckdb(folder: Path, same: Callable[[Any, Any], None]) -> None:
    import duckdb

    rows = duckdb.sql(f"SELECT path, embedding FROM '{folder}/features/data/*.parquet'").fetchall()
    same([path for path, _ in rows], np.array([vector for _, vector in rows], np.float32))


def test_hugging_face_datasets(
    folder: Path, same: Callable[[Any, Any], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets")
    rows = datasets.load_dataset(
        "parquet", data_files=str(folder / "features" / "data" / "*.parquet"), split="train", cache_dir=str(tmp_path)
    ).with_format("numpy")
    same(list(rows["path"]), np.stack(list(rows["embedding"])))


@pytest.mark.parametrize("name", ["features", "features-npy"])
def test_faiss(folder: Path, name: str) -> None:
    faiss = pytest.importorskip("faiss")
    features = fvcli.open_dataset(folder / name)
    vectors = np.array(features.vectors())
    faiss.normalize_L2(vectors)
    index = faiss.IndexFlatIP(features.dimension)
    index.add(vectors)
    rocket = features.find("rocket.jpg")[0]
    _, rows = index.search(vectors[rocket : rocket + 1], 3)
    assert features.keys(rows[0])[0][1] == "rocket.jpg"
    assert all("rocket" in path for _, path in features.keys(rows[0]))


def test_embedding_reader(folder: Path, same: Callable[[Any, Any], None]) -> None:
    embedding_reader = pytest.importorskip("embedding_reader")
    reader = embedding_reader.EmbeddingReader(
        str(folder / "features-npy" / "img_emb"),
        metadata_folder=str(folder / "features-npy" / "metadata"),
        meta_columns=["path"],
        file_format="parquet_npy",
    )
    assert (reader.count, reader.dimension) == (23, 1024)
    paths: list[str] = []
    vectors = []
    for block, rows in reader(batch_size=7, show_progress=False):
        paths += list(rows["path"])
        vectors.append(np.array(block))
    same(paths, np.concatenate(vectors))


def test_float16_is_read_by_all_in_the_test_extra(
    folder: Path, tmp_path: Path, expected: dict[str, np.ndarray]
) -> None:
    import duckdb
    import pandas as pd
    import polars as pl
    import pyarrow.dataset as ds

    fvcli.extract(folder / "photos", tmp_path / "half", dtype="float16")
    data = tmp_path / "half" / "data"
    wanted = expected["cat.jpg"].astype(np.float16)
    frame = pd.read_parquet(data)
    table = ds.dataset(data).to_table(filter=ds.field("path") == "cat.jpg")
    series = pl.read_parquet(data / "*.parquet").filter(pl.col("path") == "cat.jpg")["embedding"]
    row = duckdb.sql(f"SELECT embedding FROM '{data}/*.parquet' WHERE path = 'cat.jpg'").fetchall()[0]
    for vector in (
        frame["embedding"][frame["path"] == "cat.jpg"].iloc[0],
        table.column("embedding")[0].values.to_numpy(),
        series.to_list()[0],
        row[0],
    ):
        assert np.array_equal(np.asarray(vector, np.float16), wanted)


@pytest.mark.slow
def test_the_embedding_projector(folder: Path, tmp_path: Path, expected: dict[str, np.ndarray]) -> None:
    """The files as TensorBoard's plug-in reads them, by its own code where it is installed."""
    import subprocess
    import sys

    output = tmp_path / "projector"
    command = [Path(sys.executable).with_name("fvcli"), "export", folder / "features", "--as", "projector"]
    subprocess.run([*command, "-o", output, "-q"], check=True)
    labels = [line.split("\t") for line in (output / "metadata.tsv").read_text("utf-8").splitlines()]
    vectors = np.loadtxt(output / "tensors.tsv", np.float32, delimiter="\t", ndmin=2)
    assert labels[0][:2] == ["path", "root"]
    assert len(labels) == 24
    for label, vector in zip(labels[1:], vectors, strict=True):
        assert np.array_equal(vector, expected[label[0]])
    plugin = pytest.importorskip("tensorboard.plugins.projector.projector_plugin")
    from google.protobuf import text_format
    from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig

    config = text_format.Parse((output / "projector_config.pbtxt").read_text(), ProjectorConfig())
    read = plugin._read_tensor_tsv_file(str(output / config.embeddings[0].tensor_path))
    assert np.array_equal(read, vectors)
    assert (output / config.embeddings[0].metadata_path).exists()
