"""``--metrics-file``: however a run ends, its outcome is left where a monitor finds it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from fvcli.errors import FvcliError

if TYPE_CHECKING:
    from fvcli.run.extract import RunSummary


@dataclass(slots=True)
class Record:
    """``values`` are filled in by a run that comes to its end."""

    values: dict[str, float] = field(default_factory=dict)

    def of(self, summary: RunSummary) -> None:
        self.values = {
            "fvcli_inputs": summary.counts.discovered,
            "fvcli_failed_inputs": summary.counts.failed,
            "fvcli_rows": summary.counts.rows,
            "fvcli_stale_rows": summary.counts.stale,
            "fvcli_last_run_extracted_images": summary.extracted,
        }


@contextmanager
def recorded(path: str | None, dataset: str) -> Iterator[Record]:
    """Writes the metrics when the block ends. Raises DatasetError where that fails and nothing else had."""
    record = Record()
    started = time.monotonic()
    try:
        yield record
    except (FvcliError, typer.Exit) as error:
        _write(path, dataset, error.exit_code, started, record, raising=False)
        raise
    except BaseException:
        _write(path, dataset, 1, started, record, raising=False)
        raise
    _write(path, dataset, 0, started, record, raising=True)


def _write(path: str | None, dataset: str, exit_code: int, started: float, record: Record, raising: bool) -> None:
    if path is None:
        return
    from fvcli.commands.metrics import RunMetrics, write_metrics

    metrics = RunMetrics(dataset, exit_code, time.time(), time.monotonic() - started, record.values)
    with suppress(*() if raising else (FvcliError,)):
        write_metrics(Path(path), metrics)
