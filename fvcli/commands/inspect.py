"""``fvcli inspect``: a dataset and the run over it on one screen."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fvcli.commands.invocation import import_lean, reported
from fvcli.commands.options import AsJson, Dataset, Quiet
from fvcli.commands.terminal import clear_screen, counted, duration, print_fields, print_json
from fvcli.text import in_bytes

if TYPE_CHECKING:
    from fvcli.explore.inspect import Inspection
    from fvcli.explore.status import RunStatus

_KINDS = 8
_ROOTS = 3
_WORKERS = 8


_WATCH_SECONDS = 2.0


def inspect(
    dataset: Dataset,
    watch: Annotated[bool, typer.Option("--watch", help="Repeat every 2 seconds until no run is unfinished.")] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Show a dataset and its runs: progress, rows, failures by kind, model, recipe, size.

    A run that is in progress, interrupted or planned comes first: what is done, the rate, the processes.

    Examples:

        fvcli inspect features

        fvcli inspect features --watch
    """
    with reported():
        import_lean()
        from fvcli.dataset.store import open_store
        from fvcli.explore.status import status_of

        store = open_store(dataset)
        while True:
            status = status_of(store)
            found = _inspection(dataset, status)
            if as_json:
                print_json(_as_json(found, status))
            elif not quiet:
                if watch:
                    clear_screen()
                print_fields([*_status_lines(status), *([] if found is None else _lines(found))])
                sys.stdout.flush()
            if status is None or not watch:
                return
            time.sleep(_WATCH_SECONDS)


def _inspection(dataset: str, status: RunStatus | None) -> Inspection | None:
    """The dataset described; None where a first run is not finished. Raises DatasetError where there is neither."""
    from fvcli.dataset.reader import open_dataset
    from fvcli.errors import DatasetError
    from fvcli.explore.inspect import inspect as look

    try:
        return look(open_dataset(dataset))
    except DatasetError:
        if status is None or status.updates:
            raise
        return None


def _as_json(found: Inspection | None, status: RunStatus | None) -> dict[str, Any]:
    run = None if status is None else status.to_json()
    return {"folder": status.folder if status else "", **(found.to_json() if found else {}), "run": run}


def _status_lines(status: RunStatus | None) -> Iterator[tuple[str, str]]:
    if status is None:
        return
    done = f"{status.done:,} of {counted(status.total, 'image')}"
    shards = f"{status.shards_done:,} of {counted(status.shards, 'shard')}"
    if status.state == "running" and not status.shards:
        yield "run", "in progress: looking for inputs"
    elif status.state == "running":
        rate = "" if status.images_per_second is None else f", {status.images_per_second:,.0f} images/s"
        left = "" if status.seconds_left is None else f", {duration(status.seconds_left)} left"
        yield "run", f"in progress: {done}, {shards}{rate}{left}"
    elif status.state == "interrupted":
        after = "run the missing tasks, then fvcli finalize" if status.tasks else "run the same command to resume"
        yield "run", f"interrupted: {done}, {shards}; {after}"
    else:
        yield "run", f"planned: {counted(status.total, 'image')} in {counted(status.shards, 'shard')}, not begun"
    if status.failed:
        yield "", f"{status.failed:,} failed"
    for worker in status.workers[:_WORKERS]:
        task = f"task {worker.task}: " if worker.task else ""
        yield "", f"{task}process {worker.pid or '?'} on {worker.host}, since {worker.since or '?'}"
    if len(status.workers) > _WORKERS:
        yield "", f"and {len(status.workers) - _WORKERS:,} more"
    at_work = {worker.task for worker in status.workers}
    for begun in status.tasks[:_WORKERS]:
        if begun.task not in at_work:
            ended = f"ended {begun.ended}" if begun.ended else "interrupted"
            yield "", f"task {begun.task}: began {begun.began} on {begun.host}, {ended}"


def _lines(found: Inspection) -> Iterator[tuple[str, str]]:
    counts = found.counts
    stale = f", {counts['stale']:,} of them stale (their files are gone)" if counts["stale"] else ""
    yield "dataset", found.folder
    yield "rows", f"{counts['rows']:,}{stale}"
    zeros = f", {found.zero_vectors:,} of them all zeros" if found.zero_vectors else ""
    yield "vectors", f"{found.dimension} x {found.dtype}{zeros}"
    per_row = f", {found.bytes / counts['rows']:,.0f} bytes per row" if counts["rows"] else ""
    yield "files", f"{counted(found.shards, found.format + ' shard')}, {in_bytes(found.bytes)}{per_row}"
    more = f" and {len(found.roots) - _ROOTS:,} more" if len(found.roots) > _ROOTS else ""
    yield "from", (", ".join(found.roots[:_ROOTS]) or "files named one by one") + more
    yield "inputs", f"{counts['discovered']:,}, {counts['failed']:,} of them without a vector"
    for kind in found.failures[:_KINDS]:
        yield "", f"{kind.count:>7,}  {kind.stage}: {kind.error}, e.g. {kind.example}: {kind.message}"
    if len(found.failures) > _KINDS:
        yield "", f"and {len(found.failures) - _KINDS} more kinds; all are in {found.folder}/failures"
    model = found.model
    yield "model", f"{model['name']} ({str(model['identity'])[:12]}, {model['license']})"
    recipe = ", ".join(f"{name} {value}" for name, value in found.recipe.items() if name not in ("model", "identity"))
    yield "recipe", recipe
    yield "made with", ", ".join(f"{name} {value}" for name, value in found.environment.items())
    if found.images_per_second is not None:
        yield "rate", f"{found.images_per_second:,.0f} images/s, start-up included"
    for position, run in enumerate(found.runs):
        yield (
            "" if position else "last runs",
            f"{run['started']}  {run['worked']:>9,} extracted  {run['failed']:>6,} failed  {run['seconds']:>8,.1f} s",
        )
