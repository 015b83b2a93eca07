"""``fvcli plan``, ``fvcli extract --task`` and ``fvcli finalize``: one run on several machines, without a cluster."""

from __future__ import annotations

import json

import typer

from fvcli.commands import options
from fvcli.commands.reporting import EXIT_SOME_FAILED, AsJson, Dataset, Quiet, reported, tell
from fvcli.commands.startup import import_lean
from fvcli.errors import UsageError

_A_TASKS_OWN = frozenset(
    ["task", "output", "workers", "batch_size", "max_failures", "as_json", "quiet", "log_format", "metrics_file"]
)


def plan(
    context: typer.Context,
    sources: options.Paths = None,
    output: options.Output = "features",
    format: options.Format = "parquet",
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
    quiet: options.Quiet = False,
) -> None:
    """Freeze what extract would do, for several machines to share; fvcli finalize ends it.

    Examples:

        fvcli plan photos/ -o features

        fvcli extract -o features --task 3/8

        fvcli finalize features
    """
    with reported():
        if not sources and files_from is None:
            raise UsageError("name a folder, a file or --files-from; fvcli plan --help shows how")
        import_lean()
        from fvcli.commands.progress import Progress
        from fvcli.commands.signals import StopSignals
        from fvcli.run import tasks

        request = options.request(context.params)
        with StopSignals() as signals, Progress(signals, quiet) as progress:
            planned = tasks.plan(request, progress)
        if not quiet:
            done = f", {planned.done:,} of them done" if planned.done else ""
            after = f"then fvcli extract -o {output} --task I/N" if planned.shards else "nothing to do"
            typer.echo(
                f"{output}: {planned.inputs:,} inputs to read in {planned.shards:,} shards{done}; {after}", err=True
            )
        if as_json:
            typer.echo(json.dumps(planned.to_json()))


def work(context: typer.Context) -> None:
    """``fvcli extract -o DIR --task I/N``: everything but how hard to work is in the plan."""
    values = context.params
    for name in sorted(values.keys() - _A_TASKS_OWN):
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            raise UsageError(f"--task works on what fvcli plan froze: give {name.replace('_', '-')} there")
    import_lean()
    from fvcli.commands.progress import Progress
    from fvcli.commands.signals import StopSignals
    from fvcli.run import tasks
    from fvcli.run.request import FailureLimit

    limit = values["max_failures"]
    effort = tasks.Effort(values["workers"], values["batch_size"], None if limit is None else FailureLimit.parse(limit))
    task = tasks.Task.parse(values["task"])
    with StopSignals() as signals, Progress(signals, values["quiet"]) as progress:
        summary = tasks.work(values["output"], task, effort, progress)
    counts = summary.counts
    if not values["quiet"]:
        typer.echo(
            f"task {task}: {summary.shards:,} shards, {counts.rows:,} rows, {counts.failed:,} failed, "
            f"in {summary.seconds:.1f} s",
            err=True,
        )
    if values["as_json"]:
        typer.echo(json.dumps(summary.to_json()))
    if counts.failed:
        raise typer.Exit(EXIT_SOME_FAILED)


def finalize(dataset: Dataset, as_json: AsJson = False, quiet: Quiet = False) -> None:
    """Write the manifest once all tasks of a plan are done; exit code 1 names those that are missing."""
    with reported():
        import_lean()
        from fvcli.run import tasks

        try:
            summary = tasks.finalize(dataset)
        except tasks.MissingShardsError as error:
            if as_json:
                typer.echo(json.dumps({"missing_shards": error.shards, "missing_tasks": error.tasks}))
            raise
        if not quiet:
            tell(summary)
        if as_json:
            typer.echo(json.dumps(summary.to_json()))
        if summary.counts.failed:
            raise typer.Exit(EXIT_SOME_FAILED)
