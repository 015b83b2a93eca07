"""``--metrics-file``: the outcome of a run, written however it ends."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from fvcli.commands.target import file_to_write
from fvcli.errors import FvcliError

if TYPE_CHECKING:
    from fvcli.run.extract import RunSummary


@dataclass(slots=True)
class Record:
    """``values``: filled in by a run that finishes."""

    values: dict[str, float] = field(default_factory=dict)

    def of(self, summary: RunSummary) -> None:
        self.values = {
            "fvcli_inputs": summary.counts.discovered,
            "fvcli_failed_inputs": summary.counts.failed,
            "fvcli_rows": summary.counts.rows,
            "fvcli_stale_rows": summary.counts.stale,
            "fvcli_elsewhere_rows": summary.counts.elsewhere,
            "fvcli_pruned_rows": summary.counts.pruned,
            "fvcli_last_run_extracted_images": summary.extracted,
        }


@contextmanager
def recorded(name: str | None, output: str) -> Iterator[Record]:
    """Writes the metrics of a run into the file ``name`` when the block ends, with its exit code.

    Raises UsageError at once for a file that must not be replaced, DatasetError where writing fails and nothing else
    did.
    """
    record = Record()
    path = None if name is None else file_to_write(name, "--metrics-file")
    started = time.monotonic()
    try:
        yield record
    except (FvcliError, typer.Exit) as error:
        _write(path, output, error.exit_code, started, record, raising=False)
        raise
    except BaseException:
        _write(path, output, 1, started, record, raising=False)
        raise
    _write(path, output, 0, started, record, raising=True)


def _write(path: Path | None, output: str, exit_code: int, started: float, record: Record, raising: bool) -> None:
    if path is None:
        return
    from fvcli.commands.metrics import RunMetrics, write_metrics
    from fvcli.locations import is_remote, local_path

    dataset = output if output == "-" or is_remote(output) else os.path.abspath(local_path(output))
    metrics = RunMetrics(dataset, exit_code, time.time(), time.monotonic() - started, record.values)
    with suppress(*() if raising else (FvcliError,)):
        write_metrics(path, metrics)
