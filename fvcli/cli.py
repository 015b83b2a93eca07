"""The command line: parse, call one library function, print, exit code. Nothing else, and nothing heavy imported."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from fvcli import __version__
from fvcli.commands import export, inspect, models, neighbors, options, report, selftest, streaming, tasks, verify
from fvcli.commands.options import CLUSTER
from fvcli.commands.recording import recorded
from fvcli.commands.reporting import EXIT_SOME_FAILED, reported, tell
from fvcli.commands.startup import import_lean, open_standard_streams
from fvcli.errors import UsageError

app = typer.Typer(
    name="fvcli",
    help="Feature vectors for folders of images: MobileNet V1 with real 8-bit arithmetic, as Parquet or npy.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"fvcli {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_show_version, is_eager=True)
    ] = False,
) -> None: ...


@app.command()
def extract(
    context: typer.Context,
    sources: options.Paths = None,
    output: options.Output = "features",
    format: options.ExtractFormat = "parquet",
    dtype: options.DType = "float32",
    shard_size: options.ShardSize = 10_000,
    as_json: options.AsJson = False,
    files_from: options.FilesFrom = None,
    null: options.Null = False,
    include: options.Include = None,
    exclude: options.Exclude = None,
    follow_symlinks: options.FollowSymlinks = False,
    model: options.Model = "embedded",
    engine: options.Engine = None,
    fit: options.Fit = "squash",
    crop_fraction: options.CropFraction = 0.875,
    resize: options.Resize = "bilinear",
    decode: options.Decode = "fast",
    max_pixels: options.MaxPixels = 200_000_000,
    prune: options.Prune = False,
    retry_failed: options.RetryFailed = False,
    overwrite: options.Overwrite = False,
    max_failures: options.MaxFailures = None,
    workers: options.Workers = None,
    batch_size: options.BatchSize = 32,
    on: options.On = "local",
    ray_address: options.RayAddress = "auto",
    ray_workers: options.RayWorkers = None,
    ray_cpus_per_worker: options.RayCpusPerWorker = 1,
    task: Annotated[
        str | None,
        typer.Option("--task", metavar="I/N", help="Do one slice of what fvcli plan froze.", rich_help_panel=CLUSTER),
    ] = None,
    metrics_file: options.MetricsFile = None,
    log_format: options.LogFormat = "text",
    quiet: options.Quiet = False,
) -> None:
    """Write one feature vector for each image; run it again to add what is new.

    Examples:

        fvcli extract photos/ -o features

        find photos -name '*.jpg' -print0 | fvcli extract --files-from - -0

        ls *.jpg | fvcli extract --files-from - -o - --format jsonl
    """
    with reported(as_json=log_format == "json"), recorded(metrics_file, output) as record:
        if task is not None:
            tasks.work(context)
            return
        if not sources and files_from is None:
            raise UsageError("name a folder, a file or --files-from; fvcli extract --help shows how")
        if output == "-":
            streaming.stream(context, record)
            return
        if format in streaming.STREAMS:
            raise UsageError(f"--format {format} is a stream: add -o -")
        if on == "local":  # Ray has a use for pandas
            import_lean()
        from fvcli.commands.json_log import JsonLog, event
        from fvcli.commands.progress import Progress
        from fvcli.commands.signals import StopSignals
        from fvcli.run.extract import extract as run

        request = options.request(context.params)
        observer = JsonLog if log_format == "json" else Progress
        with StopSignals() as signals, observer(signals, quiet) as progress:
            summary = run(request, progress)
        record.of(summary)
        if not quiet and log_format == "json":
            event("finished", **summary.to_json())
        elif not quiet:
            tell(summary)
        if as_json:
            typer.echo(json.dumps(summary.to_json()))
        if summary.counts.failed:
            raise typer.Exit(EXIT_SOME_FAILED)


app.add_typer(models.app)
app.command("plan")(tasks.plan)
app.command("finalize")(tasks.finalize)
app.command("verify")(verify.verify)
app.command("repair")(verify.repair)
app.command("inspect")(inspect.inspect)
app.command("neighbors")(neighbors.neighbors)
app.command("export")(export.export)
app.command("report")(report.report)
app.command("selftest")(selftest.selftest)


def main() -> None:
    """The ``fvcli`` command."""
    open_standard_streams()
    app()
