"""How a run goes on, told on stderr: a bar on a terminal, a plain line every so often elsewhere."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from fvcli.commands.signals import StopSignals

if TYPE_CHECKING:
    from fvcli.dataset.failures import FailureLine

_FAILURES_TOLD = 5
_LINE_EVERY_SECONDS = 10.0
_RECENT_SECONDS = 5.0


class Progress:
    """The observer of a run. With ``quiet`` nothing is said."""

    def __init__(self, signals: StopSignals, quiet: bool) -> None:
        self._signals = signals
        self._quiet = quiet
        self._total = 0
        self._done = 0
        self._failed = 0
        self._bar: Any = None
        self._recent: deque[tuple[float, int]] = deque()
        self._next_line = 0.0

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def stopped(self) -> int | None:
        return self._signals.number

    def discovered(self, inputs: int) -> None:
        now = time.monotonic()
        if not self._quiet and inputs and now >= self._next_line:
            self._next_line = now + _LINE_EVERY_SECONDS
            if inputs > 1 and self._recent:
                self._tell_looking(inputs)
            self._recent.append((now, 0))

    def planned(self, total: int, done: int) -> None:
        self._total, self._done = total, done
        now = time.monotonic()
        self._recent = deque([(now, done)])
        self._next_line = now + _LINE_EVERY_SECONDS
        if not self._quiet and total != done:
            self._tell_planned()

    def advanced(self, inputs: int, failed: Sequence[FailureLine]) -> None:
        self._done += inputs
        if self._quiet:
            return
        for line in failed:
            self._failed += 1
            self._tell_failure(line)
        if self._bar is not None:
            if failed:
                self._bar.set_postfix_str(f"{self._failed} failed", refresh=False)
            self._bar.update(inputs)
        elif (now := time.monotonic()) >= self._next_line:
            self._next_line = now + _LINE_EVERY_SECONDS
            self._recent.append((now, self._done))
            while len(self._recent) > 2 and now - self._recent[1][0] >= _RECENT_SECONDS:
                self._recent.popleft()
            since, before = self._recent[0]
            self._tell_progress((self._done - before) / max(now - since, 1e-9))

    def _tell_looking(self, inputs: int) -> None:
        self._say(f"looking: {inputs:,} inputs so far")

    def _tell_planned(self) -> None:
        if self._done:
            self._say(f"going on: {self._done:,} of {self._total:,} images were done before")
        if sys.stderr.isatty():
            from tqdm import tqdm

            tqdm.monitor_interval = 0
            self._bar = tqdm(
                total=self._total,
                initial=self._done,
                unit=" images",
                unit_scale=False,
                dynamic_ncols=True,
                smoothing=0.1,
                leave=False,
            )

    def _tell_failure(self, line: FailureLine) -> None:
        if self._failed <= _FAILURES_TOLD:
            place = f"{line.ref.root}/{line.ref.path}" if line.ref.root else line.ref.path
            self._say(f"no vector: {printable(place)}: {line.failure.message}")
        elif self._failed == _FAILURES_TOLD + 1:
            self._say("no vector: further inputs are named in failures/ only")

    def _tell_progress(self, rate: float) -> None:
        """``rate``: images a second over the last seconds."""
        left = f", {_duration((self._total - self._done) / rate)} left" if rate > 0 else ""
        self._say(f"{self._done:,} of {self._total:,} images, {rate:,.0f} images/s, {self._failed:,} failed{left}")

    def _say(self, line: str) -> None:
        if self._bar is not None:
            self._bar.write(line, file=sys.stderr)
        else:
            say(line)


def say(line: str) -> None:
    """A line on stderr; where nobody reads it any more, the work goes on without."""
    with suppress(OSError):
        sys.stderr.write(line + "\n")
        sys.stderr.flush()


def printable(text: str) -> str:
    """A name as one line that no terminal takes for a command: control characters and lone surrogates escaped."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape", "backslashreplace").decode("ascii")
        for char in text
    )


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
