"""The names and places of everything in a dataset's folder."""

from __future__ import annotations

import re
from typing import Literal, TypeAlias

DataFormat: TypeAlias = Literal["parquet", "npy"]
DType: TypeAlias = Literal["float32", "float16"]
StreamFormat: TypeAlias = Literal["jsonl", "arrow"]
RowFormat: TypeAlias = DataFormat | StreamFormat

MANIFEST = "manifest.json"
FAILURES = "failures"
STATE = ".fvcli"
PENDING_MANIFEST = f"{STATE}/pending-manifest.json"
PLAN = f"{STATE}/plan.json"
PLAN_ENTRIES = f"{STATE}/plan.arrow"
PLAN_FAILURES = f"{STATE}/plan-failures.jsonl"
COMMITS = f"{STATE}/commits"
STAGING = f"{STATE}/staging"
LOCK = f"{STATE}/lock"
IN_WORK = f"{STATE}/in-work"
CRASHED = f"{STATE}/crashed.jsonl"
TASKS = f"{STATE}/tasks"

# One shard is one file of each kind; the first holds the vectors, the last the other columns.
KINDS: dict[DataFormat, tuple[tuple[str, str, str], ...]] = {
    "parquet": (("data", "part-", ".parquet"),),
    "npy": (("img_emb", "img_emb_", ".npy"), ("metadata", "metadata_", ".parquet")),
}
DATA_FOLDERS = ("data", "img_emb", "metadata")

_OURS = re.compile(r"(part-|img_emb_|metadata_|failures-)\d{5,}-[0-9a-f]{8}\.(parquet|npy|jsonl)")


def shard_name(prefix: str, number: int, suffix: str, sha256: str) -> str:
    """``part-00003-1a2b3c4d.parquet``: the number orders, the hash makes two attempts at one shard one file."""
    return f"{prefix}{number:05d}-{sha256[:8]}{suffix}"


def is_ours(name: str) -> bool:
    """Whether fvcli wrote a file of this name: nothing else in a user's folder is ever removed."""
    return _OURS.fullmatch(name) is not None
