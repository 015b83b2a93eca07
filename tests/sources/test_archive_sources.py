"""A folder packed into archives, through the real command."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

pytestmark = pytest.mark.slow

FVCLI = Path(sys.executable).with_name("fvcli")


def extract(*arguments: str | Path, code: int = 0) -> dict[str, int]:
    done = subprocess.run([FVCLI, "extract", *map(str, arguments), "--json"], capture_output=True, check=False)
    assert done.returncode == code, done.stderr.decode()
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def vectors(output: Path) -> dict[str, bytes]:
    """Each row's vector by the name of its file, wherever that stood."""
    rows = ds.dataset(output / "data").to_table(columns=["path", "embedding"])
    names = [path.split("!")[-1] for path in rows["path"].to_pylist()]
    values = np.stack(rows["embedding"].to_numpy())
    return {name: vector.tobytes() for name, vector in zip(names, values, strict=True)}


@pytest.fixture(scope="module")
def shards(photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The photographs in 7 archives."""
    folder = tmp_path_factory.mktemp("packed") / "shards"
    folder.mkdir()
    files = sorted(file for file in photographs.rglob("*") if file.is_file())
    for number in range(7):
        with tarfile.open(folder / f"shard-{number}.tar", "w") as tar:
            for file in files[number::7]:
                tar.add(file, file.relative_to(photographs).as_posix())
                label = tarfile.TarInfo(f"{file.stem}.cls")
                tar.addfile(label)
    return folder


def test_a_folder_in_seven_archives_gives_its_vectors(photographs: Path, shards: Path, tmp_path: Path) -> None:
    extract(photographs, "-o", tmp_path / "folder")
    for output, source in [("walked", [shards]), ("named", sorted(shards.iterdir()))]:
        summary = extract(*source, "-o", tmp_path / output, "--shard-size", "5")
        assert summary["extracted"] == summary["discovered"] > 20
        assert vectors(tmp_path / output) == vectors(tmp_path / "folder")
    assert {file.name for file in shards.iterdir()} == {f"shard-{number}.tar" for number in range(7)}


def test_packing_again_costs_no_inference_and_a_cut_costs_what_it_cut(shards: Path, tmp_path: Path) -> None:
    folder = tmp_path / "shards"
    shutil.copytree(shards, folder)
    before = extract(folder, "-o", tmp_path / "f")
    archive = folder / "shard-3.tar"
    (tmp_path / "again").mkdir()
    with tarfile.open(archive) as tar:
        tar.extractall(tmp_path / "again", filter="data")
    with tarfile.open(archive, "w") as tar:
        for file in sorted((tmp_path / "again").rglob("*"), reverse=True):
            if file.is_file():
                tar.add(file, file.relative_to(tmp_path / "again").as_posix())
    again = extract(folder, "-o", tmp_path / "f")
    assert (again["extracted"], again["reused"]) == (0, before["rows"])
    with tarfile.open(archive) as tar:
        last = [member for member in tar if not member.name.endswith(".cls")][-1]
    with archive.open("r+b") as file:
        file.truncate(last.offset_data + 100)
    cut = extract(folder, "-o", tmp_path / "f", "--prune", code=3)
    assert (cut["extracted"], cut["failed"], cut["rows"]) == (0, 2, before["rows"] - 1)


@pytest.mark.parametrize("name", ["x.zip", "x.parquet"])
def test_zips_and_tables_give_the_vectors_of_the_folder(photographs: Path, tmp_path: Path, name: str) -> None:
    files = {file.relative_to(photographs).as_posix(): file for file in photographs.rglob("*") if file.is_file()}
    if name == "x.zip":
        with zipfile.ZipFile(tmp_path / name, "w", zipfile.ZIP_DEFLATED) as packed:
            for path, file in files.items():
                packed.write(file, path)
    else:
        rows = [{"bytes": file.read_bytes(), "path": path} for path, file in files.items()]
        pq.write_table(pa.table({"label": [1] * len(rows), "image": rows}), tmp_path / name, row_group_size=5)
    summary = extract(tmp_path / name, "-o", tmp_path / "f", "--shard-size", "5")
    extract(photographs, "-o", tmp_path / "folder")
    assert summary["extracted"] == summary["discovered"] > 20
    assert vectors(tmp_path / "f") == vectors(tmp_path / "folder")
    again = extract(tmp_path / name, "-o", tmp_path / "f", "--shard-size", "5")
    assert (again["extracted"], again["reused"], again["rows"]) == (0, summary["rows"], summary["rows"])
    command = [FVCLI, "verify", str(tmp_path / "f"), "--recompute", "3", "--json"]
    verified = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert verified["recomputed"]["compared"] == 3
