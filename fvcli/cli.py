"""The command line: parse, call one library function, print, exit code. Nothing else, and nothing heavy imported."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from fvcli import __version__
from fvcli.commands import models, report, selftest, verify
from fvcli.commands.reporting import reported
from fvcli.commands.startup import leave_pandas_out
from fvcli.errors import UsageError

if TYPE_CHECKING:
    from fvcli.run.extract import RunSummary

EXIT_SOME_FAILED = 3

app = typer.Typer(
    name="fvcli",
    help="Feature vectors for folders of images: MobileNet V1 with real 8-bit arithmetic, as Parquet or npy.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

INPUT, IMAGES, OUTPUT, UPDATE, RUN = "Input", "Images and model", "Output", "Update", "Run"


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
    sources: Annotated[
        list[str] | None,
        typer.Argument(help="Folders (walked), image files, or globs in quotes.", show_default=False),
    ] = None,
    output: Annotated[
        str, typer.Option("--output", "-o", help="The dataset's folder.", rich_help_panel=OUTPUT)
    ] = "features",
    format: Annotated[
        Literal["parquet", "npy"], typer.Option("--format", help="Kind of data files.", rich_help_panel=OUTPUT)
    ] = "parquet",
    dtype: Annotated[
        Literal["float32", "float16"], typer.Option("--dtype", help="Type of the vectors.", rich_help_panel=OUTPUT)
    ] = "float32",
    shard_size: Annotated[
        int, typer.Option("--shard-size", min=1, help="Rows of a data file.", rich_help_panel=OUTPUT)
    ] = 10_000,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the run's summary as a JSON object.", rich_help_panel=OUTPUT)
    ] = False,
    files_from: Annotated[
        str | None,
        typer.Option("--files-from", help="Read file names from this file, - for stdin.", rich_help_panel=INPUT),
    ] = None,
    null: Annotated[
        bool, typer.Option("--null", "-0", help="Those names end in NUL, as find -print0 does.", rich_help_panel=INPUT)
    ] = False,
    include: Annotated[
        list[str] | None, typer.Option("--include", help="Take only names that match.", rich_help_panel=INPUT)
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option("--exclude", help="Leave out names that match.", rich_help_panel=INPUT)
    ] = None,
    follow_symlinks: Annotated[
        bool, typer.Option("--follow-symlinks", help="Walk symlinked folders too.", rich_help_panel=INPUT)
    ] = False,
    model: Annotated[
        str, typer.Option("--model", "-m", envvar="FVCLI_MODEL", help="Name, path or handle.", rich_help_panel=IMAGES)
    ] = "embedded",
    engine: Annotated[
        Literal["int8", "float", "tensorflow"] | None,
        typer.Option("--engine", help="How to run it (default: the model's own).", rich_help_panel=IMAGES),
    ] = None,
    fit: Annotated[
        Literal["squash", "crop", "pad"],
        typer.Option("--fit", help="Whole image, centre square, or with borders.", rich_help_panel=IMAGES),
    ] = "squash",
    crop_fraction: Annotated[
        float,
        typer.Option("--crop-fraction", min=0.01, max=1.0, help="Side of the centre square.", rich_help_panel=IMAGES),
    ] = 0.875,
    resize: Annotated[
        Literal["area", "bilinear", "bicubic", "lanczos", "tf1-bilinear"],
        typer.Option("--resize", help="Resize kernel.", rich_help_panel=IMAGES),
    ] = "bilinear",
    decode: Annotated[
        Literal["fast", "exact"],
        typer.Option("--decode", help="JPEG at reduced scale, or whole.", rich_help_panel=IMAGES),
    ] = "fast",
    max_pixels: Annotated[
        int, typer.Option("--max-pixels", min=1, help="Larger images fail unread.", rich_help_panel=IMAGES)
    ] = 200_000_000,
    prune: Annotated[
        bool, typer.Option("--prune", help="Drop rows of files that are gone.", rich_help_panel=UPDATE)
    ] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try inputs again that failed before.", rich_help_panel=UPDATE)
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Start afresh; the old data stays until then.", rich_help_panel=UPDATE)
    ] = False,
    max_failures: Annotated[
        str | None, typer.Option("--max-failures", metavar="N|P%", help="Give up beyond this.", rich_help_panel=RUN)
    ] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", "-j", min=1, help="Threads (default: all CPUs).", rich_help_panel=RUN)
    ] = None,
    batch_size: Annotated[
        int, typer.Option("--batch-size", "-b", min=1, help="Images a thread holds at once.", rich_help_panel=RUN)
    ] = 8,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors.", rich_help_panel=RUN)] = False,
) -> None:
    """Write one feature vector for each image; run it again to add what is new.

    Examples:

        fvcli extract photos/ -o features

        find photos -name '*.jpg' -print0 | fvcli extract --files-from - -0
    """
    with reported():
        if not sources and files_from is None:
            raise UsageError("name a folder, a file or --files-from; fvcli extract --help shows how")
        leave_pandas_out()
        from fvcli.images.decode import Limits
        from fvcli.images.discover import Sources
        from fvcli.progress import Progress
        from fvcli.records import Preprocessing
        from fvcli.run.extract import extract as run
        from fvcli.run.request import ExtractRequest, FailureLimit
        from fvcli.signals import StopSignals

        request = ExtractRequest(
            sources=Sources(
                tuple(sources or ()), files_from, null, tuple(include or ()), tuple(exclude or ()), follow_symlinks
            ),
            output=output,
            model=model,
            engine=engine,
            preprocessing=Preprocessing(decode, fit, crop_fraction, resize),
            limits=Limits(max_pixels=max_pixels),
            format=format,
            dtype=dtype,
            shard_size=shard_size,
            batch_size=batch_size,
            workers=workers,
            prune=prune,
            retry_failed=retry_failed,
            overwrite=overwrite,
            max_failures=None if max_failures is None else FailureLimit.parse(max_failures),
        )
        with StopSignals() as signals, Progress(signals, quiet) as progress:
            summary = run(request, progress)
        if not quiet:
            _tell(summary)
        if as_json:
            typer.echo(json.dumps(summary.to_json()))
        if summary.counts.failed:
            raise typer.Exit(EXIT_SOME_FAILED)


def _tell(summary: RunSummary) -> None:
    counts = summary.counts
    values = summary.to_json()
    parts = [f"{counts.extracted:,} extracted"]
    parts += [f"{number:,} {word}" for word, number in (("reused", counts.reused), ("stale", counts.stale)) if number]
    parts.append(f"{counts.failed:,} failed")
    rate = f", {values['images_per_second']:,.0f} images/s" if summary.extracted else ""
    typer.echo(
        f"{summary.output}: {counts.rows:,} rows ({', '.join(parts)}) in {summary.seconds:.1f} s{rate}", err=True
    )
    if counts.discovered == 0:
        typer.echo("no images found: look at the sources, --include and --exclude", err=True)
    if summary.failures_file is not None:
        typer.echo(f"why inputs failed: {summary.failures_file}", err=True)


app.add_typer(models.app)
app.command("verify")(verify.verify)
app.command("repair")(verify.repair)
app.command("report")(report.report)
app.command("selftest")(selftest.selftest)


def main() -> None:
    """The ``fvcli`` command."""
    app()
