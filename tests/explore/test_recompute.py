"""Rows that are extracted once more: equal ones, wrong ones, and those of files that are no longer the same."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fvcli
from fvcli.dataset.store import LocalStore
from fvcli.errors import DatasetError
from fvcli.explore import recompute as recompute_module
from fvcli.explore.recompute import recompute
from fvcli.models.mobilenet.compile import compile_int8
from tests.helpers import pictures
from tests.helpers.networks import quantops_network

ROWS = 7


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    return pictures.make_folder(tmp_path / "photographs", range(ROWS))


def extracted(photographs: Path, **options: Any) -> LocalStore:
    """A dataset of the embedded model in several shards."""
    features = photographs.parent / "features"
    assert fvcli.extract(photographs, features, shard_size=3, **options).counts.rows == ROWS
    return LocalStore(features)


@pytest.mark.parametrize(
    "options",
    [{}, {"normalize": True}, {"dtype": "float16"}, {"format": "npy", "dtype": "float16", "normalize": True}],
    ids=str,
)
def test_rows_of_every_kind_are_equal_bit_for_bit(photographs: Path, options: dict[str, Any]) -> None:
    found = recompute(extracted(photographs, **options), ROWS, seed=0)
    assert (found.wanted, found.compared, found.equal, found.differing) == (ROWS, ROWS, ROWS, ())
    assert found.comparable
    assert not found.damaged
    assert (found.max_difference, found.min_cosine) == (0, 1)


def test_a_row_that_is_not_its_images_is_damage_where_it_was_made_alike(photographs: Path) -> None:
    store = extracted(photographs, format="npy")
    manifest = photographs.parent / "features" / "manifest.json"
    values = json.loads(manifest.read_bytes())
    shard = values["shards"][1]
    file = manifest.parent / shard["file"]
    vectors = np.load(file)
    vectors[0, 7] += 1
    np.save(file, vectors)
    shard["sha256"] = hashlib.sha256(file.read_bytes()).hexdigest()
    manifest.write_text(json.dumps(values))
    found = recompute(store, ROWS, seed=0)
    assert (found.compared, found.equal) == (ROWS, ROWS - 1)
    assert [Path(name).name for name in found.differing] == ["0003.png"]
    assert found.damaged
    assert found.max_difference == pytest.approx(1, abs=0.01)
    assert found.min_cosine < 1
    values["environment"]["cpu"] = "another CPU"
    manifest.write_text(json.dumps(values))
    found = recompute(store, ROWS, seed=0)
    assert (found.equal, found.comparable, found.damaged) == (ROWS - 1, False, False), "another CPU may round otherwise"


def test_files_that_changed_or_are_gone_are_not_compared(photographs: Path) -> None:
    store = extracted(photographs)
    pictures.put(photographs, "0003.png", pictures.picture(999))
    (photographs / "0004.png").unlink()
    found = recompute(store, 100, seed=0)
    assert (found.wanted, found.compared, found.equal) == (ROWS, ROWS - 2, ROWS - 2)
    assert not found.said_nothing
    shutil.rmtree(photographs)
    assert recompute(store, 100, seed=0).said_nothing


def test_rows_are_chosen_by_the_seed_and_their_files_found_from_any_folder(
    photographs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(photographs.parent)
    extracted(Path("photographs"))
    monkeypatch.chdir("/")
    store = LocalStore(photographs.parent / "features")
    chosen: list[str] = []
    real = recompute_module.read

    def read(ref: Any) -> Any:
        chosen.append(ref.path)
        return real(ref)

    monkeypatch.setattr(recompute_module, "read", read)
    sets = []
    for seed in (1, 2, 3, 1):
        del chosen[:]
        found = recompute(store, 3, seed)
        assert (found.wanted, found.compared, found.equal, len(set(chosen))) == (3, 3, 3, 3)
        sets.append(frozenset(chosen))
    assert sets[0] == sets[3]
    assert len(set(sets)) > 1


def test_another_model_than_the_datasets_is_refused_by_name(photographs: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.tflite"
    other.write_bytes(compile_int8(quantops_network()))
    with pytest.raises(DatasetError, match=r"the model .*other\.tflite .* is not the one that made the dataset"):
        recompute(extracted(photographs), 1, seed=0, model_name=str(other))
