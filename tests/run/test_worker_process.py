"""A worker process, as a thread of the test: batches in, outcomes out, and notes in slots of its own.

Also what its run makes of its death. Real processes are in test_pool.py and test_processes.py.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from dataclasses import replace
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from fvcli.dataset import existing
from fvcli.dataset.store import LocalStore
from fvcli.errors import DatasetError, ModelError
from fvcli.images.memory import DEFAULT_LIMITS
from fvcli.models.loading import Embedder
from fvcli.records import Failure, ImageInfo, ImageRef, Preprocessing, Recipe
from fvcli.run import crashes, processes, worker_process
from fvcli.run.crashes import Notes, Trial
from fvcli.run.processes import ProcessGroup, WorkerProcess, _ref_fields, _unpacked
from fvcli.run.worker import Batch, Dispatcher, InHand, Success
from fvcli.run.worker_process import Setup
from tests.helpers import pictures
from tests.helpers.in_process import FakeModel

SETUP = Setup(
    "fake", Recipe("0" * 64, "int8", Preprocessing()), "float32", DEFAULT_LIMITS, "", 3, 2, True, 7_000_000, 0
)
CRASH = Failure("crash", "SIGSEGV", "it ended a process")


@pytest.fixture
def hand(tmp_path: Path) -> Iterator[InHand]:
    """Notes with eight idle slots."""
    with crashes.noted(LocalStore(tmp_path), 8, "in-work") as in_hand:
        yield in_hand


@pytest.fixture
def budgets(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A small model in place of the real one. Returned is the memory of each loader that is made."""
    limits: list[int] = []
    make = worker_process.ImageLoader

    def loader(spec: Any, preprocessing: Any, limit: Any, budget: Any = None) -> Any:
        limits.append(0 if budget is None else budget._limit)
        return make(spec, preprocessing, limit, *([] if budget is None else [budget]))

    monkeypatch.setattr(worker_process, "ImageLoader", loader)
    monkeypatch.setattr(worker_process, "load_recipe_model", lambda name, recipe: FakeModel())
    monkeypatch.setattr(worker_process, "embedder_of", lambda name, recipe, model: Embedder(model))
    return limits


def test_batches_come_in_and_outcomes_go_out_until_the_run_ends(
    tmp_path: Path, hand: InHand, budgets: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    marks: list[tuple[int, int, int]] = []
    monkeypatch.setattr(InHand, "mark", lambda self, *note: marks.append(note))
    refs = [ImageRef(str(pictures.make_folder(tmp_path / "photos", range(4))), f"{n:04d}.png") for n in range(4)]
    pictures.put(tmp_path / "photos", "0002.png", pictures.broken(2))
    near, far = Pipe()
    working = threading.Thread(target=worker_process._work, args=(SETUP, [far], hand), daemon=True)
    working.start()
    assert near.recv() == "ready"
    near.send((7, (40, 41, 42, 43), list(map(_ref_fields, refs)), {1: CRASH}))
    asked, existing = [], (ImageInfo("ab" * 32, 1, 1, 5, 6, "PNG"), np.full(12, 2, np.float32))
    while isinstance(answer := near.recv(), str):
        asked.append(answer)
        near.send(existing if len(asked) == 3 else None)
    first, second, third, fourth = _unpacked(*answer)
    assert len(asked) == len(set(asked)) == 3, "what crashes is not read"
    assert isinstance(first, Success)
    assert (first.info.width, first.info.height, first.reused, first.info.sha256) == (32, 32, False, asked[0])
    assert second == CRASH
    assert isinstance(third, Failure)
    assert (third.stage, third.error) == ("decode", "Truncated")
    assert isinstance(fourth, Success)
    assert (fourth.info.width, fourth.reused, fourth.vector.tolist()) == (5, True, [2] * 12)
    assert budgets == [7_000_000]
    slots = {slot for slot, *_ in marks}
    assert len(slots) == 1
    assert slots <= {3, 4}
    assert [note[1:] for note in marks] == [(7, 40), (7, 41), (7, 42), (7, 43), (-1, -1)]
    near.close()
    working.join(30)
    assert not working.is_alive()


def test_an_error_of_the_model_is_the_answer_and_the_next_batch_is_served(
    tmp_path: Path, hand: InHand, budgets: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: FakeModel, images: object) -> None:
        raise ModelError("it does not run")

    monkeypatch.setattr(FakeModel, "__call__", broken)
    ref = ImageRef(str(pictures.make_folder(tmp_path / "photos", range(1))), "0000.png")
    near, far = Pipe()
    arguments = (replace(SETUP, updates=False), [far], hand)
    threading.Thread(target=worker_process._work, args=arguments, daemon=True).start()
    assert near.recv() == "ready"
    for _ in range(2):
        near.send((0, (0,), [_ref_fields(ref)], {}))
        answer = near.recv()
        assert isinstance(answer, ModelError)
        assert str(answer) == "it does not run"
    near.close()


def test_where_the_run_has_died_no_input_of_its_processes_is_to_blame(
    hand: InHand, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends: list[int] = []
    for slot in range(8):
        hand.mark(slot, 1, slot)
    given = iter([b"x", b""])
    monkeypatch.setattr(worker_process.os, "read", lambda descriptor, count: next(given))
    monkeypatch.setattr(worker_process.os, "_exit", ends.append)
    worker_process._end_with_the_run(SETUP, hand)
    assert ends == [1]
    assert hand.places(0, 8) == [(1, slot) for slot in range(8) if slot not in (3, 4)]
    assert hand.places(2, 4) == [(1, 2), (1, 5)]
    assert hand.places(6, 1) == [(1, 6)]
    late = threading.Thread(target=hand.mark, args=(3, 1, 9), daemon=True)  # in the moment before the process ends
    late.start()
    late.join(0.1)
    assert late.is_alive()
    assert hand.places(3, 1) == []


# --- as the run sees it -----------------------------------------------------------------------------------------


class Dead:
    """A process that dies before it is ready."""

    started = 0

    def __init__(self, setup: Setup) -> None:
        Dead.started += 1
        self.setup = setup
        self.suspects: list[tuple[int, int]] = []
        self.connections: list[Connection] = []

    def wait_until_ready(self) -> bool:
        if Dead.started > 20:
            raise ModelError("it is started for ever")  # which ends the test
        return False

    def ending(self) -> str:
        return "by SIGKILL"

    def close(self) -> None: ...


@pytest.mark.parametrize(("number", "said"), [(signal.SIGKILL, "by SIGKILL"), (signal.SIGSEGV, "by SIGSEGV")])
def test_the_end_of_a_process_is_told(number: signal.Signals, said: str) -> None:
    process = WorkerProcess(SETUP)
    process._process.send_signal(number)
    assert process.ending() == said
    process.close()


@pytest.fixture
def job(tmp_path: Path) -> Any:
    return SimpleNamespace(store=LocalStore(tmp_path), notes=Notes(crashed="crashed.jsonl"), crashing={}, existing=None)


def group(job: Any, dispatcher: Dispatcher, hand: InHand) -> ProcessGroup:
    trial = Trial(FakeModel().input_spec, Preprocessing(), DEFAULT_LIMITS)
    return ProcessGroup(job, [SETUP], dispatcher, hand, trial, lambda: False)


def test_processes_that_keep_dying_end_the_run(job: Any, hand: InHand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "WorkerProcess", Dead)
    monkeypatch.setattr(Dead, "started", 0)
    dispatcher = Dispatcher({}, [])
    with (
        group(job, dispatcher, hand),
        pytest.raises(DatasetError, match="keep ending, the last by SIGKILL, and no input"),
    ):
        dispatcher.outcomes(Batch(0, (), ()))
    assert Dead.started == 9, "eight deaths are borne"


def test_an_input_that_killed_a_process_is_remembered_and_another_is_not(
    job: Any, hand: InHand, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[list[ImageRef]] = []

    def crashing(suspects: list[ImageRef], trial: Trial) -> dict[ImageRef, Failure]:
        tried.append(list(suspects))
        return {ref: CRASH for ref in suspects if ref.path == "b"}

    monkeypatch.setattr(processes, "WorkerProcess", Dead)
    monkeypatch.setattr(processes.crashes, "crashing", crashing)
    refs = tuple(ImageRef("r", path) for path in "abcd")
    hand.mark(3, 5, 11)
    hand.mark(4, 5, 13)
    hand.mark(0, 5, 12)  # another process's
    watched = group(job, Dispatcher({}, []), hand)
    monkeypatch.setattr(watched, "_start", lambda setup: None)
    process: Any = Dead(SETUP)
    watched._processes.add(process)
    watched.lost(process, Batch(5, (10, 11, 12, 13), refs))
    watched.lost(process, Batch(6, (11,), (refs[2],)))  # another batch of the same process
    assert tried == [[refs[1], refs[3]], []]
    assert job.crashing == {refs[1]: CRASH}
    assert [line.ref for line in existing.read_failures(job.store, "crashed.jsonl")] == [refs[1]]


def test_what_is_known_to_crash_is_told_to_the_process(job: Any, hand: InHand) -> None:
    near, far = Pipe()
    refs = tuple(ImageRef("r", path) for path in "abc")
    remote = processes.RemoteWorker(group(job, Dispatcher({}, []), hand), Dead(SETUP), near)  # type: ignore[arg-type]
    far.send(worker_process.packed([CRASH] * 3))
    assert remote(Batch(5, (7, 8, 9), refs), {refs[1]: CRASH}) == [CRASH] * 3
    assert far.recv() == (5, (7, 8, 9), list(map(_ref_fields, refs)), {1: CRASH})
