"""The installed command with the real embedded model on real images: what README promises."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import duckdb
import jsonschema
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

pytestmark = pytest.mark.slow

FVCLI = Path(sys.executable).with_name("fvcli")


def fvcli(
    *arguments: str | Path, cwd: Path | None = None, input: bytes | None = None
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([FVCLI, *map(str, arguments)], capture_output=True, cwd=cwd, input=input, check=False)


def extract(*arguments: str | Path, code: int = 0, input: bytes | None = None) -> dict[str, object]:
    done = fvcli("extract", *arguments, "--json", input=input)
    assert done.returncode == code, done.stderr.decode()
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def data_files(output: Path) -> dict[str, bytes]:
    return {
        file.relative_to(output).as_posix(): file.read_bytes()
        for folder in ("data", "img_emb", "metadata")
        for file in sorted((output / folder).glob("*"))
    }


def table(output: Path) -> pd.DataFrame:
    return pd.concat([pd.read_parquet(file) for file in sorted((output / "data").iterdir())], ignore_index=True)


def failures(output: Path) -> list[dict[str, object]]:
    return [
        json.loads(line)
        for file in (output / "failures").glob("*.jsonl")
        for line in file.read_text("utf-8").splitlines()
    ]


@pytest.fixture(scope="module")
def features(photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("features") / "f"
    extract(photographs, "-o", output)
    return output


def test_every_image_has_a_finite_vector_in_path_order(photographs: Path, features: Path) -> None:
    rows = table(features)
    vectors = np.stack(rows["embedding"].to_numpy())
    expected = sorted(file.relative_to(photographs).as_posix() for file in photographs.rglob("*") if file.is_file())
    assert list(rows["path"]) == expected
    assert set(rows["root"]) == {str(photographs)}
    assert vectors.shape == (len(expected), 1024)
    assert vectors.dtype == np.float32
    assert np.isfinite(vectors).all()
    assert vectors.std(axis=0).max() > 0.1  # different images, different vectors


def test_the_manifest_is_valid_and_its_counts_add_up(features: Path, repository: Path) -> None:
    manifest = json.loads((features / "manifest.json").read_text("utf-8"))
    schema = json.loads((repository / "fvcli/dataset/manifest.schema.json").read_text("utf-8"))
    jsonschema.validate(manifest, schema)
    counts = manifest["counts"]
    assert counts["discovered"] == counts["extracted"] + counts["reused"] + counts["failed"]
    assert counts["rows"] == sum(shard["rows"] for shard in manifest["shards"]) == len(table(features))


@pytest.mark.parametrize("options", [("-j", "1"), ("-b", "1"), ("-j", "2", "-b", "3")], ids=" ".join)
def test_the_same_files_byte_for_byte_whatever_the_workers(
    photographs: Path, features: Path, tmp_path: Path, options: tuple[str, ...]
) -> None:
    extract(photographs, "-o", tmp_path / "f", *options)
    assert data_files(tmp_path / "f") == data_files(features)


def test_the_same_vectors_bit_for_bit_whatever_the_shard_size(
    photographs: Path, features: Path, tmp_path: Path
) -> None:
    extract(photographs, "-o", tmp_path / "f", "--shard-size", "5")
    small = table(tmp_path / "f")
    assert len(data_files(tmp_path / "f")) > 1
    assert np.stack(small["embedding"]).tobytes() == np.stack(table(features)["embedding"]).tobytes()


def test_names_on_stdin_give_the_same_vectors(photographs: Path, features: Path, tmp_path: Path) -> None:
    names = [os.fsencode(file) for file in photographs.rglob("*") if file.is_file()]
    summary = extract("--files-from", "-", "-0", "-o", tmp_path / "g", input=b"\0".join(names))
    rows = table(tmp_path / "g")
    assert summary["rows"] == len(names)
    assert list(rows["path"]) == sorted(os.fsdecode(name) for name in names)
    assert np.stack(rows["embedding"]).tobytes() == np.stack(table(features)["embedding"]).tobytes()


def test_readers_take_the_files_untouched(features: Path, photographs: Path, tmp_path: Path) -> None:
    parquet = next((features / "data").glob("*.parquet"))
    arrow = pq.read_table(parquet)
    assert str(arrow.schema.field("embedding").type) == "fixed_size_list<element: float not null>[1024]"
    counted = duckdb.sql(f"select count(*), min(len(embedding)), max(len(embedding)) from '{parquet}'").fetchall()
    assert counted == [(arrow.num_rows, 1024, 1024)]
    extract(photographs, "-o", tmp_path / "n", "--format", "npy", "--shard-size", "6")
    halves = zip(sorted((tmp_path / "n/img_emb").iterdir()), sorted((tmp_path / "n/metadata").iterdir()), strict=True)
    by_path = dict(zip(table(features)["path"], table(features)["embedding"], strict=True))
    for vectors_file, metadata_file in halves:
        vectors = np.load(vectors_file, allow_pickle=False)
        paths = pq.read_table(metadata_file).column("path").to_pylist()
        assert len(vectors) == len(paths)
        for vector, path in zip(vectors, paths, strict=True):
            assert vector.tobytes() == by_path[path].tobytes()


def test_half_precision_is_the_rounded_vector(features: Path, photographs: Path, tmp_path: Path) -> None:
    extract(photographs, "-o", tmp_path / "h", "--dtype", "float16")
    half, full = (np.stack(table(folder)["embedding"]) for folder in (tmp_path / "h", features))
    assert half.dtype == np.float16
    assert np.array_equal(half, full.astype(np.float16))
    parquet = next((tmp_path / "h/data").glob("*.parquet"))
    assert duckdb.sql(f"select count(embedding[1]) from '{parquet}'").fetchall() == [(len(half),)]


def huge_png(width: int, height: int) -> bytes:
    """A valid header and a few rows of zeros: what a decompression bomb looks like before it is opened."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(bytes(100_000)))
        + chunk(b"IEND", b"")
    )


def test_what_has_no_vector_is_named_and_moves_no_other_row(photographs: Path, features: Path, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    shutil.copytree(photographs, folder)
    whole = (photographs / "cat.jpg").read_bytes()
    (folder / "b-truncated.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "d-empty.png").write_bytes(b"")
    (folder / "e-text.jpg").write_text("not an image\n" * 50)
    (folder / "f-dangling.jpg").symlink_to(folder / "nowhere")
    (folder / "g-huge.png").write_bytes(huge_png(30_000, 30_000))
    os.mkfifo(folder / "h-pipe.jpg")
    done = fvcli("extract", folder, "-o", tmp_path / "f", "--json")
    assert done.returncode == 3
    assert b"Traceback" not in done.stderr
    summary = json.loads(done.stdout)
    lines = failures(tmp_path / "f")
    assert sorted(str(line["path"]) for line in lines) == [
        "b-truncated.jpg", "d-empty.png", "e-text.jpg", "f-dangling.jpg", "g-huge.png",
    ]  # fmt: skip
    assert all(set(line) >= {"root", "path", "stage", "error", "message"} for line in lines)
    assert summary["failed"] == 5
    assert summary["discovered"] == summary["extracted"] + summary["failed"]
    there, before = table(tmp_path / "f"), table(features)
    assert list(there["path"]) == list(before["path"])
    assert np.stack(there["embedding"]).tobytes() == np.stack(before["embedding"]).tobytes()


def test_a_second_run_has_nothing_to_do(photographs: Path, tmp_path: Path) -> None:
    first = extract(photographs, "-o", tmp_path / "f")
    files = {file: file.stat().st_mtime_ns for file in (tmp_path / "f/data").iterdir()}
    second = extract(photographs, "-o", tmp_path / "f")
    assert second["reused"] == first["extracted"]
    assert second["extracted"] == 0
    assert {file: file.stat().st_mtime_ns for file in (tmp_path / "f/data").iterdir()} == files


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "name a folder"),
        (("no-such-folder",), "no-such-folder"),
        (("--max-failures", "many", "."), "--max-failures"),
    ],
)
def test_wrong_usage_is_told_in_one_line(tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    done = fvcli("extract", *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr.decode()
    assert len(done.stderr.decode().strip().splitlines()) == 1
    assert not done.stdout


def test_quiet_says_nothing_and_json_goes_to_stdout_alone(photographs: Path, tmp_path: Path) -> None:
    done = fvcli("extract", photographs, "-o", tmp_path / "f", "--quiet", "--json")
    assert done.returncode == 0
    assert done.stderr == b""
    assert set(json.loads(done.stdout)) == {
        "discovered", "extracted", "reused", "failed", "stale", "elsewhere", "pruned", "rows", "passed_over",
        "zero_vectors",
        "seconds", "images_per_second", "output", "model", "identity",
    }  # fmt: skip


def test_the_photographs(shared: Path, tmp_path: Path) -> None:
    summary = extract(shared / "data/photos", "-o", tmp_path / "f")
    assert (summary["rows"], summary["failed"]) == (706, 0)
    vectors = np.stack(table(tmp_path / "f")["embedding"])
    assert vectors.shape == (706, 1024)
    assert np.isfinite(vectors).all()
