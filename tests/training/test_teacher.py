"""The process that writes the teacher's answers ahead of the trainer."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from tests.helpers.processes import wait_for
from training import crops, photographs, teacher
from training.recipe import FLOAT


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The chunks that are written; their content is not the point."""
    numbers: list[int] = []

    def write(folder: Path, number: int, *_: object) -> None:
        numbers.append(number)
        teacher.chunk_path(folder, number).touch()

    monkeypatch.setattr(teacher, "write_chunk", write)
    monkeypatch.setattr(teacher, "Teacher", lambda model: None)
    monkeypatch.setattr(photographs, "split", lambda data: photographs.Split((), (), ()))
    monkeypatch.setattr(crops, "draw", lambda images, size, seed, drawing: None)
    return numbers


def task(folder: Path, numbers: range, limit: int) -> teacher.Task:
    return teacher.Task(folder / "model", None, folder, folder, FLOAT.drawing, 0, numbers, 1, limit)


def started(task: teacher.Task, parent: int) -> threading.Thread:
    thread = threading.Thread(target=teacher.produce, args=(task, parent), daemon=True)
    thread.start()
    return thread


def test_only_some_chunks_wait_at_a_time(tmp_path: Path, written: list[int]) -> None:
    thread = started(task(tmp_path, range(5), 3), os.getppid())
    wait_for(lambda: len(written) >= 3, "three chunks")
    thread.join(timeout=0.5)
    assert thread.is_alive()
    assert written == [0, 1, 2]
    teacher.remove_before(tmp_path, 2)
    thread.join(timeout=60)
    assert not thread.is_alive()
    assert written == [0, 1, 2, 3, 4]


def test_a_resumed_process_writes_what_is_missing(tmp_path: Path, written: list[int]) -> None:
    for number in (1, 5, 6):
        teacher.chunk_path(tmp_path, number).touch()
    (tmp_path / "partial-00007-1.npz").touch()
    teacher.remove_before(tmp_path, 4)
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["chunk-00005.npz", "chunk-00006.npz"]
    resumed = started(task(tmp_path, range(4, 9), 9), os.getppid())
    resumed.join(timeout=60)
    assert not resumed.is_alive()
    assert written == [4, 7, 8]


def test_it_ends_when_the_trainer_is_gone(tmp_path: Path, written: list[int]) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    thread = started(task(tmp_path, range(5), 3), gone.pid)
    thread.join(timeout=60)
    assert not thread.is_alive()
    assert written == []


def test_a_task_survives_its_command_line(tmp_path: Path) -> None:
    given = task(tmp_path, range(3, 9), 4)
    assert teacher.Task.parsed(given.arguments()) == given
    both = replace(given, second=tmp_path / "second")
    assert teacher.Task.parsed(both.arguments()) == both


def test_a_process_that_ends_early_is_an_error(tmp_path: Path) -> None:
    producer = teacher.Producer(task(tmp_path, range(2), 1))  # there is no model
    with pytest.raises(RuntimeError, match="without chunk 0; run the command again"):
        producer.read(0)
