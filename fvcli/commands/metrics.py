"""``--metrics-file``: a run's outcome, however it ends, in the text format that Prometheus' node_exporter collects.

Format: https://prometheus.io/docs/instrumenting/exposition_formats/ (version 0.0.4).
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from fvcli.commands.options import file_to_write
from fvcli.errors import FvcliError

if TYPE_CHECKING:
    from fvcli.run.extract import RunSummary


_FINISHED = "fvcli_last_finished_timestamp_seconds"

_HELP = {
    "fvcli_last_run_timestamp_seconds": "When the last run ended, however it ended (Unix time).",
    "fvcli_last_run_duration_seconds": "How long the last run took.",
    "fvcli_last_run_exit_code": "Exit code of the last run: 0 every input has a vector, 3 some have none.",
    _FINISHED: "When a run last finished, with exit code 0 or 3 (Unix time).",
    "fvcli_last_run_extracted_images": "Vectors that the last finished run computed.",
    "fvcli_inputs": "Inputs that the last finished run found.",
    "fvcli_failed_inputs": "Inputs without a vector.",
    "fvcli_rows": "Rows of the dataset.",
    "fvcli_stale_rows": "Rows whose files are gone.",
    "fvcli_elsewhere_rows": "Rows that the last finished run did not look for.",
    "fvcli_pruned_rows": "Rows that the last finished run dropped.",
}


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
    from fvcli.locations import is_remote, local_path

    dataset = output if output == "-" or is_remote(output) else os.path.abspath(local_path(output))
    metrics = RunMetrics(dataset, exit_code, time.time(), time.monotonic() - started, record.values)
    with suppress(*() if raising else (FvcliError,)):
        write_metrics(path, metrics)


@dataclass(frozen=True, slots=True)
class RunMetrics:
    """ended: Unix time. values: further metrics by name, of a finished run."""

    dataset: str
    exit_code: int
    ended: float
    seconds: float
    values: Mapping[str, float] = field(default_factory=dict)


def write_metrics(path: Path, metrics: RunMetrics) -> None:
    """Replaces the file at once. After a run that did not finish, what the last finished one left in it stays.

    Raises DatasetError when it cannot be written.
    """
    from fvcli.dataset.store import LocalStore

    store = LocalStore(path.parent)
    label = metrics.dataset.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    before = _values((store.read(path.name) or b"").decode("utf-8", "replace"), label)
    values = {
        "fvcli_last_run_timestamp_seconds": round(metrics.ended, 3),
        "fvcli_last_run_duration_seconds": round(metrics.seconds, 3),
        "fvcli_last_run_exit_code": metrics.exit_code,
        **metrics.values,
    }
    if metrics.values:
        values[_FINISHED] = round(metrics.ended, 3)
    lines: list[str] = []
    for name, text in _HELP.items():
        value = values[name] if name in values else before.get(name)
        if value is not None:
            lines += [f"# HELP {name} {text}", f"# TYPE {name} gauge", f'{name}{{dataset="{label}"}} {value}']
    store.replace(path.name, ("\n".join(lines) + "\n").encode("utf-8", "backslashreplace"))


def _values(text: str, label: str) -> dict[str, str]:
    """The values of the same dataset that an earlier run wrote, by name."""
    pattern = re.compile(rf'^(\w+)\{{dataset="{re.escape(label)}"\}} (\S+)$', re.MULTILINE)
    return dict(pattern.findall(text))
