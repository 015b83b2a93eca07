"""Datasets from elsewhere: nothing outside their folder is touched, and reading changes nothing in it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fvcli.dataset import verify
from fvcli.dataset.layout import DataFormat
from fvcli.dataset.reader import open_dataset
from fvcli.dataset.store import LocalStore
from fvcli.errors import DamagedError, DatasetError, ModelError
from fvcli.explore.dataset_model import model_of
from fvcli.explore.inspect import inspect
from fvcli.models.loading import EMBEDDED, embedded_file
from tests.helpers import contents, pictures
from tests.helpers.in_process import Bench

LATER = pictures.SOME_TIME_NS + 10**9


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A folder beside the dataset, with files of names that a run would remove or move."""
    folder = tmp_path / "victim"
    for name in ("part-00000-01234567.parquet", "00000.json", "precious.txt"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"precious")
    return folder


@pytest.fixture
def dataset(bench: Bench, tmp_path: Path) -> Path:
    """A dataset whose next run has something to do."""
    bench.features = tmp_path / "features"
    pictures.make_folder(bench.photographs, range(12))
    bench.extract()
    pictures.put(bench.photographs, "0003.png", pictures.picture(300), LATER)
    return bench.features


def read(folder: Path) -> None:
    """Runs every command that only reads."""
    store = LocalStore(folder)
    verify.verify(store)
    opened = open_dataset(folder)
    inspect(opened)
    opened.vectors()
    list(opened.batches())
    list(opened.failures())


def manifest_of_another(dataset: Path, file: str) -> bytes:
    values = json.loads((dataset / "manifest.json").read_bytes())
    values["shards"][0]["file"] = file
    return json.dumps(values).encode()


@pytest.mark.parametrize("name", ["../victim/precious.txt", "data/../../victim/precious.txt", "{victim}/precious.txt"])
def test_a_pending_manifest_moves_nothing_from_elsewhere(bench: Bench, dataset: Path, victim: Path, name: str) -> None:
    staging = dataset / ".fvcli" / "staging"
    (staging / "precious.txt").write_bytes(b"not so precious")
    (dataset / ".fvcli" / "pending-manifest.json").write_bytes(manifest_of_another(dataset, name.format(victim=victim)))
    before, outside = contents.tree(dataset), contents.tree(victim)
    read(dataset)
    assert contents.tree(dataset) == before
    with pytest.raises(DatasetError, match=r"pending-manifest.json is not a dataset's manifest \(shards\[0\].file"):
        bench.extract()
    assert contents.tree(victim) == outside


@pytest.mark.parametrize("folder", [".fvcli", ".fvcli/staging", ".fvcli/commits", "data", "failures"])
def test_a_folder_that_is_a_link_is_refused(bench: Bench, dataset: Path, victim: Path, folder: str) -> None:
    if (dataset / folder).exists():
        shutil.rmtree(dataset / folder)
    else:
        pictures.put(bench.photographs, "broken.png", pictures.broken(1))
    (dataset / folder).symlink_to(victim)
    outside = contents.tree(victim)
    with pytest.raises(DatasetError, match=f"{folder} is a symbolic link"):
        bench.extract()
    assert contents.tree(victim) == outside


@pytest.mark.parametrize("file", [".fvcli/lock", ".fvcli/in-work"])
def test_a_file_that_is_a_link_is_not_written_through(bench: Bench, dataset: Path, victim: Path, file: str) -> None:
    (dataset / file).unlink(missing_ok=True)
    (dataset / file).symlink_to(victim / "precious.txt")
    outside = contents.tree(victim)
    with pytest.raises(DatasetError):
        bench.extract()
    assert contents.tree(victim) == outside


@pytest.mark.parametrize("file", ["manifest.json", ".fvcli/plan.json", "data"])
def test_a_pipe_in_place_of_a_file_does_not_hang(dataset: Path, file: str) -> None:
    path = next((dataset / "data").iterdir()) if file == "data" else dataset / file
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    if file == ".fvcli/plan.json":
        read(dataset)
    else:
        with pytest.raises(DatasetError, match="is a pipe"):
            open_dataset(dataset).vectors()


def test_reading_changes_nothing_after_a_crash_in_the_last_step(bench: Bench, dataset: Path, tmp_path: Path) -> None:
    old = shutil.copytree(dataset, tmp_path / "old")
    bench.extract()
    shutil.copyfile(dataset / "manifest.json", old / ".fvcli" / "pending-manifest.json")
    for file in (dataset / "data").iterdir():  # some files are moved in, the others wait
        shutil.copyfile(file, old / "data" / file.name)
    before, rows = contents.tree(old), contents.rows(old)
    read(old)
    assert [key[1] for key in open_dataset(old).keys(np.arange(12))] == [path for _, path in rows]
    assert contents.tree(old) == before
    bench.extract(output=old)
    assert contents.rows(old) == contents.rows(dataset)
    assert contents.check_moment(old) == "update"


def test_a_first_run_that_died_in_its_last_step_is_not_a_dataset_yet(dataset: Path) -> None:
    os.rename(dataset / "manifest.json", dataset / ".fvcli" / "pending-manifest.json")
    before = contents.tree(dataset)
    with pytest.raises(DatasetError, match="unfinished run and no manifest yet; run the same"):
        open_dataset(dataset)
    assert contents.tree(dataset) == before


def test_a_model_is_found_by_identity_and_never_by_a_path(dataset: Path, tmp_path: Path) -> None:
    def with_model(change: Callable[[dict[str, Any]], None]) -> Any:
        values = json.loads((dataset / "manifest.json").read_bytes())
        change(values)
        (dataset / "manifest.json").write_text(json.dumps(values))
        return open_dataset(dataset).manifest

    trap = tmp_path / "trap.tflite"
    trap.write_bytes(b"not to be opened")
    strange = with_model(lambda values: values["model"].update(name=str(trap)))
    with pytest.raises(ModelError, match=r"trap.tflite, .* is neither the embedded one nor in the cache; name it with"):
        model_of(strange)
    card = embedded_file()[0]
    known = with_model(lambda values: values["recipe"].update(model=card.identity, engine="int8"))
    assert model_of(known).name == EMBEDDED
    with pytest.raises(DatasetError, match="is not the one that made the dataset"):
        model_of(strange, EMBEDDED)


def damage(file: Path) -> None:
    """Flips a bit in the middle of a file, where data stand."""
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 4
    file.write_bytes(data)


@pytest.mark.parametrize("format", ["parquet", "npy"])
@pytest.mark.parametrize("change", ["a new file in the shard", "a copy in another shard"])
def test_bit_rot_is_never_sealed(bench: Bench, tmp_path: Path, format: DataFormat, change: str) -> None:
    bench.features = tmp_path / "features"
    pictures.make_folder(bench.photographs, range(0, 60, 2))
    bench.extract(format=format)
    shard = min(contents.data_files(bench.features))
    damage(bench.features / shard)
    if change == "a new file in the shard":
        pictures.put(bench.photographs, "0003.png", pictures.picture(3))
    else:
        for number in range(0, 20, 2):
            shutil.copyfile(bench.photographs / f"{number:04d}.png", bench.photographs / f"z{number}.png")
    with pytest.raises(DamagedError, match=Path(shard).name) as error:
        bench.extract(format=format)
    assert error.value.exit_code == 4
    verify.repair(LocalStore(bench.features))
    bench.extract(format=format)
    assert bench.damages() == []
    fresh = tmp_path / "fresh"
    bench.extract(output=fresh, format=format)
    assert contents.rows(bench.features) == contents.rows(fresh)


def test_a_damaged_list_of_failures_is_not_sealed(bench: Bench, tmp_path: Path) -> None:
    bench.features = tmp_path / "features"
    pictures.make_folder(bench.photographs, range(3))
    pictures.put(bench.photographs, "broken.png", pictures.broken(1))
    bench.extract()
    (listed,) = (bench.features / "failures").iterdir()
    listed.write_bytes(listed.read_bytes().replace(b"broken", b"brokem"))
    with pytest.raises(DamagedError, match=listed.name):
        bench.extract()


def test_a_manifest_that_tells_other_sizes_is_found_out_before_its_rows_are_counted(dataset: Path) -> None:
    open_dataset(dataset).require_sizes()
    values = json.loads((dataset / "manifest.json").read_bytes())
    values["shards"][0].update(rows=2 * 10**9, bytes=2 * 10**12)
    (dataset / "manifest.json").write_text(json.dumps(values))
    with pytest.raises(DamagedError, match=r"part-00000-.* bytes instead of 2,000,000,000,000; fvcli verify"):
        open_dataset(dataset).require_sizes()
