"""``fvcli extract -o -``: rows on stdout."""

from __future__ import annotations

import sys
from typing import Literal

import typer

from fvcli.commands import options
from fvcli.commands.recording import Record
from fvcli.commands.reporting import EXIT_SOME_FAILED
from fvcli.commands.startup import import_lean
from fvcli.errors import UsageError

STREAMS: tuple[Literal["jsonl", "arrow"], ...] = ("jsonl", "arrow")


def stream(context: typer.Context, record: Record) -> None:
    """Writes rows to stdout. All options work but those that concern a dataset's folder."""
    values = dict(context.params)
    format = values["format"]
    if format not in STREAMS:
        raise UsageError("-o - is a stream: add --format jsonl or --format arrow")
    options.refuse(context, lambda group: group.stream, "concerns a dataset's folder, and -o - writes none")
    if values["json"]:
        raise UsageError("--json and -o - both write to stdout; the stream's counts are in --metrics-file")
    if format == "arrow" and sys.stdout.isatty():
        raise UsageError("an Arrow stream is binary: send it to a file (> rows.arrow) or a pipe, or use --format jsonl")
    import_lean()
    from fvcli.commands.json_log import FailureLines, JsonLog
    from fvcli.commands.signals import StopSignals
    from fvcli.run.stream import stream as run

    request = options.request({**values, "format": "parquet"})
    log = JsonLog if values["log_format"] == "json" else FailureLines
    with StopSignals() as signals, log(signals, values["quiet"]) as observer:
        summary = run(request, format, sys.stdout.buffer, observer)
    record.values = {
        "fvcli_inputs": summary.inputs,
        "fvcli_failed_inputs": summary.failed,
        "fvcli_last_run_extracted_images": summary.rows,
    }
    if summary.failed:
        raise typer.Exit(EXIT_SOME_FAILED)
