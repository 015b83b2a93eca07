"""The counts of a run, the limit at which it gives up, and its message on inputs that have to be read again."""

from __future__ import annotations

import numpy as np
import pytest

from fvcli.errors import StoppedError
from fvcli.records import Failure, ImageInfo, ImageRef, Limit
from fvcli.run.request import TooManyFailuresError
from fvcli.run.shard import RunProgress
from fvcli.run.worker import Batch, Outcome, Success
from tests.helpers.in_process import Observed

INFO = ImageInfo("0" * 64, 1, 1, 1, 1, "PNG")
GONE = Failure("read", "NotFound", "it is gone")
NEW = Success(INFO, np.zeros(2, np.float32))
TAKEN_OVER = Success(INFO, np.zeros(2, np.float32), reused=True)


def batch(count: int) -> Batch:
    return Batch(0, tuple(range(count)), tuple(ImageRef("r", str(number)) for number in range(count)))


def test_vectors_failures_and_what_is_taken_over_are_counted_apart() -> None:
    observed = Observed()
    progress = RunProgress(observed, None)
    progress.expect(100, 30)
    outcomes: list[Outcome] = [NEW, GONE, TAKEN_OVER, NEW]
    progress.batch(batch(4), outcomes)
    assert (observed.total, observed.done, progress.extracted) == (100, 34, 2)
    assert [(line.ref.path, line.failure) for line in observed.failed] == [("1", GONE)]
    progress.inputs(7, 5, [])
    assert (observed.done, progress.extracted) == (41, 7)


@pytest.mark.parametrize(("limit", "before", "allowed"), [(Limit(3), 0, 3), (Limit(3), 2, 1), (Limit(3, True), 1, 2)])
def test_it_gives_up_with_the_first_failure_too_many(limit: Limit, before: int, allowed: int) -> None:
    progress = RunProgress(Observed(), limit)
    progress.expect(100, 30, before)
    for _ in range(allowed):
        progress.batch(batch(1), [GONE])
    with pytest.raises(TooManyFailuresError, match="stopped: 4 of 100 inputs failed, more than --max-failures allows"):
        progress.batch(batch(1), [GONE])


def test_a_stopped_run_says_what_is_saved_and_what_will_be_read_again() -> None:
    observed = Observed(meanwhile=lambda done: 15)
    progress = RunProgress(observed, None)
    progress.expect(2000, 1000)
    progress.raise_if_stopped(1000)
    assert not progress.stopped()
    progress.batch(batch(3), [NEW] * 3)
    assert progress.stopped()
    for saved, said in (
        (None, "interrupted; run the same command to resume"),
        (1001, "interrupted: saved 1,001 of 2,000; 2 more were read and will be again; run the same command to resume"),
        (1003, "interrupted: saved 1,003 of 2,000; run the same command to resume"),
    ):
        with pytest.raises(StoppedError) as stop:
            progress.raise_if_stopped(saved)
        assert (str(stop.value), stop.value.exit_code) == (said, 143)
