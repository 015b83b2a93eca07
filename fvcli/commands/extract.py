"""``fvcli extract``: a dataset brought up to date, a stream, or one task of a plan."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from fvcli.commands import streaming, tasks
from fvcli.commands.invocation import EXIT_SOME_FAILED, StopSignals, import_lean, reported
from fvcli.commands.metrics import Record, recorded
from fvcli.commands.options import extract_options, file_format, folder_to_write, request
from fvcli.commands.progress import JsonLog, Progress, tell
from fvcli.commands.terminal import event, print_json, print_line, say
from fvcli.errors import UsageError

if TYPE_CHECKING:
    from fvcli.records import ImageRef


@extract_options
def extract(context: typer.Context, **values: Any) -> None:
    """Write one feature vector per image; run it again to add what is new.

    Examples:

        fvcli extract photos/ -o features

        find photos -name '*.jpg' -print0 | fvcli extract --files-from - -0

        ls *.jpg | fvcli extract --files-from - -o - --format jsonl
    """
    as_json = values["log_format"] == "json"
    with reported(as_json=as_json), recorded(values["metrics_file"], values["output"]) as record:
        if values["task"] is not None:
            tasks.work(context)
            return
        if not values["sources"] and values["files_from"] is None:
            raise UsageError("name a folder, a file or --files-from; fvcli extract --help shows how")
        if values["output"] == "-" or file_format(values["output"]) is not None:
            streaming.stream(context, record)
            return
        if values["format"] in ("jsonl", "arrow"):
            raise UsageError(f"--format {values['format']} makes no dataset: add -o - or -o rows.{values['format']}")
        folder_to_write(values["output"], "-o")
        if values["dry_run"]:
            _preview(values)
        else:
            _update(values, record)


def _update(values: dict[str, Any], record: Record) -> None:
    """Brings a dataset up to date and says how it went."""
    if values["on"] == "local":  # Ray has a use for pandas
        import_lean(images=True)
    from fvcli.run.extract import extract as run

    quiet, as_events = values["quiet"], values["log_format"] == "json"
    observer = JsonLog if as_events else Progress
    with StopSignals() as signals, observer(signals, quiet) as progress:
        summary = run(request(values), progress)
    record.of(summary)
    if not quiet and as_events:
        event("finished", **summary.to_json())
    elif not quiet:
        tell(summary)
    if values["json"]:
        print_json(summary.to_json())
    if summary.counts.failed:
        raise typer.Exit(EXIT_SOME_FAILED)


def _preview(values: dict[str, Any]) -> None:
    """Prints what a run would do."""
    import_lean()
    from fvcli.run.preview import Difference, preview

    quiet = values["quiet"]

    def found(difference: Difference, ref: ImageRef) -> None:
        if not values["json"] and not quiet:
            print_line(f"{difference:14}{ref.name}")

    observer = JsonLog if values["log_format"] == "json" else Progress
    with StopSignals() as signals, observer(signals, quiet) as progress:
        counts = preview(request(values), found, progress)
    if values["json"]:
        print_json(counts.to_json())
    elif not quiet:
        kinds = ("new", "changed", "renamed", "gone", "elsewhere", "retried", "failed_before")
        said = [f"{getattr(counts, kind):,} {kind.replace('_', ' ')}" for kind in kinds if getattr(counts, kind)]
        say(f"{counts.output}: {', '.join([*said, f'{counts.same:,} unchanged'])}; nothing was written")
        if counts.unfinished:
            say("an interrupted run would be resumed first, or its finished shards published")
