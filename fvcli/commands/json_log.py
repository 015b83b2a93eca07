"""Progress of a run as JSON Lines on stderr, for log collectors.

Each line is an object with ``time`` (ISO 8601, UTC) and ``event``: looking, planned, passed_over, progress,
failure, finished, frozen (after ``fvcli plan``) or error.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from fvcli.commands.progress import Progress
from fvcli.commands.terminal import say_json

if TYPE_CHECKING:
    from fvcli.dataset.failures import FailureLine


def event(name: str, **values: object) -> None:
    """Writes one line."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    say_json({"time": now, "event": name, **values})


class JsonLog(Progress):
    """The observer of a run that logs JSON. With ``quiet`` nothing is printed."""

    def _tell_looking(self, inputs: int) -> None:
        event("looking", inputs=inputs)

    def _tell_passed_over(self, counts: Mapping[str, int]) -> None:
        event("passed_over", counts=dict(counts))

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
