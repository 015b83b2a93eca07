"""Reading ahead: what is asked for early, how much at a time, and that every input is read once."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from fvcli.errors import ImageError
from fvcli.records import ImageRef
from fvcli.sources import prefetch
from fvcli.sources.prefetch import Prefetch
from fvcli.sources.read import ImageFile, read
from tests.helpers.processes import wait_for

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
    monkeypatch.setattr(prefetch, "read", reads)
    monkeypatch.setattr(prefetch, "is_slow", lambda ref: True)
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
