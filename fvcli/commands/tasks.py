"""``fvcli plan``, ``fvcli extract --task`` and ``fvcli finalize``: one run on several machines, without a cluster."""

from __future__ import annotations

from typing import Any

import typer

from fvcli.commands import options
from fvcli.commands.invocation import EXIT_SOME_FAILED, StopSignals, import_lean, reported
from fvcli.commands.metrics import recorded
from fvcli.commands.options import AsJson, Dataset, Quiet, folder_to_write
from fvcli.commands.progress import JsonLog, Progress, tell
from fvcli.commands.terminal import counted, event, print_json, say
from fvcli.errors import UsageError


@options.plan_options
def plan(**values: Any) -> None:
    """Plan an extraction that several machines share; fvcli finalize completes it.

    Examples:

        fvcli plan photos/ -o features

        fvcli extract -o features --task 3/8

        fvcli finalize features
    """
    as_events = values["log_format"] == "json"
    with reported(as_json=as_events), recorded(values["metrics_file"], values["output"]):
        if not values["sources"] and values["files_from"] is None:
            raise UsageError("name a folder, a file or --files-from; fvcli plan --help shows how")
        folder_to_write(values["output"], "-o")
        import_lean()
        from fvcli.commands.invocation import StopSignals
        from fvcli.commands.progress import JsonLog, Progress
        from fvcli.commands.terminal import event
        from fvcli.run import tasks

        request = options.request(values)
        observer = JsonLog if as_events else Progress
        with StopSignals() as signals, observer(signals, values["quiet"]) as progress:
            planned = tasks.plan(request, progress)
        if not values["quiet"] and as_events:
            event("frozen", **planned.to_json())
        elif not values["quiet"]:
            output, inputs = values["output"], counted(planned.inputs, "input")
            done = f", {planned.done:,} of them done" if planned.done else ""
            after = f"then fvcli extract -o {output} --task I/N" if planned.shards else "nothing to do"
            say(f"{output}: {inputs} to read in {counted(planned.shards, 'shard')}{done}; {after}")
        if values["json"]:
            print_json(planned.to_json())


def work(context: typer.Context) -> None:
    """``fvcli extract -o DIR --task I/N``: the plan decides everything but the effort."""
    values = context.params
    if values["sources"]:
        raise UsageError("--task takes no SOURCES: they are in the plan that fvcli plan wrote")
    options.refuse(context, lambda group: group.task, "has no meaning with --task: give it to fvcli plan")
    import_lean(images=True)
    from fvcli.records import Limit
    from fvcli.run import tasks
    from fvcli.run.pool import Resources

    limit = values["max_failures"]
    most = None if limit is None else Limit.parse(limit, "--max-failures")
    resources = Resources(values["workers"], values["batch_size"], values["processes"])
    task = tasks.Task.parse(values["task"])
    as_events = values["log_format"] == "json"
    observer = JsonLog if as_events else Progress
    with StopSignals() as signals, observer(signals, values["quiet"]) as progress:
        summary = tasks.work(values["output"], task, resources, most, progress)
    counts = summary.counts
    if not values["quiet"] and as_events:
        event("finished", **summary.to_json())
    elif not values["quiet"]:
        say(
            f"task {task}: {counted(summary.shards, 'shard')}, {counted(counts.rows, 'row')}, "
            f"{counts.failed:,} failed, in {summary.seconds:.1f} s"
        )
    if values["json"]:
        print_json(summary.to_json())
    if counts.failed:
        raise typer.Exit(EXIT_SOME_FAILED)


def finalize(dataset: Dataset, as_json: AsJson = False, quiet: Quiet = False) -> None:
    """Complete a planned run when all its tasks are done; exit code 1 if some are missing."""
    with reported():
        import_lean()
        from fvcli.run import tasks

        try:
            summary = tasks.finalize(dataset)
        except tasks.MissingShardsError as error:
            if as_json:
                print_json({"missing_shards": error.shards, "missing_tasks": error.tasks})
            raise
        if not quiet:
            tell(summary)
        if as_json:
            print_json(summary.to_json())
        if summary.counts.failed:
            raise typer.Exit(EXIT_SOME_FAILED)
