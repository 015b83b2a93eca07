"""Object stores that refuse, answer by halves, hold odd keys and forget who is asking."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fvcli.errors import ImageError, SourceError, UsageError
from fvcli.locations import Location, UnreachableError
from fvcli.records import ImageRef
from fvcli.sources import buckets
from fvcli.sources.candidates import PassedOver
from fvcli.sources.discover import Sources, discover
from fvcli.sources.read import read
from tests.helpers.buckets import stand_in_for_s3
from tests.helpers.s3_server import S3Server
from tests.helpers.trees import found, names, passed_over

JPEG = b"\xff\xd8\xff\xe0 not much of a picture"
FVCLI = Path(sys.executable).with_name("fvcli")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[S3Server]:
    """A running server that this process takes for S3."""
    monkeypatch.setattr(buckets, "_good", {})
    with stand_in_for_s3(monkeypatch, tmp_path) as server:
        yield server


def error_of(ref: ImageRef) -> ImageError:
    with pytest.raises(ImageError) as raised:
        read(ref)
    return raised.value


def test_a_listing_of_many_pages_is_whole_and_only_images_are_inputs(server: S3Server) -> None:
    for number in range(50):
        server.put(f"b/p/{number:02}.jpg", JPEG)
        server.put(f"b/p/{number:02}.mov", JPEG)
    assert names("s3://b/p") == [f"{number:02}.jpg" for number in range(50)]
    assert passed_over("s3://b/p") == {".mov": 50}


@pytest.mark.slow
def test_lists_of_more_objects_than_are_asked_for_together(server: S3Server, tmp_path: Path) -> None:
    for number in range(0, 1200, 2):
        server.put(f"b/{number:04}.jpg", JPEG)
    (tmp_path / "list").write_text("".join(f"s3://b/{number:04}.jpg\n" for number in range(1200)))
    refs = found(files_from=str(tmp_path / "list"))
    assert [ref.size_bytes for ref in refs] == [len(JPEG), -1] * 600


def test_a_refusal_for_the_moment_is_no_matter_of_permission_whatever_the_key(server: S3Server) -> None:
    server.put("b/permission denied.jpg", JPEG)
    left = [3]

    def busy(command: str, name: str) -> tuple[int, str] | None:
        left[0] -= 1
        return (503, "SlowDown") if left[0] >= 0 and name.endswith(".jpg") else None

    server.fault = busy
    assert read(ImageRef("s3://b", "permission denied.jpg")).data == JPEG
    assert left[0] < 0
    server.fault = lambda command, name: (503, "SlowDown") if name.endswith(".jpg") else None
    assert error_of(ImageRef("s3://b", "permission denied.jpg")).kind == "IOError"


@pytest.mark.parametrize("times", [1, 3])
def test_a_body_that_ends_too_soon_is_asked_for_again(server: S3Server, times: int) -> None:
    server.put("b/a.jpg", JPEG * 1000)
    server.short = times
    assert read(ImageRef("s3://b", "a.jpg")).data == JPEG * 1000


@pytest.mark.parametrize("left", [0, 1, 999])
def test_an_object_that_shrinks_once_it_is_open_is_not_read(
    server: S3Server, monkeypatch: pytest.MonkeyPatch, left: int
) -> None:
    server.put("b/a.jpg", bytes(1000))
    opened = buckets._opened

    def replaced(location: Location) -> object:
        file = opened(location)
        server.put("b/a.jpg", bytes(left))
        return file

    with monkeypatch.context() as patched:
        patched.setattr(buckets, "_opened", replaced)
        assert error_of(ImageRef("s3://b", "a.jpg")).kind == "IOError"


@pytest.mark.parametrize("last", [0x5A, 0xA5])
def test_an_object_may_end_with_any_byte(server: S3Server, last: int) -> None:
    for data in (bytes([last]), JPEG + bytes([last])):
        server.put("b/a.jpg", data)
        assert read(ImageRef("s3://b", "a.jpg")).data == data


class Short(io.BytesIO):
    """An object of which some answers have fewer bytes than were asked for."""

    answers: ClassVar[list[int]] = []

    def read(self, length: int | None = -1) -> bytes:
        return super().read(self.answers.pop(0) if self.answers else length)


def test_an_answer_of_fewer_bytes_than_were_asked_for_is_asked_for_again(
    server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(buckets, "_opened", lambda location: pa.PythonFile(Short(JPEG * 1000), mode="r"))
    Short.answers = [100, 0, 5]
    assert read(ImageRef("s3://b", "a.jpg")).data == JPEG * 1000
    Short.answers = [100] * 100
    assert error_of(ImageRef("s3://b", "a.jpg")).kind == "IOError"
    Short.answers = []


def test_a_closed_object_is_a_failure_of_its_own(server: S3Server) -> None:
    server.put("b/open.jpg", JPEG)
    server.put("b/closed.jpg", JPEG)
    server.fault = lambda command, name: (403, "AccessDenied") if "closed" in name else None
    assert error_of(ImageRef("s3://b", "closed.jpg")).kind == "PermissionDenied"
    assert read(ImageRef("s3://b", "open.jpg")).data == JPEG
    # Who may read objects but not list them is not shut out by one closed object.
    server.fault = lambda command, name: (403, "AccessDenied") if "closed" in name or name == "b" else None
    assert error_of(ImageRef("s3://b", "closed.jpg")).kind == "PermissionDenied"


@pytest.mark.parametrize("answer", [(403, "AccessDenied"), (400, "ExpiredToken"), (403, "InvalidAccessKeyId")])
def test_credentials_that_end_are_no_failure_of_an_image(server: S3Server, answer: tuple[int, str]) -> None:
    server.put("b/a.jpg", JPEG)
    assert read(ImageRef("s3://b", "a.jpg")).data == JPEG
    server.fault = lambda command, name: answer
    with pytest.raises(UnreachableError, match="credentials"):
        read(ImageRef("s3://b", "a.jpg"))


def test_a_source_that_lets_nobody_in_is_told_from_an_empty_one(server: S3Server) -> None:
    server.put("b/p/a.txt", JPEG)
    assert found("s3://b/p") == []
    server.fault = lambda command, name: (403, "AccessDenied")
    with pytest.raises((SourceError, UnreachableError), match="ACCESS_DENIED"):
        found("s3://b/p")


def test_a_closed_folder_is_one_failure_and_the_rest_is_found(
    server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fvcli.sources.buckets import BucketFolder

    for name in ("a/x.jpg", "b/x.jpg", "c.jpg"):
        server.put(f"b/{name}", JPEG)
    listed = BucketFolder.__iter__

    def closed(folder: BucketFolder) -> object:
        if folder._location.path == "b/b":
            raise OSError("AWS Error ACCESS_DENIED during ListObjectsV2 operation: no")
        return listed(folder)

    monkeypatch.setattr(BucketFolder, "__iter__", closed)
    assert [(ref.path, ref.size_bytes) for ref in found("s3://b")] == [
        ("a/x.jpg", len(JPEG)),
        ("b/", -1),
        ("c.jpg", len(JPEG)),
    ]


def test_keys_with_two_slashes_in_a_row_are_told_and_stop_nothing(server: S3Server, tmp_path: Path) -> None:
    for key in ["/lead.jpg", "x//y.jpg", "x/z.jpg", "ok.jpg"]:
        server.put(f"c/{key}", JPEG)
    refs = {ref.path: ref for ref in found("s3://c")}
    assert set(refs) == {"/", "ok.jpg", "x//", "x/z.jpg"}
    assert error_of(refs["/"]).kind == error_of(refs["x//"]).kind == "BadAddress"
    assert read(refs["x/z.jpg"]).data == JPEG
    (tmp_path / "list").write_text("s3://c//lead.jpg\ns3://c/ok.jpg\n")
    first, second = found(files_from=str(tmp_path / "list"))
    assert error_of(first).kind == "BadAddress"
    assert read(second).data == JPEG


def test_archives_of_all_kinds_are_read_by_range(server: S3Server) -> None:
    members = {f"{number}.jpg": JPEG + str(number).encode() for number in range(5)}
    tar, packed, table = io.BytesIO(), io.BytesIO(), io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as opened:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            opened.addfile(info, io.BytesIO(data))
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name, data in members.items():
            zipped.writestr(name, data)
    rows = [{"bytes": data, "path": name} for name, data in members.items()]
    pq.write_table(pa.table({"image": rows}), table)
    for name, data in [("a.tar", tar), ("b.zip", packed), ("c.parquet", table)]:
        server.put(f"b/p/{name}", data.getvalue())
    refs = found("s3://b/p")
    assert len(refs) == 15
    for ref in refs:
        assert read(ref).data == members[ref.path.split("!")[1]]
        assert read(ImageRef(ref.root, ref.path)).data == members[ref.path.split("!")[1]]


def test_credentials_in_an_address_are_refused_and_never_printed(server: S3Server, tmp_path: Path) -> None:
    for source in ["s3://key:the-secret@b/p", "s3://b/p?endpoint_override=key:the-secret@host:9000&scheme=http"]:
        with pytest.raises(UsageError, match="credentials") as refusal:
            found(source)
        assert "the-secret" not in str(refusal.value)
        (tmp_path / "list").write_text(source + "\n")
        (ref,) = found(files_from=str(tmp_path / "list"))
        assert "the-secret" not in f"{ref} {error_of(ref)}"


@pytest.mark.slow
def test_a_run_whose_credentials_end_remembers_no_failures_and_resumes(
    server: S3Server, sample_images: Path, tmp_path: Path
) -> None:
    for number in range(12):
        server.put(f"b/p/{number:02}.jpg", (sample_images / "cat.jpg").read_bytes() + bytes([number]))
    seen: set[str] = set()

    def ending(command: str, name: str) -> tuple[int, str] | None:
        seen.update([name] if name.endswith(".jpg") else [])
        return (403, "ExpiredToken") if len(seen) > 6 else None

    server.fault = ending
    command = [FVCLI, "extract", "s3://b/p", "-o", str(tmp_path / "f"), "--json", "-q", "-j", "1", "--shard-size", "2"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert "have the credentials expired?" in done.stderr
    server.fault = lambda command, name: None
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    summary = json.loads(done.stdout)
    assert (summary["rows"], summary["failed"]) == (12, 0)


def test_names_that_say_nothing_are_decided_by_first_bytes_fetched_together(server: S3Server) -> None:
    """More of them than are under way at once; no answer comes before eight have been asked for."""
    for number in range(20):
        server.put(f"b/p/{number:03}", JPEG if number % 2 else b"words")
        server.put(f"b/p/{number:03}.jpg", JPEG)
        server.put(f"b/p/{number:03}.odd", b"words" if number % 2 else JPEG)
    together, alone = threading.Barrier(8), []

    def answered_together(command: str, name: str) -> None:
        try:
            if command == "GET" and name != "b":
                together.wait(20)
        except threading.BrokenBarrierError:
            alone.append(name)

    server.fault = answered_together
    tally = PassedOver()
    expected = [f"{number:03}.jpg" for number in range(20)]
    expected += [f"{number:03}" if number % 2 else f"{number:03}.odd" for number in range(20)]
    assert [ref.path for ref in discover(Sources(("s3://b/p",)), tally)] == sorted(expected)
    assert tally.to_json() == {".odd": 10, "other file": 10}
    assert alone == []


def packed(members: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as opened:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            opened.addfile(info, io.BytesIO(data))
    return stream.getvalue()


def test_an_archive_is_opened_once_for_all_its_members_and_again_when_it_changes(server: S3Server) -> None:
    server.put("b/x.tar", packed({f"{number}.jpg": JPEG for number in range(30)}))
    refs = found("s3://b")
    server.requests.clear()
    assert [read(ref).data for ref in refs] == [JPEG] * 30
    assert sum(request.startswith("HEAD") for request in server.requests) == 1
    assert sum(request.startswith("GET") for request in server.requests) == 30
    server.put("b/x.tar", packed({f"{number}.jpg": JPEG * 99 for number in range(60)}))
    assert [read(ref).data for ref in found("s3://b")] == [JPEG * 99] * 60
    # Rows know their files by name alone.
    server.requests.clear()
    assert [read(ImageRef("s3://b", f"x.tar!{number}.jpg")).data for number in range(60)] == [JPEG * 99] * 60
    assert sum(request.startswith("GET") for request in server.requests) < 70


def test_members_whose_names_are_not_utf8_are_read_and_explained(server: S3Server) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.GNU_FORMAT) as opened:
        info = tarfile.TarInfo("a\udce9.jpg")
        info.size = len(JPEG)
        opened.addfile(info, io.BytesIO(JPEG))
    server.put("b/x.tar", stream.getvalue())
    (ref,) = found("s3://b")
    assert ref.path_bytes == b"x.tar!a\xe9.jpg"
    assert read(ref).data == JPEG
    buckets._kept_open.cache_clear()
    server.fault = lambda command, name: (403, "AccessDenied") if "x.tar" in name else None
    with pytest.raises((ImageError, UnreachableError), match="ACCESS_DENIED"):
        read(ref)
