"""``fvcli extract -o -`` and ``-o rows.parquet``: rows on stdout or in one file, without a dataset."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, get_args

import typer

from fvcli.commands import options
from fvcli.commands.invocation import EXIT_SOME_FAILED, StopSignals, import_lean
from fvcli.commands.metrics import Record
from fvcli.commands.options import file_to_write
from fvcli.commands.progress import FailureLines, JsonLog, Progress
from fvcli.commands.terminal import counted, print_json, say
from fvcli.dataset.layout import RowFormat, StreamFormat
from fvcli.errors import UsageError

if TYPE_CHECKING:
    from fvcli.run.stream import StreamSummary

_STREAMS: tuple[StreamFormat, ...] = get_args(StreamFormat)


def stream(context: typer.Context, record: Record) -> None:
    """Writes rows to stdout or to one file. All options work but those that concern a dataset's folder."""
    values, output = context.params, context.params["output"]
    format = values["format"] if output == "-" else options.file_format(output)
    options.refuse(context, lambda group: group.stream, f"concerns a dataset's folder, and -o {output} writes none")
    if output == "-":
        _check_stdout(format, values["json"])
    elif values["format"] not in (None, format):
        raise UsageError(f"--format {values['format']} and -o {output} name different formats")
    summary = _write(values, output, format)
    record.values = {
        "fvcli_inputs": summary.inputs,
        "fvcli_failed_inputs": summary.failed,
        "fvcli_last_run_extracted_images": summary.rows,
    }
    if output != "-":
        _tell(values, output, summary)
    if summary.failed:
        raise typer.Exit(EXIT_SOME_FAILED)


def _check_stdout(format: RowFormat | None, as_json: bool) -> None:
    if format not in _STREAMS:
        raise UsageError("-o - is a stream: add --format jsonl or --format arrow")
    if as_json:
        raise UsageError("--json and -o - both write to stdout; the stream's counts are in --metrics-file")
    if format == "arrow" and sys.stdout.isatty():
        raise UsageError("an Arrow stream is binary: send it to a file (> rows.arrow) or a pipe, or use --format jsonl")


def _write(values: dict[str, object], output: str, format: RowFormat | None) -> StreamSummary:
    assert format is not None
    path = None if output == "-" else file_to_write(output, "-o")
    import_lean(images=True)
    from fvcli.dataset.stream_file import open_file, open_stream
    from fvcli.files import replacing, translated
    from fvcli.run.stream import stream as run

    request = options.request({**values, "format": "parquet"})
    plain = FailureLines if path is None else Progress
    log = JsonLog if values["log_format"] == "json" else plain
    with ExitStack() as stack:
        signals = stack.enter_context(StopSignals())
        observer = stack.enter_context(log(signals, bool(values["quiet"])))
        if path is None:
            pipe: StreamFormat = "jsonl" if format == "jsonl" else "arrow"
            return run(request, lambda encoding: open_stream(pipe, sys.stdout.buffer, encoding), observer)
        stack.enter_context(translated("write", path))
        file = stack.enter_context(replacing(path))
        return run(request, lambda encoding: open_file(format, file, encoding), observer)


def _tell(values: dict[str, object], output: str, summary: StreamSummary) -> None:
    if not values["quiet"] and values["log_format"] == "json":
        from fvcli.commands.terminal import event

        event("finished", **summary.to_json(output))
    elif not values["quiet"]:
        rows = counted(summary.rows, "row")
        say(f"{output}: {rows} ({summary.failed:,} failed) in {summary.seconds:.1f} s")
        if not summary.inputs:
            say("no images found; check the sources and --include/--exclude")
    if values["json"]:
        print_json(summary.to_json(output))
