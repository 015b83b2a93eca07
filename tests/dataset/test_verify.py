"""verify names what is damaged, and repair leaves no more to be redone than that."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fvcli.dataset import lock, verify
from fvcli.dataset.store import LocalStore
from fvcli.errors import DatasetError, LockedError
from tests.helpers import commands, contents, pictures
from tests.helpers.in_process import Bench
from tests.helpers.synthetic import rows_of, write_dataset

FORMATS = [{"format": "parquet"}, {"format": "npy", "dtype": "float16"}]


def second(features: Path, folder: str) -> Path:
    return sorted((features / folder).iterdir())[1]


def flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])


@pytest.mark.parametrize("harm", [flip, cut, Path.unlink], ids=["flipped bit", "cut", "missing"])
@pytest.mark.parametrize("options", FORMATS, ids=["parquet", "npy"])
@pytest.mark.parametrize("part", [0, -1], ids=["vectors", "other columns"])
def test_a_damaged_shard_is_named_dropped_and_redone_alone(
    bench: Bench, harm: Callable[[Path], None], options: dict[str, str], part: int
) -> None:
    pictures.make_folder(bench.photographs, range(30))
    bench.extract(**options)
    assert bench.damages() == []
    whole = contents.state(bench.features)
    folder = (["data"] if options["format"] == "parquet" else ["img_emb", "metadata"])[part]
    harm(second(bench.features, folder))

    (damage,) = verify.verify(LocalStore(bench.features)).damages
    assert damage.shard == 1
    assert f"its rows: 10, from {bench.photographs}/0010.png to {bench.photographs}/0019.png" in damage.problem

    assert verify.repair(LocalStore(bench.features)) == (damage,)
    assert bench.damages() == []
    assert bench.counts()["rows"] == 20
    assert bench.extract(**options) == 10
    assert contents.rows(bench.features).keys() == {
        (str(bench.photographs), f"{number:04d}.png") for number in range(30)
    }
    assert bench.damages() == []
    assert bench.counts()["discovered"] == whole.discovered


def rewrite(bench: Bench, change: Callable[[pa.Table], pa.Table]) -> None:
    """Replaces the second shard by one that the manifest agrees to, as a bug would write it."""
    file = second(bench.features, "data")
    table = change(pq.ParquetFile(file).read())
    pq.write_table(table, file)
    manifest = bench.features / "manifest.json"
    values = json.loads(manifest.read_bytes())
    shard = values["shards"][1]
    data = file.read_bytes()
    shard |= {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    manifest.write_text(json.dumps(values))


def with_vector(table: pa.Table, row: int, value: float) -> pa.Table:
    vectors = np.stack(table.column("embedding").to_numpy())
    vectors[row, 0] = value
    field = table.schema.field("embedding")
    array = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), type=field.type)
    return table.set_column(table.schema.get_field_index("embedding"), field, array)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda table: with_vector(table, 3, np.nan), "not finite: {}/0013.png"),
        (lambda table: with_vector(table, 4, np.inf), "not finite: {}/0014.png"),
        (lambda table: table.take([0, 1, 2, 3, 4, 4, 6, 7, 8, 9]), "out of order or twice: {}/0014.png"),
        (lambda table: table.take([0, 2, 1, 3, 4, 5, 6, 7, 8, 9]), "out of order or twice: {}/0011.png"),
        (lambda table: table.slice(0, 9), "9 rows instead of 10"),
        (lambda table: table.take([1, 2, 3, 4, 5, 6, 7, 8, 9, 9]).slice(0, 10), "out of order or twice"),
        (lambda table: table.drop_columns(["width"]), "part-00001"),
    ],
)
def test_rows_that_no_run_writes_are_named(bench: Bench, change: Callable[[pa.Table], pa.Table], said: str) -> None:
    pictures.make_folder(bench.photographs, range(30))
    bench.extract()
    rewrite(bench, change)
    (damage,) = verify.verify(LocalStore(bench.features)).damages
    assert damage.shard == 1
    assert said.format(bench.photographs) in f"{damage.file}: {damage.problem}"
    verify.repair(LocalStore(bench.features))
    assert bench.extract() == 10
    assert bench.damages() == []


def test_a_row_on_both_sides_of_a_boundary_is_damage(tmp_path: Path) -> None:
    vectors = np.ones((2, 4), np.float32)
    write_dataset(tmp_path, [rows_of(vectors), rows_of(vectors, start=1)])
    (damage,) = verify.verify(LocalStore(tmp_path)).damages
    assert (damage.shard, damage.problem) == (1, "its rows overlap those of shard 0")


def test_fewer_vectors_than_rows_are_damage(tmp_path: Path) -> None:
    """As a program that rewrites files leaves them: the manifest's hash is that of the short file."""
    write_dataset(tmp_path, [rows_of(np.ones((5, 4), np.float32))], "npy")
    values = json.loads((tmp_path / "manifest.json").read_bytes())
    (shard,) = values["shards"]
    file = tmp_path / shard["file"]
    np.save(file, np.load(file)[:3])
    shard.update(bytes=file.stat().st_size, sha256=hashlib.sha256(file.read_bytes()).hexdigest())
    (tmp_path / "manifest.json").write_text(json.dumps(values))
    (damage,) = verify.verify(LocalStore(tmp_path)).damages
    assert "its vectors are [3, 4] instead of 5 rows" in damage.problem


@pytest.mark.parametrize("file", ["data/part-00007-00000000.parquet", "failures/failures-00000-00000000.jsonl"])
def test_what_a_reader_of_all_files_would_take_is_damage(bench: Bench, file: str) -> None:
    pictures.make_folder(bench.photographs, range(5))
    pictures.put(bench.photographs, "broken.png", pictures.broken(1))
    bench.extract()
    (bench.features / file).write_bytes(b"")
    (problem,) = bench.damages()
    assert problem.startswith(f"{file}: it is not in the manifest")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda values: values["counts"].update(extracted=29, discovered=30), "it counts 29 rows, its shards hold 30"),
        (lambda values: values["counts"].update(failed=3, discovered=33), "it counts 3 failures, failures/ names 1"),
        (lambda values: values["counts"].update(discovered=7), "do not add up"),
        (lambda values: values["shards"][1]["last"].__setitem__(1, "0018.png"), "first and last rows are not the"),
        (lambda values: values["shards"].reverse(), "overlap"),
        (lambda values: values["shards"].append(dict(values["shards"][0], number=9)), "overlap"),
    ],
)
def test_a_manifest_that_contradicts_itself_is_damage(
    bench: Bench, change: Callable[[dict[str, object]], None], said: str
) -> None:
    pictures.make_folder(bench.photographs, range(30))
    pictures.put(bench.photographs, "broken.png", pictures.broken(1))
    bench.extract()
    manifest = bench.features / "manifest.json"
    values = json.loads(manifest.read_bytes())
    change(values)
    manifest.write_text(json.dumps(values))
    assert any(said in problem for problem in bench.damages())
    verify.repair(LocalStore(bench.features))
    assert bench.damages() == []
    bench.extract()
    assert len(bench.rows()) == 30
    assert bench.damages() == []


def test_a_damaged_failure_list_is_named_and_its_inputs_tried_again(bench: Bench) -> None:
    pictures.make_folder(bench.photographs, range(5))
    pictures.put(bench.photographs, "broken.png", pictures.broken(1))
    bench.extract()
    flip(next((bench.features / "failures").iterdir()))
    (damage,) = verify.verify(LocalStore(bench.features)).damages
    assert damage.file.startswith("failures/")
    verify.repair(LocalStore(bench.features))
    assert bench.extract() == 0
    assert bench.failed() == {"broken.png": "decode"}
    assert bench.damages() == []


def test_files_that_readers_of_the_folder_would_take_are_damage(bench: Bench) -> None:
    pictures.make_folder(bench.photographs, range(5))
    bench.extract()
    shard = next((bench.features / "data").iterdir())
    shutil.copy(shard, shard.with_name("part-00007-00000000.parquet"))
    shutil.copy(shard, shard.with_name("mine.parquet"))
    assert len(bench.damages()) == 2
    verify.repair(LocalStore(bench.features))
    assert [damage.split(":")[0] for damage in bench.damages()] == ["data/mine.parquet"], "not fvcli's to remove"
    assert shard.with_name("mine.parquet").exists()


def test_what_a_run_replaces_meanwhile_is_no_damage(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures.make_folder(bench.photographs, range(30))
    bench.extract()
    looked = verify._damages
    turns: list[int] = []

    def meanwhile(store: LocalStore, found: object) -> object:
        turns.append(1)
        if len(turns) == 1:
            pictures.put(bench.photographs, "0005-new.png", pictures.picture(500))
            bench.extract()
        return looked(store, found)  # type: ignore[arg-type]

    monkeypatch.setattr(verify, "_damages", meanwhile)
    verdict = verify.verify(LocalStore(bench.features))
    assert verdict.damages == ()
    assert verdict.rows == 31
    assert len(turns) == 2


def test_where_there_is_no_dataset_none_is_made(tmp_path: Path) -> None:
    for function in (verify.verify, verify.repair):
        with pytest.raises(DatasetError, match="there is no folder"):
            function(LocalStore(tmp_path / "typo"))
    assert not (tmp_path / "typo").exists()


@pytest.fixture(scope="module")
def extracted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of the real model, its photographs beside it."""
    folder = tmp_path_factory.mktemp("verified")
    pictures.make_folder(folder / "photographs", range(20))
    done = commands.run("extract", folder / "photographs", "-o", folder / "features", "--shard-size", "6")
    assert done.code == 0, done
    return folder


@pytest.mark.slow
def test_a_vector_that_is_not_the_images_is_damage(extracted: Path, tmp_path: Path) -> None:
    features = tmp_path / "features"
    shutil.copytree(extracted / "features", features)
    wrong = Bench(extracted / "photographs", features, None)  # type: ignore[arg-type]
    rewrite(wrong, lambda table: with_vector(table, 1, 3.0))
    assert commands.run("verify", features).code == 0, "no check of the files alone can tell"
    done = commands.run("verify", features, "--recompute", "20")
    assert done.code == 4
    assert "0007.png" in done.said

    manifest = features / "manifest.json"
    values = json.loads(manifest.read_bytes())
    values["environment"]["cpu"] = "another CPU"
    manifest.write_text(json.dumps(values))
    done = commands.run("verify", features, "--recompute", "20")
    assert done.code == 0, "another CPU may round otherwise: told, but no damage"
    assert "0007.png" in done.said


@pytest.mark.slow
def test_the_command_says_what_is_damaged_and_exits_4(extracted: Path, tmp_path: Path) -> None:
    features = tmp_path / "features"
    shutil.copytree(extracted / "features", features)
    flip(second(features, "data"))
    done = commands.run("verify", features)
    assert done.code == 4
    assert f"damaged: {features}/data/part-00001-" in done.said
    assert "fvcli repair" in done.said
    assert commands.run("repair", features).code == 0
    assert commands.run("verify", features).code == 0
    done = commands.run("extract", extracted / "photographs", "-o", features)
    assert done.code == 0
    assert "6 extracted" in done.said


def test_a_dataset_that_a_run_works_on_is_not_repaired(bench: Bench) -> None:
    pictures.make_folder(bench.photographs, range(15))
    bench.extract()
    flip(second(bench.features, "data"))
    before = contents.manifest(bench.features)
    with lock.hold(LocalStore(bench.features)), pytest.raises(LockedError, match="is in use by another run"):
        verify.repair(LocalStore(bench.features))
    assert contents.manifest(bench.features) == before
    assert [damage.shard for damage in verify.repair(LocalStore(bench.features))] == [1]
