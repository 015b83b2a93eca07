"""The files of a dataset: the names and places of all, what a lock says, and the schemas of its JSON files.

The schemas ship with the package. One is compiled when the first file of its kind is read: a first run reads none.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Any, Final, Literal, NoReturn, TypeAlias

from fvcli.errors import LockedError

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

#: Kinds of JSON files.
JsonKind: TypeAlias = Literal["manifest", "plan", "commit", "failure", "task", "lock"]

_FILE: Final[dict[JsonKind, str]] = {"manifest": "manifest.schema.json"}
_STATE: Final = "state.schema.json#/definitions/"
_TOLD: Final = 200  # characters of a message
_BASE: Final = "https://fvcli.invalid/"  # of the schemas' identifiers; nothing is fetched


def shard_name(prefix: str, number: int, suffix: str, sha256: str) -> str:
    """``part-00003-1a2b3c4d.parquet``: the number orders, the hash makes two attempts at one shard one file."""
    return f"{prefix}{number:05d}-{sha256[:8]}{suffix}"


def this_holder() -> dict[str, object]:
    """The content of a lock that this process takes now."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return {"host": socket.gethostname(), "pid": os.getpid(), "since": now}


def holder_in(lock: bytes) -> dict[str, object]:
    """The holder that a lock names; empty where its content is not understood."""
    try:
        return parse("lock", lock)  # type: ignore[no-any-return]
    except ValueError:
        return {}


def in_use(place: str, holder: Mapping[str, object]) -> LockedError:
    """The error of a run that meets the lock of another one."""
    who = f"process {holder.get('pid', '?')} on {holder.get('host', '?')}, since {holder.get('since', '?')}"
    return LockedError(f"{place} is in use by another run ({who}); try again when it has ended")


def permitted() -> None:
    """The permission of a store that no lock guards."""


def parse(kind: JsonKind, data: bytes | str) -> Any:
    """The values in a file of this kind.

    Raises ValueError, whose message is one line, for what is not JSON or not of the kind's schema.
    """
    values = decode(data)
    check(kind, values)
    return values


def check(kind: JsonKind, values: Any) -> None:
    """Raises ValueError, whose message is one line, for values that are not of the kind's schema."""
    try:
        _checker(kind)(values)
    except ValueError:
        _explain(kind, values)
        raise


def decode(data: bytes | str) -> Any:
    """JSON as values, strictly. Raises ValueError also for a nesting too deep to read and for strings that are no text.

    Bytes of a file name that are not UTF-8 stand as Python reads them (U+DC80 to U+DCFF).
    """
    text = data if isinstance(data, str) else data.decode("utf-8")
    try:
        values = json.loads(text, parse_constant=_refuse)
        if "\\u" in text:
            json.dumps(values, ensure_ascii=False).encode("utf-8", "surrogateescape")
        return values
    except UnicodeEncodeError:
        raise ValueError("a string in it is not text") from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _explain(kind: JsonKind, values: Any) -> None:
    """Raises the error again with a message that names the place in the file."""
    try:
        _checker(kind, detailed=True)(values)
    except ValueError as error:
        told = str(error)
        told = "it" + told.removeprefix("data") if told.startswith("data ") else told.removeprefix("data.")
        raise ValueError(told[:_TOLD]) from None


@cache
def _checker(kind: JsonKind, detailed: bool = False) -> Callable[[Any], Any]:
    import fastjsonschema

    reference = _FILE.get(kind) or _STATE + kind
    return fastjsonschema.compile(
        {"$ref": _BASE + reference},
        handlers={"https": _shipped},
        use_default=False,
        use_formats=False,
        detailed_exceptions=detailed,  # costs three times as much to compile
    )


@cache
def _shipped(uri: str) -> Any:
    from importlib import resources

    name = uri.removeprefix(_BASE).partition("#")[0]
    return json.loads((resources.files("fvcli.dataset") / name).read_text("utf-8"))
