"""The process that writes the teacher's answers ahead of the trainer."""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from training import photographs, teacher


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The chunks that are written; their content is not the point."""
    numbers: list[int] = []

    def write(folder: Path, number: int, *_: object) -> None:
        numbers.append(number)
        teacher.chunk_path(folder, number).touch()

    monkeypatch.setattr(teacher, "write_chunk", write)
    monkeypatch.setattr(teacher, "Teacher", lambda model: None)
    monkeypatch.setattr(photographs, "split", lambda data: photographs.Split((), ()))
    monkeypatch.setattr(photographs, "draw", lambda images, size, seed: None)
    return numbers


def task(folder: Path, numbers: range, limit: int) -> teacher.Task:
    return teacher.Task(folder / "model", folder, folder, 0, numbers, 1, limit)


def test_only_some_chunks_wait_at_a_time(tmp_path: Path, written: list[int]) -> None:
    first = SimpleNamespace(value=0)
    thread = threading.Thread(target=teacher.produce, args=(task(tmp_path, range(5), 3), first), daemon=True)
    thread.start()
    thread.join(timeout=2)
    assert thread.is_alive()
    assert written == [0, 1, 2]
    first.value = 2
    thread.join(timeout=10)
    assert not thread.is_alive()
    assert written == [0, 1, 2, 3, 4]


def test_what_a_resumed_trainer_is_done_with_is_not_written_again(tmp_path: Path, written: list[int]) -> None:
    """Else the old chunks fill the room of those that the trainer waits for, and both wait for ever."""
    for number in (5, 6):
        teacher.chunk_path(tmp_path, number).touch()
    resumed = threading.Thread(
        target=teacher.produce, args=(task(tmp_path, range(2, 9), 4), SimpleNamespace(value=5)), daemon=True
    )
    resumed.start()
    resumed.join(timeout=10)
    assert not resumed.is_alive()
    assert written == [7, 8]
