"""A run's outcome for Prometheus, in the text format that node_exporter's textfile collector reads.

Format: https://prometheus.io/docs/instrumenting/exposition_formats/ (version 0.0.4).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from fvcli.dataset.local_store import LocalStore

_FINISHED = "fvcli_last_finished_timestamp_seconds"

_HELP = {
    "fvcli_last_run_timestamp_seconds": "When the last run ended, however it ended (Unix time).",
    "fvcli_last_run_duration_seconds": "How long the last run took.",
    "fvcli_last_run_exit_code": "Exit code of the last run: 0 every input has a vector, 3 some have none.",
    _FINISHED: "When a run last came to its end, with exit code 0 or 3 (Unix time).",
    "fvcli_last_run_extracted_images": "Vectors that the last finished run computed.",
    "fvcli_inputs": "Inputs that the last finished run found.",
    "fvcli_failed_inputs": "Inputs without a vector.",
    "fvcli_rows": "Rows of the dataset.",
    "fvcli_stale_rows": "Rows whose files are gone.",
    "fvcli_elsewhere_rows": "Rows that the last finished run did not look for.",
    "fvcli_pruned_rows": "Rows that the last finished run dropped.",
}


@dataclass(frozen=True, slots=True)
class RunMetrics:
    """ended: Unix time. values: further metrics by name, of a run that came to its end."""

    dataset: str
    exit_code: int
    ended: float
    seconds: float
    values: Mapping[str, float] = field(default_factory=dict)


def write_metrics(path: Path, metrics: RunMetrics) -> None:
    """Replaces the file at once. After a run that did not finish, what the last finished one left in it stays.

    Raises DatasetError when it cannot be written.
    """
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
