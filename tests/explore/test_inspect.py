"""A dataset described: what its manifest and its failures say, counted by kind."""

from __future__ import annotations

import json
from pathlib import Path

from fvcli.dataset.reader import open_dataset
from fvcli.explore.inspect import inspect
from tests.helpers import pictures
from tests.helpers.in_process import Bench, bench, memory_path

__all__ = ["bench", "memory_path"]


def test_failures_are_counted_by_kind_the_most_frequent_first(bench: Bench) -> None:
    pictures.put(bench.photographs, "a.png", pictures.picture(1))
    for name in ("d.png", "b.png", "c.png"):
        pictures.put(bench.photographs, name, pictures.broken(ord(name[0])))
    pictures.put(bench.photographs, "0-empty.png", b"")
    bench.extract()
    found = inspect(open_dataset(bench.features))
    assert [(kind.stage, kind.error, kind.count, Path(kind.example).name) for kind in found.failures] == [
        ("decode", "Truncated", 3, "b.png"),
        ("read", "Empty", 1, "0-empty.png"),
    ]
    assert found.failures[0].message == "the file ends in the middle of the image"
    assert found.counts == {
        "discovered": 5, "extracted": 1, "reused": 0, "failed": 4, "stale": 0, "elsewhere": 0, "pruned": 0, "rows": 1,
    }  # fmt: skip


def test_the_newest_runs_come_first_and_the_rate_is_that_of_the_last_that_worked(bench: Bench) -> None:
    for number in range(6):
        pictures.put(bench.photographs, f"{number}.png", pictures.picture(number))
        bench.extract()
    bench.extract()
    manifest = bench.features / "manifest.json"
    values = json.loads(manifest.read_bytes())
    for run, seconds in zip(values["runs"], (8, 7, 6, 5, 4, 0.25, 2), strict=True):
        run["seconds"] = seconds
    manifest.write_text(json.dumps(values))
    found = inspect(open_dataset(bench.features))
    assert [(run["worked"], run["seconds"]) for run in found.runs] == [(0, 2), (1, 0.25), (1, 4), (1, 5), (1, 6)]
    assert found.images_per_second == 4
    assert (found.shards, found.bytes) == (1, sum(file.stat().st_size for file in (bench.features / "data").iterdir()))
    assert (found.roots, found.unfinished) == ((str(bench.photographs),), False)
    assert found.to_json()["dimension"] == bench.model.dimension


def test_an_unfinished_run_is_told(bench: Bench) -> None:
    pictures.make_folder(bench.photographs, range(3))
    bench.extract()
    (bench.features / ".fvcli" / "plan.json").write_text("{}")
    assert inspect(open_dataset(bench.features)).unfinished
