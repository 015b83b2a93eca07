"""Workers of one process: how many and where, batches in order, and the end of a job when one dies or fails."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import pytest

import fvcli
from fvcli.dataset.plan import Entry, RowState
from fvcli.errors import DatasetError, ModelError
from fvcli.images.memory import Limits
from fvcli.records import Failure, ImageRef
from fvcli.run import pool
from fvcli.run.pool import Layout, Resources
from fvcli.run.shard import Job, batch_sizes, batches
from fvcli.run.worker import Batch, BatchDroppedError, Dispatcher, ImageWorker, Outcome, WorkerLostError, ordered_map
from fvcli.run.worker_process import Setup
from tests.helpers import contents, pictures
from tests.helpers.processes import dying_decoder, run_at_start
from tests.run.test_worker import worker

# --- layout -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("resources", "inputs", "expected"),
    [
        (Resources(workers=3), 1_000_000, Layout(3)),
        (Resources(workers=4), 1_999, Layout(4)),
        (Resources(workers=4), 2_000, Layout(4, 4, 1)),
        (Resources(workers=16), 10_000, Layout(4, 16, 1)),
        (Resources(workers=17), 10_000, Layout(4, 9, 2)),
        (Resources(workers=32), 3_199, Layout(16)),
        (Resources(workers=32), 3_200, Layout(4, 16, 2)),
        (Resources(workers=5, processes=2), 10, Layout(4, 2, 3)),
        (Resources(workers=3, processes=2), 10, Layout(3, 2, 2)),
        (Resources(workers=2, processes=8), 10, Layout(2, 2, 1)),
        (Resources(workers=40, processes=0), 1_000_000, Layout(40)),
        (Resources(workers=8), 3, Layout(3)),
        (Resources(workers=8, processes=8), 3, Layout(3, 3, 1)),
        (Resources(workers=8), 0, Layout(1)),
    ],
    ids=str,
)
def test_workers_are_in_processes_where_there_are_many_and_much_to_do(
    resources: Resources, inputs: int, expected: Layout
) -> None:
    assert resources.layout(inputs, "int8") == expected


def test_tensorflow_has_threads_of_its_own() -> None:
    assert Resources(workers=8).layout(1_000_000, "tensorflow") == Layout(8)
    assert Resources(workers=64).layout(1_000_000, "tensorflow") == Layout(16)


def test_all_cpus_work_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "usable_cpus", lambda: 3)
    assert Resources().layout(100, "int8") == Layout(3)


def test_there_is_a_note_for_each_worker_and_a_second_batch_for_each_in_a_process() -> None:
    assert (Layout(4, 3, 2).slots, Layout(4, 3, 2).calls) == (10, 16)
    assert (Layout(5).slots, Layout(5).calls) == (5, 5)


# --- batches ----------------------------------------------------------------------------------------------------


def test_batches_shrink_toward_the_end_of_a_shard() -> None:
    assert batch_sizes(0, 4) == []
    assert batch_sizes(1, 32) == [1]
    assert batch_sizes(31, 32) == [1] * 31
    sizes = batch_sizes(1000, 32)
    assert sum(sizes) == 1000
    assert sizes[:15] == [32] * 15  # 1000 - 15 * 32 = 520 inputs are left, and 520 / 16 = 32.5
    assert sizes[15:18] == [32, 30, 28]  # 488 / 16 = 30.5, 458 / 16 = 28.6
    assert sizes[-31:] == [2, *[1] * 30]  # 32 inputs are the last of which a 16th is more than one


def test_only_what_has_to_be_read_is_in_a_batch_with_its_place_in_the_shard() -> None:
    refs = [ImageRef("r", str(number)) for number in range(6)]
    kept, gone = Entry(refs[1], 0), Entry(refs[4], 1, RowState.GONE)
    entries = [Entry(refs[0]), kept, Entry(refs[2]), Entry(refs[3]), gone, Entry(refs[5])]
    assert list(batches(7, entries, [3, 1])) == [
        Batch(7, (0, 2, 3), (refs[0], refs[2], refs[3])),
        Batch(7, (5,), (refs[5],)),
    ]


def test_results_come_in_order_and_few_items_are_taken_ahead() -> None:
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        while taken < 20:
            taken += 1
            yield taken

    late = threading.Event()

    def double(number: int) -> int:
        if number == 1:
            late.wait(10)
        elif number == 3:
            late.set()
        return 2 * number

    with ThreadPoolExecutor(4) as threads:
        results = ordered_map(threads, double, items(), 5)
        first = next(results)
        assert (first.item, first.result) == (1, 2)
        assert taken == 5
        assert [(each.item, each.result) for each in results] == [(number, 2 * number) for number in range(2, 21)]


# --- the dispatcher ---------------------------------------------------------------------------------------------

EMPTY = Batch(0, (), ())


class Told:
    """A worker that does as it is told: raises, or returns a failure under its name."""

    def __init__(self, name: str, error: Exception | None = None) -> None:
        self.name, self.error = name, error
        self.batches = 0

    def __call__(self, batch: Batch, crashing: Mapping[ImageRef, Failure]) -> list[Outcome]:
        self.batches += 1
        if self.error is not None:
            raise self.error
        return [Failure("read", self.name, "")]


def done_by(dispatcher: Dispatcher) -> str:
    (outcome,) = dispatcher.outcomes(EMPTY)
    assert isinstance(outcome, Failure)
    return outcome.error


def test_the_batch_of_a_worker_that_is_lost_goes_to_another_one() -> None:
    dispatcher, lost = Dispatcher({}, []), Told("lost", WorkerLostError())
    dispatcher.join([lost, Told("other")], 0)
    assert [done_by(dispatcher), done_by(dispatcher)] == ["other", "other"]
    assert lost.batches == 1


def test_a_worker_that_raises_is_still_there_for_the_next_batch() -> None:
    dispatcher, failing = Dispatcher({}, []), Told("failing", ModelError("no model"))
    dispatcher.join([failing], 0)
    with pytest.raises(ModelError):
        dispatcher.outcomes(EMPTY)
    failing.error = None
    assert done_by(dispatcher) == "failing"


def test_processes_take_the_place_of_as_many_threads() -> None:
    threads = [worker(), worker()]
    dispatcher = Dispatcher({}, threads)
    assert dispatcher.outcomes(EMPTY) == []
    dispatcher.join([Told("process")], 1)
    dispatcher.outcomes(EMPTY)  # by the thread whose turn it is, which then leaves
    names = [outcomes[0].error if (outcomes := dispatcher.outcomes(EMPTY)) else "thread" for _ in range(4)]  # type: ignore[union-attr]
    assert sorted(names) == ["process", "process", "thread", "thread"]
    assert isinstance(threads[0], ImageWorker)


def test_everyone_who_waits_for_a_worker_hears_of_an_error() -> None:
    dispatcher = Dispatcher({}, [])
    with ThreadPoolExecutor(3) as waiting:
        calls = [waiting.submit(dispatcher.outcomes, EMPTY) for _ in range(3)]
        dispatcher.fail(DatasetError("no process"))
        for call in calls:
            with pytest.raises(DatasetError, match="no process"):
                call.result(timeout=30)


# --- processes --------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_run_by_processes_alone_updates_as_threads_do_and_survives_an_input_that_crashes(
    memory_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "_THREADS_AT_FIRST", 0)
    photographs, features = memory_path / "photographs", memory_path / "features"
    for number in range(10):
        pictures.put(photographs, f"{number}.png", pictures.broken(number) if number == 4 else pictures.picture(number))
    fvcli.extract(photographs, features, shard_size=6, workers=1)
    run_at_start(monkeypatch, tmp_path / "site", dying_decoder("fvcli.images.loader"))
    (photographs / "2.png").rename(photographs / "renamed.png")
    pictures.put(photographs, "3.png", pictures.picture(30), pictures.SOME_TIME_NS + 1)
    pictures.put(photographs, "5-bad.png", pictures.picture(50) + b"segfault")
    options = {"shard_size": 6, "prune": True, "retry_failed": True}
    summary = fvcli.extract(photographs, features, processes=1, workers=2, batch_size=2, **options)
    assert (summary.counts.extracted, summary.counts.reused, summary.counts.failed) == (1, 8, 2)
    assert [(line["path"], line["stage"], line["error"]) for line in contents.failures(features)] == [
        ("4.png", "decode", "Truncated"),
        ("5-bad.png", "crash", "SIGSEGV"),
    ]
    (photographs / "5-bad.png").unlink()
    fvcli.extract(photographs, memory_path / "fresh", shard_size=6, workers=1)
    assert contents.rows(features) == contents.rows(memory_path / "fresh")
    assert not (features / ".fvcli" / "in-work").exists()


def test_where_no_process_can_be_started_the_threads_do_the_work(
    memory_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*arguments: object, **options: object) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(pool, "_THREADS_AT_FIRST", 1)
    monkeypatch.setattr("fvcli.run.processes.start_module", none)
    photographs = pictures.make_folder(memory_path / "photographs", range(6))
    summary = fvcli.extract(photographs, memory_path / "features", processes=1, workers=2)
    assert summary.counts.extracted == 6


def test_processes_share_memory_and_note_their_inputs_in_slots_of_their_own(
    memory_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Setup] = []

    def no_group(job: Job, setups: list[Setup], *_: object) -> AbstractContextManager[None]:
        made.extend(setups)
        return nullcontext()

    monkeypatch.setattr("fvcli.run.processes.ProcessGroup", no_group)
    photographs = pictures.make_folder(memory_path / "photographs", range(12))
    for more in (0, 1):
        pictures.make_folder(photographs, range(20, 20 + more))
        fvcli.extract(photographs, memory_path / "features", processes=3, workers=6, dtype="float16", fit="pad")
    first = made[:3]
    assert [(setup.slot, setup.threads) for setup in first] == [(4, 2), (6, 2), (8, 2)]
    for setup in first:
        assert setup.budget == 512 * 1024**2 // 3
        assert setup.ahead == 256 * 1024**2 // 3
        assert (setup.model, setup.dtype, setup.recipe.preprocessing.fit) == ("embedded", "float16", "pad")
        assert setup.notes == str(memory_path / "features" / ".fvcli" / "in-work")
        assert setup.limits == Limits(max_pixels=200_000_000)
    assert [setup.updates for setup in made] == [False] * 3 + [True]


def test_a_batch_is_dropped_once_its_processes_are_closed() -> None:
    dispatcher = Dispatcher({}, [])
    dispatcher.fail(BatchDroppedError())
    for _ in range(2):
        with pytest.raises(BatchDroppedError):
            dispatcher.outcomes(EMPTY)
