"""A file is read once, whole, as it was; what is no plain file is never waited for."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from fvcli.errors import ImageError
from fvcli.records import ImageFile, ImageRef
from fvcli.sources import folders
from fvcli.sources import read as reading
from fvcli.sources.folders import LocalFile
from fvcli.sources.read import Prefetch, read
from tests.helpers.processes import wait_for


def error_of(path: Path | str) -> ImageError:
    with pytest.raises(ImageError) as raised:
        read(ImageRef("", str(path)))
    assert raised.value.stage == "read"
    return raised.value


def test_all_bytes_with_their_checksum_size_and_time(tmp_path: Path) -> None:
    data = os.urandom(3_000_000)
    (tmp_path / "a.jpg").write_bytes(data)
    file = read(ImageRef(str(tmp_path), "a.jpg"))
    assert (file.data, file.size_bytes) == (data, len(data))
    assert file.sha256 == hashlib.sha256(data).hexdigest()
    assert file.mtime_ns == (tmp_path / "a.jpg").stat().st_mtime_ns


def test_large_files_come_in_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders, "_BLOCK", 1000)
    data = os.urandom(12_345)
    (tmp_path / "a.jpg").write_bytes(data)
    assert read(ImageRef("", str(tmp_path / "a.jpg"))).data == data
    monkeypatch.setattr(folders, "MAX_READ_SECONDS", -1.0)
    assert error_of(tmp_path / "a.jpg").kind == "TimedOut"


def test_what_gives_no_bytes_says_why(tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "folder.jpg").mkdir()
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "circle.jpg").symlink_to("circle.jpg")
    (tmp_path / "file").touch()
    with (tmp_path / "huge.jpg").open("wb") as file:
        file.truncate(2 * 1024**3 + 1)
    kinds = {
        "empty.jpg": "Empty",
        "folder.jpg": "NotRegular",
        "pipe.jpg": "NotRegular",
        "circle.jpg": "NotFound",
        "missing.jpg": "NotFound",
        "file/below.jpg": "NotFound",
        "huge.jpg": "TooLarge",
        "nul\0.jpg": "NotFound",
        "missing.tar!a.jpg": "NotFound",
        "folder.jpg!a.jpg": "NotFound",
    }
    assert {name: error_of(f"{tmp_path}/{name}").kind for name in kinds} == kinds


def grow(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


def shrink(path: Path) -> None:
    os.truncate(path, 10)


def rewrite(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"other bytes")


@pytest.mark.parametrize("change", [grow, shrink, rewrite])
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_file_that_changes_while_it_is_read_is_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], None], moment: str
) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(b"some bytes of a picture" * 100)
    os.utime(path, ns=(1, 1))
    plain = LocalFile.read_at

    def disturbed(file: LocalFile, offset: int, length: int) -> bytes:
        if moment == "before":
            change(path)
        data = plain(file, offset, length)
        if moment == "after":
            change(path)
        return data

    monkeypatch.setattr(LocalFile, "read_at", disturbed)
    assert error_of(path).kind == "Changed"


def test_no_descriptor_stays_open(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"x")
    (tmp_path / "folder.jpg").mkdir()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        read(ImageRef("", str(tmp_path / "a.jpg")))
        error_of(tmp_path / "folder.jpg")
        error_of(tmp_path / "a.jpg!b.jpg")
    assert len(os.listdir("/proc/self/fd")) <= before


def test_fewer_bytes_than_the_file_has_are_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a network mount may give them, whose sizes are remembered for a while."""
    path = tmp_path / "a.jpg"
    path.write_bytes(b"some bytes of a picture" * 100)
    plain = LocalFile.read_at
    monkeypatch.setattr(LocalFile, "read_at", lambda file, offset, length: plain(file, offset, length)[:-1])
    assert error_of(path).kind == "Changed"


# --- reading ahead -------------------------------------------------------------------------------------------------

SIZE = 1000


class Reads:
    """The reads so far, by path, and the threads that made them."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.threads: set[str] = set()

    def __call__(self, ref: ImageRef) -> ImageFile:
        self.paths.append(ref.path)
        self.threads.add(threading.current_thread().name.split("_")[0])
        return read(ref)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Reads:
    """Every input counts as slow to reach."""
    reads = Reads()
    monkeypatch.setattr(reading, "read", reads)
    monkeypatch.setattr(reading, "is_slow", lambda ref: True)
    return reads


@pytest.fixture
def refs(tmp_path: Path) -> list[ImageRef]:
    for number in range(6):
        (tmp_path / f"{number}.jpg").write_bytes(bytes([number]) * SIZE)
    return [ImageRef(str(tmp_path), f"{number}.jpg", size_bytes=SIZE) for number in range(6)]


def ahead(limit: int, left_out: frozenset[ImageRef] = frozenset()) -> Prefetch:
    return Prefetch(left_out, limit=limit, patience=0.01)


def test_all_that_has_room_is_read_once_by_other_threads(reads: Reads, refs: list[ImageRef]) -> None:
    with ahead(10 * SIZE) as reader:
        reader.begin(refs)
        wait_for(lambda: len(reads.paths) == 6, "six reads")
        assert [reader.read(ref).data[0] for ref in refs] == list(range(6))
    assert sorted(reads.paths) == [ref.path for ref in refs]
    assert reads.threads == {"read"}


def test_no_more_than_the_limit_is_held_and_room_comes_back_as_it_is_taken(reads: Reads, refs: list[ImageRef]) -> None:
    with ahead(2 * SIZE) as reader:
        for _ in range(3):
            reads.paths.clear()
            reader.begin(refs)
            wait_for(lambda: len(reads.paths) == 2, "two reads")
            for ref in refs[:2]:
                assert reader.read(ref).data[0] == int(ref.path[0])
            assert sorted(reads.paths) == ["0.jpg", "1.jpg"]
        assert reader.read(refs[5]).data[0] == 5
        assert "MainThread" in reads.threads, "what was not begun is read when it is wanted"


def test_one_input_larger_than_the_limit_is_read_ahead_alone(reads: Reads, refs: list[ImageRef]) -> None:
    with ahead(SIZE // 2) as reader:
        reader.begin(refs)
        wait_for(lambda: reads.paths, "a read")
        assert [reader.read(ref).data[0] for ref in refs] == list(range(6))
    assert sorted(reads.paths) == [ref.path for ref in refs]


def test_what_fails_ahead_fails_where_it_is_wanted_and_gives_its_room_back(reads: Reads, refs: list[ImageRef]) -> None:
    missing = [ImageRef(ref.root, f"missing-{ref.path}", size_bytes=SIZE) for ref in refs]
    with ahead(SIZE) as reader:
        for ref in missing:
            reader.begin([ref])
            with pytest.raises(ImageError):
                reader.read(ref)
    assert reads.threads == {"read"}


def test_inputs_that_are_not_to_be_touched_are_not_read(reads: Reads, refs: list[ImageRef]) -> None:
    with ahead(10 * SIZE, frozenset(refs[:5])) as reader:
        reader.begin(refs)
        assert reader.read(refs[5]).data[0] == 5
    assert reads.paths == ["5.jpg"]
