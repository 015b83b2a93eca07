"""Object stores as source and as output, through the real command and a small S3 server on loopback."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from fvcli.dataset.store import open_store
from fvcli.errors import DatasetError, ImageError, UsageError
from fvcli.locations import Location, UnreachableError
from fvcli.records import ImageRef
from fvcli.sources.discover import Sources, discover
from fvcli.sources.read import read
from tests.helpers.buckets import stand_in_for_s3, upload, vectors
from tests.helpers.s3_server import S3Server

pytestmark = pytest.mark.slow

FVCLI = Path(sys.executable).with_name("fvcli")
OPTIONS = ("--shard-size", "5", "-q", "--json")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[S3Server]:
    """A running server that this process and its children take for S3."""
    with stand_in_for_s3(monkeypatch, tmp_path) as server:
        yield server


@pytest.fixture(scope="module")
def photographs(sample_images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photographs") / "photos"
    shutil.copytree(sample_images, folder, ignore=shutil.ignore_patterns("README.md", "broken*"))
    return folder


@pytest.fixture(scope="module")
def local(photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Each photograph's vector, as the files on the disk give it."""
    output = tmp_path_factory.mktemp("local") / "f"
    extract(photographs, "-o", output)
    return vectors(file.read_bytes() for file in (output / "data").iterdir())


def extract(*arguments: str | Path, code: int = 0) -> dict[str, int]:
    done = subprocess.run([FVCLI, "extract", *map(str, arguments), *OPTIONS], capture_output=True, check=False)
    assert done.returncode == code, done.stderr.decode()
    assert b"the-secret" not in done.stderr
    return json.loads(done.stdout or b"{}")  # type: ignore[no-any-return]


def test_a_bucket_gives_the_vectors_of_the_folder_and_holds_the_dataset(
    server: S3Server, photographs: Path, local: dict[str, bytes]
) -> None:
    upload(server, photographs, "photos/photos/")
    summary = extract("s3://photos/photos", "-o", "s3://out/f")
    assert summary["extracted"] == summary["rows"] == len(local)
    assert vectors(list(server.below("out/f/data/").values())) == local
    assert json.loads(server.below("out/f/")["manifest.json"])["roots"] == ["s3://photos/photos"]
    assert all(request.count("?partNumber") == 0 for request in server.requests)  # one PUT an object
    puts = [request for request in server.requests if request.startswith("PUT /out/f/data/part")]
    assert len(puts) == len(set(puts)) == len(server.below("out/f/data/"))
    again = extract("s3://photos/photos", "-o", "s3://out/f")
    assert (again["extracted"], again["reused"]) == (0, len(local))
    assert subprocess.run([FVCLI, "verify", "s3://out/f", "-q"], check=False).returncode == 0
    assert not any("secret" in text for text in map(str, server.below("out/f/").values()))


def test_an_update_of_a_dataset_in_a_bucket_takes_rows_over(
    server: S3Server, photographs: Path, local: dict[str, bytes]
) -> None:
    upload(server, photographs, "photos/photos/")
    extract("s3://photos/photos", "-o", "s3://out/f", "--format", "npy")
    server.objects.pop("photos/photos/cat.jpg")
    server.put("photos/photos/aaa.jpg", (photographs / "rocket.jpg").read_bytes())
    server.put("photos/photos/zzz.jpg", (photographs / "cat.jpg").read_bytes() + b"changed")
    summary = extract("s3://photos/photos", "-o", "s3://out/f", "--format", "npy", "--prune")
    assert (summary["extracted"], summary["rows"]) == (1, len(local) + 1)
    assert subprocess.run([FVCLI, "verify", "s3://out/f", "-q"], check=False).returncode == 0


def test_a_tenth_of_the_requests_refused_costs_no_row(
    server: S3Server, photographs: Path, local: dict[str, bytes]
) -> None:
    upload(server, photographs, "photos/photos/")
    server.refuse = 0.1
    summary = extract("s3://photos/photos", "-o", "s3://out/f")
    assert (summary["rows"], summary["failed"]) == (len(local), 0)
    assert vectors(list(server.below("out/f/data/").values())) == local
    assert server.refused > 5


@pytest.mark.parametrize("output", ["s3://out/f", "f"])
def test_a_server_that_goes_away_ends_the_run_and_resuming_completes_it(
    server: S3Server, photographs: Path, local: dict[str, bytes], tmp_path: Path, output: str
) -> None:
    upload(server, photographs, "photos/photos/")
    place = output if "://" in output else str(tmp_path / output)

    def until_a_commit(command: str, name: str) -> None:
        if command == "PUT" and "/commits/" in name:
            server.stop_after = len(server.requests)

    if "://" in output:
        server.fault = until_a_commit
    else:
        server.stop_after = 45
    extract("s3://photos/photos", "-o", place, "-j", "1", code=1)
    server.stop_after, server.fault = None, lambda command, name: None
    before = len(server.requests)
    summary = extract("s3://photos/photos", "-o", place)
    assert (summary["rows"], summary["failed"]) == (len(local), 0)
    data = (
        server.below("out/f/data/")
        if "://" in output
        else {file.name: file.read_bytes() for file in (tmp_path / "f/data").iterdir()}
    )
    assert vectors(list(data.values())) == local
    read_again = [request for request in server.requests[before:] if request.startswith("GET /photos/photos/")]
    assert 0 < len(read_again) < len(local), "what was finished is not read again"


def test_tasks_share_a_bucket(server: S3Server, photographs: Path, local: dict[str, bytes]) -> None:
    upload(server, photographs, "photos/photos/")
    query = f"?endpoint_override=127.0.0.1:{server.port}&scheme=http&region=us-east-1"
    environment = {name: value for name, value in os.environ.items() if name != "AWS_ENDPOINT_URL"}
    output = f"s3://out/f{query}"

    def fvcli(*arguments: str, code: int = 0) -> None:
        done = subprocess.run([FVCLI, *arguments], env=environment, capture_output=True, check=False)
        assert done.returncode == code, done.stderr.decode()

    fvcli("plan", f"s3://photos/photos{query}", "-o", output, "--shard-size", "5")
    fvcli("extract", "-o", output, "--task", "1/2", "-q")
    fvcli("finalize", output, code=1)
    fvcli("extract", "-o", output, "--task", "2/2", "-q")
    fvcli("finalize", output)
    assert vectors(list(server.below("out/f/data/").values())) == local


def test_lists_and_archives_in_a_bucket(
    server: S3Server, photographs: Path, local: dict[str, bytes], tmp_path: Path
) -> None:
    files = sorted(file for file in photographs.rglob("*") if file.is_file())
    for number in range(3):
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as tar:
            for file in files[number::3]:
                tar.add(file, file.relative_to(photographs).as_posix())
        server.put(f"packed/shards/{number}.tar", packed.getvalue())
    names = "".join(f"s3://packed/shards/{number}.tar\n" for number in range(3))
    server.put("packed/list.txt", names.encode())
    for output, sources in [("a", ["s3://packed/shards"]), ("b", ["--files-from", "s3://packed/list.txt"])]:
        summary = extract(*sources, "-o", tmp_path / output)
        assert summary["rows"] == len(local)
        assert vectors(file.read_bytes() for file in (tmp_path / output / "data").iterdir()) == local


def test_what_stands_in_a_bucket_is_found_in_the_order_of_paths(server: S3Server) -> None:
    jpeg = b"\xff\xd8\xff\xe0"
    names = ["b/c.jpg", "b-a.jpg", "b.jpg", "a b?c=d.jpg", "ü.png", "bare", "bare.txt", "b/._c.jpg", "x.tar!y.jpg"]
    for name in [*names, *(f"many/{number:02}.jpg" for number in range(20))]:
        server.put(f"bucket/top/{name}", jpeg)
    refs = list(discover(Sources(("s3://bucket/top/",))))
    paths = [ref.path for ref in refs]
    wanted = [name for name in names if name not in ("bare.txt", "b/._c.jpg")]
    assert paths == sorted([*wanted, *(f"many/{number:02}.jpg" for number in range(20))])
    assert {read(ref).data for ref in refs} == {jpeg}
    assert {(ref.root, ref.size_bytes) for ref in refs} == {("s3://bucket/top", 4)}
    (ref,) = discover(Sources(("s3://bucket/top/b.jpg",)))
    assert (ref.root, ref.path) == ("", "s3://bucket/top/b.jpg")
    with pytest.raises(UsageError, match="no such object"):
        list(discover(Sources(("s3://bucket/nowhere",))))


def test_an_object_that_is_gone_is_a_failure_and_a_store_that_is_gone_is_an_error(server: S3Server) -> None:
    server.put("bucket/a.jpg", b"x")
    with pytest.raises(ImageError) as raised:
        read(ImageRef("s3://bucket", "b.jpg"))
    assert raised.value.kind == "NotFound"
    server.stop_after = 0
    with pytest.raises(UnreachableError):
        read(ImageRef("s3://bucket", "a.jpg"))
    with pytest.raises(DatasetError, match="cannot read s3://bucket/f/manifest"):
        open_store("s3://bucket/f").read("manifest.json")


def test_addresses_say_what_they_may(tmp_path: Path) -> None:
    assert Location.parse("s3://bucket/a?b.jpg").path == "bucket/a?b.jpg"
    assert Location.parse("s3://bucket/a/?region=x&scheme=http").options == (("region", "x"), ("scheme", "http"))
    with pytest.raises(UsageError, match="credentials") as refusal:
        Location.parse("s3://key:the-secret@bucket/a")
    assert "the-secret" not in str(refusal.value)
    with pytest.raises(UsageError, match="bucket"):
        Location.parse("s3:///a")
    folder = tmp_path / "a b"
    folder.mkdir()
    (folder / "c.jpg").write_bytes(b"x")
    assert [ref.root for ref in discover(Sources((f"file://{tmp_path}/a%20b",)))] == [str(folder)]
    assert open_store(f"file://{tmp_path}/a%20b").place == str(folder)
