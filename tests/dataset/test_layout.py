"""fvcli's own JSON files with something wrong in them: one line that says so, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fvcli.dataset import layout
from fvcli.dataset.commit import Commit
from fvcli.dataset.existing import FailureLine
from fvcli.dataset.manifest import Counts, DataFile, Manifest, NewerDatasetError, Shard
from fvcli.errors import DatasetError
from fvcli.records import Failure, ImageRef
from tests.helpers import contents, json_changes, pictures
from tests.helpers.in_process import Bench

LINE = FailureLine(ImageRef("photos", "a\udcff.jpg", b"a\xff.jpg", 3, 4), Failure("read", "NotFound", "it is gone"))
FILE = DataFile("data/part-00003-0123abcd.parquet", 10, "0123abcd" + "0" * 56)
COMMIT = Commit(
    "plan", 3, Shard(3, 5, (FILE,), ("a", "b"), ("a", "c")), Counts(6, 5, 0, 1), (LINE,), {"python": "3.11"}
)


@pytest.fixture
def manifest(bench: Bench) -> dict[str, Any]:
    pictures.make_folder(bench.photographs, range(12))
    pictures.put(bench.photographs, "broken.png", pictures.broken(1))
    bench.extract(format="npy")
    values = contents.manifest(bench.features)
    assert values is not None
    return values


def refusal(read: Callable[[bytes], object], values: Any) -> str:
    """The message on the values, empty if they are accepted."""
    try:
        read(json.dumps(values).encode())
    except (DatasetError, ValueError) as error:
        return str(error)
    return ""


def test_a_changed_manifest_is_read_or_refused_in_one_line(manifest: dict[str, Any]) -> None:
    told = {
        change: refusal(lambda data: Manifest.from_bytes(data, "here"), values)
        for change, values in json_changes.changed(manifest)
    }
    assert len(told) > 300
    assert all(message.startswith("here ") and "\n" not in message for message in told.values() if message)
    wrong = [change for change in told if change.endswith(("with more", "= None", "= {}", "= [[]]"))]
    assert [change for change in wrong if not told[change] and "passed_over" not in change] == []


def test_a_changed_commit_record_is_read_or_refused_in_one_line() -> None:
    told = {
        change: refusal(Commit.from_bytes, values)
        for change, values in json_changes.changed(json.loads(COMMIT.to_bytes()))
    }
    assert not any("\n" in message for message in told.values())
    wrong = [change for change in told if change.endswith(("with more", "= -1", "= [[]]"))]
    assert [change for change in wrong if not told[change]] == []


@pytest.mark.parametrize("file", ["../x.parquet", "data/../x", "/tmp/part-00000-01234567.parquet", "data/x.parquet"])
def test_names_of_other_forms_are_refused(manifest: dict[str, Any], file: str) -> None:
    manifest["shards"][0]["file"] = file
    with pytest.raises(DatasetError, match=r"shards\[0\].file must match"):
        Manifest.from_bytes(json.dumps(manifest).encode(), "manifest.json")
    record = json.loads(COMMIT.to_bytes())
    record["shard"]["file"] = file
    with pytest.raises(ValueError, match="shard"):
        Commit.from_bytes(json.dumps(record).encode())


def test_records_read_back_as_they_were() -> None:
    assert Commit.from_bytes(COMMIT.to_bytes()) == COMMIT
    assert FailureLine.from_json(LINE.to_json()) == LINE


@pytest.mark.parametrize("data", [json_changes.nested(), b"{", b"", b"\xff", b"[NaN]", b"9" * 10_000, b"null"])
def test_what_is_no_json_object_is_refused(data: bytes) -> None:
    with pytest.raises(DatasetError, match=r"^here is not a dataset's manifest \(.*\); restore it"):
        Manifest.from_bytes(data, "here")
    for kind in ("commit", "failure", "task", "lock"):
        with pytest.raises(ValueError, match=r"\S"):
            layout.parse(kind, data)


def test_a_newer_dataset_is_named_as_such(manifest: dict[str, Any]) -> None:
    manifest.update(schema_version=1000, surprise=1)
    with pytest.raises(NewerDatasetError, match="written by a newer fvcli"):
        Manifest.from_bytes(json.dumps(manifest).encode(), "manifest.json")


def test_every_schema_is_one(tmp_path: Path) -> None:
    import jsonschema

    files = list(Path(layout.__file__).parent.glob("*.schema.json"))
    assert "manifest.schema.json" in {file.name for file in files}
    for file in files:
        jsonschema.Draft7Validator.check_schema(json.loads(file.read_text("utf-8")))


def test_a_shard_with_more_rows_than_bytes_is_refused(manifest: dict[str, Any]) -> None:
    manifest["shards"][0]["rows"] = 2_000_000_000
    with pytest.raises(DatasetError, match="more rows than bytes"):
        Manifest.from_bytes(json.dumps(manifest).encode(), "manifest.json")


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "[1, NaN]"])
def test_what_only_python_takes_for_json_is_none(value: str) -> None:
    with pytest.raises(ValueError, match="is not JSON"):
        layout.decode(f'{{"rows": {value}}}')


def test_shards_of_another_format_are_refused(manifest: dict[str, Any]) -> None:
    assert refusal(lambda data: Manifest.from_bytes(data, "here"), manifest) == ""
    assert refusal(lambda data: Manifest.from_bytes(data, "here"), {**manifest, "format": "parquet"})
    manifest["shards"][0]["file"] = "data/part-00000-0123abcd.parquet"
    assert refusal(lambda data: Manifest.from_bytes(data, "here"), manifest)


def test_a_shard_reads_back_as_it_was_written() -> None:
    shard = Shard(3, 5, (FILE,), ("a", "b"), ("a", "c"), zero_vectors=2)
    assert Shard.from_json(shard.to_json()) == shard
