"""manifest.json against the schema that ships with the package, in every kind of dataset."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from importlib import resources
from typing import Any

import jsonschema
import pytest

from fvcli.records import Limit
from tests.helpers import contents, pictures
from tests.helpers.in_process import Bench

LATER = pictures.SOME_TIME_NS + 10**9


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft7Validator:
    schema = json.loads((resources.files("fvcli.dataset") / "manifest.schema.json").read_text("utf-8"))
    jsonschema.Draft7Validator.check_schema(schema)
    return jsonschema.Draft7Validator(schema, format_checker=jsonschema.FormatChecker())


@pytest.mark.parametrize("format", ["parquet", "npy"])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_manifests_are_valid(bench: Bench, validator: jsonschema.Draft7Validator, format: str, dtype: str) -> None:
    pictures.make_folder(bench.photographs, range(25))
    pictures.put(bench.photographs, "größe 😀\n.png", pictures.picture(77))
    pictures.put(bench.photographs, "broken.png", pictures.broken(1))
    bench.extract(format=format, dtype=dtype)
    validator.validate(contents.manifest(bench.features))
    pictures.put(bench.photographs, "0003.png", pictures.picture(300), LATER)
    (bench.photographs / "0004.png").unlink()
    bench.extract(format=format, dtype=dtype)
    validator.validate(contents.manifest(bench.features))
    for file in bench.photographs.iterdir():
        file.unlink()
    bench.extract(format=format, dtype=dtype, prune=True, prune_limit=Limit(100, True))
    values = contents.manifest(bench.features)
    validator.validate(values)
    assert values is not None
    assert values["shards"] == values["failures"] == []


def drop(*keys: str | int) -> Callable[[Any], None]:
    def change(values: Any) -> None:
        for key in keys[:-1]:
            values = values[key]
        del values[keys[-1]]

    return change


def put(value: object, *keys: str | int) -> Callable[[Any], None]:
    def change(values: Any) -> None:
        for key in keys[:-1]:
            values = values[key]
        values[keys[-1]] = value

    return change


@pytest.mark.parametrize(
    "change",
    [
        drop("model", "identity"),
        drop("counts"),
        drop("shards", 0, "sha256"),
        put("abc", "shards", 0, "sha256"),
        put(0, "shards", 0, "rows"),
        put("../data/part-00000-01234567.parquet", "shards", 0, "file"),
        put("npy", "format"),
        put("float64", "dtype"),
        put(2, "schema_version"),
        put(-1, "counts", "failed"),
        put(["only a root"], "shards", 0, "first"),
        put("what is this", "surprise"),
        put(1, "shards", 0, "surprise"),
        put("yesterday", "runs", 0, "environment"),
    ],
)
def test_the_schema_refuses_what_is_no_manifest(
    bench: Bench, validator: jsonschema.Draft7Validator, change: Callable[[Any], None]
) -> None:
    pictures.make_folder(bench.photographs, range(3))
    bench.extract()
    values = copy.deepcopy(contents.manifest(bench.features))
    change(values)
    with pytest.raises(jsonschema.ValidationError):
        validator.validate(values)


def test_the_history_keeps_the_last_runs(bench: Bench) -> None:
    pictures.make_folder(bench.photographs, range(2))
    bench.extract()
    file = bench.features / "manifest.json"
    values = json.loads(file.read_bytes())
    values["runs"] = [{**values["runs"][0], "seconds": number} for number in range(100)]
    file.write_text(json.dumps(values))
    bench.extract()
    runs = contents.manifest(bench.features)["runs"]  # type: ignore[index]
    assert len(runs) == 100
    assert runs[0]["seconds"] == 1
    assert runs[-1]["worked"] == 0
