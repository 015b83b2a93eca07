"""Object stores as source and as output of a Ray cluster: every node talks to the store itself."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.buckets import stand_in_for_s3, upload, vectors
from tests.helpers.clusters import small_cluster
from tests.helpers.s3_server import S3Server

pytestmark = pytest.mark.ray

pytest.importorskip("ray")

FVCLI = Path(sys.executable).with_name("fvcli")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with (
        pytest.MonkeyPatch.context() as monkeypatch,
        stand_in_for_s3(monkeypatch, tmp_path_factory.mktemp("s3")) as server,
        tempfile.TemporaryDirectory(prefix="fv-", dir="/tmp", ignore_cleanup_errors=True) as short,
    ):
        monkeypatch.setenv("TMPDIR", short)  # Ray's sockets need a short path
        yield server


@pytest.fixture(scope="module")
def cluster(server: S3Server) -> Iterator[Any]:
    with small_cluster() as made:
        yield made


@pytest.fixture(scope="module")
def local(server: S3Server, sample_images: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Each photograph's vector from the disk; the photographs also lie in s3://photos/photos."""
    photographs = tmp_path_factory.mktemp("photographs") / "photos"
    shutil.copytree(sample_images, photographs, ignore=shutil.ignore_patterns("README.md", "broken*"))
    upload(server, photographs, "photos/photos/")
    output = photographs.parent / "f"
    subprocess.run([FVCLI, "extract", photographs, "-o", output, "-q"], check=True)
    return vectors(file.read_bytes() for file in (output / "data").iterdir())


def extract(cluster: Any, output: str, code: int = 0) -> dict[str, int]:
    done = subprocess.run(
        [
            *(FVCLI, "extract", "s3://photos/photos", "-o", output, "--shard-size", "5", "-q", "--json"),
            *("--on", "ray", "--ray-address", cluster.address),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stderr
    assert "the-secret" not in done.stderr
    assert done.stderr.count("\n") == (code != 0)  # a failure takes one line
    return json.loads(done.stdout or "{}")  # type: ignore[no-any-return]


@pytest.mark.parametrize("refused", [0.0, 0.1])
def test_from_bucket_to_bucket_gives_the_vectors_of_the_disk(
    cluster: Any, server: S3Server, local: dict[str, bytes], refused: float
) -> None:
    output = f"out/{refused}"
    server.refuse, server.refused = refused, 0
    try:
        summary = extract(cluster, f"s3://{output}")
    finally:
        server.refuse = 0.0
    assert (summary["rows"], summary["failed"]) == (len(local), 0)
    assert vectors(server.below(f"{output}/data/").values()) == local
    assert (server.refused > 5) == (refused > 0)


def test_a_store_that_goes_away_ends_the_run_and_resuming_completes_it(
    cluster: Any, server: S3Server, local: dict[str, bytes]
) -> None:
    server.stop_after = len(server.requests) + 60
    try:
        extract(cluster, "s3://out/stopped", code=1)
    finally:
        server.stop_after = None
    assert "manifest.json" not in server.below("out/stopped/")
    summary = extract(cluster, "s3://out/stopped")
    assert (summary["rows"], summary["failed"]) == (len(local), 0)
    assert vectors(server.below("out/stopped/data/").values()) == local
