"""The progress of a run: counted, reported to its observer, and broken off when too much fails."""

from __future__ import annotations

from collections.abc import Sequence

from fvcli.dataset.failures import FailureLine
from fvcli.errors import StoppedError
from fvcli.records import Failure, Limit
from fvcli.run.request import Observer, TooManyFailuresError
from fvcli.run.worker import Batch, Outcome, Success


class RunProgress:
    """The counts of a run. ``extracted``: images turned into vectors since it began."""

    def __init__(self, observer: Observer, limit: Limit | None) -> None:
        self.observer = observer
        self.extracted = 0
        self._limit = limit
        self._failed = 0
        self._total = 0
        self._done = 0

    def expect(self, total: int, done: int, failed: int = 0) -> None:
        """``total`` inputs have to be read, ``done`` of them were before, and ``failed`` of these gave no vector."""
        self._total = total
        self._done = done
        self._failed = failed
        self.observer.planned(total, done)

    def batch(self, batch: Batch, outcomes: Sequence[Outcome]) -> None:
        """Raises TooManyFailuresError."""
        failed = [
            FailureLine(ref, outcome)
            for ref, outcome in zip(batch.refs, outcomes, strict=True)
            if isinstance(outcome, Failure)
        ]
        extracted = sum(isinstance(outcome, Success) and not outcome.reused for outcome in outcomes)
        self.inputs(len(outcomes), extracted, failed)

    def inputs(self, number: int, extracted: int, failed: Sequence[FailureLine]) -> None:
        """So many more inputs were dealt with. Raises TooManyFailuresError."""
        self._done += number
        self._failed += len(failed)
        self.extracted += extracted
        self.observer.advanced(number, failed)
        if self._limit is not None and self._limit.exceeded(self._failed, self._total):
            raise TooManyFailuresError(
                f"stopped: {self._failed:,} of {self._total:,} inputs failed, more than --max-failures allows; "
                "finished shards are saved; repair the inputs or allow more, then run the same command to resume"
            )

    def stopped(self) -> bool:
        return self.observer.stopped() is not None

    def raise_if_stopped(self, saved: int | None = None) -> None:
        """Raises StoppedError once a signal has come. saved: inputs in committed shards, where that is known."""
        number = self.observer.stopped()
        if number is None:
            return
        if saved is None:
            raise StoppedError("interrupted; run the same command to resume", number)
        again = f"; {self._done - saved:,} more were read and will be again" if self._done > saved else ""
        raise StoppedError(
            f"interrupted: saved {saved:,} of {self._total:,}{again}; run the same command to resume", number
        )
