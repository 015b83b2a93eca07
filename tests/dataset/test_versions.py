"""Datasets and unfinished runs of other versions of fvcli: whole until something whole replaces them."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from fvcli.dataset.manifest import NewerDatasetError
from fvcli.errors import DatasetError, StoppedError
from tests.helpers import contents, pictures
from tests.helpers.in_process import Bench


@pytest.fixture
def newer(bench: Bench) -> dict[str, Any]:
    """The manifest of a dataset that a newer fvcli wrote."""
    pictures.make_folder(bench.photographs, range(25))
    bench.extract()
    values = contents.manifest(bench.features)
    assert values is not None
    values.update(schema_version=1000, something_new={"more": 1})
    (bench.features / "manifest.json").write_text(json.dumps(values))
    return values


def whole(folder: Path, values: dict[str, Any]) -> bool:
    return contents.manifest(folder) == values and all(
        (folder / file["file"]).stat().st_size == file["bytes"] for file in contents.named_files(values)
    )


def test_a_newer_dataset_is_left_alone(bench: Bench, newer: dict[str, Any]) -> None:
    with pytest.raises(NewerDatasetError, match="written by a newer fvcli"):
        bench.extract()
    assert whole(bench.features, newer)


def test_a_newer_dataset_stays_readable_until_its_replacement_is_whole(bench: Bench, newer: dict[str, Any]) -> None:
    assert bench.extract(overwrite=True, meanwhile=check(lambda: whole(bench.features, newer))) == 25
    assert contents.rows(bench.features) == fresh(bench)
    assert bench.damages() == []
    assert not (bench.features / "manifest.json.damaged").exists()


def test_an_interrupted_replacement_of_a_newer_dataset_is_resumed(bench: Bench, newer: dict[str, Any]) -> None:
    with pytest.raises(StoppedError):
        bench.extract(overwrite=True, meanwhile=lambda done: signal.SIGTERM if done >= 12 else None)
    assert whole(bench.features, newer)
    assert bench.extract(overwrite=True, meanwhile=check(lambda: whole(bench.features, newer))) < 25
    assert contents.rows(bench.features) == fresh(bench)
    assert bench.damages() == []


def check(holds: Any) -> Any:
    def meanwhile(done: int) -> None:
        assert holds()

    return meanwhile


def fresh(bench: Bench) -> dict[tuple[str, str], contents.Row]:
    bench.extract(output=bench.features.with_name("fresh"))
    return contents.rows(bench.features.with_name("fresh"))


@pytest.mark.parametrize("change", [{"version": 3}, {"version": 1000, "something_new": 1}])
def test_the_plan_of_another_version_loses_no_committed_rows(bench: Bench, change: dict[str, int]) -> None:
    pictures.make_folder(bench.photographs, range(30))
    with pytest.raises(StoppedError):
        bench.extract(meanwhile=lambda done: signal.SIGTERM if done >= 15 else None)
    plan = bench.features / ".fvcli" / "plan.json"
    ours = plan.read_bytes()
    plan.write_text(json.dumps({**json.loads(ours), **change}))
    before = contents.data_files(bench.features)
    assert before
    with pytest.raises(DatasetError, match="unfinished run of another version of fvcli"):
        bench.extract()
    assert contents.data_files(bench.features) == before
    plan.write_bytes(ours)
    assert bench.extract() == 30 - 10 * len(before)


def test_an_unfinished_run_of_another_version_can_be_overwritten(bench: Bench) -> None:
    pictures.make_folder(bench.photographs, range(30))
    with pytest.raises(StoppedError):
        bench.extract(meanwhile=lambda done: signal.SIGTERM if done >= 15 else None)
    plan = bench.features / ".fvcli" / "plan.json"
    plan.write_text(json.dumps({**json.loads(plan.read_bytes()), "version": 1000}))
    assert bench.extract(overwrite=True) == 30
    assert bench.damages() == []
