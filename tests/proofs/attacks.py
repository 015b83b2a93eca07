"""Datasets as somebody with bad intentions would hand them over: each attack changes a whole dataset in its folder."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

Attack = Callable[[Path, Path], None]  # (the dataset's folder, the folder outside that it aims at)

OUTSIDE = "outside"


def edit(file: Path, change: Callable[[Any], None]) -> None:
    """Changes the values in a JSON file."""
    values = json.loads(file.read_bytes())
    change(values)
    file.write_text(json.dumps(values))


def _pending(name: str) -> Attack:
    """A manifest that is decided on, whose first shard is elsewhere."""

    def attack(dataset: Path, outside: Path) -> None:
        values = json.loads((dataset / "manifest.json").read_bytes())
        values["shards"][0]["file"] = name.format(outside=outside)
        staging = dataset / ".fvcli" / "staging"
        staging.mkdir(parents=True, exist_ok=True)
        for waiting in ("precious.txt", "part-00000-01234567.parquet"):
            (staging / waiting).write_bytes(b"planted")
        (dataset / ".fvcli" / "pending-manifest.json").write_text(json.dumps(values))

    return attack


def _record(name: str) -> Attack:
    """Commit records whose shard is elsewhere; they belong to the plan that is there, if one is."""

    def attack(dataset: Path, outside: Path) -> None:
        plan = dataset / ".fvcli" / "plan.json"
        identity = json.loads(plan.read_bytes())["id"] if plan.exists() else "0" * 16
        shard = json.loads((dataset / "manifest.json").read_bytes())["shards"][0]
        shard["file"] = name.format(outside=outside)
        counts = dict.fromkeys(("discovered", "extracted", "reused", "failed", "stale", "elsewhere", "pruned"), 0)
        commits = dataset / ".fvcli" / "commits"
        commits.mkdir(parents=True, exist_ok=True)
        record = {"plan": identity, "index": 0, "shard": shard, "counts": counts, "failures": [], "environment": {}}
        (commits / "00000.json").write_text(json.dumps(record))

    return attack


def _manifest(name: str) -> Attack:
    """A manifest that vouches for a file elsewhere."""

    def attack(dataset: Path, outside: Path) -> None:
        edit(dataset / "manifest.json", lambda values: values["shards"][0].update(file=name.format(outside=outside)))

    return attack


def _linked_folder(name: str) -> Attack:
    """A folder that is a link to one elsewhere."""

    def attack(dataset: Path, outside: Path) -> None:
        folder = dataset / name
        if folder.is_dir():
            for file in folder.rglob("*"):
                if file.is_file() and not (outside / file.name).exists():
                    shutil.copyfile(file, outside / file.name)  # the files that the dataset needs are there
            shutil.rmtree(folder)
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.symlink_to(outside)

    return attack


def _linked_file(name: str) -> Attack:
    """A file that is a link to one elsewhere."""

    def attack(dataset: Path, outside: Path) -> None:
        file = dataset / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.unlink(missing_ok=True)
        file.symlink_to(outside / "precious.txt")

    return attack


def _pipe(name: str) -> Attack:
    """A pipe that nobody writes to, in place of a file."""

    def attack(dataset: Path, outside: Path) -> None:
        file = dataset / name if name != "shard" else next((dataset / "data").iterdir())
        file.parent.mkdir(parents=True, exist_ok=True)
        file.unlink(missing_ok=True)
        os.mkfifo(file)

    return attack


def _model(name: str) -> Attack:
    """A model that is to be loaded from elsewhere: a pipe, so that opening it hangs."""

    def attack(dataset: Path, outside: Path) -> None:
        def change(values: Any) -> None:
            values["model"].update(name=name.format(outside=outside), identity="f" * 64)
            values["recipe"].update(model="f" * 64)

        edit(dataset / "manifest.json", change)

    return attack


def _rows(rows: int, bytes: int | None = None) -> Attack:
    """More rows than the files have, and as many bytes as they would take."""

    def attack(dataset: Path, outside: Path) -> None:
        def change(values: Any) -> None:
            values["shards"][0]["rows"] = rows
            values["shards"][0]["bytes"] = bytes or values["shards"][0]["bytes"]
            values["counts"].update(rows=rows, extracted=rows, discovered=rows)

        edit(dataset / "manifest.json", change)

    return attack


def _garbage(dataset: Path, outside: Path) -> None:
    """A shard that is no Parquet, with the hash of what it is."""
    import hashlib

    def change(values: Any) -> None:
        shard = values["shards"][0]
        data = b"PAR1" + os.urandom(5000) + b"PAR1"
        (dataset / shard["file"]).write_bytes(data)
        shard.update(bytes=len(data), sha256=hashlib.sha256(data).hexdigest())

    edit(dataset / "manifest.json", change)


def _deep(dataset: Path, outside: Path) -> None:
    """JSON that is nested a hundred thousand times, everywhere."""
    for name in ("manifest.json", ".fvcli/pending-manifest.json", ".fvcli/plan.json", ".fvcli/commits/00000.json"):
        (dataset / name).parent.mkdir(parents=True, exist_ok=True)
        (dataset / name).write_bytes(b"[" * 100_000 + b"]" * 100_000)


PLACES = (
    "../outside/precious.txt",
    "data/../../outside/precious.txt",
    "{outside}/precious.txt",
    "data/..",
    "/dev/zero",
)

ATTACKS: Mapping[str, Attack] = {
    **{f"pending manifest names {place}": _pending(place) for place in PLACES},
    **{f"commit record names {place}": _record(place) for place in PLACES},
    **{f"manifest names {place}": _manifest(place) for place in PLACES},
    **{
        f"{name} is a link": _linked_folder(name)
        for name in (".fvcli", ".fvcli/staging", ".fvcli/commits", ".fvcli/tasks", "data", "failures", "img_emb")
    },
    **{
        f"{name} is a link": _linked_file(name)
        for name in ("manifest.json", ".fvcli/lock", ".fvcli/in-work", ".fvcli/plan.json", ".fvcli/crashed.jsonl")
    },
    **{
        f"{name} is a pipe": _pipe(name)
        for name in ("manifest.json", "shard", ".fvcli/lock", ".fvcli/plan.json", ".fvcli/pending-manifest.json")
    },
    **{f"model {name}": _model(name) for name in ("{outside}/pipe.tflite", "../outside/pipe.pb", "/dev/zero")},
    **{f"{rows:,} rows": _rows(rows) for rows in (11, 2_000_000_000)},
    "2,000,000,000 rows in as many kilobytes": _rows(2_000_000_000, 2_000_000_000_000),
    "a shard of garbage": _garbage,
    "deep nesting": _deep,
}
