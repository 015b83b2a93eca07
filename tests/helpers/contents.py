"""The contents of a dataset's folder, read without fvcli: by pyarrow, NumPy and json alone."""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

Key = tuple[str, str]

_DATA = re.compile(r"(part-\d{5}|img_emb_\d{5}|metadata_\d{5})-[0-9a-f]{8}\.(parquet|npy)")


@dataclass(frozen=True)
class Row:
    """All of a row; the vector as bytes, so that equal means bit for bit."""

    vector: bytes
    sha256: str
    size_bytes: int
    mtime_ns: int
    width: int
    height: int
    format: str
    path_bytes: bytes | None


def tree(folder: Path) -> dict[str, tuple[object, ...]]:
    """Everything in a folder, links not followed: kind, size, time, and content or target."""
    found: dict[str, tuple[object, ...]] = {}
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(place, name)
            status = path.lstat()
            content = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else None
            found[str(path.relative_to(folder))] = (status.st_mode, status.st_size, status.st_mtime_ns, content)
    return found


def manifest(folder: Path) -> dict[str, Any] | None:
    """manifest.json, None where there is none."""
    try:
        return json.loads((folder / "manifest.json").read_bytes())  # type: ignore[no-any-return]
    except FileNotFoundError:
        return None


def named_files(values: dict[str, Any]) -> list[dict[str, Any]]:
    """The files that a manifest (or a record that looks like one) vouches for, each with file, bytes and sha256."""
    files = []
    for shard in values["shards"]:
        files += [shard, shard["metadata"]] if "metadata" in shard else [shard]
    return [*files, *values["failures"]]


def data_files(folder: Path) -> dict[str, str]:
    """Data files by their place below the dataset, each with its SHA-256: manifest or not, what a reader would take."""
    return {
        f"{kind}/{file.name}": hashlib.sha256(file.read_bytes()).hexdigest()
        for kind in ("data", "img_emb", "metadata")
        for file in sorted((folder / kind).glob("*"))
        if _DATA.fullmatch(file.name)
    }


def shard_rows(folder: Path, vectors: str, metadata: str | None) -> list[tuple[Key, Row]]:
    """The rows of one shard: a Parquet file, or an npy file and the Parquet file beside it."""
    table = pq.ParquetFile(folder / (metadata or vectors)).read().to_pydict()
    embedding = np.load(folder / vectors, allow_pickle=False) if metadata else table["embedding"]
    kept = np.dtype(np.float32) if metadata is None else embedding.dtype
    names = ("sha256", "size_bytes", "mtime_ns", "width", "height", "format", "path_bytes")
    found = []
    for index, key in enumerate(zip(table["root"], table["path"], strict=True)):
        vector = np.asarray(embedding[index], kept).tobytes()
        found.append((key, Row(vector, *(table[name][index] for name in names))))
    assert not metadata or len(embedding) == len(found), "vectors and their metadata differ in length"
    return found


def rows(folder: Path) -> dict[Key, Row]:
    """All rows that the manifest names, by key; fails on a key that stands there twice or out of order."""
    values = manifest(folder)
    assert values is not None, f"{folder} has no manifest"
    found: list[tuple[Key, Row]] = []
    for shard in values["shards"]:
        found += shard_rows(folder, shard["file"], shard.get("metadata", {}).get("file"))
    keys = [key for key, _ in found]
    assert keys == sorted(set(keys)), "rows out of order or twice"
    return dict(found)


def failures(folder: Path) -> list[dict[str, Any]]:
    """The lines of the failure lists that the manifest names."""
    values = manifest(folder)
    assert values is not None, f"{folder} has no manifest"
    return [
        json.loads(line)
        for file in values["failures"]
        for line in (folder / file["file"]).read_text("utf-8").split("\n")
        if line
    ]


def counts(folder: Path) -> dict[str, int]:
    """The manifest's counts, checked to add up."""
    values = manifest(folder)
    assert values is not None, f"{folder} has no manifest"
    found: dict[str, int] = values["counts"]
    assert found["discovered"] == found["extracted"] + found["reused"] + found["failed"]
    assert found["rows"] == found["extracted"] + found["reused"] + found["stale"] + found["elsewhere"]
    return found


@dataclass(frozen=True)
class State:
    """Everything about a finished dataset that must not depend on how often its runs were interrupted.

    ``files`` are the data files with their hashes: equal hashes mean equal rows and vectors, bit for bit.
    """

    files: dict[str, str]
    failed: list[dict[str, Any]]
    discovered: int
    with_vector: int
    stale: int


def state(folder: Path) -> State:
    """The state of a dataset whose files are as its manifest says; fails where they are not."""
    values = manifest(folder)
    assert values is not None, f"{folder} has no manifest"
    for file in named_files(values):
        data = (folder / file["file"]).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (file["bytes"], file["sha256"]), file["file"]
    found = counts(folder)
    files = data_files(folder)
    assert set(files) == {file["file"] for file in named_files(values)} - {file["file"] for file in values["failures"]}
    return State(files, failures(folder), found["discovered"], found["extracted"] + found["reused"], found["stale"])


def check_moment(folder: Path) -> str:
    """Asserts what holds at any moment, however a run died; returns the stage it died in.

    The manifest is whole, and every file it names is there. Nothing else stands among the data files but shards with a
    commit record of a first run, and, once a run has written down the manifest it decided on, that manifest's files
    beside those it replaces. No row stands in two of the files that count.
    """
    state_folder = folder / ".fvcli"
    present = data_files(folder)
    pending = state_folder / "pending-manifest.json"
    current = manifest(folder)
    named = {file["file"]: file["sha256"] for file in named_files(current)} if current else {}
    for name, sha256 in named.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == sha256, f"{name} is not the manifest's"
    if current:
        rows(folder)
    extra = {name: sha256 for name, sha256 in present.items() if name not in named}
    if pending.exists():
        decided = {file["file"]: file["sha256"] for file in named_files(json.loads(pending.read_bytes()))}
        moved_in = current is not None and set(decided) == set(named)
        for name, sha256 in decided.items():
            there = folder / name if (folder / name).exists() else state_folder / "staging" / name.rsplit("/", 1)[1]
            assert hashlib.sha256(there.read_bytes()).hexdigest() == sha256, f"{name} is decided but not there"
        # Files of the manifest before this one wait for their removal once the new one has taken its place.
        strangers = {} if moved_in else {name: sha256 for name, sha256 in extra.items() if decided.get(name) != sha256}
        assert not strangers or current is None, f"neither in the manifest nor decided: {sorted(strangers)}"
        return "decided"
    if current:
        assert not extra, f"data files that nothing names: {sorted(extra)}"
        return "update"
    recorded = _recorded(state_folder)
    strangers = {name: sha256 for name, sha256 in extra.items() if recorded.get(name) != sha256}
    assert not strangers, f"data files without a commit record: {sorted(strangers)}"
    seen: list[Key] = []
    for name in present:
        if name.startswith("metadata/") or name.startswith("data/"):
            seen += zip(*pq.ParquetFile(folder / name).read(columns=["root", "path"]).to_pydict().values(), strict=True)
    assert len(seen) == len(set(seen)), "a row stands in two shards"
    return "first run"


def _recorded(state_folder: Path) -> dict[str, str]:
    """The files that the commit records of the plan in work name, each with its SHA-256."""
    try:
        plan = json.loads((state_folder / "plan.json").read_bytes())["id"]
    except FileNotFoundError:
        return {}
    records = [json.loads(file.read_bytes()) for file in sorted((state_folder / "commits").glob("*.json"))]
    shards = [record["shard"] for record in records if record["plan"] == plan and record["shard"]]
    return {file["file"]: file["sha256"] for file in named_files({"shards": shards, "failures": []})}
