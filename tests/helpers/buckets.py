"""Helpers for tests of object stores: a server in the place of S3, and what lies in its buckets."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from fvcli import locations
from tests.helpers.processes import run_at_start
from tests.helpers.s3_server import S3Server

#: Requests are repeated as often as ever, with pauses of a few milliseconds.
_IMPATIENT = "from fvcli import locations\n\nlocations._FIRST_PAUSE_SECONDS = 0.001\n"


@contextmanager
def stand_in_for_s3(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Iterator[S3Server]:
    """A running server that this process and its children take for S3.

    Temporary files go into ``folder``. Pauses between attempts are short.
    """
    run_at_start(monkeypatch, folder / "site", _IMPATIENT)
    monkeypatch.setattr(locations, "_FIRST_PAUSE_SECONDS", 0.001)
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    (folder / "tmp").mkdir()
    settings = {
        "AWS_ACCESS_KEY_ID": "the-key",
        "AWS_SECRET_ACCESS_KEY": "the-secret",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_REGION": "us-east-1",
        "TMPDIR": str(folder / "tmp"),
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("tempfile.tempdir", str(folder / "tmp"))
    with S3Server() as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.port}")
        yield server


def vectors(shards: Iterable[bytes]) -> dict[str, bytes]:
    """By name each image's vector, from the bytes of Parquet shards."""
    found: dict[str, bytes] = {}
    for shard in shards:
        rows = pq.read_table(io.BytesIO(shard), columns=["path", "embedding"])
        names = [path.split("photos/")[-1].split("!")[-1] for path in rows["path"].to_pylist()]
        values = np.stack(rows["embedding"].to_numpy())
        found |= {name: vector.tobytes() for name, vector in zip(names, values, strict=True)}
    return found


def upload(server: S3Server, folder: Path, prefix: str) -> None:
    for file in folder.rglob("*"):
        if file.is_file():
            server.put(prefix + file.relative_to(folder).as_posix(), file.read_bytes())
