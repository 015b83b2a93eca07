"""Progress and outcome of a run on stderr: a bar on a terminal, elsewhere a line every ten seconds or JSON Lines.

Each line of the JSON log is an object with ``time`` (ISO 8601, UTC) and ``event``: looking, planned, passed_over,
progress, failure, finished, frozen (after ``fvcli plan``) or error.
"""

from __future__ import annotations

import json
import sys
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fvcli.commands.invocation import StopSignals
from fvcli.commands.terminal import counted, duration, event, say, say_json, stderr_width
from fvcli.text import printable

if TYPE_CHECKING:
    from fvcli.dataset.existing import FailureLine
    from fvcli.run.extract import RunSummary

_FAILURES_TOLD = 5
_LINE_EVERY_SECONDS = 10.0
_NARROW = 70  # columns


class Rate:
    """Images per second over the last minute, from counts that are added as they come."""

    _SECONDS = 60.0
    _EVERY_SECONDS = 1.0

    def __init__(self) -> None:
        self._samples: deque[tuple[float, int]] = deque()

    def add(self, now: float, done: int) -> None:
        """``done`` images at ``now``, in seconds of a monotonic clock."""
        if len(self._samples) > 1 and now - self._samples[-2][0] < self._EVERY_SECONDS:
            self._samples.pop()
        self._samples.append((now, done))
        while len(self._samples) > 2 and now - self._samples[1][0] >= self._SECONDS:
            self._samples.popleft()

    def __float__(self) -> float:
        """0 while it is not known."""
        if len(self._samples) < 2:
            return 0.0
        (began, before), (now, done) = self._samples[0], self._samples[-1]
        return (done - before) / max(now - began, 1e-9)


class Progress:
    """The observer of a run. With ``quiet`` nothing is printed."""

    def __init__(self, signals: StopSignals, quiet: bool) -> None:
        self._signals = signals
        self._quiet = quiet
        self._total = 0
        self._done = 0
        self._failed = 0
        self._bar: Any = None
        self._rate = Rate()
        self._next_line = 0.0
        self._looked = False

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
            if self._looked:
                self._tell_looking(inputs)
            self._looked = True

    def noted(self, text: str) -> None:
        if not self._quiet:
            self._tell_note(text)

    def planned(self, total: int, done: int) -> None:
        self._total, self._done = total, done
        now = time.monotonic()
        self._rate = Rate()
        self._rate.add(now, done)
        self._next_line = now + _LINE_EVERY_SECONDS
        if not self._quiet and total != done:
            self._tell_planned()

    def passed_over(self, counts: Mapping[str, int]) -> None:
        if counts and not self._quiet:
            self._tell_passed_over(counts)

    def advanced(self, inputs: int, failed: Sequence[FailureLine]) -> None:
        self._done += inputs
        if self._quiet:
            return
        for line in failed:
            self._failed += 1
            self._tell_failure(line)
        now = time.monotonic()
        self._rate.add(now, self._done)
        self._next_line = self._next_line or now + _LINE_EVERY_SECONDS  # a stream has no plan
        if self._bar is not None:
            self._bar.set_description_str(self._numbers(stderr_width()), refresh=False)
            self._bar.update(inputs)
        elif now >= self._next_line:
            self._next_line = now + _LINE_EVERY_SECONDS
            self._tell_progress(float(self._rate))

    def _tell_looking(self, inputs: int) -> None:
        self._say(f"looking: {counted(inputs, 'input')} so far")

    def _tell_note(self, text: str) -> None:
        self._say(text)

    def _tell_passed_over(self, counts: Mapping[str, int]) -> None:
        from fvcli.sources.candidates import LINKED_FOLDER, told

        hint = " (--follow-symlinks walks them)" if LINKED_FOLDER in counts else ""
        self._say(f"passed over: {told(counts)}{hint}")

    def _tell_planned(self) -> None:
        if self._done:
            self._say(f"resuming: {self._done:,} of {counted(self._total, 'image')} already done")
        width = stderr_width()
        if width:
            from tqdm import tqdm

            tqdm.monitor_interval = 0
            self._bar = tqdm(
                total=self._total,
                initial=self._done,
                desc=self._numbers(width),
                bar_format="{desc}{bar}",
                dynamic_ncols=True,
                leave=False,
            )

    def _numbers(self, width: int) -> str:
        """The text before the bar, shorter on a narrow terminal."""
        rate = float(self._rate)
        left = duration((self._total - self._done) / rate) if rate > 0 else "-:--"
        if width < _NARROW:
            failed = f" {self._failed:,} failed" if self._failed else ""
            return f"{self._done:,} {self._done / self._total:.0%} {rate:,.0f}/s {left}{failed} "
        failed = f", {self._failed:,} failed" if self._failed else ""
        images = counted(self._total, "image")
        return f"{self._done:,} of {images}, {rate:,.0f} images/s, {left} left{failed} "

    def _tell_failure(self, line: FailureLine) -> None:
        if self._failed <= _FAILURES_TOLD:
            place = f"{line.ref.root.rstrip('/')}/{line.ref.path}" if line.ref.root else line.ref.path
            self._say(f"failed: {place}: {line.failure.message}")
        elif self._failed == _FAILURES_TOLD + 1:
            self._say("failed: more inputs; all are listed in failures/")

    def _tell_progress(self, rate: float) -> None:
        """``rate``: images per second over the last minute."""
        left = f", {duration((self._total - self._done) / rate)} left" if rate > 0 and self._total else ""
        # A stream does not know its total.
        images = f"{self._done:,} of {counted(self._total, 'image')}" if self._total else counted(self._done, "image")
        self._say(f"{images}, {rate:,.0f} images/s, {self._failed:,} failed{left}")

    def _say(self, line: str) -> None:
        if self._bar is not None:
            self._bar.write(printable(line), file=sys.stderr)
        else:
            say(line)


class JsonLog(Progress):
    """The observer of a run that logs JSON. With ``quiet`` nothing is printed."""

    def _tell_looking(self, inputs: int) -> None:
        event("looking", inputs=inputs)

    def _tell_passed_over(self, counts: Mapping[str, int]) -> None:
        event("passed_over", counts=dict(counts))

    def _tell_note(self, text: str) -> None:
        event("note", text=text)

    def _tell_planned(self) -> None:
        event("planned", total=self._total, done=self._done)

    def _tell_failure(self, line: FailureLine) -> None:
        event("failure", **json.loads(line.to_json()))

    def _tell_progress(self, rate: float) -> None:
        left = round((self._total - self._done) / rate, 1) if rate > 0 else None
        event(
            "progress",
            done=self._done,
            total=self._total,
            failed=self._failed,
            images_per_second=round(rate, 1),
            seconds_left=left,
        )


class FailureLines(Progress):
    """The observer of a stream: every failure is a line of its own, and what was passed over another one."""

    def advanced(self, inputs: int, failed: Sequence[FailureLine]) -> None:
        for line in failed:
            say_json(json.loads(line.to_json()))

    def _tell_passed_over(self, counts: Mapping[str, int]) -> None:
        say_json({"passed_over": dict(counts)})


def tell(summary: RunSummary) -> None:
    """A run's outcome on stderr, for a person."""
    counts = summary.counts
    values = summary.to_json()
    parts = [f"{counts.extracted:,} extracted"]
    named = ("reused", "stale", "elsewhere", "pruned")
    parts += [f"{number:,} {name}" for name in named if (number := getattr(counts, name))]
    parts.append(f"{counts.failed:,} failed")
    rate = f", {values['images_per_second']:,.0f} images/s" if summary.extracted else ""
    rows = counted(counts.rows, "row")
    say(f"{summary.output}: {rows} ({', '.join(parts)}) in {summary.seconds:.1f} s{rate}")
    if summary.zero_vectors:
        say(f"{counted(summary.zero_vectors, 'vector')} of all zeros: they have no direction to compare")
    if summary.failures_file is not None:
        say(f"{counted(counts.failed, 'failure')} listed in {summary.failures_file}")
    if summary.remembered:
        verb, them = ("was", "it") if summary.remembered == 1 else ("were", "them")
        say(f"{counted(summary.remembered, 'input')} failed before and {verb} skipped; --retry-failed retries {them}")
